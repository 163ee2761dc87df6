"""contract: (a, b) -> c[out] += a[left] b[right], the three roles in any order."""

from functools import partial

from cholax.primitives import Triples
from tests.contract.cases._setting import Setting, free
from tests.contract.patterns import Problem


def _setting(problem: Problem, *, roles: tuple[int, int, int]) -> Setting:
    n, rng = problem.n, problem.rng
    sizes = (n + 2, n + 1, n)
    triples = Triples(*(rng.integers(0, size, 3 * n) for size in sizes), sizes)
    a, b = (free(rng.standard_normal(sizes[role])) for role in roles[:2])
    return Setting("contract", triples, (a, b), {"roles": roles})


VARIANTS = {"": partial(_setting, roles=(0, 1, 2)), "exchanged": partial(_setting, roles=(2, 0, 1))}
