"""Variances of linear combinations B x of x ~ N(0, Σ), from a factorisation of the precision."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.errors import ShapeError
from cholax.linalg import maps, operands
from cholax.linalg.matrix import SparseMatrix
from cholax.linalg.operations import congruence, trace_product
from cholax.patterns import Pattern

# Rows that couple more pairs of variables than this many times the entries of Q go through solves:
# their pairs would fill the factor.
_FILL = 4


def combination_variance(factor: Any, B: Any, Q: SparseMatrix) -> jax.Array:
    """The diagonal of BΣBᵀ, without the other entries.

    Args:
        factor: a factorisation of Q with `solve` (products with Σ), `holding` and
            `selected_inverse`.
        B: `(m, n)` `SparseMatrix` or array.
        Q: the matrix factored.
    """
    where = "combination_variance"
    if not isinstance(B, SparseMatrix):
        B = operands.same_dtype(B, Q.dtype, where)
    if len(B.shape) != 2 or B.shape[1] != Q.n:
        raise ShapeError(
            f"{where}: need a matrix of shape (m, {Q.n}), got {B.shape}. "
            "One row per linear combination."
        )
    if not isinstance(B, SparseMatrix):
        return _by_solves(factor, B)
    B = B.as_general()
    if _couples_few(B.pattern, Q.pattern):
        return _by_entries(factor, B)
    return _by_solves(factor, B.to_dense())


def _couples_few(combinations: Pattern, precision: Pattern) -> bool:
    per_row = np.bincount(combinations.rows, minlength=1).astype(np.int64)
    if np.sum(per_row**2) > 100 * (combinations.nnz + precision.nnz):
        return False
    pairs, _ = maps.congruence(combinations)
    return pairs.nnz <= _FILL * precision.nnz


@jax.jit
def _by_entries(factor: Any, B: SparseMatrix) -> jax.Array:
    """diag(BΣBᵀ)_r = Σ_ij b_ri b_rj Σ_ij: linear in d, the transpose of d ↦ tr(BᵀDB Σ)."""
    pairs, _ = maps.congruence(B.pattern)
    covariance = factor.holding(pairs).selected_inverse(pairs)
    weigh = jax.grad(lambda d: trace_product(congruence(B, d), covariance))
    return weigh(jnp.ones(B.shape[0], B.dtype))


@jax.jit
def _by_solves(factor: Any, B: jax.Array) -> jax.Array:
    return jnp.sum(B.T * factor.solve(B.T), axis=0)
