"""Vectorised helpers on index arrays: sort and merge entries, concatenate ranges."""

import numpy as np

from cholax._core.errors import ShapeError
from cholax.patterns.pattern import INDEX_LIMIT, Pattern


def canonical(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], symmetric: bool = False
) -> tuple[Pattern, np.ndarray]:
    """Sort valid entries by column, then row, and merge duplicates.

    Returns:
        The pattern, and for each given entry the position where it is stored.
    """
    keys = columns.astype(np.int64) * shape[0] + rows
    # Stable: equal inputs give equal sums. Timsort: sorted runs merge in linear time.
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.ones(keys.size, bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    positions = np.empty(keys.size, np.int32)
    positions[order] = np.cumsum(first, dtype=np.int32) - 1
    kept = order[first]
    return from_sorted(rows[kept], columns[kept], shape, symmetric), positions


def from_sorted(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], symmetric: bool = False
) -> Pattern:
    """Pattern of entries already sorted by column, then row, without duplicates."""
    indptr = np.zeros(shape[1] + 1, np.int32)
    np.cumsum(np.bincount(columns, minlength=shape[1]), out=indptr[1:])
    return Pattern.trusted(shape, indptr, np.array(rows, np.int32), symmetric)


def source_map(positions: np.ndarray, size: int, sources: np.ndarray | None = None) -> np.ndarray:
    """Turn "where input k goes" into "where output comes from": source[positions[k]] = sources[k].

    Outputs that nothing is sent to get -1. `sources` counts 0, 1, 2, ... when not given.
    """
    source = np.full(size, -1, np.int32)
    source[positions] = np.arange(positions.size) if sources is None else sources
    return source


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Concatenate `starts[k], ..., starts[k] + counts[k] - 1` over k."""
    counts = counts.astype(np.int64)
    shift = np.asarray(starts, np.int64) - (np.cumsum(counts) - counts)
    return np.arange(counts.sum()) + np.repeat(shift, counts)


def check_count(count: int, where: str, what: str) -> None:
    """Raise `ShapeError` when `count` things cannot be addressed by 32-bit positions."""
    if count > INDEX_LIMIT:
        raise ShapeError(
            f"{where}: needs {count} {what}, at most {INDEX_LIMIT} fit 32-bit positions. "
            "Split the matrix into blocks."
        )
