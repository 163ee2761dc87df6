"""A batch member that failed and was discarded has no part in the derivatives of the others."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
import cholax.stats as cs
from tests import tolerances as tol

N = 5
M = cx.from_dense(4.0 * np.eye(N) - np.eye(N, k=1) - np.eye(N, k=-1), symmetric=True)
DIAGONAL = np.asarray(M.pattern.rows) == np.asarray(M.pattern.columns)
SUM = cs.Constraints(np.ones(N))
B = np.arange(1.0, N + 1)
GOOD, MIXED = np.array([0.0, 1.0]), np.array([0.0, -9.0, 1.0])


def weighted(x):
    return jnp.sum(jnp.sin(jnp.arange(1.0, x.size + 1).reshape(x.shape)) * x)


def matrix(s, t):
    return cx.SparseMatrix(M.values * t + s * DIAGONAL, M.pattern)


CONSTRAINED = {
    "log_det": lambda F: F.log_det(),
    "solve": lambda F: weighted(F.solve(jnp.asarray(B))),
    "inverse_diagonal": lambda F: weighted(F.inverse_diagonal()),
    "selected_inverse": lambda F: weighted(F.selected_inverse().values),
    "sample": lambda F: weighted(F.sample(jax.random.key(0), (2,))),
}


def constrained(name, s, t):
    F = cs.constrained_cholesky(matrix(s, t), SUM)
    return jnp.where(F.ok, CONSTRAINED[name](F), 0.0)


def field(s, t):
    field = cs.GMRF(0.0, matrix(s, t), SUM)
    return jnp.where(field.factor().ok, field.log_prob(jnp.asarray(B) - 3.0), 0.0)


def log_joint(u, s, t):
    return -0.5 * jnp.sum(t * u**2) * jnp.where(s < -5, -1.0, 1.0) - jnp.sum(jnp.exp(u * s / 10))


def laplace(s, t):
    result = cs.laplace(log_joint, jnp.zeros(3))(s, t)
    value = result.log_marginal + weighted(result.mode)
    return jnp.where(result.status.converged, value, 0.0)


VALUES = {name: partial(constrained, name) for name in CONSTRAINED}
VALUES |= {"field": field, "laplace": laplace}


def total(name, t, lanes):
    return jnp.sum(jax.vmap(VALUES[name], (0, None))(lanes, t) ** 2)


def check(name, mode):
    shared = jax.jit(mode(partial(total, name)))
    want, got = shared(1.0, GOOD), shared(1.0, MIXED)
    np.testing.assert_allclose(got, want, rtol=tol.gradient(jnp.float64))
    assert want != 0


@pytest.mark.parametrize("name", ["solve", "laplace"])
def test_a_discarded_lane_leaves_gradients_alone(name):
    check(name, jax.grad)


@pytest.mark.slow
@pytest.mark.parametrize("name", VALUES)
def test_a_discarded_lane_leaves_second_derivatives_alone(name):
    check(name, lambda f: jax.grad(jax.grad(f)))
    check(name, lambda f: jax.jacfwd(jax.grad(f)))
