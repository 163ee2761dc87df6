"""What a declaration refuses, and how its parameters reach a kernel."""

import jax
import numpy as np
import pytest

from cholax._core.jax_compat import ad
from cholax._native import lib
from cholax.analysis import analyze
from cholax.patterns import Pattern
from cholax.primitives import EntryMap, Kind, Operand
from cholax.primitives._declaration import Declaration
from cholax.primitives._define import Definition
from cholax.primitives._dependence import Total


def declared(kind=Declaration, **changes):
    fields = {
        "name": "toy",
        "operands": (Operand("x", Kind.LINEAR, 1),),
        "results": lambda structure, x, **params: [(x, None)],
        "specification": lambda structure, x, **params: x,
        "dependence": Total(),
    }
    return kind(**{**fields, **changes})


def test_a_linear_operand_without_a_dependence_is_refused():
    with pytest.raises(ValueError, match="toy: a primitive declares its `dependence`"):
        declared(dependence=None)
    with pytest.raises(ValueError, match="toy: a primitive declares its `dependence`"):
        declared(operands=(Operand("x", Kind.CACHE, 1),))


@pytest.mark.parametrize("name", ["digest", "linear", "size", "adjoint"])
def test_a_parameter_cannot_take_the_place_of_what_a_call_carries(name):
    with pytest.raises(ValueError, match=name):
        declared(params=("transpose", name))


def test_two_flags_of_a_primitive_keep_their_names():
    toy = declared(Definition, params=("first", "second"))
    entry_map = EntryMap(np.arange(3), 3)
    program = jax.jit(lambda x: toy(entry_map, x, first=True, second=False)).lower(np.ones(3))
    del ad.primitive_jvps[toy.primitive]  # a table that other tests read
    text = program.as_text()
    assert "first = true" in text
    assert "second = false" in text


def test_a_kernel_takes_the_attributes_it_declares_and_no_others():
    x, out = np.arange(3.0), np.empty(3)
    structure = EntryMap(np.array([2, 0, 1]), 3).native
    lib().call("gather", structure, [x], [out], {}, {}, 0)
    np.testing.assert_array_equal(out, [2.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="too many or too few attributes"):
        lib().call("gather", structure, [x], [out], {"transpose": True}, {}, 0)
    plan = analyze(Pattern((1, 1), [0, 1], [0], symmetric=True)).native
    block = np.ones((1, 1))
    for flags, text in [({}, "too few attributes"), ({"transposed": True}, "called transposed")]:
        with pytest.raises(ValueError, match=text):
            lib().call("permute", plan, [block], [block], flags, {}, 0)
    with pytest.raises(ValueError, match="no kernel nothing"):
        lib().call("nothing", structure, [x], [out], {}, {}, 0)


@pytest.mark.parametrize(
    ("operands", "results", "text"),
    [
        ([np.arange(3)], [np.empty(3)], "float32 or float64"),
        ([np.ones(3), np.ones(3)], [np.empty(3)], "number of arrays"),
        ([np.ones((2, 3))], [np.empty((4, 3))], "different batches"),
        ([np.float64(1.0)], [np.empty(3)], "too few dimensions"),
    ],
)
def test_a_kernel_refuses_arrays_that_do_not_fit_its_signature(operands, results, text):
    structure = EntryMap(np.arange(3), 3).native
    arrays = [np.asarray(x) for x in operands]
    with pytest.raises(ValueError, match=text):
        lib().call("gather", structure, arrays, results, {}, {}, 0)


def test_results_are_written_where_they_are_or_refused():
    """A copy that nanobind makes of a result would take the numbers with it."""
    structure = EntryMap(np.arange(3), 3).native
    strided = np.empty(6)[::2]
    with pytest.raises(TypeError):
        lib().call("gather", structure, [np.ones(3)], [strided], {}, {}, 0)
