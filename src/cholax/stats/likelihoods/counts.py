"""Likelihoods of counts: poisson, negative_binomial (1 and 2), zero_inflated_poisson."""

import math

import jax
import jax.numpy as jnp

from cholax.stats.likelihoods._cumulative import incomplete_beta, incomplete_gamma
from cholax.stats.likelihoods._draws import poisson_draw
from cholax.stats.likelihoods._likelihood import Likelihood, Parameter
from cholax.stats.likelihoods._response import COUNTS, Distribution
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


def _rate(eta: jax.Array, *, exposure: jax.Array, **_: jax.Array) -> jax.Array:
    return jnp.exp(eta) * exposure


def _poisson_draw(key: jax.Array, eta: jax.Array, *, exposure: jax.Array) -> jax.Array:
    return poisson_draw(key, _rate(eta, exposure=exposure))


def _poisson_cdf(y: jax.Array, eta: jax.Array, *, exposure: jax.Array) -> jax.Array:
    return incomplete_gamma(y + 1.0, safe_exp(eta) * exposure)[1]


def _mixed_draw(key: jax.Array, mean: jax.Array, size: jax.Array) -> jax.Array:
    """Poisson counts whose rates are gamma of the given mean and shape."""
    for_rate, for_count = jax.random.split(key)
    mean, size = jax.lax.stop_gradient((mean, size))
    size = _bounded(size)
    rate = jax.random.gamma(for_rate, size, mean.shape, mean.dtype) * mean / size
    return poisson_draw(for_count, jnp.where(jnp.isinf(mean), mean, rate))


def _mixed_cdf(y: jax.Array, size: jax.Array, odds: jax.Array) -> jax.Array:
    """Of the negative binomial with mean size · odds."""
    return incomplete_beta(size, y + 1.0, 1.0 / (1.0 + odds), odds / (1.0 + odds))


def _bounded(x: jax.Array) -> jax.Array:
    """Away from overflow and 0, where a negative binomial is what it is in the limit."""
    end = float(jnp.finfo(x.dtype).max) ** 0.4
    return jnp.clip(x, 1.0 / end, end)


def _negative_binomial_variance(
    eta: jax.Array, *, size: jax.Array, exposure: jax.Array
) -> jax.Array:
    mean = _rate(eta, exposure=exposure)
    return mean + mean**2 / size


def _negative_binomial_draw(
    key: jax.Array, eta: jax.Array, *, size: jax.Array, exposure: jax.Array
) -> jax.Array:
    return _mixed_draw(key, _rate(eta, exposure=exposure), size)


def _negative_binomial_cdf(
    y: jax.Array, eta: jax.Array, *, size: jax.Array, exposure: jax.Array
) -> jax.Array:
    return _mixed_cdf(y, size, _bounded(safe_exp(eta) * exposure / size))


def _negative_binomial1_draw(
    key: jax.Array, eta: jax.Array, *, dispersion: jax.Array, exposure: jax.Array
) -> jax.Array:
    mean = _rate(eta, exposure=exposure)
    return _mixed_draw(key, mean, mean / dispersion)


def _negative_binomial1_cdf(
    y: jax.Array, eta: jax.Array, *, dispersion: jax.Array, exposure: jax.Array
) -> jax.Array:
    size = _bounded(safe_exp(eta) * exposure / dispersion)
    # Below, nothing but 0 is ever seen; the slope in the size has its square in a denominator.
    least = float(jnp.finfo(size.dtype).max) ** -0.25
    return _mixed_cdf(y, jnp.maximum(size, least), dispersion)


def _inflated_mean(
    eta: jax.Array, *, zero_probability: jax.Array, exposure: jax.Array
) -> jax.Array:
    return (1.0 - zero_probability) * _rate(eta, exposure=exposure)


def _inflated_variance(
    eta: jax.Array, *, zero_probability: jax.Array, exposure: jax.Array
) -> jax.Array:
    rate = _rate(eta, exposure=exposure)
    return (1.0 - zero_probability) * rate * (1.0 + zero_probability * rate)


def _inflated_draw(
    key: jax.Array, eta: jax.Array, *, zero_probability: jax.Array, exposure: jax.Array
) -> jax.Array:
    for_zero, for_count = jax.random.split(key)
    counted = jax.random.bernoulli(for_zero, 1.0 - zero_probability, eta.shape)
    drawn = poisson_draw(for_count, _rate(eta, exposure=exposure))
    known = ~jnp.isnan(zero_probability) & ~jnp.isnan(eta)
    return jnp.where(counted & known, drawn, jnp.where(known, 0.0, jnp.nan))


def _inflated_cdf(
    y: jax.Array, eta: jax.Array, *, zero_probability: jax.Array, exposure: jax.Array
) -> jax.Array:
    counted = _poisson_cdf(y, eta, exposure=exposure)
    return zero_probability + (1.0 - zero_probability) * counted


poisson = Likelihood(
    "poisson",
    "log E y = η + log exposure",
    (_EXPOSURE,),
    _poisson,
    COUNTS,
    Distribution(_rate, _rate, _poisson_draw, _poisson_cdf),
)
negative_binomial = Likelihood(
    "negative_binomial",
    "log E y = log μ = η + log exposure, Var y = μ + μ²/size",
    (Parameter("size", POSITIVE), _EXPOSURE),
    _negative_binomial,
    COUNTS,
    Distribution(
        _rate, _negative_binomial_variance, _negative_binomial_draw, _negative_binomial_cdf
    ),
)
negative_binomial1 = Likelihood(
    "negative_binomial1",
    "log E y = log μ = η + log exposure, Var y = μ (1 + dispersion)",
    (Parameter("dispersion", POSITIVE), _EXPOSURE),
    _negative_binomial1,
    COUNTS,
    Distribution(
        mean=_rate,
        variance=lambda eta, dispersion, exposure: _rate(eta, exposure=exposure) * (1 + dispersion),
        sample=_negative_binomial1_draw,
        cdf=_negative_binomial1_cdf,
    ),
)
zero_inflated_poisson = Likelihood(
    "zero_inflated_poisson",
    "y = 0 with zero_probability, else Poisson with log mean η + log exposure",
    (Parameter("zero_probability", UNIT), _EXPOSURE),
    _zero_inflated_poisson,
    COUNTS,
    Distribution(_inflated_mean, _inflated_variance, _inflated_draw, _inflated_cdf),
)
