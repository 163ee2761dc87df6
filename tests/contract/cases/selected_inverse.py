"""selected_inverse: L -> w∘A⁻¹ on the filled pattern."""

from tests.contract.cases._setting import Setting, factor
from tests.contract.patterns import Problem


def _setting(problem: Problem) -> Setting:
    plan = problem.plan
    return Setting("selected_inverse", plan, (factor(problem, plan),), on_factor=True)


VARIANTS = {"": _setting}
