"""What a detection case is: a function, its input size, and how tight its pattern must be."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """A function of a vector, with what is required of its pattern.

    Every case must be sound: no entry that is nonzero at any of the points may be missing. `exact`
    asks for no other entries. Where that cannot be had, `nnz` is the number of entries that are
    accepted, so that a loss of tightness fails.
    """

    name: str
    f: Callable[[Any], Any]
    n: int
    exact: bool = True
    nnz: int | None = None
    hessian: bool = False
    positive: bool = False
    """Take points in (0.1, 0.9) instead of (-1.5, 1.5)."""
    reverse: bool = False
    """The dense Jacobian needs reverse mode."""
    points: int = 4
    slow: bool = False
    """Its dense twin takes a second or more to compile."""

    def sample(self) -> np.ndarray:
        """Asymmetric random points."""
        rng = np.random.default_rng(len(self.name) + self.n)
        low, high = (0.1, 0.9) if self.positive else (-1.5, 1.5)
        return rng.uniform(low, high, (self.points, self.n))


class Family:
    """Collects the cases of one file."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def __call__(self, n: int, **options: Any) -> Callable[[Any], Any]:
        """Register the decorated function."""

        def register(f: Any) -> Any:
            nnz = options.get("nnz")
            self.cases.append(Case(f.__name__, f, n, **{"exact": nnz is None, **options}))
            return f

        return register
