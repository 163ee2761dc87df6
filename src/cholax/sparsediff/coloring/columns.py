"""Colourings of the columns, or the rows, of a general pattern."""

import math

import numpy as np

from cholax._native import lib
from cholax.patterns import Pattern, algebra
from cholax.sparsediff.coloring import orders
from cholax.sparsediff.coloring.result import Coloring, of_columns, of_rows


def color_columns(pattern: Pattern) -> Coloring:
    """Colour the columns so that no two columns of one colour share a row.

    Then J S, with S[j, color[j]] = 1, holds every entry of J by itself: entry (i, j) stands in row
    i, column color[j]. One forward product per colour.

    Args:
        pattern: a general pattern.

    Returns:
        A `Coloring` of kind `"column"`; the fewest colours of a portfolio of greedy orders.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> from cholax.sparsediff.coloring import color_columns
        >>> J = cx.from_dense(jnp.eye(9) + jnp.eye(9, k=1) + jnp.eye(9, k=-1))
        >>> len(color_columns(J.pattern))
        3

    Reference:
        Gebremedhin, Manne & Pothen, *What color is your Jacobian?*, SIAM Review 47 (2005).
    """
    colors = column_colors(pattern)
    assert colors is not None
    return of_columns("column", pattern, colors)


def color_rows(pattern: Pattern) -> Coloring:
    """Colour the rows so that no two rows of one colour share a column.

    The column colouring of the transpose: one reverse product per colour.

    Args:
        pattern: a general pattern.

    Returns:
        A `Coloring` of kind `"row"`.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> from cholax.sparsediff.coloring import color_rows
        >>> len(color_rows(cx.from_dense(jnp.ones((2, 5))).pattern))
        2
    """
    colors = column_colors(algebra.transpose(pattern)[0])
    assert colors is not None
    return of_rows(pattern, colors)


def column_colors(pattern: Pattern, limit: int | None = None) -> np.ndarray | None:
    """Colours of the columns, -1 where a column is empty; None when more than `limit` are needed.

    `limit` defaults to the number of columns, which always suffices.
    """
    columns = pattern.shape[1]
    limit = columns if limit is None else limit
    filled = np.flatnonzero(np.diff(pattern.indptr)).astype(np.int32)
    if not filled.size:
        return np.full(columns, -1, np.int32)
    row_lengths = np.bincount(pattern.rows, minlength=1)
    longest = int(row_lengths.max())
    if longest > limit:
        return None
    graph = lib().column_graph(pattern.shape[0], pattern.indptr, pattern.indices)
    kept = np.zeros(columns, bool)
    kept[filled] = True
    # As in the native code: longer rows are not walked, they keep their colours as bits.
    walked = row_lengths[row_lengths <= max(64, math.isqrt(columns))].astype(np.int64)
    steps = int((walked**2).sum()) + pattern.nnz
    return orders.fewest(
        graph,
        lambda _: steps,
        lambda order, limit: graph.color(order[kept[order]], limit),
        limit=limit,
        enough=longest,
    )
