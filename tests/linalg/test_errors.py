"""Bad input that breaks a contract is refused by name; degenerate but valid input works."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
from cholax._core.errors import (
    DtypeError,
    FactorSizeError,
    PatternError,
    ShapeError,
    StructureError,
    UnsupportedError,
)
from tests.linalg.twins import assert_close, everything, from_lower, random_problem, tol

PROBLEM = random_problem(7, 9, seed=4)
N = PROBLEM.n
ONES = np.ones(N)
VALUE = tol.value("float64")
ORDERINGS = ("auto", "amd", "nested_dissection", "rcm", "natural")


# --- what the matrix is --------------------------------------------------------------------------


def test_matrix_must_be_square_symmetric_and_ours():
    with pytest.raises(StructureError, match="square, got 2×3"):
        cx.from_dense(np.ones((2, 3)), symmetric=True)
    general = cx.from_dense(np.array([[2.0, 1], [0, 2]]))
    with pytest.raises(StructureError, match=r"symmetric by construction.*symmetric=True"):
        cx.cholesky(general)
    with pytest.raises(StructureError, match="need a cholax SparseMatrix, got ndarray"):
        cx.cholesky(np.eye(2))
    with pytest.raises(StructureError, match=r"got csc_array.*from_scipy"):
        cx.cholesky(sp.eye_array(2, format="csc"))


@pytest.mark.parametrize("shortcut", [cx.log_det, cx.inverse_diagonal, cx.selected_inverse])
def test_short_cuts_name_themselves_when_they_refuse(shortcut):
    with pytest.raises(StructureError, match=f"{shortcut.__name__}: .*symmetric.*got SparseMatrix"):
        shortcut(cx.from_dense(np.ones((2, 3))))
    with pytest.raises(StructureError, match=f"{shortcut.__name__}: .*got ndarray"):
        shortcut(np.eye(2))


def test_upper_triangle_alone_is_refused():
    """Peers read it as its diagonal, silently."""
    upper = sp.csc_array(np.triu(PROBLEM.dense()))
    with pytest.raises(StructureError):
        cx.from_scipy(upper, symmetric=True)
    with pytest.raises((PatternError, StructureError)):
        cx.from_scipy(upper, symmetric=True, half=True)
    with pytest.raises(PatternError, match="lower triangle only, got the upper entry"):
        cx.Pattern(upper.shape, upper.indptr, upper.indices, symmetric=True)


def test_asymmetric_values_are_refused_and_rounding_is_averaged():
    D = np.asarray(PROBLEM.dense()).copy()
    i, j = (int(k[0]) for k in np.nonzero(np.tril(D, -1)))
    rounded = D.copy()
    rounded[i, j] *= 1 + 1e-14
    A = cx.from_scipy(sp.csc_array(rounded), symmetric=True)
    assert_close(cx.log_det(A), np.linalg.slogdet(D)[1], VALUE)
    D[i, j] *= 1 + 1e-6
    with pytest.raises(StructureError, match=rf"got a\[{i}, {j}\] = "):
        cx.from_scipy(sp.csc_array(D), symmetric=True)


@pytest.mark.parametrize(
    ("indptr", "indices", "message"),
    [
        ([0, 2, 3], [1, 0, 1], "increasing order"),
        ([0, 3, 4], [0, 1, 1, 1], "each entry once"),
        ([0, 2, 3], [0, 2, 1], "out of range"),
        ([0, 2, 3], [0, -1, 1], "negative"),
        ([0, 1, 2], [0, 0], "upper entry|increasing"),
        ([0, 1, 1], [0], r"whole diagonal, got none at \(1, 1\)"),
        ([0, 2], [0, 1], "length 3"),
        ([1, 2, 3], [0, 1, 1], "start at 0"),
        ([0, 3, 2], [0, 1], "not decrease"),
        ([0, 2, 4], [0, 1, 1], "end at the number of indices"),
    ],
)
def test_malformed_index_arrays_are_refused_by_name(indptr, indices, message):
    with pytest.raises(PatternError, match=message):
        cx.Pattern((2, 2), indptr, indices, symmetric=True)


def test_constructors_sort_and_sum_what_the_pattern_refuses():
    """Unsorted rows, duplicates, int64 indices and a missing diagonal, all in one matrix."""
    rows = np.array([2, 1, 2, 0, 1, 2], np.int64)
    columns = np.array([0, 1, 2, 0, 1, 0], np.int64)
    A = from_lower(np.array([1.0, 3, 5, 4, 2, 1]), rows, columns, 3)
    want = np.array([[4.0, 0, 2], [0, 5, 0], [2, 0, 5]])
    assert_close(A.to_dense(), want, 0.0)
    assert_close(cx.log_det(A), np.linalg.slogdet(want)[1], VALUE)


def test_int64_indices_are_taken_and_those_beyond_32_bits_refused():
    wide = cx.Pattern(
        (N, N),
        PROBLEM.pattern.indptr.astype(np.int64),
        PROBLEM.pattern.indices.astype(np.int64),
        symmetric=True,
    )
    assert wide == PROBLEM.pattern
    A = cx.SparseMatrix(PROBLEM.values, wide)
    assert_close(cx.log_det(A), np.linalg.slogdet(PROBLEM.dense())[1], VALUE)
    huge = PROBLEM.pattern.indices.astype(np.int64) + 2**32
    with pytest.raises(PatternError, match="does not fit in 32 bits"):
        cx.Pattern((N, N), PROBLEM.pattern.indptr, huge, symmetric=True)
    with pytest.raises(DtypeError, match="must hold integers, got float64"):
        cx.Pattern((N, N), PROBLEM.pattern.indptr, PROBLEM.pattern.indices * 1.0, symmetric=True)


# --- degenerate sizes ----------------------------------------------------------------------------


@pytest.mark.parametrize("ordering", [*ORDERINGS, np.zeros(0, int)])
def test_empty_matrix_has_logdet_zero_and_empty_results(ordering):
    F = cx.cholesky(cx.eye(0), ordering=ordering)
    assert bool(F.ok)
    assert float(F.log_det()) == 0.0
    assert [r.shape for r in everything(F)[1:]] == [(0,)] * 8
    assert F.solve(np.ones((0, 3))).shape == (0, 3)
    assert F.sample(jax.random.key(0), (2,)).shape == (2, 0)
    gradient = jax.grad(lambda v: cx.log_det(cx.SparseMatrix(v, F.A.pattern)))
    assert gradient(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("ordering", [*ORDERINGS, [0]])
def test_single_entry_is_its_own_factorisation(ordering):
    F = cx.cholesky(4.0 * cx.eye(1), ordering=ordering)
    assert_close(F.log_det(), np.log(4), VALUE)
    results = F.solve([2.0]), F.inverse_diagonal(), F.half_solve([2.0])
    assert [r.tolist() for r in results] == [[0.5], [0.25], [1.0]]
    hessian = jax.hessian(lambda v: cx.log_det(cx.SparseMatrix(v, F.A.pattern)))
    assert_close(hessian(F.A.values), np.full((1, 1), -1 / 16), VALUE)


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_diagonal_and_disconnected_matrices_factor(ordering):
    d = np.linspace(1, 2, 40)
    F = cx.cholesky(cx.SparseMatrix(d, cx.eye(40).pattern), ordering=ordering)
    assert F.plan.nnz_factor == 40
    assert_close([F.log_det(), F.inverse_diagonal()], [np.log(d).sum(), 1 / d], VALUE)
    blocks = cx.block_diag([PROBLEM.matrix(), cx.eye(3), 2.0 * PROBLEM.matrix()])
    want = 2 * np.linalg.slogdet(PROBLEM.dense())[1] + N * np.log(2)
    assert_close(cx.log_det(blocks, ordering=ordering), want, VALUE)


@pytest.fixture(scope="module")
def arrow():
    """Dense first row: natural elimination fills everything, a good ordering nothing."""
    n = 70_000
    k = np.arange(1, n)
    rows = np.concatenate([np.arange(n), k])
    columns = np.concatenate([np.arange(n), np.zeros(n - 1, int)])
    return from_lower(np.append(np.full(n, 1e6), np.ones(n - 1)), rows, columns, n)


def test_factors_beyond_32_bits_are_refused_from_the_count(arrow):
    entries = 70_000 * 70_001 // 2
    with pytest.raises(
        FactorSizeError, match=f"would hold {entries} entries; the limit is 2147483647"
    ):
        cx.cholesky(arrow, ordering="natural")
    with pytest.raises(FactorSizeError, match=str(entries)):
        cx.csc.sparse_log_det(arrow.pattern.indices, arrow.pattern.indptr, arrow.values)
    traced = jax.jit(partial(cx.csc.sparse_log_det, L_nse=2**31 - 1))
    with pytest.raises(jax.errors.JaxRuntimeError, match=str(entries)):
        jax.block_until_ready(traced(arrow.pattern.indices, arrow.pattern.indptr, arrow.values))


def test_the_same_arrow_factors_under_the_default_ordering(arrow):
    n = arrow.n
    F = cx.cholesky(arrow)
    assert F.plan.nnz_factor == 2 * n - 1
    schur = 1e6 - (n - 1) / 1e6
    assert_close(F.log_det(), (n - 1) * np.log(1e6) + np.log(schur), VALUE)


# --- dtypes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", jnp.bfloat16, "int32", "int64", "bool", "complex128"])
def test_other_dtypes_are_refused_by_name(dtype):
    name = np.dtype(dtype).name
    values = jnp.asarray(PROBLEM.values).astype(dtype)
    with pytest.raises(DtypeError, match=f"float32 or float64, got {name}"):
        cx.SparseMatrix(values, PROBLEM.pattern)
    with pytest.raises(DtypeError, match=f"float32 or float64, got {name}"):
        cx.csc.sparse_log_det(PROBLEM.pattern.indices, PROBLEM.pattern.indptr, values)
    with pytest.raises(DtypeError, match=f"float32 or float64, got {name}"):
        cx.solve(PROBLEM.matrix(), jnp.asarray(ONES).astype(dtype))


def test_dtypes_are_never_mixed_silently():
    F = cx.cholesky(PROBLEM.matrix())
    for method in (F.solve, F.half_solve, F.half_solve_t):
        with pytest.raises(DtypeError, match="float32 and float64"):
            method(ONES.astype(np.float32))
    with pytest.raises(DtypeError, match="float64 and float32"):
        cx.solve(PROBLEM.matrix(PROBLEM.values.astype(np.float32)), ONES)


def test_float64_without_x64_says_how_to_enable_it():
    with jax.enable_x64(False):
        for call in (
            lambda: cx.SparseMatrix(PROBLEM.values, PROBLEM.pattern),
            lambda: cx.csc.sparse_log_det(
                PROBLEM.pattern.indices, PROBLEM.pattern.indptr, PROBLEM.values
            ),
            lambda: cx.SparseMatrix([1.0, 2.0], cx.eye(2, dtype="float32").pattern),
        ):
            with pytest.raises(DtypeError, match=r'jax.config.update\("jax_enable_x64", True\)'):
                call()
        A = PROBLEM.matrix(PROBLEM.values.astype(np.float32))
        with pytest.raises(DtypeError, match="jax_enable_x64"):
            cx.solve(A, ONES)
        assert cx.log_det(A).dtype == np.float32


WITHOUT_X64 = """
import jax, numpy as np, cholax as cx
jax.config.update("jax_platforms", "cpu")
pattern = cx.Pattern((2, 2), [0, 2, 3], [0, 1, 1], symmetric=True)
try:
    cx.SparseMatrix(np.array([4.0, 2.0, 10.0]), pattern)
except cx.errors.DtypeError as error:
    assert "jax_enable_x64" in str(error)
else:
    raise SystemExit("float64 was accepted")
A = cx.SparseMatrix(np.array([4.0, 2.0, 10.0], np.float32), pattern)
f = jax.jit(jax.value_and_grad(lambda v: cx.log_det(cx.SparseMatrix(v, pattern))))
value, gradient = f(A.values)
assert value.dtype == gradient.dtype == np.float32
assert abs(float(value) - np.log(36)) < 1e-6
F = cx.cholesky(A)
assert bool(F.ok) and F.sample(jax.random.key(0)).dtype == np.float32
assert cx.csc.sparse_log_det(pattern.indices, pattern.indptr, A.values).dtype == np.float32
"""


def test_float32_works_in_a_process_that_never_enables_x64():
    command = [sys.executable, "-c", WITHOUT_X64]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr[-2000:]


# --- right-hand sides ----------------------------------------------------------------------------


def test_right_hand_sides_that_do_not_fit_are_refused():
    A = PROBLEM.matrix()
    for shape in ((N - 1,), (), (N + 1, 2), (1, N), (N, 2, 2)):
        with pytest.raises(ShapeError, match=rf"shape \({N},\) or \({N}, k\)"):
            cx.solve(A, np.ones(shape))
    with pytest.raises(UnsupportedError, match="dia_array"):
        cx.solve(A, sp.eye_array(N))
    for method in (cx.cholesky(A).half_solve, cx.cholesky(A).half_solve_t):
        with pytest.raises(ShapeError, match="half_solve"):
            method(np.ones(N + 1))


def test_right_hand_sides_that_are_not_finite_pass_through():
    """A poisoned right-hand side says nothing about the matrix."""
    F = cx.cholesky(PROBLEM.matrix())
    B = np.ones((N, 2))
    B[0, 0] = np.nan
    X = F.solve(B)
    assert np.isnan(X[:, 0]).any()
    assert_close(X[:, 1], np.linalg.solve(PROBLEM.dense(), B[:, 1]), VALUE)
    assert bool(F.ok)
