"""solve: (values, cached L, b) -> A⁻¹ b."""

from tests.contract.cases._setting import Setting, columns, factor, free
from tests.contract.patterns import Problem


def _setting(problem: Problem) -> Setting:
    plan = problem.plan
    b = columns(problem, problem.n)
    return Setting("solve", plan, (free(problem.values()), factor(problem, plan), b))


VARIANTS = {"": _setting}
