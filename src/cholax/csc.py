"""The raw layer: five functions on compressed-column arrays, natural ordering, lower triangle.

Names and signatures follow Dan Simpson's blog series on sparse linear algebra in JAX. Index arrays
are concrete (analyzed once, supernodal kernels) or traced inside `jit`; then `L_nse`, the number of
entries of L, must be given, because shapes are static. Values differentiate to any order and vmap.
Unsorted or duplicate indices are rejected, as is an upper triangle.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from cholax import primitives
from cholax._core import options
from cholax._core.dtypes import check_index_array, check_same_dtype, check_values
from cholax._core.errors import DtypeError, PatternError, ShapeError, StructureError
from cholax._core.failures import throwing
from cholax.analysis import analyze, plan_from_factor
from cholax.linalg.factor_maps import inverse_map, lower_map
from cholax.patterns import Pattern
from cholax.primitives import DynamicEntryMap, DynamicPlan, Ref

__all__ = [
    "sparse_cholesky",
    "sparse_log_det",
    "sparse_partial_inverse",
    "sparse_solve",
    "sparse_triangular_solve",
]


def sparse_triangular_solve(
    L_indices: ArrayLike,
    L_indptr: ArrayLike,
    L_x: ArrayLike,
    b: ArrayLike,
    *,
    transpose: bool = False,
) -> jax.Array:
    """Solve L x = b, or Lᵀ x = b, for a sparse lower-triangular L.

    dx = L⁻¹ (db − dL x).

    Args:
        L_indices: `(nnz,)` row of each entry, column by column, each column starting with its
            diagonal entry.
        L_indptr: `(n + 1,)` where each column starts.
        L_x: `(nnz,)` values.
        b: `(n,)` or `(n, k)`.
        transpose: solve with Lᵀ.

    Returns:
        x, of b's shape.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> L = jnp.array([0, 1, 1]), jnp.array([0, 2, 3]), jnp.array([2.0, 1.0, 4.0])
        >>> cx.csc.sparse_triangular_solve(*L, jnp.array([2.0, 9.0])).tolist()
        [1.0, 2.0]
    """
    where = "sparse_triangular_solve"
    L_indices, L_indptr = _columns(L_indices, L_indptr, where)
    L_x = _values(L_x, L_indices, where)
    b = _right_hand_side(b, L_indptr, L_x, where)
    columns = b[:, None] if b.ndim == 1 else b
    if _concrete(L_indices, L_indptr):
        ref = Ref(plan_from_factor(_pattern(L_indices, L_indptr)))
    else:
        ref = _traced(L_indices, L_indptr, L_x.size, is_factor=True)
    return primitives.triangular_solve(ref, L_x, columns, transpose=transpose).reshape(b.shape)


def sparse_cholesky(
    A_indices: ArrayLike, A_indptr: ArrayLike, A_x: ArrayLike, *, L_nse: int | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Cholesky factor of a symmetric positive definite matrix, natural ordering: L Lᵀ = A.

    dL = L Φ(L⁻¹ dA L⁻ᵀ), Φ the lower triangle with halved diagonal.

    Args:
        A_indices: `(nnz,)` row of each entry of A's lower triangle, column by column.
        A_indptr: `(n + 1,)` where each column starts.
        A_x: `(nnz,)` values.
        L_nse: number of entries of L; needed when the index arrays are traced.

    Returns:
        `L_indices, L_indptr, L_x`; L_x is NaN where A is not positive definite.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> A = jnp.array([0, 1, 1]), jnp.array([0, 2, 3]), jnp.array([4.0, 2.0, 10.0])
        >>> [x.tolist() for x in cx.csc.sparse_cholesky(*A)]
        [[0, 1, 1], [0, 2, 3], [2.0, 1.0, 3.0]]
    """
    where = "sparse_cholesky"
    A_indices, A_indptr = _columns(A_indices, A_indptr, where)
    A_x = _values(A_x, A_indices, where)
    if not _concrete(A_indices, A_indptr):
        ref = _traced(A_indices, A_indptr, _given(L_nse, where), is_factor=False)
        L_indptr, L_indices, _ = primitives.symbolic(ref)
        return L_indices, L_indptr, primitives.cholesky(ref, A_x, throw=throwing.value)[0]
    plan = _natural_plan(A_indices, A_indptr, L_nse, where)
    lower, entry_map = lower_map(plan)
    panels, _ = primitives.cholesky(plan, A_x, throw=throwing.value)
    L_x = primitives.gather(entry_map, panels)
    return jnp.asarray(lower.indices), jnp.asarray(lower.indptr), L_x


def sparse_solve(
    A_indices: ArrayLike,
    A_indptr: ArrayLike,
    A_x: ArrayLike,
    b: ArrayLike,
    *,
    L_nse: int | None = None,
) -> jax.Array:
    """Solve A x = b by sparse Cholesky, A given by its lower triangle.

    dx = A⁻¹ (db − dA x).

    Args:
        A_indices: `(nnz,)` row of each entry of A's lower triangle, column by column.
        A_indptr: `(n + 1,)` where each column starts.
        A_x: `(nnz,)` values.
        b: `(n,)` or `(n, k)`.
        L_nse: number of entries of L; needed when the index arrays are traced.

    Returns:
        x, of b's shape; NaN where A is not positive definite.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> A = jnp.array([0, 1, 1]), jnp.array([0, 2, 3]), jnp.array([4.0, 2.0, 10.0])
        >>> cx.csc.sparse_solve(*A, jnp.array([6.0, 12.0])).tolist()
        [1.0, 1.0]
    """
    where = "sparse_solve"
    A_indices, A_indptr = _columns(A_indices, A_indptr, where)
    A_x = _values(A_x, A_indices, where)
    b = _right_hand_side(b, A_indptr, A_x, where)
    columns = b[:, None] if b.ndim == 1 else b
    ref = _matrix_ref(A_indices, A_indptr, L_nse, where)
    panels, _ = primitives.cholesky(ref, A_x, throw=throwing.value)
    return primitives.solve(ref, A_x, panels, columns).reshape(b.shape)


def sparse_log_det(
    A_indices: ArrayLike, A_indptr: ArrayLike, A_x: ArrayLike, *, L_nse: int | None = None
) -> jax.Array:
    """log|A|, A given by its lower triangle;  d log|A| = tr(A⁻¹ dA).

    Args:
        A_indices: `(nnz,)` row of each entry of A's lower triangle, column by column.
        A_indptr: `(n + 1,)` where each column starts.
        A_x: `(nnz,)` values; the derivative with respect to an off-diagonal one counts both mirror
            entries, 2 [A⁻¹]_ij.
        L_nse: number of entries of L; needed when the index arrays are traced.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> A = jnp.array([0, 1, 1]), jnp.array([0, 2, 3]), jnp.array([4.0, 2.0, 10.0])
        >>> round(float(cx.csc.sparse_log_det(*A)), 5)  # log 36
        3.58352
    """
    where = "sparse_log_det"
    A_indices, A_indptr = _columns(A_indices, A_indptr, where)
    A_x = _values(A_x, A_indices, where)
    ref = _matrix_ref(A_indices, A_indptr, L_nse, where)
    panels, _ = primitives.cholesky(ref, A_x, throw=throwing.value)
    return primitives.log_determinant(ref, A_x, panels)


def sparse_partial_inverse(
    L_indices: ArrayLike,
    L_indptr: ArrayLike,
    L_x: ArrayLike,
    out_indices: ArrayLike,
    out_indptr: ArrayLike,
) -> jax.Array:
    """Entries of (L Lᵀ)⁻¹ on a pattern inside L's, by the Takahashi recursions.

    Args:
        L_indices: `(nnz,)` row of each entry of the Cholesky factor, column by column.
        L_indptr: `(n + 1,)` where each column starts.
        L_x: `(nnz,)` values.
        out_indices: rows of the entries wanted, inside L's pattern (A's lower triangle, or L's
            own arrays).
        out_indptr: `(n + 1,)` where each column of them starts.

    Returns:
        Their values, of `out_indices`' shape.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> L = jnp.array([0, 1, 1]), jnp.array([0, 2, 3]), jnp.array([2.0, 0.0, 4.0])
        >>> cx.csc.sparse_partial_inverse(*L, L[0], L[1]).tolist()
        [0.25, 0.0, 0.0625]
    """
    where = "sparse_partial_inverse"
    L_indices, L_indptr = _columns(L_indices, L_indptr, where)
    L_x = _values(L_x, L_indices, where)
    out_indices, out_indptr = _columns(out_indices, out_indptr, where)
    if not _concrete(L_indices, L_indptr, out_indices, out_indptr):
        return _traced_partial_inverse(L_indices, L_indptr, L_x, out_indices, out_indptr)
    pattern = _pattern(L_indices, L_indptr)
    plan = analyze(pattern, "natural")
    if plan.nnz_factor != pattern.nnz:
        raise StructureError(
            f"{where}: L's pattern must be that of a Cholesky factor (closed under fill), but "
            f"elimination adds {plan.nnz_factor - pattern.nnz} entries to its {pattern.nnz}. "
            "Take L_indices and L_indptr from sparse_cholesky."
        )
    target = Pattern(pattern.shape, out_indptr, out_indices)
    panels = primitives.scatter(primitives.value_map(Ref(plan)), L_x)
    _, entry_map = inverse_map(plan, target)
    return primitives.gather(entry_map, primitives.selected_inverse(plan, panels))


def _traced_partial_inverse(
    L_indices: Any, L_indptr: Any, L_x: jax.Array, out_indices: Any, out_indptr: Any
) -> jax.Array:
    ref = _traced(L_indices, L_indptr, L_x.size, is_factor=True)
    out_indptr, out_indices = jnp.asarray(out_indptr), jnp.asarray(out_indices)
    l_indptr, l_indices = ref.operands
    positions = primitives.locate(l_indptr, l_indices, out_indptr, out_indices)
    entry_map = Ref(DynamicEntryMap(L_x.size, out_indices.size), (positions,))
    weighted = primitives.gather(entry_map, primitives.selected_inverse(ref, L_x))
    columns = jnp.searchsorted(out_indptr, jnp.arange(out_indices.size), side="right") - 1
    return jnp.where(out_indices == columns, weighted, 0.5 * weighted)


# --- index arrays --------------------------------------------------------------------------------


def _concrete(*arrays: Any) -> bool:
    return not any(isinstance(x, Tracer) for x in arrays)


def _pattern(indices: Any, indptr: Any) -> Pattern:
    n = indptr.size - 1
    return Pattern((n, n), indptr, indices, symmetric=True)


def _natural_plan(indices: Any, indptr: Any, L_nse: int | None, where: str) -> Any:
    plan = analyze(_pattern(indices, indptr), "natural")
    if L_nse is not None and options.count(L_nse, where, "L_nse") != plan.nnz_factor:
        raise ShapeError(
            f"{where}: L_nse = {L_nse}, but the factor of this pattern has {plan.nnz_factor} "
            "entries. Leave L_nse out where the index arrays are concrete."
        )
    return plan


def _matrix_ref(indices: Any, indptr: Any, L_nse: int | None, where: str) -> Ref:
    if _concrete(indices, indptr):
        return Ref(_natural_plan(indices, indptr, L_nse, where))
    return _traced(indices, indptr, _given(L_nse, where), is_factor=False)


def _given(L_nse: int | None, where: str) -> int:
    if L_nse is None:
        raise StructureError(
            f"{where}: the index arrays are traced, so the size of L is not known. Pass L_nse, the "
            "number of entries of L (L_indices.size of a first call with concrete arrays), or "
            "keep the index arrays out of jit's arguments."
        )
    return options.count(L_nse, where, "L_nse")


def _traced(indices: Any, indptr: Any, size: int, *, is_factor: bool) -> Ref:
    indptr, indices = jnp.asarray(indptr), jnp.asarray(indices)
    static = DynamicPlan(n=indptr.size - 1, nnz=indices.size, size=size, is_factor=is_factor)
    return Ref(static, (indptr, indices))


def _index(array: Any, where: str) -> Any:
    """An index array as a NumPy vector, or the traced vector itself."""
    if not isinstance(array, Tracer):
        array = check_index_array(array, where)
    elif array.dtype != np.int32:
        raise DtypeError(
            f"{where}: traced index arrays must be int32, got {array.dtype.name}. "
            "Convert them outside jit with .astype(numpy.int32)."
        )
    if array.ndim != 1:
        raise PatternError(
            f"{where}: index arrays must be vectors, got shape {array.shape}. Pass `indices` and "
            "`indptr` of the lower triangle in compressed columns."
        )
    return array


def _columns(indices: Any, indptr: Any, where: str) -> tuple[Any, Any]:
    """Both index arrays, checked; there is a number for every column and one more."""
    indices, indptr = _index(indices, where), _index(indptr, where)
    if indptr.size == 0:
        raise PatternError(f"{where}: indptr must have length n + 1, got 0. Without columns: [0].")
    return indices, indptr


def _values(x: Any, indices: Any, where: str) -> jax.Array:
    values = check_values(x, where)
    if values.shape != indices.shape or values.ndim != 1:
        raise ShapeError(
            f"{where}: need one value per index, got values of shape {values.shape} and indices "
            f"of shape {indices.shape}. For a stack of values use jax.vmap."
        )
    return values


def _right_hand_side(b: Any, indptr: Any, values: jax.Array, where: str) -> jax.Array:
    b = check_values(b, where)
    check_same_dtype(where, values=values, b=b)
    n = indptr.size - 1
    if b.ndim not in (1, 2) or b.shape[0] != n:
        raise ShapeError(
            f"{where}: need a right-hand side of shape ({n},) or ({n}, k), got {b.shape}."
        )
    return b
