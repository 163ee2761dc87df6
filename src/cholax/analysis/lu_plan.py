"""`LUPlan`, what is decided about an LU factorisation before any value is known."""

import hashlib
import weakref
from collections.abc import Hashable
from typing import Any, Self, final

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import maximum_bipartite_matching, min_weight_full_bipartite_matching

from cholax._core.errors import ArgumentError, FactorSizeError, StructureError
from cholax.analysis.plan import analyze
from cholax.ordering import resolve
from cholax.patterns import Pattern, build
from cholax.patterns.algebra import expand, fold

# Entries of L and U together per entry predicted for pivots on the matched diagonal. The most that
# threshold pivoting (0.1) needed on the collection's matrices, convection-diffusion grids, saddle
# points and random matrices was 1.27, on a grid with its rows shuffled (tests/linalg/test_lu.py).
CAPACITY = 1.5
# While the room costs no more than 12 MB it is wider: symmetric matrices with a block of stored
# zeros need up to 2.7 times the prediction when their values are not known beforehand.
GENEROUS = 4
GENEROUS_BELOW = 1 << 20
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
        "_roomier",
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

    def __init__(
        self,
        pattern: Pattern,
        rows: np.ndarray,
        columns: np.ndarray,
        *,
        predicted: int,
        capacity: int,
        singular: bool,
    ) -> None:
        # A copy, as the pattern given keeps this plan alive.
        self.pattern = Pattern.trusted(pattern.shape, pattern.indptr, pattern.indices, False)
        self.rows, self.columns = rows, columns
        self.predicted, self.capacity, self.singular = predicted, capacity, singular
        self._roomier: LUPlan | None = None
        self.indptr, self.indices, self.source = _permuted(pattern, rows, columns)
        # Entries by row, for maxima over rows.
        self.by_row = np.argsort(pattern.rows, kind="stable").astype(np.int32)
        self.row_starts = np.searchsorted(pattern.rows[self.by_row], np.arange(pattern.n))
        h = hashlib.blake2b(_LAYOUT_VERSION + pattern.fingerprint, digest_size=16)
        h.update(np.concatenate([rows, columns]).astype(np.int32).tobytes())
        h.update(str(capacity).encode())
        self.digest = h.hexdigest()

    @property
    def n(self) -> int:
        """Order of the matrix."""
        return self.pattern.n

    @property
    def pivots(self) -> np.ndarray:
        """Which stored entries of A are on the diagonal of the permuted matrix."""
        columns = np.repeat(np.arange(self.n), np.diff(self.indptr))
        return self.source[self.indices == columns]

    @property
    def widest(self) -> "LUPlan":
        """This plan, or the one with the most room that was made from it."""
        return self if self._roomier is None else self._roomier.widest

    def roomier(self) -> "LUPlan | None":
        """The plan with twice the room, which this one keeps; None where there is no more."""
        room = min(2 * self.capacity, _most(self.n))
        if self._roomier is None and room > self.capacity:
            options = {"predicted": self.predicted, "singular": self.singular}
            self._roomier = LUPlan(self.pattern, self.rows, self.columns, capacity=room, **options)
        return self._roomier

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LUPlan) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        room = self.predicted, self.capacity, self.singular
        return _unpickle, (self.pattern, self.rows, self.columns, *room)

    def __repr__(self) -> str:
        return f"LUPlan(n={self.n}, predicted={self.predicted}, capacity={self.capacity})"


_plans: "weakref.WeakValueDictionary[Hashable, LUPlan]" = weakref.WeakValueDictionary()


def analyze_lu(
    pattern: Pattern,
    ordering: Any = "auto",
    *,
    capacity: float | None = None,
    nonzero: np.ndarray | None = None,
) -> LUPlan:
    """Return the plan of a square pattern under an ordering; equal requests share one plan.

    Args:
        pattern: a square pattern; a symmetric one stands for both its triangles.
        ordering: as for `analyze`; a permutation orders the columns, and each row goes with the
            column it is matched to.
        capacity: room for L and U, in multiples of the entries predicted; when left out 4 for small
            factors and 1.5 for large ones.
        nonzero: `(nnz,)` which of the stored entries, mirrored ones of a symmetric pattern
            included, are known to be more than zeros; rows are matched to columns by those.

    Raises:
        StructureError: the pattern is not square.
        ArgumentError: a capacity that is not a number of at least 1.
        FactorSizeError: L and U would hold more entries than 32-bit positions can address.

    Example:
        >>> import cholax as cx
        >>> analyze_lu(cx.Pattern((2, 2), [0, 1, 2], [1, 0])).predicted
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
    if nonzero is not None:
        request += (hashlib.blake2b(np.packbits(nonzero).tobytes(), digest_size=16).digest(),)
    held = pattern.__dict__.setdefault("_lu_plans", {})
    plan = held.get(request)
    if plan is None:
        key = (pattern.fingerprint, request)
        plan = _plans.get(key)
        if plan is None:
            full = expand(pattern)[0]
            matched = match(full, nonzero)
            plan = _plans.setdefault(key, plan_matched(full, matched, ordering, capacity))
        if nonzero is None:  # there may be many of the others
            held[request] = plan
    return plan


def _unpickle(
    pattern: Pattern,
    rows: np.ndarray,
    columns: np.ndarray,
    predicted: int,
    capacity: int,
    singular: bool,
) -> LUPlan:
    room = {"predicted": predicted, "capacity": capacity, "singular": singular}
    return LUPlan(pattern, rows, columns, **room)


def plan_matched(
    pattern: Pattern, matched: np.ndarray, ordering: Any, capacity: float | None
) -> LUPlan:
    """The plan of a general pattern with the row that goes with each column given."""
    singular = bool(np.any(matched < 0))
    matched = _completed(matched)
    place = np.argsort(matched).astype(np.int32)
    B, _ = build.from_coo(place[pattern.rows], pattern.columns, pattern.shape)
    symbolic = analyze(fold(B)[0], ordering)
    predicted = 2 * symbolic.nnz_factor
    return LUPlan(
        pattern,
        matched[symbolic.perm],
        symbolic.perm,
        predicted=predicted,
        capacity=_capacity(pattern.n, predicted, capacity),
        singular=singular,
    )


def match(pattern: Pattern, nonzero: np.ndarray | None = None) -> np.ndarray:
    """For each column a row with an entry there, no row twice; -1 where none is left.

    `nonzero` says which of the stored entries count. They need not suffice for all columns: then
    entries that are zero now may be something in the next call, and count as well.
    """
    n = pattern.n
    if nonzero is not None:
        found = _matching(pattern, nonzero)
        if not np.any(found < 0):
            return found
    if n == 0 or bool(np.all(pattern.diagonal_positions >= 0)):
        return np.arange(n, dtype=np.int32)
    return _matching(pattern, np.ones(pattern.nnz, bool))


def _matching(pattern: Pattern, kept: np.ndarray) -> np.ndarray:
    ones = np.ones(int(kept.sum()), np.int8)
    entries = (ones, (pattern.rows[kept], pattern.columns[kept]))
    graph = sp.csr_array(entries, shape=pattern.shape)
    return maximum_bipartite_matching(graph, perm_type="row").astype(np.int32)


def match_large(pattern: Pattern, values: np.ndarray) -> np.ndarray | None:
    """A matching whose entries have the largest product, relative to their rows'; None if none.

    Duff & Koster, On algorithms for permuting large entries to the diagonal, 2001.
    """
    kept = np.flatnonzero(values)
    rows, columns, size = pattern.rows[kept], pattern.columns[kept], np.abs(values[kept])
    largest = np.zeros(pattern.n)
    np.maximum.at(largest, rows, size)
    with np.errstate(all="ignore"):
        cost = np.log(largest[rows]) - np.log(size) + 1.0
    if not np.all(np.isfinite(cost)):
        return None
    graph = sp.csr_array((cost, (rows, columns)), shape=pattern.shape)
    try:
        found, of = min_weight_full_bipartite_matching(graph)
    except ValueError:  # none covers all columns
        return None
    out = np.empty(pattern.n, np.int32)
    out[of] = found
    return out


def deficiency(pattern: Pattern, values: np.ndarray) -> str:
    """Which rows or columns make any matrix with these zeros singular; empty where none do."""
    nonzero = values != 0
    for name, line in (("row", pattern.rows), ("column", pattern.columns)):
        empty = np.flatnonzero(np.bincount(line[nonzero], minlength=pattern.n) == 0)
        if empty.size:
            return f", as {name} {empty[0]} holds no nonzero entry"
    left = np.flatnonzero(_matching(pattern, nonzero) < 0)
    if not left.size:
        return ""
    return f", as {left.size} of its columns, column {left[0]} among them, find no row of their own"


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


def _most(n: int) -> int:
    """Room that no elimination exceeds, or that 32-bit positions can address."""
    return min(n * (n + 1), np.iinfo(np.int32).max - 6 * n - 2)


def _capacity(n: int, predicted: int, ratio: float | None) -> int:
    full = n * (n + 1)
    if ratio is not None:
        wanted = int(ratio * predicted)
    elif n <= DENSE_BELOW:
        wanted = full
    else:
        wanted = max(int(CAPACITY * predicted), min(GENEROUS * predicted, GENEROUS_BELOW))
    capacity = min(full, wanted)
    if capacity > _most(n):
        raise FactorSizeError(
            f"lu: L and U would hold {capacity} entries, more than 32-bit positions can address. "
            "Try another ordering, or a smaller capacity."
        )
    return capacity
