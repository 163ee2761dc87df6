"""factor_outer: (u, v) -> lower(u vᵀ) on the filled pattern."""

from tests.contract.cases._setting import Setting, columns
from tests.contract.patterns import Problem


def _setting(problem: Problem) -> Setting:
    operands = (columns(problem, problem.n), columns(problem, problem.n, shift=1))
    return Setting("factor_outer", problem.plan, operands, on_factor=True)


VARIANTS = {"": _setting}
