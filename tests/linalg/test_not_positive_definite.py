"""Numerical failures are values: NaN, a status and a pivot; raising is for those who ask."""

import jax
import numpy as np
import pytest

import cholax as cx
from cholax._core.errors import (
    CholaxError,
    NotPositiveDefiniteError,
    ShapeError,
    StructureError,
)
from tests.linalg.twins import assert_close, everything, from_lower, random_problem, symmetric, tol

PROBLEM = random_problem(7, 9, seed=4)
N = PROBLEM.n
ONES = np.ones(N)
VALUE = tol.value("float64")
ORDERINGS = ("auto", "amd", "nested_dissection", "rcm", "natural")


def assert_failed(F, pivot=None):
    assert not bool(F.ok)
    assert 0 <= int(F.pivot) < F.n
    if pivot is not None:
        assert int(F.pivot) == pivot
    for result in everything(F):
        assert np.isnan(result).all()
    with pytest.raises(NotPositiveDefiniteError, match=f"pivot of row {int(F.pivot)}"):
        cx.checked(F)


# --- values that are not positive definite -------------------------------------------------------


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([[1, 2], [2, 1]], id="indefinite"),
        pytest.param([[-1, 0], [0, 1]], id="negative diagonal"),
        pytest.param([[1, 1], [1, 1]], id="singular"),
        pytest.param([[0, 1], [1, 0]], id="zero diagonal"),
        pytest.param([[1, 0], [0, 0]], id="structurally singular"),
        pytest.param([[0]], id="zero"),
    ],
)
def test_matrices_that_are_not_positive_definite_give_nan_and_a_pivot(rows, ordering):
    assert_failed(cx.cholesky(symmetric(rows), ordering=ordering))


def test_missing_diagonal_is_a_stored_zero_and_fails_there():
    A = from_lower(np.array([4.0, 1.0]), [0, 1], [0, 0], 2)
    assert A.pattern.diagonal_positions.tolist() == [0, 2]
    assert_failed(cx.cholesky(A), pivot=1)


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_any_value_that_is_not_finite_is_caught(bad, ordering):
    """Peers answer x = 0 for an infinite diagonal, or succeed with NaN."""
    for position in range(PROBLEM.pattern.nnz):
        values = PROBLEM.values.copy()
        values[position] = bad
        F = cx.cholesky(PROBLEM.matrix(values), ordering=ordering)
        assert not bool(F.ok), position
        assert np.isnan(F.log_det())
        assert np.isnan(F.solve(ONES)).all()


def test_the_pivot_is_that_of_dense_elimination():
    """Natural ordering: the first leading minor that is not positive."""
    D = np.asarray(PROBLEM.dense())
    for k in range(N):
        shifted = PROBLEM.values.copy()
        shifted[PROBLEM.pattern.diagonal_positions[k]] = -1.0
        F = cx.cholesky(PROBLEM.matrix(shifted), ordering="natural")
        E = D.copy()
        E[k, k] = -1.0
        minors = [np.linalg.slogdet(E[: m + 1, : m + 1])[0] for m in range(N)]
        assert int(F.pivot) == next(m for m, sign in enumerate(minors) if sign <= 0)


def test_jitter_is_never_added():
    """A matrix that is singular up to a clear margin stays singular; a definite one exact."""
    laplacian = np.diag([1.0, 2, 1]) - np.eye(3, k=1) - np.eye(3, k=-1)
    assert_failed(cx.cholesky(symmetric(laplacian)))
    barely = symmetric([[1.0, 1], [1, 1 + 2**-40]])
    F = cx.cholesky(barely, ordering="natural")
    assert bool(F.ok)
    assert F.lower().to_dense().tolist() == [[1, 0], [1, 2**-20]]


def test_nothing_is_reported_for_a_definite_matrix_with_a_huge_condition_number():
    """Numerically, not structurally: pivots of 1e-300 are positive."""
    A = cx.SparseMatrix(np.array([1e-300, 1.0, 1e300]), cx.eye(3).pattern)
    F = cx.cholesky(A)
    assert bool(F.ok)
    assert_close(F.log_det(), 0.0, VALUE)


@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e100, 1e200])
def test_tiny_and_huge_scales_are_right(scale):
    A = PROBLEM.matrix(scale * PROBLEM.values)
    F, G = cx.cholesky(A), cx.cholesky(PROBLEM.matrix())
    assert bool(F.ok)
    assert_close(F.log_det() - N * np.log(scale), G.log_det(), 1e-11)
    assert_close(scale * F.solve(ONES), G.solve(ONES), VALUE)
    assert_close(scale * F.inverse_diagonal(), G.inverse_diagonal(), VALUE)
    gradient = jax.grad(lambda v: cx.log_det(PROBLEM.matrix(v)))
    assert_close(scale * gradient(A.values), gradient(PROBLEM.values), VALUE)


@pytest.mark.parametrize(("dtype", "scale"), [("float64", 1e-310), ("float32", 1e-40)])
def test_subnormal_matrices_fail_openly_instead_of_overflowing(dtype, scale):
    """XLA flushes subnormal numbers to zero; a peer answers infinity with a finite log-det."""
    values = np.full(3, scale, dtype)
    assert values[0] > 0
    assert_failed(cx.cholesky(cx.SparseMatrix(values, cx.eye(3).pattern)))


def test_overflow_inside_the_factorisation_is_caught():
    A = symmetric([[1e-300, 1e300], [1e300, 1e300]])
    assert_failed(cx.cholesky(A, ordering="natural"), pivot=1)


# --- raising, in and out of jit ------------------------------------------------------------------


def negative_in_the_middle():
    values = PROBLEM.values.copy()
    values[PROBLEM.pattern.diagonal_positions[3]] = -5.0
    return values


def test_throw_raises_eagerly_with_the_pivot():
    A = PROBLEM.matrix(negative_in_the_middle())
    pivot = int(cx.cholesky(A).pivot)
    with pytest.raises(NotPositiveDefiniteError, match=f"pivot of row {pivot} is not a finite"):
        cx.cholesky(A, throw=True)
    assert issubclass(NotPositiveDefiniteError, np.linalg.LinAlgError)
    assert issubclass(NotPositiveDefiniteError, CholaxError)


@pytest.mark.parametrize("transform", [lambda f: f, jax.grad, jax.value_and_grad, jax.hessian])
def test_throw_raises_at_run_time_inside_jit_naming_the_row(transform):
    f = jax.jit(transform(lambda v: cx.cholesky(PROBLEM.matrix(v), throw=True).log_det()))
    bad = negative_in_the_middle()
    pivot = int(cx.cholesky(PROBLEM.matrix(bad)).pivot)
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"positive definite.*row {pivot}"):
        jax.block_until_ready(f(bad))
    jax.block_until_ready(f(PROBLEM.values))  # and goes on working


def test_throw_names_the_member_of_a_batch():
    f = jax.jit(jax.vmap(lambda v: cx.cholesky(PROBLEM.matrix(v), throw=True).log_det()))
    stack = np.stack([PROBLEM.values, PROBLEM.values, negative_in_the_middle()])
    with pytest.raises(jax.errors.JaxRuntimeError, match="batch member 2"):
        jax.block_until_ready(f(stack))


def test_checked_names_the_member_of_a_batch():
    stack = np.stack([PROBLEM.values, negative_in_the_middle()])
    factors = jax.vmap(lambda v: cx.cholesky(PROBLEM.matrix(v)))(stack)
    with pytest.raises(NotPositiveDefiniteError, match="batch member 1"):
        cx.checked(factors)


def test_checked_functions_raise_where_plain_ones_give_nan():
    bad = PROBLEM.matrix(negative_in_the_middle())
    for function in (cx.log_det, jax.jit(cx.log_det), jax.grad(lambda A: cx.log_det(A))):
        assert np.isnan(jax.tree.leaves(function(bad))[0]).any()
        with pytest.raises(NotPositiveDefiniteError, match="positive definite"):
            cx.checked(function)(bad)
        assert np.isnan(jax.tree.leaves(function(bad))[0]).any()  # the plain one stays as it was
        good = jax.tree.leaves(cx.checked(function)(PROBLEM.matrix()))
        assert_close(good, jax.tree.leaves(function(PROBLEM.matrix())), 0.0)


def test_checked_refuses_traced_factors_and_other_objects():
    with pytest.raises(StructureError, match=r"traced.*throw=True"):
        jax.jit(lambda v: cx.checked(cx.cholesky(PROBLEM.matrix(v))).log_det())(PROBLEM.values)
    with pytest.raises(StructureError, match="need a Factor or a function, got int"):
        cx.checked(3)


# --- batches -------------------------------------------------------------------------------------


def test_one_bad_member_of_a_batch_is_nan_alone():
    stack = np.stack([PROBLEM.values, negative_in_the_middle(), 2 * PROBLEM.values])
    bad = np.array([False, True, False])

    @jax.jit
    @jax.vmap
    def run(v):
        F = cx.cholesky(PROBLEM.matrix(v))
        gradient = jax.grad(lambda v: cx.log_det(PROBLEM.matrix(v)))(v)
        tangent = jax.jvp(lambda v: cx.inverse_diagonal(PROBLEM.matrix(v)), (v,), (v,))[1]
        return F.ok, F.pivot, [*everything(F), gradient, tangent]

    ok, pivot, results = run(stack)
    np.testing.assert_array_equal(ok, ~bad)
    assert pivot.tolist() == [-1, int(cx.cholesky(PROBLEM.matrix(stack[1])).pivot), -1]
    for result in results:
        result = result.reshape(3, -1)
        np.testing.assert_array_equal(np.isnan(result).all(axis=1), bad)
        np.testing.assert_array_equal(np.isnan(result).any(axis=1), bad)
    for member in (0, 2):
        want = everything(cx.cholesky(PROBLEM.matrix(stack[member])))
        for got, one in zip(results, want, strict=False):
            assert_close(got[member], one, VALUE)


def test_batches_of_factors_are_mapped_not_called():
    factors = jax.vmap(lambda v: cx.cholesky(PROBLEM.matrix(v)))(np.stack([PROBLEM.values] * 3))
    with pytest.raises(ShapeError, match=r"batch of factorisations, of shape \(3,\).*jax.vmap"):
        factors.solve(ONES)
