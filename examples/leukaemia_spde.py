"""Survival in space: leukaemia in north-west England, a Weibull model with a Matérn field.

    hazard_i(t) = ω t^(ω - 1) exp(η_i),   η = Xβ + s(place_i),   s Matérn (ν = 1) on a triangle mesh

1 043 patients (Henderson, Shimakura & Gorst 2002) on the 1 721 nodes of the mesh of Lindgren, Rue &
Lindström (2011). Those data come with R packages under the GPL, so they are not here: where the
folder of reference cases is absent, patients are simulated from the published estimates, and the
output says so. The reference case has no coordinates, only the finite-element matrices of the mesh;
they determine the mesh up to a rigid motion. The map is turned until most patients live in the
south, and may be a mirror image.

The likelihood has a second and higher maximum, with a range below the edges of the mesh: a frailty
of its own for each place, and no map. The fit starts near the regression without a field, as TMB's
does, and finds the same maximum; a penalised-complexity prior on the range would exclude the other.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import _data
import _example
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from matplotlib.colors import LogNorm

import cholax.stats as cs
from cholax.stats import likelihoods

jax.config.update("jax_enable_x64", True)

NAMES = ("intercept", "sex", "age", "white blood cells", "deprivation")
# Estimates of the TMB example `spde`: β, then range, sd and shape ω.
BETA = np.array([-3.5791, 0.0715, 0.5984, 0.2235, 0.0903])
RANGE, SD, SHAPE = 0.2306, 0.265, 0.5956
START = {"range": 0.23, "sd": 0.17, "shape": 0.58}


class Patients(NamedTuple):
    """Times, whether death was seen, covariates, places, and a mesh over the places."""

    time: np.ndarray
    event: np.ndarray
    X: np.ndarray
    places: np.ndarray
    mesh: cs.Mesh


def main(*, quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Fit, print, draw, check."""
    folder = None if quick else _data.case_folder("10_leuk_spde_weibull")
    patients = simulated(600 if quick else 1043) if folder is None else observed(folder)
    print("data:", "Henderson et al. (2002)" if folder else "SIMULATED, from published estimates")
    X, mesh = jnp.asarray(patients.X), patients.mesh
    times = cs.surv(patients.time, event=patients.event)
    matern, project = cs.matern(mesh), mesh.projector(patients.places)
    print(f"{len(X)} patients, {np.mean(patients.event):.0%} died; {mesh}")

    def natural(theta):
        return {name: jnp.exp(theta[name]) for name in ("range", "sd", "shape")}

    def log_joint(field, theta):
        extent, sd, shape = natural(theta).values()
        eta = X @ theta["beta"] + project @ field
        survival = likelihoods.weibull_survival.log_prob(times, eta, shape=shape)
        return survival.sum() + matern.log_prob(field, range=extent, sd=sd)

    model = cs.laplace(log_joint, jnp.zeros(mesh.n))
    start = {"beta": jnp.array([-3.5, 0.0, 0.5, 0.2, 0.1])}
    start |= {name: jnp.log(x) for name, x in START.items()}
    fit = cs.fit_ml(model, start, throw=True)
    print(f"log-likelihood {fit.log_likelihood:.4f}, {fit.status.evaluations} evaluations")

    found = fit.delta(lambda _, theta: {"beta": theta["beta"], **natural(theta)})
    estimate, error = found.estimate, found.standard_error
    rows = [[NAMES[k], estimate["beta"][k], error["beta"][k]] for k in range(5)]
    rows += [[name, estimate[name], error[name]] for name in ("range", "sd", "shape")]
    _example.table(["", "estimate", "std. error"], rows)

    if folder is not None:
        known = json.loads((folder / "case.json").read_text())["optimum"]
        np.testing.assert_allclose(fit.log_likelihood, -known["nll"], rtol=1e-9)
        np.testing.assert_allclose(estimate["beta"], list(known["par"].values())[:5], atol=1e-4)
        np.testing.assert_allclose(error["beta"], known["sdreport_se"][:5], rtol=1e-3)
        expected = [known["rho"]["Estimate"], known["rho"]["Std. Error"]]
        np.testing.assert_allclose([estimate["range"], error["range"]], expected, rtol=1e-3)
    assert np.all(np.abs(estimate["beta"] - BETA) < 4 * error["beta"])
    assert abs(np.log(estimate["shape"] / SHAPE)) < 4 * error["shape"] / SHAPE
    if out is not None:
        draw(patients, fit, estimate, error, out)
    return {"estimate": estimate, "error": error, "real": folder is not None}


def observed(folder: Path) -> Patients:
    """The reference case: patients by mesh node, and lumped mass and stiffness of the mesh."""
    rows = _data.read_csv(folder / "data.csv")
    lower = {k: _data.read_csv(folder / f"M{k}_lower_coo.csv") for k in (0, 1)}
    mass, places = lower[0]["val"], (lower[1]["row"], lower[1]["col"])
    half = sp.coo_array((lower[1]["val"], places), shape=(len(mass), len(mass)))
    nodes, triangles = _data.mesh_of(mass, half + sp.tril(half, -1).T)
    z = nodes @ [1, 1j]
    south = z[rows["node"]].mean() - z.mean()
    z *= np.exp(-1.2j) * abs(south) / south
    mesh = cs.Mesh(np.column_stack([z.real, z.imag]), triangles)
    X = np.column_stack([np.ones(len(rows)), *(rows[k] for k in ("sex", "age", "wbc", "tpi"))])
    return Patients(rows["time"].astype(float), rows["event"], X, mesh.nodes[rows["node"]], mesh)


def simulated(count: int) -> Patients:
    """Patients at random places of a region of the same size."""
    rng = np.random.default_rng(2002)
    places = rng.uniform(size=(count, 2)) * [0.7, 1.0]
    mesh = cs.triangulate(places, max_edge=0.1 if count < 1000 else 0.05, extension=0.25)
    field = cs.matern(mesh)(range=RANGE, sd=SD).sample(jax.random.key(3))
    X = np.column_stack([np.ones(count), rng.integers(2, size=count), rng.normal(size=(count, 3))])
    eta = X @ BETA + np.asarray(mesh.projector(places) @ field)
    death = (rng.exponential(size=count) / np.exp(eta)) ** (1 / SHAPE)
    end = rng.uniform(0, 5000, size=count)
    return Patients(np.minimum(death, end), death <= end, X, places, mesh)


def draw(patients, fit, estimate, error, out):
    """Relative hazard over the region, the standard deviation of its logarithm, hazard ratios."""
    drawn = _example.figure(9.0, 3.6)
    panels = drawn.subplots(1, 3, width_ratios=[4, 4, 3])
    mesh, places = patients.mesh, patients.places
    low, high = places.min(axis=0) - 0.05, places.max(axis=0) + 0.05
    shown_nodes = np.all((mesh.nodes >= low) & (mesh.nodes <= high), axis=1)
    hazard, sd = np.exp(np.asarray(fit.mode)), np.sqrt(np.asarray(fit.mode_variance()))
    most = np.exp(np.abs(np.log(hazard[shown_nodes])).max())
    maps = [
        ("relative hazard exp(s)", hazard, {"cmap": "RdBu_r", "norm": LogNorm(1 / most, most)}),
        ("standard deviation of s", sd, {"cmap": "Blues", "clim": (0.0, sd[shown_nodes].max())}),
    ]
    for axes, (title, values, style) in zip(panels[:2], maps, strict=True):
        shown = axes.tripcolor(
            *mesh.nodes.T, values, triangles=mesh.triangles, shading="gouraud", **style
        )
        axes.plot(*places.T, ".", color="black", markersize=0.8)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", title=title)
        axes.set_axis_off()
        bar = drawn.colorbar(shown, ax=axes, shrink=0.7)
        if values is hazard:
            bar.set_ticks(np.geomspace(1 / most, most, 5))
            bar.ax.yaxis.set_major_formatter("{x:.2f}")
            bar.minorticks_off()
    beta, reach = estimate["beta"][1:], 1.96 * error["beta"][1:]
    place = np.arange(4)[::-1]
    panels[2].axvline(1.0, color=_example.GREY, linewidth=0.8)
    panels[2].hlines(place, np.exp(beta - reach), np.exp(beta + reach), color=_example.INK)
    panels[2].plot(np.exp(beta), place, "o", color=_example.INK, markersize=4)
    panels[2].set(title="hazard ratios", yticks=place, ylim=(-0.7, 3.7))
    panels[2].set_yticklabels(NAMES[1:])
    _example.save(drawn, out)


if __name__ == "__main__":
    _example.run(main)
