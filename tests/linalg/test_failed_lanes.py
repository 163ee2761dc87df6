"""A batch member that failed and was discarded has no part in any derivative."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
from tests import tolerances as tol

N = 5
MATRIX = 4.0 * np.eye(N) - np.eye(N, k=1) - np.eye(N, k=-1)
MATRIX[0, 3] = MATRIX[3, 0] = 0.5
B = np.arange(1.0, N + 1)
# By symmetry; made once, as the entries of a traced matrix are unknown.
PLAIN = {
    symmetric: cx.from_scipy(sp.csc_matrix(MATRIX), symmetric=symmetric) for symmetric in (0, 1)
}
GOOD, MIXED = np.array([0.0, 1.0]), np.array([0.0, -9.0, 1.0])
KEEP = np.array([0, 2])


def weighted(x):
    return jnp.sum(jnp.sin(jnp.arange(1.0, x.size + 1).reshape(x.shape)) * x)


CHOLESKY = {
    "log_det": lambda F: F.log_det(),
    "solve": lambda F: weighted(F.solve(jnp.stack([B, B * B], axis=1))),
    "selected_inverse": lambda F: weighted(F.selected_inverse().values),
    "inverse_diagonal": lambda F: weighted(F.inverse_diagonal()),
    "half_solve": lambda F: weighted(F.half_solve(jnp.asarray(B))),
    "half_solve_t": lambda F: weighted(F.half_solve_t(jnp.asarray(B))),
    "sample": lambda F: weighted(F.sample(jax.random.key(0), (3,))),
    "lower": lambda F: weighted(F.lower().values),
}
LU = {
    "lu_solve": lambda F: weighted(F.solve(jnp.asarray(B))),
    "lu_transposed": lambda F: weighted(F.solve(jnp.asarray(B), transpose=True)),
    "lu_slogdet": lambda F: F.slogdet()[1],
}


def factor(name, s, t):
    """A factor that fails at s = −9; by LU where a NaN comes in."""
    symmetric = name in CHOLESKY
    A = PLAIN[symmetric]
    p = A.pattern
    shift = jnp.where(s == -9, jnp.nan, s) if not symmetric else s
    values = A.values * t + shift * jnp.asarray(np.asarray(p.rows) == np.asarray(p.columns), float)
    matrix = cx.SparseMatrix(values, p)
    return cx.cholesky(matrix) if symmetric else cx.lu(matrix)


def kept(name, s, t):
    F = factor(name, s, t)
    return jnp.where(F.ok, (CHOLESKY | LU)[name](F), 0.0)


def total(name, t, lanes):
    return jnp.sum(jax.vmap(partial(kept, name), (0, None))(lanes, t) ** 2)


FIRST = {
    "reverse": lambda f: jax.grad(f),
    "forward": lambda f: jax.jacfwd(f),
}
SECOND = {
    "forward over reverse": lambda f: jax.jacfwd(jax.grad(f)),
    "reverse over forward": lambda f: jax.grad(jax.jacfwd(f)),
    "reverse over reverse": lambda f: jax.grad(jax.grad(f)),
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
}


def check(name, mode):
    shared = jax.jit(mode(partial(total, name)))
    want, got = shared(1.0, GOOD), shared(1.0, MIXED)
    np.testing.assert_allclose(got, want, rtol=tol.gradient(jnp.float64))


@pytest.mark.parametrize("name", ["log_det", "solve", "selected_inverse", "lower", "lu_solve"])
def test_a_discarded_lane_leaves_gradients_of_shared_parameters_alone(name):
    check(name, FIRST["reverse"])


@pytest.mark.parametrize("name", ["log_det", "half_solve"])
def test_a_discarded_lane_leaves_second_derivatives_alone(name):
    check(name, SECOND["reverse over reverse"])


@pytest.mark.slow
@pytest.mark.parametrize("mode", (FIRST | SECOND).values(), ids=FIRST | SECOND)
@pytest.mark.parametrize("name", [*CHOLESKY, *LU])
def test_a_discarded_lane_has_no_part_in_any_derivative(name, mode):
    check(name, mode)


def test_the_gradient_of_a_discarded_lane_is_zero():
    gradient = jax.jit(jax.grad(partial(total, "log_det"), 1))(1.0, MIXED)
    assert gradient[1] == 0
    assert np.all(np.isfinite(gradient))
    assert np.all(gradient[KEEP] != 0)


@pytest.mark.parametrize("name", ["log_det", "solve", "lu_solve"])
def test_a_lane_that_counts_has_derivative_nan(name):
    def value(t):
        return (CHOLESKY | LU)[name](factor(name, jnp.asarray(-9.0), t))

    assert np.isnan(jax.jit(jax.grad(value))(1.0))


def test_a_zero_cotangent_of_a_good_lane_still_has_derivatives():
    # The gradient of ½ log_det² vanishes where log_det does, its derivative does not.
    def value(t):
        return 0.5 * cx.log_det(cx.eye(3) * t) ** 2

    assert jax.hessian(value)(1.0) == pytest.approx(9.0)
