"""Likelihoods of continuous responses: gaussian, student_t, gamma."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr

from cholax.stats.likelihoods._cumulative import differentiable, incomplete_beta, incomplete_gamma
from cholax.stats.likelihoods._likelihood import Likelihood, Parameter
from cholax.stats.likelihoods._response import POSITIVES, REALS, Distribution
from cholax.stats.likelihoods._special import (
    log_gamma_ratio,
    safe_exp,
    safe_expm1,
    stirling_remainder,
)
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


def _gaussian_draw(key: jax.Array, eta: jax.Array, *, sd: jax.Array) -> jax.Array:
    return eta + sd * jax.random.normal(key, eta.shape, eta.dtype)


def _student_mean(eta: jax.Array, *, df: jax.Array, scale: jax.Array) -> jax.Array:
    del scale
    return jnp.where(df > 1.0, eta, jnp.nan)


def _student_variance(eta: jax.Array, *, df: jax.Array, scale: jax.Array) -> jax.Array:
    finite = df > 2.0
    factor = jnp.where(finite, df / jnp.where(finite, df - 2.0, 1.0), jnp.inf)
    return jnp.where(df > 1.0, scale**2 * factor, jnp.nan) + 0.0 * eta


def _student_draw(key: jax.Array, eta: jax.Array, *, df: jax.Array, scale: jax.Array) -> jax.Array:
    return eta + scale * jax.random.t(key, df, eta.shape, eta.dtype)


def _unit_student_cdf(t: jax.Array, df: jax.Array) -> jax.Array:
    # P(|T| > |t|) = I_x(df/2, 1/2), x = df/(df + t²).
    largest = 0.25 * jnp.finfo(t.dtype).max
    square = jnp.minimum(t * t, largest) / df
    x, rest = 1.0 / (1.0 + square), square / (1.0 + square)
    outside = 0.5 * incomplete_beta(0.5 * df, jnp.full_like(t, 0.5), x, rest)
    return jnp.where(t < 0, outside, 1.0 - outside)


def _unit_student_density(t: jax.Array, df: jax.Array) -> jax.Array:
    return jnp.exp(_student_t(t, jnp.zeros_like(t), df=df, scale=jnp.ones_like(t)))


# Through t² the derivative would be lost at t = 0.
_unit_student = differentiable(_unit_student_cdf, {0: _unit_student_density})


def _student_cdf(y: jax.Array, eta: jax.Array, *, df: jax.Array, scale: jax.Array) -> jax.Array:
    return _unit_student(*jnp.broadcast_arrays((y - eta) / scale, df))


def _gamma_draw(key: jax.Array, eta: jax.Array, *, shape: jax.Array) -> jax.Array:
    drawn = jax.random.gamma(key, shape, eta.shape, eta.dtype) * jnp.exp(eta) / shape
    # Small shapes underflow to 0, which is no possible response.
    return jnp.maximum(drawn, jnp.finfo(eta.dtype).tiny)


def _gamma_cdf(y: jax.Array, eta: jax.Array, *, shape: jax.Array) -> jax.Array:
    return incomplete_gamma(shape, shape * safe_exp(jnp.log(y) - eta))[0]


gaussian = Likelihood(
    "gaussian",
    "E y = η",
    (Parameter("sd", POSITIVE),),
    _gaussian,
    REALS,
    Distribution(
        mean=lambda eta, sd: eta + 0.0 * sd,
        variance=lambda eta, sd: sd**2 + 0.0 * eta,
        sample=_gaussian_draw,
        cdf=lambda y, eta, sd: ndtr((y - eta) / sd),
    ),
    neutral=0.0,
)
student_t = Likelihood(
    "student_t",
    "y = η + scale · t(df)",
    (Parameter("df", POSITIVE), Parameter("scale", POSITIVE)),
    _student_t,
    REALS,
    Distribution(_student_mean, _student_variance, _student_draw, _student_cdf),
    neutral=0.0,
)
gamma = Likelihood(
    "gamma",
    "log E y = η, Var y = (E y)²/shape",
    (Parameter("shape", POSITIVE),),
    _gamma,
    POSITIVES,
    Distribution(
        mean=lambda eta, shape: jnp.exp(eta) + 0.0 * shape,
        variance=lambda eta, shape: jnp.exp(eta) ** 2 / shape,
        sample=_gamma_draw,
        cdf=_gamma_cdf,
    ),
)
