"""Penalised-complexity priors of the correlation of an autoregression of first order."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from scipy.optimize import brentq

from cholax._core.errors import ArgumentError
from cholax._core.pickling import recipe
from cholax.stats.priors._prior import Prior, check_probability
from cholax.stats.support import Interval

_RHO = Interval(-1.0, 1.0)


@recipe
def pc_ar1(bound: float, probability: float, *, base: Literal[0, 1] = 0) -> Prior:
    """Penalised-complexity prior of ρ, shrinking to independence (base 0) or to no change (1).

    The distance from the base model is exponential with a rate λ that follows from the statement:

    - base 0: d = √(-log(1 - ρ²)), P(|ρ| > bound) = probability, both signs alike;
      log π(ρ) = log(λ/2) - λd + log |ρ| - log(1 - ρ²) - log d.
    - base 1: d = √(1 - ρ), at most √2, P(ρ > bound) = probability;
      log π(ρ) = log λ - λd - log(2d) - log(1 - e^(-√2 λ)).

    Args:
        bound: a value of ρ, between 0 and 1 for base 0 and between -1 and 1 for base 1.
        probability: of exceeding it; for base 1 above √((1 - bound)/2), its smallest value.
        base: 0 or 1.

    Returns:
        A `Prior` on `rho`.

    Raises:
        ArgumentError: numbers outside these ranges.

    Example:
        >>> from cholax.stats import priors
        >>> round(float(priors.pc_ar1(0.5, 0.5).log_prob(0.5)), 4)
        -0.9124

    Reference:
        Sørbye & Rue, "Penalised complexity priors for stationary autoregressive processes" (2017).
    """
    check_probability("pc_ar1", probability=probability)
    if base == 0:
        return _around_zero(float(bound), float(probability))
    if base == 1:
        return _around_one(float(bound), float(probability))
    raise ArgumentError(f"pc_ar1: base must be 0 or 1, got {base!r}.")


def _around_zero(bound: float, probability: float) -> Prior:
    check_probability("pc_ar1", bound=bound)
    rate = -math.log(probability) / math.sqrt(-math.log1p(-(bound**2)))

    def density(rho: jax.Array) -> jax.Array:
        square = _inner(rho) ** 2
        share = _distance_share(square)
        d = jnp.abs(_inner(rho)) * share
        value = math.log(0.5 * rate) - rate * d - jnp.log1p(-square) - jnp.log(share)
        return jnp.where(jnp.abs(rho) < 1.0, value, -jnp.inf)

    def sampler(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        one, other = jax.random.split(key)
        d = jax.random.exponential(one, shape) / rate
        return jax.random.rademacher(other, shape) * jnp.sqrt(-jnp.expm1(-(d**2)))

    return Prior(f"pc_ar1({bound}, {probability})", "rho", _RHO, density, sampler)


def _inner(rho: jax.Array) -> jax.Array:
    """Zero in the place of the ends, where the density is 0 or infinite."""
    return jnp.where(jnp.abs(rho) < 1.0, rho, 0.0)


def _distance_share(s: jax.Array) -> jax.Array:
    """√(-log(1 - s)/s), 1 at s = 0."""
    small = s < 1e-3
    t = jnp.where(small, 0.5, s)
    series = 1.0 + s * (1 / 2 + s * (1 / 3 + s * (1 / 4 + s * (1 / 5 + s / 6))))
    return jnp.sqrt(jnp.where(small, series, -jnp.log1p(-t) / t))


def _around_one(bound: float, probability: float) -> Prior:
    if not -1 < bound < 1:
        raise ArgumentError(f"pc_ar1: bound must lie between -1 and 1, got {bound}.")
    distance, farthest = math.sqrt(1.0 - bound), math.sqrt(2.0)
    least = distance / farthest
    if probability <= least:
        raise ArgumentError(
            f"pc_ar1: for bound {bound} and base 1 the probability must exceed √((1 - bound)/2) = "
            f"{least:.6g}, which a flat distance has; got {probability}. Raise it."
        )

    def excess(rate: float) -> float:
        return math.expm1(-rate * distance) / math.expm1(-rate * farthest) - probability

    # 1 - e^(-λd) reaches the probability no later than here.
    largest = -math.log1p(-probability) / distance + 1.0
    found: Any = brentq(excess, 1e-10, largest, xtol=1e-14)
    rate = float(found)
    constant = math.log(rate) - math.log(2.0) - math.log(-math.expm1(-rate * farthest))

    def density(rho: jax.Array) -> jax.Array:
        distance = jnp.sqrt(1.0 - _inner(rho))
        value = constant - rate * distance - jnp.log(distance)
        return jnp.where(jnp.abs(rho) < 1.0, value, -jnp.inf)

    def sampler(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        u = jax.random.uniform(key, shape)
        d = -jnp.log1p(u * math.expm1(-rate * farthest)) / rate
        return 1.0 - d**2

    name = f"pc_ar1({bound}, {probability}, base=1)"
    return Prior(name, "rho", _RHO, density, sampler)
