"""Correlation matrices and their Cholesky factors, from unconstrained canonical correlations."""

import math
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax.stats.support import Support


def _fill(z: jax.Array, k: int) -> jax.Array:
    """A strictly lower triangular matrix, row by row."""
    rows, columns = np.tril_indices(k, -1)
    return jnp.zeros((k, k), z.dtype).at[rows, columns].set(z)


def _log_sech_squared(z: jax.Array) -> jax.Array:
    """log(1 - tanh² z), smooth at 0 and without cancellation for large |z|."""
    return math.log(4.0) + jax.nn.log_sigmoid(2.0 * z) + jax.nn.log_sigmoid(-2.0 * z)


def _remainders(z: jax.Array) -> jax.Array:
    """Log √(1 - p²) summed over the columns before each one: log of what a row has left."""
    log_left = 0.5 * _log_sech_squared(z)
    return jnp.cumsum(log_left, axis=1) - log_left


@final
@dataclass(frozen=True)
class CholeskyCorrelation(Support):
    """Lower L with rows of length one and a positive diagonal, so that L Lᵀ is a correlation.

    With canonical partial correlations p = tanh z, row by row:
    L_ij = p_ij √Π_{l<j} (1 - p_il²) below the diagonal, L_ii = √Π_{l<i} (1 - p_il²).
    The Jacobian is with respect to the entries below the diagonal. Lewandowski, Kurowicka & Joe,
    "Generating random correlation matrices based on vines and extended onion method" (2009).
    """

    k: int

    def contains(self, x: Any) -> jax.Array:
        """Lower triangular, unit rows (to rounding) and a positive diagonal."""
        x = jnp.asarray(x)
        tolerance = 64 * float(jnp.finfo(x.dtype).eps)
        unit = jnp.all(jnp.abs(jnp.sum(x**2, axis=1) - 1.0) <= tolerance)
        lower = jnp.all(jnp.triu(x, 1) == 0.0)
        return unit & lower & jnp.all(jnp.diagonal(x) > 0.0)

    def forward(self, z: ArrayLike) -> jax.Array:
        """`(k (k - 1) / 2,)` reals to a `(k, k)` factor."""
        filled = _fill(jnp.asarray(z), self.k)
        one = jnp.eye(self.k, dtype=filled.dtype)
        # Above the diagonal both terms of the sum are zero.
        return (jnp.tanh(filled) + one) * jnp.exp(_remainders(filled))

    def inverse(self, x: ArrayLike) -> jax.Array:
        """A `(k, k)` factor to `(k (k - 1) / 2,)` reals."""
        x = jnp.asarray(x)
        # What row i has left before column j is the norm of its entries from j on, a sum
        # without the cancellation of one minus the entries before.
        left = jnp.sqrt(jnp.cumsum((x**2)[:, ::-1], axis=1)[:, ::-1])
        rows, columns = np.tril_indices(self.k, -1)
        return jnp.arctanh(x[rows, columns] / left[rows, columns])

    def log_jacobian(self, z: ArrayLike) -> jax.Array:
        """Σ_{j<i} log(1 - p_ij²) + ½ Σ_{l<j} log(1 - p_il²)."""
        z = jnp.asarray(z)
        remainders = _remainders(_fill(z, self.k))
        rows, columns = np.tril_indices(self.k, -1)
        return jnp.sum(_log_sech_squared(z)) + jnp.sum(remainders[rows, columns])


@final
@dataclass(frozen=True)
class Correlation(Support):
    """Symmetric positive definite matrices with a unit diagonal, C = L Lᵀ.

    The Jacobian is with respect to the entries below the diagonal.
    """

    k: int

    def contains(self, x: Any) -> jax.Array:
        """Symmetric, unit diagonal (to rounding) and positive definite."""
        x = jnp.asarray(x)
        tolerance = 64 * float(jnp.finfo(x.dtype).eps)
        symmetric = jnp.all(jnp.abs(x - x.T) <= tolerance)
        unit = jnp.all(jnp.abs(jnp.diagonal(x) - 1.0) <= tolerance)
        return symmetric & unit & jnp.all(jnp.isfinite(jnp.linalg.cholesky(x)))

    def forward(self, z: ArrayLike) -> jax.Array:
        """`(k (k - 1) / 2,)` reals to a `(k, k)` correlation matrix."""
        L = CholeskyCorrelation(self.k).forward(z)
        return L @ L.T

    def inverse(self, x: ArrayLike) -> jax.Array:
        """A correlation matrix to `(k (k - 1) / 2,)` reals."""
        return CholeskyCorrelation(self.k).inverse(jnp.linalg.cholesky(jnp.asarray(x)))

    def log_jacobian(self, z: ArrayLike) -> jax.Array:
        """That of the factor, and |∂C/∂L| = Π_j L_jj^(k - 1 - j), j from 0."""
        factor = CholeskyCorrelation(self.k)
        powers = self.k - 1 - np.arange(self.k)
        log_diagonal = jnp.log(jnp.diagonal(factor.forward(z)))
        return factor.log_jacobian(z) + jnp.sum(powers * log_diagonal)
