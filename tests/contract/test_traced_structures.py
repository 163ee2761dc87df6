"""Traced index arrays: the same results and derivatives as with concrete ones."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from cholax import primitives
from cholax.analysis import Plan
from cholax.patterns import Pattern
from cholax.primitives import DynamicEntryMap, DynamicPlan, EntryMap, Ref, use_backend
from cholax.primitives._structures import Csc, DynamicCsc
from tests import tolerances as tol
from tests.contract.cases import CASES
from tests.contract.transforms import MAIN, SMALL, TRANSFORMS, draw

# Traced plans keep A's order and hold one column per supernode; weights and triples stay concrete.
PROBLEM = SMALL._replace(ordering="natural", supernodal=False)
# The LU primitives take concrete patterns only.
NAMES = [name for name in MAIN if name != "contract" and not name.startswith("lu_")] + [
    "triangular_solve-given_factor"
]


def traced(structure):
    """The static part, and the index arrays that become operands."""
    match structure:
        case Plan(pattern=pattern):
            static = DynamicPlan(pattern.n, pattern.nnz, structure.size, not structure.closed)
            return static, (pattern.indptr, pattern.indices)
        case Csc(pattern=pattern):
            static = DynamicCsc(pattern.shape, pattern.nnz, pattern.symmetric)
            return static, (pattern.indptr, pattern.indices)
        case Pattern():  # of primitives that do not look at it
            static = DynamicCsc(structure.shape, structure.nnz, structure.symmetric)
            return static, (structure.indptr, structure.indices)
        case EntryMap():
            return DynamicEntryMap(structure.size, len(structure)), (structure.positions,)
    raise TypeError(structure)


# Every second one by default; they are traced by the same lines.
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        pytest.param(name, backend, marks=[pytest.mark.slow] * ((k + shift) % 2))
        for k, name in enumerate(NAMES)
        for shift, backend in enumerate(["native", "host"])
    ],
)
def test_traced_indices_change_nothing(name, backend):
    setting = CASES[name](PROBLEM)
    static, indices = traced(setting.structure)
    data = draw(setting, np.float64)

    @jax.jit
    def run(indices, data):
        other = replace(setting, structure=Ref(static, indices))
        return [TRANSFORMS[t](other.function, data) for t in ("vmap_grad", "third")]

    expected = [TRANSFORMS[t](setting.function, data) for t in ("vmap_grad", "third")]
    with use_backend(backend):
        results = run(indices, data)
    for got, other in zip(results, expected, strict=True):
        tol.assert_all_close(got, other, tol.gradient(np.float64))


def test_one_program_serves_many_patterns():
    """More patterns of equal sizes than the native side remembers, visited twice."""
    trees = [PROBLEM._replace(family="tree", n=6, seed=seed) for seed in range(40)]
    problems = [x for x in trees if x.plan.nnz_factor == 12]
    assert len({x.plan for x in problems}) > 5
    settings = [CASES["selected_inverse"](x) for x in problems]
    static, _ = traced(settings[0].structure)
    traces = []

    @jax.jit
    def run(indices, factor):
        traces.append(None)
        return primitives.selected_inverse(Ref(static, indices), factor)

    for setting in [*settings, *settings]:
        got = run(traced(setting.structure)[1], setting.operands[0].value)
        (expected,) = setting.apply(*(x.value for x in setting.operands))
        tol.assert_close(got, expected, tol.value(np.float64))
    assert len(traces) == 1
