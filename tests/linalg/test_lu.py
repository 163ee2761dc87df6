"""`lu`: values, failures, programs and sharing, against dense NumPy."""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
from cholax.analysis import LUPlan, analyze_lu
from cholax.linalg.lu import LU, lu
from cholax.primitives import _superlu
from cholax.testing import count_kernel_calls
from tests.linalg.twins import tol

REASON = {name: getattr(_superlu, name) for name in ("SINGULAR", "NOT_FINITE", "OVERFLOW")}


def random_regular(n, seed, density=0.2):
    """Unsymmetric, most of the diagonal missing, one large entry per row and column."""
    rng = np.random.default_rng(seed)
    D = rng.standard_normal((n, n)) * (rng.random((n, n)) < density)
    D[np.arange(n), rng.permutation(n)] += 3 * rng.standard_normal(n)
    return D


def convection_diffusion(m, wind=20.0, shuffled=True):
    """Central differences of −Δu + wind·u_x on m² points."""
    h = 1 / (m + 1)
    across = sp.diags_array(
        [-1 - wind * h / 2, 2.0, -1 + wind * h / 2], offsets=[-1, 0, 1], shape=(m, m)
    )
    along = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(m, m))
    grid = sp.csr_array(sp.kron(sp.eye_array(m), across) + sp.kron(along, sp.eye_array(m)))
    return sp.csc_array(grid[np.random.default_rng(m).permutation(m * m)] if shuffled else grid)


def saddle_point(m):
    """[[K, Bᵀ], [B, 0]] with a zero block on the diagonal."""
    K = convection_diffusion(m, shuffled=False)
    n = K.shape[0]
    B = sp.diags_array([1.0, -2.0], offsets=[0, 1], shape=(n // 3, n))
    return sp.csc_array(sp.block_array([[K, B.T], [B, None]]))


def backward_error(Q, x, b):
    return np.max(np.abs(Q @ x - b)) / np.max(abs(Q) @ np.abs(x) + np.abs(b))


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_solve_transposed_solve_and_determinant_match_numpy(seed):
    n = 3 + 5 * seed
    D = random_regular(n, seed)
    F = lu(cx.from_dense(D))
    b = np.random.default_rng(seed).standard_normal((n, 3))
    assert bool(F.ok)
    assert backward_error(D, F.solve(b), b) < tol.value("float64")
    assert backward_error(D.T, F.solve(b, transpose=True), b) < tol.value("float64")
    np.testing.assert_allclose(F.solve(b[:, 0]), np.asarray(F.solve(b))[:, 0], rtol=1e-9)
    sign, log = np.linalg.slogdet(D)
    assert float(F.slogdet()[0]) == sign
    assert abs(float(F.slogdet()[1]) - log) < tol.gradient("float64") * max(1, abs(log))


MATRICES = {
    "grid_with_shuffled_rows": lambda: convection_diffusion(25),
    "saddle_point": lambda: saddle_point(18),
    "random": lambda: sp.csc_array(random_regular(300, 5, density=0.01)),
    "badly_scaled": lambda: sp.csc_array(
        np.logspace(-150, 150, 40)[:, None] * random_regular(40, 8) * np.logspace(120, -120, 40)
    ),
}


@pytest.mark.parametrize("name", MATRICES)
def test_pivoting_is_stable_and_fits_the_plan(name):
    Q = MATRICES[name]()
    A = cx.from_scipy(Q)
    F = lu(A)
    assert bool(F.ok)
    entries = int(np.count_nonzero(F._caches[0]))
    assert entries <= F.plan.capacity
    b = Q @ np.cos(np.arange(Q.shape[0]))
    assert backward_error(Q, np.asarray(F.solve(b)), b) < tol.value("float64")


@pytest.mark.parametrize("name", ["grid_with_shuffled_rows", "random"])
def test_float32(name):
    Q = MATRICES[name]().astype(np.float32)
    F = lu(cx.from_scipy(Q))
    b = np.sin(np.arange(Q.shape[0], dtype=np.float32))
    x = F.solve(b)
    assert x.dtype == F.slogdet()[1].dtype == np.float32
    assert backward_error(Q, np.asarray(x), b) < tol.value("float32")


def test_symmetric_storage_stands_for_both_triangles():
    D = random_regular(8, 3)
    D = D + D.T
    b = np.arange(8.0)
    F = lu(cx.from_dense(D, symmetric=True))
    np.testing.assert_allclose(F.solve(b), np.linalg.solve(D, b), rtol=1e-9)
    assert float(F.slogdet()[0]) == np.linalg.slogdet(D)[0]


@pytest.mark.parametrize("n", [0, 1])
def test_smallest_sizes(n):
    F = lu(cx.from_dense(np.full((n, n), -4.0)))
    assert bool(F.ok)
    assert F.solve(np.ones(n)).tolist() == [-0.25] * n
    assert F.solve(np.ones((n, 2)), transpose=True).shape == (n, 2)
    sign, log = F.slogdet()
    assert float(sign) == (-1.0) ** n
    assert float(log) == pytest.approx(n * np.log(4))


@pytest.mark.parametrize(
    "ordering", ["natural", "amd", "rcm", "nested_dissection", "given", "plan"]
)
def test_ordering_changes_fill_and_not_results(ordering):
    A = cx.from_scipy(MATRICES["grid_with_shuffled_rows"]())
    chosen = {"given": np.random.default_rng(0).permutation(A.n), "plan": analyze_lu(A.pattern)}
    F = lu(A, ordering=chosen.get(ordering, ordering))
    b = np.ones(A.n)
    np.testing.assert_allclose(F.solve(b), lu(A).solve(b), rtol=1e-9)


def test_solve_without_the_private_routine_of_scipy(monkeypatch):
    D = random_regular(9, 1)
    A, b = cx.from_dense(D), np.arange(18.0).reshape(9, 2)
    monkeypatch.setattr(_superlu, "_gstrs", None)
    F = lu(A)
    np.testing.assert_allclose(F.solve(b), np.linalg.solve(D, b), rtol=1e-9)
    np.testing.assert_allclose(F.solve(b, transpose=True), np.linalg.solve(D.T, b), rtol=1e-9)


def test_cx_solve_picks_by_structure():
    D = random_regular(7, 4)
    b = np.arange(7.0)
    with count_kernel_calls() as calls:
        got = jax.block_until_ready(cx.solve(cx.from_dense(D), b))
    assert calls["lu_factor"] == 1
    np.testing.assert_allclose(got, np.linalg.solve(D, b), rtol=1e-9)
    with count_kernel_calls() as calls:
        jax.block_until_ready(cx.solve(cx.eye(3), np.ones(3)))
    assert calls["cholesky"] == 1
    assert calls["lu_factor"] == 0


# --- failures -------------------------------------------------------------------------------------

ZERO_COLUMN = np.array([[1.0, 0.0, 2.0], [3.0, 0.0, 1.0], [1.0, 0.0, 5.0]])
FULL = cx.from_dense(np.ones((3, 3))).pattern


def on_full(D):
    return cx.from_dense(np.asarray(D), pattern=FULL)


FAILING = {
    "zero_column": (on_full(ZERO_COLUMN), "SINGULAR"),
    "all_zero": (on_full(np.zeros((3, 3))), "SINGULAR"),
    "rank_one_below_rounding": (on_full(np.outer([0.1, 0.3, 0.7], [0.2, 0.6, 0.9])), "SINGULAR"),
    "structurally_singular": (cx.from_dense(ZERO_COLUMN), "SINGULAR"),
    "nan": (on_full(ZERO_COLUMN + np.nan), "NOT_FINITE"),
    "infinite": (on_full(np.where(np.eye(3) > 0, np.inf, 1.0)), "NOT_FINITE"),
}


@pytest.mark.parametrize("name", FAILING)
def test_failure_is_a_status_with_nan(name):
    A, reason = FAILING[name]
    for F in (lu(A), jax.jit(lu)(A)):
        assert not bool(F.ok)
        assert int(F.status) == REASON[reason]
        assert np.all(np.isnan(F.solve(np.ones(3))))
        assert np.all(np.isnan(F.solve(np.ones((3, 2)), transpose=True)))
        assert np.all(np.isnan(F.slogdet()))


def test_throw_raises_eagerly_and_inside_jit():
    A = on_full(ZERO_COLUMN)
    with pytest.raises(cx.errors.SingularMatrixError, match="the matrix is singular"):
        lu(A, throw=True)
    with pytest.raises(jax.errors.JaxRuntimeError, match="the matrix is singular"):
        jax.block_until_ready(jax.jit(lambda A: lu(A, throw=True).solve(np.ones(3)))(A))
    with pytest.raises(cx.errors.SingularMatrixError, match="batch member 1"):
        jax.vmap(lambda v: lu(cx.SparseMatrix(v, FULL)))(
            jnp.stack([on_full(np.eye(3)).values, A.values])
        ).check()
    assert bool(lu(cx.eye(3), throw=True).ok)


def needs_exchanges():
    """Diagonal entries that are stored, and so tiny that no pivot is taken there."""
    D = random_regular(200, 7, density=0.02)
    D[np.arange(200), np.arange(200)] = 1e-14
    return cx.from_dense(D)


def test_overflow_of_the_capacity_is_a_status_and_more_capacity_cures_it():
    A = needs_exchanges()
    tight = lu(A, capacity=1.0)
    assert int(tight.status) == REASON["OVERFLOW"]
    assert np.all(np.isnan(tight.solve(np.ones(A.n))))
    with pytest.raises(cx.errors.FactorSizeError, match="raise `capacity`"):
        lu(A, capacity=1.0, throw=True)
    wide = lu(A, capacity=20.0)
    assert bool(wide.ok)
    b = np.ones(A.n)
    assert backward_error(A.to_scipy(), np.asarray(wide.solve(b)), b) < tol.value("float64")


def test_non_finite_right_hand_sides_stay_in_their_columns():
    D = random_regular(6, 2)
    b = np.ones((6, 3))
    b[2, 1] = np.nan
    x = np.asarray(lu(cx.from_dense(D)).solve(b))
    assert np.all(np.isnan(x[:, 1]))
    np.testing.assert_allclose(x[:, [0, 2]], np.linalg.solve(D, np.ones((6, 2))), rtol=1e-9)


def test_contract_failures_raise():
    A = cx.from_dense(random_regular(4, 0))
    errors = cx.errors
    with pytest.raises(errors.StructureError, match="square, got 2×3"):
        lu(cx.from_dense(np.ones((2, 3))))
    with pytest.raises(errors.StructureError, match="square, got 2×3"):
        cx.solve(cx.from_dense(np.ones((2, 3))), np.ones(2))
    with pytest.raises(errors.StructureError, match="need a cholax SparseMatrix, got ndarray"):
        lu(np.eye(3))
    with pytest.raises(errors.DtypeError, match="complex128"):
        cx.from_dense(np.eye(3) * 1j)
    for shape in [(5,), (5, 2), (4, 2, 2), ()]:
        with pytest.raises(errors.ShapeError, match=r"\(4,\) or \(4, k\)"):
            lu(A).solve(np.ones(shape))
    with pytest.raises(errors.DtypeError, match="float32 and float64"):
        lu(A).solve(np.ones(4, np.float32))
    with pytest.raises(errors.UnsupportedError, match="SparseMatrix"):
        lu(A).solve(sp.eye_array(4))
    for capacity in (0.5, np.inf, np.nan):
        with pytest.raises(errors.ArgumentError, match="capacity"):
            lu(A, capacity=capacity)
    with pytest.raises(errors.StructureError, match="another pattern"):
        lu(A, ordering=analyze_lu(cx.eye(4).pattern))
    with pytest.raises(errors.StructureError, match="a plan or a capacity"):
        lu(A, ordering=analyze_lu(A.pattern), capacity=2.0)


# --- programs -------------------------------------------------------------------------------------

D9 = random_regular(9, 6)
A9 = cx.from_dense(D9)
B9 = np.cos(np.arange(9.0))


def solve9(values, b):
    return lu(cx.SparseMatrix(values, A9.pattern)).solve(b)


def test_inside_scan_while_and_cond():
    @jax.jit
    def run(values):
        def body(state):
            i, x = state
            return i + 1, jax.lax.cond(i % 2 == 0, lambda x: solve9(values, x), jnp.sin, x)

        looped = jax.lax.while_loop(lambda s: s[0] < 4, body, (0, jnp.asarray(B9)))[1]
        _, scanned = jax.lax.scan(
            lambda _, c: (None, solve9(c * values, B9)), None, jnp.arange(1.0, 4)
        )
        return looped, scanned

    looped, scanned = run(A9.values)
    x = np.linalg.solve(D9, B9)
    np.testing.assert_allclose(looped, np.sin(np.linalg.solve(D9, np.sin(x))), rtol=1e-9)
    np.testing.assert_allclose(scanned, [x, x / 2, x / 3], rtol=1e-9)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_vmap_with_a_singular_member(axes):
    values = np.stack([A9.values, 0 * A9.values, 2 * A9.values])
    b = np.stack([B9, 2 * B9, 3 * B9])
    got = jax.jit(jax.vmap(solve9, axes))(
        values if axes[0] == 0 else A9.values, b if axes[1] == 0 else B9
    )
    x = np.linalg.solve(D9, B9)
    scale = [1, np.nan, 0.5] if axes[0] == 0 else [1, 1, 1]
    right = [1, 2, 3] if axes[1] == 0 else [1, 1, 1]
    np.testing.assert_allclose(got, np.multiply(scale, right)[:, None] * x, rtol=1e-9)


def test_factorisations_pass_through_jit_and_vmap_as_pytrees():
    F = jax.jit(lu)(A9)
    assert isinstance(F, LU)
    assert isinstance(F.plan, LUPlan)
    np.testing.assert_allclose(jax.jit(LU.solve)(F, B9), np.linalg.solve(D9, B9), rtol=1e-9)
    many = jax.vmap(lambda c: lu(c * A9))(jnp.array([1.0, 2.0]))
    with pytest.raises(cx.errors.ShapeError, match="this is a batch"):
        many.solve(B9)
    got = jax.vmap(lambda F: F.solve(B9))(many)
    np.testing.assert_allclose(got[1], np.linalg.solve(D9, B9) / 2, rtol=1e-9)


def test_everything_shares_one_factorisation():
    def loss(values):
        F = lu(cx.SparseMatrix(values, A9.pattern))
        x = F.solve(B9)
        return jnp.sum(x**2) + F.slogdet()[1] + jnp.sum(F.solve(x, transpose=True))

    run = jax.jit(lambda v: (jax.value_and_grad(loss)(v), jax.jvp(jax.grad(loss), (v,), (v,))))
    jax.block_until_ready(run(A9.values))
    with count_kernel_calls() as calls:
        jax.block_until_ready(jax.jit(jax.value_and_grad(loss))(A9.values))
    assert calls["lu_factor"] == 1
    with count_kernel_calls() as calls:
        jax.block_until_ready(run(A9.values))
    assert calls["lu_factor"] == 1


def test_plans_are_shared_and_hashable():
    plan = lu(A9).plan
    assert analyze_lu(A9.pattern) is plan
    again = analyze_lu(cx.from_dense(D9.copy()).pattern)
    assert again == plan
    assert hash(again) == hash(plan)
    assert analyze_lu(A9.pattern, "natural") != plan


PROGRAM = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
import threading
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
import cholax as cx
from cholax.linalg.lu import lu
n = 100_000
A = cx.diags([np.full(n - 1, -1.5), np.full(n, 3.0), np.full(n - 1, -1.0)], [-1, 0, 1])
assert not A.symmetric
@jax.jit
def run(values, b):
    def loss(values, b):
        first = lu(cx.SparseMatrix(values, A.pattern)).solve(b)
        second = lu(cx.SparseMatrix(2 * values, A.pattern)).solve(jnp.cos(b))
        return jnp.sum(jnp.tanh(first) * second)
    return jax.value_and_grad(loss)(values, b)
b = np.ones(n)
def work():
    for _ in range(3):
        value, gradient = jax.block_until_ready(run(A.values, b))
        assert np.isfinite(value) and np.all(np.isfinite(gradient))
threads = [threading.Thread(target=work) for _ in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
print("done")
"""


def test_large_arrays_do_not_deadlock_on_two_cores():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "done", done.stderr
