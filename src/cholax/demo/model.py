"""Poisson BYM2 model of disease counts, with `cholax.stats`.

    y_i ~ Poisson(E_i exp(η_i)),   η = β0 + β1 x + σ(√φ u + √(1-φ) v),
    β ~ N(0, 10² I),   v ~ N(0, I),   u ~ N(0, (scale R)⁻) on the plane sum(u) = 0,

R the graph's Laplacian. The latent vector is z = (β, u, v), and η = J(θ) z with a sparse J. Given
θ = (log σ, logit φ) it is integrated out by Laplace's method on the plane: no penalty, no jitter.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

import cholax as cx
import cholax.stats as cs
from cholax.demo.data import Counties
from cholax.stats import likelihoods, priors


class Conditional(NamedTuple):
    """The Gaussian approximation of z given y and θ, as far as the reports need it."""

    log_marginal: jax.Array
    precision: cx.SparseMatrix
    beta_mean: jax.Array
    beta_variance: jax.Array
    eta_mean: jax.Array
    eta_variance: jax.Array


class Bym2:
    """Functions of θ = (log σ, logit φ), all of them traceable and differentiable by JAX."""

    def __init__(self, data: Counties) -> None:
        n = data.size
        graph = cs.Graph.from_edges(n, data.edges)
        self.spatial = cs.bym2(graph, form="uv")
        self.structured = cs.besag(graph)
        self.counts, self.log_expected = jnp.asarray(data.counts), jnp.log(data.expected)
        self.fixed = cx.from_scipy(sp.csc_array(np.stack([np.ones(n), data.covariate], axis=1)))
        # P(σ > 1) = 0.01, φ uniform; as densities of θ.
        self.priors = (
            priors.pc_precision(1.0, 0.01, scale="sd").unconstrained(),
            priors.uniform(0.0, 1.0).unconstrained(),
        )
        latent = {"beta": jnp.zeros(2), "uv": jnp.zeros(2 * n)}
        self.laplace = cs.laplace(
            self.log_joint, latent, constraints={"uv": self.spatial.constraints}
        )

    def hyperparameters(self, theta: jax.Array) -> dict[str, jax.Array]:
        """σ and φ."""
        sd, phi = (prior.forward(t) for prior, t in zip(self.priors, theta, strict=True))
        return {"sd": sd, "phi": phi}

    def design(self, theta: jax.Array) -> cx.SparseMatrix:
        """J: the latent vector's map to the linear predictor."""
        effect = self.spatial.effect_matrix(**self.hyperparameters(theta))
        return cx.hstack([self.fixed, effect])

    def log_joint(self, latent: dict[str, jax.Array], theta: jax.Array) -> jax.Array:
        """Log p(y | z, θ) p(z)."""
        eta = self.design(theta) @ jnp.concatenate([latent["beta"], latent["uv"]])
        data = likelihoods.poisson.log_prob(self.counts, self.log_expected + eta)
        field = self.spatial.log_prob(latent["uv"], **self.hyperparameters(theta))
        fixed = priors.normal(0.0, 10.0).log_prob(latent["beta"])
        return data.sum() + field + fixed.sum()

    def log_prior(self, theta: jax.Array) -> jax.Array:
        """Log p(θ)."""
        terms: list[Any] = [p.log_prob(t) for p, t in zip(self.priors, theta, strict=True)]
        return sum(terms)

    @partial(jax.jit, static_argnames="self")
    def conditional(self, theta: jax.Array) -> Conditional:
        """The precision of z, means and variances of β and η given θ."""
        found = self.laplace(theta)
        field = cs.GMRF(found.flat_mode, found.factor.Q, self.laplace.constraints)
        eta = field.linear_combination(self.design(theta))
        return Conditional(
            log_marginal=found.log_marginal,
            precision=found.factor.Q,
            beta_mean=found.mode["beta"],
            beta_variance=found.variance()["beta"],
            eta_mean=eta.mean,
            eta_variance=eta.variance,
        )
