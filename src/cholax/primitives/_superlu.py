"""LU factorisation and solves on the host, by SciPy's SuperLU.

Pure functions of NumPy arrays that keep nothing between calls: the factor is two arrays of static
length, `factor` (L, then U, then zeros) and `index` (permutations, scales, column pointers, row
indices), which travel through the program like any other values.

A is scaled by powers of two, which rounds nothing, and factored in the order of its plan. The pivot
is the diagonal entry unless another in its column is ten times larger.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu, spsolve_triangular

from cholax._core.failures import LUStatus, lu_failure
from cholax.analysis import LUPlan

try:
    # The solve with both factors behind `spsolve_triangular`, without its copies: 13 ms instead of
    # 140 ms for a grid of 300² points.
    from scipy.sparse.linalg._dsolve._superlu import gstrs as _gstrs
except ImportError:  # pragma: no cover
    _gstrs = None

SINGULAR, NOT_FINITE = LUStatus.SINGULAR, LUStatus.NOT_FINITE
OVERFLOW, UNSTABLE = LUStatus.OUT_OF_ROOM, LUStatus.UNSTABLE
# A pivot within this many roundings of the terms it is the sum of carries no information.
_LOST = 8.0
# Pivots this small relative to their column of U are looked at more closely.
_SUSPECT = 1e3
# Solutions are refined until the backward error is this many roundings, or no longer halves.
_ACCURATE = 8.0
_MAX_REFINEMENTS = 3
# Between entries further apart than this many powers of two, scaling may decide on regularity.
_MODERATE_RANGE = 24
_SCALING_SWEEPS = 8


class _Factor(NamedTuple):
    """One elimination in SuperLU's terms, with the error of L U relative to the matrix."""

    lower: sp.csc_array
    upper: sp.csc_array
    row_place: np.ndarray
    column_place: np.ndarray
    error: float


def factor(
    plan: LUPlan, values: np.ndarray, *, throw: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(factor, index, (sign, log|det|), status) of one matrix; status 0 where all went well."""
    status, found, scales = _eliminate(plan, values)
    if status == 0:
        return *_pack(plan, values.dtype, found, *scales), np.zeros((), np.int32)
    if throw:
        raise lu_failure(status)
    nan = np.full(plan.capacity, np.nan, values.dtype)
    unknown = np.full(2, np.nan, values.dtype)
    return nan, np.zeros(index_size(plan), np.int32), unknown, np.asarray(status, np.int32)


def index_size(plan: LUPlan) -> int:
    """Length of the index array: two permutations, two scales, two pointers, the row indices."""
    return 6 * plan.n + 2 + plan.capacity


# --- elimination ----------------------------------------------------------------------------------


def _eliminate(plan: LUPlan, values: np.ndarray) -> tuple[int, Any, Any]:
    if plan.n == 0:
        empty = sp.csc_array((0, 0), dtype=values.dtype)
        nothing = np.zeros(0, np.int32)
        return 0, _Factor(empty, empty, nothing, nothing, 0.0), (nothing, nothing)
    if not np.all(np.isfinite(values)):
        return NOT_FINITE, None, None
    if plan.singular:
        return SINGULAR, None, None
    nothing = np.zeros(plan.n, np.int32)
    status, found, scales = _scaled(plan, values, nothing, nothing)
    if status == SINGULAR and _wide_range(values):
        # Bad scaling may look like singularity. Not the first choice: entries that are tiny by
        # accident mislead it (adder_dcop_05 has them down to 1e-80).
        status, found, scales = _scaled(plan, values, *_geometric_scales(plan, values))
    return status, found, scales


def _scaled(
    plan: LUPlan, values: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[int, Any, Any]:
    """Eliminate 2^-r A 2^-c, once its rows and columns have been scaled to a maximum of one."""
    scaled, *scales = _equilibrate(plan, values, rows, columns)
    matrix = sp.csc_array(
        (scaled[plan.source], plan.indices, plan.indptr), shape=plan.pattern.shape
    )
    status, found = _best_pivots(plan, matrix)
    if status == 0 and _singular(found.lower, found.upper):
        status = SINGULAR
    return status, found, scales


def _wide_range(values: np.ndarray) -> bool:
    _, size = np.frexp(values[values != 0])
    return size.size > 0 and int(size.max() - size.min()) > _MODERATE_RANGE


def _equilibrate(
    plan: LUPlan, values: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """2^-r A 2^-c with the largest entry of every row and column about one; and r, c."""
    p = plan.pattern
    scaled = np.ldexp(values, -(rows[p.rows] + columns[p.columns]))
    _, more = np.frexp(np.maximum.reduceat(np.abs(scaled)[plan.by_row], plan.row_starts))
    scaled, rows = np.ldexp(scaled, -more[p.rows]), rows + more
    _, more = np.frexp(np.maximum.reduceat(np.abs(scaled), p.indptr[:-1]))
    return np.ldexp(scaled, -more[p.columns]), rows, columns + more


def _geometric_scales(plan: LUPlan, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exponents r, c that bring the entries near one: Σ (log|a_ij| − r_i − c_j)² by some sweeps.

    Curtis & Reid, On the automatic scaling of matrices for Gaussian elimination, 1972.
    """
    n, kept = plan.n, np.flatnonzero(values)
    _, size = np.frexp(values[kept])
    i, j = plan.pattern.rows[kept], plan.pattern.columns[kept]
    in_row, in_column = (np.maximum(np.bincount(x, minlength=n), 1) for x in (i, j))
    rows, columns = np.zeros((2, n))
    for _ in range(_SCALING_SWEEPS):
        rows = np.bincount(i, size - columns[j], n) / in_row
        columns = np.bincount(j, size - rows[i], n) / in_column
    # A common factor may be on either side: keep the solution's side near one.
    shift = np.mean(columns)
    return np.rint(rows + shift).astype(np.int32), np.rint(columns - shift).astype(np.int32)


def _best_pivots(plan: LUPlan, matrix: sp.csc_array) -> tuple[int, Any]:
    """The first sufficiently accurate elimination that fits, else the most accurate one.

    Larger thresholds are more accurate, smaller ones keep to the diagonal and fill less.
    """
    eps = float(np.finfo(matrix.dtype).eps)
    best, status = None, SINGULAR
    thresholds = [0.1, 0.01, 0.001]
    while thresholds:
        try:
            found = _splu(matrix, thresholds.pop(0))
        except RuntimeError as error:
            if "singular" not in str(error):
                raise
            break
        if found.lower.nnz + found.upper.nnz > plan.capacity:
            status = OVERFLOW if best is None else status
            continue
        if best is None or not best.error <= found.error:  # the error may be NaN
            best, status = found, 0
        if best.error <= eps**0.75:
            break
        thresholds = [1.0] if 0.01 in thresholds else []
    if best is not None and not best.error <= eps**0.5:
        status = UNSTABLE
    return status, best


def _splu(matrix: sp.csc_array, threshold: float) -> _Factor:
    lu = splu(
        matrix,
        permc_spec="NATURAL",
        diag_pivot_thresh=threshold,
        options={"SymmetricMode": True},
    )
    lower, upper = lu.L, lu.U
    # ‖(B − L U) v‖ for one vector: growth shows in any vector that is not chosen to hide it.
    v = np.cos(np.arange(matrix.indptr.size - 1)).astype(matrix.dtype)
    product = (lower @ (upper @ v[np.argsort(lu.perm_c)]))[lu.perm_r]
    size = abs(matrix) @ np.abs(v)
    error = np.max(np.abs(matrix @ v - product) / np.where(size > 0, size, 1))
    return _Factor(lower, upper, lu.perm_r, lu.perm_c, float(error))


def _singular(lower: sp.csc_array, upper: sp.csc_array) -> bool:
    """Whether a pivot u_jj = a_jj − Σ l_jk u_kj is nothing but the rounding of that sum."""
    eps = np.finfo(upper.dtype).eps
    pivots = np.abs(upper.diagonal())
    largest = np.maximum.reduceat(np.abs(upper.data), upper.indptr[:-1])
    suspects = np.flatnonzero(~(pivots > _SUSPECT * eps * largest))
    if suspects.size == 0:
        return False
    terms = sp.csc_array(abs(lower) @ abs(upper[:, suspects]))
    sums = np.array([terms[j, k] for k, j in enumerate(suspects)])
    return bool(np.any(~(pivots[suspects] > _LOST * eps * sums)))


# --- layout ---------------------------------------------------------------------------------------


def _pack(
    plan: LUPlan, dtype: Any, found: _Factor, row_scale: np.ndarray, column_scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lower, upper = found.lower, found.upper
    pivots = upper.diagonal()
    # SuperLU keeps the diagonal of U where the ones of L would be.
    lower.data[_diagonal(lower, lower.indptr[:-1])] = pivots
    upper.data[_diagonal(upper, upper.indptr[1:] - 1)] = 0
    out = np.zeros(plan.capacity, dtype)
    out[: lower.nnz] = lower.data
    out[lower.nnz : lower.nnz + upper.nnz] = upper.data
    rows = np.empty(plan.n, np.int32)
    rows[found.row_place] = plan.rows
    columns = np.empty(plan.n, np.int32)
    columns[plan.columns] = found.column_place
    index = np.zeros(index_size(plan), np.int32)
    end = 0
    parts = rows, columns, row_scale, column_scale, lower.indptr, upper.indptr
    for part in (*parts, lower.indices, upper.indices):
        index[end : end + part.size] = part
        end += part.size
    sign = _parity(rows[columns]) * np.prod(np.sign(pivots))
    scale = np.sum(row_scale, dtype=np.int64) + np.sum(column_scale, dtype=np.int64)
    log = np.sum(np.log(np.abs(pivots), dtype=np.float64)) + scale * np.log(2.0)
    return out, index, np.array([sign, log], dtype)


def _diagonal(matrix: sp.csc_array, guess: np.ndarray) -> np.ndarray:
    """Where the diagonal is: SciPy puts it first in the columns of L and last in those of U."""
    n = matrix.indptr.size - 1
    if np.array_equal(matrix.indices[guess], np.arange(n)):
        return guess
    return np.flatnonzero(matrix.indices == np.repeat(np.arange(n), np.diff(matrix.indptr)))


def _parity(permutation: np.ndarray) -> int:
    """+1 for an even permutation, −1 for an odd one: n minus the number of cycles."""
    n = permutation.size
    if np.array_equal(permutation, np.arange(n)):
        return 1
    graph = sp.csr_array((np.ones(n, np.int8), permutation, np.arange(n + 1)), shape=(n, n))
    cycles = connected_components(graph, directed=False, return_labels=False)
    return 1 - 2 * ((n - cycles) % 2)


class _Unpacked(NamedTuple):
    rows: np.ndarray
    columns: np.ndarray
    row_scale: np.ndarray
    column_scale: np.ndarray
    lower: tuple[np.ndarray, np.ndarray, np.ndarray]
    upper: tuple[np.ndarray, np.ndarray, np.ndarray]


def _unpack(n: int, factor: np.ndarray, index: np.ndarray) -> _Unpacked:
    cuts = np.cumsum([n, n, n, n, n + 1, n + 1])
    rows, columns, row_scale, column_scale, lower_ptr, upper_ptr, indices = np.split(index, cuts)
    split, end = lower_ptr[-1], lower_ptr[-1] + upper_ptr[-1]
    lower = factor[:split], indices[:split], lower_ptr
    upper = factor[split:end], indices[split:end], upper_ptr
    return _Unpacked(rows, columns, row_scale, column_scale, lower, upper)


# --- solves ---------------------------------------------------------------------------------------


def solve(
    plan: LUPlan,
    values: np.ndarray,
    factor: np.ndarray,
    index: np.ndarray,
    b: np.ndarray,
    *,
    transpose: bool,
) -> tuple[np.ndarray]:
    """A⁻¹ b or A⁻ᵀ b with iterative refinement; NaN in the columns that stay inaccurate."""
    if b.size == 0:
        return (np.zeros_like(b),)
    f = _unpack(plan.n, factor, index)
    if f.lower[2][-1] == 0:  # the factorisation failed
        return (np.full_like(b, np.nan),)
    p = plan.pattern
    A = sp.csc_array((values, p.indices, p.indptr), shape=p.shape)
    with np.errstate(all="ignore"):  # NaN and infinity in b stay in their columns
        return (_refined(A.T if transpose else A, f, b, transpose),)


def _refined(A: Any, f: _Unpacked, b: np.ndarray, transpose: bool) -> np.ndarray:
    scales = (f.column_scale, f.row_scale) if transpose else (f.row_scale, f.column_scale)
    size = abs(A)
    x = _solve_once(f, b, transpose)
    error, residual = _backward_error(A, size, x, b, *scales)
    eps = np.finfo(b.dtype).eps
    for _ in range(_MAX_REFINEMENTS):
        if not np.any(error > _ACCURATE * eps):
            break
        better = x + _solve_once(f, residual, transpose)
        new_error, new_residual = _backward_error(A, size, better, b, *scales)
        gain = new_error < error
        x, residual = np.where(gain, better, x), np.where(gain, new_residual, residual)
        done = not np.any(new_error < 0.5 * error)
        error = np.where(gain, new_error, error)
        if done:
            break
    return np.where(error <= eps**0.5, x, np.nan)


def _backward_error(
    A: Any, size: Any, x: np.ndarray, b: np.ndarray, row_scale: np.ndarray, column_scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each column max |r| / (|A||x| + |b|) with r = b − A x, in scaled rows; and r.

    Where the denominator is no more than rounding, a multiple of ‖x‖ is added to it (Arioli,
    Demmel & Duff, Solving sparse linear systems with sparse backward error, 1989).
    """
    residual = b - A @ x
    scale = -row_scale[:, None]
    bound = np.ldexp(size @ np.abs(x) + np.abs(b), scale)
    largest = np.max(np.abs(np.ldexp(x, column_scale[:, None])), axis=0)
    rounding = 1e3 * x.shape[0] * np.finfo(x.dtype).eps * largest
    bound = np.where(bound > rounding, bound, bound + largest)
    ratio = np.abs(np.ldexp(residual, scale)) / np.where(bound > 0, bound, 1)
    return np.max(ratio, axis=0), residual


def _solve_once(f: _Unpacked, b: np.ndarray, transpose: bool) -> np.ndarray:
    if transpose:
        w = np.empty(b.shape, b.dtype, order="F")
        w[f.columns] = np.ldexp(b, -f.column_scale[:, None])
        x = np.empty_like(b)
        x[f.rows] = _triangular(f, w, "T")
        return np.ldexp(x, -f.row_scale[:, None])
    w = np.asfortranarray(np.ldexp(b, -f.row_scale[:, None])[f.rows])
    return np.ldexp(_triangular(f, w, "N")[f.columns], -f.column_scale[:, None])


def _triangular(f: _Unpacked, b: np.ndarray, trans: str) -> np.ndarray:
    """U⁻¹ L⁻¹ b, or L⁻ᵀ U⁻ᵀ b. b may be overwritten."""
    n = b.shape[0]
    if _gstrs is None:
        return _public_triangular(f, b, trans)
    factors = (part for x in (f.lower, f.upper) for part in (n, x[0].size, *x))
    x, info = _gstrs(trans, *factors, b)
    return np.full_like(b, np.nan) if info else x


def _public_triangular(f: _Unpacked, b: np.ndarray, trans: str) -> np.ndarray:
    n = b.shape[0]
    lower = sp.csc_array(f.lower, shape=(n, n))
    pivots = sp.diags_array(lower.diagonal())
    upper = sp.csc_array(sp.csc_array(f.upper, shape=(n, n)) + pivots)
    lower_solve = functools.partial(spsolve_triangular, unit_diagonal=True)
    if trans == "N":
        return spsolve_triangular(upper, lower_solve(lower, b, lower=True), lower=False)
    y = spsolve_triangular(sp.csc_array(upper.T), b, lower=True)
    return lower_solve(sp.csc_array(lower.T), y, lower=False)
