"""NUTS over whitened joint densities and Laplace marginals, against posteriors known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
import cholax.stats as cs
from cholax.errors import ArgumentError

pytest.importorskip("blackjax")

from cholax.integrations.blackjax import laplace_nuts, nuts, sparse_nuts

N = 12
Q = cx.diags([np.full(N - 1, -1.0), np.linspace(2.05, 2.3, N)], [-1, 0], symmetric=True)
MEAN = jnp.linspace(-3.0, 5.0, N)


def log_density(x):
    return -0.5 * cx.quadratic_form(Q, x - MEAN)


def check_moments(draws, mean, variance, effective):
    """Mean and variance within five standard errors of so many independent draws."""
    flat = np.asarray(draws).reshape(-1, draws.shape[-1])
    assert np.all(np.abs(flat.mean(axis=0) - mean) < 5 * np.sqrt(variance / effective))
    assert np.all(np.abs(flat.var(axis=0) / variance - 1) < 5 * np.sqrt(2 / effective))


@pytest.mark.slow
def test_whitened_draws_have_the_moments_of_the_density():
    """The precision given is another one than that of the density: draws are exact all the same."""
    draws = sparse_nuts(
        jax.random.key(1), log_density, MEAN, 1.5 * Q, chains=2, warmup=80, draws=400,
        metric="identity",
    )  # fmt: skip
    assert draws.positions.shape == (2, 400, N)
    assert not draws.stats["diverging"].any()
    check_moments(draws.positions, MEAN, cx.inverse_diagonal(Q), 400)


def test_unknown_metric_is_refused():
    with pytest.raises(ArgumentError, match="diagonal"):
        nuts(jax.random.key(0), log_density, MEAN, metric="sparse")


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["diagonal", "dense"])
def test_adapted_metrics_sample_the_same_density(metric):
    draws = nuts(
        jax.random.key(2), log_density, MEAN, chains=2, warmup=300, draws=500, metric=metric
    )
    check_moments(draws.positions, MEAN, cx.inverse_diagonal(Q), 300)


@pytest.mark.slow
def test_whitening_spends_fewer_gradients():
    """On a field with long correlations, trajectories are several times shorter."""
    n = 200
    path = cx.diags([np.full(n - 1, -1.0), np.full(n, 2.0005)], [-1, 0], symmetric=True)

    def density(x):
        return -0.5 * cx.quadratic_form(path, x)

    options = {"chains": 1, "warmup": 200, "draws": 200}
    white = sparse_nuts(jax.random.key(3), density, jnp.zeros(n), path, **options)
    plain = nuts(jax.random.key(3), density, jnp.zeros(n), **options)
    assert 4 * float(white.stats["n_steps"].mean()) < float(plain.stats["n_steps"].mean())


@pytest.mark.slow
def test_laplace_marginal_draws_are_those_of_the_exact_marginal():
    """A Gaussian model, for which the Laplace approximation is exact; quadrature over theta."""
    y = np.cumsum(np.random.default_rng(6).normal(size=10))
    m = y.size

    def log_joint(u, theta, y):
        tau = jnp.exp(theta)
        path = jnp.sum((u[1:] - u[:-1]) ** 2) + u[0] ** 2
        prior = 0.5 * m * theta - 0.5 * tau * path - 0.5 * m * jnp.log(2 * jnp.pi)
        return prior + jnp.sum(jax.scipy.stats.norm.logpdf(y, u, 0.5))

    def log_prior(theta):
        return jax.scipy.stats.norm.logpdf(theta, 0.0, 1.0)

    model = cs.laplace(log_joint, jnp.zeros(m))
    draws = laplace_nuts(
        jax.random.key(7), model, jnp.zeros(()), log_prior, jnp.asarray(y), chains=2, warmup=200,
        draws=800,
    )  # fmt: skip
    grid = np.linspace(-5.0, 5.0, 801)
    D = np.eye(m) - np.eye(m, k=-1)
    logs, means = [], []
    for theta in grid:
        S = np.linalg.inv(np.exp(theta) * D.T @ D)
        C = S + 0.25 * np.eye(m)
        logs.append(-0.5 * np.linalg.slogdet(C)[1] - 0.5 * y @ np.linalg.solve(C, y) - theta**2 / 2)
        means.append(S @ np.linalg.solve(C, y))
    w = np.exp(np.array(logs) - max(logs))
    w /= w.sum()
    mean, variance = w @ grid, w @ (grid - w @ grid) ** 2
    check_moments(draws.positions["theta"][..., None], mean, variance, 300)
    u = np.asarray(draws.positions["u"]).reshape(-1, m)
    assert np.all(np.abs(u.mean(axis=0) - w @ np.array(means)) < 5 * u.std(axis=0) / np.sqrt(800))
