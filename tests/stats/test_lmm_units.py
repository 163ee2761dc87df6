"""Units of a mixed model's data change its results by their powers alone; no stray warnings."""

import warnings

import numpy as np
import pytest

import cholax.stats as cs
from cholax.errors import ArgumentError

GROUPS = np.repeat(np.arange(8), 6)


def data(y_unit=1.0, x_unit=1.0):
    random = np.random.default_rng(0)
    x = random.standard_normal(48)
    y = 1 + 2 * x + 2 * random.standard_normal(8)[GROUPS] + random.standard_normal(48)
    y += x * np.random.default_rng(5).standard_normal(8)[GROUPS]
    return {"y": y * y_unit, "x": x * x_unit, "g": GROUPS}


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def everything(y_unit, x_unit, formula, profiles):
    """Estimates, errors, predictions and profile ends in units of 1."""
    fit = cs.lmm(formula, data(y_unit, x_unit))
    assert fit.converged
    assert "Intercept" in fit.summary()
    units = {"Intercept": y_unit, "x": y_unit / x_unit, "sd(g.Intercept)": y_unit, "sigma": y_unit}
    units |= {"sd(g.x)": y_unit / x_unit, "cor(g.Intercept,x)": 1.0}
    effects = np.array([y_unit, y_unit / x_unit])
    mean, error = fit.predict(se=True)
    ends = fit.confint(method="profile") if profiles else fit.confint()
    return [
        fit.beta / effects,
        fit.standard_errors() / effects,
        [fit.sigma / y_unit],
        mean / y_unit,
        error / y_unit,
        fit.scaled_residuals,
        np.concatenate([np.array(ends[name]) / units[name] for name in ends]),
    ]


UNITS = [(1e60, 1.0), (1e-60, 1e60), (1.0, 1e130), (1e130, 1e30), (1e-100, 1e30)]


def check_units(formula, units, profiles):
    got = everything(*units, formula, profiles)
    for one, other in zip(got, everything(1.0, 1.0, formula, profiles), strict=True):
        # Ends of intervals are found to the 1e-6 of χ² that the search leaves.
        np.testing.assert_allclose(one, other, rtol=1e-6 if profiles else 1e-8, atol=1e-10)


def test_results_are_those_of_other_units():
    check_units("y ~ x + (1 | g)", (1e130, 1e30), profiles=False)


@pytest.mark.slow
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (x | g)"])
def test_profiles_are_those_of_other_units(formula, units):
    check_units(formula, units, profiles=True)


@pytest.mark.parametrize("unit", [1e160, 1e-160, 1e300, 1e-320])
@pytest.mark.parametrize("what", ["response", "fixed effect"])
def test_data_whose_squares_are_out_of_range_are_refused(what, unit):
    y_unit, x_unit = (unit, 1.0) if what == "response" else (1.0, unit)
    with pytest.raises(ArgumentError, match=rf"the {what} '[xy]' has entries of size .*another"):
        cs.lmm("y ~ x + (1 | g)", data(y_unit, x_unit))


def test_effects_and_weights_whose_squares_are_out_of_range_are_refused():
    with pytest.raises(ArgumentError, match="the effect of 'x' has entries of size"):
        cs.lmm("y ~ x + (1 | g)", data(1e100, 1e-100))
    with pytest.raises(ArgumentError, match="'weights' has entries of size"):
        cs.lmm("y ~ x + (1 | g)", data(), weights=np.full(48, 1e-320))
    counts = {**data(x_unit=1e160), "y": np.arange(48) % 5}
    with pytest.raises(ArgumentError, match="the fixed effect 'x'"):
        cs.glmm("y ~ x + (1 | g)", counts)
