"""`constrained_cholesky`: factor a symmetric matrix on the plane A x = e, sparse and exactly."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from cholax._core.errors import StructureError
from cholax._core.failures import ConstrainedStatus, constrained_failure, throwing, tolerant
from cholax.analysis import Plan
from cholax.linalg.cholesky import cholesky
from cholax.linalg.factor import Factor
from cholax.linalg.matrix import SparseMatrix
from cholax.stats.constraints.constraints import Constraints, as_constraints, eliminated, remaining
from cholax.stats.constraints.factor import ConstrainedFactor
from cholax.stats.constraints.null_space import as_null_space, check_regular
from cholax.stats.constraints.pins import (
    border,
    checked_pins,
    choose_pins,
    maps_to_zero,
    pin_weights,
    pinned,
    relative_pivot,
    rounding_of_pivots,
    solve_border,
)
from cholax.stats.constraints.plans import plan_on_plane
from cholax.stats.constraints.rows import Rows
from cholax.stats.constraints.small import quasi_definite


def constrained_cholesky(
    Q: SparseMatrix,
    constraints: Constraints | None = None,
    *,
    pins: Sequence[int] | None = None,
    null_space: Any = None,
    ordering: Any = "auto",
    throw: bool = False,
) -> ConstrainedFactor:
    """Factor Q on the plane A x = e of linear constraints, keeping Q sparse.

    Q has to be positive definite on the plane only. Where Q itself may be singular, as intrinsic
    precisions are, *pins* regularise it: a positive number is added at k' diagonal entries before
    factoring, and taken back exactly by k' more columns in the low-rank correction. No result
    depends on that number.

    Args:
        Q: symmetric `SparseMatrix`.
        constraints: A x = e, or None.
        pins: variables to pin, enough that no vector of Q's null space vanishes on all of them; an
            empty sequence where Q is known to be positive definite, which saves their columns. By
            default one per vector of the null space, or one per constraint where that is not
            given, chosen by pivoted QR; none without either. Where constraints are eliminated,
            both are what is left of them, and a variable stands for its group.
        null_space: `(n, k')` basis of Q's null space where it is known: known parts of the
            correction are then exact, which saves the digits that the condition of Q costs. Has
            to be right: results are NaN where Q times the basis is not zero.
        ordering: as for `cholax.cholesky`.
        throw: raise a `NotPositiveDefiniteError` where Q is not positive definite on the plane,
            instead of giving NaN results; JAX's run-time error inside `jit`.

    Returns:
        A `ConstrainedFactor`, differentiable in Q's values and mapped over by `vmap`.

    Raises:
        ArgumentError: pins that repeat or are out of range.
        ShapeError: constraints or a null space on another number of variables.
        StructureError: Q is not symmetric by construction; the plane holds a vector of the null
            space; pins on which one vanishes.

    Example:
        >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
        >>> triangle = cx.from_dense(3.0 * jnp.eye(3) - 1.0, symmetric=True)
        >>> F = cs.constrained_cholesky(triangle, cs.Constraints(jnp.ones(3)))
        >>> F.inverse_diagonal().round(4).tolist()
        [0.2222, 0.2222, 0.2222]

    Reference:
        Rue & Held, *Gaussian Markov Random Fields* (2005), sections 2.3 and 3.2.
    """
    where = "constrained_cholesky"
    if not isinstance(Q, SparseMatrix) or not Q.symmetric:
        raise StructureError(
            f"{where}: need a symmetric SparseMatrix, got {Q!r}. "
            "Build it with symmetric=True, or call Q.symmetrize()."
        )
    constraints = as_constraints(constraints, Q.n, where)
    null = as_null_space(null_space, Q.n, where)
    rows, local = remaining(constraints), eliminated(constraints)
    plan = plan_on_plane(Q.pattern, local, ordering)
    if constraints is not None:
        constraints.right_hand_side(Q.dtype)
    if null is not None:
        null = check_regular(constraints, null, where)
    if pins is not None:
        pins = checked_pins(pins, Q.n, where)
        pins = pins if local is None else local.coordinates_of(pins)
    chosen = choose_pins(pins, rows, null, where)
    factor = _factorize(Q, constraints, chosen, null, plan)
    return _checked(factor) if throw or throwing.value else factor


def inside(Q: SparseMatrix, constraints: Constraints | None) -> SparseMatrix:
    """BᵀQB, the matrix on what the elimination leaves; Q itself without one."""
    local = eliminated(constraints)
    if local is None:
        return Q
    blocks = local.blocks(Q.pattern)
    return SparseMatrix(blocks.congruence(Q.values), blocks.inner)


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


@tolerant
@partial(jax.jit, static_argnums=(2, 3, 4))
def _factorize(
    Q: SparseMatrix,
    constraints: Constraints | None,
    pins: tuple[int, ...],
    null: Rows | None,
    plan: Plan,
) -> ConstrainedFactor:
    reduced = inside(Q, constraints)
    factor = cholesky(pinned(reduced, pins), ordering=plan)
    return restrict(Q, reduced, constraints, pins, null, factor)


def restrict(
    original: SparseMatrix,
    Q: SparseMatrix,
    constraints: Constraints | None,
    pins: tuple[int, ...],
    null: Rows | None,
    factor: Factor,
) -> ConstrainedFactor:
    """What `constrained_cholesky` returns, from a factor of `pinned(Q, pins)` at hand.

    Q is `inside(original, constraints)`, and null a null space of it.
    """
    rows = remaining(constraints)
    weights = pin_weights(Q, pins)
    tolerance = rounding_of_pivots(Q.n, Q.dtype)
    faults = [
        (factor.ok, ConstrainedStatus.NOT_POSITIVE_DEFINITE),
        (relative_pivot(factor) > tolerance, ConstrainedStatus.SINGULAR),
    ]
    if null is not None:
        faults.append((maps_to_zero(Q, null), ConstrainedStatus.WRONG_NULL_SPACE))
    if rows is None and not pins:
        nothing = None, None, jnp.zeros((), Q.dtype)
        return _finish(original, constraints, (), factor, *nothing, faults)
    k = 0 if rows is None else rows.k
    G = border(rows, pins, Q.n, Q.dtype)
    # Numbers also where it failed, for the products below: their adjoints multiply by them, and
    # 0 × NaN is NaN. Results are marked instead, and the plain part of each is NaN.
    solved = jnp.where(factor.ok, solve_border(factor, G, pins, weights, null), 0)
    S = G.T @ solved
    S = 0.5 * (S + S.T) - jnp.diag(jnp.concatenate([jnp.zeros(k, Q.dtype), 1 / weights]))
    scale = jnp.concatenate([lax.stop_gradient(jnp.diagonal(S)[:k]), 1 / weights])
    inverse, log_small, margin = quasi_definite(S, scale, k)
    faults.append((margin > tolerance, ConstrainedStatus.INDEFINITE_ON_PLANE))
    constant = 0.0 if rows is None else rows.log_gram
    log_det = log_small + jnp.sum(jnp.log(weights)) - jnp.asarray(constant, Q.dtype)
    return _finish(original, constraints, pins, factor, solved, inverse, log_det, faults)


def _finish(*parts: Any) -> ConstrainedFactor:
    """The factor with its status: the first of the faults, `(is not there, code)`."""
    *rest, faults = parts
    status = jnp.int32(ConstrainedStatus.OK)
    for absent, code in reversed(faults):
        status = jnp.where(absent, status, jnp.int32(code))
    sound = jnp.where(status == ConstrainedStatus.OK, 1.0, jnp.nan).astype(parts[0].dtype)
    return ConstrainedFactor(*rest, sound, status)
