"""`constrained_cholesky`: factor a symmetric matrix on the plane A x = e, sparse and exactly."""

from collections.abc import Sequence
from functools import partial
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.typing import ArrayLike

from cholax import primitives
from cholax._core.errors import CholaxError, StructureError
from cholax._core.failures import (
    ConstrainedStatus,
    Factorization,
    constrained_failure,
    throwing,
    tolerant,
)
from cholax.analysis import Plan
from cholax.implicit.failed_lanes import mark_entries
from cholax.linalg import operands
from cholax.linalg.cholesky import cholesky, plan_for
from cholax.linalg.factor import Factor
from cholax.linalg.factor_maps import inverse_map
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern
from cholax.stats.constraints.constraints import Constraints, as_constraints
from cholax.stats.constraints.null_space import as_null_space, check_regular
from cholax.stats.constraints.pins import (
    border,
    choose_pins,
    maps_to_zero,
    pin_weights,
    relative_pivot,
    rounding_of_pivots,
    solve_border,
)
from cholax.stats.constraints.pins import pinned as pinned
from cholax.stats.constraints.rows import Rows
from cholax.stats.constraints.sampling import draw, sample_shape
from cholax.stats.constraints.small import quasi_definite


@final
@jax.tree_util.register_pytree_node_class
class ConstrainedFactor(Factorization):
    """Factorisation of a symmetric Q on the plane A x = e; made by `constrained_cholesky`.

    With Z an orthonormal basis of the null space of A, ZᵀQZ has to be positive definite; Q itself
    may be singular. Pins, k' variables with selector E and positive weights Γ, make it regular
    without touching its pattern: Q + EΓEᵀ = L Lᵀ. With P its inverse, G = [Aᵀ E] and

        S = Gᵀ P G − diag(0, Γ⁻¹)

    everything on the plane follows exactly, whatever Γ is:

        [Q Aᵀ; A 0] [x; λ] = [b; e]      x = P b − P G S⁻¹ (Gᵀ P b − (e, 0))
        Z(ZᵀQZ)⁻¹Zᵀ                      P − P G S⁻¹ Gᵀ P
        log|ZᵀQZ|                        log|Q + EΓEᵀ| + log|det S| + log|Γ| − log|AAᵀ|

    and ZᵀQZ is positive definite exactly where S has k positive and k' negative pivots.

    Where it is not, `ok` is False and every result is NaN. So is a matrix that is singular up to
    rounding: no digit of its results would be right.

    Attributes:
        Q: the matrix.
        constraints: the `Constraints`, or None.
        pins: the pinned variables.
        factor: the `Factor` of Q + EΓEᵀ.
        solved: P G; None without constraints and pins.
        inverse: S⁻¹, likewise.
        log_small: what log|ZᵀQZ| has beyond log|Q + EΓEᵀ|.
        sound: 1, or NaN where the matrix is not positive definite on the plane.
        status: 0 where it is; else 1 not positive definite with its pins, 2 singular with its pins
            up to rounding, 3 the null space given is none, 4 not positive definite on the plane;
            `reason()` says it in words.
    """

    __slots__ = (
        "Q",
        "constraints",
        "factor",
        "inverse",
        "log_small",
        "pins",
        "solved",
        "sound",
        "status",
    )

    def __init__(self, *parts: Any) -> None:
        (self.Q, self.constraints, self.pins, self.factor) = parts[:4]
        (self.solved, self.inverse, self.log_small, self.sound, self.status) = parts[4:]

    def tree_flatten(self) -> tuple[Any, Any]:
        """Leaves: the matrix, the constraints' right-hand side, the factor and the small parts."""
        small = self.solved, self.inverse, self.log_small, self.sound, self.status
        return (self.Q, self.constraints, self.factor, *small), self.pins

    @classmethod
    def tree_unflatten(cls, pins: tuple[int, ...], leaves: Any) -> "ConstrainedFactor":
        """Rebuild from leaves, which may be any objects."""
        Q, constraints, *rest = leaves
        return cls(Q, constraints, pins, *rest)

    def __repr__(self) -> str:
        return f"ConstrainedFactor(n={self.n}, constraints={self.k}, pins={len(self.pins)})"

    def _error(self, status: int, member: str) -> CholaxError:
        return constrained_failure(status, member)

    @property
    def n(self) -> int:
        """Number of variables."""
        return self.factor.n

    @property
    def k(self) -> int:
        """Number of constraints."""
        return 0 if self.constraints is None else self.constraints.k

    @property
    def rank(self) -> int:
        """Dimension of the plane, n − k."""
        return self.n - self.k

    @property
    def ok(self) -> jax.Array:
        """Traced boolean: Q is positive definite on the plane. Results are NaN where it is not."""
        return ~jnp.isnan(self.sound)

    def solve(self, b: ArrayLike) -> jax.Array:
        """The x with A x = 0 that minimises ½xᵀQx − bᵀx: Z(ZᵀQZ)⁻¹Zᵀ b; Q⁻¹b without constraints.

        Args:
            b: `(n,)` or `(n, r)`, dtype of the matrix.

        Returns:
            x, of b's shape.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
            >>> F = cs.constrained_cholesky(cx.eye(2), cs.Constraints(jnp.ones(2)))
            >>> F.solve(jnp.array([1.0, 0.0])).round(6).tolist()
            [0.5, -0.5]
        """
        return _solve(self, operands.same_dtype(b, self.Q.dtype, "solve"), None)

    def solve_affine(self, b: ArrayLike, e: ArrayLike | None = None) -> jax.Array:
        """The x with A x = e that minimises ½xᵀQx − bᵀx.

        Args:
            b: `(n,)`, dtype of the matrix.
            e: `(k,)`, the constraints' own right-hand side when left out.

        Returns:
            `(n,)` x.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
            >>> F = cs.constrained_cholesky(cx.eye(2), cs.Constraints(jnp.ones(2)))
            >>> F.solve_affine(jnp.zeros(2), jnp.array([3.0])).round(6).tolist()
            [1.5, 1.5]
        """
        b = operands.vector(b, self.n, self.Q.dtype, "solve_affine")
        if self.constraints is None:
            return _solve(self, b, None)
        if e is None:
            return _solve(self, b, self.constraints.right_hand_side(self.Q.dtype))
        return _solve(self, b, operands.vector(e, self.k, self.Q.dtype, "solve_affine"))

    def log_det(self) -> jax.Array:
        """log|ZᵀQZ|, Z an orthonormal basis of the null space of A; log|Q| without constraints.

        For positive definite Q this is log|Q| + log|AQ⁻¹Aᵀ| − log|AAᵀ|. For singular Q with null
        space V and A = Vᵀ it is the log of the product of the non-zero eigenvalues.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
            >>> path = cx.from_dense(jnp.array([[1.0, -1.0], [-1.0, 1.0]]), symmetric=True)
            >>> F = cs.constrained_cholesky(path, cs.Constraints(jnp.ones(2)))
            >>> round(float(jnp.exp(F.log_det())), 6)
            2.0
        """
        return _log_det(self)

    def inverse_diagonal(self) -> jax.Array:
        """The diagonal of Z(ZᵀQZ)⁻¹Zᵀ, `(n,)`: variances where Q is a precision.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
            >>> F = cs.constrained_cholesky(cx.eye(2), cs.Constraints(jnp.ones(2)))
            >>> F.inverse_diagonal().round(6).tolist()
            [0.5, 0.5]
        """
        return _inverse_diagonal(self)

    def selected_inverse(self, pattern: Pattern | str | None = None) -> SparseMatrix:
        """Entries of Z(ZᵀQZ)⁻¹Zᵀ on a pattern: covariances under the constraints.

        Args:
            pattern: None for Q's own; or as for `Factor.selected_inverse`.

        Returns:
            The entries, as a matrix on the pattern.

        Raises:
            StructureError: an entry of the pattern lies outside the filled pattern.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
            >>> F = cs.constrained_cholesky(cx.eye(2), cs.Constraints(jnp.ones(2)))
            >>> F.selected_inverse().values.round(6).tolist()
            [0.5, 0.5]
        """
        inverse_map(self.factor.plan, pattern)  # checks the pattern
        return _selected_inverse(self, pattern)

    def sample(self, key: jax.Array, shape: int | Sequence[int] = ()) -> jax.Array:
        """Draw from N(0, Z(ZᵀQZ)⁻¹Zᵀ), on A x = 0; differentiable in Q's values.

        Args:
            key: a JAX random key.
            shape: shape of the stack of draws.

        Returns:
            `(*shape, n)` draws.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax, jax.numpy as jnp
            >>> F = cs.constrained_cholesky(cx.eye(3), cs.Constraints(jnp.ones(3)))
            >>> bool(jnp.abs(F.sample(jax.random.key(0), (4,)).sum(axis=-1)).max() < 1e-5)
            True
        """
        return draw(self, key, sample_shape(shape))


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
            given, chosen by pivoted QR; none without either.
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
    if null is not None:
        check_regular(constraints, null, where)
    chosen = choose_pins(pins, constraints, null, Q.n, where)
    if constraints is not None:
        constraints.right_hand_side(Q.dtype)
    factor = _factorise(Q, constraints, chosen, null, plan_for(Q, ordering))
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


@tolerant
@partial(jax.jit, static_argnums=(2, 3, 4))
def _factorise(
    Q: SparseMatrix,
    constraints: Constraints | None,
    pins: tuple[int, ...],
    null: Rows | None,
    plan: Plan,
) -> ConstrainedFactor:
    return restrict(Q, constraints, pins, null, cholesky(pinned(Q, pins), ordering=plan))


def restrict(
    Q: SparseMatrix,
    constraints: Constraints | None,
    pins: tuple[int, ...],
    null: Rows | None,
    factor: Factor,
) -> ConstrainedFactor:
    """What `constrained_cholesky` returns, from a factor of `pinned(Q, pins)` at hand."""
    weights = pin_weights(Q, pins)
    tolerance = rounding_of_pivots(Q.n, Q.dtype)
    faults = [
        (factor.ok, ConstrainedStatus.NOT_POSITIVE_DEFINITE),
        (relative_pivot(factor) > tolerance, ConstrainedStatus.SINGULAR),
    ]
    if null is not None:
        faults.append((maps_to_zero(Q, null), ConstrainedStatus.WRONG_NULL_SPACE))
    if constraints is None and not pins:
        return _finish(Q, None, (), factor, None, None, jnp.zeros((), Q.dtype), faults)
    k = 0 if constraints is None else constraints.k
    G = border(constraints, pins, Q.n, Q.dtype)
    # Numbers also where it failed, for the products below: their adjoints multiply by them, and
    # 0 × NaN is NaN. Results are marked instead, and the plain part of each is NaN.
    solved = jnp.where(factor.ok, solve_border(factor, G, pins, weights, null), 0)
    S = G.T @ solved
    S = 0.5 * (S + S.T) - jnp.diag(jnp.concatenate([jnp.zeros(k, Q.dtype), 1 / weights]))
    scale = jnp.concatenate([lax.stop_gradient(jnp.diagonal(S)[:k]), 1 / weights])
    inverse, log_small, margin = quasi_definite(S, scale, k)
    faults.append((margin > tolerance, ConstrainedStatus.INDEFINITE_ON_PLANE))
    constant = 0.0 if constraints is None else constraints.rows.log_gram
    log_det = log_small + jnp.sum(jnp.log(weights)) - jnp.asarray(constant, Q.dtype)
    return _finish(Q, constraints, pins, factor, solved, inverse, log_det, faults)


def _finish(*parts: Any) -> ConstrainedFactor:
    """The factor with its status: the first of the faults, `(is not there, code)`."""
    *rest, faults = parts
    status = jnp.int32(ConstrainedStatus.OK)
    for absent, code in reversed(faults):
        status = jnp.where(absent, status, jnp.int32(code))
    sound = jnp.where(status == ConstrainedStatus.OK, 1.0, jnp.nan).astype(parts[0].dtype)
    return ConstrainedFactor(*rest, sound, status)


# Compiled as they are also where they run eagerly: one program instead of one per operation.


@jax.jit
def _solve(factor: ConstrainedFactor, b: jax.Array, e: jax.Array | None) -> jax.Array:
    y = factor.factor.solve(b)
    if factor.solved is None:
        return mark_entries(y, factor.ok)
    numbers = jnp.where(factor.factor.ok, y, 0)
    right = border(factor.constraints, factor.pins, factor.n, y.dtype).T @ numbers
    if e is not None:
        right = right - jnp.concatenate([e, jnp.zeros(len(factor.pins), y.dtype)])
    x = mark_entries(y - factor.solved @ (factor.inverse @ right), factor.ok)
    if factor.constraints is None:
        return x
    # An identity in exact arithmetic, and so in derivatives: it takes x's rounding error back onto
    # the plane.
    rows = factor.constraints.rows
    off = jnp.asarray(rows.matrix, y.dtype) @ x
    off = off if e is None else off - e
    return x - jnp.asarray(rows.pseudo_inverse, y.dtype) @ off


@jax.jit
def _log_det(factor: ConstrainedFactor) -> jax.Array:
    return mark_entries(factor.factor.log_det() + factor.log_small, factor.ok)


@jax.jit
def _inverse_diagonal(factor: ConstrainedFactor) -> jax.Array:
    diagonal = factor.factor.inverse_diagonal()
    if factor.solved is not None:
        diagonal = diagonal - jnp.sum((factor.solved @ factor.inverse) * factor.solved, axis=1)
        # Where the constraints fix a variable, rounding leaves zero with either sign.
        diagonal = jnp.maximum(diagonal, 0)
    return mark_entries(diagonal, factor.ok)


@partial(jax.jit, static_argnums=1)
def _selected_inverse(factor: ConstrainedFactor, pattern: Pattern | str | None) -> SparseMatrix:
    plain = factor.factor.selected_inverse(pattern)
    values, target = plain.values, plain.pattern
    if factor.solved is not None:
        left = factor.solved @ factor.inverse
        low_rank = primitives.outer_on_pattern(target, left, factor.solved)
        if target.symmetric:
            # Off the diagonal the primitive adds both mirror entries, which are equal here.
            halves = np.where(target.rows == target.columns, 1.0, 0.5)
            low_rank = low_rank * jnp.asarray(halves, values.dtype)
        values = values - low_rank
    return SparseMatrix(mark_entries(values, factor.ok), target)
