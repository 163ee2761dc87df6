"""`bisect`: every entry a bracketed problem of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax.errors import ArgumentError, ConvergenceError, ShapeError
from cholax.implicit import bisect, status
from tests.implicit.systems import both_modes
from tests.tolerances import assert_close, gradient, value


def cubic(z, a):
    return a * z**3 - z - 2.0


FACTORS = jnp.array([1.0, 2.0, 3.0, 5.0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_roots_and_derivatives_of_a_vector_of_problems(dtype):
    def solve(a):
        return bisect(cubic, jnp.zeros((), dtype), jnp.full((), 3.0, dtype), a)

    a = FACTORS.astype(dtype)
    z, forward, reverse = jax.jit(lambda a: both_modes(solve, a))(a)
    assert z.dtype == dtype
    assert_close(cubic(np.float64(z), np.float64(a)), np.zeros(4), 20 * np.finfo(dtype).eps)
    want = np.diag(-(z**3) / (3 * a * z**2 - 1))
    assert_close(forward, want, gradient(dtype))
    assert_close(reverse, want, gradient(dtype))


def test_second_derivative_equals_the_formula():
    def solve(a):
        return bisect(cubic, 0.0, 3.0, a)

    @jax.jit
    @jax.vmap
    def derivatives(a):
        (z, d1), (_, d2) = jax.jvp(jax.value_and_grad(solve), (a,), (1.0,))
        return z, d1, d2

    z, d1, d2 = derivatives(FACTORS)
    p = 3 * FACTORS * z**2 - 1
    assert_close(d2, -(6 * z**2 * d1 + 6 * FACTORS * z * d1**2) / p, gradient(np.float64))


def test_ends_signs_and_missing_brackets():
    """Roots at either end, ends in either order, no sign change, an infinite value, a NaN."""

    @jax.jit
    def solve(low, high):
        def F(z):
            return jnp.where(z > 50, jnp.nan, jnp.where(z > 8, jnp.inf, z**2 - 1))

        return bisect(F, low, high, has_status=True)

    low = jnp.array([0.0, 1.0, 0.0, 3.0, 5.0, 0.0, 0.0])
    high = jnp.array([3.0, 2.0, 1.0, 0.0, 7.0, 9.0, 60.0])
    z, report = solve(low, high)
    assert_close(z[jnp.array([0, 1, 2, 3, 5])], np.ones(5), value(np.float64))
    assert np.isnan(z[jnp.array([4, 6])]).all()
    ok, no = status.CONVERGED, status.NO_BRACKET
    assert report.code.tolist() == [ok, ok, ok, ok, no, ok, status.NOT_FINITE]
    assert report.iterations.shape == (7,)
    assert float(report.error[0]) <= 1e-15


def test_lanes_without_a_root_have_nan_derivatives_and_spare_the_others():
    slope = jax.jit(jax.grad(lambda a: jnp.nansum(bisect(lambda z, a: z - a, 0.0, 1.0, a))))
    got = slope(jnp.array([0.25, 2.0, 0.75]))
    assert_close(got[jnp.array([0, 2])], np.ones(2), value(np.float64))
    assert got[1] != 1.0


def test_a_discarded_lane_outside_the_domain_of_its_parameter_spoils_no_derivative():
    def total(a, s):
        def lane(a):
            z, report = bisect(lambda z: z * z * s - jnp.sqrt(a), 0.0, 10.0, has_status=True)
            return jnp.where(report.converged, z, 7.0)

        return jnp.sum(jax.vmap(lane)(a))

    # z = a^(1/4) s^(-1/2)
    a = jnp.array([16.0, -1.0, 81.0])
    by_a, by_s = jax.jit(jax.grad(total, (0, 1)))(a, 1.0)
    assert_close(by_a, [1 / 32, 0.0, 1 / 108], value(np.float64))
    assert_close(by_s, -2.5, value(np.float64))
    by_both = jax.jit(jax.jacrev(jax.grad(total, 1), (0, 1)))(a, 1.0)
    assert_close(by_both[0], [-1 / 64, 0.0, -1 / 216], value(np.float64))
    assert_close(by_both[1], 3.75, value(np.float64))


def test_a_sign_change_at_a_pole_is_no_root():
    low, high = jnp.array([-1.0, 1.0, -1e-9, -1.0]), jnp.array([2.5, 2.0, 0.99, 2.0])

    def F(z):
        return jnp.stack([1 / z[0], jnp.tan(z[1]), jnp.sin(np.pi * z[2]), jnp.sign(z[3] - 0.3)])

    for tolerance in (None, 0.1):
        z, report = bisect(F, low, high, tolerance=tolerance, has_status=True)
        assert report.code.tolist() == [status.POLE, status.POLE, 0, 0]
        assert np.isnan(z).tolist() == [True, True, False, False]
    assert_close(bisect(F, low, high)[3], 0.3, value(np.float64))
    _, report = bisect(lambda z: 1 / z, -1.0, 2.5, has_status=True)
    assert "pole" in report.reason()


def test_equations_that_are_coupled_are_found_out():
    z, report = bisect(
        lambda z: z + 0.1 * z[::-1] - 1, jnp.zeros(4), 3.0 * jnp.ones(4), has_status=True
    )
    assert np.isnan(z).all()
    assert set(report.code.tolist()) == {status.NOT_ELEMENTWISE}


def test_tolerance_and_steps_bound_the_bracket():
    z, report = bisect(lambda z: z - np.pi, 0.0, 4.0, tolerance=1e-3, has_status=True)
    assert abs(float(z) - np.pi) <= 4e-3
    assert int(report.iterations) == 10
    z, report = bisect(lambda z: z - np.pi, 0.0, 4.0, max_iterations=3, has_status=True)
    assert np.isnan(z)
    assert report.reason().startswith("the iterations ran out")
    assert_close(report.error, 0.25, value(np.float64))


def test_misuse_is_refused_with_a_remedy():
    with pytest.raises(ArgumentError, match="finite"):
        bisect(lambda z: z, -jnp.inf, 1.0)
    with pytest.raises(ShapeError, match="elementwise"):
        bisect(lambda z: jnp.sum(z), jnp.zeros(3), jnp.ones(3))
    with pytest.raises(ConvergenceError, match="one sign at both ends"):
        bisect(lambda z: z + 1, 0.0, 1.0, throw=True)
    z = bisect(lambda z: z, jnp.zeros(0), jnp.zeros(0))
    assert z.shape == (0,)
