"""Reverse Cuthill-McKee: a small bandwidth, for long thin problems and band solvers."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csgraph

from cholax.ordering._base import Ordering, adjacency, check_symmetric, identity
from cholax.patterns import Pattern


@dataclass(frozen=True, eq=False)
class RCM(Ordering):
    """Reverse Cuthill-McKee (SciPy). George & Liu, 1981."""

    def order(self, pattern: Pattern) -> np.ndarray:
        """Number the graph breadth first from a peripheral node, then turn the order around."""
        check_symmetric(pattern, "RCM")
        graph = adjacency(pattern)
        if graph.nnz == 0:
            return identity(pattern.n)
        return csgraph.reverse_cuthill_mckee(graph, symmetric_mode=True).astype(np.int32)
