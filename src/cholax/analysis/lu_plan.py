"""`LUPlan`, what is decided about an LU factorisation before any value is known."""

import hashlib
import weakref
from collections.abc import Hashable
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import maximum_bipartite_matching

from cholax._core.errors import ArgumentError, FactorSizeError, StructureError
from cholax.analysis.plan import analyse
from cholax.ordering import resolve
from cholax.patterns import Pattern, build
from cholax.patterns.algebra import expand, fold

# Entries of L and U together per entry predicted for pivots on the matched diagonal. The most that
# threshold pivoting (0.1) needed on the collection's matrices, convection-diffusion grids, saddle
# points and random matrices was 1.27, on a grid with its rows shuffled (tests/linalg/test_lu.py).
CAPACITY = 1.5
# Below this size L and U may fill completely, so that no choice of pivots can overflow.
DENSE_BELOW = 128

_LAYOUT_VERSION = b"cholax-lu-plan-1"


@final
class LUPlan:
    """Where the entries of a square matrix go before elimination, and how much fill is allowed.

    Rows are matched to columns so that the diagonal is structurally non-zero, and both are put in
    a fill-reducing order of B + Bᵀ, B the matched matrix. Which pivots are taken then depends on
    the values, and so does the fill: `capacity` bounds the entries of L and U together.

    Attributes:
        pattern: the general pattern of A.
        rows, columns: the row and the column of A at each place.
        indptr, indices: the permuted pattern, in compressed columns.
        source: which stored entry of A each permuted entry is.
        predicted: entries of L and U if every pivot is taken on the diagonal.
        capacity: entries of L and U there is room for.
        singular: no values make the matrix regular.
    """

    __slots__ = (
        "__weakref__",
        "by_row",
        "capacity",
        "columns",
        "digest",
        "indices",
        "indptr",
        "pattern",
        "predicted",
        "row_starts",
        "rows",
        "singular",
        "source",
    )

    def __init__(self, pattern: Pattern, ordering: Any, capacity: float | None) -> None:
        n = pattern.n
        # A copy, as the pattern given keeps this plan alive.
        self.pattern = Pattern.trusted(pattern.shape, pattern.indptr, pattern.indices, False)
        matched = _matched_rows(pattern)
        self.singular = bool(np.any(matched < 0))
        matched = _completed(matched)
        place = np.argsort(matched).astype(np.int32)
        B, _ = build.from_coo(place[pattern.rows], pattern.columns, pattern.shape)
        symbolic = analyse(fold(B)[0], ordering)
        self.rows, self.columns = matched[symbolic.perm], symbolic.perm
        self.indptr, self.indices, self.source = _permuted(pattern, self.rows, self.columns)
        # Entries by row, for maxima over rows.
        self.by_row = np.argsort(pattern.rows, kind="stable").astype(np.int32)
        self.row_starts = np.searchsorted(pattern.rows[self.by_row], np.arange(n))
        self.predicted = 2 * symbolic.nnz_factor
        self.capacity = _capacity(n, self.predicted, capacity)
        h = hashlib.blake2b(_LAYOUT_VERSION + pattern.fingerprint, digest_size=16)
        h.update(np.concatenate([self.rows, self.columns]).astype(np.int32).tobytes())
        h.update(str(self.capacity).encode())
        self.digest = h.hexdigest()

    @property
    def n(self) -> int:
        """Order of the matrix."""
        return self.pattern.n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LUPlan) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"LUPlan(n={self.n}, predicted={self.predicted}, capacity={self.capacity})"


_plans: "weakref.WeakValueDictionary[Hashable, LUPlan]" = weakref.WeakValueDictionary()


def analyse_lu(
    pattern: Pattern, ordering: Any = "auto", *, capacity: float | None = None
) -> LUPlan:
    """Return the plan of a square pattern under an ordering; equal requests share one plan.

    Args:
        pattern: a square pattern; a symmetric one stands for both its triangles.
        ordering: as for `analyse`; a permutation orders the columns, and each row goes with the
            column it is matched to.
        capacity: room for L and U, in multiples of the entries predicted; 1.5 when left out.

    Raises:
        StructureError: the pattern is not square.
        ArgumentError: a capacity that is not a number of at least 1.
        FactorSizeError: L and U would hold more entries than 32-bit positions can address.

    Example:
        >>> import cholax as cx
        >>> analyse_lu(cx.Pattern((2, 2), [0, 1, 2], [1, 0])).predicted
        4
    """
    if pattern.shape[0] != pattern.shape[1]:
        raise StructureError(
            f"lu: the matrix must be square, got {pattern.shape[0]}×{pattern.shape[1]}. "
            "For least squares solve the normal equations with cx.congruence and cx.cholesky."
        )
    real = isinstance(capacity, int | float) and not isinstance(capacity, bool)
    if capacity is not None and not (real and 1 <= capacity < np.inf):
        raise ArgumentError(
            f"lu: capacity must be a number of at least 1, got {capacity!r}. It is the room for L "
            "and U in multiples of the entries predicted."
        )
    request = ("lu", resolve(ordering).key, capacity)
    held = pattern.__dict__.setdefault("_lu_plans", {})
    plan = held.get(request)
    if plan is None:
        key = (pattern.fingerprint, request)
        plan = _plans.get(key)
        if plan is None:
            plan = _plans.setdefault(key, LUPlan(expand(pattern)[0], ordering, capacity))
        held[request] = plan
    return plan


def _matched_rows(pattern: Pattern) -> np.ndarray:
    """For each column a row with an entry there, no row twice; -1 where none is left."""
    n = pattern.n
    if n == 0 or bool(np.all(pattern.diagonal_positions >= 0)):
        return np.arange(n, dtype=np.int32)
    ones = np.ones(pattern.nnz, np.int8)
    graph = sp.csc_array((ones, pattern.indices, pattern.indptr), shape=pattern.shape)
    return maximum_bipartite_matching(sp.csr_array(graph), perm_type="row").astype(np.int32)


def _completed(matched: np.ndarray) -> np.ndarray:
    """A permutation: the rows left over go to the columns left over."""
    out = matched.copy()
    out[matched < 0] = np.setdiff1d(np.arange(matched.size, dtype=np.int32), matched)
    return out


def _permuted(
    pattern: Pattern, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pattern of A[rows, columns], with the stored entry of A each of its entries is."""
    new_row, new_column = np.argsort(rows), np.argsort(columns)
    i, j = new_row[pattern.rows], new_column[pattern.columns]
    source = np.lexsort((i, j)).astype(np.int32)
    indptr = np.searchsorted(j[source], np.arange(pattern.n + 1)).astype(np.int32)
    return indptr, i[source].astype(np.int32), source


def _capacity(n: int, predicted: int, ratio: float | None) -> int:
    full = n * (n + 1)
    wanted = full if ratio is None and n <= DENSE_BELOW else int((ratio or CAPACITY) * predicted)
    capacity = min(full, wanted)
    if capacity + 6 * n + 2 > np.iinfo(np.int32).max:
        raise FactorSizeError(
            f"lu: L and U would hold {capacity} entries, more than 32-bit positions can address. "
            "Try another ordering, or a smaller capacity."
        )
    return capacity
