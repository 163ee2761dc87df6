"""`ConstrainedFactor`: results of a factorisation under linear constraints A x = e."""

from collections.abc import Sequence
from functools import partial
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from cholax import primitives
from cholax._core import options
from cholax._core.errors import CholaxError
from cholax._core.failures import Factorization, constrained_failure
from cholax.implicit.failed_lanes import mark_entries
from cholax.linalg import operands
from cholax.linalg.combinations import combination_variance
from cholax.linalg.constants import LARGE, constant
from cholax.linalg.factor_maps import inverse_map
from cholax.linalg.matrix import SparseMatrix
from cholax.linalg.quasi_definite import quasi_definite
from cholax.patterns import Pattern, algebra
from cholax.stats.constraints._constraints import particular, pseudo_inverse
from cholax.stats.constraints._elimination import Covering, Elimination, diagonal_pattern
from cholax.stats.constraints._rows import Rows


@final
@jax.tree_util.register_pytree_node_class
class ConstrainedFactor(Factorization):
    """Factorisation of a symmetric Q under A x = e; made by `constrained_cholesky`.

    With Z an orthonormal basis of the null space of A, ZᵀQZ has to be positive definite; Q itself
    may be singular. Fixing variables, k' of them with selector E and positive weights Γ, make it
    regular without touching its pattern: Q + EΓEᵀ = L Lᵀ. With P its inverse, G = [Aᵀ E] and

        S = Gᵀ P G − diag(0, Γ⁻¹)

    everything under the constraints follows exactly, whatever Γ is:

        [Q Aᵀ; A 0] [x; λ] = [b; e]      x = P b − P G S⁻¹ (Gᵀ P b − (e, 0))
        Z(ZᵀQZ)⁻¹Zᵀ                      P − P G S⁻¹ Gᵀ P
        log|ZᵀQZ|                        log|Q + EΓEᵀ| + log|det S| + log|Γ| − log|AAᵀ|

    and ZᵀQZ is positive definite exactly where S has k positive and k' negative pivots.

    Where it is not, `ok` is False and every result is NaN. So is a matrix that is singular up to
    rounding: no digit of its results would be right.

    Many constraints on small disjoint groups of variables are eliminated first: x = A⁺e + B u with
    a sparse B of orthonormal columns, and all of the above holds for BᵀQB and the constraints that
    are left. `rest`, fixing, factor, solved and inverse are then those of the coordinates u.

    Attributes:
        Q: the matrix.
        constraints: the `Constraints`, or None.
        plan: what is static about it, a `ConstrainedPlan`.
        factor: the `Factor` of Q + EΓEᵀ.
        solved: P G; None without constraints and fixing variables.
        inverse: S⁻¹, likewise.
        log_small: what log|ZᵀQZ| has beyond log|Q + EΓEᵀ|.
        sound: 1, or NaN where the matrix is not positive definite under the constraints.
        status: 0 where it is; else 1 not positive definite with its fixing variables, 2 singular
            with them up to rounding, 3 the null space given is none, 4 not positive definite under
            the constraints; `reason()` says it in words.
    """

    __slots__ = (
        "Q",
        "constraints",
        "factor",
        "inverse",
        "log_small",
        "plan",
        "solved",
        "sound",
        "status",
    )

    def __init__(self, *parts: Any) -> None:
        (self.Q, self.constraints, self.plan, self.factor) = parts[:4]
        (self.solved, self.inverse, self.log_small, self.sound, self.status) = parts[4:]

    def tree_flatten(self) -> tuple[Any, Any]:
        """Leaves: the matrix, the constraints' right-hand side, the factor and the small parts."""
        small = self.solved, self.inverse, self.log_small, self.sound, self.status
        return (self.Q, self.constraints, self.factor, *small), self.plan

    @classmethod
    def tree_unflatten(cls, plan: Any, leaves: Any) -> "ConstrainedFactor":
        """Rebuild from leaves, which may be any objects."""
        Q, constraints, *rest = leaves
        return cls(Q, constraints, plan, *rest)

    def __repr__(self) -> str:
        return f"ConstrainedFactor(n={self.n}, constraints={self.k}, fixing={len(self.fixing)})"

    def _error(self, status: int, member: str) -> CholaxError:
        return constrained_failure(status, member)

    @property
    def fixing(self) -> tuple[int, ...]:
        """The fixing variables; coordinates u where constraints are eliminated."""
        return self.plan.fixing

    @property
    def n(self) -> int:
        """Number of variables."""
        return self.Q.pattern.n

    @property
    def local(self) -> Elimination | None:
        """The constraints that are eliminated; None where there are not many of them."""
        return None if self.constraints is None else self.constraints.rows.local

    @property
    def rest(self) -> Rows | None:
        """Rows of the constraints that are not eliminated, on what is left; None without."""
        rest = None if self.constraints is None else self.constraints.rows.rest
        return rest if rest is not None and rest.k else None

    @property
    def k(self) -> int:
        """Number of constraints."""
        return 0 if self.constraints is None else self.constraints.k

    @property
    def rank(self) -> int:
        """Dimension n − k of the null space of A."""
        return self.n - self.k

    @property
    def pivot(self) -> jax.Array:
        """Traced integer: a variable where the regularised matrix failed to factor, or -1."""
        if self.local is None:
            return self.factor.pivot
        found = jnp.asarray(self.local.variable_of)[jnp.maximum(self.factor.pivot, 0)]
        return jnp.where(self.factor.pivot < 0, -1, found).astype(self.factor.pivot.dtype)

    @property
    def ok(self) -> jax.Array:
        """Traced boolean: Q is positive definite under the constraints; else results are NaN."""
        return ~jnp.isnan(self.sound)

    def solve(self, b: ArrayLike) -> jax.Array:
        """The x with A x = 0 that minimizes ½xᵀQx − bᵀx: Z(ZᵀQZ)⁻¹Zᵀ b; Q⁻¹b without constraints.

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
        """The x with A x = e that minimizes ½xᵀQx − bᵀx.

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
            SparsityError: an entry of the pattern lies outside the filled pattern.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
            >>> F = cs.constrained_cholesky(cx.eye(2), cs.Constraints(jnp.ones(2)))
            >>> F.selected_inverse().values.round(6).tolist()
            [0.5, 0.5]
        """
        if self.local is None:
            inverse_map(self.factor.plan, pattern)  # checks the pattern
            return _selected_inverse(self, pattern)
        return _spread(self, self.local.covering(pattern, self.Q.pattern, self.factor.plan))

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
        return _draw(self, key, options.sizes(shape, "sample"))

    def combination_variance(self, B: Any) -> jax.Array:
        """diag(BΣBᵀ), `(m,)`, with Σ = Z(ZᵀQZ)⁻¹Zᵀ: variances of linear combinations B x.

        Args:
            B: `(m, n)` `SparseMatrix` or array, as for `Factor.combination_variance`.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
            >>> F = cs.constrained_cholesky(cx.eye(2), cs.Constraints(jnp.ones(2)))
            >>> F.combination_variance(jnp.array([[1.0, -1.0], [1.0, 1.0]])).round(6).tolist()
            [2.0, 0.0]
        """
        return combination_variance(self, B, self.Q)

    def holding(self, pattern: Pattern) -> "ConstrainedFactor":
        """The same factorisation such that `selected_inverse` gives a pattern's entries.

        As `Factor.holding`: itself, or the factorisation of Q with zeros stored.
        """
        symmetric = pattern if pattern.symmetric else algebra.fold(pattern)[0]
        inner = symmetric if self.local is None else self.local.blocks(symmetric).inner
        if np.all(np.asarray(self.factor.plan.locate(inner)) >= 0):
            return self
        Q = self.Q + SparseMatrix(jnp.zeros(symmetric.nnz, self.Q.dtype), symmetric)
        return self.plan.extended(Q.pattern).factorize(Q, self.constraints)


# Compiled as they are also where they run eagerly: one program instead of one per operation.


@jax.jit
def _solve(factor: ConstrainedFactor, b: jax.Array, e: jax.Array | None) -> jax.Array:
    local = factor.local
    if local is None:
        return _on_rest(factor, b, e)
    if e is None:
        return mark_entries(local.lift(_on_rest(factor, local.restrict(b), None)), factor.ok)
    start, left = particular(factor.constraints.rows, e)
    u = _on_rest(factor, local.restrict(b - factor.Q @ start), left)
    return mark_entries(start + local.lift(u), factor.ok)


def _on_rest(factor: ConstrainedFactor, b: jax.Array, e: jax.Array | None) -> jax.Array:
    """The solution on what the elimination leaves, which is all there is without one."""
    y, rows = factor.factor.solve(b), factor.rest
    if factor.solved is None:
        return mark_entries(y, factor.ok)
    numbers = jnp.where(factor.factor.ok, y, 0)
    right = border(rows, factor.fixing, factor.factor.n, y.dtype).T @ numbers
    if e is not None:
        right = right - jnp.concatenate([e, jnp.zeros(len(factor.fixing), y.dtype)])
    x = mark_entries(y - factor.solved @ (factor.inverse @ right), factor.ok)
    if rows is None:
        return x
    # An identity in exact arithmetic, and so in derivatives: it takes back x's rounding error.
    off = constant(rows, "matrix", y.dtype) @ x
    off = off if e is None else off - e
    return x - pseudo_inverse(rows, y.dtype) @ off


@jax.jit
def _log_det(factor: ConstrainedFactor) -> jax.Array:
    return mark_entries(factor.factor.log_det() + factor.log_small, factor.ok)


@jax.jit
def _inverse_diagonal(factor: ConstrainedFactor) -> jax.Array:
    if factor.local is not None:
        blocks = factor.local.blocks(diagonal_pattern(factor.n))
        values = blocks.spread(_selected_inverse(factor, blocks.inner).values)
        return mark_entries(jnp.maximum(values, 0), factor.ok)
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


@partial(jax.jit, static_argnums=1)
def _spread(factor: ConstrainedFactor, target: Covering) -> SparseMatrix:
    """Entries of BΣBᵀ, Σ the covariance on what the elimination leaves."""
    assert factor.local is not None
    blocks = factor.local.blocks(target.symmetric)
    values = blocks.spread(_selected_inverse(factor, blocks.inner).values)
    values = mark_entries(values, factor.ok)
    return SparseMatrix(primitives.gather(target.source, values), target.pattern)


@partial(jax.jit, static_argnums=2)
def _draw(factor: ConstrainedFactor, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws of N(0, Z(ZᵀQZ)⁻¹Zᵀ), `(*shape, n)`.

    1. x ~ N(0, P), P the inverse of the regularised matrix;
    2. x − PAᵀ(APAᵀ)⁻¹A x is N(0, Σ), conditioning by kriging, but of the regularised matrix;
    3. the covariance sought is Σ + ΣE C⁻¹ EᵀΣ with C = Γ⁻¹ − EᵀΣE, and −C⁻¹ is the trailing block
       of S⁻¹, −ΣE C⁻¹ the trailing columns of P G S⁻¹. So ΣE C^(−½) times white noise is added;
    4. where rows are eliminated all this is u, and B u is returned.
    """
    for_field, for_fixing = jax.random.split(key)
    x = factor.factor.sample(for_field, shape)
    count = len(factor.fixing)
    rows, local = factor.rest, factor.local
    k = 0 if rows is None else rows.k
    A: Any = None if rows is None else constant(rows, "matrix", x.dtype)
    if rows is not None:
        PAt = factor.solved[:, :k]
        # Numbers also where the factorisation failed: 0 × NaN would be the adjoint.
        numbers = jnp.where(factor.factor.ok, x, 0)
        x = x - (numbers @ A.T) @ _inverse(A @ PAt) @ PAt.T
    if count:
        inverse_C = jnp.where(factor.ok, -factor.inverse[k:, k:], jnp.eye(count, dtype=x.dtype))
        SigmaE = -(factor.solved @ factor.inverse[:, k:]) @ _inverse(inverse_C)
        white = jax.random.normal(for_fixing, (*x.shape[:-1], count), x.dtype)
        x = x + white @ _root(inverse_C).T @ SigmaE.T
    if rows is not None:
        # The rounding error of x is taken back.
        off = x @ A.T
        x = x - off @ pseudo_inverse(rows, x.dtype).T
    if local is not None:
        x = local.basis.along(mark_entries(x, factor.ok))
    return mark_entries(x, factor.ok)


def _inverse(M: jax.Array) -> jax.Array:
    """Inverse of a small positive definite matrix."""
    M = 0.5 * (M + M.T)
    return quasi_definite(M, lax.stop_gradient(jnp.diagonal(M)), M.shape[0])[0]


def _root(M: jax.Array) -> jax.Array:
    return jnp.sqrt(M) if M.shape == (1, 1) else jnp.linalg.cholesky(M)


def border(rows: Rows | None, fixing: tuple[int, ...], n: int, dtype: Any) -> jax.Array:
    """G = [Aᵀ E], a constant."""
    k = 0 if rows is None else rows.k
    if n * (k + len(fixing)) < LARGE:
        A = np.zeros((0, n)) if rows is None else rows.matrix
        E = np.zeros((len(fixing), n))
        E[np.arange(len(fixing)), list(fixing)] = 1.0
        return jnp.asarray(np.concatenate([A, E]).T, dtype)
    E = (np.array(fixing, np.int32) == jnp.arange(n, dtype=np.int32)[:, None]).astype(dtype)
    return E if rows is None else jnp.concatenate([constant(rows, "matrix", dtype).T, E], axis=1)
