"""Patterns from outside: sort entries, merge duplicates, fold a full symmetric matrix to its half.

Every function works on the host with concrete indices. `positions[k]` is where input entry k is
stored; duplicates share one position, and their values are to be added.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cholax._core.dtypes import read_array
from cholax._core.errors import PatternError, ShapeError, StructureError, UnsupportedError
from cholax.patterns import algebra
from cholax.patterns.indexing import canonical
from cholax.patterns.pattern import Pattern, check_shape, check_static

# How far a_ij and a_ji may differ, relative to the largest entry, and still count as rounding.
SYMMETRY_TOLERANCE = 1e-12


def from_coo(
    rows: ArrayLike, columns: ArrayLike, shape: tuple[int, int], *, where: str = "from_coo"
) -> tuple[Pattern, np.ndarray]:
    """General pattern of a list of entries in any order, duplicates allowed.

    Args:
        rows: row numbers.
        columns: column numbers, as many.
        shape: number of rows and columns.
        where: name of the caller, for the messages.

    Returns:
        The pattern and `positions`.

    Raises:
        PatternError: traced, negative or out-of-range indices, naming the first offender.
    """
    shape = check_shape(shape, where)
    rows, columns = check_static(rows, f"{where}: rows"), check_static(columns, f"{where}: columns")
    if rows.ndim != 1 or rows.shape != columns.shape:
        raise PatternError(
            f"{where}: rows and columns must be vectors of one length, got shapes {rows.shape} "
            f"and {columns.shape}. Pass one row and one column number per entry."
        )
    for name, index, size in (("row", rows, shape[0]), ("column", columns, shape[1])):
        outside = np.flatnonzero((index < 0) | (index >= size))
        if outside.size:
            k = outside[0]
            raise PatternError(
                f"{where}: {name} numbers must lie between 0 and {size - 1}, got {index[k]} "
                f"at entry {k}. Check the shape {shape}."
            )
    return canonical(rows, columns, shape)


def from_csc(
    indptr: ArrayLike, indices: ArrayLike, shape: tuple[int, int], *, where: str = "from_csc"
) -> tuple[Pattern, np.ndarray]:
    """General pattern of compressed columns, sorted or not, duplicates allowed."""
    shape = check_shape(shape, where)
    columns = _uncompress(indptr, indices, shape[1], where)
    return from_coo(indices, columns, shape, where=where)


def from_csr(
    indptr: ArrayLike, indices: ArrayLike, shape: tuple[int, int], *, where: str = "from_csr"
) -> tuple[Pattern, np.ndarray]:
    """General pattern of compressed rows, sorted or not, duplicates allowed."""
    shape = check_shape(shape, where)
    rows = _uncompress(indptr, indices, shape[0], where)
    return from_coo(rows, indices, shape, where=where)


def from_bcoo(B: Any, *, where: str = "from_bcoo") -> tuple[Pattern, np.ndarray, np.ndarray]:
    """General pattern of a `jax.experimental.sparse.BCOO`, `positions`, and what they number.

    BCOO fills up with entries at `shape` itself, which JAX drops, and so does this; the third
    result lists the entries that are left. Other indices outside the shape are errors.
    """
    if not (hasattr(B, "indices") and hasattr(B, "data") and hasattr(B, "n_batch")):
        remedy = (
            "Use cx.from_scipy." if hasattr(B, "tocoo") else "Use B.to_bcoo() or cx.from_dense."
        )
        raise UnsupportedError(f"{where}: need a BCOO, got {type(B).__name__}. {remedy}")
    if B.n_batch or B.n_dense or len(B.shape) != 2:
        raise ShapeError(
            f"{where}: need a matrix without batch or dense dimensions, got shape {B.shape} with "
            f"n_batch={B.n_batch}, n_dense={B.n_dense}. Use jax.vmap over the data."
        )
    indices = check_static(B.indices, where).reshape(-1, 2)
    inside = np.flatnonzero((indices != np.array(B.shape)).any(axis=1))
    rows, columns = indices[inside].T
    return *from_coo(rows, columns, (B.shape[0], B.shape[1]), where=where), inside


def from_mask(mask: ArrayLike, *, where: str = "from_mask") -> tuple[Pattern, np.ndarray]:
    """General pattern of the true entries of a dense array, taken row by row (`numpy.nonzero`)."""
    mask = np.asarray(read_array(mask, where))
    if mask.ndim != 2:
        raise ShapeError(
            f"{where}: need a matrix, got an array of shape {mask.shape}. "
            "Reshape it, or use jax.vmap over stacked values of one pattern."
        )
    rows, columns = np.nonzero(mask)
    shape = check_shape(mask.shape, where)
    return canonical(rows.astype(np.int32), columns.astype(np.int32), shape)


def check_symmetric_structure(pattern: Pattern, *, where: str) -> None:
    """Raise unless every entry of a general square pattern has its mirror; values play no part."""
    folded, lower, upper = algebra.fold(pattern)
    single = np.flatnonzero((lower < 0) != (upper < 0))
    if not single.size:
        return
    k = single[0]
    i, j = int(folded.rows[k]), int(folded.columns[k])
    if lower[k] < 0:
        i, j = j, i
    raise StructureError(
        f"{where}: a symmetric matrix must list both mirror entries, got ({i}, {j}) without "
        f"({j}, {i}). Pass half=True if only the lower triangle is given."
    )


def check_symmetric_values(pattern: Pattern, values: np.ndarray, *, where: str) -> None:
    """Raise `StructureError` unless a general square matrix is symmetric up to rounding.

    Entries pass when equal, when both NaN, or when |a_ij - a_ji| <= t · max |a| over the finite
    entries, with t = 1e-12, or 16 units of rounding where that is more (float32).
    """
    folded, lower, upper = algebra.fold(pattern)
    a, b = take(lower, values), take(upper, values)
    finite = np.abs(values[np.isfinite(values)])
    tolerance = max(SYMMETRY_TOLERANCE, 16 * float(np.finfo(values.dtype).eps))
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(a - b)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        # inf - 1 = inf would pass a relative test against an infinite scale, hence finite only.
        near = np.isfinite(a) & np.isfinite(b) & (gap <= tolerance * finite.max(initial=0.0))
    bad = np.flatnonzero(~(same | near))
    if not bad.size:
        return
    _refuse_triangle(pattern, values, where)
    worst = bad[np.argmax(np.where(np.isnan(gap[bad]), np.inf, gap[bad]))]
    i, j = folded.rows[worst], folded.columns[worst]
    raise StructureError(
        f"{where}: symmetric=True needs a_ij = a_ji up to rounding (relative {tolerance:.0e}), "
        f"got a[{i}, {j}] = {a[worst]} and a[{j}, {i}] = {b[worst]}. "
        "Pass 0.5 * (Q + Q.T), or drop symmetric=True and use .symmetrize()."
    )


def check_lower(pattern: Pattern, *, where: str) -> None:
    """Raise `StructureError` when a general pattern holds an entry above the diagonal."""
    upper = np.flatnonzero(pattern.rows < pattern.columns)
    if upper.size:
        k = upper[0]
        raise StructureError(
            f"{where}: half=True needs the lower triangle only, got the entry "
            f"({pattern.rows[k]}, {pattern.columns[k]}). Pass the transpose of an upper triangle, "
            "or drop half=True if the matrix is full."
        )


def take(source: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Apply a source map on the host: values[source], and 0 where source is -1."""
    taken = np.zeros(source.size, values.dtype)
    stored = source >= 0
    taken[stored] = values[source[stored]]
    return taken


def sum_duplicates(positions: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Add the values that share a position, in the order given."""
    summed = np.zeros(size, values.dtype)
    if positions.size == size:
        summed[positions] = values  # no duplicates: also keeps -0.0
    else:
        np.add.at(summed, positions, values)
    return summed


def fold_values(pattern: Pattern, values: np.ndarray, *, half: bool) -> tuple[Pattern, np.ndarray]:
    """Lower half of a general square matrix: its lower triangle if `half`, else ½(A + Aᵀ)."""
    if half:
        folded, source = algebra.lower_half(pattern)
        return folded, take(source, values)
    folded, lower, upper = algebra.fold(pattern)
    a, b = take(lower, values), take(upper, values)
    # Equal halves are kept as they are: halving would lose the last bit of subnormal numbers.
    return folded, np.where(a == b, a, 0.5 * a + 0.5 * b)


def _uncompress(indptr: Any, indices: Any, size: int, where: str) -> np.ndarray:
    indptr = check_static(indptr, f"{where}: indptr")
    if indptr.shape != (size + 1,):
        raise PatternError(
            f"{where}: indptr must have length {size + 1}, got shape {indptr.shape}. "
            "Check the shape, and whether rows or columns are compressed."
        )
    counts = np.diff(indptr)
    falling = np.flatnonzero(counts < 0)
    if indptr[0] != 0 or indptr[-1] != np.size(indices) or falling.size:
        first = f"decreases at {falling[0]}" if falling.size else f"is [{indptr[0]}..{indptr[-1]}]"
        raise PatternError(
            f"{where}: indptr must rise from 0 to the number of indices, {np.size(indices)}; "
            f"it {first}. It holds running counts."
        )
    return np.repeat(np.arange(size, dtype=np.int32), counts)


def _refuse_triangle(pattern: Pattern, values: np.ndarray, where: str) -> None:
    stored = values != 0
    below = bool((stored & (pattern.rows > pattern.columns)).any())
    above = bool((stored & (pattern.rows < pattern.columns)).any())
    if below == above:
        return
    name, half = ("lower", "Q") if below else ("upper", "Q.T")
    raise StructureError(
        f"{where}: symmetric=True needs the full matrix, got only its {name} triangle. "
        f"Add the transpose of the strict triangle, pass half=True with {half}, "
        "or use SparseMatrix(values, Pattern(..., symmetric=True))."
    )
