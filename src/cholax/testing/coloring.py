"""Slow, obvious checks of colourings, each straight from its definition.

For tests: they walk over pairs of entries in Python and take the patterns' definitions literally.
"""

from collections import defaultdict
from typing import Any

from cholax._core import options
from cholax._core.errors import StructureError
from cholax.patterns import algebra
from cholax.sparsediff.coloring import Coloring


def check_coloring(coloring: Coloring) -> None:
    """Check a colouring against the definition of its kind.

    Args:
        coloring: what `color_columns` and its like return, or `J.colors(x)`.

    Raises:
        AssertionError: with the entries that break the definition.

    Example:
        >>> import cholax as cx
        >>> from cholax.sparsediff import color_star
        >>> cx.testing.check_coloring(color_star(cx.eye(3).pattern))
    """
    _check_type(coloring, "check_coloring")
    checks = {
        "column": check_column_coloring,
        "row": check_row_coloring,
        "bidirectional": check_bidirectional_coloring,
        "star": check_star_coloring,
        "acyclic": check_acyclic_coloring,
    }
    if coloring.kind not in checks:
        raise StructureError(
            f"check_coloring: need one of {', '.join(checks)}, got {coloring.kind}."
        )
    _check_numbers(coloring)
    checks[coloring.kind](coloring)


def check_column_coloring(coloring: Coloring) -> None:
    """No two columns of one colour share a row, and every column with an entry has a colour.

    Example:
        >>> import cholax as cx
        >>> from cholax.sparsediff import color_columns
        >>> cx.testing.check_column_coloring(color_columns(cx.tril(cx.eye(3)).pattern))
    """
    _check_type(coloring, "check_column_coloring")
    by_row = defaultdict(list)
    for i, j in _entries(coloring):
        assert coloring.column_colors[j] >= 0, f"column {j} has entries but no colour"
        by_row[i].append(j)
    _check_lines("columns", by_row, coloring.column_colors)


def check_row_coloring(coloring: Coloring) -> None:
    """No two rows of one colour share a column, and every row with an entry has a colour.

    Example:
        >>> import cholax as cx
        >>> from cholax.sparsediff import color_rows
        >>> cx.testing.check_row_coloring(color_rows(cx.tril(cx.eye(3)).pattern))
    """
    _check_type(coloring, "check_row_coloring")
    by_column = defaultdict(list)
    for i, j in _entries(coloring):
        assert coloring.row_colors[i] >= 0, f"row {i} has entries but no colour"
        by_column[j].append(i)
    _check_lines("rows", by_column, coloring.row_colors)


def check_bidirectional_coloring(coloring: Coloring) -> None:
    """Each entry is alone of its column's colour in its row, or of its row's in its column.

    Example:
        >>> import cholax as cx
        >>> from cholax.sparsediff import color_bidirectional
        >>> cx.testing.check_bidirectional_coloring(color_bidirectional(cx.tril(cx.eye(3)).pattern))
    """
    _check_type(coloring, "check_bidirectional_coloring")
    entries = _entries(coloring)
    for i, j in entries:
        color, row_color = coloring.column_colors[j], coloring.row_colors[i]
        rivals = [b for a, b in entries if a == i and coloring.column_colors[b] == color]
        row_rivals = [a for a, b in entries if b == j and coloring.row_colors[a] == row_color]
        forward = color >= 0 and len(rivals) == 1
        reverse = row_color >= 0 and len(row_rivals) == 1
        assert forward or reverse, f"entry ({i}, {j}) stands alone neither in its row nor column"


def check_star_coloring(coloring: Coloring) -> None:
    """Neighbours differ, and no path on four vertices has only two colours.

    Example:
        >>> import cholax as cx
        >>> from cholax.sparsediff import color_star
        >>> cx.testing.check_star_coloring(color_star(cx.eye(3).pattern))
    """
    _check_type(coloring, "check_star_coloring")
    color, neighbours = coloring.column_colors, _neighbors(coloring)
    for v, around in neighbours.items():
        for w in around:
            assert color[v] != color[w], f"neighbours {v} and {w} share colour {color[v]}"
            for x in neighbours[w] - {v}:
                if color[x] != color[v]:
                    continue
                for y in neighbours[x] - {v, w}:
                    assert color[y] != color[w], f"path {v}-{w}-{x}-{y} has two colours"


def check_acyclic_coloring(coloring: Coloring) -> None:
    """Neighbours differ, and no cycle has only two colours.

    Example:
        >>> import cholax as cx
        >>> from cholax.sparsediff import color_acyclic
        >>> cx.testing.check_acyclic_coloring(color_acyclic(cx.eye(3).pattern))
    """
    _check_type(coloring, "check_acyclic_coloring")
    color, neighbours = coloring.column_colors, _neighbors(coloring)
    two_colored = defaultdict(list)
    for v, around in neighbours.items():
        for w in around:
            assert color[v] != color[w], f"neighbours {v} and {w} share colour {color[v]}"
            if v < w:
                two_colored[frozenset((int(color[v]), int(color[w])))].append((v, w))
    for edges in two_colored.values():
        parent: dict[int, int] = {}
        for v, w in edges:
            roots = _root(parent, v), _root(parent, w)
            assert roots[0] != roots[1], f"edge {v}-{w} closes a cycle of two colours"
            parent[roots[0]] = roots[1]


def _check_type(coloring: Any, where: str) -> None:
    if not isinstance(coloring, Coloring):
        raise StructureError(
            f"{where}: need a Coloring, got {options.shown(coloring)}. `color_columns` and its "
            "like make one."
        )


def _check_numbers(coloring: Coloring) -> None:
    sides = (
        (coloring.column_colors, coloring.num_column_colors, coloring.pattern.shape[1]),
        (coloring.row_colors, coloring.num_row_colors, coloring.pattern.shape[0]),
    )
    for colors, count, size in sides:
        assert colors.shape == (size,), f"{colors.shape} colours for {size} vertices"
        used = sorted({int(c) for c in colors} - {-1})
        assert used == list(range(count)), f"colours {used} are not 0 to {count - 1}"


def _check_lines(what: str, lines: dict[int, list[int]], colors: "object") -> None:
    for line, members in lines.items():
        seen: dict[int, int] = {}
        for member in members:
            color = int(colors[member])  # type: ignore[index]
            other = seen.setdefault(color, member)
            assert other == member, f"{what} {other} and {member} share colour {color} at {line}"


def _entries(coloring: Coloring) -> list[tuple[int, int]]:
    full, _ = algebra.expand(coloring.pattern)
    return list(zip(full.rows.tolist(), full.columns.tolist(), strict=True))


def _neighbors(coloring: Coloring) -> dict[int, set[int]]:
    assert (coloring.column_colors >= 0).all(), "a vertex has no colour"
    around: dict[int, set[int]] = {v: set() for v in range(coloring.pattern.n)}
    for i, j in _entries(coloring):
        if i != j:
            around[i].add(j)
    return around


def _root(parent: dict[int, int], v: int) -> int:
    while parent.get(v, v) != v:
        v = parent[v]
    return v
