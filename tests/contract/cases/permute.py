"""permute: x -> P x or Pᵀ x."""

from functools import partial

from tests.contract.cases._setting import Setting, columns
from tests.contract.patterns import Problem


def _setting(problem: Problem, *, transpose: bool) -> Setting:
    operands = (columns(problem, problem.n),)
    return Setting("permute", problem.plan, operands, {"transpose": transpose})


VARIANTS = {
    "": partial(_setting, transpose=False),
    "transposed": partial(_setting, transpose=True),
}
