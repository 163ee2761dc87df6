"""The portfolio: a greedy colouring is tried in several vertex orders and the best one is kept.

No order dominates. On crossed effects random orders beat natural ones (41 colours against 51), on
grids they lose (11 against 5).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

NATURAL, LARGEST_FIRST, SMALLEST_LAST, INCIDENCE, RANDOM = range(5)


@dataclass(frozen=True)
class VertexOrder:
    """An order by one of the kinds above; `seed` picks a random one, or how ties are broken."""

    kind: int
    seed: int = 0

    def of(self, graph: Any) -> np.ndarray:
        """The vertices of a native graph in this order."""
        return graph.order(self.kind, self.seed)


# The natural order is the cheapest, and on bands and stencils often the best.
ALWAYS = (VertexOrder(NATURAL), VertexOrder(SMALLEST_LAST), VertexOrder(SMALLEST_LAST, 1))
OFTEN = (VertexOrder(INCIDENCE), VertexOrder(LARGEST_FIRST))
# Steps of one greedy colouring (about 2 ns each) up to which the further orders are tried. Counted,
# not timed, so that the result is the same on every machine.
OFTEN_STEPS = 40_000_000
RANDOM_STEPS = 20_000_000
MOST_RANDOM = 8


def portfolio(steps: int) -> tuple[VertexOrder, ...]:
    """The orders worth trying when one colouring takes so many steps."""
    randoms = min(MOST_RANDOM, RANDOM_STEPS // max(steps, 1))
    seeded = tuple(VertexOrder(RANDOM, seed) for seed in range(1, randoms + 1))
    return ALWAYS + (OFTEN if steps <= OFTEN_STEPS else ()) + seeded


def fewest(
    graph: Any,
    steps: Callable[[int], int],
    color: Callable[[np.ndarray, int], np.ndarray | None],
    *,
    limit: int,
    enough: int,
) -> np.ndarray | None:
    """The colouring with fewest colours among all orders; the first of equals.

    Args:
        graph: a native graph.
        steps: the steps one colouring with so many colours takes.
        color: `color(order, limit)` gives the colours, or None when more than `limit` are needed.
        limit: the most colours of interest.
        enough: stop at a colouring with no more than these, a known lower bound.

    Returns:
        The colours, or None when every order needs more than `limit`.
    """
    first = ALWAYS[0]
    best = color(first.of(graph), limit)
    if best is not None:
        limit = int(best.max(initial=-1))
    for order in portfolio(steps(limit + 1))[1:]:
        if best is not None and limit + 1 <= enough:
            break
        found = color(order.of(graph), limit)
        if found is not None:
            best, limit = found, int(found.max(initial=-1))
    return best
