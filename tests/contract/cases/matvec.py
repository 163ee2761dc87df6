"""matvec: (values, x) -> A x or Aᵀ x, A symmetric (half-stored) or rectangular."""

from functools import partial

from cholax.primitives import csc_of
from tests.contract.cases._setting import Setting, columns, free
from tests.contract.patterns import Problem, general_pattern


def _symmetric(problem: Problem) -> Setting:
    operands = (free(problem.values()), columns(problem, problem.n))
    return Setting("matvec", csc_of(problem.pattern), operands, {"transpose": False})


def _general(problem: Problem, *, transpose: bool) -> Setting:
    pattern = general_pattern(problem)
    values = free(problem.rng.standard_normal(pattern.nnz))
    x = columns(problem, pattern.shape[0 if transpose else 1])
    return Setting("matvec", csc_of(pattern), (values, x), {"transpose": transpose})


VARIANTS = {
    "symmetric": _symmetric,
    "general": partial(_general, transpose=False),
    "transposed": partial(_general, transpose=True),
}
