"""A permutation chosen by the caller."""

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from cholax._core.dtypes import read_array
from cholax._core.errors import OrderingError
from cholax.ordering._base import Ordering, check_symmetric
from cholax.patterns import Pattern


@dataclass(frozen=True, eq=False)
class Given(Ordering):
    """Exactly this permutation: entry i is the old index that moves to place i."""

    permutation: Any
    keeps_order: ClassVar[bool] = True

    def __post_init__(self) -> None:
        permutation = _checked(np.asarray(read_array(self.permutation, "ordering")))
        permutation.flags.writeable = False
        object.__setattr__(self, "permutation", permutation)

    def order(self, pattern: Pattern) -> np.ndarray:
        """Return the permutation, after checking that it fits the pattern."""
        check_symmetric(pattern, "Given")
        if self.permutation.size != pattern.n:
            raise OrderingError(
                f"ordering: a permutation for this matrix must have {pattern.n} entries, got "
                f"{self.permutation.size}."
            )
        return self.permutation

    @cached_property
    def _digest(self) -> bytes:
        return hashlib.blake2b(self.permutation.tobytes(), digest_size=16).digest()

    @property
    def key(self) -> tuple[Hashable, ...]:
        """The content of the permutation, as a digest."""
        return ("Given", self._digest)

    def __repr__(self) -> str:
        return f"Given({self.permutation!r})"


def _checked(permutation: np.ndarray) -> np.ndarray:
    if permutation.ndim != 1:
        raise OrderingError(
            f"ordering: a permutation must be one-dimensional, got shape {permutation.shape}."
        )
    if permutation.size == 0:
        return np.zeros(0, np.int32)
    if permutation.dtype.kind not in "iu":
        raise OrderingError(
            f"ordering: a permutation must hold integers, got {permutation.dtype}. "
            "Convert it with .astype(numpy.int32)."
        )
    n = permutation.size
    outside = np.flatnonzero((permutation < 0) | (permutation >= n))
    if outside.size:
        i = outside[0]
        raise OrderingError(
            f"ordering: entries of a permutation must lie between 0 and {n - 1}, got "
            f"{permutation[i]} at place {i}."
        )
    first = np.full(n, -1)
    first[permutation[::-1]] = np.arange(n)[::-1]  # the earliest place of each value wins
    repeated = np.flatnonzero(first[permutation] != np.arange(n))
    if repeated.size:
        i = repeated[0]
        raise OrderingError(
            f"ordering: a permutation must hold each index once, got {permutation[i]} at places "
            f"{first[permutation[i]]} and {i}."
        )
    return permutation.astype(np.int32)
