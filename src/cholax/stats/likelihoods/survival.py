"""Survival times with censoring: exponential and Weibull proportional hazards."""

from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.special import gammaln
from jax.typing import ArrayLike

from cholax._core.errors import ArgumentError, ShapeError
from cholax.stats.likelihoods._likelihood import Arrays, Likelihood, Parameter
from cholax.stats.likelihoods._response import Distribution, ResponseSupport
from cholax.stats.likelihoods._special import log1mexp, log_gamma_spread, safe_exp
from cholax.stats.support import POSITIVE


class Survival(NamedTuple):
    """Times known to lie in [lower, upper], seen from `entry` on; exact where both are equal."""

    lower: Any
    upper: Any
    entry: Any


def surv(
    time: ArrayLike,
    event: ArrayLike | None = None,
    *,
    upper: ArrayLike | None = None,
    entry: ArrayLike = 0.0,
) -> Survival:
    """Survival times as the responses of `exponential_survival` and `weibull_survival`.

    Args:
        time: `(n,)` times of the event or of the end of observation; NaN where missing.
        event: `(n,)` true where the event happened at `time`, false where it had not happened yet
            (censored on the right); all true when left out.
        upper: instead of event, `(n,)` ends of intervals [time, upper] that hold the event:
            infinite for censoring on the right, `time` itself for exact times; time 0 is censoring
            on the left.
        entry: when observation began, before which no event could be seen (truncation).

    Returns:
        A `Survival`, a pytree.

    Raises:
        ArgumentError: event together with upper, or events that are not 0 or 1.
        ShapeError: shapes that differ.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax.stats import likelihoods, surv
        >>> y = surv(jnp.array([2.0, 3.0]), event=[True, False])
        >>> likelihoods.exponential_survival.log_prob(y, jnp.zeros(2)).tolist()
        [-2.0, -3.0]
    """
    if event is not None and upper is not None:
        raise ArgumentError("surv: need event or upper, got both. An infinite upper is no event.")
    lower = jnp.asarray(time)
    lower = lower if jnp.issubdtype(lower.dtype, jnp.floating) else lower.astype(float)
    ends = lower if upper is None else jnp.asarray(upper, lower.dtype)
    if event is not None:
        happened = jnp.asarray(event)
        if not isinstance(happened, Tracer) and not np.isin(happened, (0, 1)).all():
            raise ArgumentError("surv: events must be 0 or 1. Pass upper for censored intervals.")
        _check_shape("event", happened, lower)
        ends = jnp.where(happened.astype(bool), lower, jnp.inf)
    _check_shape("upper", ends, lower)
    return Survival(lower, ends, jnp.broadcast_to(jnp.asarray(entry, lower.dtype), lower.shape))


def _check_shape(name: str, x: jax.Array, time: jax.Array) -> None:
    if x.shape != time.shape:
        raise ShapeError(f"surv: {name} must have the shape of time, {time.shape}, got {x.shape}.")


def _unpack(y: Any) -> tuple[Any, ...]:
    return y if isinstance(y, Survival) else (y, y, jnp.zeros_like(jnp.asarray(y)))


@final
@dataclass(frozen=True)
class TimeSupport(ResponseSupport):
    """Positive times, exact or known to lie in an interval."""

    lower: float = 0.0
    open: bool = True

    def contains(self, y: Any, **parameters: Any) -> jax.Array:
        """Whether each record can occur: entry <= lower <= upper, the event after time 0."""
        del parameters
        lower, upper, entry = map(jnp.asarray, y if isinstance(y, tuple) else _unpack(y))
        exact = lower == upper
        ordered = (entry >= 0) & (lower >= entry) & (upper >= lower) & jnp.isfinite(lower)
        # No mass at one point of a continuous time, and none before 0.
        return ordered & jnp.where(exact, lower > 0, upper > 0)


def _log_cumulative_hazard(t: jax.Array, eta: jax.Array, shape: jax.Array) -> jax.Array:
    return eta + shape * jnp.log(t)


def _weibull(y: Arrays, eta: jax.Array, *, shape: jax.Array) -> jax.Array:
    """With H(t) = e^η t^ω: log h - H at exact times, log(e^-H(lower) - e^-H(upper)) elsewhere."""
    lower, upper, entry = y
    exact, started = lower == upper, lower > 0
    t = jnp.where(started, lower, 1.0)
    log_H = _log_cumulative_hazard(t, eta, shape)
    log_hazard = log_H + jnp.log(shape) - jnp.log(t)
    bounded = ~exact & jnp.isfinite(upper)
    # H(upper) - H(lower) = H(lower) ((upper/lower)^ω - 1), without cancellation.
    end = jnp.where(bounded, upper, 2.0 * t)
    growth = shape * jnp.log(jnp.where(started, end / t, 2.0))
    steep = growth >= 30.0
    log_growth = jnp.where(steep, growth, jnp.log(jnp.expm1(jnp.where(steep, 1.0, growth))))
    log_gap = jnp.where(started, log_H + log_growth, _log_cumulative_hazard(end, eta, shape))
    ended = jnp.where(bounded, log1mexp(log_gap), 0.0)
    return jnp.where(exact, log_hazard, ended) - _hazard_since_entry(lower, entry, log_H, shape)


def _hazard_since_entry(
    lower: jax.Array, entry: jax.Array, log_H: jax.Array, shape: jax.Array
) -> jax.Array:
    """H(lower) - H(entry) = H(lower) (1 - (entry/lower)^ω): both may overflow, not so log_H."""
    late = (entry > 0) & (entry < lower)
    log_ratio = jnp.log(jnp.where(late, lower / jnp.where(late, entry, 1.0), 2.0))
    share = jnp.where(late, log1mexp(jnp.log(shape) + jnp.log(log_ratio)), 0.0)
    return jnp.where(lower > entry, safe_exp(log_H + share), 0.0)


def _weibull_mean(eta: jax.Array, *, shape: jax.Array) -> jax.Array:
    """E T = e^(-η/ω) Γ(1 + 1/ω)."""
    return safe_exp(gammaln(1.0 + 1.0 / shape) - eta / shape)


def _weibull_variance(eta: jax.Array, *, shape: jax.Array) -> jax.Array:
    """Var T = (E T)² (Γ(1 + 2/ω)/Γ(1 + 1/ω)² - 1)."""
    return _weibull_mean(eta, shape=shape) ** 2 * jnp.expm1(log_gamma_spread(1.0 / shape))


def _weibull_draw(key: jax.Array, eta: jax.Array, *, shape: jax.Array) -> jax.Array:
    # H(T) is exponential.
    log_H = jnp.log(jax.random.exponential(key, eta.shape, eta.dtype))
    return jnp.maximum(jnp.exp((log_H - eta) / shape), jnp.finfo(eta.dtype).tiny)


def _weibull_cdf(t: jax.Array, eta: jax.Array, *, shape: jax.Array) -> jax.Array:
    return -jnp.expm1(-safe_exp(_log_cumulative_hazard(t, eta, shape)))


def _exponential(y: Arrays, eta: jax.Array) -> jax.Array:
    return _weibull(y, eta, shape=jnp.ones((), eta.dtype))


exponential_survival = Likelihood(
    "exponential_survival",
    "hazard = exp(η)",
    (),
    _exponential,
    TimeSupport(),
    Distribution(
        mean=lambda eta: jnp.exp(-eta),
        variance=lambda eta: jnp.exp(-eta) ** 2,
        sample=lambda key, eta: _weibull_draw(key, eta, shape=jnp.ones_like(eta)),
        cdf=lambda t, eta: _weibull_cdf(t, eta, shape=jnp.ones_like(eta)),
    ),
    neutral=(1.0, 1.0, 0.0),
    unpack=_unpack,
)
weibull_survival = Likelihood(
    "weibull_survival",
    "hazard = shape · t^(shape - 1) · exp(η)",
    (Parameter("shape", POSITIVE),),
    _weibull,
    TimeSupport(),
    Distribution(_weibull_mean, _weibull_variance, _weibull_draw, _weibull_cdf),
    neutral=(1.0, 1.0, 0.0),
    unpack=_unpack,
)
