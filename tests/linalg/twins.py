"""Small sparse problems, their dense twins in plain JAX, and the tolerances of this folder."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

import cholax as cx


class tol:
    """Relative tolerances by dtype; measured errors lie a factor of ten or more below."""

    @staticmethod
    def value(dtype):
        return {"float64": 1e-12, "float32": 2e-5}[np.dtype(dtype).name]

    @staticmethod
    def gradient(dtype):
        return {"float64": 1e-11, "float32": 1e-4}[np.dtype(dtype).name]

    @staticmethod
    def second(dtype):
        return {"float64": 1e-10, "float32": 5e-4}[np.dtype(dtype).name]

    third = 1e-9
    finite_difference = 1e-6


def relative_error(got, want):
    """Largest deviation, relative to the largest entry (absolute where that is below one)."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, (got.shape, want.shape)
    if want.size == 0:
        return 0.0
    assert np.isfinite(got).all()
    return float(np.abs(got - want).max() / max(1.0, np.abs(want).max()))


def assert_close(got, want, tolerance):
    """Compare two pytrees of arrays leaf by leaf."""
    got, want = jax.tree.leaves(got), jax.tree.leaves(want)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        error = relative_error(a, b)
        assert error <= tolerance, f"relative error {error:.2e} > {tolerance:.0e}"


@dataclass(frozen=True)
class Problem:
    """A symmetric pattern with values, and the dense form of any values on it."""

    pattern: cx.Pattern
    values: np.ndarray

    @property
    def n(self):
        return self.pattern.n

    def matrix(self, values=None):
        return cx.SparseMatrix(self.values if values is None else values, self.pattern)

    def dense(self, values=None):
        values = jnp.asarray(self.values if values is None else values)
        i, j = self.pattern.rows, self.pattern.columns
        lower = jnp.zeros(self.pattern.shape, values.dtype).at[i, j].set(values)
        return lower + jnp.tril(lower, -1).T

    def direction(self, seed):
        """Values of a symmetric perturbation of about a tenth of the matrix."""
        return 0.1 * np.random.default_rng(seed).standard_normal(self.pattern.nnz)


def random_problem(n=9, entries=10, seed=0):
    """Random couplings in no particular order; the last index is coupled to nothing."""
    rng = np.random.default_rng(seed)
    off = np.zeros((n, n))
    for _ in range(entries):
        i, j = rng.integers(0, n - 1, 2)
        off[max(i, j), min(i, j)] += (i != j) * rng.normal()
    dense = np.diag(1.5 + rng.random(n) + np.abs(off + off.T).sum(axis=0)) + off
    A = cx.from_dense(dense, symmetric=True, half=True)
    return Problem(A.pattern, np.asarray(A.values))


def grid_problem(rows, columns, shift=1.0):
    """Five-point Laplacian of a grid plus `shift` times the identity."""
    index = np.arange(rows * columns).reshape(rows, columns)
    pairs = [(index[1:], index[:-1]), (index[:, 1:], index[:, :-1])]
    i = np.concatenate([a.ravel() for a, _ in pairs])
    j = np.concatenate([b.ravel() for _, b in pairs])
    degree = np.bincount(np.concatenate([i, j]), minlength=index.size) + shift
    diagonal = np.arange(index.size)
    values = np.concatenate([degree, -np.ones(i.size)])
    ends = np.concatenate([diagonal, i]), np.concatenate([diagonal, j])
    A = cx.from_coo(values, *ends, (index.size, index.size), symmetric=True, half=True)
    return Problem(A.pattern, np.asarray(A.values))


def dense_log_det(D):
    return 2 * jnp.sum(jnp.log(jnp.diag(jnp.linalg.cholesky(D))))


def dense_lower(D, perm):
    return jnp.linalg.cholesky(D[perm][:, perm])


def dense_half_solve_t(D, perm, z):
    """Pᵀ L⁻ᵀ z."""
    x = jax.scipy.linalg.solve_triangular(dense_lower(D, perm), z, lower=True, trans=1)
    return jnp.zeros_like(x).at[perm].set(x)


def dense_half_solve(D, perm, b):
    """L⁻¹ P b."""
    return jax.scipy.linalg.solve_triangular(dense_lower(D, perm), b[perm], lower=True)


def symmetric(rows):
    """Symmetric matrix from a list of full rows."""
    return cx.from_dense(np.array(rows, float), symmetric=True)


def from_lower(values, rows, columns, n):
    """Symmetric matrix from entries of its lower triangle."""
    return cx.from_coo(values, rows, columns, (n, n), symmetric=True, half=True)


def everything(F):
    """Every result of a factor, as a list of arrays."""
    b = np.ones(F.n, F.A.dtype)
    inverses = [F.selected_inverse().values, F.selected_inverse("filled").values]
    halves = [F.half_solve(b), F.half_solve_t(b), F.sample(jax.random.key(0))]
    return [F.log_det(), F.solve(b), F.inverse_diagonal(), F.lower().values, *inverses, *halves]
