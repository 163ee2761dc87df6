"""cholesky_cotangent: (L, X) -> Ct(L)[X]."""

from tests.contract.cases._setting import Setting, factor, factor_like
from tests.contract.patterns import Problem


def _setting(problem: Problem) -> Setting:
    plan = problem.plan
    operands = (factor(problem, plan), factor_like(problem, plan))
    return Setting("cholesky_cotangent", plan, operands, on_factor=True)


VARIANTS = {"": _setting}
