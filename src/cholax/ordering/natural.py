"""The order in which the matrix was given."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cholax.ordering._base import Ordering, check_symmetric, identity
from cholax.patterns import Pattern


@dataclass(frozen=True, eq=False)
class Natural(Ordering):
    """No reordering: L is the factor of A itself."""

    keeps_order: ClassVar[bool] = True

    def order(self, pattern: Pattern) -> np.ndarray:
        """Return 0, 1, 2, ..."""
        check_symmetric(pattern, "Natural")
        return identity(pattern.n)
