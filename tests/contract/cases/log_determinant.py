"""log_determinant: (values, cached L) -> log|A|."""

from tests.contract.cases._setting import Setting, factor, free
from tests.contract.patterns import Problem


def _setting(problem: Problem) -> Setting:
    plan = problem.plan
    operands = (free(problem.values()), factor(problem, plan))
    return Setting("log_determinant", plan, operands)


VARIANTS = {"": _setting}
