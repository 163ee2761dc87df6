"""No primitive escapes the contract: case files, kernels and registry name the same set."""

from cholax._native import lib
from cholax.primitives import registry
from tests.contract.cases import CASES, FILES
from tests.contract.transforms import SMALL


def test_every_primitive_has_a_case_file():
    assert set(FILES) == set(registry)


def test_every_primitive_has_a_kernel_unless_it_says_so():
    native = {name for name, d in registry.items() if d.kernel}
    assert native == set(lib().handlers()) == set(lib().signatures())


def test_kernels_declare_the_operands_and_attributes_of_their_primitives():
    """Ranks and names are written twice, in Python and in native/calls/kernels.h."""
    for name, (operands, results, flags, lists) in lib().signatures().items():
        d = registry[name]
        assert operands == [op.rank for op in d.operands if op.native], name
        assert {*flags, *lists} == set(d.params), name
        setting = next(make for case, make in CASES.items() if case.partition("-")[0] == name)(
            SMALL
        )
        shapes = (x.value.shape for x in setting.operands)
        declared = d.results(setting.structure, *shapes, **setting.params)
        assert results == [len(shape) for shape, _ in declared], name


def test_every_case_file_has_variants():
    assert {name.partition("-")[0] for name in CASES} == set(FILES)
