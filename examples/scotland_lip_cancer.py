"""Lip cancer in Scotland: an intrinsic field on a graph with three islands.

    observed_i ~ Poisson(expected_i exp(α₀ + α₁ aff_i/10 + b_i)),   b ~ ICAR(τ)

53 districts are connected and their b sum to zero; the three islands have no neighbours, and b = 0
there: four exact constraints. One sum over all 56 would let the islands' effects float.
The precision τ is integrated over a grid, all points in one `vmap`. Priors as in the GeoBUGS
manual: α₀ flat, α₁ ~ N(0, 10⁵), τ ~ Gamma(0.5, 0.0005).
"""

from pathlib import Path
from typing import Any

import _data
import _example
import jax
import jax.numpy as jnp
import numpy as np

import cholax.stats as cs
from cholax.stats import likelihoods, priors

jax.config.update("jax_enable_x64", True)

# log p(y | τ) at log τ = 1, the same integrated over τ, posterior mean and standard deviation of
# σ = τ^(−½), from a dense computation in NumPy.
AT_ONE, INTEGRATED, SIGMA = -173.72190724288114, -177.685538967746, (0.64810135, 0.11392114)
# Means and standard deviations that MultiBUGS reports (20 000 draws).
MULTIBUGS = {"α₀": (-0.3006, 0.1155), "α₁": (0.4474, 0.1204), "σ": (0.6664, 0.1198)}


def main(*, quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Fit, print, draw, check."""
    districts = _data.scotland()
    observed, expected, aff = (jnp.asarray(x) for x in districts.columns.values())
    n = len(observed)

    graph = cs.Graph.of(districts.neighbours)
    icar = cs.besag(graph, singletons="zero")
    print(graph, icar)

    def log_joint(latent, log_tau):
        eta = latent["alpha"][0] + latent["alpha"][1] * aff / 10 + latent["b"]
        likelihood = likelihoods.poisson.log_prob(observed, jnp.log(expected) + eta)
        slope = priors.normal(0.0, np.sqrt(1e5)).log_prob(latent["alpha"][1])
        return likelihood.sum() + slope + icar.log_prob(latent["b"], precision=jnp.exp(log_tau))

    latent = {"alpha": jnp.zeros(2), "b": jnp.zeros(n)}
    model = cs.laplace(log_joint, latent, constraints={"b": icar.constraints})

    # p(τ | y) on a grid, and mixtures of the Gaussian approximations over it.
    tau_prior = priors.gamma(0.5, 0.0005).unconstrained()
    log_tau = jnp.linspace(-2.0, 5.0, 36 if quick else 141)

    @jax.vmap
    def approximation(log_tau):
        result = model(log_tau)
        return result.log_marginal, result.mode, result.variance(), result.status.converged

    log_marginal, mode, variance, converged = jax.jit(approximation)(log_tau)
    assert converged.all()
    log_posterior = log_marginal + tau_prior.log_prob(log_tau)
    step = log_tau[1] - log_tau[0]
    integrated = jax.nn.logsumexp(log_posterior) + jnp.log(step)
    weight = jnp.exp(log_posterior - integrated) * step
    mean = jax.tree.map(lambda m: weight @ m, mode)
    sd = jax.tree.map(lambda m, v, e: jnp.sqrt(weight @ (v + (m - e) ** 2)), mode, variance, mean)
    sigma = jnp.exp(-log_tau / 2)
    of_sigma = weight @ sigma, jnp.sqrt(weight @ sigma**2 - (weight @ sigma) ** 2)

    found = {name: (mean["alpha"][k], sd["alpha"][k]) for k, name in enumerate(("α₀", "α₁"))}
    found["σ"] = of_sigma
    rows = [[name, *found[name], *MULTIBUGS[name]] for name in found]
    _example.table(["", "mean", "sd", "MultiBUGS mean", "sd"], rows)
    print(f"islands: b = {mean['b'][graph.singletons]}, sd {sd['b'][graph.singletons]}")

    (one,) = np.flatnonzero(np.isclose(log_tau, 1.0))
    np.testing.assert_allclose(log_marginal[one], AT_ONE, rtol=1e-9)
    np.testing.assert_allclose(integrated, INTEGRATED, atol=1e-5)
    np.testing.assert_allclose(of_sigma, SIGMA, rtol=1e-4)
    np.testing.assert_allclose(mean["b"][graph.singletons], 0.0, atol=1e-12)
    # Gaussian at the mode against sampling: apart by less than a third of a standard deviation.
    for name, (m, s) in MULTIBUGS.items():
        assert abs(found[name][0] - m) < s / 3, name
    if out is not None:
        draw(districts, graph, mean["b"], sd["b"], log_tau, weight / step, out)
    return {"mean": mean, "sd": sd, "sigma": of_sigma}


def draw(districts, graph, mean, sd, log_tau, density, out):
    """Effects with intervals, islands apart; and the posterior of σ."""
    drawn = _example.figure(8.0, 3.8)
    left, right = drawn.subplots(1, 2, width_ratios=[3, 1])
    order = np.argsort(mean)
    place = np.arange(len(order))
    island = np.isin(order, graph.singletons)
    m, s = np.asarray(mean)[order], np.asarray(sd)[order]
    left.axhline(0.0, color=_example.GREY, linewidth=0.8)
    left.vlines(place, m - 1.96 * s, m + 1.96 * s, color=_example.INK, linewidth=1.0)
    left.plot(place[~island], m[~island], "o", color=_example.INK, markersize=3)
    left.plot(
        place[island], m[island], "s", color=_example.ACCENT, markersize=5, label="island: b = 0"
    )
    left.set(title="spatial effect b, 95 % intervals", xlabel="district, sorted", xticks=[])
    left.legend(loc="upper left")
    sigma = np.exp(-np.asarray(log_tau) / 2)
    right.plot(sigma, np.asarray(density) * 2 / sigma, color=_example.INK)
    right.set(title="posterior of σ", xlabel="σ", xlim=(0.2, 1.4), ylim=(0, None))
    _example.save(drawn, out)


if __name__ == "__main__":
    _example.run(main)
