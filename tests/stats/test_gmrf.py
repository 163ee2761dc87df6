"""Gaussian Markov random fields against dense computations by eigenvalues and bases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
import cholax.stats as cs
from cholax.errors import DtypeError, ShapeError, StructureError
from cholax.stats.gmrf import Moments
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

RNG = np.random.default_rng(11)
MEAN = RNG.normal(size=N)
X = RNG.normal(size=(3, N))
V = islands_null_space()
A = RNG.normal(size=(2, N))
E = np.array([0.7, -0.2])
HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


def eigen_log_prob(x, mean, D):
    """Rue & Held, section 3.2: by the non-zero eigenvalues."""
    sizes = np.linalg.eigvalsh(D)
    sizes = sizes[sizes > 1e-10 * sizes[-1]]
    r = x - mean
    return 0.5 * (np.log(sizes).sum() - len(sizes) * np.log(2 * np.pi) - np.sum(r * (r @ D), -1))


def multivariate_normal(x, mean, covariance):
    r = x - mean
    k = len(mean)
    log_det = np.linalg.slogdet(covariance)[1]
    return -0.5 * (log_det + r @ np.linalg.solve(covariance, r)) - k * HALF_LOG_2PI


def test_density_of_an_intrinsic_field_is_that_of_the_non_zero_eigenvalues():
    field = cs.GMRF(MEAN, sparse(laplacian()), null_space=V)
    assert (field.rank, field.n) == (N - 3, N)
    assert_close(field.log_prob(X), eigen_log_prob(X, MEAN, laplacian()), 1e-12)
    # The density does not change along the null space.
    assert_close(field.log_prob(X + V @ [1.0, -2.0, 5.0]), field.log_prob(X), value(np.float64))
    sizes = np.linalg.eigvalsh(laplacian())[3:]
    assert_close(field.log_det(), np.log(sizes).sum(), 1e-12)
    assert_close(field.entropy(), 2.5 * (1 + np.log(2 * np.pi)) - 0.5 * np.log(sizes).sum(), 1e-12)
    assert_close(field.marginal_variance(), np.diag(np.linalg.pinv(laplacian(), 1e-10)), 1e-12)


def test_density_under_constraints_is_the_conditional_one():
    D = regular()
    field = cs.GMRF(MEAN, sparse(D), cs.Constraints(A, E))
    S = np.linalg.inv(D)
    gain = S @ A.T @ np.linalg.inv(A @ S @ A.T)
    assert_close(field.mean, MEAN + gain @ (E - A @ MEAN), value(np.float64))
    assert_close(field.marginal_variance(), np.diag(S - gain @ A @ S), value(np.float64))
    x = np.asarray(field.support.project(X[0]))
    want = multivariate_normal(x, MEAN, S) - multivariate_normal(E, A @ MEAN, A @ S @ A.T)
    want -= 0.5 * np.linalg.slogdet(A @ A.T)[1]
    assert_close(field.log_prob(x), want, value(np.float64))


def test_density_with_one_constraint_of_three_null_vectors_is_flat_along_the_others():
    total = cs.Constraints(np.ones(N), np.array([4.0]))
    field = cs.GMRF(MEAN, sparse(laplacian()), total, null_space=V)
    assert field.rank == N - 3
    assert_close(field.mean.sum(), 4.0, value(np.float64))
    flat = V @ [1.0, 2.0, -10.0]
    assert_close(np.ones(N) @ flat, 0.0, value(np.float64))
    x = np.asarray(total.project(X[0]))
    assert_close(field.log_prob(x + flat), field.log_prob(x), value(np.float64))
    # On the support given by all three, held at the mean, it is the density of the dense basis.
    twin = Twin(laplacian(), field.support.A)
    assert_close(field.log_prob(x), twin.log_prob(x, np.asarray(field.mean)), value(np.float64))


def mixed(field, weights):
    """One number made of all that a field computes."""
    y, B = X[0, :2], X[1:]
    posterior = field.condition(A, y, jnp.array([1.5, 0.4]))
    parts = {
        "log_prob": field.log_prob(X[2]),
        "variance": field.marginal_variance(),
        "combination": field.linear_combination(B).variance,
        "posterior": posterior.mean,
    }
    return sum(jnp.sum(jnp.sin(part) * weights[name]) for name, part in parts.items())


def dense_mixed(D, mean, rows, e, weights):
    y, B = X[0, :2], X[1:]
    twin = Twin(D, rows, e)
    m = mean + Twin(D, rows, e - rows @ mean).start
    m = m + twin.covariance @ (D @ (mean - m))
    R = jnp.diag(jnp.array([1.5, 0.4]))
    after = Twin(D + A.T @ R @ A, rows, e)
    posterior = after.solve(D @ mean + A.T @ R @ y)
    parts = {
        "log_prob": twin.log_prob(X[2], m),
        "variance": twin.covariance.diagonal(),
        "combination": (B @ twin.covariance @ B.T).diagonal(),
        "posterior": posterior,
    }
    return sum(jnp.sum(jnp.sin(part) * weights[name]) for name, part in parts.items())


@pytest.mark.slow
def test_derivatives_in_values_and_mean_equal_the_dense_twin():
    Q = sparse(laplacian())
    e = np.array([0.5, -1.0, 2.0])
    rng = np.random.default_rng(5)
    sizes = {"log_prob": (), "variance": N, "combination": 2, "posterior": N}
    weights = {name: rng.normal(size=size) for name, size in sizes.items()}

    def sparse_way(packed):
        precision = cx.SparseMatrix(packed[N:], Q.pattern)
        return mixed(cs.GMRF(packed[:N], precision, cs.Constraints(V.T, e), null_space=V), weights)

    def dense_way(packed):
        return dense_mixed(dense_of(Q.pattern, packed[N:]), packed[:N], V.T, e, weights)

    point = jnp.concatenate([MEAN, Q.values])
    direction = rng.normal(size=point.size)
    got = derivatives(sparse_way)(point, direction)
    want = derivatives(dense_way)(point, direction)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert_close(one, other, gradient(np.float64))


def test_draws_have_the_mean_of_the_field_and_keep_to_the_support():
    field = cs.GMRF(MEAN, sparse(laplacian()), cs.Constraints(V.T, np.ones(3)), null_space=V)
    draws = np.asarray(field.sample(jax.random.key(0), 4000))
    assert_close(draws @ V, np.ones((4000, 3)), value(np.float64))
    want = np.linalg.pinv(laplacian(), 1e-10)
    spread = np.sqrt(np.diag(want) / 4000)
    assert np.all(np.abs(draws.mean(axis=0) - np.asarray(field.mean)) <= 4.5 * spread + 1e-12)
    # A lonely node fixed by its constraint does not vary.
    assert_close(draws[:, 7], np.ones(4000), value(np.float64))


@pytest.mark.parametrize("kind", ["number", "vector", "matrix"])
def test_noisy_observations_add_their_precision(kind):
    R = np.diag([0.5, 2.0]) if kind == "vector" else np.eye(2) * 1.5
    R = np.array([[2.0, 0.5], [0.5, 1.0]]) if kind == "matrix" else R
    noise = {"number": 1.5, "vector": np.diag(R), "matrix": sparse(R)}[kind]
    prior = cs.GMRF(MEAN, sparse(regular()))
    y = np.array([3.0, -2.0])
    observed = A if kind == "vector" else cx.from_dense(jnp.asarray(A))
    posterior = prior.condition(observed, y, noise)
    precision = regular() + A.T @ R @ A
    assert_close(posterior.precision.to_dense(), precision, value(np.float64))
    want = MEAN + np.linalg.solve(precision, A.T @ R @ (y - A @ MEAN))
    assert_close(posterior.mean, want, value(np.float64))


def test_observations_make_an_intrinsic_field_proper_where_they_see_it():
    prior = cs.GMRF(0.0, sparse(laplacian()), null_space=V)
    B = np.zeros((2, N))
    B[0, 0] = B[1, 5] = 1.0
    y = np.array([2.0, np.nan])
    one = prior.condition(B, y, np.array([3.0, 0.0]))
    assert one.null_space.shape == (N, 2)
    assert_close(one.mean[:4], np.full(4, 2.0), value(np.float64))
    assert_close(one.mean[4:], np.zeros(4), value(np.float64))
    both = prior.condition(np.vstack([B, np.eye(N)[7]]), np.array([2.0, 1.0, 0.0]), 3.0)
    assert both.null_space.shape == (N, 0)
    assert_close(both.marginal_variance()[7], 1 / 3, value(np.float64))


def test_exact_observations_are_constraints_and_draws_meet_them():
    prior = cs.GMRF(MEAN, sparse(regular()), cs.Constraints(A[:1], E[:1]))
    given = prior.condition(A[1:], E[1:])
    both = cs.GMRF(MEAN, sparse(regular()), cs.Constraints(A, E))
    assert_close(given.mean, both.mean, value(np.float64))
    assert_close(given.marginal_variance(), both.marginal_variance(), value(np.float64))
    draw = prior.sample_conditional(jax.random.key(0), A[1:], E[1:], shape=3)
    assert_close(draw @ A.T, np.broadcast_to(E, (3, 2)), value(np.float64))


def test_linear_combinations_by_entries_and_by_solves_agree():
    field = cs.GMRF(MEAN, sparse(laplacian()), null_space=V)
    B = np.zeros((4, N))
    # Two rows within islands, one across them (outside the factor), one empty.
    B[0, 0], B[0, 2], B[1, 4], B[2, 1], B[2, 6] = 1.0, -2.0, 3.0, 1.0, 1.0
    by_solves = field.linear_combination(B)
    by_entries = field.linear_combination(cx.from_dense(jnp.asarray(B)))
    want = Moments(B @ MEAN, np.diag(B @ np.linalg.pinv(laplacian(), 1e-10) @ B.T))
    for got in (by_solves, by_entries):
        assert_close(got.mean, want.mean, value(np.float64))
        assert_close(got.variance, want.variance, value(np.float64))


def test_covariances_are_given_on_any_pattern():
    field = cs.GMRF(MEAN, sparse(laplacian()), null_space=V)
    far = cx.from_coo(np.ones(2), [7, 0], [0, 6], (N, N)).pattern
    want = np.linalg.pinv(laplacian(), 1e-10)
    assert_close(field.covariance_on_pattern(far).to_dense()[0, 6], want[0, 6], value(np.float64))
    own = field.covariance_on_pattern()
    i, j = own.pattern.rows, own.pattern.columns
    assert_close(own.values, want[i, j], value(np.float64))


def test_divergence_is_the_dense_one_and_zero_for_the_same_field():
    p = cs.GMRF(MEAN, sparse(laplacian()), null_space=V)
    D = laplacian(1, edges=((0, 2), (2, 1), (1, 3), (4, 5), (4, 6)))
    q = cs.GMRF(np.zeros(N), sparse(D), null_space=V)
    log_dets = [np.log(np.linalg.eigvalsh(M)[3:]).sum() for M in (laplacian(), D)]
    want = np.trace(D @ np.linalg.pinv(laplacian(), 1e-10)) - 5 + MEAN @ D @ MEAN
    want = 0.5 * (want + log_dets[0] - log_dets[1])
    assert_close(p.kl(q), want, value(np.float64))
    assert_close(p.kl(p), 0.0, value(np.float64))
    with pytest.raises(StructureError, match="one support"):
        p.kl(cs.GMRF(0.0, sparse(regular())))
    held = [cs.GMRF(0.0, sparse(regular()), cs.Constraints(A, e)) for e in (E, E + 1.0)]
    assert np.isinf(held[0].kl(held[1]))


def test_batches_of_points_and_of_precisions():
    Q = sparse(laplacian())
    points = X.reshape(3, 1, N)

    def density(scale):
        return cs.GMRF(MEAN, scale * Q, null_space=V).log_prob(points)

    got = jax.jit(jax.vmap(density))(jnp.array([0.5, 2.0]))
    want = [eigen_log_prob(points, MEAN, s * laplacian()) for s in (0.5, 2.0)]
    assert_close(got, want, value(np.float64))


def test_a_known_determinant_saves_the_factorisation():
    Q = sparse(laplacian())
    field = cs.GMRF(0.0, Q, cs.Constraints(V.T), null_space=V)
    known = cs.GMRF(0.0, Q, cs.Constraints(V.T), null_space=V, log_det=field.log_det())
    assert_close(known.log_prob(X), field.log_prob(X), value(np.float64))
    text = jax.jit(lambda field: field.log_prob(X)).lower(known).as_text()
    assert "cholesky" not in text


def test_single_precision_stays_single():
    field = cs.GMRF(MEAN.astype(np.float32), sparse(laplacian(), np.float32), null_space=V)
    density = field.log_prob(X.astype(np.float32))
    assert density.dtype == field.entropy().dtype == np.float32
    assert_close(density, eigen_log_prob(X, MEAN, laplacian()), value(np.float32))
    with pytest.raises(DtypeError):
        field.log_prob(X)
    with pytest.raises(DtypeError):
        cs.GMRF(MEAN, sparse(laplacian(), np.float32))


def test_one_variable():
    assert_close(
        cs.GMRF(1.0, 4.0 * cx.eye(1)).log_prob(np.zeros(1)),
        multivariate_normal(np.zeros(1), np.ones(1), np.eye(1) / 4),
        value(np.float64),
    )
    alone = cs.GMRF(3.0, sparse(np.zeros((1, 1))), null_space=np.ones(1))
    assert alone.rank == 0
    assert_close(alone.log_prob(np.zeros(1)), 0.0, value(np.float64))
    assert_close(alone.sample(jax.random.key(0)), [3.0], value(np.float64))


def test_bad_arguments_are_named():
    Q = sparse(laplacian())
    with pytest.raises(StructureError, match="map its null space to zero"):
        cs.GMRF(0.0, sparse(regular()), null_space=V)
    with pytest.raises(ShapeError, match="vectors of length 3"):
        cs.GMRF(0.0, Q, null_space=np.ones((3, 1)))
    with pytest.raises(ShapeError, match="shape"):
        cs.GMRF(np.zeros(3), Q)
    with pytest.raises(StructureError, match="symmetric SparseMatrix"):
        cs.GMRF(0.0, laplacian())
    field = cs.GMRF(0.0, Q, null_space=V)
    with pytest.raises(ShapeError, match="points of shape"):
        field.log_prob(np.zeros(3))
    with pytest.raises(ShapeError, match="One row per"):
        field.condition(np.ones((1, 3)), np.ones(1), 1.0)
    with pytest.raises(ShapeError, match="One row per"):
        field.linear_combination(np.ones(N))
    with pytest.raises(ShapeError):
        field.condition(np.ones((1, N)), np.ones(2), 1.0)
