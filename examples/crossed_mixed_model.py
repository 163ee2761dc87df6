"""A large crossed mixed model: students rate lecturers, of departments.

    rating = β₀ + β₁ service + student + lecturer + department + ε

of the size of the InstEval data of ETH Zürich: 73 421 ratings by 2 972 students of 1 128 lecturers
in 14 departments. Those data are distributed under the GPL only; here they are SIMULATED, likewise
unbalanced, with effects about as large as the published ones.
"""

import time
from pathlib import Path
from typing import Any

import _example
import jax
import numpy as np
import pandas as pd

import cholax.stats as cs

jax.config.update("jax_enable_x64", True)

BETA = (3.28, -0.09)
SD = {"student": 0.325, "lecturer": 0.515, "department": 0.3}
SIGMA = 1.18


def main(*, quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Fit, print, draw, check."""
    size = (3000, 150, 60, 5) if quick else (73421, 2972, 1128, 14)
    data, truth = ratings(*size)
    began = time.perf_counter()
    formula = "rating ~ service + (1 | student) + (1 | lecturer) + (1 | department)"
    fit = cs.lmm(formula, data)
    seconds = time.perf_counter() - began
    print(fit.summary())
    print(f"{len(data)} rows, fitted in {seconds:.1f} s with {fit.status.evaluations} evaluations")
    assert fit.converged

    found = {name: fit.varcorr[name].sd[0] for name in SD}
    _example.table(["sd", "truth", "estimate"], [[name, SD[name], found[name]] for name in SD])
    assert np.all(
        np.abs(fit.beta - BETA) < 4 * np.maximum(fit.standard_errors(), [SD["department"] / 2, 0])
    )
    for name in ("student", "lecturer"):
        np.testing.assert_allclose(found[name], SD[name], rtol=0.5 if quick else 0.06)
    np.testing.assert_allclose(fit.sigma, SIGMA, rtol=0.05 if quick else 0.01)
    # Conditional modes with their conditional standard deviations cover what they estimate.
    modes = fit.ranef["lecturer"]
    covered = np.abs(modes.modes[:, 0] - truth["lecturer"]) < 1.96 * modes.sd[:, 0]
    print(f"{covered.mean():.1%} of the lecturers' effects within their 95 % interval")
    assert covered.mean() > (0.8 if quick else 0.92)
    if out is not None:
        draw(fit, truth, data, out)
    return {"sd": found, "sigma": fit.sigma, "seconds": seconds, "covered": covered.mean()}


def ratings(rows, students, lecturers, departments):
    """Simulate ratings: popular lecturers, busy students, a fifth of the courses for others."""
    rng = np.random.default_rng(2011)
    counts = {"student": students, "lecturer": lecturers, "department": departments}
    truth = {name: rng.normal(0.0, SD[name], count) for name, count in counts.items()}

    def uneven(count):
        """Levels drawn with popularities that differ, each at least once."""
        popularity = rng.gamma(2.0, size=count)
        drawn = rng.choice(count, rows - count, p=popularity / popularity.sum())
        return rng.permutation(np.concatenate([np.arange(count), drawn]))

    code = {"student": uneven(students), "lecturer": uneven(lecturers)}
    home = np.concatenate([np.arange(departments), rng.integers(departments, size=lecturers)])
    code["department"] = home[code["lecturer"]]
    service = rng.random(rows) < 0.43
    mean = BETA[0] + BETA[1] * service + sum(truth[name][code[name]] for name in code)
    columns = {"rating": mean + rng.normal(0.0, SIGMA, rows), "service": service.astype(float)}
    return pd.DataFrame(columns | code), truth


def draw(fit, truth, data, out):
    """Conditional modes of the lecturers against the truth, and their shrinkage."""
    drawn = _example.figure(8.0, 3.8)
    left, right = drawn.subplots(1, 2)
    modes = fit.ranef["lecturer"]
    count = data.groupby("lecturer").size().to_numpy()
    reach = 1.1 * np.abs(truth["lecturer"]).max()
    left.plot([-reach, reach], [-reach, reach], color=_example.GREY, linewidth=0.8)
    dots = left.scatter(
        truth["lecturer"], modes.modes[:, 0], c=count, s=6, cmap="viridis", norm="log"
    )
    left.set(xlabel="true effect", ylabel="conditional mode", title="lecturers")
    drawn.colorbar(dots, ax=left, label="ratings")
    right.loglog(count, modes.sd[:, 0], ".", color=_example.INK, markersize=3)
    grid = np.geomspace(count.min(), count.max(), 50)
    alone = (1 / SD["lecturer"] ** 2 + grid / SIGMA**2) ** -0.5
    right.loglog(grid, alone, color=_example.ACCENT, label="if all else were known")
    right.set(xlabel="ratings", ylabel="conditional sd", title="precision of a lecturer's effect")
    right.set_yticks([0.1, 0.2, 0.4], ["0.1", "0.2", "0.4"])
    right.minorticks_off()
    right.legend()
    _example.save(drawn, out)


if __name__ == "__main__":
    _example.run(main)
