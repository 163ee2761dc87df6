"""What is bound as an adjoint is zero where a linear operand is, though a failed factor is NaN."""

import jax
import numpy as np
import pytest

from cholax.primitives import BACKENDS, Kind, registry, use_backend
from cholax.primitives._adjoint import adjoint_calls
from tests.contract.cases import CASES
from tests.contract.transforms import MAIN, SMALL

NAMES = [name for name in MAIN if registry[name.partition("-")[0]].multiplies]
DTYPES = {"float32": 1e-3, "float64": 1e-9}
MEMBERS = 3


def operands_of(setting, dtype):
    return [x if indices(x) else x.astype(dtype) for x in map(np.asarray, setting.arguments)]


def adjoint(setting, operands, backend):
    with adjoint_calls(True), use_backend(backend):
        return np.asarray(jax.jit(setting.apply)(*operands)[0])


def deciding(setting):
    operands = enumerate(setting.definition.operands)
    return [k for k, op in operands if op.kind is Kind.LINEAR and op.decides]


def indices(x):
    """Caches of LU hold integers."""
    return not np.issubdtype(np.asarray(x).dtype, np.floating)


def spoiled(values):
    return [x if indices(x) else np.full_like(x, np.nan) for x in values]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_zero_operand_gives_zero_and_others_what_they_give(name, backend, dtype):
    setting, rtol = CASES[name](SMALL), DTYPES[dtype]
    good = operands_of(setting, dtype)
    (plain,) = setting.apply(*good)
    np.testing.assert_array_equal(adjoint(setting, good, "native"), plain)
    for k in deciding(setting):
        members = [[x.copy() for x in good] for _ in range(MEMBERS)]
        members[1] = spoiled(good)
        members[1][k] = np.zeros_like(good[k])
        batch = [np.stack(x) for x in zip(*members, strict=True)]
        result = adjoint(setting, batch, backend)
        np.testing.assert_array_equal(result[1], np.zeros_like(plain))
        for b in (0, 2):
            np.testing.assert_allclose(result[b], plain, rtol=rtol, atol=rtol)
        np.testing.assert_array_equal(adjoint(setting, members[1], backend), result[1])
        members[1][k] = good[k]
        assert np.isnan(adjoint(setting, members[1], backend)).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_zero_column_gives_a_zero_column(name, backend, dtype):
    setting, rtol = CASES[name](SMALL), DTYPES[dtype]
    good = operands_of(setting, dtype)
    (plain,) = setting.apply(*good)
    for k in deciding(setting):
        if good[k].ndim < 2:
            continue
        hollow = [x.copy() for x in good]
        hollow[k][:, 0] = 0.0
        (expected,) = setting.apply(*hollow)
        if plain.ndim == 2:
            others = spoiled(good)
            others[k] = hollow[k]
            result = adjoint(setting, others, backend)
            np.testing.assert_array_equal(result[:, 0], 0.0)
            assert np.isnan(result[:, 1:]).any(axis=0).all()
        else:  # a sum over columns
            for j, x in enumerate(hollow):
                if j != k:
                    x[:, 0] = np.nan
            result = adjoint(setting, hollow, backend)
            np.testing.assert_allclose(result, expected, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", NAMES)
def test_kernels_look_for_zeros_themselves(name):
    """Else every derivative would compile searches through its operands, constants evaluated."""
    setting = CASES[name](SMALL)
    operands = setting.arguments
    if not setting.definition.kernel:
        pytest.skip("has no native kernel")

    def program(flag):
        with adjoint_calls(flag):
            return jax.jit(lambda *x: setting.apply(*x)).lower(*operands).as_text()

    assert program(True).count("\n") == program(False).count("\n")
