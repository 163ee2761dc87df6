"""`constrained_cholesky`: factor a symmetric matrix under constraints A x = e, sparse and exactly.

What is static is decided first, on the host, and kept in a `ConstrainedPlan`: which rows are
eliminated, which variables are fixing ones, the null space that is left and the plan of the matrix
that is factored. The numeric part is then one program.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from cholax import primitives
from cholax._core.errors import ArgumentError, StructureError
from cholax._core.failures import ConstrainedStatus, constrained_failure, throwing, tolerant
from cholax._core.norms import max_norm, smallest
from cholax.analysis import Plan, analyze
from cholax.linalg.cholesky import cholesky, plan_for
from cholax.linalg.constants import LARGE, constant
from cholax.linalg.factor import Factor
from cholax.linalg.matrix import SparseMatrix
from cholax.linalg.quasi_definite import quasi_definite
from cholax.patterns import Pattern
from cholax.stats.constraints._constraints import Constraints, as_constraints
from cholax.stats.constraints._factor import ConstrainedFactor, border
from cholax.stats.constraints._null_space import as_null_space, check_regular
from cholax.stats.constraints._rows import RANK_TOLERANCE, Rows


def constrained_cholesky(
    Q: SparseMatrix,
    constraints: Constraints | None = None,
    *,
    fixing: Sequence[int] | None = None,
    null_space: Any = None,
    ordering: Any = "auto",
    throw: bool = False,
) -> ConstrainedFactor:
    """Factor Q under linear constraints A x = e, keeping Q sparse.

    Q has to be positive definite on the null space of A only. Where Q itself may be singular, as
    intrinsic precisions are, *fixing variables* regularise it: a positive number is added at k'
    diagonal entries before factoring, and taken back exactly by k' more columns in the low-rank
    correction. No result depends on that number.

    Args:
        Q: symmetric `SparseMatrix`.
        constraints: A x = e, or None.
        fixing: fixing variables, enough that no vector of Q's null space vanishes on all of them;
            an empty sequence where Q is known to be positive definite, which saves their columns.
            By default one per vector of the null space, or one per constraint where that is not
            given, chosen by pivoted QR; none without either. Where constraints are eliminated,
            both are what is left of them, and a variable stands for its group.
        null_space: `(n, k')` basis of Q's null space where it is known: known parts of the
            correction are then exact, which saves the digits that the condition of Q costs. Has
            to be right: results are NaN where Q times the basis is not zero.
        ordering: as for `cholax.cholesky`.
        throw: raise a `NotPositiveDefiniteError` where Q is not positive definite under the
            constraints, instead of giving NaN results; JAX's run-time error inside `jit`.

    Returns:
        A `ConstrainedFactor`, differentiable in Q's values and mapped over by `vmap`.

    Raises:
        ArgumentError: fixing variables that repeat or are out of range.
        ShapeError: constraints or a null space on another number of variables.
        StructureError: Q is not symmetric by construction; the constraints leave a vector of the
            null space free; fixing variables on which one vanishes.

    Example:
        >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
        >>> triangle = cx.from_dense(3.0 * jnp.eye(3) - 1.0, symmetric=True)
        >>> F = cs.constrained_cholesky(triangle, cs.Constraints(jnp.ones(3)))
        >>> F.inverse_diagonal().round(4).tolist()
        [0.2222, 0.2222, 0.2222]

    Reference:
        Rue & Held, *Gaussian Markov Random Fields* (2005), sections 2.3 and 3.2: conditioning by
        kriging, intrinsic fields. Brzobohatý, Dostál, Kozubek, Kovář & Markopoulos, "Cholesky
        decomposition with fixing nodes to stable computation of a generalized inverse of the
        stiffness matrix of a floating structure" (2011).
    """
    where = "constrained_cholesky"
    if not isinstance(Q, SparseMatrix) or not Q.symmetric:
        raise StructureError(
            f"{where}: need a symmetric SparseMatrix, got {Q!r}. "
            "Build it with symmetric=True, or call Q.symmetrize()."
        )
    constraints = as_constraints(constraints, Q.n, where)
    if constraints is not None:
        constraints.right_hand_side(Q.dtype)
    rows = None if constraints is None else constraints.rows
    null = as_null_space(null_space, Q.n, where)
    plan = ConstrainedPlan.of(Q.pattern, rows, ordering, fixing, null, where)
    factor = _factorize(Q, constraints, plan)
    return _checked(factor) if throw or throwing.value else factor


def _checked(factor: ConstrainedFactor) -> ConstrainedFactor:
    if not isinstance(factor.status, Tracer):
        return factor.check()
    jax.debug.callback(_raise_where_failed, factor.status)
    return factor


def _raise_where_failed(status: Any) -> None:
    failed = np.flatnonzero(status)
    if failed.size:
        member = f" (batch member {failed[0]})" if np.ndim(status) else ""
        raise constrained_failure(int(np.ravel(status)[failed[0]]), member)


@dataclass(frozen=True)
class ConstrainedPlan:
    """What is static about factorisations on one pattern under constraints; hashed, so static.

    Attributes:
        rows: the constraints' coefficients A, or None.
        fixing: the fixing variables; coordinates where rows are eliminated.
        null: the null space of what elimination leaves, where it is known.
        plan: of the matrix that is factored.
    """

    rows: Rows | None
    fixing: tuple[int, ...]
    null: Rows | None
    plan: Plan

    @classmethod
    def of(
        cls,
        pattern: Pattern,
        rows: Rows | None,
        ordering: Any,
        fixing: Sequence[int] | None,
        null: Rows | None,
        where: str,
    ) -> "ConstrainedPlan":
        """Choose the fixing variables and analyze what is left, after checking both."""
        local = None if rows is None else rows.local
        if local is None:
            plan = plan_for(pattern, ordering, where)
        else:
            plan = local.plan(pattern, ordering, where)
        if null is not None:
            null = check_regular(rows, null, where)
        if fixing is None:
            determining = null if null is not None or rows is None else rows.rest
            return cls(rows, () if determining is None else determining.pivots, null, plan)
        chosen = sorted(int(i) for i in fixing)
        if any(not 0 <= i < pattern.n for i in chosen) or len(set(chosen)) < len(chosen):
            raise ArgumentError(
                f"{where}: fixing must be distinct variables between 0 and {pattern.n - 1}, got "
                f"{list(fixing)}. Leave fixing out to have them chosen."
            )
        variables = tuple(chosen) if local is None else local.coordinates_of(chosen)
        if null is not None:
            _check_fixing(null, variables, where)
        return cls(rows, variables, null, plan)

    def reduced(self, Q: SparseMatrix) -> SparseMatrix:
        """BᵀQB, the matrix on what elimination leaves; Q itself without one."""
        if self.rows is None or self.rows.local is None:
            return Q
        blocks = self.rows.local.blocks(Q.pattern)
        return SparseMatrix(blocks.congruence(Q.values), blocks.inner)

    def extended(self, pattern: Pattern) -> "ConstrainedPlan":
        """The same for a pattern that contains the one it was made for, in the same order."""
        local = None if self.rows is None else self.rows.local
        inner = pattern if local is None else local.blocks(pattern).inner
        return replace(self, plan=analyze(inner, self.plan.perm))

    @tolerant
    def factorize(
        self,
        Q: SparseMatrix,
        constraints: Constraints | None,
        made: tuple[jax.Array, jax.Array] | None = None,
    ) -> ConstrainedFactor:
        """The factor of a matrix on the pattern.

        Args:
            Q: the matrix.
            constraints: A x = e with a right-hand side of this trace.
            made: panels and status of the `Factor` inside, where they are at hand.
        """
        reduced = self.reduced(Q)
        weights = _weights(reduced, self.fixing)
        regularised = reduced
        if self.fixing:
            where = jnp.asarray(reduced.pattern.diagonal_positions[list(self.fixing)])
            values = reduced.values.at[where].add(weights)
            regularised = SparseMatrix(values, reduced.pattern)
        if made is None:
            factor = cholesky(regularised, ordering=self.plan)
        else:
            factor = Factor(regularised, self.plan, *made)
        return self._corrected(Q, constraints, reduced, factor, weights)

    def _corrected(
        self,
        Q: SparseMatrix,
        constraints: Constraints | None,
        reduced: SparseMatrix,
        factor: Factor,
        weights: jax.Array,
    ) -> ConstrainedFactor:
        """The low-rank correction for the rows not eliminated and the fixing variables."""
        rows = None if self.rows is None or self.rows.rest.k == 0 else self.rows.rest
        fixing, dtype = self.fixing, Q.dtype
        tolerance = _rounding_of_pivots(reduced.n, dtype)
        faults = [
            (factor.ok, ConstrainedStatus.NOT_POSITIVE_DEFINITE),
            (_relative_pivot(factor) > tolerance, ConstrainedStatus.SINGULAR),
        ]
        if self.null is not None:
            faults.append((_maps_to_zero(reduced, self.null), ConstrainedStatus.WRONG_NULL_SPACE))
        if rows is None and not fixing:
            status, sound = _status(faults, dtype)
            zero = jnp.zeros((), dtype)
            return ConstrainedFactor(Q, constraints, self, factor, None, None, zero, sound, status)
        k = 0 if rows is None else rows.k
        G = border(rows, fixing, reduced.n, dtype)
        # Numbers also where it failed, for the products below: their adjoints multiply by them,
        # and 0 × NaN is NaN. Results are marked instead, and the plain part of each is NaN.
        solved = jnp.where(factor.ok, _solve_border(factor, G, fixing, weights, self.null), 0)
        S = G.T @ solved
        S = 0.5 * (S + S.T) - jnp.diag(jnp.concatenate([jnp.zeros(k, dtype), 1 / weights]))
        scale = jnp.concatenate([lax.stop_gradient(jnp.diagonal(S)[:k]), 1 / weights])
        inverse, log_small, margin = quasi_definite(S, scale, k)
        faults.append((margin > tolerance, ConstrainedStatus.NOT_DEFINITE_UNDER_CONSTRAINTS))
        log_gram = 0.0 if rows is None else rows.log_gram
        log_small = log_small + jnp.sum(jnp.log(weights)) - jnp.asarray(log_gram, dtype)
        status, sound = _status(faults, dtype)
        return ConstrainedFactor(
            Q, constraints, self, factor, solved, inverse, log_small, sound, status
        )


@tolerant
@partial(jax.jit, static_argnums=2)
def _factorize(
    Q: SparseMatrix, constraints: Constraints | None, plan: ConstrainedPlan
) -> ConstrainedFactor:
    return plan.factorize(Q, constraints)


def _status(faults: Any, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """The first of the faults `(is not there, code)`, and the 1 or NaN that marks results."""
    status = jnp.int32(ConstrainedStatus.OK)
    for absent, code in reversed(faults):
        status = jnp.where(absent, status, jnp.int32(code))
    return status, jnp.where(status == ConstrainedStatus.OK, 1.0, jnp.nan).astype(dtype)


def _check_fixing(null: Rows, fixing: tuple[int, ...], where: str) -> None:
    """Raise where a vector of the null space vanishes on all fixing variables."""
    seen = null.basis[list(fixing)]
    rank = np.linalg.matrix_rank(seen, tol=RANK_TOLERANCE) if fixing else 0
    if rank < null.k:
        raise ArgumentError(
            f"{where}: fixing must determine all {null.k} directions of the null space, but "
            f"{list(fixing)} determine {rank}. Leave fixing out to have them chosen."
        )


def _weights(Q: SparseMatrix, fixing: tuple[int, ...]) -> jax.Array:
    """Γ, of the size of Q's diagonal there; constants, as no result depends on them."""
    diagonal = lax.stop_gradient(Q.diagonal())
    largest = max_norm(diagonal)
    largest = jnp.where(largest > 0, largest, 1)
    own = diagonal[jnp.asarray(fixing, int)]
    # An isolated node of an intrinsic field has a zero diagonal, an indefinite matrix a negative
    # one.
    own_is_positive = own > jnp.finfo(Q.dtype).eps * largest
    return jnp.where(own_is_positive, own, largest - jnp.minimum(own, 0))


def _solve_border(
    factor: Factor,
    G: jax.Array,
    fixing: tuple[int, ...],
    weights: jax.Array,
    null: Rows | None,
) -> jax.Array:
    """P G; with a known null space V, P E = V(EᵀV)⁻¹Γ⁻¹ exactly.

    The solve is then of the residual of that value: zero, and with the right derivatives of every
    order, in all directions of Q.
    """
    if null is None or len(fixing) != null.k:
        return factor.solve(G)
    k = G.shape[1] - len(fixing)
    known = _interpolant(null, fixing, G.dtype) / weights
    residual = G[:, k:] - factor.A @ known
    right = jnp.concatenate([G[:, :k], residual - lax.stop_gradient(residual)], axis=1)
    return factor.solve(right).at[:, k:].add(known)


def _interpolant(null: Rows, fixing: tuple[int, ...], dtype: Any) -> jax.Array:
    """`(n, k)` basis of the null space that is the identity at the fixing variables."""
    at = list(fixing)
    small, one = np.linalg.inv(null.basis[at]), np.eye(null.k)
    if null.basis.size < LARGE:
        columns = null.basis @ small
        columns[at] = one
        return jnp.asarray(columns, dtype)
    # One large constant serves for this and for `_maps_to_zero`.
    columns = constant(null, "basis", dtype) @ jnp.asarray(small, dtype)
    return columns.at[np.array(at)].set(jnp.asarray(one, dtype))


def _maps_to_zero(Q: SparseMatrix, null: Rows) -> jax.Array:
    """Whether Q V = 0, to half of the digits."""
    values = lax.stop_gradient(Q.values)
    product = SparseMatrix(values, Q.pattern) @ constant(null, "basis", Q.dtype)
    size = max_norm(values)
    half = jnp.sqrt(jnp.finfo(Q.dtype).eps)
    return max_norm(product) <= half * size


def _relative_pivot(factor: Factor) -> jax.Array:
    """The smallest L_ii² relative to the diagonal entry it was left of."""
    if factor.n == 0:
        return jnp.asarray(jnp.inf, factor.A.dtype)
    (A, panels, _), plan = factor.tree_flatten()
    diagonal_map = primitives.diagonal_map(primitives.Ref(plan))
    roots = primitives.gather(diagonal_map, lax.stop_gradient(panels))
    permuted = primitives.EntryMap(plan.pattern.diagonal_positions[plan.perm], plan.pattern.nnz)
    return smallest(roots**2 / primitives.gather(permuted, lax.stop_gradient(A.values)))


def _rounding_of_pivots(n: int, dtype: Any) -> float:
    """Size, relative to its diagonal entry, below which a pivot is rounding error.

    Cholesky of singular lattices of 10², 10³, 10⁴, 10⁵ nodes leaves positive last pivots of up to
    26, 106, 129, 2160 spacings of the format where it does not fail, about 7√n.
    """
    return max(64.0, 16.0 * math.sqrt(n)) * float(jnp.finfo(dtype).eps)
