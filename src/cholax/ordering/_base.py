"""What every ordering strategy provides, and the graph views they share."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from cholax._core.errors import StructureError
from cholax.patterns import Pattern


class Ordering(ABC):
    """A fill-reducing ordering of symmetric patterns: P A Pᵀ = L Lᵀ.

    Must: `order`. May: `key` (strategies with parameters other than their class), `keeps_order`.
    """

    # True: the factor uses exactly the permutation returned. False: an equivalent one (same fill)
    # may replace it, which lets supernodes be wider.
    keeps_order: ClassVar[bool] = False

    @abstractmethod
    def order(self, pattern: Pattern) -> np.ndarray:
        """Return an int32 permutation whose entry i is the old index that moves to place i."""

    @property
    def key(self) -> tuple[Hashable, ...]:
        """Identifies the strategy and its parameters; equal keys give equal permutations."""
        return (type(self).__name__,)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Ordering) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)


def identity(n: int) -> np.ndarray:
    """The permutation that changes nothing."""
    return np.arange(n, dtype=np.int32)


def check_symmetric(pattern: Pattern, where: str) -> None:
    """Orderings are defined for symmetric patterns only."""
    if not pattern.symmetric:
        raise StructureError(
            f"{where}: the pattern must be symmetric, got a general one of shape "
            f"{pattern.shape[0]}×{pattern.shape[1]}. Build it with symmetric=True."
        )


def adjacency(pattern: Pattern) -> sp.csr_array:
    """The graph of a symmetric pattern: both triangles, no diagonal, sorted rows, all ones."""
    rows, columns = pattern.rows, pattern.columns
    off = rows != columns
    i, j = rows[off], columns[off]
    ends = (np.concatenate([i, j]), np.concatenate([j, i]))
    return sp.csr_array((np.ones(2 * i.size, np.int8), ends), shape=pattern.shape)


def dense_rows(degree: np.ndarray) -> np.ndarray:
    """Flags rows so full that they should come last: they slow orderings down and fill anyway."""
    return degree > max(16.0, 10.0 * degree.size**0.5)
