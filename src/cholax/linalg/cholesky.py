"""`cholesky` and the `Factor` it returns: everything that is computed from one factorisation."""

from collections.abc import Sequence
from functools import partial
from typing import Any, final

import jax
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from cholax import primitives
from cholax._core.errors import NotPositiveDefiniteError, ShapeError, StructureError
from cholax.linalg import operands
from cholax.linalg.factor_maps import FILLED, inverse_map, lower_map
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern
from cholax.symbolic import Plan, analyse


@final
@jax.tree_util.register_pytree_node_class
class Factor:
    """Sparse Cholesky factorisation L Lᵀ = P A Pᵀ of a symmetric positive definite matrix.

    Made by `cholesky`. Every method reuses the one numeric factorisation, under `jit` and in
    derivatives of any order: `solve` and `log_det` differentiate the problem, not the
    factorisation, and only `lower`, `sample` and the half solves differentiate L itself.

    A matrix that is not positive definite gives `ok = False` and NaN results; see `checked`.

    Attributes:
        A: the matrix factored.
        plan: its symbolic factorisation (`plan.nnz_factor`, `plan.flops`).
    """

    __slots__ = ("A", "_panels", "plan", "status")

    def __init__(self, A: SparseMatrix, plan: Plan, panels: Any, status: Any) -> None:
        self.A = A
        self.plan = plan
        self._panels = panels
        self.status = status

    def tree_flatten(self) -> tuple[Any, Any]:
        """Leaves: the matrix, the factor's entries and the status."""
        return (self.A, self._panels, self.status), self.plan

    @classmethod
    def tree_unflatten(cls, plan: Plan, leaves: Any) -> "Factor":
        """Rebuild from leaves, which may be any objects."""
        A, panels, status = leaves
        return cls(A, plan, panels, status)

    def __repr__(self) -> str:
        return (
            f"Factor(n={self.plan.n}, nnz(L)={self.plan.nnz_factor}, "
            f"dtype={getattr(self._panels, 'dtype', None)})"
        )

    @property
    def n(self) -> int:
        """Order of the matrix."""
        return self.plan.n

    @property
    def perm(self) -> np.ndarray:
        """`(n,)` the fill-reducing permutation: `perm[i]` is the row of A at place i of L."""
        return self.plan.perm

    @property
    def ok(self) -> jax.Array:
        """Traced boolean: the matrix was positive definite. Results are NaN where it is False."""
        return self.status == 0

    @property
    def pivot(self) -> jax.Array:
        """Traced integer: the row of A whose pivot failed, or -1."""
        return self.status - 1

    def solve(self, b: ArrayLike) -> jax.Array:
        """Solve A x = b.

        x = A⁻¹ b;  dx = A⁻¹ (db − dA x).

        Args:
            b: `(n,)` or `(n, k)`, dtype of the matrix.

        Returns:
            x, of b's shape.

        Example:
            >>> import cholax as cx, numpy as np
            >>> F = cx.cholesky(cx.eye(3) * 4.0)
            >>> F.solve(np.ones(3)).tolist()
            [0.25, 0.25, 0.25]
        """
        b, columns = self._right_hand_side(b, "Factor.solve")
        x = primitives.solve(self.plan, self.A.values, self._panels, columns)
        return x.reshape(b.shape)

    def log_det(self) -> jax.Array:
        """log|A| = 2 Σ log L_ii;  d log|A| = tr(A⁻¹ dA), one selected inverse.

        Example:
            >>> import cholax as cx
            >>> round(float(cx.cholesky(cx.eye(3) * 4.0).log_det()), 6)
            4.158883
        """
        return primitives.log_determinant(self.plan, self.A.values, self._panels)

    def selected_inverse(self, pattern: Pattern | str | None = None) -> SparseMatrix:
        """Entries of A⁻¹ on a sparsity pattern, by the Takahashi recursions.

        d(A⁻¹) = −A⁻¹ dA A⁻¹ on the pattern, at a small multiple of the cost of one factorisation.

        Args:
            pattern: None for A's own pattern; `"filled"` for every entry the recursion gives (the
                pattern of L + Lᵀ in A's labels); or any pattern inside that one, symmetric or not.

        Returns:
            The entries of A⁻¹, as a matrix on the pattern.

        Raises:
            StructureError: an entry of the pattern lies outside the filled pattern.

        Reference:
            Takahashi, Fagan & Chin (1973); Rue & Martino (2007).
        """
        target, entry_map = inverse_map(self.plan, pattern)
        weighted = primitives.selected_inverse(self.plan, self._panels)
        return SparseMatrix(primitives.gather(entry_map, weighted), target)

    def inverse_diagonal(self) -> jax.Array:
        """diag(A⁻¹), `(n,)`: the marginal variances where A is a precision matrix."""
        return self.selected_inverse().diagonal()

    def half_solve(self, b: ArrayLike) -> jax.Array:
        """L⁻¹ P b, of b's shape: A⁻¹ b = half_solve_t(half_solve(b)), ‖half_solve(b)‖² = bᵀA⁻¹b."""
        b, columns = self._right_hand_side(b, "Factor.half_solve")
        permuted = primitives.permute(self.plan, columns, transpose=False)
        x = primitives.triangular_solve(self.plan, self._panels, permuted, transpose=False)
        return x.reshape(b.shape)

    def half_solve_t(self, z: ArrayLike) -> jax.Array:
        """Pᵀ L⁻ᵀ z, of z's shape: of covariance A⁻¹ when z is white noise."""
        z, columns = self._right_hand_side(z, "Factor.half_solve_t")
        x = primitives.triangular_solve(self.plan, self._panels, columns, transpose=True)
        return primitives.permute(self.plan, x, transpose=True).reshape(z.shape)

    def sample(self, key: jax.Array, shape: int | Sequence[int] = ()) -> jax.Array:
        """Draw from N(0, A⁻¹): x = Pᵀ L⁻ᵀ z, z white noise; differentiable in A's values.

        Args:
            key: a JAX random key.
            shape: shape of the stack of draws.

        Returns:
            `(*shape, n)` draws.
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        z = jax.random.normal(key, (self.n, int(np.prod(shape))), self._panels.dtype)
        return self.half_solve_t(z).T.reshape(*shape, self.n)

    def lower(self) -> SparseMatrix:
        """L as a sparse matrix in permuted labels, on its exact pattern: L Lᵀ = A[perm, perm].

        dL = L Φ(L⁻¹ dA L⁻ᵀ), Φ the lower triangle with halved diagonal, on the filled pattern.
        """
        pattern, entry_map = lower_map(self.plan)
        return SparseMatrix(primitives.gather(entry_map, self._panels), pattern)

    def _right_hand_side(self, b: ArrayLike, where: str) -> tuple[jax.Array, jax.Array]:
        array = operands.same_dtype(b, self._panels.dtype, where)
        if array.ndim not in (1, 2) or array.shape[0] != self.n:
            raise ShapeError(
                f"{where}: need a right-hand side of shape ({self.n},) or ({self.n}, k), got "
                f"{array.shape}. For more batch dimensions use jax.vmap."
            )
        return array, array.reshape(self.n, -1) if array.size else array.reshape(self.n, _k(array))


def _k(array: jax.Array) -> int:
    return 1 if array.ndim == 1 else array.shape[1]


def cholesky(A: SparseMatrix, *, ordering: Any = "auto", throw: bool = False) -> Factor:
    """Factor a sparse symmetric positive definite matrix: L Lᵀ = P A Pᵀ.

    The symbolic analysis is made once per pattern and ordering and kept with the pattern; the
    numeric factorisation is traced, so it jits, vmaps over A's values and differentiates.

    Args:
        A: a symmetric `SparseMatrix`, float32 or float64.
        ordering: `"auto"`, `"amd"`, `"nested_dissection"`, `"rcm"`, `"natural"`, a permutation
            (`perm[i]` is the row of A at place i), or a `Plan` from `cx.analyse`.
        throw: raise when A is not positive definite, instead of giving NaN results: a
            `NotPositiveDefiniteError` eagerly, JAX's run-time error inside `jit`.

    Returns:
        A `Factor`.

    Raises:
        StructureError: A is not symmetric by construction.
        FactorSizeError: L would hold more than 2³¹ − 1 entries.

    Example:
        >>> import cholax as cx, numpy as np, scipy.sparse as sp
        >>> Q = sp.diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(4, 4)).tocsc()
        >>> F = cx.cholesky(cx.from_scipy(Q, symmetric=True))
        >>> bool(F.ok)
        True
        >>> bool(np.allclose(Q @ F.solve(np.ones(4)), 1.0))
        True

    Reference:
        Davis, *Direct Methods for Sparse Linear Systems* (2006); derivatives: Murray (2016).
    """
    if not isinstance(A, SparseMatrix):
        raise StructureError(
            f"cholesky: need a cholax SparseMatrix, got {type(A).__name__}. "
            "Convert with cx.from_scipy(A, symmetric=True) or cx.from_dense(A, symmetric=True)."
        )
    if not A.symmetric:
        raise StructureError(
            f"cholesky: the matrix must be symmetric by construction, got a general {A!r}. "
            "Build it with symmetric=True, or call A.symmetrize()."
        )
    plan = plan_for(A, ordering)
    traced = isinstance(A.values, Tracer)
    panels, status = primitives.cholesky(plan, A.values, throw=throw and traced)
    factor = Factor(A, plan, panels, status)
    return checked(factor) if throw and not traced else factor


def plan_for(A: SparseMatrix, ordering: Any) -> Plan:
    """The plan for A's pattern: `ordering` itself when it is one, else analysed or remembered."""
    if not isinstance(ordering, Plan):
        return analyse(A.pattern, ordering)
    if ordering.pattern != A.pattern:
        raise StructureError(
            "cholesky: the plan was made for another pattern "
            f"({ordering.pattern!r}) than the matrix has ({A.pattern!r}). Call cx.analyse again."
        )
    return ordering


def checked(factor: Factor) -> Factor:
    """Return the factor, or raise `NotPositiveDefiniteError` naming the pivot that failed.

    Works on concrete factors; inside `jit` use `cx.cholesky(A, throw=True)`.

    Example:
        >>> import cholax as cx
        >>> cx.checked(cx.cholesky(cx.eye(2) * -1.0))
        Traceback (most recent call last):
        ...
        cholax._core.errors.NotPositiveDefiniteError: cholesky: the matrix must be positive ...
    """
    if isinstance(factor.status, Tracer):
        raise StructureError(
            "checked: the factor is traced, so its status is not known yet. Inside jit use "
            "cx.cholesky(A, throw=True), or return factor.ok and look at it outside."
        )
    status = np.asarray(factor.status)
    if np.any(status != 0):
        member = "" if status.ndim == 0 else f" (batch member {int(np.flatnonzero(status)[0])})"
        pivot = int(status.ravel()[np.flatnonzero(status)[0]]) - 1
        raise NotPositiveDefiniteError(
            f"cholesky: the matrix must be positive definite, but the pivot of row {pivot} is not "
            f"a finite positive number{member}. Check the values (NaN, sign, rank)."
        )
    return factor


@partial(jax.jit, static_argnames="plan")
def _log_det(A: SparseMatrix, plan: Plan) -> jax.Array:
    return cholesky(A, ordering=plan).log_det()


@partial(jax.jit, static_argnames="plan")
def _solve(A: SparseMatrix, b: jax.Array, plan: Plan) -> jax.Array:
    return cholesky(A, ordering=plan).solve(b)


@partial(jax.jit, static_argnames=("plan", "pattern"))
def _selected_inverse(A: SparseMatrix, plan: Plan, pattern: Any) -> SparseMatrix:
    return cholesky(A, ordering=plan).selected_inverse(pattern)


def _symmetric(A: Any, where: str) -> None:
    if not isinstance(A, SparseMatrix) or not A.symmetric:
        raise StructureError(
            f"{where}: need a symmetric SparseMatrix, got {A!r}. General matrices are not "
            "supported yet; build symmetric ones with symmetric=True."
        )


def solve(A: SparseMatrix, b: ArrayLike, *, ordering: Any = "auto") -> jax.Array:
    """Solve A x = b for symmetric positive definite A: `cholesky(A).solve(b)`.

    x is NaN where A is not positive definite.
    """
    _symmetric(A, "solve")
    return _solve(A, operands.same_dtype(b, A.dtype, "solve"), plan_for(A, ordering))


def log_det(A: SparseMatrix, *, ordering: Any = "auto") -> jax.Array:
    """log|A| for symmetric positive definite A: `cholesky(A).log_det()`; NaN where A is not."""
    _symmetric(A, "log_det")
    return _log_det(A, plan_for(A, ordering))


def selected_inverse(
    A: SparseMatrix, pattern: Pattern | str | None = None, *, ordering: Any = "auto"
) -> SparseMatrix:
    """Entries of A⁻¹ on a pattern: `cholesky(A).selected_inverse(pattern)`."""
    _symmetric(A, "selected_inverse")
    if pattern is not None and not isinstance(pattern, Pattern) and pattern != FILLED:
        inverse_map(plan_for(A, ordering), pattern)
    return _selected_inverse(A, plan_for(A, ordering), pattern)


def inverse_diagonal(A: SparseMatrix, *, ordering: Any = "auto") -> jax.Array:
    """diag(A⁻¹): `cholesky(A).inverse_diagonal()`."""
    _symmetric(A, "inverse_diagonal")
    return selected_inverse(A, ordering=ordering).diagonal()
