"""outer_on_pattern: (x, y) -> x yᵀ on the pattern of a symmetric or rectangular matrix."""

from cholax.patterns import Pattern
from cholax.primitives import csc_of
from tests.contract.cases._setting import Setting, columns
from tests.contract.patterns import Problem, general_pattern


def _on(pattern: Pattern, problem: Problem) -> Setting:
    rows, cols = pattern.shape
    operands = (columns(problem, rows), columns(problem, cols, shift=1))
    return Setting("outer_on_pattern", csc_of(pattern), operands)


VARIANTS = {
    "symmetric": lambda problem: _on(problem.pattern, problem),
    "general": lambda problem: _on(general_pattern(problem), problem),
}
