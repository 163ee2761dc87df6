"""`fixed_point`: three iterations, one derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax.errors import ArgumentError, ConvergenceError, ShapeError
from cholax.implicit import fixed_point, status
from tests.implicit.systems import both_modes
from tests.tolerances import assert_close, gradient, value

METHODS = ("plain", "anderson", pytest.param("newton", marks=pytest.mark.slow))
SIZE = 60


def contraction(size=SIZE):
    rng = np.random.default_rng(4)
    A = rng.standard_normal((size, size))
    return jnp.asarray(A * 0.9 / np.linalg.norm(A, 2)), jnp.asarray(rng.standard_normal(size))


def layer(z, A, b):
    return A @ jnp.tanh(z) + b


@pytest.mark.parametrize("method", METHODS)
def test_derivatives_are_exact_in_both_modes_and_to_second_order(method):
    """dz/da of z = cos(a z), from the theorem by hand."""

    def solve(a):
        return fixed_point(lambda z, a: jnp.cos(a * z), 1.0, a, method=method)

    @jax.jit
    def derivatives(a):
        (z, reverse), (forward, second) = jax.jvp(jax.value_and_grad(solve), (a,), (1.0,))
        return z, forward, reverse, second

    a = 0.8
    z, forward, reverse, second = derivatives(a)
    assert_close(np.cos(a * z), z, value(np.float64))
    s, c = np.sin(a * z), np.cos(a * z)
    d1 = -z * s / (1 + a * s)
    d2 = -(2 * d1 * s + c * (z + a * d1) ** 2) / (1 + a * s)
    for got, want in ((forward, d1), (reverse, d1), (second, d2)):
        assert_close(got, want, gradient(np.float64))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["plain", "anderson"])
def test_matrix_free_derivatives_equal_dense_algebra(method):
    A, b = contraction()

    def solve(b):
        return fixed_point(layer, jnp.zeros(SIZE), A, b, method=method, tolerance=1e-6)

    z, forward, reverse = jax.jit(lambda b: both_modes(solve, b))(b)
    want = np.linalg.inv(np.eye(SIZE) - np.asarray(jax.jacfwd(layer)(z, A, b)))
    assert_close(forward, want, gradient(np.float64))
    assert_close(reverse, want, gradient(np.float64))


def test_anderson_is_faster_than_plain_and_converges_where_plain_cannot():
    spread = jnp.linspace(0.0, 0.95, 40)

    @jax.jit
    def solve(a, expand):
        maps = (lambda z: spread * z + a[0], lambda z: a - expand * z)
        starts = (jnp.zeros(40), jnp.zeros(3))
        return [
            [fixed_point(f, z0, method=m, has_status=True) for m in ("plain", "anderson")]
            for f, z0 in zip(maps, starts, strict=True)
        ]

    ((_, plain), (_, anderson)), ((lost, why), (found, _)) = solve(jnp.arange(1.0, 4.0), 1.5)
    assert plain.converged
    assert anderson.converged
    assert anderson.iterations < 0.5 * plain.iterations
    assert np.isnan(lost).all()
    # Its residual grows at each of the 1000 steps, to 1e176: finite, and never a new smallest one,
    # so that more steps, the advice for MAX_ITERATIONS, would lead nowhere.
    assert why.code == status.NO_PROGRESS
    assert_close(found, np.arange(1.0, 4.0) / 2.5, value(np.float64))


@pytest.mark.parametrize("method", [pytest.param("plain", marks=pytest.mark.slow), "anderson"])
def test_single_precision_stops_at_rounding_and_lanes_stop_by_themselves(method):
    A, b = (x.astype(jnp.float32) for x in contraction(6))

    def solve(scale):
        return fixed_point(
            layer, jnp.zeros(6, jnp.float32), scale * A, b, method=method, has_status=True
        )

    scales = jnp.array([0.0, 0.5, 1.0], jnp.float32)
    z, report = jax.jit(jax.vmap(solve))(scales)
    assert z.dtype == np.float32
    assert report.converged.all()
    assert report.iterations[0] < report.iterations[1] < report.iterations[2]
    for k, scale in enumerate(scales):
        assert_close(layer(z[k], scale * A, b), z[k], value(np.float32))


@pytest.mark.parametrize("method", ["plain", "anderson"])
@pytest.mark.parametrize(("dtype", "drift"), [(np.float64, 1e-9), (np.float32, 1e-4)])
def test_a_map_that_moves_everything_a_little_has_no_fixed_point(method, dtype, drift):
    start = jnp.asarray(1.0, dtype)
    z, report = fixed_point(lambda z: z + drift, start, method=method, has_status=True)
    assert np.isnan(z)
    assert int(report.code) == status.NO_PROGRESS


def test_pytrees_and_closed_over_values():
    def solve(a):
        z = fixed_point(
            lambda z: {"x": a * jnp.cos(z["y"]), "y": 0.5 * z["x"]}, {"x": 0.0, "y": 0.0}
        )
        return z["x"] + z["y"]

    step = 1e-5
    z, slope = jax.jit(jax.vmap(jax.value_and_grad(solve)))(
        jnp.array([0.9, 0.9 - step, 0.9 + step])
    )
    assert_close(slope[0], (z[2] - z[1]) / (2 * step), 1e-8)


def test_misuse_is_refused_with_a_remedy():
    with pytest.raises(ArgumentError, match="method"):
        fixed_point(jnp.cos, 1.0, method="aitken")
    with pytest.raises(ArgumentError, match="memory"):
        fixed_point(jnp.cos, 1.0, memory=0)
    with pytest.raises(ArgumentError, match="linear_solver"):
        fixed_point(jnp.cos, 1.0, linear_solver="cg")
    with pytest.raises(ShapeError, match="as many equations"):
        fixed_point(lambda z: z[:1], jnp.zeros(2))
    with pytest.raises(ConvergenceError, match="fixed_point"):
        fixed_point(lambda z: z + 1, 0.0, method="plain", max_iterations=5, throw=True)
