"""Predictions with offsets, scales and standard errors against the mixed-model equations."""

import jax
import numpy as np
import pytest

pytest.importorskip("formulaic")

import pandas as pd

from cholax._core.errors import ArgumentError, ShapeError
from cholax.stats._lmm import glmm, lmm
from tests import tolerances as tol

F64 = np.float64


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(8)
    n = 48
    g, x, n_cells = np.arange(n) % 6, rng.standard_normal(n), rng.uniform(5, 90, n)
    y = 1 + 0.5 * x + np.log(n_cells) + rng.standard_normal(6)[g] + 0.4 * rng.standard_normal(n)
    return pd.DataFrame({"y": y, "x": x, "g": g, "cells": n_cells, "o": np.log(n_cells)})


@pytest.fixture(scope="module")
def fit(data):
    return lmm("y ~ x + (1 | g)", data, offset="o")


def test_offset_column_of_the_fit_is_found_in_new_data(data, fit):
    tol.assert_close(fit.predict(data), fit.fitted, tol.value(F64))
    tol.assert_close(fit.predict(), fit.fitted, tol.value(F64))
    fixed = fit.design.X @ fit.beta
    tol.assert_close(fit.predict(data, random=False), fixed + data["o"], tol.value(F64))
    with pytest.raises(ArgumentError, match="no column 'o'"):
        fit.predict(data.drop(columns="o"))
    missing = data.assign(o=data["o"].where(data.index > 0))
    assert np.flatnonzero(np.isnan(fit.predict(missing))).tolist() == [0]


def test_offset_of_predict_takes_the_place_of_that_of_the_fit(data, fit):
    bare = fit.fitted - np.asarray(data["o"])
    moved = data.assign(o2=data["o"] + 1)
    tol.assert_close(fit.predict(moved, offset="o2"), fit.fitted + 1, tol.value(F64))
    vector = np.arange(48.0)
    tol.assert_close(fit.predict(data, offset=vector), bare + vector, tol.value(F64))
    tol.assert_close(fit.predict(data, offset=0), bare, tol.value(F64))
    tol.assert_close(fit.predict(offset=vector), bare + vector, tol.value(F64))
    with pytest.raises(ArgumentError, match="no column 'nobody'"):
        fit.predict(data, offset="nobody")
    with pytest.raises(ArgumentError, match="names a column of new data"):
        fit.predict(offset="o")
    with pytest.raises(ShapeError, match="offset"):
        fit.predict(data, offset=np.ones(3))
    with pytest.raises(ArgumentError, match="offset must be numbers"):
        fit.predict(data, offset=object())
    with pytest.raises(ArgumentError, match=r"'o' holds labels, where .* numbers"):
        fit.predict(data.assign(o="text"))


def test_offset_in_the_formula_is_computed_from_new_data(data, fit):
    same = lmm("y ~ x + offset(log(cells)) + (1 | g)", data)
    tol.assert_close(same.criterion, fit.criterion, tol.value(F64))
    tol.assert_close(same.predict(data[:5]), fit.fitted[:5], 1e-9)
    shifted = same.predict(data[:5], offset=np.ones(5))
    tol.assert_close(shifted, fit.fitted[:5] + 1, 1e-9)
    with pytest.raises(ArgumentError, match="no column 'cells'"):
        same.predict(data.drop(columns="cells"))


def test_vector_as_offset_must_be_given_again_for_new_data(data, fit):
    same = lmm("y ~ x + (1 | g)", data, offset=np.asarray(data["o"]))
    with pytest.raises(ArgumentError, match="a vector as offset"):
        same.predict(data)
    tol.assert_close(same.predict(data, offset="o"), fit.fitted, 1e-9)
    tol.assert_close(same.predict(), fit.fitted, 1e-9)


def test_standard_errors_are_those_of_the_mixed_model_equations(data, fit):
    X, Z = fit.design.X, (np.asarray(data["g"])[:, None] == np.arange(6)).astype(float)
    C, variance = np.hstack([X, Z]), fit.varcorr["g"].covariance[0, 0]
    inverse = np.diag([0, 0, *[fit.sigma**2 / variance] * 6])
    joint = fit.sigma**2 * np.linalg.inv(C.T @ C + inverse)
    mean, se = fit.predict(data, se=True)
    tol.assert_close(mean, fit.fitted, tol.value(F64))
    tol.assert_close(se, np.sqrt(np.sum((C @ joint) * C, axis=1)), 1e-9)
    expected = np.sqrt(np.sum((X @ fit.covariance()) * X, axis=1))
    tol.assert_close(fit.predict(data, random=False, se=True).se, expected, 1e-9)
    new = pd.DataFrame({"x": [0.3], "g": [99], "o": [0.0]})
    row = np.array([1, 0.3])
    fresh = np.sqrt(row @ fit.covariance() @ row + variance)
    tol.assert_close(fit.predict(new, new_levels=True, se=True).se, np.array([fresh]), 1e-9)
    response = fit.predict(data, type="response", se=True)
    tol.assert_close(response.se, se, tol.value(F64))
    with pytest.raises(ArgumentError, match="type must be"):
        fit.predict(data, type="terms")


@pytest.mark.parametrize("kind", ["lmm", "glmm"])
def test_draws_of_effects_spread_as_predictions_do(kind):
    rng = np.random.default_rng(5)
    g, h, x = np.repeat(np.arange(6), 6), np.tile(np.arange(4), 9), rng.normal(size=36)
    mean = 0.5 + 0.4 * x + 0.6 * rng.normal(size=6)[g] + 0.3 * rng.normal(size=4)[h]
    data = {"x": x, "g": g, "h": h, "y": mean + rng.normal(size=36), "n": rng.poisson(np.exp(mean))}
    if kind == "lmm":
        fit = lmm("y ~ x + (x | g) + (1 | h)", data)
    else:
        fit = glmm("n ~ x + (1 | g) + (1 | h)", data, family="poisson")
    beta, effects = fit.sample(jax.random.key(3), (50, 80))
    assert beta.shape == (50, 80, 2)
    slopes = (
        effects["g"][..., g, :] @ np.ones(1)
        if kind == "glmm"
        else (effects["g"][..., g, 0] + effects["g"][..., g, 1] * x)
    )
    eta = beta[..., :1] + beta[..., 1:] * x + slopes + effects["h"][..., h, 0]
    predicted, error = fit.predict(se=True)
    draws = np.asarray(eta).reshape(4000, 36)
    np.testing.assert_allclose(draws.mean(axis=0), predicted, atol=5 * error.max() / np.sqrt(4000))
    np.testing.assert_allclose(draws.std(axis=0), error, rtol=0.08)
