"""Approximate minimum degree: good fill at low cost, whatever the problem."""

from dataclasses import dataclass

import numpy as np

from cholax._native import lib
from cholax.ordering._base import Ordering, check_symmetric
from cholax.patterns import Pattern


@dataclass(frozen=True, eq=False)
class AMD(Ordering):
    """Approximate minimum degree. Rows with more than 10√n entries come last.

    Amestoy, Davis & Duff, An approximate minimum degree ordering algorithm, 1996.
    """

    def order(self, pattern: Pattern) -> np.ndarray:
        """Eliminate, each time, a node of (nearly) least degree."""
        check_symmetric(pattern, "AMD")
        return lib().amd(pattern.n, pattern.indptr, pattern.indices)
