"""Colouring: which columns or rows of a sparse derivative can share one product."""

from cholax.sparsediff.coloring.bidirectional import color_bidirectional as color_bidirectional
from cholax.sparsediff.coloring.columns import color_columns as color_columns
from cholax.sparsediff.coloring.columns import color_rows as color_rows
from cholax.sparsediff.coloring.result import Coloring as Coloring
from cholax.sparsediff.coloring.symmetric import color_acyclic as color_acyclic
from cholax.sparsediff.coloring.symmetric import color_star as color_star

__all__ = [
    "Coloring",
    "color_acyclic",
    "color_bidirectional",
    "color_columns",
    "color_rows",
    "color_star",
]
