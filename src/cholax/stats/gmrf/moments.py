"""Second moments of a field: covariances on a pattern, variances of linear combinations."""

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.errors import ShapeError
from cholax._core.pickling import reduce_tuple
from cholax.linalg import maps, operands
from cholax.linalg.cholesky import plan_for
from cholax.linalg.matrix import SparseMatrix
from cholax.linalg.operations import congruence, trace_product
from cholax.patterns import Pattern, algebra
from cholax.stats.constraints.plans import outside, plan_on_plane

if TYPE_CHECKING:
    from cholax.stats.gmrf.gmrf import GMRF

# Rows that couple more pairs of variables than this many times the entries of Q go through solves:
# their pairs would fill the factor.
_FILL = 4


class Moments(NamedTuple):
    """Means and variances of linear combinations, `(m,)` each."""

    mean: jax.Array
    variance: jax.Array

    __reduce__ = reduce_tuple


def covariance_on_pattern(field: "GMRF", pattern: Pattern | None) -> SparseMatrix:
    """Entries of the covariance; the precision's pattern is extended by zeros where needed."""
    if pattern is not None:
        pattern = operands.pattern_of(pattern, "covariance_on_pattern")
    if pattern is not None and pattern.shape != (field.n, field.n):
        raise ShapeError(
            f"covariance_on_pattern: need a pattern of shape ({field.n}, {field.n}), got "
            f"{pattern.shape}."
        )
    return _covariance(field, pattern)


@partial(jax.jit, static_argnums=1)
def _covariance(field: "GMRF", pattern: Pattern | None) -> SparseMatrix:
    if pattern is not None:
        field = extended(field, pattern)
    return field.factor().selected_inverse(pattern)


def extended(field: "GMRF", pattern: Pattern) -> "GMRF":
    """The field with zeros stored in its precision, such that the factor holds the pattern."""
    rows, _ = field.plane_rows
    local = None if rows is None else rows.local
    plan = plan_on_plane(field.precision.pattern, local, field.ordering)
    symmetric = pattern if pattern.symmetric else algebra.fold(pattern)[0]
    if outside(symmetric, local, plan) is None:
        return field
    zeros = jnp.zeros(symmetric.nnz, field.precision.dtype)
    return with_precision(field, field.precision + SparseMatrix(zeros, symmetric))


def with_precision(field: "GMRF", precision: SparseMatrix) -> "GMRF":
    """The same field with another precision; an ordering made for the old pattern is dropped."""
    ordering = field.ordering
    if not isinstance(ordering, str) and precision.pattern != field.precision.pattern:
        ordering = plan_for(precision, ordering.perm)
    leaves, _ = field.tree_flatten()
    location, _, constraints, _ = leaves
    return type(field).tree_unflatten(
        (field.known_null, ordering), (location, precision, constraints, None)
    )


def linear_combination(field: "GMRF", B: Any) -> Moments:
    """Means and variances of B x."""
    dtype, where = field.precision.dtype, "linear_combination"
    if not isinstance(B, SparseMatrix):
        B = operands.same_dtype(B, dtype, where)
    if len(B.shape) != 2 or B.shape[1] != field.n:
        raise ShapeError(
            f"{where}: need a matrix of shape (m, {field.n}), got {B.shape}. "
            "One row per linear combination."
        )
    if isinstance(B, SparseMatrix):
        B = B.as_general()
        if _couples_few(B.pattern, field.precision.pattern):
            return _by_entries(field, B)
        B = B.to_dense()
    return _by_solves(field, B)


def _couples_few(combinations: Pattern, precision: Pattern) -> bool:
    per_row = np.bincount(combinations.rows, minlength=1).astype(np.int64)
    if np.sum(per_row**2) > 100 * (combinations.nnz + precision.nnz):
        return False
    pairs, _ = maps.congruence(combinations)
    return pairs.nnz <= _FILL * precision.nnz


@jax.jit
def _by_entries(field: "GMRF", B: SparseMatrix) -> Moments:
    """diag(BΣBᵀ)_r = Σ_ij b_ri b_rj Σ_ij: linear in d, the transpose of d ↦ tr(BᵀDB Σ)."""
    pairs, _ = maps.congruence(B.pattern)
    mean = B @ field.mean
    Sigma = extended(field, pairs).factor().selected_inverse(pairs)
    weigh = jax.grad(lambda d: trace_product(congruence(B, d), Sigma))
    return Moments(mean, weigh(jnp.ones(B.shape[0], B.dtype)))


@jax.jit
def _by_solves(field: "GMRF", B: jax.Array) -> Moments:
    solved = field.factor().solve(B.T)
    return Moments(B @ field.mean, jnp.sum(B.T * solved, axis=0))
