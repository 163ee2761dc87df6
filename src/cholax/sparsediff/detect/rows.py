"""`Rows`: which inputs each element of an array depends on, for arrays linear in the tangent.

An array's pattern is a union of terms. A term selects, for each element of the array, one row of a
base: a table of sorted column lists, or the identity, whose row j is the single column j. So a
gather, a broadcast or a transpose moves numbers within one index array, a dense row that a million
elements share is stored once, and nothing is merged before it must be.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cholax._core.errors import PatternError

# More terms than this are merged into one: unions compare every pair of terms.
MOST_TERMS = 16
# Entries beyond this are refused: 8 bytes each, twice while sorting.
MOST_ENTRIES = 1 << 30
# Below this sorting is fast anyway.
FEW_KEYS = 10_000
_SHIFT = 31
_MASK = (1 << _SHIFT) - 1


@dataclass(frozen=True, eq=False)
class Base:
    """Rows of sorted columns without duplicates, in compressed form."""

    indptr: np.ndarray
    indices: np.ndarray

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.indptr.size - 1

    def same_as(self, other: "Base | None") -> bool:
        """Whether two tables are equal, by content."""
        return self is other or (
            other is not None
            and self.indices.size == other.indices.size
            and np.array_equal(self.indptr, other.indptr)
            and np.array_equal(self.indices, other.indices)
        )


@dataclass(frozen=True, eq=False)
class Term:
    """For each element a row of `base` (None: the identity), -1 where it depends on nothing."""

    base: Base | None
    index: np.ndarray
    partial: bool = False
    """Whether `index` may hold -1."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The pattern of an array of `shape` that is linear in the tangent: the union of its terms."""

    shape: tuple[int, ...]
    terms: tuple[Term, ...] = ()

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def map(self, move: Callable[[np.ndarray], np.ndarray], *, fills: bool = False) -> "Rows":
        """Apply a function that rearranges elements; `fills` says that it may put in -1."""
        terms = []
        shape = None
        for term in self.terms:
            index = move(term.index)
            partial = term.partial or fills
            shape = index.shape
            if not partial or bool((index >= 0).any()):
                terms.append(Term(term.base, index, partial))
        if shape is None:
            shape = move(np.broadcast_to(np.int32(-1), self.shape)).shape
        return Rows(shape, tuple(terms))

    def take(self, positions: np.ndarray) -> "Rows":
        """Element p of the result is element positions[p] of this, nothing where that is -1."""
        if self.size == 0:
            return Rows(positions.shape)
        some = bool((positions < 0).any())

        def move(index: np.ndarray) -> np.ndarray:
            # A term that says the same everywhere does so after any move.
            if index.strides == (0,) * index.ndim:
                taken = np.broadcast_to(index.reshape(-1)[:1], positions.shape)
                return np.where(positions < 0, np.int32(-1), taken) if some else taken
            taken = index.reshape(-1).take(positions, mode="wrap")
            if some:
                taken[positions < 0] = -1
            return taken

        return self.map(move, fills=some)

    def drop(self, zero: np.ndarray | None) -> "Rows":
        """Multiply by a coefficient that is known to be 0 where `zero` holds."""
        if zero is None or not self.terms or not zero.any():
            return self
        if zero.all():
            return Rows(np.broadcast_shapes(self.shape, zero.shape))
        return self.map(lambda index: np.where(zero, np.int32(-1), index), fills=True)

    def broadcast(self, shape: tuple[int, ...]) -> "Rows":
        """Broadcast as NumPy does."""
        if shape == self.shape:
            return self
        return Rows(
            shape,
            tuple(Term(t.base, np.broadcast_to(t.index, shape), t.partial) for t in self.terms),
        )


def identity(shape: tuple[int, ...], start: int = 0) -> Rows:
    """Element i depends on column start + i and on nothing else."""
    size = int(np.prod(shape, dtype=np.int64))
    if size == 0:
        return Rows(shape)
    index = np.arange(start, start + size, dtype=np.int32).reshape(shape)
    return Rows(shape, (Term(None, index),))


def union(parts: Sequence[Rows]) -> Rows:
    """Elementwise union of arrays of one shape, merged when the terms become too many."""
    first, *others = parts
    terms = list(first.terms)
    for part in others:
        for term in part.terms:
            _include(terms, term)
    rows = Rows(first.shape, tuple(terms))
    return merged(rows) if len(terms) > MOST_TERMS else rows


def _include(terms: list[Term], new: Term) -> None:
    """Add a term unless it is there already; fill the gaps of another where they are disjoint."""
    for k, old in enumerate(terms):
        if old.base is not new.base and not (old.base and old.base.same_as(new.base)):
            continue
        if _equal(old.index, new.index):
            return
        if old.partial and new.partial:
            free = old.index < 0
            if bool((free | (new.index < 0) | (old.index == new.index)).all()):
                terms[k] = Term(old.base, np.where(free, new.index, old.index), True)
                return
    terms.append(new)


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    if a is b:
        return True
    if a.size > 4096:  # most unequal arrays differ in a small sample
        step = (slice(None, None, 64),) * a.ndim
        if not np.array_equal(a[step], b[step]):
            return False
    return bool(np.array_equal(a, b))


def merged(rows: Rows) -> Rows:
    """The same pattern as a single term, or as few as can be had without growing much."""
    if len(rows.terms) < 2:
        return rows
    shape = rows.shape
    lean = tuple(
        slice(None) if any(t.index.strides[axis] for t in rows.terms) else slice(0, 1)
        for axis in range(len(shape))
    )
    reduced = Rows(rows.terms[0].index[lean].shape)
    terms = [Term(t.base, t.index[lean], t.partial) for t in rows.terms]
    cheap = [t for t in terms if _mean_row(t) <= 64]
    heavy = [t for t in terms if _mean_row(t) > 64]
    out = [_merge_heavy(heavy)] if heavy else []
    if cheap:
        base = to_base(Rows(reduced.shape, tuple(cheap)))
        index = np.arange(base.size, dtype=np.int32).reshape(reduced.shape)
        out.append(Term(base, index))
    return Rows(shape, tuple(Term(t.base, np.broadcast_to(t.index, shape), t.partial) for t in out))


def _mean_row(term: Term) -> float:
    if term.base is None:
        return 1.0
    return term.base.indices.size / max(term.base.size, 1)


def _merge_heavy(terms: list[Term]) -> Term:
    """Merge terms of long rows: one row per combination of rows that occurs."""
    if len(terms) == 1:
        return terms[0]
    shape = terms[0].index.shape
    stacked = np.stack([t.index.reshape(-1) for t in terms], axis=1)
    combinations, inverse = np.unique(stacked, axis=0, return_inverse=True)
    parts = tuple(
        Term(t.base, combinations[:, k], t.partial or bool((combinations[:, k] < 0).any()))
        for k, t in enumerate(terms)
    )
    base = to_base(Rows((len(combinations),), parts))
    return Term(base, inverse.reshape(shape).astype(np.int32))


# --- linear maps ----------------------------------------------------------------------------------


def to_base(rows: Rows) -> Base:
    """One sorted list of columns per element, elements in row-major order."""
    return _compress(entries(rows), rows.size)


def sum_rows(rows: Rows, targets: np.ndarray, size: int, *, distinct: bool = False) -> Base:
    """Row r of the result is the union over the elements whose target is r; -1 goes nowhere.

    `targets` has the shape of `rows`. `distinct` says that no target occurs twice.
    """
    return _compress(entries(rows, targets, distinct=distinct), size)


def scatter_rows(rows: Rows, targets: np.ndarray, shape: tuple[int, ...]) -> Rows:
    """`sum_rows` as an array of `shape`: element `targets[i]` gets what element i depends on."""
    size = int(np.prod(shape, dtype=np.int64))
    if not rows.terms or not size:
        return Rows(shape)
    base = sum_rows(rows, targets, size)
    return of_base(base, shape)


def of_base(base: Base, shape: tuple[int, ...]) -> Rows:
    """The array whose elements have the rows of `base`, in row-major order."""
    if base.indices.size == 0:
        return Rows(shape)
    return Rows(shape, (Term(base, np.arange(base.size, dtype=np.int32).reshape(shape)),))


def apply_pairs(rows: Rows, out: np.ndarray, source: np.ndarray, shape: tuple[int, ...]) -> Rows:
    """The linear map with a coefficient at each (out[k], source[k]), both flat positions."""
    return scatter_rows(rows.take(source), out, shape)


def union_over(rows: Rows, moves: Sequence[Callable[[np.ndarray], np.ndarray]]) -> Rows:
    """Union of several rearrangements of one array, as lazily as their number allows."""
    return union_many(rows.map(move, fills=True) for move in moves)


def union_many(parts: Iterable[Rows]) -> Rows:
    """Union of many arrays of one shape, merging as it goes."""
    parts = iter(parts)
    total = next(parts)
    for part in parts:
        total = union([total, part])
    return total


def dense_row(rows: Sequence[Rows]) -> Base | None:
    """One row: everything that any element of the arrays depends on. None where that is empty."""
    keys = [entries(r, np.broadcast_to(np.int32(0), r.shape)) for r in rows if r.terms]
    if not keys:
        return None
    return _compress(_unique(np.concatenate(keys)), 1)


def filled(base: Base | None, shape: tuple[int, ...]) -> Rows:
    """Every element has the one row of `base`."""
    if base is None or base.indices.size == 0 or 0 in shape:
        return Rows(shape)
    return Rows(shape, (Term(base, np.broadcast_to(np.int32(0), shape)),))


# --- entries --------------------------------------------------------------------------------------


def entries(rows: Rows, targets: np.ndarray | None = None, *, distinct: bool = False) -> np.ndarray:
    """Sorted unique keys row << 31 | column of all dependencies; rows are `targets` if given."""
    if targets is None:
        targets = np.arange(rows.size, dtype=np.int64).reshape(rows.shape)
        distinct = True
    keys = [_term_keys(term, targets, distinct) for term in rows.terms]
    total = sum(k.size for k in keys)
    check_size(total)
    if not keys:
        return np.zeros(0, np.int64)
    return _unique(np.concatenate(keys) if len(keys) > 1 else keys[0])


def check_size(entries: int) -> None:
    """Refuse patterns that would not fit."""
    if entries > MOST_ENTRIES:
        raise PatternError(
            f"detect: the pattern would need {entries} entries (limit {MOST_ENTRIES}), so it is "
            "not sparse. Use jax.jacfwd or jax.jacrev, or differentiate matrix-free."
        )


def split_keys(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of keys."""
    return keys >> _SHIFT, keys & _MASK


def make_keys(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Keys of rows and columns."""
    return (rows.astype(np.int64) << _SHIFT) | columns


def _term_keys(term: Term, targets: np.ndarray, distinct: bool) -> np.ndarray:
    index = term.index
    # Elements that share their row and their target along an axis are one.
    lean = tuple(
        slice(None) if index.strides[axis] or targets.strides[axis] else slice(0, 1)
        for axis in range(index.ndim)
    )
    index, target = index[lean].reshape(-1), targets[lean].reshape(-1)
    if term.partial or not distinct:
        keep = (index >= 0) & (target >= 0)
        if not keep.all():
            index, target = index[keep], target[keep]
    keys = make_keys(target, index)
    if term.base is None:
        return keys
    if not distinct:
        keys = _unique(keys)
        target, index = split_keys(keys)
    return _expand(term.base, index, target)


def _expand(base: Base, index: np.ndarray, target: np.ndarray) -> np.ndarray:
    start = base.indptr[index].astype(np.int64)
    count = base.indptr[index + 1] - start
    total = int(count.sum())
    check_size(total)
    ends = np.cumsum(count)
    positions = np.repeat(start - (ends - count), count)
    positions += np.arange(total, dtype=np.int64)
    return make_keys(np.repeat(target, count), base.indices[positions])


def _unique(keys: np.ndarray) -> np.ndarray:
    if keys.size < 2 or np.diff(keys).min() > 0:
        return keys
    if keys.size > FEW_KEYS:
        rows, columns = split_keys(keys)
        width = int(columns.max()) + 1
        area = (int(rows.max()) + 1) * width
        if area <= 4 * keys.size:  # nearly dense: marking beats sorting about tenfold
            marked = np.zeros(area, bool)
            marked[rows * width + columns] = True
            place = np.flatnonzero(marked)
            return make_keys(place // width, place % width)
    keys = np.sort(keys)
    keep = np.empty(keys.size, bool)
    keep[0] = True
    np.not_equal(keys[1:], keys[:-1], out=keep[1:])
    return keys if keep.all() else keys[keep]


def _compress(keys: np.ndarray, size: int) -> Base:
    rows, columns = split_keys(keys)
    counts = np.bincount(rows, minlength=size) if keys.size else np.zeros(size, np.int64)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return Base(indptr, columns.astype(np.int32))


__all__ = [
    "Base",
    "Rows",
    "Term",
    "apply_pairs",
    "check_size",
    "dense_row",
    "entries",
    "filled",
    "identity",
    "make_keys",
    "merged",
    "of_base",
    "scatter_rows",
    "split_keys",
    "sum_rows",
    "to_base",
    "union",
    "union_many",
    "union_over",
]
