"""lu_solve: (values, cached LU, b) -> A⁻¹ b, whose transpose solves with Aᵀ."""

from tests.contract.cases import _lu
from tests.contract.cases._setting import Setting, columns
from tests.contract.patterns import Problem


def _setting(problem: Problem) -> Setting:
    return _lu.setting("lu_solve", problem, 2, columns(problem, problem.n), transpose=False)


VARIANTS = {"": _setting}
