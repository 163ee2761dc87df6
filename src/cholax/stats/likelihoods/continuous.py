"""Likelihoods of continuous responses: gaussian, student_t, gamma."""

import math

import jax
import jax.numpy as jnp

from cholax.stats.likelihoods._likelihood import Likelihood, Parameter, any_real
from cholax.stats.likelihoods._special import log_gamma_ratio, safe_expm1, stirling_remainder
from cholax.stats.support import POSITIVE

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def _gaussian(y: jax.Array, eta: jax.Array, *, sd: jax.Array) -> jax.Array:
    return -_HALF_LOG_2PI - jnp.log(sd) - 0.5 * ((y - eta) / sd) ** 2


def _student_t(y: jax.Array, eta: jax.Array, *, df: jax.Array, scale: jax.Array) -> jax.Array:
    half = 0.5 * df
    constant = log_gamma_ratio(half, jnp.full_like(half, 0.5)) - 0.5 * jnp.log(df * math.pi)
    return constant - jnp.log(scale) - (half + 0.5) * jnp.log1p(((y - eta) / scale) ** 2 / df)


def _gamma(y: jax.Array, eta: jax.Array, *, shape: jax.Array) -> jax.Array:
    # shape·log(shape) - log Γ(shape) and the exponent cancel for a large shape: both are taken
    # relative to Stirling's formula.
    off = jnp.log(y) - eta
    constant = 0.5 * jnp.log(shape) - _HALF_LOG_2PI - stirling_remainder(shape)
    return constant + shape * (off - safe_expm1(off)) - jnp.log(y)


def _positive(y: jax.Array, **_: jax.Array) -> jax.Array:
    return (y > 0) & jnp.isfinite(y)


gaussian = Likelihood(
    "gaussian", "E y = η", (Parameter("sd", POSITIVE),), _gaussian, any_real, neutral=0.0
)
student_t = Likelihood(
    "student_t",
    "y = η + scale · t(df)",
    (Parameter("df", POSITIVE), Parameter("scale", POSITIVE)),
    _student_t,
    any_real,
    neutral=0.0,
)
gamma = Likelihood(
    "gamma", "log E y = η, Var y = (E y)²/shape", (Parameter("shape", POSITIVE),), _gamma, _positive
)
