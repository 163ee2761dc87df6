"""Penalised-complexity prior of a precision or of the standard deviation."""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from cholax._core.errors import ArgumentError
from cholax._core.pickling import recipe
from cholax.stats.priors._prior import Prior, check_positive, check_probability
from cholax.stats.support import POSITIVE


@recipe
def pc_precision(
    upper: float, probability: float, *, scale: Literal["precision", "sd"] = "precision"
) -> Prior:
    """Penalised-complexity prior with P(σ > upper) = probability: σ = τ^(-1/2) is exponential.

    With λ = -log(probability)/upper, log π(σ) = log λ - λσ on the scale "sd", and
    log π(τ) = log(λ/2) - 3/2 log τ - λ τ^(-1/2) on the scale "precision".

    Args:
        upper: a large standard deviation.
        probability: that the standard deviation exceeds it.
        scale: "precision" or "sd", the parameter this is a density of.

    Returns:
        A `Prior`.

    Raises:
        ArgumentError: an upper that is not positive, a probability outside (0, 1), another scale.

    Example:
        >>> from cholax.stats import priors
        >>> round(float(priors.pc_precision(1.0, 0.01, scale="sd").log_prob(1.0)), 4)
        -3.078

    Reference:
        Simpson, Rue, Riebler, Martins & Sørbye, "Penalising model component complexity" (2017).
    """
    where = "pc_precision"
    check_positive(where, upper=upper)
    check_probability(where, probability=probability)
    if scale not in ("precision", "sd"):
        raise ArgumentError(f"{where}: scale must be 'precision' or 'sd', got {scale!r}.")
    rate = -jnp.log(probability) / upper

    def of_sd(sd: jax.Array) -> jax.Array:
        return jnp.log(rate) - rate * sd

    def of_precision(tau: jax.Array) -> jax.Array:
        return of_sd(tau**-0.5) - 1.5 * jnp.log(tau) - math.log(2.0)

    def sampler(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        sd = jax.random.exponential(key, shape) / rate
        return sd if scale == "sd" else sd**-2.0

    density = of_sd if scale == "sd" else of_precision
    return Prior(f"{where}({upper}, {probability})", scale, POSITIVE, density, sampler)
