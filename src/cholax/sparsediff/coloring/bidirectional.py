"""Bidirectional colourings: some entries by forward products, the others by reverse ones."""

from collections.abc import Iterator

import numpy as np

from cholax.patterns import Pattern, algebra
from cholax.patterns.indexing import from_sorted
from cholax.sparsediff.coloring.columns import column_colors
from cholax.sparsediff.coloring.result import Coloring, of_both

# How many splits are coloured, the most promising ones first.
TRIED = 4


def color_bidirectional(pattern: Pattern, *, reverse_cost: float = 1.0) -> Coloring:
    """Colour some rows and some columns, so that each entry is found by one of the two.

    A few dense rows make a column colouring as long as they are, though one reverse product each
    would do. The rows (or columns) above a length are taken by their own side, which then sees
    nothing of the rest, and the rest by the other. The length is chosen by bounds on the number of
    colours; the best of a few is coloured in full.

    Args:
        pattern: a general pattern.
        reverse_cost: the cost of a reverse product in forward ones.

    Returns:
        A `Coloring` of kind `"bidirectional"`; one of its two sides may be empty.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> from cholax.sparsediff.coloring import color_bidirectional
        >>> arrow = jnp.eye(50).at[0, :].set(1.0).at[:, 0].set(1.0)
        >>> color_bidirectional(cx.from_dense(arrow).pattern).count
        3

    Reference:
        Coleman & Verma, *The efficient computation of sparse Jacobian matrices using automatic
        differentiation*, SIAM J. Sci. Comput. 19 (1998).
    """
    best, least = None, np.inf
    for bound, by_rows, dense in sorted(_splits(pattern, reverse_cost), key=lambda s: s[0]):
        if bound >= least:
            break
        found = _color(pattern, by_rows, dense)
        cost = found.num_column_colors + reverse_cost * found.num_row_colors
        if cost < least:
            best, least = found, cost
    assert best is not None
    return best


def bidirectional_bound(pattern: Pattern, reverse_cost: float) -> float:
    """The least cost that `color_bidirectional` may reach."""
    return min(bound for bound, _, _ in _splits(pattern, reverse_cost))


def _splits(pattern: Pattern, reverse_cost: float) -> Iterator[tuple[float, bool, np.ndarray]]:
    """(lower bound of the cost, whether rows are split, mask of the dense ones)."""
    transposed, _ = algebra.transpose(pattern)
    for by_rows, p in ((True, pattern), (False, transposed)):
        rest_cost, dense_cost = (1.0, reverse_cost) if by_rows else (reverse_cost, 1.0)
        lengths = np.bincount(p.rows, minlength=p.shape[0])
        falling = np.append(np.sort(lengths)[::-1], 0)
        # Splits between two lengths only: equal rows are treated alike.
        counts = np.append(0, np.flatnonzero(np.diff(falling)) + 1)
        tallest = np.diff(p.indptr).max(initial=0)
        estimates = rest_cost * falling[counts] + dense_cost * np.minimum(counts, tallest)
        for k in np.argsort(estimates, kind="stable")[:TRIED]:
            longest = falling[counts[k]]
            dense = lengths > longest
            most = np.bincount(p.columns[dense[p.rows]], minlength=1).max()
            yield float(rest_cost * longest + dense_cost * most), by_rows, dense


def _color(pattern: Pattern, by_rows: bool, dense: np.ndarray) -> Coloring:
    """Dense rows (columns) by their own side, the other entries by the other side."""
    in_dense = dense[pattern.rows if by_rows else pattern.columns]
    by_reverse = in_dense if by_rows else ~in_dense
    columns = column_colors(_part(pattern, ~by_reverse))
    rows = column_colors(algebra.transpose(_part(pattern, by_reverse))[0])
    assert columns is not None
    assert rows is not None
    return of_both(pattern, columns, rows)


def _part(pattern: Pattern, keep: np.ndarray) -> Pattern:
    return from_sorted(pattern.rows[keep], pattern.columns[keep], pattern.shape)
