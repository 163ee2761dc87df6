"""scale: (s, y) -> s y."""

from tests.contract.cases._setting import Setting, free
from tests.contract.patterns import Problem


def _setting(problem: Problem) -> Setting:
    s, *y = problem.rng.standard_normal(problem.n + 2)
    return Setting("scale", problem.pattern, (free(s), free(y)))


VARIANTS = {"": _setting}
