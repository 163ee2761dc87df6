"""Posterior moments of everything, over a grid of the hyperparameters θ."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cholax.demo.model import Bym2


class Integrated(NamedTuple):
    """Posterior moments over θ; each is a pair (mean, sd)."""

    log_marginal_likelihood: float
    moments: dict[str, tuple[float, float]]
    eta: tuple[np.ndarray, np.ndarray]
    risk: tuple[np.ndarray, np.ndarray]


def integrate(model: Bym2, *, points: int = 41) -> Integrated:
    """Moments of p(θ, z | y) with θ on a rectangular grid, z Gaussian given θ."""
    axes = np.linspace(-4.5, 0.6, points), np.linspace(-6.0, 7.0, points)
    cell = float(np.prod([axis[1] - axis[0] for axis in axes]))
    grid = jnp.asarray(np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1))
    # Not batched: a batch of Newton iterations lasts as long as its slowest.
    every = [model.conditional(theta)._replace(precision=None) for theta in np.asarray(grid)]
    given = jax.tree.map(lambda *x: np.stack(x), *every)
    log_density = jax.vmap(model.log_prior)(grid) + given.log_marginal
    log_marginal = jax.scipy.special.logsumexp(log_density) + np.log(cell)
    weights = np.asarray(jax.nn.softmax(log_density))

    def moments(mean: jax.Array, square: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        first = weights @ np.asarray(mean)
        return first, np.sqrt(weights @ np.asarray(square) - first**2)

    def over_theta(values: jax.Array) -> tuple[float, float]:
        mean, sd = moments(values, values**2)
        return float(mean), float(sd)

    beta = moments(given.beta_mean, given.beta_variance + given.beta_mean**2)
    eta, variance = given.eta_mean, given.eta_variance
    return Integrated(
        log_marginal_likelihood=float(log_marginal),
        moments={
            "log_sigma": over_theta(grid[:, 0]),
            "logit_phi": over_theta(grid[:, 1]),
            "sigma": over_theta(jnp.exp(grid[:, 0])),
            "phi": over_theta(jax.nn.sigmoid(grid[:, 1])),
            "beta0": (float(beta[0][0]), float(beta[1][0])),
            "beta1": (float(beta[0][1]), float(beta[1][1])),
        },
        eta=moments(eta, variance + eta**2),
        # exp(eta) is log-normal given θ.
        risk=moments(jnp.exp(eta + variance / 2), jnp.exp(2 * (eta + variance))),
    )
