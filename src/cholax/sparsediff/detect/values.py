"""What the interpreter knows of an array of the tangent program.

`Known`: its value, since it depends on neither x nor the tangent. `Coefficient`: it depends on x
(or on something unknown) but not on the tangent; some facts about it may be known. `Rows`: it is
linear in the tangent, with this pattern.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cholax.sparsediff.detect.rows import Rows, union

# A bound of this size means none. Sums and products of two stay within int64.
UNBOUNDED = 1 << 30
LARGEST_BOUND = UNBOUNDED - 1


class Known:
    """A concrete array."""

    def __init__(self, value: Any) -> None:
        self.value = np.asarray(value) if isinstance(value, np.generic) else value

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.value.shape)

    @cached_property
    def zero(self) -> np.ndarray | None:
        """Where the value is 0; None if nowhere."""
        if not isinstance(self.value, np.ndarray) or self.value.dtype.names:
            return None
        zero = self.value == 0
        return zero if bool(zero.any()) else None

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The value twice, if it is an integer or boolean within the range of bounds."""
        if not isinstance(self.value, np.ndarray) or self.value.dtype.kind not in "biu":
            return None
        value = self.value
        if value.dtype.kind == "b" or value.dtype.itemsize < 4:
            exact = value.astype(np.int64)
            return exact, exact
        exact = np.clip(value, 0 if value.dtype.kind == "u" else -UNBOUNDED, UNBOUNDED).astype(
            np.int64
        )
        if value.size == 0 or (np.max(exact) <= LARGEST_BOUND and np.min(exact) >= -LARGEST_BOUND):
            return exact, exact
        # Beyond the range only the side is known.
        return np.where(exact >= UNBOUNDED, LARGEST_BOUND, exact), np.where(
            exact <= -UNBOUNDED, -LARGEST_BOUND, exact
        )


@dataclass(frozen=True, eq=False)
class Coefficient:
    """An unknown array. Facts: where it is surely 0; between which integers it surely lies."""

    shape: tuple[int, ...]
    zero: np.ndarray | None = None
    bounds: tuple[np.ndarray, np.ndarray] | None = None


Value = Known | Coefficient | Rows


def is_exact(value: Value) -> bool:
    """Whether every element of an integer array is known."""
    if isinstance(value, Known):
        return True
    if isinstance(value, Rows) or value.bounds is None:
        return False
    low, high = value.bounds
    return bool(np.array_equal(low, high)) and bool((np.abs(low) < UNBOUNDED).all())


def integer_bounds(value: Value) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of an integer array, wide where nothing is known."""
    bounds = None if isinstance(value, Rows) else value.bounds
    if bounds is None:
        low = np.broadcast_to(np.int64(-UNBOUNDED), value.shape)
        return low, np.broadcast_to(np.int64(UNBOUNDED), value.shape)
    return bounds


def zero_mask(value: Value) -> np.ndarray | None:
    """Where a factor is surely 0; None if nowhere."""
    return None if isinstance(value, Rows) else value.zero


def join(values: list[Value]) -> Value:
    """What holds of an array that is one of several."""
    from_rows = [v for v in values if isinstance(v, Rows)]
    if from_rows:
        return union(from_rows)
    first = values[0]
    if all(v is first for v in values) or _all_equal(values):
        return first
    zeros = [v.zero for v in values if not isinstance(v, Rows)]
    zero = None
    if all(z is not None for z in zeros):
        zero = np.logical_and.reduce([z for z in zeros if z is not None])
    return Coefficient(first.shape, zero, _hull(values))


def _all_equal(values: list[Value]) -> bool:
    if not all(isinstance(v, Known) and isinstance(v.value, np.ndarray) for v in values):
        return False
    arrays = [v.value for v in values if isinstance(v, Known)]
    return all(np.array_equal(arrays[0], a) for a in arrays[1:])


def _hull(values: list[Value]) -> tuple[np.ndarray, np.ndarray] | None:
    bounds = [v.bounds for v in values if not isinstance(v, Rows)]
    if any(b is None for b in bounds):
        return None
    lows, highs = zip(*[b for b in bounds if b is not None], strict=True)
    return np.minimum.reduce(lows), np.maximum.reduce(highs)
