"""What every symbolic factor answers, whatever is eliminated over its tree.

The native twin is `native/symbolic/symbolic_factor.h`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np


class SymbolicFactor(Protocol):
    """What is decided about a factorisation before any value is known.

    Immutable; equal ones have equal digests.
    """

    @property
    def kind(self) -> str:
        """What is eliminated: "llt"."""
        ...

    @property
    def n(self) -> int:
        """Order of the matrix."""
        ...

    @property
    def size(self) -> int:
        """Length of the factor vector."""
        ...

    @property
    def digest(self) -> str:
        """128 bits, hex, of all it is made from; what a compiled program holds of it."""
        ...

    @property
    def perm(self) -> np.ndarray:
        """`(n,)` perm[i] is the old index at place i."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory of its index arrays."""
        ...

    def portable_attributes(self) -> Mapping[str, Any]:
        """What an exported program stores, for another process to rebuild it."""
        ...
