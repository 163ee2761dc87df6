"""selected_inverse: L -> w∘A⁻¹ on the filled pattern."""

from functools import partial

import numpy as np

from tests.contract.cases._setting import Setting, factor, free
from tests.contract.patterns import Problem


def _setting(problem: Problem, *, in_place: bool) -> Setting:
    plan = problem.plan
    operands = (factor(problem, plan), free(np.zeros(())))
    return Setting("selected_inverse", plan, operands, {"in_place": in_place}, on_factor=True)


VARIANTS = {"": partial(_setting, in_place=False), "in_place": partial(_setting, in_place=True)}
