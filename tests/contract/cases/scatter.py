"""scatter: y -> x[p[i]] += w[i] y[i]."""

from functools import partial

from tests.contract.cases._entry_maps import entry_map
from tests.contract.cases._setting import Setting, free
from tests.contract.patterns import Problem


def _setting(problem: Problem, *, weighted: bool) -> Setting:
    y = free(problem.rng.standard_normal(2 * problem.n + 1))
    return Setting("scatter", entry_map(problem, weighted=weighted), (y,))


VARIANTS = {"": partial(_setting, weighted=False), "weighted": partial(_setting, weighted=True)}
