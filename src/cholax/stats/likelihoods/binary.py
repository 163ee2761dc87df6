"""Likelihoods of successes: bernoulli and binomial, with the logit link."""

import jax

from cholax.stats.likelihoods._likelihood import Likelihood, Parameter, any_count
from cholax.stats.likelihoods._special import log_factorial, log_gamma_ratio
from cholax.stats.support import POSITIVE


def _bernoulli(y: jax.Array, eta: jax.Array) -> jax.Array:
    return -jax.nn.softplus((1.0 - 2.0 * y) * eta)


def _binomial(y: jax.Array, eta: jax.Array, *, trials: jax.Array) -> jax.Array:
    failures = trials - y
    choose = log_gamma_ratio(failures + 1.0, y) - log_factorial(y)
    return choose - y * jax.nn.softplus(-eta) - failures * jax.nn.softplus(eta)


def _zero_or_one(y: jax.Array) -> jax.Array:
    return (y == 0) | (y == 1)


def _at_most_trials(y: jax.Array, *, trials: jax.Array) -> jax.Array:
    return any_count(y) & any_count(trials) & (y <= trials)


bernoulli = Likelihood("bernoulli", "logit P(y = 1) = η", (), _bernoulli, _zero_or_one)
binomial = Likelihood(
    "binomial",
    "logit(E y/trials) = η",
    (Parameter("trials", POSITIVE),),
    _binomial,
    _at_most_trials,
    neutral=0.0,
)
