"""Likelihoods of successes: bernoulli and binomial, with the logit link."""

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from cholax.stats.likelihoods._cumulative import incomplete_beta
from cholax.stats.likelihoods._draws import binomial_draw
from cholax.stats.likelihoods._likelihood import Likelihood, Parameter
from cholax.stats.likelihoods._response import Distribution, ResponseSupport
from cholax.stats.likelihoods._special import log_factorial, log_gamma_ratio
from cholax.stats.support import POSITIVE


def _bernoulli(y: jax.Array, eta: jax.Array) -> jax.Array:
    return -jax.nn.softplus((1.0 - 2.0 * y) * eta)


def _bernoulli_draw(key: jax.Array, eta: jax.Array) -> jax.Array:
    drawn = jax.random.bernoulli(key, sigmoid(eta)).astype(eta.dtype)
    return jnp.where(jnp.isnan(eta), jnp.nan, drawn)


def _binomial(y: jax.Array, eta: jax.Array, *, trials: jax.Array) -> jax.Array:
    failures = trials - y
    choose = log_gamma_ratio(failures + 1.0, y) - log_factorial(y)
    return choose - y * jax.nn.softplus(-eta) - failures * jax.nn.softplus(eta)


def _binomial_draw(key: jax.Array, eta: jax.Array, *, trials: jax.Array) -> jax.Array:
    return binomial_draw(key, trials, sigmoid(eta), sigmoid(-eta))


def _binomial_cdf(y: jax.Array, eta: jax.Array, *, trials: jax.Array) -> jax.Array:
    return incomplete_beta(trials - y, y + 1.0, sigmoid(-eta), sigmoid(eta))


bernoulli = Likelihood(
    "bernoulli",
    "logit P(y = 1) = η",
    (),
    _bernoulli,
    ResponseSupport(0.0, 1.0, integer=True),
    Distribution(
        mean=sigmoid,
        variance=lambda eta: sigmoid(eta) * sigmoid(-eta),
        sample=_bernoulli_draw,
        cdf=lambda _, eta: sigmoid(-eta),
    ),
    neutral=0.0,
)
binomial = Likelihood(
    "binomial",
    "logit(E y/trials) = η",
    (Parameter("trials", POSITIVE),),
    _binomial,
    ResponseSupport(0.0, "trials", integer=True),
    Distribution(
        mean=lambda eta, trials: sigmoid(eta) * trials,
        variance=lambda eta, trials: trials * sigmoid(eta) * sigmoid(-eta),
        sample=_binomial_draw,
        cdf=_binomial_cdf,
    ),
    neutral=0.0,
)
