"""Which entries of a result depend on which entries of an operand it is linear in.

Plain records, declared with each primitive and read by `cholax.sparsediff.detect`; nothing here
knows what a sparsity pattern is made for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Pairs = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Entries:
    """Entry `out[t]` of the result depends on entry `into[t]` of the operand.

    Where operand or result have columns, a pair stands for all of them.

    Attributes:
        pairs: `(structure, name of the operand, params) -> (out, into)`.
    """

    pairs: Callable[[Any, str, dict[str, Any]], Pairs]


class Links(NamedTuple):
    """The graph of an n × n matrix, entry by entry.

    `given` says which row of the right-hand side is at each place of the graph, `found` which row
    of the solution; None: in order.
    """

    n: int
    rows: np.ndarray
    columns: np.ndarray
    given: np.ndarray | None = None
    found: np.ndarray | None = None


@dataclass(frozen=True)
class Solve:
    """A row of the solution depends on what it reaches in the graph of the matrix.

    Attributes:
        links: `(structure, params) -> Links`.
    """

    links: Callable[[Any, dict[str, Any]], Links]


@dataclass(frozen=True)
class Components:
    """Factor vectors: an entry depends on all entries of its connected component of L's pattern."""


@dataclass(frozen=True)
class Total:
    """One number, from all entries."""


@dataclass(frozen=True)
class Scaled:
    """Every entry from its own, and from the operand `by`, a number."""

    by: str


Dependence = Entries | Solve | Components | Total | Scaled
