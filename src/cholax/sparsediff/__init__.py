"""Sparse differentiation: detection of patterns, colouring, Jacobians and Hessians."""

from cholax.sparsediff._hessian import Hessian as Hessian
from cholax.sparsediff._hessian import hessian as hessian
from cholax.sparsediff._jacobian import Jacobian as Jacobian
from cholax.sparsediff._jacobian import jacobian as jacobian
from cholax.sparsediff.coloring import Coloring as Coloring
from cholax.sparsediff.coloring import color_acyclic as color_acyclic
from cholax.sparsediff.coloring import color_bidirectional as color_bidirectional
from cholax.sparsediff.coloring import color_columns as color_columns
from cholax.sparsediff.coloring import color_rows as color_rows
from cholax.sparsediff.coloring import color_star as color_star
from cholax.sparsediff.detect import hessian_pattern as hessian_pattern
from cholax.sparsediff.detect import jacobian_pattern as jacobian_pattern
from cholax.sparsediff.operator_matrix import linear_operator_matrix as linear_operator_matrix
from cholax.sparsediff.separable import SeparableHessian as SeparableHessian
from cholax.sparsediff.separable import separable_hessian as separable_hessian

__all__ = [
    "Coloring",
    "Hessian",
    "Jacobian",
    "SeparableHessian",
    "color_acyclic",
    "color_bidirectional",
    "color_columns",
    "color_rows",
    "color_star",
    "hessian",
    "hessian_pattern",
    "jacobian",
    "jacobian_pattern",
    "linear_operator_matrix",
    "separable_hessian",
]
