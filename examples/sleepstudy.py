"""Reaction times under sleep deprivation: random intercepts and slopes.

    reaction_ij = β₀ + β₁ day_ij + u_i + v_i day_ij + ε_ij,   (u_i, v_i) ~ N(0, Σ),   ε ~ N(0, σ²)

18 people over ten days (Belenky et al. 2003). The measurements are distributed under the GPL only,
so they are not here: where the folder of reference cases is absent, people are simulated from the
published estimates, and the output says so.
"""

from pathlib import Path
from typing import Any

import _data
import _example
import jax
import numpy as np

import cholax.stats as cs

jax.config.update("jax_enable_x64", True)

# Published estimates (REML; Bates, Mächler, Bolker & Walker 2015) and maximal log-likelihood.
BETA, SD, CORRELATION, SIGMA = (251.405, 10.467), (24.741, 5.922), 0.066, 25.592
REML, LOG_LIKELIHOOD = 1743.628, -875.969672231599
INTERVAL = (3.8012, 8.7534)  # profile likelihood, standard deviation of the slopes


def main(*, quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Fit, print, draw, check."""
    data, real = measurements()
    print("data:", "Belenky et al. (2003)" if real else "SIMULATED from the published estimates")
    fit = cs.lmm("reaction ~ day + (day | person)", data)
    print(fit.summary())
    assert fit.converged

    likelihood = cs.lmm("reaction ~ day + (day | person)", data, reml=False)
    intervals = likelihood.confint(method="wald" if quick else "profile")
    _example.table(["95 % interval", "from", "to"], [[k, *ends] for k, ends in intervals.items()])

    if real:
        np.testing.assert_allclose(fit.criterion, REML, atol=1e-3)
        np.testing.assert_allclose(fit.beta, BETA, atol=1e-3)
        np.testing.assert_allclose(fit.varcorr["person"].sd, SD, atol=1e-3)
        np.testing.assert_allclose(likelihood.log_likelihood, LOG_LIKELIHOOD, rtol=1e-9)
        if not quick:
            np.testing.assert_allclose(intervals["sd(person.day)"], INTERVAL, atol=1e-3)
    else:
        assert np.all(np.abs(fit.beta - BETA) < 4 * fit.standard_errors())
        np.testing.assert_allclose(fit.sigma, SIGMA, rtol=0.2)
    if out is not None:
        draw(data, fit, out)
    return {"beta": fit.beta, "sd": fit.varcorr["person"].sd, "sigma": fit.sigma, "real": real}


def measurements() -> tuple[dict[str, np.ndarray], bool]:
    """The measurements or, without them, a simulation of their design."""
    folder = _data.case_folder("01_sleepstudy_lmm")
    if folder is not None:
        rows = _data.read_csv(folder / "data.csv")
        person = rows["Subject"].astype(str)
        return {"reaction": rows["Reaction"], "day": rows["Days"], "person": person}, True
    rng = np.random.default_rng(2003)
    person, day = np.repeat(np.arange(18), 10), np.tile(np.arange(10.0), 18)
    covariance = np.diag(SD) @ [[1.0, CORRELATION], [CORRELATION, 1.0]] @ np.diag(SD)
    effects = rng.multivariate_normal(BETA, covariance, 18)
    reaction = effects[person, 0] + effects[person, 1] * day + rng.normal(0, SIGMA, 180)
    return {"reaction": reaction, "day": day, "person": person.astype(str)}, False


def draw(data, fit, out):
    """One panel a person: their own least squares line, and the line of the mixed model."""
    drawn = _example.figure(8.0, 4.4)
    modes = fit.ranef["person"]
    lines = fit.beta + modes.modes
    panels = drawn.subplots(3, 6, sharex=True, sharey=True).ravel()
    ends = np.array([0.0, 9.0])
    for axes, k in zip(panels, np.argsort(lines[:, 1]), strict=True):
        mine = data["person"] == modes.levels[k]
        day, reaction = data["day"][mine], data["reaction"][mine]
        slope, intercept = np.polyfit(day, reaction, 1)
        axes.plot(day, reaction, "o", color=_example.GREY, markersize=2.5)
        axes.plot(ends, intercept + slope * ends, color=_example.ACCENT, ls="--", label="alone")
        axes.plot(ends, lines[k, 0] + lines[k, 1] * ends, color=_example.INK, label="mixed model")
        axes.plot(ends, fit.beta[0] + fit.beta[1] * ends, color=_example.GREY, ls=":", label="mean")
        axes.set_title(f"{modes.levels[k]}", fontsize=8, pad=2)
    drawn.supxlabel("days without enough sleep", fontsize=9)
    drawn.supylabel("reaction time, ms", fontsize=9)
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    _example.save(drawn, out)


if __name__ == "__main__":
    _example.run(main)
