"""The limit on threads, and that results do not depend on how many there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from tests.linalg.twins import grid_problem

PROBLEM = grid_problem(60, 60)  # large enough for its tree to be divided


@pytest.fixture(autouse=True)
def _restore_limit():
    before = cx.num_threads()
    yield
    cx.set_num_threads(before)


def everything(A):
    F = cx.cholesky(A)
    b = jnp.linspace(-1.0, 1.0, A.shape[0] * 3).reshape(-1, 3)
    gradient = jax.grad(lambda v: cx.log_det(cx.SparseMatrix(v, A.pattern)))(A.values)
    return F.solve(b), F.log_det(), F.inverse_diagonal(), F.lower().values, gradient


def test_results_do_not_depend_on_the_number_of_threads():
    A = cx.SparseMatrix(PROBLEM.values, PROBLEM.pattern)
    results = []
    for limit in (1, 2, None):
        cx.set_num_threads(limit)
        results.append(jax.tree.map(np.asarray, everything(A)))
    for other in results[1:]:
        jax.tree.map(np.testing.assert_array_equal, results[0], other)


def test_batches_do_not_depend_on_the_number_of_threads():
    batch = jnp.stack([PROBLEM.values * s for s in (1.0, 2.0, 3.0, 0.5)])
    log_det = jax.vmap(lambda v: cx.log_det(cx.SparseMatrix(v, PROBLEM.pattern)))
    cx.set_num_threads(1)
    alone = np.asarray(log_det(batch))
    cx.set_num_threads(None)
    np.testing.assert_array_equal(alone, np.asarray(log_det(batch)))


def test_the_first_bad_pivot_does_not_depend_on_the_number_of_threads():
    values = np.array(PROBLEM.values)
    diagonal = np.asarray(PROBLEM.pattern.indptr)[:-1]
    values[diagonal[[500, 1700, 3100]]] = -1.0
    A = cx.SparseMatrix(jnp.asarray(values), PROBLEM.pattern)
    messages = set()
    for limit in (1, 2):
        cx.set_num_threads(limit)
        with pytest.raises(cx.errors.NotPositiveDefiniteError) as error:
            cx.cholesky(A, throw=True)
        messages.add(str(error.value))
    assert len(messages) == 1


def test_the_limit_is_kept():
    cx.set_num_threads(3)
    assert cx.num_threads() == 3
    cx.set_num_threads(None)
    assert cx.num_threads() is None


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "2"])
def test_a_wrong_limit_is_refused(limit):
    with pytest.raises(cx.errors.ArgumentError, match="at least 1"):
        cx.set_num_threads(limit)
