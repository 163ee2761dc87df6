"""Index arithmetic of windows whose start is known, or known to lie in a range.

Each element of a gather's result (or of a scatter's updates) reads (or writes) one element of the
operand. Where its index is uncertain, that element lies in a box: a product of ranges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cholax.sparsediff.detect.rows import Rows, apply_pairs, dense_row, filled, scatter_rows

# Elements listed when boxes are taken apart; beyond it one box holds them all.
MOST_LISTED = 20_000_000


@dataclass(frozen=True, eq=False)
class Boxes:
    """For each element its box in an operand of `shape`, per dimension; -1s in `absent` elements.

    `low` and `high` hold one array per operand dimension, broadcastable to the element shape.
    """

    shape: tuple[int, ...]
    elements: tuple[int, ...]
    low: list[np.ndarray]
    high: list[np.ndarray]
    absent: np.ndarray | None
    """Elements that surely lie outside, under a mode that drops them."""
    certain: bool
    """No element may be dropped but the absent ones."""

    @property
    def exact(self) -> bool:
        """Whether every box is one element."""
        return all(a is b or np.array_equal(a, b) for a, b in zip(self.low, self.high, strict=True))

    def flat(self, corner: list[np.ndarray]) -> np.ndarray:
        """Row-major positions of corners, -1 where absent."""
        position = np.zeros((), np.int64)
        for coordinate, size in zip(corner, self.shape, strict=True):
            position = position * size + coordinate
        position = np.broadcast_to(position, self.elements)
        return position if self.absent is None else np.where(self.absent, -1, position)

    @property
    def positions(self) -> np.ndarray:
        """The element each box holds, when exact."""
        return self.flat(self.low)


def window_boxes(
    shape: Sequence[int],
    elements: Sequence[int],
    bounds: tuple[np.ndarray, np.ndarray],
    numbers: Any,
    *,
    drops: bool,
) -> Boxes:
    """The boxes of a gather or scatter; `numbers` as made by `gather_numbers`, `scatter_numbers`.

    `drops`: windows that do not fit are dropped, not moved inside.
    """
    window_axes, absent_dims, start_map, operand_batch, index_batch = numbers
    rank = len(elements)
    batch_axes = [axis for axis in range(rank) if axis not in window_axes]
    window = dict(
        zip([d for d in range(len(shape)) if d not in absent_dims], window_axes, strict=True)
    )

    def along(axis: int, line: np.ndarray) -> np.ndarray:
        return line.reshape([-1 if a == axis else 1 for a in range(rank)])

    def at_batch(array: np.ndarray) -> np.ndarray:
        return array.reshape([elements[a] if a in batch_axes else 1 for a in range(rank)])

    low: list[np.ndarray] = []
    high: list[np.ndarray] = []
    absent: np.ndarray | None = None
    certain = True
    for d, size in enumerate(shape):
        first = last = np.zeros((), np.int64)
        if d in start_map:
            k = start_map.index(d)
            most = size - (elements[window[d]] if d in window else 1)
            first, last = (at_batch(b[..., k]) for b in bounds)
            if drops:
                outside = (last < 0) | (first > most)
                certain = certain and bool(((first >= 0) & (last <= most) | outside).all())
                if outside.any():
                    absent = outside if absent is None else absent | outside
            exact = first is last or np.array_equal(first, last)
            first = np.clip(first, 0, max(most, 0))
            last = first if exact else np.clip(last, 0, max(most, 0))
        if d in operand_batch:
            axis = batch_axes[index_batch[operand_batch.index(d)]]
            first = last = along(axis, np.arange(size))
        if d in window:
            offset = along(window[d], np.arange(elements[window[d]]))
            same = first is last
            first = first + offset
            last = first if same else last + offset
        low.append(first)
        high.append(last)
    if absent is not None:
        absent = np.broadcast_to(absent, tuple(elements))
    return Boxes(tuple(shape), tuple(elements), low, high, absent, certain)


def gather_numbers(numbers: Any) -> tuple[Any, ...]:
    """Result axes of the window, operand dimensions not in it, and what the starts refer to."""
    return (
        numbers.offset_dims,
        {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims},
        tuple(numbers.start_index_map),
        tuple(numbers.operand_batching_dims),
        tuple(numbers.start_indices_batching_dims),
    )


def scatter_numbers(numbers: Any) -> tuple[Any, ...]:
    """The same for a scatter, with the updates in place of the result."""
    return (
        numbers.update_window_dims,
        {*numbers.inserted_window_dims, *numbers.operand_batching_dims},
        tuple(numbers.scatter_dims_to_operand_dims),
        tuple(numbers.operand_batching_dims),
        tuple(numbers.scatter_indices_batching_dims),
    )


def slice_boxes(
    shape: Sequence[int], window: Sequence[int], bounds: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Boxes:
    """The boxes of a window that starts somewhere between bounds and is moved inside."""
    low, high = [], []
    for d, (size, length) in enumerate(zip(shape, window, strict=True)):
        offset = np.arange(length).reshape([-1 if a == d else 1 for a in range(len(shape))])
        first, last = (np.clip(b, 0, size - length) for b in bounds[d])
        low.append(first + offset)
        high.append(last + offset)
    return Boxes(tuple(shape), tuple(window), low, high, None, True)


# --- patterns -------------------------------------------------------------------------------------


def read(rows: Rows, boxes: Boxes) -> Rows:
    """Element e of the result depends on what any element in box e depends on."""
    if 0 in boxes.elements:
        return Rows(boxes.elements)
    if boxes.exact:
        return rows.take(boxes.positions)
    which, low, high = _distinct(boxes)
    listed = _list(boxes.shape, low, high)
    if listed is None:
        return filled(dense_row([rows]), boxes.elements)
    box, position = listed
    return apply_pairs(rows, box, position, (low.size,)).take(which)


def write(updates: Rows, boxes: Boxes) -> Rows:
    """Element o of the result depends on every update whose box holds o."""
    if 0 in boxes.elements or 0 in boxes.shape:
        return Rows(boxes.shape)
    if boxes.exact:
        return scatter_rows(updates, boxes.positions, boxes.shape)
    which, low, high = _distinct(boxes)
    listed = _list(boxes.shape, low, high)
    if listed is None:
        return filled(dense_row([updates]), boxes.shape)
    box, position = listed
    return apply_pairs(scatter_rows(updates, which, (low.size,)), position, box, boxes.shape)


def _distinct(boxes: Boxes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The number of each element's box among the different ones, and their corners."""
    low, high = (np.maximum(boxes.flat(c), 0) for c in (boxes.low, boxes.high))
    size = int(np.prod(boxes.shape, dtype=np.int64))
    keys, which = np.unique(low * (size + 1) + high, return_inverse=True)
    which = which.reshape(boxes.elements)
    if boxes.absent is not None:
        which = np.where(boxes.absent, -1, which)
    return which, keys // (size + 1), keys % (size + 1)


def _list(
    shape: tuple[int, ...], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Number and position of each element of each box; None when there are too many."""
    first, last = np.unravel_index(low, shape), np.unravel_index(high, shape)
    lengths = [b - a + 1 for a, b in zip(first, last, strict=True)]
    volume = np.prod(lengths, axis=0)
    total = int(volume.sum())
    if total > MOST_LISTED:
        return None
    box = np.repeat(np.arange(low.size), volume)
    inside = np.arange(total) - np.repeat(np.cumsum(volume) - volume, volume)
    position = np.zeros(total, np.int64)
    stride = 1
    for d in reversed(range(len(shape))):
        length = lengths[d][box]
        position += (first[d][box] + inside % length) * stride
        inside = inside // length
        stride *= shape[d]
    return box, position
