"""Models without random effects, and models whose covariances the data do not determine."""

import numpy as np
import pytest
import scipy.stats

pytest.importorskip("formulaic")

from cholax.stats._lmm import LinearMixedModel, glmm, lmm
from cholax.stats._lmm.identify import dependent_covariances, flat_parameters
from tests import tolerances as tol

F64 = np.float64


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(6)
    n = 40
    x, g = rng.standard_normal(n), np.arange(n) % 8
    return {
        "y": 1 + 0.5 * x + rng.standard_normal(8)[g] + rng.standard_normal(n),
        "x": x,
        "g": g,
        "h": g // 2,
        "f": np.array(list("abc"))[np.arange(n) % 3],
        "w": rng.uniform(0.5, 2, n),
        "count": rng.poisson(np.exp(0.5 + 0.3 * x)),
    }


def test_linear_model_without_group_terms_is_least_squares(data):
    X, y, w = np.column_stack([np.ones(40), data["x"]]), data["y"], data["w"]
    M = X.T @ (w[:, None] * X)
    beta = np.linalg.solve(M, X.T @ (w * y))
    rss = np.sum(w * (y - X @ beta) ** 2)
    for reml, nu in ((False, 40), (True, 38)):
        fit = lmm("y ~ x", data, weights="w", reml=reml)
        assert fit.converged
        assert not fit.singular
        tol.assert_close(fit.beta, beta, tol.value(F64))
        tol.assert_close(fit.sigma, np.sqrt(rss / nu), tol.value(F64))
        tol.assert_close(fit.covariance(), rss / nu * np.linalg.inv(M), tol.value(F64))
        deviance = nu * (1 + np.log(2 * np.pi * rss / nu)) - np.sum(np.log(w))
        deviance += np.linalg.slogdet(M)[1] if reml else 0.0
        tol.assert_close(fit.log_likelihood, -0.5 * deviance, tol.value(F64))
    assert "Random effects: none" in str(fit)
    assert fit.ranef == {}
    tol.assert_close(fit.predict({"x": [1.0]}), beta.sum(keepdims=True), tol.value(F64))
    error = np.sqrt(np.ones(2) @ fit.covariance() @ np.ones(2))
    tol.assert_close(fit.predict({"x": [1.0]}, se=True).se, np.array([error]), tol.value(F64))


def test_generalised_model_without_group_terms_is_iterated_least_squares(data):
    X, y = np.column_stack([np.ones(40), data["x"]]), data["count"]
    beta = np.zeros(2)
    for _ in range(30):
        mean = np.exp(X @ beta)
        beta = beta + np.linalg.solve(X.T @ (mean[:, None] * X), X.T @ (y - mean))
    fit = glmm("count ~ x", data, family="poisson")
    assert fit.converged
    tol.assert_close(fit.beta, beta, 1e-8)
    tol.assert_close(fit.covariance(), np.linalg.inv(X.T @ (np.exp(X @ beta)[:, None] * X)), 1e-7)
    expected = scipy.stats.poisson.logpmf(y, np.exp(X @ beta)).sum()
    tol.assert_close(fit.log_likelihood, expected, tol.value(F64))
    assert "Generalised linear model" in str(fit)


def variance_of(model, sigma2=1.0):
    """The matrices that multiply the entries of all Σ_t and σ² in Var(y), dense."""
    found = []
    for term in model.design.terms:
        p = term.size[1]
        columns, rows = np.triu_indices(p)
        same = term.grouping.codes[:, None] == term.grouping.codes
        for a, b in zip(rows, columns, strict=True):
            outer = np.outer(term.values[:, a], term.values[:, b])
            found.append(same * (outer + outer.T) / 2)
    return np.stack([*found, sigma2 * np.eye(model.design.n)])


@pytest.mark.parametrize(
    ("terms", "dependent"),
    [
        ("(1 | g) + (1 | h)", 0),
        ("(x | g) + (0 + f | h)", 0),
        ("(f || g)", 0),
        ("(f | g)", 0),
        ("(1 | g) + (1 | g)", 2),
        ("(1 | g) + (0 + f | g)", 7),
        ("(x + I(2*x) | g)", 5),
        ("(1 | h/g) + (1 | g)", 2),
    ],
)
def test_covariances_are_determined_where_their_matrices_are_independent(data, terms, dependent):
    model = LinearMixedModel(f"y ~ x + {terms}", data)
    names = dependent_covariances(
        model.layout, model.arrays.blocks, model.theta_names, residual=True
    )
    assert len(names) == dependent
    basis = variance_of(model).reshape(-1, model.design.n**2)
    assert (np.linalg.matrix_rank(basis, 1e-8) < len(basis)) == (dependent > 0)


def test_terms_that_overlap_do_not_converge_and_the_status_names_them(data):
    fit = lmm("y ~ x + (1 | g) + (1 | g)", data)
    assert not fit.converged
    assert "g.Intercept are not determined" in fit.status.reason()
    assert "NOT CONVERGED" in str(fit)


def test_criterion_without_curvature_is_found_at_its_minimum(data):
    # With an effect for each group REML knows nothing of their variance.
    fit = lmm("y ~ C(g) + (1 | g)", data)
    assert not fit.converged
    assert "not determined" in fit.status.reason()
    assert flat_parameters(np.full((1, 1), np.nan), np.ones(1), np.ones(1), ["a"]) == []


def test_profile_intervals_of_a_linear_model_have_all_their_ends(data):
    fit = lmm("y ~ x", data)
    found, n = fit.confint(method="profile"), 40
    X, best = fit.design.X, lmm("y ~ x", data, reml=False)
    gain = np.expm1(scipy.stats.chi2.ppf(0.95, 1) / n)
    half = best.sigma * np.sqrt(n * gain * np.diag(np.linalg.inv(X.T @ X)))
    tol.assert_close(np.array(found["Intercept"]), best.beta[0] + half[0] * np.array([-1, 1]), 1e-6)
    tol.assert_close(np.array(found["x"]), best.beta[1] + half[1] * np.array([-1, 1]), 1e-6)
    assert found["sigma"][0] < best.sigma < found["sigma"][1]


def test_models_without_any_parameter_of_the_mean_are_fitted(data):
    zero = glmm("count ~ 0", data, family="poisson")
    expected = scipy.stats.poisson.logpmf(data["count"], 1.0).sum()
    tol.assert_close(zero.log_likelihood, expected, tol.value(F64))
    plain = lmm("y ~ 0", data, reml=False)
    tol.assert_close(plain.sigma, np.sqrt(np.mean(data["y"] ** 2)), tol.value(F64))
