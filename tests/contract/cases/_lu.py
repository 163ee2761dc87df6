"""Unsymmetric matrices for the LU primitives: values on both triangles of a problem's pattern."""

from typing import Any

import numpy as np

from cholax.analysis import LUPlan, analyze_lu
from cholax.patterns.algebra import expand
from cholax.primitives import lu_factor
from tests.contract.cases._setting import Setting, Variable, free
from tests.contract.patterns import Problem


def setting(
    name: str, problem: Problem, caches: int, *operands: Variable, **params: Any
) -> Setting:
    """A primitive of the values, its first `caches` caches, and further operands."""
    full, source = expand(problem.pattern)
    values = free(problem.values()[source] * problem.rng.uniform(0.8, 1.0, full.nnz))
    plan = analyze_lu(full)

    def made(plan: LUPlan, x: Any) -> tuple[Any, ...]:
        return tuple(lu_factor(plan, x, throw=False))[:caches]

    def made_by_twin(plan: LUPlan, x: Any) -> tuple[Any, ...]:
        return tuple(lu_factor.specification(plan, x, throw=False))[:caches]

    kept = [free(np.asarray(x)) for x in made(plan, values.value)]
    return Setting(
        name,
        plan,
        (values, *kept, *operands),
        params,
        caches=made,
        twin_caches=made_by_twin,
    )
