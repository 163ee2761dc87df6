"""Mixed models against lme4 and glmmTMB, on data that stay outside of the repository."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.io

pytest.importorskip("formulaic")

from cholax.stats._lmm import GeneralizedLinearMixedModel, glmm, lmm
from tests import tolerances as tol

SHARED = Path(__file__).resolve().parents[3] / "shared"
# Differences of the criterion that its authors reach; their minima are found without gradients.
CRITERION = 1e-9
GRADIENT = 1e-6
ESTIMATE = 1e-5

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not (SHARED / "cases").exists(), reason="shared is not there"),
]


def case(name):
    folder = SHARED / "cases" / name
    return json.loads((folder / "case.json").read_text("utf-8")), pd.read_csv(folder / "data.csv")


@pytest.mark.parametrize("how", ["ML", "REML"])
def test_sleepstudy_agrees_with_lme4(how):
    reference, data = case("01_sleepstudy_lmm")
    expected, reml = reference["expected"][how], how == "REML"
    fit = lmm("Reaction ~ Days + (Days | Subject)", data, reml=reml)
    criterion = jax.jit(jax.value_and_grad(lambda t: fit.model.deviance(t, reml=reml)))
    for point in expected["points"]:
        value, slope = criterion(np.array(point["theta"], float))
        assert abs(float(value) / point["deviance"] - 1) < CRITERION
        tol.assert_close(slope, np.array(point["grad_richardson"]), GRADIENT)
    assert fit.converged
    assert fit.criterion < expected["criterion"] + 1e-9
    assert fit.log_likelihood == pytest.approx(expected["logLik"], abs=1e-8)
    # theta itself was found without gradients.
    tol.assert_close(fit.theta, np.array(expected["theta_hat"]), ESTIMATE)
    tol.assert_close(fit.beta, np.array(list(expected["beta"].values())), ESTIMATE)
    tol.assert_close(fit.standard_errors(), np.array(expected["beta_se"]), ESTIMATE)
    tol.assert_close(fit.sigma, expected["sigma"], ESTIMATE)
    vcov = {(row["var1"], row["var2"]): row["vcov"] for row in expected["varcorr"]}
    a, b = "(Intercept)", "Days"
    covariance = np.array([[vcov[a, None], vcov[a, b]], [vcov[a, b], vcov[b, None]]])
    tol.assert_close(fit.varcorr["Subject"].covariance, covariance, ESTIMATE)
    effects, first = fit.ranef["Subject"], expected["ranef_first10"]["Subject"]
    assert [str(level) for level in effects.levels[:10]] == first["level"]
    tol.assert_close(effects.modes[:10], np.array(first["mode"]), ESTIMATE)
    covariances = np.array(first["condVar_first"]).reshape(10, 2, 2)
    tol.assert_close(effects.covariances[:10], covariances, ESTIMATE)


@pytest.mark.slow
def test_profile_intervals_of_sleepstudy_are_those_lme4_prints():
    _, data = case("01_sleepstudy_lmm")
    found = lmm("Reaction ~ Days + (Days | Subject)", data).confint(method="profile")
    # confint(fm1) in the documentation of lme4; its ends are interpolated.
    expected = {
        "Intercept": (237.6806955, 265.1295147),
        "Days": (7.3586533, 13.5759188),
        "sd(Subject.Intercept)": (14.3814761, 37.7159953),
        "sd(Subject.Days)": (3.8011641, 8.7533665),
        "cor(Subject.Intercept,Days)": (-0.4815007, 0.6849862),
        "sigma": (22.8982669, 28.8579965),
    }
    for name, ends in expected.items():
        np.testing.assert_allclose(found[name], ends, rtol=1e-4)


def lme4_table(name, groups):
    """The data behind lme4's matrices: y, and one column per block of rows of Zᵀ."""
    folder = SHARED / "data" / "stat"
    y = pd.read_csv(folder / f"lme4_{name}_Xy.csv.gz")["y"].to_numpy()
    Zt = scipy.io.mmread(folder / f"lme4_{name}_Zt.mtx.gz", spmatrix=False).toarray()
    data, start = {"y": y}, 0
    for group, levels in groups.items():
        data[group] = np.argmax(Zt[start : start + levels], axis=0)
        start += levels
    return data


@pytest.mark.parametrize(
    ("key", "formula", "groups", "reml"),
    [
        ("Penicillin_ML", "y ~ 1 + (1|plate) + (1|sample)", {"plate": 24, "sample": 6}, False),
        ("Penicillin_REML", "y ~ 1 + (1|plate) + (1|sample)", {"plate": 24, "sample": 6}, True),
        ("Dyestuff2_ML", "y ~ 1 + (1|Batch)", {"Batch": 6}, False),
    ],
)
def test_classic_data_agree_with_lme4(key, formula, groups, reml):
    found = json.loads((SHARED / "data" / "stat" / "reference.json").read_text("utf-8"))
    expected = next(v for k, v in found.items() if k.startswith("lme4"))[key]
    fit = lmm(formula, lme4_table(key.split("_")[0], groups), reml=reml)
    assert fit.converged
    assert fit.singular == (key == "Dyestuff2_ML")
    wanted = expected["reml_crit" if reml else "minus2loglik"]
    assert abs(fit.criterion / wanted - 1) < CRITERION
    assert fit.criterion < wanted + 1e-6
    tol.assert_close(fit.theta, np.array(expected["theta"]), 1e-4)
    if "beta" in expected:
        tol.assert_close(fit.beta, np.array(expected["beta"]), 1e-8)
        tol.assert_close(fit.sigma, expected["sigma"], 1e-4)


def test_grouseticks_agree_with_glmmtmb():
    reference, data = case("04_grouseticks_poisson_glmm")
    expected = reference["expected"]["glmmTMB"]
    formula = "TICKS ~ C(YEAR) + cHEIGHT + (1|BROOD) + (1|INDEX) + (1|LOCATION)"
    fit = glmm(formula, data, family="poisson")
    model: GeneralizedLinearMixedModel = fit.model
    f = jax.jit(jax.value_and_grad(lambda p: -model.log_likelihood(p[:4], jnp.exp(p[4:]))))
    for point in expected["points"]:
        value, slope = f(np.array(point["par"]))
        assert abs(float(value) / point["nll_laplace"] - 1) < CRITERION
        tol.assert_close(slope, np.array(point["gradient"]), 1e-9)
    assert fit.converged
    best, errors = np.array(expected["optimum"]), np.array(expected["se"])
    tol.assert_close(fit.log_likelihood, expected["logLik"], 1e-9)
    tol.assert_close(np.append(fit.beta, np.log(fit.theta)), best, 1e-6)
    tol.assert_close(np.append(fit.standard_errors(), fit.theta_se / fit.theta), errors, 1e-6)
    modes = np.concatenate([effects.modes[:, 0] for effects in fit.ranef.values()])
    variances = np.concatenate([e.covariances[:, 0, 0] for e in fit.ranef.values()])
    tol.assert_close(modes[:20], np.array(expected["random_mode_first20"]), 1e-6)
    tol.assert_close(variances[:20], np.array(expected["cond_var_first20"]), 1e-6)
