"""Likelihoods of counts: poisson, negative_binomial (1 and 2), zero_inflated_poisson."""

import math

import jax
import jax.numpy as jnp

from cholax.stats.likelihoods._likelihood import Likelihood, Parameter, any_count
from cholax.stats.likelihoods._special import (
    largest_exponent,
    log_factorial,
    log_gamma_ratio,
    safe_exp,
)
from cholax.stats.support import POSITIVE, UNIT

_EXPOSURE = Parameter("exposure", POSITIVE, default=1.0)


def _poisson(y: jax.Array, eta: jax.Array, *, exposure: jax.Array) -> jax.Array:
    log_mean = eta + jnp.log(exposure)
    return y * log_mean - safe_exp(log_mean) - log_factorial(y)


def _negative_binomial(
    y: jax.Array, eta: jax.Array, *, size: jax.Array, exposure: jax.Array
) -> jax.Array:
    log_odds = eta + jnp.log(exposure) - jnp.log(size)
    constant = log_gamma_ratio(jnp.broadcast_to(size, y.shape), y) - log_factorial(y)
    return constant + y * log_odds - (y + size) * jax.nn.softplus(log_odds)


def _negative_binomial1(
    y: jax.Array, eta: jax.Array, *, dispersion: jax.Array, exposure: jax.Array
) -> jax.Array:
    log_size = eta + jnp.log(exposure) - jnp.log(dispersion)
    # Γ(y + r)/Γ(r) = r Γ(y + r)/Γ(1 + r), regular as r → 0. For r beyond the square root of the
    # largest number the last term alone counts.
    r = jnp.exp(jnp.minimum(log_size, 0.5 * largest_exponent(log_size.dtype)))
    some = y > 0
    rising = jnp.where(
        some, log_size + log_gamma_ratio(1.0 + r, jnp.where(some, y, 1.0) - 1.0), 0.0
    )
    spread = jnp.log1p(dispersion)
    constant = rising - log_factorial(y) + y * (jnp.log(dispersion) - spread)
    return constant - safe_exp(log_size) * spread


def _zero_inflated_poisson(
    y: jax.Array, eta: jax.Array, *, zero_probability: jax.Array, exposure: jax.Array
) -> jax.Array:
    log_mean = eta + jnp.log(exposure)
    # π + (1 - π) e^-μ, as a sum of two positive terms; e^-1000 is 0 in any format.
    mean = jnp.exp(jnp.minimum(log_mean, math.log(1000.0)))
    zero = jnp.log(jnp.exp(-mean) - zero_probability * jnp.expm1(-mean))
    counted = jnp.log1p(-zero_probability) + y * log_mean - safe_exp(log_mean) - log_factorial(y)
    return jnp.where(y == 0, zero, counted)


poisson = Likelihood("poisson", "log E y = η + log exposure", (_EXPOSURE,), _poisson, any_count)
negative_binomial = Likelihood(
    "negative_binomial",
    "log E y = log μ = η + log exposure, Var y = μ + μ²/size",
    (Parameter("size", POSITIVE), _EXPOSURE),
    _negative_binomial,
    any_count,
)
negative_binomial1 = Likelihood(
    "negative_binomial1",
    "log E y = log μ = η + log exposure, Var y = μ (1 + dispersion)",
    (Parameter("dispersion", POSITIVE), _EXPOSURE),
    _negative_binomial1,
    any_count,
)
zero_inflated_poisson = Likelihood(
    "zero_inflated_poisson",
    "y = 0 with zero_probability, else Poisson with log mean η + log exposure",
    (Parameter("zero_probability", UNIT), _EXPOSURE),
    _zero_inflated_poisson,
    any_count,
)
