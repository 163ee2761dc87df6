"""House prices in NumPyro: a Matérn field by its stochastic partial differential equation.

    log price = β₀ + β₁ log area + β₂ baths + f(where) + ε,   f Matérn with range r and sd σ

211 houses sold in Baltimore in 1978 (Dubin 1992). The field lives on a triangle mesh, where its
precision is sparse; NUTS samples it together with its range, both standard deviations and the
coefficients. Distances are those of the Maryland grid. Penalised-complexity priors:
P(r < 10) = 0.05, P(σ > 1) = 0.05.
"""

from pathlib import Path
from typing import Any

import _example
import jax
import jax.numpy as jnp
import numpy as np

import cholax.stats as cs
from cholax.stats import priors

jax.config.update("jax_enable_x64", True)

NAMES = ("range", "sd", "noise")


def main(*, quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Sample, print, draw."""
    numpyro, infer = _packages()
    where, log_price, covariates = houses()
    mesh = cs.triangulate(where, max_edge=16.0 if quick else 8.0, extension=25.0)
    model = make_model(numpyro, mesh, where, covariates)
    start = {"theta": jnp.log(jnp.array([30.0, 0.3])), "noise": 0.3, "field": jnp.zeros(mesh.n)}
    sampler = infer.MCMC(
        infer.NUTS(model, init_strategy=infer.init_to_value(values=start)),
        num_warmup=50 if quick else 500,
        num_samples=50 if quick else 500,
        num_chains=1,
        progress_bar=False,
    )
    sampler.run(jax.random.key(1), jnp.asarray(log_price), extra_fields=("num_steps", "diverging"))
    draws = sampler.get_samples()
    extra = sampler.get_extra_fields()
    print(
        f"{mesh.n} mesh nodes; {float(extra['num_steps'].mean()):.0f} gradients a draw, "
        f"{int(extra['diverging'].sum())} divergences"
    )
    summary = numpyro.diagnostics.summary({k: draws[k][None] for k in (*NAMES, "beta")})
    rows = [[k, *(float(summary[k][s]) for s in ("mean", "std", "n_eff"))] for k in NAMES]
    _example.table(["", "mean", "sd", "effective draws"], rows)
    assert all(np.all(np.isfinite(x)) for x in draws.values())
    if out is not None:
        draw(mesh, where, draws, out)
    return {"draws": {k: np.asarray(v) for k, v in draws.items()}, "nodes": mesh.n}


def _packages():
    try:
        import numpyro
        import numpyro.infer
    except ImportError as error:
        raise _example.Unavailable("needs numpyro") from error
    return numpyro, numpyro.infer


def houses():
    """Places, log prices and standardized covariates; from libpysal (BSD-3)."""
    try:
        from libpysal import examples, io
    except ImportError as error:
        raise _example.Unavailable("needs libpysal, which also has the data") from error
    frame = io.open(examples.get_path("baltim.dbf"))
    x, y, price, area, baths = (
        np.asarray(frame.by_col(name), float) for name in ("X", "Y", "PRICE", "SQFT", "NBATH")
    )
    covariates = np.column_stack([np.log(area), baths])
    covariates = (covariates - covariates.mean(axis=0)) / covariates.std(axis=0)
    return np.column_stack([x, y]), np.log(price), covariates


def make_model(numpyro, mesh, where, covariates):
    """The model at the top of this page."""
    from cholax.integrations.numpyro import GMRF

    dist = numpyro.distributions
    matern = cs.matern(mesh)
    project = mesh.projector(where)
    x = jnp.asarray(covariates)
    prior = priors.pc_matern(10.0, 0.05, 1.0, 0.05).unconstrained()

    def model(log_price):
        beta = numpyro.sample("beta", dist.Normal(jnp.zeros(3), 10.0).to_event(1))
        noise = numpyro.sample("noise", dist.HalfNormal(1.0))
        theta = numpyro.sample("theta", dist.ImproperUniform(dist.constraints.real, (), (2,)))
        numpyro.factor("prior", prior.log_prob(theta))
        pair = prior.forward(theta)
        hyper = {"range": pair[0], "sd": pair[1]}
        for name, value in hyper.items():
            numpyro.deterministic(name, value)
        field = numpyro.sample("field", GMRF(0.0, matern.precision(**hyper)))
        mean = beta[0] + x @ beta[1:] + project @ field
        numpyro.sample("log_price", dist.Normal(mean, noise), obs=log_price)

    return model


def draw(mesh, where, draws, out):
    """The field, its standard deviation, and the posterior of its range."""
    drawn = _example.figure(7.0, 2.6)
    panels = drawn.subplots(1, 3)
    field = draws["field"]
    styles = [
        ("field, posterior mean", field.mean(axis=0), "RdBu_r"),
        ("its standard deviation", field.std(axis=0), "Blues"),
    ]
    low, high = where.min(axis=0) - 3, where.max(axis=0) + 3
    for axes, (title, values, cmap) in zip(panels[:2], styles, strict=True):
        nodes = np.asarray(mesh.nodes)
        shown = axes.tripcolor(*nodes.T, np.asarray(values), triangles=mesh.triangles, cmap=cmap,
                               shading="gouraud")  # fmt: skip
        axes.plot(*where.T, ".", color=_example.GREY, ms=1.5)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axes.set_axis_off()
        axes.set_title(title, loc="left")
        drawn.colorbar(shown, ax=axes, shrink=0.7)
    panels[2].hist(np.asarray(draws["range"]), 30, color=_example.PALE)
    panels[2].set_xlabel("range")
    panels[2].set_yticks([])
    _example.save(drawn, out)


if __name__ == "__main__":
    _example.run(main)
