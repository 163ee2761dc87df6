"""Fill-reducing orderings, one strategy per file, and `resolve`, which finds a strategy by name."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from cholax._core.dtypes import read_array
from cholax._core.errors import OrderingError
from cholax._core.options import shown
from cholax.ordering._base import Ordering as Ordering
from cholax.ordering.amd import AMD as AMD
from cholax.ordering.auto import Auto as Auto
from cholax.ordering.given import Given as Given
from cholax.ordering.minimum_fill import MinimumFill as MinimumFill
from cholax.ordering.natural import Natural as Natural
from cholax.ordering.nested_dissection import NestedDissection as NestedDissection
from cholax.ordering.rcm import RCM as RCM

STRATEGIES: dict[str, Callable[[], Ordering]] = {
    "auto": Auto,
    "amd": AMD,
    "minimum_fill": MinimumFill,
    "nested_dissection": NestedDissection,
    "rcm": RCM,
    "natural": Natural,
}


def resolve(ordering: Any) -> Ordering:
    """Return the strategy meant by a name, a permutation or a strategy.

    Args:
        ordering: one of the names in `STRATEGIES`, an `Ordering`, or a permutation whose entry i is
            the old index that moves to place i.

    Raises:
        OrderingError: an unknown name, or an array that is not a permutation; the message says why.

    Example:
        >>> from cholax.ordering import resolve
        >>> resolve("amd")
        AMD()
    """
    if isinstance(ordering, Ordering):
        return ordering
    if isinstance(ordering, str):
        if ordering not in STRATEGIES:
            names = ", ".join(f'"{name}"' for name in STRATEGIES)
            raise OrderingError(
                f'ordering: need one of {names} or a permutation, got "{ordering}".'
            )
        return STRATEGIES[ordering]()
    if not isinstance(ordering, list | tuple | range | np.ndarray | jax.Array) or (
        np.ndim(read_array(ordering, "ordering")) == 0
    ):
        raise OrderingError(
            f"ordering: need a name, a permutation or a strategy object, got {shown(ordering)}. "
            'Leave it out for "auto".'
        )
    return Given(ordering)


__all__ = [
    "AMD",
    "RCM",
    "STRATEGIES",
    "Auto",
    "Given",
    "MinimumFill",
    "Natural",
    "NestedDissection",
    "Ordering",
    "resolve",
]
