"""triangular_solve: (L, b) -> L⁻¹ b or L⁻ᵀ b, L of a plan or given as it is."""

from functools import partial

from cholax.analysis import Plan, plan_from_factor
from tests.contract.cases._setting import Setting, columns, factor
from tests.contract.patterns import Problem


def _on(plan: Plan, problem: Problem, transpose: bool) -> Setting:
    operands = (factor(problem, plan), columns(problem, problem.n))
    return Setting("triangular_solve", plan, operands, {"transpose": transpose})


def _setting(problem: Problem, *, transpose: bool) -> Setting:
    return _on(problem.plan, problem, transpose)


def _given_factor(problem: Problem) -> Setting:
    """L on A's own pattern, which misses fill: an incomplete factor."""
    return _on(plan_from_factor(problem.pattern), problem, transpose=True)


VARIANTS = {
    "": partial(_setting, transpose=False),
    "transposed": partial(_setting, transpose=True),
    "given_factor": _given_factor,
}
