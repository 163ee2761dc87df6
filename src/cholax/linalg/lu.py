"""`lu`, which factors a general square matrix, and `LU`, everything computed from the factors."""

from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from cholax import primitives
from cholax._core import options
from cholax._core.errors import CholaxError, StructureError
from cholax._core.failures import Factorization, LUStatus, lu_failure, throwing
from cholax.analysis import LUPlan, analyze_lu
from cholax.analysis.lu_plan import deficiency
from cholax.linalg import operands
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns.algebra import expand


def lu(
    A: SparseMatrix,
    *,
    ordering: Any = "auto",
    capacity: float | None = None,
    throw: bool = False,
) -> "LU":
    """Factor a sparse square matrix: P (R A C) Q = L U.

    P exchanges rows for the sake of accuracy, Q is a fill-reducing order, R and C scale by powers
    of two. Order and room for the fill are decided once per pattern; pivots depend on the values.
    The numeric factorisation is traced, so it jits, vmaps over A's values and differentiates. It
    runs on the host, in float32 or float64, and costs one factorisation per call of `lu`, however
    many solves and derivatives follow.

    Args:
        A: a square `SparseMatrix`, float32 or float64. Of a symmetric one both triangles are used.
        ordering: as for `cholesky`, applied to the pattern of A + Aᵀ (rows exchanged first, where
            the diagonal is not all stored, or holds zeros and the values are concrete); or an
            `LUPlan`.
        capacity: room for the fill, in multiples of what pivots on the diagonal would need. When
            left out, concrete values get as much as they need; traced ones 4 for small factors and
            1.5 for large ones: raise it for a matrix that fails with "more entries than the plan
            has room for" under `throw=True`.
        throw: raise when the matrix is singular, instead of giving NaN results: a
            `SingularMatrixError`, or a `FactorSizeError` where the capacity was too small, eagerly;
            JAX's run-time error inside `jit`.

    Returns:
        An `LU`.

    Raises:
        StructureError: A is not square.
        FactorSizeError: L and U would hold more entries than 32-bit positions can address.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> from cholax.linalg.lu import lu
        >>> A = cx.from_dense(jnp.array([[0.0, 2.0], [1.0, 1.0]]))
        >>> F = lu(A)
        >>> F.solve(jnp.array([2.0, 3.0])).tolist()
        [2.0, 1.0]
        >>> [round(float(x), 4) for x in F.slogdet()]
        [-1.0, 0.6931]

    Reference:
        Demmel, Eisenstat, Gilbert, Li & Liu, A supernodal approach to sparse partial pivoting,
        SIAM J. Matrix Anal. Appl. (1999).
    """
    if not isinstance(A, SparseMatrix):
        raise StructureError(
            f"lu: need a cholax SparseMatrix, got {type(A).__name__}. {operands.conversion(A)}"
        )
    plan = lu_plan_for(A, ordering, capacity)
    free = capacity is None and not isinstance(ordering, LUPlan)
    traced = isinstance(A.values, Tracer)
    throw = throw or throwing.value
    if not isinstance(ordering, LUPlan) and not traced:
        plan = _avoid_zeros(A, plan, ordering, capacity)
    A = A.as_general()
    if traced:
        return _factor(A, plan, throw)
    factor = _factor_with_room(A, plan) if free else _factor(A, plan, False)
    return factor.check() if throw and not isinstance(factor.status, Tracer) else factor


def _factor(A: SparseMatrix, plan: LUPlan, throw: bool) -> "LU":
    *caches, status = primitives.lu_factor(plan, A.values, throw=throw)
    return LU(A, plan, tuple(caches), status)


def _factor_with_room(A: SparseMatrix, plan: LUPlan) -> "LU":
    """Factor concrete values, with more and more room while the fill needs it."""
    plan = plan.widest
    while True:
        factor = _factor(A, plan, False)
        if isinstance(factor.status, Tracer) or int(factor.status) != LUStatus.OUT_OF_ROOM:
            return factor
        wider = plan.roomier()
        if wider is None:
            return factor
        plan = wider


def _avoid_zeros(A: SparseMatrix, plan: LUPlan, ordering: Any, capacity: float | None) -> LUPlan:
    """The plan itself, or one whose pivots are not stored zeros where it expects some."""
    values = np.asarray(A.values)
    if A.symmetric:
        values = values[expand(A.pattern)[1]]
    if plan.singular or values.ndim != 1 or np.all(values[plan.pivots] != 0):
        return plan
    return analyze_lu(A.pattern, ordering, capacity=capacity, nonzero=values != 0)


def lu_plan_for(A: SparseMatrix, ordering: Any, capacity: float | None = None) -> LUPlan:
    """The plan for A's pattern: `ordering` itself when it is one, else analyzed or remembered."""
    if not isinstance(ordering, LUPlan):
        return analyze_lu(A.pattern, ordering, capacity=capacity)
    if capacity is not None:
        raise StructureError("lu: the plan has a capacity already. Give a plan or a capacity.")
    if ordering.pattern != A.as_general().pattern:
        raise StructureError(
            f"lu: the plan was made for another pattern ({ordering.pattern!r}) than the matrix has "
            f"({A.pattern!r}). Call analyze_lu again."
        )
    return ordering


@final
@jax.tree_util.register_pytree_node_class
class LU(Factorization):
    """Sparse LU factorisation of a general square matrix, made by `lu`.

    Every method reuses the one numeric factorisation, under `jit` and in derivatives of any order:
    they differentiate the problem, not the factorisation. A singular matrix gives `ok = False` and
    NaN results.

    Attributes:
        A: the matrix factored, in general storage.
        plan: what was decided before the values were known (`plan.predicted`, `plan.capacity`).
        status: 0 where the factorisation is sound; 1 singular up to rounding, 2 values that are not
            finite, 3 more fill than the capacity, 4 unstable; `reason()` says it in words.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> from cholax.linalg.lu import lu
        >>> F = lu(cx.from_dense(jnp.array([[1.0, 2.0], [2.0, 4.0]])))
        >>> bool(F.ok), int(F.status), F.solve(jnp.ones(2)).tolist()
        (False, 1, [nan, nan])
    """

    __slots__ = ("A", "_caches", "plan", "status")

    def __init__(self, A: SparseMatrix, plan: LUPlan, caches: Any, status: Any) -> None:
        self.A = A
        self.plan = plan
        self._caches = caches
        self.status = status

    def tree_flatten(self) -> tuple[Any, Any]:
        """Leaves: the matrix, the factors and the status."""
        return (self.A, self._caches, self.status), self.plan

    @classmethod
    def tree_unflatten(cls, plan: LUPlan, leaves: Any) -> "LU":
        """Rebuild from leaves, which may be any objects."""
        A, caches, status = leaves
        return cls(A, plan, caches, status)

    def __repr__(self) -> str:
        return f"LU(n={self.plan.n}, dtype={getattr(self.A.values, 'dtype', None)})"

    def _error(self, status: int, member: str) -> CholaxError:
        if status == LUStatus.SINGULAR:
            values = np.asarray(self.A.values)
            failed = np.argwhere(np.asarray(self.status) != 0)
            values = values[tuple(failed[0])] if values.ndim > 1 else values
            member = deficiency(self.A.pattern, values) + member
        return lu_failure(status, member)

    @property
    def n(self) -> int:
        """Order of the matrix."""
        return self.plan.n

    def solve(self, b: ArrayLike, *, transpose: bool = False) -> jax.Array:
        """Solve A x = b, or Aᵀ x = b.

        dx = A⁻¹ (db − dA x). Solutions are refined until they are exact for a matrix within
        rounding of A; a column that cannot be brought near that is NaN.

        Args:
            b: `(n,)` or `(n, k)`, dtype of the matrix.
            transpose: solve with Aᵀ.

        Returns:
            x, of b's shape.

        Raises:
            ShapeError: b of another shape.
            DtypeError: b of another dtype.

        Example:
            >>> import cholax as cx, jax.numpy as jnp
            >>> from cholax.linalg.lu import lu
            >>> F = lu(cx.from_dense(jnp.array([[2.0, 1.0], [0.0, 1.0]])))
            >>> F.solve(jnp.array([2.0, 0.0]), transpose=True).tolist()
            [1.0, -1.0]
        """
        options.flag(transpose, "LU.solve", "transpose")
        b, columns = operands.right_hand_side(
            b, self.n, self.A.dtype, jnp.shape(self.status), "LU.solve"
        )
        factor, index, _ = self._caches
        x = primitives.lu_solve(
            self.plan, self.A.values, factor, index, columns, transpose=bool(transpose)
        )
        return operands.shaped_like(x, b)

    def log_det(self) -> jax.Array:
        """log|det A|, the second part of `slogdet`, as `Factor.log_det` gives it.

        Example:
            >>> import cholax as cx, jax.numpy as jnp
            >>> A = cx.from_dense(jnp.array([[-2.0, 1.0], [0.0, 1.0]]))
            >>> round(float(cx.lu(A).log_det()), 4)
            0.6931
        """
        operands.refuse_batch(jnp.shape(self.status), "LU.log_det")
        factor, index, determinant = self._caches
        return primitives.lu_log_determinant(self.plan, self.A.values, factor, index, determinant)

    def slogdet(self) -> tuple[jax.Array, jax.Array]:
        """Sign of the determinant and log|det A|.

        d log|det A| = Σ_ij (A⁻¹)_ji dA_ij over the stored entries. The value costs nothing beyond
        the factorisation. Its derivative takes n solves, in blocks of 64: about 10 s at n = 10⁴ on
        a grid. It is refused beyond n = 20 000.

        Returns:
            `(sign, logabsdet)`, NaN where the matrix is singular.

        Example:
            >>> import cholax as cx, jax.numpy as jnp
            >>> from cholax.linalg.lu import lu
            >>> sign, logabsdet = lu(cx.from_dense(jnp.array([[-2.0, 1.0], [0.0, 1.0]]))).slogdet()
            >>> float(sign), round(float(logabsdet), 4)
            (-1.0, 0.6931)
        """
        log = self.log_det()
        return jax.lax.stop_gradient(self._caches[2])[0], log


__all__ = ["LU", "lu", "lu_plan_for"]
