"""Colourings of symmetric patterns: star (entries read off directly) and acyclic (substitution)."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cholax._core.errors import StructureError
from cholax._native import lib
from cholax.patterns import Pattern
from cholax.sparsediff.coloring import orders
from cholax.sparsediff.coloring.result import Coloring, of_columns


def color_star(pattern: Pattern) -> Coloring:
    """Colour a symmetric pattern so that its entries can be read off the compressed matrix.

    Neighbours differ, and every path on four vertices has at least three colours. Then for each
    entry (i, j), either column j is the only one of its colour in row i, or i the only one in row
    j. One product H s per colour, about half as many as a column colouring needs on a mesh, far
    fewer with dense rows.

    Args:
        pattern: a symmetric pattern.

    Returns:
        A `Coloring` of kind `"star"`; the fewest colours of a portfolio of greedy orders.

    Raises:
        StructureError: the pattern is not symmetric by construction.

    Example:
        >>> import cholax as cx
        >>> from cholax.sparsediff.coloring import color_star
        >>> arrow = cx.Pattern((4, 4), [0, 4, 5, 6, 7], [0, 1, 2, 3, 1, 2, 3], symmetric=True)
        >>> len(color_star(arrow))
        2

    Reference:
        Gebremedhin, Tarafdar, Manne & Pothen, SIAM J. Sci. Comput. 29 (2007).
    """
    return of_columns("star", pattern, _colors(pattern, "color_stars"))


def color_acyclic(pattern: Pattern) -> Coloring:
    """Colour a symmetric pattern so that its entries follow by substitution.

    Neighbours differ, and every cycle has at least three colours: between any two colours the
    edges form a forest, and each tree is solved from its leaves. Fewer products than a star
    colouring needs, at the price of differences, which lose digits along deep trees.

    Args:
        pattern: a symmetric pattern.

    Returns:
        A `Coloring` of kind `"acyclic"`.

    Raises:
        StructureError: the pattern is not symmetric by construction.

    Example:
        >>> import cholax as cx
        >>> from cholax.sparsediff.coloring import color_acyclic
        >>> chain = cx.Pattern((3, 3), [0, 2, 4, 5], [0, 1, 1, 2, 2], symmetric=True)
        >>> len(color_acyclic(chain))
        2

    Reference:
        Gebremedhin, Tarafdar, Manne & Pothen, SIAM J. Sci. Comput. 29 (2007).
    """
    return of_columns("acyclic", pattern, _colors(pattern, "color_forests"))


def native_graph(pattern: Pattern) -> Any:
    """The native graph of a symmetric pattern."""
    return lib().symmetric_graph(pattern.indptr, pattern.indices)


def _colors(pattern: Pattern, method: str) -> np.ndarray:
    if not pattern.symmetric:
        raise StructureError(
            f"{method}: needs a symmetric pattern, got {pattern}. "
            "Fold it with cholax.patterns.algebra.fold, or colour its columns."
        )
    if pattern.n == 0:
        return np.zeros(0, np.int32)
    degree = np.bincount(pattern.rows, minlength=pattern.n) + np.diff(pattern.indptr) - 2
    graph = native_graph(pattern)
    color = getattr(graph, method)
    best = _with_own_colors(graph, color, degree, np.zeros(pattern.n, bool), pattern.n)
    assert best is not None
    # Greedy colourings give one colour to dense columns that are not adjacent; then each of their
    # many common neighbours needs its own.
    for alone in (degree > 10 * np.sqrt(pattern.n), _hubs(degree, int(best.max()) // 8)):
        if alone.any():
            found = _with_own_colors(graph, color, degree, alone, int(best.max()))
            best = best if found is None else found
    return best


def _hubs(degree: np.ndarray, most: int) -> np.ndarray:
    """The few vertices that have by far the most neighbours, as in networks with a power law."""
    order = np.argsort(-degree, kind="stable")[:most]
    found = np.zeros(degree.size, bool)
    found[order] = degree[order] > 10 * degree.mean()
    return found


def _with_own_colors(
    graph: Any,
    color: Callable[[np.ndarray, int], np.ndarray | None],
    degree: np.ndarray,
    alone: np.ndarray,
    limit: int,
) -> np.ndarray | None:
    """The best colouring with at most `limit` colours, where those `alone` have their own.

    A vertex whose colour no other has lies on no two-coloured path or cycle that matters.
    """
    own = int(alone.sum())
    if own >= limit:
        return None
    rest = degree[~alone].astype(np.int64)

    def steps(colors: int) -> int:
        # Around each neighbour the kernel walks the distinct colours, not the neighbours.
        return int((rest * np.minimum(rest, colors)).sum()) + int(degree.sum()) + degree.size

    colors = orders.fewest(
        graph,
        steps,
        lambda order, limit: color(order[~alone[order]], limit),
        limit=limit - own,
        enough=2,  # without edges every order gives 1
    )
    if colors is None:
        return None
    colors[alone] = int(colors.max(initial=-1)) + 1 + np.arange(own)
    return colors
