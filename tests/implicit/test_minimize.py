"""`minimize`: strict minima by sparse Newton, and stationary points that are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

from cholax.errors import ShapeError
from cholax.implicit import minimize, status
from tests.implicit.systems import both_modes
from tests.tolerances import assert_close, gradient, value


def rosenbrock(z, theta):
    return jnp.sum(theta[0] * (z[1:] - z[:-1] ** 2) ** 2 + (theta[1] - z[:-1]) ** 2)


def dense_derivative(f, z, theta):
    H, mixed = jax.jit(jax.jacfwd(jax.grad(f), (0, 1)))(z, theta)
    assert np.linalg.eigvalsh(H).min() > 0
    return -np.linalg.solve(H, mixed)


START = jnp.array([-1.2, 1.0, -0.5, 2.0])
THETA = jnp.array([3.0, 1.2])


def wavy(z, theta):
    return rosenbrock(z, theta) + 0.1 * jnp.sum((z[1:] - z[:-1]) ** 4)


def test_minimum_and_derivatives_equal_dense_algebra():
    z, forward, reverse = jax.jit(lambda t: both_modes(lambda t: minimize(wavy, START, t), t))(
        THETA
    )
    assert_close(jax.jit(jax.grad(wavy))(z, THETA), np.zeros(4), value(np.float64))
    want = dense_derivative(wavy, z, THETA)
    assert_close(forward, want, gradient(np.float64))
    assert_close(reverse, want, gradient(np.float64))


@pytest.mark.slow
def test_second_derivative_equals_the_dense_twin():
    def total(theta):
        return jnp.sum(jnp.sin(minimize(wavy, START, theta)))

    def twin(theta):
        # Two exact Newton steps from the solution, differentiated through.
        x = z
        for _ in range(2):
            x = x - jnp.linalg.solve(jax.hessian(wavy)(x, theta), jax.grad(wavy)(x, theta))
        return jnp.sum(jnp.sin(x))

    z = minimize(wavy, START, THETA)
    got = jax.jit(jax.jacfwd(jax.grad(total)))(THETA)
    assert_close(got, jax.jit(jax.hessian(twin))(THETA), gradient(np.float64))


@pytest.mark.parametrize("dtype", [pytest.param(np.float64, marks=pytest.mark.slow), np.float32])
def test_sparse_minimum_of_a_nonconvex_chain(dtype):
    n = 50
    start = jnp.asarray(np.tile([-1.2, 1.0], n // 2), dtype)
    bands = sp.diags_array([np.ones(n - 1), np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1])
    theta = jnp.array([10.0, 1.0], dtype)

    @jax.jit
    def solve(theta):
        return minimize(rosenbrock, start, theta, sparsity=bands.tocsc(), has_status=True)

    z, report = solve(theta)
    assert report.reason() == "converged"
    assert z.dtype == dtype
    slope = jax.jit(jax.grad(rosenbrock))(z, theta)
    assert_close(slope, np.zeros(n), 100 * value(dtype))


def test_points_that_are_no_strict_minimum_are_told_apart():
    """One lane each: a minimum, a saddle, a maximum to start on, a valley floor, a free fall."""
    functions = (
        lambda z: jnp.sum((z - 1) ** 2) + z[0] * z[1],
        lambda z: z[0] ** 2 - z[1] ** 2,
        lambda z: jnp.sum(jnp.cos(z)),
        lambda z: (z[0] - 1) ** 2 + 0 * z[1],
        lambda z: jnp.sum(z) + 0 * z[0] ** 2,
    )
    starts = jnp.array([[3.0, -4.0], [1.0, 0.0], [0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])

    @jax.jit
    @jax.vmap
    def solve(z0, k):
        return minimize(lambda z, k: jax.lax.switch(k, functions, z), z0, k, has_status=True)

    z, report = solve(starts, jnp.arange(5))
    assert report.converged.tolist() == [True, False, False, False, False]
    assert_close(z[0], np.array([2 / 3, 2 / 3]), value(np.float64))
    assert np.isnan(z[1:]).all()
    assert report.code[1:4].tolist() == [status.NOT_A_MINIMUM] * 3
    assert report.code[4] in (status.MAX_ITERATIONS, status.NOT_FINITE)


@pytest.mark.slow
def valley(n):
    """A quadratic whose Hessian has rank n − 1, and its value without the linear part."""
    A = np.random.default_rng(0).standard_normal((n, n - 1))
    return jnp.asarray(A @ A.T), jnp.asarray(A @ A.T @ np.ones(n))


@pytest.mark.parametrize("n", [pytest.param(2, marks=pytest.mark.slow), 20])
def test_a_flat_valley_has_no_strict_minimum(n):
    # Rounding may make the last pivot positive; the steps it gives run off to 1e150.
    H, b = (jnp.full((2, 2), 2.0), jnp.full(2, 2.0)) if n == 2 else valley(n)
    z, report = minimize(lambda z: 0.5 * z @ (H @ z) - b @ z, jnp.zeros(n), has_status=True)
    assert not bool(report.converged)
    assert np.isnan(z).all()
    assert float(report.residual) <= 1e-6
    z, report = minimize(
        lambda z: 0.5 * z @ (H @ z) - b @ z + 5e-7 * jnp.sum(z**2), jnp.zeros(n), has_status=True
    )
    assert bool(report.converged)
    want = np.linalg.solve(np.asarray(H) + 1e-6 * np.eye(n), b)
    np.testing.assert_allclose(z, want, atol=1e-7)


def test_newton_steps_that_contract_by_chance_are_taken_back():
    def chain(z):
        return jnp.sum(100.0 * (z[1:] - z[:-1] ** 2) ** 2 + (1.0 - z[:-1]) ** 2)

    z, report = minimize(chain, -jnp.ones(40), has_status=True)
    assert bool(report.converged)
    assert_close(z, np.ones(40), gradient(np.float64))


def test_a_kink_is_not_called_a_saddle():
    _, report = minimize(lambda z: jnp.sum(jnp.abs(z - 0.3)), jnp.ones(2), has_status=True)
    assert int(report.code) == status.SINGULAR
    assert float(report.residual) == 1.0


def test_closed_over_values_and_pytrees():
    def solve(a):
        z = minimize(
            lambda z: (z["x"] - a) ** 2 + jnp.sum((z["y"] - a * z["x"]) ** 2),
            {"x": 0.0, "y": jnp.zeros(2)},
        )
        return z["x"] + 3 * z["y"][1]

    slope = jax.jit(jax.vmap(jax.grad(solve)))(jnp.array([1.0, 2.0]))
    assert_close(slope, np.array([7.0, 13.0]), gradient(np.float64))


def test_functions_that_are_no_scalar_are_refused():
    with pytest.raises(ShapeError, match="one number"):
        minimize(lambda z: z, jnp.zeros(2))
