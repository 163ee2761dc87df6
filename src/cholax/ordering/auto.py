"""The default: AMD, and METIS where it is installed and promises to pay."""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from cholax._native import lib
from cholax.ordering._base import Ordering
from cholax.ordering.amd import AMD
from cholax.ordering.nested_dissection import NestedDissection, metis_available
from cholax.patterns import Pattern

# METIS takes 7 to 23 times as long as AMD, about 2.4 µs per stored entry (1000 × 1000 grid). It is
# tried when factoring under AMD costs at least this much in all, and this much per stored entry. A
# 1000 × 1000 grid costs 6.6e3 per entry and METIS would save a quarter of that; a 40 × 40 × 40 one
# 1.7e5, and METIS saves 60% of it (1.3 s for the ordering).
MIN_FLOPS = 5e9
MIN_FLOPS_PER_ENTRY = 2e4
# No matrix below this size passes the first test unless it is almost full.
MIN_SIZE = 3000


@dataclass(frozen=True, eq=False)
class Auto(Ordering):
    """AMD; for large problems that fill in much also METIS, keeping the cheaper factor."""

    def order(self, pattern: Pattern) -> np.ndarray:
        """Return the permutation with the smaller flop count among those worth computing."""
        by_degree = AMD().order(pattern)
        if pattern.n < MIN_SIZE or not metis_available():
            return by_degree
        flops = _flops(pattern, by_degree)
        if flops < max(MIN_FLOPS, MIN_FLOPS_PER_ENTRY * pattern.nnz):
            return by_degree
        by_dissection = NestedDissection().order(pattern)
        return by_dissection if _flops(pattern, by_dissection) < flops else by_degree

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What it returns depends on whether METIS is there."""
        return ("Auto", metis_available())


def _flops(pattern: Pattern, permutation: np.ndarray) -> float:
    _, flops = lib().factor_cost(pattern.n, pattern.indptr, pattern.indices, permutation)
    return flops
