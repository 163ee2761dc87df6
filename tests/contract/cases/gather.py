"""gather: x -> w[i] x[p[i]]."""

from functools import partial

from tests.contract.cases._entry_maps import entry_map
from tests.contract.cases._setting import Setting, free
from tests.contract.patterns import Problem


def _setting(problem: Problem, *, weighted: bool) -> Setting:
    x = free(problem.rng.standard_normal(problem.n + 2))
    return Setting("gather", entry_map(problem, weighted=weighted), (x,))


VARIANTS = {"": partial(_setting, weighted=False), "weighted": partial(_setting, weighted=True)}
