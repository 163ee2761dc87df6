"""What generalised fits say beyond their estimates: errors, intervals, predictions, draws."""

import jax
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

pytest.importorskip("formulaic")

import pandas as pd

from cholax._core.errors import ArgumentError
from cholax.stats._lmm import glmm, lmm
from tests import tolerances as tol

F64 = np.float64


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(12)
    n = 60
    x, g, cells = rng.standard_normal(n), np.arange(n) % 6, rng.uniform(1, 3, n)
    eta = 0.7 + 0.4 * x + 0.6 * rng.standard_normal(6)[g]
    trials = rng.integers(3, 9, n)
    won = rng.binomial(trials, scipy.special.expit(eta - 0.5))
    counts = rng.poisson(np.exp(eta) * cells)
    return pd.DataFrame({
        "x": x, "g": g, "cells": cells, "count": counts, "won": won, "lost": trials - won,
        "m": trials, "share": won / trials,
        "some": rng.poisson(3.0, n) * (rng.uniform(size=n) > 0.3),
        "normal": 1 + x + rng.standard_normal(n),
        "class": np.where(rng.uniform(size=n) < scipy.special.expit(x), "yes", "no"),
    })  # fmt: skip


@pytest.fixture(scope="module")
def mixed(data):
    return glmm("count ~ x + (1 | g)", data, family="poisson", exposure="cells")


@pytest.fixture(scope="module")
def inflated(data):
    return glmm("some ~ 1", data, family="zero_inflated_poisson")


@pytest.fixture(scope="module")
def normal(data):
    return glmm("normal ~ x", data, family="gaussian")


@pytest.mark.slow
def test_standard_errors_of_family_parameters_on_both_scales(data, normal, inflated):
    # For the normal distribution Var(log σ̂) = 1/2n.
    tol.assert_close(normal.family_internal["sd"], np.log(normal.family_parameters["sd"]), 1e-12)
    tol.assert_close(normal.family_internal_se["sd"], 1 / np.sqrt(120), 1e-8)
    sd = lmm("normal ~ x", data, reml=False).sigma
    tol.assert_close(normal.family_se["sd"], sd / np.sqrt(120), 1e-6)
    p, se = inflated.family_parameters["zero_probability"], inflated.family_internal_se
    tol.assert_close(inflated.family_internal["zero_probability"], np.log(p / (1 - p)), 1e-10)
    slope = p * (1 - p) * se["zero_probability"]
    tol.assert_close(inflated.family_se["zero_probability"], slope, 1e-10)
    assert "(se " in str(inflated)


@pytest.mark.slow
def test_zero_inflated_counts_have_their_mean_and_are_drawn(data, inflated):
    # The estimates solve: mean of y = (1 − π) λ, share of zeros = π + (1 − π) exp(−λ).
    y, pi = np.asarray(data["some"]), inflated.family_parameters["zero_probability"]
    rate = np.exp(inflated.beta[0])
    tol.assert_close((1 - pi) * rate, y.mean(), 1e-6)
    tol.assert_close(pi + (1 - pi) * np.exp(-rate), np.mean(y == 0), 1e-6)
    tol.assert_close(inflated.fitted, np.full(60, y.mean()), 1e-6)
    variance = (1 - pi) * rate * (1 + pi * rate)
    tol.assert_close(inflated.scaled_residuals, (y - y.mean()) / np.sqrt(variance), 1e-6)
    draws = np.asarray(inflated.simulate(jax.random.key(2), 3000))
    assert abs(draws.mean() - y.mean()) < 0.02
    assert abs(np.mean(draws == 0) - np.mean(y == 0)) < 0.01


def test_profile_interval_is_where_the_likelihood_falls_by_half_a_chi_square(data, normal):
    intervals = normal.confint(method="profile")
    n, sd = 60, normal.family_parameters["sd"]
    drop = scipy.stats.chi2.ppf(0.95, 1)

    def gap(log_ratio):  # −2 log L of σ = σ̂ exp(log_ratio), less its minimum
        return n * (2 * log_ratio + np.exp(-2 * log_ratio) - 1) - drop

    ends = [sd * np.exp(scipy.optimize.brentq(gap, *bracket)) for bracket in [(-1, 0), (0, 1)]]
    tol.assert_close(np.array(intervals["sd"]), np.array(ends), 1e-6)
    # σ and the other coefficient profiled out: n log(1 + (β − β̂)²/(n σ̂² [(XᵀX)⁻¹]_kk)) = χ².
    X = normal.design.X
    half = sd * np.sqrt(n * np.expm1(drop / n) * np.diag(np.linalg.inv(X.T @ X)))
    for k, name in enumerate(normal.names):
        expected = normal.beta[k] + half[k] * np.array([-1, 1])
        tol.assert_close(np.array(intervals[name]), expected, 1e-5)
    assert list(normal.confint(method="profile", parameters=["sd"])) == ["sd"]
    assert list(normal.confint(parameters=["x"])) == ["x"]
    assert normal.confint(parameters="Intercept") == normal.confint(parameters=["Intercept"])
    for options, message in [
        ({"method": "boot"}, "method must be"),
        ({"parameters": ["nobody"]}, "no Wald interval"),
        ({"parameters": ["nobody"], "method": "profile"}, "no parameter"),
        ({"level": 1.5}, "between 0 and 1"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            normal.confint(**options)


@pytest.mark.slow
def test_predictions_of_counts_on_both_scales_with_standard_errors(data, mixed):
    new = data[7:20]
    eta, se = mixed.predict(new, se=True)
    X, Z = mixed.design.X, (np.asarray(data["g"])[:, None] == np.arange(6)).astype(float)
    W = mixed.fitted
    A = Z.T @ (W[:, None] * Z) + np.eye(6) / mixed.theta[0] ** 2
    S = np.linalg.solve(A, Z.T @ (W[:, None] * X))
    x, z = X[7:20], Z[7:20]
    c = x - z @ S
    variance = np.sum((z @ np.linalg.inv(A)) * z, 1) + np.sum((c @ mixed.covariance()) * c, 1)
    tol.assert_close(se, np.sqrt(variance), 1e-7)
    mean, error = mixed.predict(new, type="response", se=True)
    tol.assert_close(mean, np.exp(eta) * np.asarray(new["cells"]), tol.value(F64))
    tol.assert_close(error, mean * se, 1e-9)
    tol.assert_close(mixed.predict(data, type="response"), mixed.fitted, tol.value(F64))
    tol.assert_close(mixed.predict(type="response"), mixed.fitted, tol.value(F64))
    with pytest.raises(ArgumentError, match="no column 'cells'"):
        mixed.predict(new.drop(columns="cells"), type="response")
    assert np.all(np.isfinite(mixed.predict(new.drop(columns="cells"))))
    with pytest.raises(ArgumentError, match="predict: exposure must be positive, got -2"):
        mixed.predict(new.assign(cells=-2.0), type="response")


def test_offset_in_the_formula_is_the_log_of_an_exposure(data):
    one = glmm("count ~ x + offset(log(cells))", data, family="poisson")
    other = glmm("count ~ x", data, family="poisson", exposure="cells")
    tol.assert_close(one.log_likelihood, other.log_likelihood, 1e-9)
    tol.assert_close(one.beta, other.beta, 1e-6)
    tol.assert_close(one.predict(data[:4], type="response"), other.fitted[:4], 1e-6)


def test_binomial_responses_of_every_kind_are_one_model(data):
    first = glmm("cbind(won, lost) ~ x", data, family="binomial")
    for formula, options in [("won ~ x", {"trials": "m"}), ("share ~ x", {"weights": "m"})]:
        other = glmm(formula, data, family="binomial", **options)
        tol.assert_close(other.log_likelihood, first.log_likelihood, tol.value(F64))
        tol.assert_close(other.beta, first.beta, 1e-9)
    # The mean of new rows is a probability, also where their trials are not known.
    p = scipy.special.expit(first.design.X @ first.beta)
    new = data[["x"]][:6]
    tol.assert_close(first.predict(new, type="response"), p[:6], tol.value(F64))
    tol.assert_close(first.fitted, p * np.asarray(data["m"]), tol.value(F64))


def test_factor_as_response_models_the_levels_after_the_first(data):
    fit = glmm("class ~ x", data, family="bernoulli")
    number = glmm("yes ~ x", data.assign(yes=data["class"] == "yes"), family="binomial")
    assert fit.design.response_levels == ("no", "yes")
    tol.assert_close(fit.beta, number.beta, 1e-9)
    tol.assert_close(fit.log_likelihood, number.log_likelihood, 1e-9)


def test_likelihood_ratio_of_generalised_models(data):
    fits = [glmm(f"count ~ {terms}", data, family="poisson") for terms in ("1", "x")]
    table = fits[1].anova(fits[0])
    tol.assert_close(
        table.chisq[1], 2 * (fits[1].log_likelihood - fits[0].log_likelihood), tol.value(F64)
    )
    tol.assert_close(table.p_value[1], scipy.stats.chi2.sf(table.chisq[1], 1), 1e-9)
    other = fits[0].update(family="gaussian")
    with pytest.raises(ArgumentError, match="of one kind"):
        fits[0].anova(other)


@pytest.mark.slow
def test_profile_interval_of_a_standard_deviation_between_groups(mixed):
    low, high = mixed.confint(method="profile", parameters=["sd(g.Intercept)"])["sd(g.Intercept)"]
    assert 0 < low < mixed.theta[0] < high
    drop = scipy.stats.chi2.ppf(0.95, 1)
    for end in (low, high):

        def deviance(beta, end=end):
            return -2 * float(mixed.model.log_likelihood(beta, np.array([end])))

        best = scipy.optimize.minimize(deviance, mixed.beta, method="Nelder-Mead",
                                       options={"xatol": 1e-6, "fatol": 1e-8})  # fmt: skip
        assert abs(best.fun - mixed.deviance - drop) < 1e-4
