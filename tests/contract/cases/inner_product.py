"""inner_product: (x, y) -> ⟨x, y⟩."""

from tests.contract.cases._setting import Setting, free
from tests.contract.patterns import Problem


def _setting(problem: Problem) -> Setting:
    x, y = (free(problem.rng.standard_normal((2, problem.n + 1))[k]) for k in range(2))
    return Setting("inner_product", problem.pattern, (x, y))


VARIANTS = {"": _setting}
