"""Values and first derivatives on many patterns, against the dense twins; failures as values."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings

from cholax import primitives
from cholax.primitives import BACKENDS, use_backend
from tests import tolerances as tol
from tests.contract.cases import CASES
from tests.contract.patterns import FAMILIES, Problem, problems, support
from tests.contract.transforms import SMALL, along, draw, jit_once, small

ORDERINGS = ("auto", "shuffled", "natural")


def check_first_order(setting):
    """Values and jvp against the twin; the vjp is the transpose of the jvp."""
    d = draw(setting, np.float64)

    @jax.jit
    def run(d):
        results, pull = jax.vjp(setting.function, *d.point)
        return results, along(setting.function, d.u)(*d.point), pull(d.c)

    results, tangents, cotangents = run(d)
    expected = jit_once(lambda d: jax.jvp(setting.twin, d.point, d.u))(d)
    for got, other in zip((results, tangents), expected, strict=True):
        tol.assert_all_close(got, other, tol.gradient(np.float64))
    for x, variable in zip(cotangents, setting.point, strict=True):
        assert not np.any(np.asarray(x)[~variable.support]), "padding must stay zero"
    assert_same_product(cotangents, d.u, d.c, tangents)


def assert_same_product(a, b, c, d):
    """⟨a, b⟩ = ⟨c, d⟩, each over several arrays."""
    left = [np.asarray(x) * np.asarray(y) for x, y in zip(a, b, strict=True)]
    right = [np.asarray(x) * np.asarray(y) for x, y in zip(c, d, strict=True)]
    size = sum(float(np.sum(np.abs(x))) for x in left)
    got, expected = (sum(np.sum(x) for x in side) for side in (left, right))
    tol.assert_close(got, expected, tol.gradient(np.float64), size)


# Few examples each, because every new pattern is a compilation; the settings share the families.
# The first example is the smallest: one by one.
@pytest.mark.parametrize("name", CASES)
@settings(max_examples=2)
@given(problem=problems())
def test_values_and_first_derivatives_on_any_pattern(name, problem):
    check_first_order(CASES[name](problem))


@pytest.mark.parametrize("supernodal", [True, False])
@pytest.mark.parametrize(("index", "family"), list(enumerate(FAMILIES)))
def test_factor_reproduces_the_matrix(index, family, supernodal):
    problem = Problem(family, 150 + 5 * index, ORDERINGS[index % 3], supernodal, seed=index)
    plan = problem.plan
    factor, status = primitives.cholesky(plan, problem.values(), throw=False)
    assert status == 0
    tol.assert_close(factor, problem.factor(plan), tol.value(np.float64))
    assert not np.any(np.asarray(factor)[~support(plan)])


# --- failure is a value --------------------------------------------------------------------------


def broken(problem: Problem, row: int) -> np.ndarray:
    """Values whose only bad pivot is that of `row`."""
    values = problem.values()
    values[problem.pattern.diagonal_positions[row]] = -1e6
    return values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("row", [0, 5, 13])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bad_pivot_gives_its_row_and_nan(row, dtype, backend):
    values = broken(SMALL, row).astype(dtype)
    with use_backend(backend):
        factor, status = primitives.cholesky(SMALL.plan, values, throw=False)
    assert status == row + 1
    assert np.all(np.isnan(factor))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
def test_non_finite_and_zero_pivots_are_bad(bad):
    values = SMALL.values()
    pattern = SMALL.pattern
    first = SMALL.plan.perm[0]
    values[pattern.diagonal_positions[first]] = bad
    _, status = primitives.cholesky(SMALL.plan, values, throw=False)
    assert status == first + 1


# The reference rounds otherwise in a batch.
@pytest.mark.parametrize("backend", ["native", "host"])
def test_a_bad_batch_member_leaves_the_others_alone(backend):
    values = np.stack([SMALL.values(), broken(SMALL, 5), SMALL.values() * 1.1])
    with use_backend(backend):
        run = jax.vmap(lambda v: primitives.cholesky(SMALL.plan, v, throw=False))
        factors, status = run(values)
    np.testing.assert_array_equal(status, [0, 6, 0])
    assert np.all(np.isnan(factors[1]))
    for member in (0, 2):
        alone, _ = primitives.cholesky(SMALL.plan, values[member], throw=False)
        np.testing.assert_array_equal(factors[member], alone)


@pytest.mark.parametrize("backend", ["native", "host"])
def test_throw_raises_inside_jit_and_names_the_row(backend):
    run = jax.jit(lambda v: primitives.cholesky(SMALL.plan, v, throw=True)[0])
    # Which of the two depends on the path by which jit dispatches.
    errors = (ValueError, jax.errors.JaxRuntimeError)
    with use_backend(backend):
        tol.assert_close(run(SMALL.values()), SMALL.factor(SMALL.plan), tol.value(np.float64))
        with pytest.raises(errors, match="pivot of row 5 "):
            run(broken(SMALL, 5)).block_until_ready()


def test_throw_does_not_change_derivatives():
    setting, twin = small("cholesky")
    (values,), data = twin.data.point, twin.data

    def throwing(v):
        return primitives.cholesky(setting.structure, v, throw=True)[0]

    _, got = jax.jvp(throwing, (values,), data.u)
    _, expected = jax.jvp(setting.function, (values,), data.u)
    np.testing.assert_array_equal(got, expected[0])
