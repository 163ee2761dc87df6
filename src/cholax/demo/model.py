"""Poisson BYM2 model of disease counts, its marginal likelihood by Laplace's method.

    y_i ~ Poisson(E_i exp(η_i)),   η = β0 + β1 x + σ(√φ u + √(1-φ) v),
    β ~ N(0, 10² I),   v ~ N(0, I),   u ~ N(0, (scale R)⁻) on the plane sum(u) = 0.

The latent vector is z = (β, u, v), so η = J z with the sparse J(θ) = [1 x | σ√φ I | σ√(1-φ) I].
Its prior precision P = diag(0.01 I, scale R, I) is singular along u = 1 only, where the data
inform: H = P + J'WJ, W = diag(E exp η), is sparse and positive definite, and the constraint
is imposed exactly on the factor of H (plane.py). No penalty, no jitter, no dense 11'.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.scipy.special import gammaln

import cholax as cx
from cholax.demo.data import Counties
from cholax.demo.intrinsic import intrinsic
from cholax.demo.newton import minimize
from cholax.demo.plane import PlaneFactor

FIXED_PRECISION = 0.01
# PC prior P(sigma > 1) = 0.01.
SIGMA_RATE = -float(np.log(0.01))


class Laplace(NamedTuple):
    """The Gaussian approximation of z given y and θ, as far as the reports need it."""

    nll: jax.Array
    beta_mean: jax.Array
    beta_variance: jax.Array
    eta_mean: jax.Array
    eta_variance: jax.Array


class Bym2:
    """Functions of θ = (log σ, logit φ), all of them traceable and differentiable by JAX."""

    def __init__(self, data: Counties) -> None:
        n = self.size = data.size
        self.counts, self.expected = jnp.asarray(data.counts), jnp.asarray(data.expected)
        fixed = np.stack([np.ones(n), data.covariate], axis=1)
        self.fixed = cx.from_scipy(sp.csc_array(fixed))
        self.intrinsic = intrinsic(n, data.edges)
        self.prior_precision = cx.block_diag(
            [
                FIXED_PRECISION * cx.eye(2),
                self.intrinsic.scale * self.intrinsic.laplacian,
                cx.eye(n),
            ]
        )
        self.normal = jnp.concatenate([jnp.zeros(2), jnp.ones(n), jnp.zeros(n)])
        self.mode = self._implicit_mode()

    def design(self, par: jax.Array) -> cx.SparseMatrix:
        """J: the latent vector's map to the linear predictor."""
        sigma, phi = jnp.exp(par[0]), jax.nn.sigmoid(par[1])
        one = cx.eye(self.size)
        structured, free = sigma * jnp.sqrt(phi), sigma * jnp.sqrt(1.0 - phi)
        return cx.hstack([self.fixed, structured * one, free * one])

    def energy(self, z: jax.Array, par: jax.Array) -> jax.Array:
        """-log p(y | z, θ) + z'Pz/2, convex in z."""
        eta = self.design(par) @ z
        poisson = self.counts * (eta + jnp.log(self.expected)) - self.expected * jnp.exp(eta)
        constant = gammaln(self.counts + 1.0).sum()
        return constant - poisson.sum() + 0.5 * cx.quadratic_form(self.prior_precision, z)

    def gradient(self, z: jax.Array, par: jax.Array) -> jax.Array:
        """Pz - J'(y - E exp(Jz)), the derivative of the energy in z."""
        J = self.design(par)
        residual = self.counts - self.expected * jnp.exp(J @ z)
        return self.prior_precision @ z - J.T @ residual

    def hessian(self, z: jax.Array, par: jax.Array) -> cx.SparseMatrix:
        """H = P + J' diag(E exp(Jz)) J."""
        J = self.design(par)
        return self._precision(J, self.expected * jnp.exp(J @ z))

    def _precision(self, J: cx.SparseMatrix, weights: jax.Array) -> cx.SparseMatrix:
        return self.prior_precision + cx.congruence(J, weights)

    def plane(self, z: jax.Array, par: jax.Array) -> PlaneFactor:
        """The factored Hessian, restricted to sum(u) = 0."""
        return PlaneFactor.of(self.hessian(z, par), self.normal)

    def _implicit_mode(self) -> jax.custom_jvp[jax.Array]:
        """z*(θ) = argmin energy on the plane.   dz* = -N(N'HN)⁻¹N' ∂gradient/∂θ dθ.

        Newton's loop is never differentiated; the rule is the implicit function theorem, and
        since it calls z* itself it holds for every order of derivative.
        """

        def mode(par: jax.Array) -> jax.Array:
            def step(z: jax.Array) -> tuple[jax.Array, jax.Array]:
                slope = self.gradient(z, par)
                direction = -self.plane(z, par).solve(slope)
                return direction, slope @ direction

            start = jnp.zeros_like(self.normal)
            return minimize(lambda z: self.energy(z, par), step, start)

        def mode_jvp(
            primals: tuple[jax.Array], tangents: tuple[jax.Array]
        ) -> tuple[jax.Array, jax.Array]:
            (par,), (par_dot,) = primals, tangents
            z = implicit(par)
            _, slope_dot = jax.jvp(lambda theta: self.gradient(z, theta), (par,), (par_dot,))
            return z, -self.plane(z, par).solve(slope_dot)

        implicit = jax.custom_jvp(mode)
        implicit.defjvp(mode_jvp)
        return implicit

    def nll(self, par: jax.Array) -> jax.Array:
        """-log p(y | θ) by Laplace: energy(z*) + (log|N'HN| - log|P|_*)/2.

        The powers of 2π of prior and Gaussian integral, both of dimension 2n + 1, cancel.
        """
        z = self.mode(par)
        ranks = 2 * np.log(FIXED_PRECISION), (self.size - 1) * jnp.log(self.intrinsic.scale)
        prior_logdet = sum(ranks) + self.intrinsic.gen_logdet
        return self.energy(z, par) + 0.5 * (self.plane(z, par).log_det() - prior_logdet)

    def log_prior(self, par: jax.Array) -> jax.Array:
        """σ ~ Exponential, φ ~ Uniform(0, 1), as a density of θ."""
        log_sigma = np.log(SIGMA_RATE) - SIGMA_RATE * jnp.exp(par[0]) + par[0]
        return log_sigma + jax.nn.log_sigmoid(par[1]) + jax.nn.log_sigmoid(-par[1])

    def negative_log_posterior(self, par: jax.Array) -> jax.Array:
        """-log p(y | θ) p(θ)."""
        return self.nll(par) - self.log_prior(par)

    @partial(jax.jit, static_argnames="self")
    def laplace(self, par: jax.Array) -> Laplace:
        """Means and variances of β and η given θ.

        Var(η_i) = (J N(N'HN)⁻¹N'J')_ii is the derivative of log|N'HN| in the i-th weight,
        because H depends on it through w_i J_i'J_i: one selected inverse yields all of them.
        """
        z, J = self.mode(par), self.design(par)
        eta = J @ z
        plane = self.plane(z, par)
        eta_variance = jax.grad(
            lambda weights: PlaneFactor.of(self._precision(J, weights), self.normal).log_det()
        )(self.expected * jnp.exp(eta))
        return Laplace(
            nll=self.nll(par),
            beta_mean=z[:2],
            beta_variance=plane.inverse_diagonal()[:2],
            eta_mean=eta,
            eta_variance=eta_variance,
        )
