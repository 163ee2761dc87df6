"""Draws of counts of any size, their derivatives zero."""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient


def poisson_draw(key: jax.Array, rate: jax.Array) -> jax.Array:
    """Poisson counts in rate's dtype; NaN rates give NaN."""
    rate = stop_gradient(rate)
    exact = rate < _exact(rate.dtype)
    counts = jax.random.poisson(key, jnp.where(exact, rate, 1.0)).astype(rate.dtype)
    return jnp.where(exact, counts, _normal_draw(key, rate, rate, jnp.ones_like(rate)))


def binomial_draw(
    key: jax.Array, trials: jax.Array, success: jax.Array, failure: jax.Array
) -> jax.Array:
    """Numbers of successes in `trials`, given the probabilities of both outcomes."""
    trials, success, failure = map(stop_gradient, (trials, success, failure))
    mean, variance = trials * success, trials * success * failure
    exact = variance < _exact(variance.dtype)
    few = jax.random.binomial(key, jnp.where(exact, trials, 1.0), success, dtype=mean.dtype)
    many = _normal_draw(key, mean, variance, failure - success)
    return jnp.where(jnp.isnan(mean), jnp.nan, jnp.where(exact, few, jnp.clip(many, 0.0, trials)))


def _exact(dtype: jnp.dtype) -> float:
    """Variance beyond which rejection, that compares numbers as large as it, loses its digits."""
    return 1e10 if dtype == jnp.float64 else 1e5


def _normal_draw(
    key: jax.Array, mean: jax.Array, variance: jax.Array, skew: jax.Array
) -> jax.Array:
    """Rounded normal draws with the third cumulant, skew · variance: off by O(1/variance)."""
    z = jax.random.normal(jax.random.fold_in(key, 1), mean.shape, mean.dtype)
    draw = jnp.round(mean + jnp.sqrt(variance) * z + skew * (z * z - 1.0) / 6.0)
    return jnp.where(jnp.isinf(mean), mean, draw)
