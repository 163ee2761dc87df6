"""Disease mapping: sudden infant deaths in North Carolina, a Poisson model with a BYM2 effect.

    deaths_i ~ Poisson(expected_i exp(η_i)),   η = β₀ + β₁ nonwhite + b,   b ~ BYM2(σ, φ)

The 202 latent variables (β, b and its structured part u) are integrated out by Laplace's method;
the hyperparameters σ and φ are at their posterior mode, and the uncertainty of both is carried into
the map. Prior: P(σ > 1) = 0.01 (penalised complexity), φ uniform, β ~ N(0, 10²).
"""

from pathlib import Path
from typing import Any

import _data
import _example
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.colors import LogNorm

import cholax.stats as cs
from cholax.stats import likelihoods, priors

jax.config.update("jax_enable_x64", True)

# The posterior mode of (log σ, logit φ) and its value, computed independently with TMB and NumPy.
MODE, NEGATIVE_LOG_POSTERIOR = (-1.31439571671647, -0.377142037068837), 227.172343662242


def main(*, quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Fit, print, draw, check."""
    counties = _data.north_carolina()
    deaths, expected, nonwhite = (jnp.asarray(x) for x in counties.columns.values())
    x = (nonwhite - nonwhite.mean()) / nonwhite.std(ddof=1)
    n = len(deaths)

    # The field's latent vector is (b, u), 2n long; Σu = 0 is one exact constraint.
    spatial = cs.bym2(counties.neighbours)
    sd_prior = priors.pc_precision(1.0, 0.01, scale="sd").unconstrained()
    phi_prior = priors.uniform(0.0, 1.0).unconstrained()

    def hyperparameters(theta):
        return {"sd": sd_prior.forward(theta[0]), "phi": phi_prior.forward(theta[1])}

    def predictor(latent, theta):
        effect = spatial.effect(latent["field"], **hyperparameters(theta))
        return latent["beta"][0] + latent["beta"][1] * x + effect

    def log_joint(latent, theta):
        eta = predictor(latent, theta)
        likelihood = likelihoods.poisson.log_prob(deaths, jnp.log(expected) + eta)
        field = spatial.log_prob(latent["field"], **hyperparameters(theta))
        return likelihood.sum() + field + priors.normal(0.0, 10.0).log_prob(latent["beta"]).sum()

    def log_prior(theta):
        return sd_prior.log_prob(theta[0]) + phi_prior.log_prob(theta[1])

    latent = {"beta": jnp.zeros(2), "field": jnp.zeros(2 * n)}
    model = cs.laplace(log_joint, latent, constraints={"field": spatial.constraints})
    fit = cs.fit_map(model, jnp.array([-1.0, 0.0]), log_prior, throw=True)

    risk = fit.delta(lambda latent, theta: predictor(latent, theta))
    eta, sd = np.asarray(risk.estimate), np.asarray(risk.standard_error)
    summary = fit.delta(lambda latent, theta: (latent["beta"], hyperparameters(theta)))
    _example.table(["", "estimate", "std. error"], rows(summary))
    highest = np.argsort(-eta)[:3]
    print("highest risks:", ", ".join(f"{counties.names[i]} {np.exp(eta[i]):.2f}" for i in highest))

    np.testing.assert_allclose(fit.theta, MODE, atol=1e-5)
    np.testing.assert_allclose(-fit.objective, NEGATIVE_LOG_POSTERIOR, rtol=1e-9)
    if out is not None:
        draw(counties, np.exp(eta), np.exp(eta) * sd, out)
    return {"theta": np.asarray(fit.theta), "eta": eta, "sd": sd}


def rows(summary):
    """Estimates and standard errors by name."""
    beta, hyper = summary.estimate
    beta_se, hyper_se = summary.standard_error
    return [
        ["intercept", beta[0], beta_se[0]],
        ["nonwhite births (per sd)", beta[1], beta_se[1]],
        ["σ", hyper["sd"], hyper_se["sd"]],
        ["φ, the spatial share", hyper["phi"], hyper_se["phi"]],
    ]


def draw(counties, risk, sd, out):
    """Maps of the raw ratio, the relative risk, and its standard deviation."""
    raw = counties.columns["deaths"] / counties.columns["expected"]
    drawn = _example.figure(7.0, 7.4)
    panels = drawn.subplots(3, 1)
    ratio = {"cmap": "RdBu_r", "norm": LogNorm(1 / 3, 3)}
    styles = [
        ("deaths / expected", np.maximum(raw, 1e-3), ratio),
        ("relative risk, posterior", risk, ratio),
        ("its standard deviation", sd, {"cmap": "Blues", "clim": (0.0, None)}),
    ]
    for axes, (title, values, style) in zip(panels, styles, strict=True):
        shown = _example.choropleth(axes, counties.geometry, values, **style)
        axes.set_title(title, loc="left")
        beyond = "both" if axes is panels[0] else "neither"
        bar = drawn.colorbar(shown, ax=axes, shrink=0.7, extend=beyond)
        if style is ratio:
            bar.set_ticks([1 / 3, 1 / 2, 1, 2, 3], labels=["1/3", "1/2", "1", "2", "3"])
            bar.minorticks_off()
    _example.save(drawn, out)


if __name__ == "__main__":
    _example.run(main)
