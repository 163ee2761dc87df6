"""Many threads on one factor; and nothing is kept: plans go with their owners."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from cholax import _native
from cholax.patterns import cache
from tests.linalg.twins import grid_problem, random_problem

THREADS = 8
ROUNDS = 40
REPEATS = 200
TOL_GROWTH = 8 * 2**20  # bytes: what an allocator may keep for itself

PROBLEM = grid_problem(20, 20)
B = np.random.default_rng(0).standard_normal((PROBLEM.n, ROUNDS))


def new_pattern(problem):
    """An equal pattern that no other test holds."""
    arrays = problem.pattern.indptr, problem.pattern.indices
    return cx.Pattern((problem.n,) * 2, *arrays, symmetric=True)


def in_threads(function, arguments):
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, arguments))


def structures():
    gc.collect()
    return _native.lib().num_structures()


def resident_bytes():
    gc.collect()
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * 4096


def assert_identical(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(a, b)


# --- threads -------------------------------------------------------------------------------------


def test_threads_share_one_factor_and_get_identical_results():
    F = cx.cholesky(PROBLEM.matrix())

    def use(k):
        draws = F.sample(jax.random.key(k), (2,))
        return F.solve(B[:, k]), F.log_det(), F.inverse_diagonal(), draws

    want = [use(k) for k in range(ROUNDS)]
    assert_identical(in_threads(use, range(ROUNDS)), want)


def test_threads_share_one_compiled_function_and_its_gradient():
    @jax.jit
    @jax.value_and_grad
    def density(v, b):
        F = cx.cholesky(PROBLEM.matrix(v))
        return F.log_det() - b @ F.solve(b) + F.lower().values.sum()

    def use(k):
        return density((1 + k / 10) * PROBLEM.values, B[:, k])

    want = [use(k) for k in range(ROUNDS)]
    assert_identical(in_threads(use, range(ROUNDS)), want)


def test_threads_that_all_start_cold_agree():
    """Analysis, tracing and compilation race; equal requests make one plan."""
    problem = grid_problem(11, 13)
    fresh = [new_pattern(problem) for _ in range(THREADS)]
    start = threading.Barrier(THREADS)
    plans = []

    def use(pattern):
        start.wait()
        plans.append(cx.analyze(pattern))
        A = cx.SparseMatrix(problem.values, pattern)
        return jax.value_and_grad(lambda v: cx.log_det(cx.SparseMatrix(v, pattern)))(A.values)

    results = in_threads(use, fresh)
    assert_identical(results, results[:1] * THREADS)
    assert len({id(plan) for plan in plans}) == 1


def test_threads_with_different_patterns_do_not_mix():
    problems = [random_problem(12 + k, 20, seed=k) for k in range(THREADS)]
    start = threading.Barrier(THREADS)

    def use(problem):
        start.wait()
        return [cx.log_det(problem.matrix((1 + r) * problem.values)) for r in range(5)]

    for problem, got in zip(problems, in_threads(use, problems), strict=True):
        log_det = np.linalg.slogdet(problem.dense())[1]
        want = [log_det + problem.n * np.log(1 + r) for r in range(5)]
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_threads_with_traced_patterns_do_not_mix():
    """More patterns than the raw layer remembers, in one compiled program."""
    n, path = 12, np.arange(11)
    rng = np.random.default_rng(0)

    def tree(k):
        parent = [int(rng.integers(i + 1, n)) for i in range(n - 1)] if k else (path + 1).tolist()
        indices = [i for c in range(n - 1) for i in (c, parent[c])] + [n - 1]
        return np.array(indices, np.int32), np.append(2 * np.arange(n), 2 * n - 1).astype(np.int32)

    values = np.append(np.tile([4.0, 1.0], n - 1), 40.0)
    trees = [tree(k) for k in range(THREADS)]
    f = jax.jit(lambda i, p, x: cx.csc.sparse_log_det(i, p, x, L_nse=2 * n - 1))
    want = [cx.csc.sparse_log_det(i, p, values) for i, p in trees]
    jobs = [k % THREADS for k in range(ROUNDS)]
    got = in_threads(lambda k: f(*trees[k], values), jobs)
    np.testing.assert_allclose(got, [want[k] for k in jobs], rtol=1e-14)


def test_results_are_bit_identical_from_run_to_run():
    F = cx.cholesky(PROBLEM.matrix())
    again = cx.cholesky(PROBLEM.matrix())
    assert_identical(again.lower().values, F.lower().values)
    assert_identical(again.selected_inverse("filled").values, F.selected_inverse("filled").values)


# --- nothing is kept -----------------------------------------------------------------------------


def work():
    """Eager, compiled and batched use of a new pattern; nothing of it is returned."""
    problem = random_problem(31, 60, seed=1)
    pattern = new_pattern(problem)

    def f(v):
        F = cx.cholesky(cx.SparseMatrix(v, pattern))
        parts = (
            F.solve(np.ones(31)),
            F.sample(jax.random.key(0)),
            F.selected_inverse("filled").values,
        )
        return F.log_det() + sum(p.sum() for p in parts) + F.lower().values.sum()

    f(problem.values)
    jax.jit(jax.value_and_grad(f))(problem.values)
    jax.vmap(jax.grad(f))(np.stack([problem.values] * 2))
    cx.cholesky(cx.SparseMatrix(problem.values, pattern), ordering="rcm").inverse_diagonal()
    cx.csc.sparse_log_det(pattern.indices, pattern.indptr, problem.values)
    (problem.matrix() @ problem.matrix()).add_diagonal(1.0)
    return structures()


def forget():
    """What a user may clear: JAX's programs, and cholax's bounded memory of pattern algebra."""
    jax.clear_caches()
    cache.clear()


@pytest.mark.slow
def test_plans_are_released_with_their_owners():
    forget()
    before = structures()
    assert work() > before
    forget()
    assert structures() == before


def log_det_on(pattern, plan):
    return jax.jit(lambda v: cx.log_det(cx.SparseMatrix(v, pattern), ordering=plan))


def test_a_pattern_keeps_its_plan_and_a_program_its_own_share():
    forget()
    before = structures()
    problem = random_problem(17, 20, seed=2)
    pattern = new_pattern(problem)
    plan = cx.analyze(pattern)
    assert cx.analyze(pattern) is plan
    assert structures() == before + 1
    f = log_det_on(pattern, plan)
    value = f(problem.values)
    del plan
    assert structures() == before + 1
    compiled = f.lower(problem.values).compile()
    del f, pattern, problem.pattern.__dict__["_plans"]
    problem.pattern.__dict__["_plans"] = {}
    forget()
    assert structures() == before + 1  # the executable's share
    np.testing.assert_array_equal(compiled(problem.values), value)
    del compiled
    forget()
    assert structures() == before


def test_using_many_patterns_keeps_none_beyond_the_bounded_memory():
    forget()
    before = structures()
    for seed in range(30):
        problem = random_problem(8, 9, seed=seed)
        pattern = new_pattern(problem)
        float(cx.log_det(cx.SparseMatrix(problem.values, pattern)))
        del problem, pattern
    forget()
    assert structures() == before


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_repeated_eager_calls_do_not_grow():
    problem = grid_problem(40, 40)
    b = jnp.ones(problem.n)

    def once(k):
        v = (1 + k / REPEATS) * problem.values
        F = cx.cholesky(problem.matrix(v))
        F.solve(b)
        F.sample(jax.random.key(k))
        F.inverse_diagonal()
        jax.grad(lambda v: cx.log_det(problem.matrix(v)))(v)
        cx.csc.sparse_log_det(problem.pattern.indices, problem.pattern.indptr, v)
        (2.0 * problem.matrix(v) + problem.matrix()).add_diagonal(1.0)

    for k in range(20):
        once(k)
    count, memory = structures(), resident_bytes()
    for k in range(REPEATS):
        once(k)
    assert structures() == count
    assert resident_bytes() - memory < TOL_GROWTH


def test_repeated_compilation_does_not_grow_structures():
    def once():
        density = jax.jit(jax.grad(lambda v: cx.log_det(PROBLEM.matrix(v))))
        density(PROBLEM.values)

    once()
    count = structures()
    for _ in range(10):
        once()
    assert structures() == count
