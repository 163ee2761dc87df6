"""NumPyro distributions of sparse fields: a drop-in for its CAR, batches, constraints, NUTS."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
import cholax.stats as cs
from cholax.errors import ArgumentError, PatternError, ShapeError, StructureError
from tests.tolerances import assert_close, gradient, value

numpyro = pytest.importorskip("numpyro")
dist = numpyro.distributions

from numpyro.infer import MCMC, NUTS  # noqa: E402

from cholax.integrations.numpyro import CAR, GMRF, AffineSubspace  # noqa: E402

N = 6
KEY = jax.random.key(1)
RNG = np.random.default_rng(2)
W = np.zeros((N, N))
for i, j in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5), (1, 4)]:
    W[i, j] = W[j, i] = RNG.uniform(0.5, 2.0)
SPARSE = sp.csr_array(W)
LOC = RNG.normal(size=N)
X = RNG.normal(size=(3, N))
LAPLACIAN = np.diag(W.sum(axis=1)) - W
ONES = np.ones((N, 1))
LINEAR = cs.Constraints(ONES.T)


def intrinsic(tau=1.0, loc=0.0):
    R = cx.from_scipy(sp.csc_array(LAPLACIAN), symmetric=True)
    return GMRF(loc, tau * R, LINEAR, null_space=ONES)


def test_car_has_the_density_and_gradient_of_numpyro():
    def density(family):
        def run(loc, correlation, precision, x):
            car = family(loc, correlation, precision, SPARSE, is_sparse=True)
            return car.log_prob(x).sum()

        return jax.jit(jax.value_and_grad(run, (0, 1, 2, 3)))(LOC, -0.7, 2.5, X)

    got, want = density(CAR), density(lambda *a, **k: dist.CAR(*a[:3], sp.csr_matrix(W), **k))
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert_close(one, other, gradient(np.float64))


def test_batches_have_the_densities_and_moments_of_their_members():
    correlation, precision = jnp.array([0.1, 0.5, 0.9]), jnp.array([[1.0], [2.0]])
    batch = CAR(LOC, correlation, precision, W)
    assert (batch.batch_shape, batch.event_shape) == ((2, 3), (N,))
    points = np.broadcast_to(X, (4, 2, 3, N)) + np.arange(4.0)[:, None, None, None]
    run = jax.jit(lambda d: (d.log_prob(points), d.mean, d.variance, d.sample(KEY, (5,))))
    density, mean, variance, draws = run(batch)
    D = np.diag(W.sum(axis=1))
    Q = np.asarray(precision)[..., None, None] * (D - np.asarray(correlation)[:, None, None] * W)
    r = points - LOC
    form = np.einsum("sbci,bcij,sbcj->sbc", r, Q, r)
    want = 0.5 * (np.linalg.slogdet(Q / (2 * np.pi))[1] - form)
    assert_close(density, want, value(float))
    assert_close(mean, np.broadcast_to(LOC, (2, 3, N)), value(float))
    assert_close(variance, np.diagonal(np.linalg.inv(Q), axis1=-2, axis2=-1), value(float))
    assert draws.shape == (5, 2, 3, N)
    assert not np.allclose(draws[:, 0, 0], draws[:, 0, 1])


@pytest.mark.slow
def test_expanded_and_reinterpreted_distributions_have_the_shapes_of_numpyro():
    got, want = (family(LOC, jnp.array([0.1, 0.5]), 1.0, W) for family in (CAR, dist.CAR))
    for change in (lambda d: d.expand((7, 2)), lambda d: d.to_event(1)):
        one, other = change(got), change(want)
        assert one.sample(KEY, (5,)).shape == other.sample(KEY, (5,)).shape
        assert_close(one.log_prob(X[0]), other.log_prob(X[0]), value(float))


def test_a_distribution_passes_through_jit_and_vmap():
    family = jax.jit(jax.vmap(intrinsic))(jnp.array([1.0, 3.0]))
    assert family.batch_shape == (2,)
    x = np.asarray(LINEAR.project(X[0]))
    run = jax.jit(lambda d: (d.log_prob(x), jax.vmap(lambda d: d.log_prob(x))(d)))
    sizes = np.linalg.eigvalsh(LAPLACIAN)[1:]
    want = [
        0.5 * (np.log(tau * sizes / (2 * np.pi)).sum() - tau * x @ LAPLACIAN @ x)
        for tau in (1.0, 3.0)
    ]
    for got in run(family):
        assert_close(got, want, value(float))


def test_a_constrained_field_lives_on_its_support():
    d = intrinsic(2.0, LOC)
    transform = dist.biject_to(d.support)
    assert isinstance(d.support, AffineSubspace)
    assert transform.inverse_shape((5, N)) == (5, N - 1)

    @jax.jit
    def run(d):
        draws = d.sample(KEY, (50,))
        y = transform.inv(draws)
        inside = d.support(draws), d.support(X), d.support(d.support.feasible_like(X))
        return draws, y, transform(y), jax.jacobian(transform)(y[0]), inside, d.mean, d.variance

    draws, y, back, Z, inside, mean, variance = run(d)
    assert [bool(x.all()) for x in inside] == [True, False, True]
    assert y.shape == (50, N - 1)
    assert_close(back, draws, value(float))
    # Orthonormal: distances are those of coordinates, so the density needs no Jacobian.
    assert_close(Z.T @ Z, np.eye(N - 1), value(float))
    assert not transform.log_abs_det_jacobian(y, draws).any()
    assert_close(mean, LOC - LOC.mean(), value(float))
    assert_close(variance, np.diag(np.linalg.pinv(2.0 * LAPLACIAN, 1e-10)), value(float))


@pytest.mark.slow
def test_divergence_is_that_of_the_fields():
    p, q = intrinsic(2.0, LOC), intrinsic(1.0)
    assert_close(dist.kl_divergence(p, q), p.field.kl(q.field), value(float))


@pytest.mark.slow
def test_nuts_recovers_the_posterior_of_a_gaussian_model():
    y = np.array([1.0, -0.5, 2.0, 0.3, -1.0, 0.7])
    noise = 4.0
    R = cx.from_scipy(sp.csc_array(LAPLACIAN), symmetric=True)

    def model():
        u = numpyro.sample("u", GMRF(0.0, 1.5 * R, LINEAR, null_space=ONES))
        numpyro.sample("y", dist.Normal(u, noise**-0.5), obs=y)

    run = MCMC(NUTS(model), num_warmup=500, num_samples=4000, progress_bar=False)
    run.run(jax.random.key(0))
    draws = np.asarray(run.get_samples()["u"])
    assert_close(draws.sum(axis=1), np.zeros(4000), value(float))
    posterior = cs.GMRF(0.0, 1.5 * R, LINEAR, null_space=ONES).condition(np.eye(N), y, noise)
    sd = np.sqrt(np.asarray(posterior.marginal_variance()))
    # 5 standard errors at an effective sample size of a quarter of the draws.
    assert np.all(np.abs(draws.mean(axis=0) - posterior.mean) < 5 * sd / np.sqrt(1000))
    assert np.all(np.abs(draws.std(axis=0) / sd - 1) < 5 / np.sqrt(2000))


def test_bad_arguments_are_named():
    with pytest.raises(StructureError, match="site 2"):
        CAR(0.0, 0.5, 1.0, sp.csr_array(np.pad(np.eye(2)[::-1], ((0, 1), (0, 1)))))
    with pytest.raises(PatternError, match="CAR: no node may be its own neighbour"):
        CAR(0.0, 0.5, 1.0, np.ones((2, 2)))
    for weight in (-1.0, np.nan, np.inf):
        with pytest.raises(ArgumentError, match="CAR: weights must be positive"):
            CAR(0.0, 0.5, 1.0, np.array([[0.0, weight], [weight, 0.0]]))
    with pytest.raises(StructureError, match="square"):
        CAR(0.0, 0.5, 1.0, np.ones((2, 3)))
    with pytest.raises(StructureError, match="square"):
        CAR(0.0, 0.5, 1.0, np.ones(3))
    with pytest.raises(StructureError, match="symmetric"):
        CAR(0.0, 0.5, 1.0, np.array([[0.0, 1.0], [2.0, 0.0]]))
    with pytest.raises(ShapeError, match="need loc of shape"):
        GMRF(np.zeros(4), cx.eye(6))
    with pytest.raises(ShapeError, match="batch of fields"):
        _ = CAR(LOC, jnp.array([0.1, 0.2]), 1.0, W).field
