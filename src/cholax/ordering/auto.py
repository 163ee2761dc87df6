"""The default: the cheaper of AMD and minimum fill, and METIS where it promises to pay."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from cholax._native import lib
from cholax.ordering._base import Ordering
from cholax.ordering.amd import AMD
from cholax.ordering.minimum_fill import MinimumFill
from cholax.ordering.nested_dissection import NestedDissection, metis_available
from cholax.patterns import Pattern

# Minimum fill takes as long as AMD, about as long as 3e6 flops of a factorisation of this size.
MIN_FLOPS_FOR_FILL = 5e6
# METIS takes 7 to 23 times as long as AMD, about 2.4 µs per stored entry. It is tried when
# factoring under the better of the others costs at least this much in all and per stored entry.
# Flops per entry, and METIS's factor time relative to the better of the others, one thread:
# Delaunay mesh of 200 000 1.2e3, 0.88; 2-D grids up to 1000² 3.5e3 at most, 1.1 to 1.3; 20³ grid
# 7.4e3, 0.83 (the ordering costs 6 factorisations); 40³ grid 9.4e4, 0.65; space-time 50 × 40² 0.68.
MIN_FLOPS = 1e8
MIN_FLOPS_PER_ENTRY = 5e3
# No matrix below this size passes the first test unless it is almost full.
MIN_SIZE = 3000


@dataclass(frozen=True, eq=False)
class Auto(Ordering):
    """AMD; where it leaves more to do also minimum fill, then METIS: whichever is cheapest."""

    def order(self, pattern: Pattern) -> np.ndarray:
        """Return the permutation with the smallest flop count among those worth computing."""
        best, flops = _costed(AMD(), pattern)
        if flops >= MIN_FLOPS_FOR_FILL:
            best, flops = _cheaper(best, flops, MinimumFill(), pattern)
        large = pattern.n >= MIN_SIZE and flops >= max(MIN_FLOPS, MIN_FLOPS_PER_ENTRY * pattern.nnz)
        if large and metis_available():
            best, flops = _cheaper(best, flops, NestedDissection(), pattern)
        return best

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What it returns depends on whether METIS is there."""
        return ("Auto", metis_available())


def _costed(ordering: Ordering, pattern: Pattern) -> tuple[np.ndarray, float]:
    permutation = ordering.order(pattern)
    _, flops = lib().factor_cost(pattern.n, pattern.indptr, pattern.indices, permutation)
    return permutation, flops


def _cheaper(
    best: np.ndarray, flops: float, other: Ordering, pattern: Pattern
) -> tuple[np.ndarray, float]:
    permutation, cost = _costed(other, pattern)
    return (permutation, cost) if cost < flops else (best, flops)
