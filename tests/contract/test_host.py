"""What is particular to the backend "host": counts, lifetimes, threads, export, traced arrays."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import cholax as cx
from cholax import _native
from cholax._core.errors import UnsupportedError
from cholax.primitives import use_backend
from tests import tolerances as tol
from tests.contract.patterns import Problem
from tests.contract.transforms import SMALL

PROBLEM = SMALL._replace(ordering="natural", supernodal=False)


def log_det(values):
    return cx.log_det(cx.SparseMatrix(values, SMALL.pattern))


def test_the_kernels_themselves_run_and_are_counted():
    with use_backend("host"):
        run = jax.jit(jax.value_and_grad(log_det))
        text = run.lower(SMALL.values()).as_text()
        with cx.testing.count_kernel_calls() as calls:
            value, gradient = jax.block_until_ready(run(SMALL.values()))
    assert "cholax_cholesky" not in text
    assert "python_cpu_callback" in text
    assert calls == {"cholesky": 1, "log_determinant": 1, "selected_inverse": 1, "gather": 1}
    native = jax.jit(jax.value_and_grad(log_det))(SMALL.values())
    # The same kernels: the same bits.
    np.testing.assert_array_equal(value, native[0])
    np.testing.assert_array_equal(gradient, native[1])


def compiled_log_det(pattern, values):
    with use_backend("host"):
        run = jax.jit(lambda v: cx.log_det(cx.SparseMatrix(v, pattern)))
        return run.lower(values).compile()


def test_a_program_keeps_its_plan_alive():
    problem = Problem("tree", 31, "auto", supernodal=True, seed=5)
    values, expected = problem.values(), np.linalg.slogdet(problem.matrix())[1]
    compiled = compiled_log_det(problem.pattern, values)
    jax.clear_caches()
    gc.collect()
    tol.assert_close(compiled(values), expected, tol.value(np.float64))


def test_many_members_large_enough_for_threads():
    problem = Problem("grid_2d", 900, "auto", supernodal=True, seed=0)
    values = problem.values() * np.linspace(1.0, 2.0, 5)[:, None]
    b = np.ones(problem.n)

    def solve(v):
        return cx.cholesky(cx.SparseMatrix(v, problem.pattern)).solve(b)

    expected = jax.jit(jax.vmap(solve))(values)
    before = _native.num_threads()
    try:
        for limit in (1, None):
            cx.set_num_threads(limit)
            with use_backend("host"):
                np.testing.assert_array_equal(jax.jit(jax.vmap(solve))(values), expected)
    finally:
        cx.set_num_threads(before)


@pytest.mark.parametrize("run", [log_det, lambda v: cx.lu(general(v)).slogdet()[1]])
def test_export_is_refused(run):
    with use_backend("host"), pytest.raises(UnsupportedError, match="cannot be exported"):
        export.export(jax.jit(run))(SMALL.values())


@pytest.mark.parametrize("platforms", [["cuda"], ["cpu", "cuda"]])
def test_export_for_another_platform_is_refused(platforms):
    targets = [export.DisabledSafetyCheck.custom_call(name) for name in cx.export_targets()]
    exported = export.export(jax.jit(log_det), platforms=platforms, disabled_checks=targets)
    with pytest.raises(UnsupportedError, match="Programs for the CPU can"):
        exported(SMALL.values())


def general(values):
    return cx.SparseMatrix(values, SMALL.pattern).as_general()


def test_traced_index_arrays_are_analyzed_on_the_host():
    indices, indptr = PROBLEM.pattern.indices, PROBLEM.pattern.indptr
    size = cx.analyze(PROBLEM.pattern, "natural").nnz_factor

    def run(indices, indptr, values):
        L = cx.csc.sparse_cholesky(indices, indptr, values, L_nse=size)
        inverse = cx.csc.sparse_partial_inverse(*L, indices, indptr)
        return inverse.sum() + cx.csc.sparse_log_det(indices, indptr, values, L_nse=size)

    arguments = indices, indptr, jnp.asarray(PROBLEM.values())
    expected = jax.jit(jax.value_and_grad(run, 2))(*arguments)
    with use_backend("host"):
        program = jax.jit(jax.value_and_grad(run, 2))
        assert "@cholax_" not in program.lower(*arguments).as_text()
        got = program(*arguments)
    tol.assert_all_close(got, expected, tol.value(np.float64))


def test_errors_of_traced_index_arrays_reach_the_caller():
    pattern = PROBLEM.pattern
    with use_backend("host"):
        run = jax.jit(lambda *x: cx.csc.sparse_cholesky(*x, L_nse=pattern.nnz - 1)[2])
        with pytest.raises(jax.errors.JaxRuntimeError, match="L_nse"):
            run(pattern.indices, pattern.indptr, PROBLEM.values()).block_until_ready()
