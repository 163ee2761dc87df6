"""Disease mapping in PyMC: a conditional autoregression with all its hyperparameters sampled.

    deaths_i ~ Poisson(expected_i exp(β₀ + β₁ nonwhite_i + σ z_i)),
    z ~ N(0, Q(ρ)⁻¹),   Q(ρ) = ρ (D − W) + (1 − ρ) I      (Leroux, Lei & Breslow 2000)

Sudden infant deaths in the 100 counties of North Carolina, W their neighbours and D how many each
has. The precision is sparse and so are its determinant and their gradients, in PyMC's own sampler,
where each chain runs in a process of its own, and in NumPyro's, where the model is compiled as one
JAX program. Both must agree up to Monte Carlo error.
"""

import warnings
from pathlib import Path
from typing import Any

import _data
import _example
import numpy as np
import scipy.sparse as sp

SAMPLERS = {"PyMC's NUTS": "pymc", "NumPyro's NUTS": "numpyro"}
NAMES = ["intercept", "nonwhite", "sigma", "rho"]


def main(*, quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Sample twice, compare, draw."""
    pm, az = _packages()
    counties = _data.north_carolina()
    model = make_model(pm, counties)
    samplers = {"NumPyro's NUTS": "numpyro"} if quick else SAMPLERS
    results = {}
    for name, nuts in samplers.items():
        # JAX runs threads, which do not survive a fork: chains start in fresh processes.
        processes = {"mp_ctx": "forkserver", "cores": 2} if nuts == "pymc" else {}
        with model, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results[name] = pm.sample(
                draws=100 if quick else 1000,
                tune=200 if quick else 1000,
                chains=2,
                random_seed=1,
                nuts_sampler=nuts,
                target_accept=0.9,
                progressbar=False,
                compute_convergence_checks=False,
                **processes,
            )
    risks = {name: report(name, data, az) for name, data in results.items()}
    if len(results) == 2:
        compare(*results.values(), az)
    if out is not None:
        draw(counties, results, next(iter(risks.values())), out)
    return {"risk": next(iter(risks.values())), "results": results}


def _packages():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import arviz
            import pymc
    except ImportError as error:
        raise _example.Unavailable("needs pymc") from error
    return pymc, arviz


def make_model(pm, counties):
    """The model at the top of this page."""
    from cholax.integrations.pymc import GMRF
    from cholax.integrations.pytensor import as_symmetric

    deaths, expected, nonwhite = counties.columns.values()
    x = (nonwhite - nonwhite.mean()) / nonwhite.std(ddof=1)
    W = sp.csc_array(counties.neighbours.sparse, dtype=float)
    laplacian = as_symmetric(sp.diags_array(W.sum(axis=0)) - W)
    identity = as_symmetric(sp.eye_array(len(x)))
    with pm.Model(coords={"county": counties.names}) as model:
        intercept = pm.Normal("intercept", 0.0, 10.0)
        slope = pm.Normal("nonwhite", 0.0, 10.0)
        # P(σ > 1) = 0.01, the penalised-complexity prior.
        sigma = pm.Exponential("sigma", -np.log(0.01))
        rho = pm.Uniform("rho", 0.0, 1.0)
        z = GMRF("z", 0.0, rho * laplacian + (1 - rho) * identity, dims="county")
        log_risk = pm.Deterministic("log_risk", intercept + slope * x + sigma * z, dims="county")
        pm.Poisson("deaths", expected * pm.math.exp(log_risk), observed=deaths)
    return model


def report(name, data, az):
    """Print a summary of the hyperparameters; the mean relative risks."""
    print(f"{name}: {int(data.sample_stats.diverging.sum())} divergences")
    draws = data.posterior
    ess, rhat = az.ess(draws[NAMES]), az.rhat(draws[NAMES])
    rows = [
        [v, *(float(f(draws[v])) for f in (np.mean, np.std)), float(ess[v]), float(rhat[v])]
        for v in NAMES
    ]
    _example.table(["", "mean", "sd", "effective draws", "R-hat"], rows)
    return np.exp(draws["log_risk"]).mean(("chain", "draw")).values


def compare(one, other, az):
    """The same posterior means, within five Monte Carlo standard errors."""
    for name in NAMES:
        pair = [data.posterior[[name]] for data in (one, other)]
        errors = [float(az.mcse(draws)[name]) for draws in pair]
        gap = abs(float(pair[0][name].mean() - pair[1][name].mean()))
        assert gap < 5 * np.hypot(*errors), f"{name}: the samplers differ by {gap:.3g}"


def draw(counties, results, risk, out):
    """The map of risks, and the posteriors of both hyperparameters."""
    drawn = _example.figure(7.0, 4.8)
    grid = drawn.add_gridspec(2, 2)
    axes = drawn.add_subplot(grid[0, :])
    shown = _example.choropleth(axes, counties.geometry, risk, cmap="RdBu_r", clim=(0.0, 2.0))
    axes.set_title("relative risk, posterior mean", loc="left")
    drawn.colorbar(shown, ax=axes, shrink=0.8)
    panels = (("sigma", "σ"), ("rho", "ρ, the spatial share"))
    for column, (name, label) in enumerate(panels):
        axes = drawn.add_subplot(grid[1, column])
        for (sampler, data), colour in zip(
            results.items(), (_example.INK, _example.ACCENT), strict=False
        ):
            values = data.posterior[name].values.ravel()
            axes.hist(
                values, 40, density=True, histtype="step", color=colour, label=sampler, lw=1.3
            )
        axes.set_xlabel(label)
        axes.set_yticks([])
    axes.legend(loc="upper left", fontsize=8)
    _example.save(drawn, out)


if __name__ == "__main__":
    _example.run(main)
