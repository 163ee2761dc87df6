"""LU of matrices with zeros on the diagonal, stored or not: Stokes, KKT, permuted triangles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
from cholax._core.failures import LUStatus
from cholax.analysis import analyze_lu
from cholax.errors import FactorSizeError, SingularMatrixError


def stokes(m):
    """Viscous flow on m × m cells of a staggered grid, one pressure fixed; h = 1."""

    def second(k, reflected):
        diagonal = np.full(k, 2.0)
        if reflected:
            diagonal[[0, -1]] = 3.0
        return sp.diags_array([-np.ones(k - 1), diagonal, -np.ones(k - 1)], offsets=[-1, 0, 1])

    inner, one = sp.eye_array(m - 1), sp.eye_array(m)
    across = sp.kron(second(m - 1, False), one) + sp.kron(inner, second(m, True))
    along = sp.kron(second(m, True), inner) + sp.kron(one, second(m - 1, False))
    D = sp.diags_array([np.ones(m - 1), -np.ones(m - 1)], offsets=[0, -1], shape=(m, m - 1))
    B = sp.hstack([sp.kron(D, one), sp.kron(one, D)]).tocsr()[1:]
    return sp.csc_array(sp.block_array([[sp.block_diag([across, along]), B.T], [B, None]]))


def trajectory(steps, states=8, controls=3):
    """KKT matrix of a linear-quadratic control problem, states first; unsymmetric dynamics."""
    rng = np.random.default_rng(0)
    H = sp.diags_array(rng.uniform(0.1, 2.0, (steps + 1) * states + steps * controls))
    move = [np.eye(states) + 0.3 * rng.normal(size=(states, states)) for _ in range(steps)]
    push = [rng.normal(size=(states, controls)) for _ in range(steps)]
    now = sp.block_array([[None, sp.csr_array((states, states))], [sp.block_diag(move), None]])
    J = sp.hstack(
        [
            sp.eye_array((steps + 1) * states) - now,
            sp.vstack([sp.csr_array((states, steps * controls)), -sp.block_diag(push)]),
        ]
    )
    return sp.csc_array(sp.block_array([[H, J.T], [J, None]]))


STORED = {
    "general": cx.from_scipy,
    "symmetric": lambda S: cx.from_scipy(S, symmetric=True),
    "symmetric as general": lambda S: cx.from_scipy(S, symmetric=True).as_general(),
}
SADDLES = {"stokes 10": stokes(10), "stokes 40": stokes(40), "trajectory": trajectory(86)}


def test_the_sizes_are_those_reported():
    assert SADDLES["stokes 40"].shape[0] == 4719
    assert abs(SADDLES["trajectory"].shape[0] - 1647) < 5


@pytest.mark.parametrize("storage", STORED)
@pytest.mark.parametrize("name", SADDLES)
def test_saddle_points_are_factored_however_they_are_stored(name, storage):
    S = SADDLES[name]
    A = STORED[storage](S)
    x = np.cos(np.arange(A.n))
    b = jnp.asarray(S @ x)
    reference = sp.linalg.splu(S)
    for F in (cx.lu(A), jax.jit(cx.lu)(A)):
        assert F.reason() == "ok"
        np.testing.assert_allclose(F.solve(b), x, atol=1e-7)
        log = np.sum(np.log(np.abs(reference.U.diagonal())))
        np.testing.assert_allclose(F.slogdet()[1], log, rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_traced_saddle_points_in_batches_and_both_precisions(dtype):
    S = stokes(8)
    A = cx.from_scipy(S, symmetric=True).as_general().astype(dtype)
    x = np.cos(np.arange(A.n))
    b = jnp.asarray(S @ x, dtype)

    @jax.jit
    @jax.vmap
    def run(scale):
        F = cx.lu(cx.SparseMatrix(A.values * scale, A.pattern))
        return F.status, F.solve(b) * scale

    status, found = run(jnp.array([1.0, 2.0, -3.0], dtype))
    assert np.asarray(status).tolist() == [0, 0, 0]
    for row in found:
        np.testing.assert_allclose(row, x, atol=1e-3 if dtype == "float32" else 1e-9)


def test_derivatives_through_a_saddle_point_match_the_dense_twin():
    S = trajectory(2, states=2, controls=1)
    A = cx.from_scipy(S, symmetric=True).as_general()
    b = jnp.asarray(np.cos(np.arange(A.n)))
    n = A.n

    def sparse(v):
        F = cx.lu(cx.SparseMatrix(v, A.pattern))
        return jnp.sum(jnp.sin(F.solve(b))) + F.slogdet()[1]

    def dense(v):
        D = jnp.zeros((n, n)).at[A.pattern.rows, A.pattern.columns].set(v)
        return jnp.sum(jnp.sin(jnp.linalg.solve(D, b))) + jnp.linalg.slogdet(D)[1]

    np.testing.assert_allclose(jax.grad(sparse)(A.values), jax.grad(dense)(A.values), rtol=1e-8)
    t = jnp.asarray(np.random.default_rng(3).normal(size=A.nnz))
    got, want = (
        jax.jit(jax.jvp, static_argnums=0)(jax.grad(f), (A.values,), (t,))[1]
        for f in (sparse, dense)
    )
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8 * np.abs(want).max())


# --- room -----------------------------------------------------------------------------------------


def hard(n=400, seed=3):
    """Pivots on the tiny diagonal are refused, so that the prediction is far too small."""
    rng = np.random.default_rng(seed)
    A = sp.random_array((n, n), density=3.0 / n, rng=rng).tocsc()
    return cx.from_scipy(
        sp.csc_array(A + 1e-12 * sp.eye_array(n) + sp.eye_array(n, k=7) + sp.eye_array(n, k=7 - n))
    )


def test_eager_calls_take_the_room_they_need(monkeypatch):
    monkeypatch.setattr("cholax.analysis.lu_plan.GENEROUS_BELOW", 0)
    monkeypatch.setattr("cholax.analysis.lu_plan.CAPACITY", 0.05)
    A = hard()
    first = analyze_lu(A.pattern)
    inside = jax.jit(cx.lu)(A)
    assert int(inside.status) == LUStatus.OUT_OF_ROOM
    assert np.isnan(inside.solve(jnp.ones(A.n))).all()
    with pytest.raises(FactorSizeError, match="raise `capacity`"):
        cx.checked(jax.jit(cx.lu))(A)
    for _ in range(2):
        F = cx.lu(A, throw=True)
        assert F.plan.capacity > first.capacity
        b = jnp.ones(A.n)
        np.testing.assert_allclose(A @ F.solve(b), b, atol=1e-8)
        np.testing.assert_allclose(cx.solve(A, b), F.solve(b), rtol=1e-8)
    # What the caller fixed stays.
    assert int(cx.lu(A, ordering=first).status) == LUStatus.OUT_OF_ROOM


def test_room_ends_where_the_factors_are_full():
    plan = analyze_lu(hard().pattern)
    while (wider := plan.roomier()) is not None:
        assert plan.capacity < wider.capacity <= plan.n * (plan.n + 1)
        assert wider != plan
        plan = wider
    assert plan.capacity == plan.n * (plan.n + 1)


# --- small and odd matrices -----------------------------------------------------------------------


def lower(n):
    rng = np.random.default_rng(n)
    return np.tril(rng.normal(size=(n, n))) + 3 * np.eye(n)


ODD = {
    "permuted triangle": lower(9)[::-1][:, np.random.default_rng(0).permutation(9)],
    "quasi-definite": np.block([[2 * np.eye(3), np.ones((3, 2))], [np.ones((2, 3)), -np.eye(2)]]),
    "zero diagonal": np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 2.0], [0.0, 3.0, 4.0]]),
    "exchange": np.eye(5)[::-1],
    "1 × 1": np.array([[-2.0]]),
}


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_odd_matrices_with_every_entry_stored(name, traced):
    dense = ODD[name]
    n = dense.shape[0]
    rows, columns = np.indices((n, n)).reshape(2, -1)
    A = cx.from_coo(dense.ravel(), rows, columns, (n, n))
    assert A.nnz == n * n
    F = (jax.jit(cx.lu) if traced else cx.lu)(A)
    b = np.arange(1.0, n + 1)
    np.testing.assert_allclose(F.solve(b), np.linalg.solve(dense, b), rtol=1e-9, atol=1e-12)
    sign, log = np.linalg.slogdet(dense)
    np.testing.assert_allclose(F.slogdet(), (sign, log), rtol=1e-9, atol=1e-12)


def test_duplicates_that_cancel_on_the_diagonal():
    A = cx.from_coo(np.array([2.0, -2.0, 1.0, 1.0]), [0, 0, 0, 1], [0, 0, 1, 0], (2, 2))
    np.testing.assert_allclose(cx.lu(A).solve(jnp.array([3.0, 4.0])), [4.0, 3.0])


@pytest.mark.parametrize(
    ("dense", "where"),
    [
        ([[0.0]], "row 0 holds no nonzero entry"),
        ([[1.0, 2.0], [0.0, 0.0]], "row 1 holds no nonzero entry"),
        ([[1.0, 0.0], [2.0, 0.0]], "column 1 holds no nonzero entry"),
        ([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [1.0, 3.0, 4.0]], "find no row of their own"),
    ],
)
def test_structurally_singular_matrices_name_a_row_or_a_column(dense, where):
    dense = np.array(dense)
    n = dense.shape[0]
    rows, columns = np.indices((n, n)).reshape(2, -1)
    for A in (cx.from_coo(dense.ravel(), rows, columns, (n, n)), cx.from_dense(dense)):
        F = cx.lu(A)
        assert int(F.status) == LUStatus.SINGULAR
        assert np.isnan(F.solve(jnp.ones(n))).all()
        with pytest.raises(SingularMatrixError, match=where):
            F.check()
        with pytest.raises(SingularMatrixError, match=where):
            cx.checked(jax.jit(cx.lu))(A)


def test_the_member_that_is_singular_says_where():
    pattern = cx.from_dense(np.ones((2, 2))).pattern
    stack = jnp.array([[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, 1.0]])
    F = jax.vmap(lambda v: cx.lu(cx.SparseMatrix(v, pattern)))(stack)
    with pytest.raises(SingularMatrixError, match=r"row 0 holds no .*batch member 1"):
        F.check()
