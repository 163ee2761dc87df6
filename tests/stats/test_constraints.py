"""Constrained factorisations against dense bases: singular matrices, islands, fixing variables,
failures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
import cholax.stats as cs
from cholax.errors import (
    ArgumentError,
    DtypeError,
    ShapeError,
    StructureError,
    UnsupportedError,
)
from cholax.linalg.quasi_definite import quasi_definite
from tests.stats.fields import (
    N,
    Twin,
    dense_of,
    derivatives,
    islands_null_space,
    laplacian,
    regular,
    sparse,
)
from tests.tolerances import assert_close, gradient, value

RNG = np.random.default_rng(7)
TILTED = RNG.normal(size=(2, N))
E = np.array([0.4, -1.3])
B = RNG.normal(size=N)
V = islands_null_space()
# matrix, rows, right-hand side, options
CASES = {
    "regular, no fixing variables": (regular(), TILTED, E, {"fixing": ()}),
    "regular, one fixing variable too few": (regular(), TILTED, E, {"fixing": (5,)}),
    "intrinsic, fixing variables of the constraints": (laplacian(), V.T, None, {}),
    "intrinsic, null space known": (laplacian(), V.T, np.array([1.0, 2.0, 3.0]), {"null_space": V}),
    "intrinsic, tilted": (laplacian(), np.vstack([TILTED, B]), None, {"null_space": V}),
    "as many constraints as variables": (laplacian(), RNG.normal(size=(N, N)), None, {}),
}


DIFFERENTIATED = ("intrinsic, null space known", "regular, no fixing variables")


def everything(Q, constraints, **options):
    factor = cs.constrained_cholesky(Q, constraints, **options)
    return {
        "ok": factor.ok,
        "log_det": factor.log_det(),
        "solve": factor.solve(B),
        "affine": factor.solve_affine(B),
        "diagonal": factor.inverse_diagonal(),
        "covariance": factor.selected_inverse().to_dense(),
    }


def dense_everything(D, A, e, stored):
    twin = Twin(D, A, e)
    return {
        "log_det": twin.log_det,
        "solve": twin.covariance @ B,
        "affine": twin.solve(B),
        "diagonal": twin.covariance.diagonal(),
        "covariance": twin.covariance * stored,
    }


def is_stored(Q):
    return dense_of(Q.pattern, np.ones(Q.nnz))


# The derivatives' test compares the values of the others.
@pytest.mark.parametrize("name", [name for name in CASES if name not in DIFFERENTIATED])
def test_everything_under_constraints_equals_the_dense_basis(name):
    D, A, e, options = CASES[name]
    Q, constraints = sparse(D), cs.Constraints(A, e)
    got = jax.jit(lambda Q, c: everything(Q, c, **options))(Q, constraints)
    assert bool(got["ok"])
    want = dense_everything(D, A, e, is_stored(Q))
    for key in want:
        assert_close(got[key], want[key], value(np.float64))
    assert_close(A @ got["affine"], np.zeros(len(A)) if e is None else e, value(np.float64))


@pytest.mark.parametrize(
    "name",
    [DIFFERENTIATED[0], pytest.param(DIFFERENTIATED[1], marks=pytest.mark.slow)],
)
def test_derivatives_in_all_directions_of_the_values_equal_the_dense_twin(name):
    D, A, e, options = CASES[name]
    Q = sparse(D)
    stored = is_stored(Q)
    rng = np.random.default_rng(3)
    weights = {key: rng.normal(size=N) for key in ("log_det", "affine", "diagonal")}

    def mixed(results):
        return sum(jnp.sum(jnp.sin(results[key]) * weights[key]) for key in weights)

    def sparse_way(values):
        matrix = cx.SparseMatrix(values, Q.pattern)
        return mixed(everything(matrix, cs.Constraints(A, e), **options))

    def dense_way(values):
        return mixed(dense_everything(dense_of(Q.pattern, values), A, e, stored))

    # A direction that does not keep the null space.
    direction = rng.normal(size=Q.nnz)
    got = derivatives(sparse_way)(Q.values, direction)
    want = derivatives(dense_way)(Q.values, direction)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert_close(one, other, gradient(np.float64))


def test_derivative_in_the_right_hand_side_is_that_of_the_affine_solution():
    D, A, e, _ = CASES["regular, no fixing variables"]
    Q = sparse(D)

    def solution(e):
        return cs.constrained_cholesky(Q, cs.Constraints(A, e)).solve_affine(B)

    # Affine: the difference of two solutions is the derivative.
    want = [Twin(D, A, e + d).solve(B) - Twin(D, A, e).solve(B) for d in np.eye(2)]
    assert_close(jax.jit(jax.jacobian(solution))(e), np.transpose(want), gradient(np.float64))


def test_vmap_over_values_gives_each_member_its_own_status():
    Q = sparse(laplacian())

    def run(scale):
        factor = cs.constrained_cholesky(scale * Q, cs.Constraints(V.T), null_space=V)
        return factor.ok, factor.log_det(), factor.sample(jax.random.key(0))

    ok, log_det, draw = jax.jit(jax.vmap(run))(jnp.array([1.0, -1.0, 3.0]))
    assert ok.tolist() == [True, False, True]
    base = Twin(laplacian(), V.T).log_det
    assert_close(log_det[jnp.array([0, 2])], [base, base + 5 * np.log(3.0)], value(np.float64))
    assert np.isnan(log_det[1])
    assert np.isnan(draw[1]).all()
    assert_close(draw[2], draw[0] / np.sqrt(3.0), value(np.float64))


@pytest.mark.parametrize(
    "name",
    [
        "regular, one fixing variable too few",
        pytest.param("intrinsic, null space known", marks=pytest.mark.slow),
    ],
)
def test_draws_are_linear_in_noise_with_the_covariance_under_constraints(name):
    D, A, e, options = CASES[name]
    factor = cs.constrained_cholesky(sparse(D), cs.Constraints(A, e), **options)
    draws = np.asarray(factor.sample(jax.random.key(1), (200, 100)))
    assert draws.shape == (200, 100, N)
    assert_close(draws @ A.T, np.zeros((200, 100, len(A))), value(np.float64))
    flat = draws.reshape(-1, N)
    want = np.asarray(Twin(D, A).covariance)
    sd = np.sqrt(np.outer(np.diag(want), np.diag(want)) + want**2) / np.sqrt(len(flat))
    # 4.5 standard errors in each of 36 entries.
    assert np.all(np.abs(flat.T @ flat / len(flat) - want) <= 4.5 * sd + 1e-12)


def test_intrinsic_log_det_keeps_its_digits_where_the_matrix_is_ill_conditioned():
    n = 1000
    D = sp.diags_array([np.ones(n - 1), -np.ones(n - 1)], offsets=[1, 0], shape=(n - 1, n))
    walk = cx.from_scipy(sp.csc_array(D.T @ D), symmetric=True)
    factor = cs.constrained_cholesky(walk, cs.Constraints(np.ones(n)), null_space=np.ones(n))
    # The product of the non-zero eigenvalues of a path of n nodes is n.
    assert_close(factor.log_det(), np.log(n), value(np.float64) / 100)
    i = np.arange(n)
    exact = (6 * i * (i - n + 1) + (n - 1) * (2 * n - 1)) / (6 * n)
    assert_close(factor.inverse_diagonal() / exact, np.ones(n), value(np.float64))


def test_single_precision_stays_single():
    factor = cs.constrained_cholesky(
        sparse(laplacian(), np.float32), cs.Constraints(V.T), null_space=V
    )
    log_det, variances = factor.log_det(), factor.inverse_diagonal()
    assert log_det.dtype == variances.dtype == np.float32
    twin = Twin(laplacian(), V.T)
    assert_close(log_det, twin.log_det, value(np.float32))
    assert_close(variances, np.diag(twin.covariance), value(np.float32))


@pytest.mark.parametrize("n", [1, 2])
def test_an_affine_subspace_of_no_dimension_has_no_variance(n):
    factor = cs.constrained_cholesky(cx.eye(n), cs.Constraints(np.eye(n), np.full(n, 2.0)))
    assert_close(factor.log_det(), 0.0, value(np.float64))
    assert_close(factor.inverse_diagonal(), np.zeros(n), value(np.float64))
    assert_close(factor.solve_affine(np.ones(n)), np.full(n, 2.0), value(np.float64))


def test_a_zero_matrix_on_one_node_is_fixed_by_its_constraint():
    factor = cs.constrained_cholesky(
        sparse(np.zeros((1, 1))), cs.Constraints(np.ones(1)), null_space=np.ones(1)
    )
    assert bool(factor.ok)
    assert_close(factor.log_det(), 0.0, value(np.float64))


SINGULAR = {
    "no fixing variables at all": {"constraints": None},
    "fixing variables on one island only": {
        "constraints": cs.Constraints(V.T),
        "fixing": (0, 1, 7),
    },
    "no constraint on one island": {"constraints": cs.Constraints(V.T[1:]), "fixing": (0, 4, 7)},
}


@pytest.mark.parametrize(
    "name",
    [
        "no fixing variables at all",
        "fixing variables on one island only",
        pytest.param("no constraint on one island", marks=pytest.mark.slow),
    ],
)
def test_what_is_singular_under_constraints_is_reported_and_not_a_number(name):
    factor = cs.constrained_cholesky(sparse(laplacian()), **SINGULAR[name])
    assert not bool(factor.ok)
    results = factor.log_det(), factor.solve(B), factor.inverse_diagonal()
    assert all(np.isnan(x).all() for x in results)
    assert np.isnan(factor.sample(jax.random.key(0))).all()


def test_definiteness_is_judged_under_constraints():
    # Indefinite, and definite where its entries sum to zero; then indefinite there too.
    linear = cs.Constraints([1.0, 1.0, 1.0])
    inside, outside = np.diag([1.0, 2.0, -0.1]), np.diag([1.0, 2.0, -5.0])
    for D, definite in ((inside, True), (outside, False)):
        Z = Twin(D, linear.A).Z
        assert (np.linalg.eigvalsh(Z.T @ D @ Z).min() > 0) == definite
        factor = cs.constrained_cholesky(sparse(D), linear, fixing=(2,))
        assert bool(factor.ok) == definite


def test_a_null_space_that_is_none_gives_no_numbers():
    factor = cs.constrained_cholesky(sparse(regular()), cs.Constraints(V.T), null_space=V)
    assert not bool(factor.ok)
    assert np.isnan(factor.log_det())


def test_constraints_are_checked_when_they_are_made():
    with pytest.raises(StructureError, match="rank 2 of 3"):
        cs.Constraints([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 2.0, 1.0]])
    with pytest.raises(StructureError, match="row 1 is zero"):
        cs.Constraints(sp.csr_array([[1.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(StructureError, match="finite"):
        cs.Constraints([[1.0, np.nan]])
    with pytest.raises(ShapeError, match="at most as many rows"):
        cs.Constraints(np.ones((3, 2)))
    with pytest.raises(ShapeError, match="One number per row"):
        cs.Constraints(np.ones(3), np.ones(2))
    with pytest.raises(UnsupportedError, match="traced"):
        jax.jit(lambda A: cs.Constraints(A).k)(np.ones((1, 3)))


def test_factorisations_refuse_what_cannot_work():
    Q = sparse(laplacian())
    linear = cs.Constraints(V.T)
    with pytest.raises(ArgumentError, match="distinct"):
        cs.constrained_cholesky(Q, linear, fixing=(1, 1))
    with pytest.raises(ArgumentError, match="determine 2"):
        cs.constrained_cholesky(Q, linear, fixing=(0, 1, 7), null_space=V)
    with pytest.raises(StructureError, match="1 of the 3 directions"):
        cs.constrained_cholesky(Q, cs.Constraints(V.T[:2]), null_space=V)
    with pytest.raises(ShapeError, match="5 variables, the matrix has 8"):
        cs.constrained_cholesky(Q, cs.Constraints(np.ones(5)))
    with pytest.raises(StructureError, match="Constraints object"):
        cs.constrained_cholesky(Q, V.T)
    with pytest.raises(StructureError, match="symmetric SparseMatrix"):
        cs.constrained_cholesky(Q.as_general())
    with pytest.raises(DtypeError, match="one dtype"):
        cs.constrained_cholesky(Q, cs.Constraints(V.T, np.zeros(3, np.float32)))


@pytest.mark.parametrize("k", [1, 2])
def test_coordinates_are_orthonormal_and_reach_all_that_is_left(k):
    linear, exact = cs.Constraints(TILTED[:k], E[:k]), value(np.float64)
    y = RNG.normal(size=(N - k + 1, N - k))
    x = linear.point(y)
    assert_close(linear.residual(x), np.zeros((N - k + 1, k)), exact)
    assert_close(linear.coordinates(x), y, exact)
    differences = np.asarray(x[1:] - x[0])
    assert np.linalg.matrix_rank(differences) == N - k
    assert_close(differences @ differences.T, (y[1:] - y[0]) @ (y[1:] - y[0]).T, exact)
    # The coordinates of a point with A x ≠ e are those of the nearest one with A x = e.
    off = np.asarray(x[0] + B)
    nearest = off - np.linalg.pinv(TILTED[:k]) @ (TILTED[:k] @ off - E[:k])
    assert_close(linear.point(linear.coordinates(off)), nearest, exact)
    assert_close(linear.project(off), nearest, exact)


@pytest.mark.parametrize(("positive", "negative"), [(1, 1), (3, 2)])
def test_small_inverses_take_signs_and_sizes_from_the_pivots(positive, negative):
    m = positive + negative
    rng = np.random.default_rng(m)
    M, T = (np.diag(rng.uniform(1, 2, k)) for k in (positive, negative))
    N_ = rng.normal(size=(positive, negative))
    S = np.block([[M, N_], [N_.T, -T]])
    inverse, log_det, margin = quasi_definite(S, np.ones(m), positive)
    assert_close(inverse, np.linalg.inv(S), value(np.float64))
    assert_close(log_det, np.linalg.slogdet(S)[1], value(np.float64))
    assert float(margin) > 0
    assert float(quasi_definite(-S, np.ones(m), positive)[2]) < 0


@pytest.mark.parametrize("method", ["residual", "project", "coordinates", "point"])
@pytest.mark.parametrize("shape", [(), (N + 1,), (N, 3)])
def test_vectors_of_another_length_are_refused(method, shape):
    with pytest.raises(ShapeError, match=f"Constraints.{method}: need an array of shape"):
        getattr(cs.Constraints(TILTED, E), method)(np.zeros(shape))
