"""cholesky: values -> (L, status)."""

from tests.contract.cases._setting import Setting, free
from tests.contract.patterns import Problem


def _setting(problem: Problem) -> Setting:
    values = free(problem.values())
    return Setting("cholesky", problem.plan, (values,), {"throw": False}, on_factor=True)


VARIANTS = {"": _setting}
