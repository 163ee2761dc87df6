"""`cx.cholesky` and every method of the factor, against dense NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
from cholax._core.errors import ArgumentError, ShapeError, SparsityError, StructureError
from cholax.ordering import OrderingError
from tests.linalg.twins import assert_close, grid_problem, random_problem, tol

RNG = np.random.default_rng(7)
PROBLEMS = {
    "random": random_problem(13, 20),
    "grid": grid_problem(5, 7),
    "dense": random_problem(6, 60),
    "wide front": random_problem(40, 400, seed=2),
}
SHUFFLED = np.random.default_rng(3).permutation
ORDERINGS = ("auto", "amd", "nested_dissection", "rcm", "natural", "permutation")
DTYPES = ("float64", "float32")


@pytest.fixture(params=PROBLEMS)
def problem(request):
    return PROBLEMS[request.param]


@pytest.fixture(params=ORDERINGS)
def ordering(request):
    if request.param == "permutation":
        return lambda n: SHUFFLED(n)
    return lambda n: request.param


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


def factor(problem, dtype="float64", **options):
    return cx.cholesky(problem.matrix(problem.values.astype(dtype)), **options)


def dense(problem):
    return np.asarray(problem.dense())


def inverse_of(problem):
    return np.linalg.inv(dense(problem))


def right_hand_side(problem, *k, dtype="float64"):
    return np.random.default_rng(11).standard_normal((problem.n, *k)).astype(dtype)


# --- solve, log-determinant, inverse -------------------------------------------------------------


def test_solve_inverts_the_matrix(problem, dtype):
    b = right_hand_side(problem, dtype=dtype)
    x = factor(problem, dtype).solve(b)
    assert x.shape == b.shape
    assert x.dtype == dtype
    assert_close(x, np.linalg.solve(dense(problem), b), tol.value(dtype))


@pytest.mark.parametrize("k", [0, 1, 2, 5, 33])
def test_solve_takes_many_right_hand_sides_as_columns(k):
    problem = PROBLEMS["grid"]
    B = right_hand_side(problem, k)
    X = factor(problem).solve(B)
    assert X.shape == B.shape
    assert_close(X, np.linalg.solve(dense(problem), B), tol.value("float64"))


def test_right_hand_sides_of_any_memory_layout_are_read_alike():
    problem = PROBLEMS["grid"]
    F, B = factor(problem), right_hand_side(problem, 4)
    want = F.solve(B)
    strided = np.zeros((2 * problem.n, 4))
    strided[::2] = B
    for other in (np.asfortranarray(B), strided[::2], B.tolist(), jnp.asarray(B)):
        np.testing.assert_array_equal(F.solve(other), want)


def test_log_det_is_that_of_the_matrix(problem, dtype):
    got = factor(problem, dtype).log_det()
    assert got.shape == ()
    assert got.dtype == dtype
    assert_close(got, np.linalg.slogdet(dense(problem))[1], tol.value(dtype))


def test_pivots_are_what_elimination_leaves_of_the_diagonal():
    A = np.array([[4.0, 2.0, 0.0], [2.0, 5.0, 4.0], [0.0, 4.0, 9.0]])
    F = cx.cholesky(cx.from_dense(jnp.asarray(A), symmetric=True), ordering=np.array([2, 0, 1]))
    np.testing.assert_allclose(F.pivots(), [4.0, 5.0 - 1.0 - 16.0 / 9.0, 9.0], rtol=1e-15)
    np.testing.assert_allclose(jnp.sum(jnp.log(F.pivots())), F.log_det(), rtol=1e-14)


def test_inverse_diagonal_is_that_of_the_inverse(problem, dtype):
    got = factor(problem, dtype).inverse_diagonal()
    assert_close(got, np.diag(inverse_of(problem)), tol.value(dtype))


def test_selected_inverse_has_the_inverse_on_the_pattern_of_the_matrix(problem, dtype):
    Z = factor(problem, dtype).selected_inverse()
    assert Z.pattern == problem.pattern
    want = inverse_of(problem)[problem.pattern.rows, problem.pattern.columns]
    assert_close(Z.values, want, tol.value(dtype))


def test_filled_selected_inverse_covers_the_factor_and_its_transpose(problem):
    F = factor(problem)
    Z = F.selected_inverse("filled")
    assert Z.symmetric
    assert Z.nnz == F.plan.nnz_factor
    assert_close(
        Z.values, inverse_of(problem)[Z.pattern.rows, Z.pattern.columns], tol.value("float64")
    )
    L = np.asarray(F.lower().to_dense()) != 0
    filled = np.zeros((problem.n, problem.n), bool)
    filled[np.ix_(F.perm, F.perm)] = L | L.T
    assert (np.asarray(Z.to_dense() != 0) >= filled).all()


def test_selected_inverse_takes_any_subset_symmetric_or_not():
    problem = PROBLEMS["random"]
    F, inverse = factor(problem), inverse_of(problem)
    filled = F.selected_inverse("filled").as_general()
    rows, columns = filled.pattern.rows, filled.pattern.columns
    some = np.flatnonzero(RNG.random(rows.size) < 0.4)  # both triangles, unsymmetric
    subset = cx.from_coo(np.ones(some.size), rows[some], columns[some], (problem.n,) * 2).pattern
    Z = F.selected_inverse(subset)
    assert Z.pattern == subset
    assert not Z.symmetric
    assert_close(Z.values, inverse[subset.rows, subset.columns], tol.value("float64"))
    upper = cx.Pattern((problem.n,) * 2, *_compressed(np.triu(np.eye(problem.n))))
    assert_close(F.selected_inverse(upper).values, np.diag(inverse), tol.value("float64"))
    nothing = cx.Pattern((problem.n,) * 2, np.zeros(problem.n + 1, int), [])
    assert F.selected_inverse(nothing).values.shape == (0,)


def _compressed(mask):
    A = sp.csc_array(mask)
    return A.indptr, A.indices


def test_selected_inverse_outside_the_filled_pattern_is_refused_naming_the_entry():
    problem = PROBLEMS["grid"]
    n = problem.n
    F = factor(problem, ordering="natural")
    corner = cx.Pattern((n, n), np.append(0, np.ones(n, int)), [n - 1])
    with pytest.raises(SparsityError, match=rf"inside the filled pattern.*entry \({n - 1}, 0\)"):
        F.selected_inverse(corner)
    with pytest.raises(SparsityError, match=rf"entry \({n - 1}, 0\)"):
        cx.selected_inverse(problem.matrix(), corner, ordering="natural")
    with pytest.raises(StructureError, match="None, \"filled\" or a Pattern, got 'all'"):
        F.selected_inverse("all")
    with pytest.raises(StructureError, match=r"shape \(35, 35\), got \(13, 13\)"):
        F.selected_inverse(PROBLEMS["random"].pattern)


# --- L itself ------------------------------------------------------------------------------------


def test_lower_times_its_transpose_is_the_permuted_matrix(problem, ordering, dtype):
    F = factor(problem, dtype, ordering=ordering(problem.n))
    L = F.lower()
    assert L.nnz == F.plan.nnz_factor
    assert (L.pattern.rows >= L.pattern.columns).all()
    assert sorted(F.perm.tolist()) == list(range(problem.n))
    L = np.asarray(L.to_dense(), np.float64)
    assert_close(L @ L.T, dense(problem)[np.ix_(F.perm, F.perm)], tol.value(dtype))


def test_lower_is_the_dense_factor_of_the_permuted_matrix(problem):
    F = factor(problem)
    want = np.linalg.cholesky(dense(problem)[np.ix_(F.perm, F.perm)])
    assert_close(F.lower().to_dense(), want, tol.value("float64"))


def test_half_solves_multiply_by_the_inverse_factor_and_its_transpose(problem, dtype):
    F = factor(problem, dtype)
    L = np.linalg.cholesky(dense(problem)[np.ix_(F.perm, F.perm)])
    for k in ((), (3,)):
        b = right_hand_side(problem, *k, dtype=dtype)
        half = F.half_solve(b)
        assert_close(half, np.linalg.solve(L, b[F.perm]), tol.value(dtype))
        back = np.zeros_like(b)
        back[F.perm] = np.linalg.solve(L.T, b)
        assert_close(F.half_solve_t(b), back, tol.value(dtype))


def test_two_half_solves_are_a_solve_and_their_norm_the_quadratic_form(problem):
    F, b = factor(problem), right_hand_side(problem)
    half = F.half_solve(b)
    assert_close(F.half_solve_t(half), F.solve(b), tol.value("float64"))
    assert_close(half @ half, b @ np.linalg.solve(dense(problem), b), tol.value("float64"))


def test_half_solves_are_adjoint(problem):
    F, b, z = factor(problem), right_hand_side(problem), right_hand_side(problem)[::-1]
    assert_close(z @ F.half_solve(b), F.half_solve_t(z) @ b, tol.value("float64"))


# --- sampling ------------------------------------------------------------------------------------


def test_sample_is_the_transposed_half_solve_of_white_noise(problem):
    """So it is linear in z, with mean zero."""
    F, key = factor(problem), jax.random.key(5)
    z = jax.random.normal(key, (problem.n, 1))
    assert_close(F.sample(key), F.half_solve_t(z)[:, 0], 0.0)
    assert_close(F.half_solve_t(2 * z - 3), 2 * F.half_solve_t(z) - 3 * F.half_solve_t(z**0), 1e-13)


def test_covariance_of_samples_is_the_inverse(problem):
    """Exactly: x = M z with white z has covariance M Mᵀ."""
    M = np.asarray(factor(problem).half_solve_t(np.eye(problem.n)))
    assert_close(M @ M.T, inverse_of(problem), tol.value("float64"))


def test_sample_shapes_lead_and_keys_reproduce():
    F, n = factor(PROBLEMS["grid"]), PROBLEMS["grid"].n
    key = jax.random.key(1)
    for shape, want in (((), (n,)), (4, (4, n)), (np.int64(4), (4, n)), ((2, 3), (2, 3, n))):
        assert F.sample(key, shape).shape == want
    assert F.sample(key, (0, 2)).shape == (0, 2, n)
    np.testing.assert_array_equal(F.sample(key, (2, 3)), F.sample(key, (2, 3)))
    draws = F.sample(key, (2, 3)).reshape(6, n)
    assert np.unique(np.asarray(draws), axis=0).shape == (6, n)
    assert not np.array_equal(F.sample(jax.random.key(2)), F.sample(key))
    assert F.sample(jax.random.PRNGKey(1)).shape == (n,)
    with pytest.raises(ShapeError, match=r"must not be negative, got shape \(-1,\)"):
        F.sample(key, -1)


def test_samples_keep_the_dtype_of_the_matrix():
    assert factor(PROBLEMS["grid"], "float32").sample(jax.random.key(0)).dtype == np.float32


# --- status, orderings, the object ---------------------------------------------------------------


def test_status_of_a_positive_definite_matrix_is_ok(problem):
    F = factor(problem)
    assert bool(F.ok)
    assert int(F.pivot) == -1
    assert cx.checked(F) is F
    assert F.n == problem.n


@pytest.mark.parametrize("bad", [0, 4, 8])
def test_pivot_names_the_row_of_the_matrix_under_every_ordering(bad, ordering):
    """One negative diagonal entry, coupled to nothing else."""
    values = np.ones(9)
    values[bad] = -1.0
    A = cx.SparseMatrix(values, cx.eye(9).pattern)
    F = cx.cholesky(A, ordering=ordering(9))
    assert not bool(F.ok)
    assert int(F.pivot) == bad


def test_every_ordering_gives_the_same_results(problem, ordering):
    F = factor(problem, ordering=ordering(problem.n))
    b = right_hand_side(problem)
    assert_close(F.solve(b), np.linalg.solve(dense(problem), b), tol.value("float64"))
    assert_close(F.log_det(), np.linalg.slogdet(dense(problem))[1], tol.value("float64"))
    assert_close(F.inverse_diagonal(), np.diag(inverse_of(problem)), tol.value("float64"))


def test_natural_and_given_orderings_are_kept_exactly(problem):
    n = problem.n
    np.testing.assert_array_equal(factor(problem, ordering="natural").perm, np.arange(n))
    perm = SHUFFLED(n)
    for given in (perm, perm.tolist(), jnp.asarray(perm)):
        np.testing.assert_array_equal(factor(problem, ordering=given).perm, perm)


def test_amd_fills_less_than_the_natural_order_of_a_grid():
    problem = grid_problem(20, 20)
    natural = cx.analyze(problem.pattern, "natural").nnz_factor
    for ordering in ("amd", "auto", "nested_dissection"):
        assert cx.analyze(problem.pattern, ordering).nnz_factor < 0.6 * natural
    assert cx.analyze(problem.pattern, "rcm").nnz_factor < natural


def test_a_plan_may_stand_in_for_the_ordering():
    problem = PROBLEMS["grid"]
    plan = cx.analyze(problem.pattern, "rcm")
    F = factor(problem, ordering=plan)
    assert F.plan is plan
    assert cx.analyze(problem.pattern, "rcm") is plan
    with pytest.raises(StructureError, match="plan was made for another pattern"):
        factor(PROBLEMS["random"], ordering=plan)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("metis", 'need one of "auto"'),
        ([0, 1], "must have 35 entries, got 2"),
        ([0] * 35, "each index once"),
        (np.arange(35.0), "must hold integers"),
        (None, "need a name, a permutation or a strategy"),
    ],
)
def test_bad_orderings_are_refused(bad, message):
    with pytest.raises(OrderingError, match=message):
        factor(PROBLEMS["grid"], ordering=bad)


def test_factor_is_a_pytree_that_passes_through_jit():
    problem = PROBLEMS["grid"]
    F, b = factor(problem), right_hand_side(problem)
    with cx.testing.count_kernel_calls() as calls:
        x = jax.block_until_ready(jax.jit(lambda F, b: F.solve(b))(F, b))
    assert calls == {"solve": 1}  # the factor came along
    assert_close(x, F.solve(b), 0.0)
    again = jax.jit(lambda A: cx.cholesky(A))(F.A)
    assert isinstance(again, cx.Factor)
    assert_close(again.solve(b), x, 0.0)
    leaves, tree = jax.tree.flatten(F)
    assert len(leaves) == 3
    assert jax.tree.unflatten(tree, leaves).plan is F.plan
    assert repr(F) == f"Factor(n=35, nnz(L)={F.plan.nnz_factor}, dtype=float64)"


def test_explicit_zeros_change_nothing_but_the_pattern():
    lower = np.array([[4.0, 0, 0], [0, 5, 0], [2, 0, 6]])
    full = lower + np.tril(lower, -1).T
    pattern = cx.Pattern((3, 3), [0, 3, 5, 6], [0, 1, 2, 1, 2, 2], symmetric=True)
    A = cx.from_dense(full, pattern=pattern)
    assert A.nnz == 6
    F = cx.cholesky(A)
    assert_close(F.log_det(), np.linalg.slogdet(full)[1], tol.value("float64"))
    assert_close(F.selected_inverse().to_dense(), np.linalg.inv(full), tol.value("float64"))


# --- short cuts ----------------------------------------------------------------------------------


def test_short_cuts_agree_with_the_factor(problem):
    A, F, b = problem.matrix(), factor(problem), right_hand_side(problem)
    assert_close(cx.solve(A, b), F.solve(b), 0.0)
    assert_close(cx.log_det(A), F.log_det(), 0.0)
    assert_close(cx.inverse_diagonal(A), F.inverse_diagonal(), 0.0)
    for pattern in (None, "filled", problem.pattern):
        got = cx.selected_inverse(A, pattern)
        assert got.pattern == F.selected_inverse(pattern).pattern
        assert_close(got.values, F.selected_inverse(pattern).values, 0.0)


def test_short_cuts_take_an_ordering(ordering):
    problem = PROBLEMS["random"]
    A, order = problem.matrix(), ordering(problem.n)
    b = right_hand_side(problem)
    inverse = inverse_of(problem)
    assert_close(cx.solve(A, b, ordering=order), inverse @ b, tol.value("float64"))
    want = np.linalg.slogdet(dense(problem))[1]
    assert_close(cx.log_det(A, ordering=order), want, tol.value("float64"))
    assert_close(cx.inverse_diagonal(A, ordering=order), np.diag(inverse), tol.value("float64"))
    Z = cx.selected_inverse(A, ordering=order)
    want = inverse[problem.pattern.rows, problem.pattern.columns]
    assert_close(Z.values, want, tol.value("float64"))


def test_quadratic_form_is_that_of_the_full_matrix(problem):
    x = right_hand_side(problem)
    got = cx.quadratic_form(problem.matrix(), x)
    assert_close(got, x @ dense(problem) @ x, tol.value("float64"))


def test_algebra_feeds_the_factor_without_leaving_the_trace():
    """log|κI + BᵀDB|, the way a model builds its precision."""
    problem = PROBLEMS["grid"]
    B = cx.from_scipy(sp.random_array((20, problem.n), density=0.1, rng=RNG, format="csc"))
    dense_B = np.asarray(B.to_dense())

    @jax.jit
    def f(kappa, d):
        return cx.log_det(kappa * problem.matrix() + cx.congruence(B, d))

    d = np.linspace(0.5, 1.5, 20)
    want = np.linalg.slogdet(2.5 * dense(problem) + dense_B.T @ (d[:, None] * dense_B))[1]
    assert_close(f(2.5, d), want, tol.value("float64"))
    inverse = np.linalg.inv(2.5 * dense(problem) + dense_B.T @ (d[:, None] * dense_B))
    gradient = jax.grad(f, argnums=(0, 1))(2.5, d)
    want = np.trace(inverse @ dense(problem)), np.diag(dense_B @ inverse @ dense_B.T)
    assert_close(gradient, want, tol.gradient("float64"))


def test_factor_and_lu_answer_to_the_same_calls():
    A = PROBLEMS["grid"].matrix()
    F, G = cx.cholesky(A), cx.lu(A)
    b = np.linspace(-1.0, 1.0, A.n)
    for x in (F.solve(b, transpose=True), G.solve(b, transpose=True), G.solve(b)):
        np.testing.assert_allclose(x, F.solve(b), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(F.slogdet(), G.slogdet(), rtol=1e-12)
    np.testing.assert_allclose(F.log_det(), G.log_det(), rtol=1e-12)
    with pytest.raises(TypeError, match="positional"):
        G.solve(b, True)
    with pytest.raises(ArgumentError, match="transpose must be True or False"):
        F.solve(b, transpose="yes")
    bad = cx.cholesky(-1.0 * cx.eye(2)).slogdet()
    assert np.isnan(bad).all()
