"""Small singular and regular precisions, and their dense twins by explicit bases."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

import cholax as cx

ISLANDS = ((0, 1), (1, 2), (2, 3), (0, 3), (4, 5), (5, 6), (4, 6))
N = 8  # node 7 has no neighbour


def laplacian(seed=0, edges=ISLANDS, n=N):
    """Laplacian of a graph with random positive weights, dense."""
    rng = np.random.default_rng(seed)
    W = np.zeros((n, n))
    for i, j in edges:
        W[i, j] = W[j, i] = rng.uniform(0.5, 2.0)
    return np.diag(W.sum(axis=1)) - W


def islands_null_space():
    """Indicators of the two islands and of the lonely node."""
    V = np.zeros((N, 3))
    V[:4, 0] = V[4:7, 1] = V[7, 2] = 1.0
    return V


def regular(seed=0):
    """A positive definite matrix on the same graph."""
    return laplacian(seed) + np.diag(np.random.default_rng(seed + 50).uniform(0.3, 2.0, N))


def sparse(dense, dtype=np.float64):
    return cx.from_dense(np.asarray(dense, dtype), symmetric=True)


def dense_of(pattern, values):
    """The symmetric dense matrix of half-stored values, in plain JAX."""
    lower = jnp.zeros(pattern.shape, values.dtype).at[pattern.rows, pattern.columns].set(values)
    return lower + jnp.tril(lower, -1).T


class Twin:
    """Everything about Q under A x = e from an orthonormal basis Z, dense."""

    def __init__(self, D, A=None, e=None):
        self.D = D
        jnp = np if isinstance(D, np.ndarray) and not isinstance(e, jax.Array) else jax.numpy
        n = D.shape[0]
        A = np.zeros((0, n)) if A is None else np.atleast_2d(A)
        self.Z = scipy.linalg.null_space(A) if len(A) else np.eye(n)
        R = self.Z.T @ D @ self.Z
        self.covariance = self.Z @ jnp.linalg.solve(R, self.Z.T)
        self.log_det = jnp.linalg.slogdet(R)[1]
        self.rank = self.Z.shape[1]
        shortest = np.linalg.pinv(A) if len(A) else np.zeros((n, 0))
        self.start = shortest @ (jnp.zeros(len(A)) if e is None else e)

    def solve(self, b):
        return self.start + self.covariance @ (b - self.D @ self.start)

    def log_prob(self, x, mean):
        r = x - mean
        constant = self.rank * np.log(2 * np.pi)
        return 0.5 * (self.log_det - constant - (r * (r @ self.D)).sum(axis=-1))


def derivatives(f):
    """Value, gradient, directional derivative and Hessian-vector product, in one program."""
    value_and_gradient = jax.value_and_grad(f)
    return jax.jit(lambda x, v: jax.jvp(value_and_gradient, (x,), (v,)))
