"""No primitive escapes the contract: case files, kernels and registry name the same set."""

from cholax._native import lib
from cholax.primitives import registry
from tests.contract.cases import CASES, FILES


def test_every_primitive_has_a_case_file():
    assert set(FILES) == set(registry)


def test_every_primitive_has_a_kernel_unless_it_says_so():
    native = {name for name, d in registry.items() if d.host is None and d.native}
    assert native == set(lib().handlers())


def test_every_case_file_has_variants():
    assert {name.partition("-")[0] for name in CASES} == set(FILES)
