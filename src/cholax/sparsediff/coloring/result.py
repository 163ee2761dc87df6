"""`Coloring`: which columns and rows are differentiated together."""

from dataclasses import dataclass

import numpy as np

from cholax.patterns import Pattern


@dataclass(frozen=True, eq=False, repr=False)
class Coloring:
    """Columns of one colour share a forward product J s, rows of one colour a reverse one Jᵀ w.

    A column or row without a colour (-1) takes part in no product of its side.

    Attributes:
        kind: `"column"`, `"row"`, `"bidirectional"`, `"star"` or `"acyclic"`.
        pattern: the pattern that was coloured.
        column_colors: `(columns,)` int32, numbered from 0.
        row_colors: `(rows,)` int32, numbered from 0 on their own.
        num_column_colors: number of forward products.
        num_row_colors: number of reverse products.
    """

    kind: str
    pattern: Pattern
    column_colors: np.ndarray
    row_colors: np.ndarray
    num_column_colors: int
    num_row_colors: int

    @property
    def count(self) -> int:
        """Number of products, forward and reverse; also `len(coloring)`."""
        return self.num_column_colors + self.num_row_colors

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        sides = f"{self.num_column_colors} column + {self.num_row_colors} row"
        colors = sides if self.kind == "bidirectional" else str(self.count)
        return f"Coloring({self.kind}, {colors} colors, {self.pattern})"


def of_columns(kind: str, pattern: Pattern, colors: np.ndarray) -> Coloring:
    """A colouring of columns only (for a symmetric pattern: of its vertices)."""
    return _make(kind, pattern, colors, np.full(pattern.shape[0], -1, np.int32))


def of_rows(pattern: Pattern, colors: np.ndarray) -> Coloring:
    """A colouring of rows only."""
    return _make("row", pattern, np.full(pattern.shape[1], -1, np.int32), colors)


def of_both(pattern: Pattern, columns: np.ndarray, rows: np.ndarray) -> Coloring:
    """A colouring of some columns and some rows."""
    return _make("bidirectional", pattern, columns, rows)


def _make(kind: str, pattern: Pattern, columns: np.ndarray, rows: np.ndarray) -> Coloring:
    for colors in (columns, rows):
        colors.flags.writeable = False
    counts = [int(colors.max(initial=-1)) + 1 for colors in (columns, rows)]
    return Coloring(kind, pattern, columns, rows, *counts)
