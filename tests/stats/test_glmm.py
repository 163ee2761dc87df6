"""Generalised linear mixed models against a likelihood computed group by group."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

pytest.importorskip("formulaic")

from cholax._core.errors import ArgumentError
from cholax.stats._lmm import GeneralizedLinearMixedModel, glmm
from cholax.stats._lmm.separation import separating_direction
from cholax.stats.likelihoods import LIKELIHOODS
from cholax.testing import check_derivatives
from tests import tolerances as tol

F64 = np.float64
SURVIVAL = {"exponential_survival", "weibull_survival"}


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(4)
    g, x = np.repeat(np.arange(8), 5), rng.standard_normal(40)
    y = rng.poisson(np.exp(1.0 + 0.5 * x + 0.8 * rng.standard_normal(8)[g]))
    return {"y": y, "x": x, "g": g}


@pytest.fixture(scope="module")
def fit(counts):
    return glmm("y ~ x + (1 | g)", counts, family="poisson")


def laplace_of_groups(beta, sd, data):
    """Σ over groups of log ∫ p(y | b) N(b; 0, sd²) db by Laplace, a scalar Newton for each."""
    total = 0.0
    for level in np.unique(data["g"]):
        rows = data["g"] == level
        y, eta = data["y"][rows], beta[0] + beta[1] * data["x"][rows]
        b = 0.0
        for _ in range(50):
            mean = np.exp(eta + b)
            b += (np.sum(y - mean) - b / sd**2) / (np.sum(mean) + 1 / sd**2)
        mean = np.exp(eta + b)
        joint = scipy.stats.poisson.logpmf(y, mean).sum() + scipy.stats.norm.logpdf(b, 0, sd)
        total += joint + 0.5 * np.log(2 * np.pi) - 0.5 * np.log(np.sum(mean) + 1 / sd**2)
    return total


def test_search_may_begin_at_given_factors(counts, fit):
    again = glmm("y ~ x + (1 | g)", counts, family="poisson", theta0=[4.0], throw=True)
    tol.assert_close(again.theta, fit.theta, 1e-8)
    near = glmm("y ~ x + (1 | g)", counts, family="poisson", theta0=fit.theta)
    assert near.status.iterations < fit.status.iterations


@pytest.mark.slow
def test_fit_is_at_the_maximum_of_the_laplace_likelihood(counts, fit):
    assert fit.converged
    assert not fit.singular
    at = lambda beta, sd: laplace_of_groups(beta, sd, counts)  # noqa: E731
    tol.assert_close(fit.log_likelihood, at(fit.beta, fit.theta[0]), tol.value(F64))
    # The inverse of the Hessian of the likelihood gives the standard errors.
    best, step = np.append(fit.beta, fit.theta), 1e-3 * np.eye(3)
    f = lambda x: -at(x[:2], x[2])  # noqa: E731
    slope = [f(best + e) - f(best - e) for e in step]
    assert np.max(np.abs(slope)) < 1e-5
    H = [
        [f(best + d + e) - f(best + d - e) - f(best - d + e) + f(best - d - e) for d in step]
        for e in step
    ]
    covariance = np.linalg.inv(np.array(H) / 4e-6)
    tol.assert_close(fit.covariance(), covariance[:2, :2], 1e-5)
    tol.assert_close(fit.theta_se, np.sqrt(covariance[2:, 2]), 1e-5)
    effects = fit.ranef["g"]
    mean = np.bincount(counts["g"], fit.fitted)
    tol.assert_close(effects.covariances[:, 0, 0], 1 / (mean + fit.theta[0] ** -2), 1e-8)
    residual = np.bincount(counts["g"], counts["y"] - fit.fitted)
    tol.assert_close(effects.modes[:, 0], residual * fit.theta[0] ** 2, 1e-7)


@pytest.mark.slow
def test_summary_predictions_and_residuals_of_counts(counts, fit):
    text = fit.summary()
    assert "Family: poisson" in text
    assert f"{fit.beta[1]:.6g}" in text
    new = {"x": [0.3, -0.2], "g": [7, 1]}
    eta = fit.beta[0] + fit.beta[1] * np.array(new["x"]) + fit.ranef["g"].modes[[7, 1], 0]
    tol.assert_close(fit.predict(new), eta, tol.value(F64))
    pearson = (counts["y"] - fit.fitted) / np.sqrt(fit.fitted)
    tol.assert_close(fit.scaled_residuals, pearson, tol.value(F64))
    assert fit.aic == pytest.approx(-2 * fit.log_likelihood + 6)
    assert list(fit.confint()) == ["Intercept", "x"]


@pytest.mark.slow
def test_effect_that_is_not_there_has_no_variance(counts):
    # Every group has the same counts: less variation than Poisson.
    level = glmm("y ~ x + (1 | g)", {**counts, "y": np.tile([1, 3, 2, 0, 4], 8)}, family="poisson")
    assert level.converged
    assert level.singular
    assert level.theta.tolist() == [0.0]
    assert np.all(np.isfinite(level.standard_errors()))
    assert np.isnan(level.theta_se).all()
    assert np.all(level.ranef["g"].modes == 0)


def check_separated(fit):
    assert not fit.converged
    assert "separated by" in fit.status.reason()
    assert "x" in fit.status.reason()
    assert "NOT CONVERGED" in fit.summary()


def test_separated_counts_have_no_estimate_and_the_status_names_the_column(counts):
    x = (np.arange(40) % 2).astype(float)
    check_separated(
        glmm("y ~ x + (1 | g)", {**counts, "y": counts["y"] * (1 - x), "x": x}, family="poisson")
    )


@pytest.mark.slow
def test_separated_binary_response_has_no_estimate(counts):
    data = {**counts, "y": counts["x"] > 0.1}
    check_separated(glmm("y ~ x + (1 | g)", data, family="bernoulli"))


@pytest.mark.parametrize(
    ("family", "y", "trials", "expected"),
    [
        ("bernoulli", [0, 0, 1, 1], 1.0, True),
        ("bernoulli", [0, 1, 0, 1], 1.0, False),
        ("binomial", [0, 0, 3, 3], 3.0, True),
        ("binomial", [0, 1, 2, 3], 3.0, False),
        ("poisson", [1, 4, 1, 4], 1.0, False),
        ("poisson", [0, 0, 0, 0], 1.0, True),
        ("gaussian", [0, 0, 1, 1], 1.0, False),
    ],
)
def test_separation_is_found_exactly_where_there_is_one(family, y, trials, expected):
    X = np.column_stack([np.ones(4), [-2.0, -1.0, 1.0, 2.0]])
    likelihood, known = LIKELIHOODS[family], {"trials": trials}
    direction = separating_direction(likelihood, np.array(y, float), X, known)
    assert (direction is not None) == expected
    assert separating_direction(likelihood, np.array(y, float), X[:, :0], known) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "cauchy"}, "unknown family 'cauchy'"),
        ({"family": "binomial"}, "needs trials="),
        ({"family": "bernoulli"}, "cannot have the response"),
        ({"family": "gaussian", "exposure": "x"}, "has no exposure"),
        ({"family": "weibull_survival"}, "not one column"),
        ({"family": ["poisson"]}, "unknown family"),
        ({"exposure": np.full(40, -1.0)}, "exposure must be positive, got -1"),
        ({"family": "binomial", "trials": np.full(40, 0)}, "trials must be positive whole numbers"),
        ({"family": "binomial", "trials": np.full(40, 9.5)}, "trials .* got 9.5"),
    ],
)
def test_families_that_do_not_fit_the_data_are_refused(counts, options, message):
    with pytest.raises(ArgumentError, match=message):
        GeneralizedLinearMixedModel("y ~ x + (1 | g)", counts, **options)


@pytest.mark.slow
def test_simulated_counts_have_the_mean_of_the_model(fit):
    draws = np.asarray(fit.simulate(jax.random.key(1), (2, 5000)))
    assert draws.shape == (2, 5000, 40)
    expected = np.exp(fit.design.X @ fit.beta + fit.theta[0] ** 2 / 2)
    assert np.max(np.abs(draws.mean((0, 1)) / expected - 1)) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(set(LIKELIHOODS) - SURVIVAL))
def test_draws_have_the_moments_of_the_family(family):
    parameters = {
        "negative_binomial": {"size": 3.0, "exposure": 2.0},
        "negative_binomial1": {"dispersion": 0.7},
        "zero_inflated_poisson": {"zero_probability": 0.3, "exposure": 1.5},
        "student_t": {"df": 9.0, "scale": 0.5},
        "binomial": {"trials": np.array([5.0, 9.0])},
        "gaussian": {"sd": 0.5},
        "gamma": {"shape": 2.5},
    }.get(family, {})
    eta = np.array([-0.4, 0.9])
    likelihood = LIKELIHOODS[family]
    repeated = {k: np.broadcast_to(v, (20_000, 2)) for k, v in parameters.items()}
    y = likelihood.sample(jax.random.key(0), np.tile(eta, (20_000, 1)), **repeated)
    mean = likelihood.mean(eta, **parameters)
    variance = likelihood.variance(eta, **parameters)
    assert np.all(np.abs(y.mean(0) - mean) < 5 * np.sqrt(variance / len(y)))
    assert np.all(np.abs(y.var(0) / variance - 1) < 0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "response", "options", "parameters"),
    [
        ("binomial", lambda rng, mu: rng.binomial(6, mu / (1 + mu)), {"trials": "m"}, {}),
        (
            "negative_binomial",
            lambda rng, mu: rng.negative_binomial(3, 3 / (3 + mu)),
            {},
            {"size": 2.0},
        ),
        ("gamma", lambda rng, mu: rng.gamma(2, mu / 2), {}, {"shape": 1.5}),
        ("gaussian", lambda rng, mu: rng.normal(np.log(mu)), {"weights": "w"}, {"sd": 0.9}),
    ],
)
def test_likelihood_of_every_kind_differentiates_and_fits(family, response, options, parameters):
    rng = np.random.default_rng(2)
    g, h, x = np.repeat(np.arange(10), 12), np.arange(120) % 7, rng.standard_normal(120)
    mu = np.exp(0.3 + 0.4 * x + 0.5 * rng.standard_normal(10)[g] + 0.3 * rng.standard_normal(7)[h])
    data = {"y": response(rng, mu), "x": x, "g": g, "h": h, "m": 6, "w": rng.uniform(0.5, 2, 120)}
    data["m"] = np.full(120, 6)
    fit = glmm("y ~ x + (1 + x | g) + (1 | h)", data, family=family, **options)
    assert fit.converged
    theta = np.array([0.6, 0.2, 0.3, 0.4])

    def f(beta, theta, p):
        return fit.model.log_likelihood(beta, theta, **p)

    p = {name: jnp.asarray(value) for name, value in parameters.items()}
    check_derivatives(f, [np.array([0.1, 0.5]), theta, p])
    at = f(fit.beta, fit.theta, fit.family_parameters)
    tol.assert_close(at, fit.log_likelihood, tol.value(F64))
    for k in range(4):
        moved = fit.theta + 1e-2 * np.eye(4)[k]
        assert f(fit.beta, moved, fit.family_parameters) < fit.log_likelihood + 1e-9


@pytest.mark.slow
def test_gaussian_family_agrees_with_the_linear_mixed_model(counts):
    from cholax.stats._lmm import lmm

    data = {**counts, "y": np.log1p(counts["y"])}
    one = glmm("y ~ x + (1 | g)", data, family="gaussian")
    other = lmm("y ~ x + (1 | g)", data, reml=False)
    tol.assert_close(one.log_likelihood, other.log_likelihood, 1e-9)
    tol.assert_close(one.family_parameters["sd"], other.sigma, 1e-5)
    tol.assert_close(one.theta[0], other.theta[0] * other.sigma, 1e-5)
    tol.assert_close(one.ranef["g"].modes, other.ranef["g"].modes, 1e-5)
