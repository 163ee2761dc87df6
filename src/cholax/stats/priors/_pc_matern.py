"""Penalised-complexity prior of range and standard deviation of a Matérn field, jointly."""

from typing import Any

import jax
import jax.numpy as jnp

from cholax._core.errors import ArgumentError
from cholax._core.pickling import recipe
from cholax.stats.priors._prior import Prior, check_positive, check_probability
from cholax.stats.support import POSITIVE, Pair


@recipe
def pc_matern(
    lower_range: float,
    range_probability: float,
    upper_sd: float,
    sd_probability: float,
    *,
    dimension: int = 2,
) -> Prior:
    """Joint prior with P(range < lower_range) and P(sd > upper_sd) as given.

    range^(-d/2) and sd are independent and exponential, with rates
    λ₁ = -log(range_probability) lower_range^(d/2) and λ₂ = -log(sd_probability)/upper_sd:

        log π(r, σ) = log(d/2 λ₁ λ₂) - (d/2 + 1) log r - λ₁ r^(-d/2) - λ₂ σ

    The parameter is the pair (range, sd), as `matern` takes them.

    Args:
        lower_range: a small range.
        range_probability: that the range is below it.
        upper_sd: a large standard deviation.
        sd_probability: that the standard deviation exceeds it.
        dimension: d of the domain.

    Returns:
        A `Prior` of the pair (range, sd).

    Raises:
        ArgumentError: a bound that is not positive, a probability outside (0, 1), d not 1 to 3.

    Example:
        >>> from cholax.stats import priors
        >>> prior = priors.pc_matern(0.5, 0.05, 2.0, 0.05)
        >>> round(float(prior.log_prob((1.0, 1.0))), 4)
        -2.1876

    Reference:
        Fuglstad, Simpson, Lindgren & Rue, "Constructing priors that penalize the complexity of
        Gaussian random fields" (2019).
    """
    where = "pc_matern"
    check_positive(where, lower_range=lower_range, upper_sd=upper_sd)
    check_probability(where, range_probability=range_probability, sd_probability=sd_probability)
    if dimension not in (1, 2, 3):
        raise ArgumentError(f"{where}: dimension must be 1, 2 or 3, got {dimension!r}.")
    half = dimension / 2
    rate1 = -jnp.log(range_probability) * lower_range**half
    rate2 = -jnp.log(sd_probability) / upper_sd

    def density(x: Any) -> jax.Array:
        extent, sd = x
        of_range = jnp.log(half * rate1) - (half + 1) * jnp.log(extent) - rate1 * extent**-half
        return of_range + jnp.log(rate2) - rate2 * sd

    def sampler(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
        one, other = jax.random.split(key)
        extent = (jax.random.exponential(one, shape) / rate1) ** (-1 / half)
        return extent, jax.random.exponential(other, shape) / rate2

    support = Pair((POSITIVE, POSITIVE))
    name = f"{where}({lower_range}, {range_probability}, {upper_sd}, {sd_probability})"
    return Prior(name, "pair (range, sd)", support, density, sampler)
