"""Fits: parameters, standard errors, intervals and draws against closed forms, and bad data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

import cholax.stats as cs
from cholax.errors import ArgumentError, ConvergenceError
from cholax.stats.fit import status as codes
from cholax.stats.fit._optimize import Point, minimize
from tests import tolerances as tol

# --- the optimiser on functions of which everything is known -------------------------------------


class Known:
    """A function with its gradient and Hessian."""

    def __init__(self, value, gradient, hessian):
        self._parts = value, gradient, hessian
        self.accepted = []

    def __call__(self, x):
        value, gradient, _ = self._parts
        with np.errstate(all="ignore"):
            return Point(x, float(value(x)), np.asarray(gradient(x), float))

    def hessian(self, x):
        return np.asarray(self._parts[2](x), float)

    def accept(self, point):
        self.accepted.append(point.value)


def rosenbrock():
    return Known(
        lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2,
        lambda x: [
            -2 * (1 - x[0]) - 400 * x[0] * (x[1] - x[0] ** 2),
            200 * (x[1] - x[0] ** 2),
        ],
        lambda x: [[2 - 400 * (x[1] - 3 * x[0] ** 2), -400 * x[0]], [-400 * x[0], 200.0]],
    )


def test_the_optimiser_goes_round_a_bend_to_rounding():
    out = minimize(rosenbrock(), np.array([-1.2, 1.0]), max_iterations=200)
    assert out.code == codes.CONVERGED
    tol.assert_close(out.point.x, np.ones(2), 1e-9)
    assert out.trace[-1][1] < 1e-8


def test_units_do_not_matter_to_the_optimiser():
    s = np.array([1e-6, 1.0, 1e5])

    def value(x):
        return np.sum(np.cosh(x / s - 1.0))

    f = Known(value, lambda x: np.sinh(x / s - 1) / s, lambda x: np.diag(np.cosh(x / s - 1) / s**2))
    out = minimize(f, np.zeros(3), max_iterations=60)
    assert out.code == codes.CONVERGED
    tol.assert_close(out.point.x / s, np.ones(3), 1e-8)


@pytest.mark.parametrize("start", [0.5, -3.0, -20.0])
def test_a_minimum_at_infinity_is_reported_with_the_variable_concerned(start):
    f = Known(
        lambda x: np.exp(2 * x[0]) + (x[1] - 3) ** 2,
        lambda x: [2 * np.exp(2 * x[0]), 2 * (x[1] - 3)],
        lambda x: np.diag([4 * np.exp(2 * x[0]), 2.0]),
    )
    out = minimize(f, np.array([start, 0.0]), max_iterations=100)
    assert out.code == codes.AT_INFINITY
    assert out.boundary.tolist() == [True, False]
    assert out.point.value < 1e-6


def test_where_the_function_is_not_defined_steps_are_shortened():
    f = Known(lambda x: x[0] - np.log(x[0]), lambda x: [1 - 1 / x[0]], lambda x: [[1 / x[0] ** 2]])
    out = minimize(f, np.array([30.0]), max_iterations=100)
    assert out.code == codes.CONVERGED
    tol.assert_close(out.point.x, np.ones(1), 1e-9)


@pytest.mark.parametrize(
    ("hessian", "start", "code"),
    [
        (np.diag([1.0, -1.0]), [2.0, 0.0], codes.NOT_A_MAXIMUM),
        (np.array([[1.0, 1.0], [1.0, 1.0]]), [2.0, 0.0], codes.NOT_A_MAXIMUM),
        (np.eye(2), [np.nan, 0.0], codes.NOT_FINITE),
    ],
)
def test_saddles_ridges_and_undefined_starts_are_not_minima(hessian, start, code):
    f = Known(lambda x: 0.5 * x @ hessian @ x, lambda x: hessian @ x, lambda x: hessian)
    assert minimize(f, np.array(start), max_iterations=50).code == code


def test_the_iteration_limit_is_reported():
    out = minimize(rosenbrock(), np.array([-1.2, 1.0]), max_iterations=3)
    assert (out.code, out.iterations) == (codes.MAX_ITERATIONS, 3)


# --- a linear mixed model: every number has a closed form ----------------------------------------

GROUPS = np.repeat(np.arange(5), [4, 2, 3, 5, 3])
X = np.stack([np.ones(17), 1e4 * np.linspace(-1, 2, 17) ** 2], axis=1)  # unscaled on purpose
NOISE = np.random.default_rng(3).normal(size=(2, 17))
RESPONSE = X @ [2.0, 3e-4] + 1.5 * NOISE[0][GROUPS] + 0.6 * NOISE[1]
# Group means as alike as can be: the variance between groups is zero.
ALIKE = NOISE[1] - np.array([NOISE[1][g == GROUPS].mean() for g in range(5)])[GROUPS]


def log_joint(u, theta, y):
    sd, group_sd = jnp.exp(theta["log_sd"]), jnp.exp(theta["log_group_sd"])
    r = jnp.where(jnp.isnan(y), 0.0, y - X @ theta["beta"] - group_sd * u[GROUPS])
    data = jnp.where(jnp.isnan(y), 0.0, -0.5 * (r / sd) ** 2 - jnp.log(sd))
    return jnp.sum(data) - 0.5 * jnp.sum(u**2) - (17 + 5) / 2 * np.log(2 * np.pi)


START = {"beta": jnp.zeros(2), "log_group_sd": 0.0, "log_sd": 0.0}
MODEL = cs.laplace(log_joint, jnp.zeros(5))


def dense_log_likelihood(x, y=RESPONSE):
    """Of (β, log group sd, log sd), by the marginal covariance."""
    same = GROUPS[:, None] == GROUPS
    V = np.exp(2 * x[2]) * same + np.exp(2 * x[3]) * np.eye(17)
    r = y - X @ x[:2]
    return -0.5 * (r @ np.linalg.solve(V, r) + np.linalg.slogdet(V)[1] + 17 * np.log(2 * np.pi))


def dense_hessian(f, x, h):
    """Central differences, h a step per variable."""
    p = x.size
    H = np.zeros((p, p))
    for i in range(p):
        for j in range(p):
            a, b = np.eye(p)[i] * h[i], np.eye(p)[j] * h[j]
            H[i, j] = f(x + a + b) - f(x + a - b) - f(x - a + b) + f(x - a - b)
    return H / (4 * np.outer(h, h))


@pytest.fixture(scope="module")
def fit():
    lines = []
    found = cs.fit_ml(MODEL, START, jnp.asarray(RESPONSE), progress=lines.append)
    assert len(lines) == found.trace.shape[0]
    assert "gradient" in lines[-1]
    return found


def test_maximum_likelihood_of_a_mixed_model_with_an_unscaled_covariate(fit):
    assert fit.status.converged
    assert fit.status.reason() == "converged"
    x = fit.flat_theta
    assert fit.log_likelihood == pytest.approx(dense_log_likelihood(x), rel=1e-12)
    scale = np.array([1.0, 1e-4, 1.0, 1.0])
    for k in range(4):
        d = 1e-5 * scale[k] * np.eye(4)[k]
        slope = dense_log_likelihood(x + d) - dense_log_likelihood(x - d)
        assert abs(slope / 2e-5) < 1e-6
    assert fit.names == ("beta[0]", "beta[1]", "log_group_sd", "log_sd")
    # Objective rises from step to step, up to rounding.
    assert np.all(np.diff(fit.trace[:, 0]) > -1e-10)


def test_standard_errors_are_those_of_the_observed_information(fit):
    H = dense_hessian(dense_log_likelihood, fit.flat_theta, 3e-4 * np.array([1, 1e-4, 1, 1]))
    V = np.linalg.inv(-H)
    errors = fit.standard_errors()
    flat = np.concatenate([errors["beta"], [errors["log_group_sd"], errors["log_sd"]]])
    tol.assert_close(flat / np.sqrt(np.diagonal(V)), np.ones(4), 1e-5)
    units = np.outer(flat, flat)
    tol.assert_close(fit.covariance() / units, V / units, 1e-5)


def test_delta_method_adds_the_uncertainty_of_the_parameters(fit):
    """Group effects on the scale of the response have a closed form."""

    def effects(x):
        tau2, s2 = np.exp(2 * x[2]), np.exp(2 * x[3])
        r = RESPONSE - X @ x[:2]
        counts = np.bincount(GROUPS)
        return tau2 * np.bincount(GROUPS, r) / (s2 + counts * tau2), tau2 * s2 / (
            s2 + counts * tau2
        )

    x = fit.flat_theta
    estimate, conditional = effects(x)
    h = 1e-5 * np.array([1, 1e-4, 1, 1])
    D = np.array([(effects(x + d)[0] - effects(x - d)[0]) / (2 * d.max()) for d in np.diag(h)])
    expected = np.diag(conditional) + D.T @ fit.covariance() @ D
    found = fit.delta(lambda u, theta: jnp.exp(theta["log_group_sd"]) * u, full=True)
    tol.assert_close(found.estimate, estimate, 1e-9)
    tol.assert_close(found.conditional_variance, conditional, 1e-9)
    tol.assert_close(found.covariance, expected, 1e-6)
    tol.assert_close(found.standard_error, np.sqrt(np.diagonal(expected)), 1e-6)
    identity = fit.delta(lambda u, theta: u)
    tol.assert_close(fit.mode_variance(), np.square(identity.standard_error), 1e-10)


def joint_covariance(fit):
    """Of (u, θ), from its parts."""
    S, V = fit.sensitivity, fit.covariance()
    H = np.linalg.inv(fit.result.factor.A.to_dense())
    return np.block([[H + S.T @ V @ S, S.T @ V], [V @ S, V]])


def test_joint_precision_is_the_inverse_of_the_joint_covariance(fit):
    joint = joint_covariance(fit)
    d = np.sqrt(np.diagonal(joint))
    P = np.asarray(fit.joint_precision().to_dense())
    tol.assert_close(P * np.outer(d, d), np.linalg.inv(joint / np.outer(d, d)), 1e-8)


@pytest.mark.slow
def test_draws_follow_the_joint_covariance(fit):
    joint = joint_covariance(fit)
    d = np.sqrt(np.diagonal(joint))
    u, theta = fit.sample(jax.random.key(1), (4000,))
    columns = [u, theta["beta"], theta["log_group_sd"][:, None], theta["log_sd"][:, None]]
    draws = np.concatenate(columns, axis=1)
    empirical = np.cov(draws.T) / np.outer(d, d)
    assert np.max(np.abs(empirical - joint / np.outer(d, d))) < 0.1
    assert np.max(np.abs(draws.mean(0)[:5] - fit.mode) / d[:5]) < 0.08


def test_profile_interval_ends_where_the_profiled_likelihood_has_fallen_enough(fit):
    found = fit.profile("log_group_sd")
    assert found.converged
    drop = chi2.ppf(0.95, 1) / 2

    def profiled(value):
        """By dense generalised least squares in β, and a scan over the other variance."""
        best = -np.inf
        for log_sd in fit.flat_theta[3] + np.linspace(-0.25, 0.25, 401):
            V = np.exp(2 * value) * (GROUPS[:, None] == GROUPS) + np.exp(2 * log_sd) * np.eye(17)
            W = np.linalg.inv(V)
            beta = np.linalg.solve(X.T @ W @ X, X.T @ W @ RESPONSE)
            best = max(best, dense_log_likelihood(np.array([*beta, value, log_sd])))
        return best

    for end in found.interval:
        assert fit.log_likelihood - profiled(end) == pytest.approx(drop, abs=1e-4)
    assert found.interval[0] < fit.flat_theta[2] < found.interval[1]
    assert np.all(np.diff(found.values) > 0)


def test_a_variance_of_zero_is_reported_and_the_rest_is_right():
    fit = cs.fit_ml(MODEL, START, jnp.asarray(ALIKE))
    assert fit.status.code == codes.AT_INFINITY
    assert not fit.status.converged
    assert fit.status.boundary.tolist() == [False, False, True, False]
    assert "infinity" in fit.status.reason()
    beta = np.linalg.lstsq(X, ALIKE, rcond=None)[0]
    tol.assert_close(fit.flat_theta[:2] / [1, 1e-4], beta / [1, 1e-4], 1e-5)
    r = ALIKE - X @ beta
    errors = fit.standard_errors()
    assert np.isnan(errors["log_group_sd"])
    expected = np.sqrt(np.diagonal(np.linalg.inv(X.T @ X)) * np.mean(r**2))
    tol.assert_close(errors["beta"] / expected, np.ones(2), 1e-4)
    assert float(errors["log_sd"]) == pytest.approx(1 / np.sqrt(2 * 17), rel=1e-4)


def test_missing_responses_drop_out():
    missing = np.where(np.arange(17) % 5 == 1, np.nan, RESPONSE)
    fit = cs.fit_ml(MODEL, START, jnp.asarray(missing))
    assert fit.status.converged
    kept = ~np.isnan(missing)
    V = np.exp(2 * fit.flat_theta[2]) * (GROUPS[:, None] == GROUPS)
    V = (V + np.exp(2 * fit.flat_theta[3]) * np.eye(17))[np.ix_(kept, kept)]
    W = np.linalg.inv(V)
    beta = np.linalg.solve(X[kept].T @ W @ X[kept], X[kept].T @ W @ missing[kept])
    tol.assert_close(fit.flat_theta[:2] / [1, 1e-4], beta / [1, 1e-4], 1e-7)


def test_data_that_are_not_numbers_give_a_status_and_no_numbers():
    broken = {**START, "log_sd": np.nan}
    fit = cs.fit_ml(MODEL, broken, jnp.asarray(RESPONSE))
    assert fit.status.code == codes.NOT_FINITE
    assert not bool(fit.status.laplace.converged)
    assert np.isnan(fit.objective)
    assert np.all(np.isnan(fit.covariance()))
    with pytest.raises(ArgumentError, match="joint_precision"):
        fit.joint_precision()
    with pytest.raises(ConvergenceError, match="fit_ml"):
        cs.fit_ml(MODEL, broken, jnp.asarray(RESPONSE), throw=True)


def test_contract_failures_raise(fit):
    with pytest.raises(ArgumentError, match="model"):
        cs.fit_ml(log_joint, START)
    with pytest.raises(ArgumentError, match="keys"):
        cs.fit_reml(MODEL, START, jnp.asarray(RESPONSE), fixed="gamma")
    with pytest.raises(ArgumentError, match="parameter"):
        fit.profile("sigma")


@pytest.mark.slow
def test_reml_integrates_the_fixed_effects():
    fit = cs.fit_reml(MODEL, START, jnp.asarray(RESPONSE), fixed="beta")
    assert fit.status.converged
    assert fit.names == ("log_group_sd", "log_sd")

    def restricted(x):
        V = np.exp(2 * x[0]) * (GROUPS[:, None] == GROUPS) + np.exp(2 * x[1]) * np.eye(17)
        W = np.linalg.inv(V)
        XWX = X.T @ W @ X
        beta = np.linalg.solve(XWX, X.T @ W @ RESPONSE)
        value = dense_log_likelihood(np.array([*beta, *x]))
        return value + np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(XWX)[1], beta

    value, beta = restricted(fit.flat_theta)
    assert fit.log_likelihood == pytest.approx(value, rel=1e-10)
    tol.assert_close(np.asarray(fit.mode["beta"]) / [1, 1e-4], beta / [1, 1e-4], 1e-8)
    for d in 1e-5 * np.eye(2):
        slope = restricted(fit.flat_theta + d)[0] - restricted(fit.flat_theta - d)[0]
        assert abs(slope / 2e-5) < 1e-6


@pytest.mark.slow
def test_map_adds_the_log_prior():
    def log_prior(theta):
        return -0.5 * jnp.sum((theta["log_group_sd"] + 2.0) ** 2)

    fit = cs.fit_map(MODEL, START, log_prior, jnp.asarray(RESPONSE))
    assert fit.status.converged
    assert fit.objective == pytest.approx(
        fit.log_likelihood + float(log_prior(fit.theta)), rel=1e-12
    )
    assert np.max(np.abs(fit.gradient / np.array([1, 1e4, 1, 1]))) < 1e-6


@pytest.mark.slow
def test_a_separated_response_is_no_maximum():
    y = jnp.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    x = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])

    def bernoulli(u, theta):
        eta = theta * x + u
        return jnp.sum(y * eta - jax.nn.softplus(eta)) - 2.0 * jnp.sum(u**2)

    fit = cs.fit_ml(cs.laplace(bernoulli, jnp.zeros(6)), 0.0)
    assert not fit.status.converged
    assert fit.status.code == codes.AT_INFINITY
    assert fit.status.boundary.tolist() == [True]
    assert np.isnan(float(fit.standard_errors()))


@pytest.mark.slow
def test_a_single_group_has_no_variance_between_groups():
    """One group mean cannot tell a group effect from the intercept."""
    y = jnp.asarray(RESPONSE[:4])

    def one_group(u, theta):
        sd, group_sd = jnp.exp(theta[1]), jnp.exp(theta[2])
        r = (y - theta[0] - group_sd * u) / sd
        return -0.5 * jnp.sum(r**2) - 4 * theta[1] - 0.5 * jnp.sum(u**2)

    fit = cs.fit_ml(cs.laplace(one_group, jnp.zeros(1)), jnp.array([0.0, 0.0, 0.0]))
    assert fit.status.code == codes.AT_INFINITY
    assert fit.status.boundary.tolist() == [False, False, True]
    assert fit.flat_theta[0] == pytest.approx(float(y.mean()), abs=1e-5)
    assert np.exp(2 * fit.flat_theta[1]) == pytest.approx(float(y.var()), rel=1e-4)
