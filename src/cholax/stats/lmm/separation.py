"""Means and variances of the families of generalised linear mixed models, draws, separation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.special

from cholax._core.errors import UnsupportedError

Array = np.ndarray


class Moments(NamedTuple):
    """E y and dE y/dη as functions of η, Var y as a function of the mean; parameters by name."""

    mean: Callable[..., Array]
    slope: Callable[..., Array]
    variance: Callable[..., Array]


def _rate(eta: Array, exposure: Any = 1.0, **_: Any) -> Array:
    return np.exp(eta) * exposure


def _probability(eta: Array, trials: Any = 1.0, **_: Any) -> Array:
    return scipy.special.expit(eta) * trials


def _probability_slope(eta: Array, trials: Any = 1.0, **_: Any) -> Array:
    return scipy.special.expit(eta) * scipy.special.expit(-eta) * trials


def _inflated(eta: Array, zero_probability: Any, exposure: Any = 1.0, **_: Any) -> Array:
    return (1.0 - zero_probability) * np.exp(eta) * exposure


def _inflated_variance(mu: Array, zero_probability: Any, **_: Any) -> Array:
    # Var y = (1 − π) λ (1 + π λ), λ = μ/(1 − π).
    return mu * (1.0 + zero_probability / (1.0 - zero_probability) * mu)


def _student_mean(eta: Array, df: Any, **_: Any) -> Array:
    return eta + (0.0 if df > 1 else np.nan)


def _student_variance(mu: Array, df: Any, scale: Any, **_: Any) -> Array:
    return 0.0 * mu + (scale**2 * df / (df - 2.0) if df > 2 else np.inf)


def _identity(eta: Array, **_: Any) -> Array:
    return eta


def _one(eta: Array, **_: Any) -> Array:
    return np.ones_like(eta)


def _exponential(eta: Array, **_: Any) -> Array:
    return np.exp(eta)


MOMENTS = {
    "poisson": Moments(_rate, _rate, lambda mu, **_: mu),
    "negative_binomial": Moments(_rate, _rate, lambda mu, size, **_: mu + mu**2 / size),
    "negative_binomial1": Moments(_rate, _rate, lambda mu, dispersion, **_: mu * (1 + dispersion)),
    "zero_inflated_poisson": Moments(_inflated, _inflated, _inflated_variance),
    "bernoulli": Moments(_probability, _probability_slope, lambda mu, **_: mu * (1 - mu)),
    "binomial": Moments(
        _probability, _probability_slope, lambda mu, trials, **_: mu * (1 - mu / trials)
    ),
    "gaussian": Moments(_identity, _one, lambda mu, sd, **_: sd**2 + 0 * mu),
    "student_t": Moments(_student_mean, _one, _student_variance),
    "gamma": Moments(_exponential, _exponential, lambda mu, shape, **_: mu**2 / shape),
}


def draw(family: str, key: jax.Array, eta: Any, parameters: dict[str, Any]) -> jax.Array:
    """Responses given the linear predictor.

    Args:
        family: name of the family.
        key: a JAX random key.
        eta: linear predictor, any shape that parameters broadcast to.
        parameters: of the family, by name.

    Raises:
        UnsupportedError: a family without a sampler here.
    """
    eta = jnp.asarray(eta)
    exposure = parameters.get("exposure", 1.0)
    match family:
        case "poisson":
            return jax.random.poisson(key, jnp.exp(eta) * exposure).astype(eta.dtype)
        case "bernoulli":
            return jax.random.bernoulli(key, jax.nn.sigmoid(eta)).astype(eta.dtype)
        case "binomial":
            trials = jnp.broadcast_to(jnp.asarray(parameters["trials"], eta.dtype), eta.shape)
            return jax.random.binomial(key, trials, jax.nn.sigmoid(eta), dtype=eta.dtype)
        case "gaussian":
            return eta + parameters["sd"] * jax.random.normal(key, eta.shape, eta.dtype)
        case "gamma":
            shape = parameters["shape"]
            drawn = jax.random.gamma(key, shape, eta.shape, eta.dtype)
            return drawn * jnp.exp(eta) / shape
        case "negative_binomial" | "negative_binomial1":
            first, second = jax.random.split(key)
            mean = jnp.exp(eta) * exposure
            one = "size" in parameters
            size = parameters["size"] if one else mean / parameters["dispersion"]
            rate = jax.random.gamma(first, size, eta.shape, eta.dtype) * mean / size
            return jax.random.poisson(second, rate).astype(eta.dtype)
        case "zero_inflated_poisson":
            first, second = jax.random.split(key)
            counted = jax.random.bernoulli(first, 1.0 - parameters["zero_probability"], eta.shape)
            drawn = jax.random.poisson(second, jnp.exp(eta) * exposure)
            return jnp.where(counted, drawn, 0).astype(eta.dtype)
        case "student_t":
            noise = jax.random.t(key, parameters["df"], eta.shape, eta.dtype)
            return eta + parameters["scale"] * noise
        case _:
            raise UnsupportedError(f"simulate: no sampler for the family {family}.")


def separating_direction(family: str, y: Array, X: Array, trials: Any) -> Array | None:
    """A direction δ of the fixed effects along which the likelihood rises for ever, or None.

    Rows at the lower end of their range must have xᵀδ ≤ 0, at the upper end ≥ 0, in between = 0,
    some strictly: a linear program.

    Args:
        family: name; families without ends cannot be separated.
        y: `(n,)` responses.
        X: `(n, p)`.
        trials: of binomial responses.

    Example:
        >>> import numpy as np
        >>> from cholax.stats.lmm.families import separating_direction
        >>> X = np.array([[1.0, -1.0], [1.0, -2.0], [1.0, 1.0]])
        >>> separating_direction("bernoulli", np.array([0.0, 0.0, 1.0]), X, 1.0) is not None
        True
        >>> y, X = np.array([0.0, 1.0, 0.0, 1.0]), X[[0, 0, 2, 2]]
        >>> separating_direction("bernoulli", y, X, 1.0) is None
        True

    Reference:
        Konis (2007), *Linear programming algorithms for detecting separated data*.
    """
    counts = ("poisson", "negative_binomial", "negative_binomial1", "zero_inflated_poisson")
    if X.shape[1] == 0 or family not in ("bernoulli", "binomial", *counts):
        return None
    low = y == 0
    high = np.zeros_like(low) if family in counts else y == trials
    between = ~(low | high)
    scale = np.maximum(np.max(np.abs(X), axis=0), 1e-300)
    signed = np.where(high, 1.0, -1.0)[:, None] * X / scale
    ends = signed[~between]
    if ends.shape[0] == 0:
        return None
    found = scipy.optimize.linprog(
        -ends.sum(axis=0),
        A_ub=-ends,
        b_ub=np.zeros(ends.shape[0]),
        A_eq=(X / scale)[between] if between.any() else None,
        b_eq=np.zeros(int(between.sum())) if between.any() else None,
        bounds=(-1.0, 1.0),
    )
    if not found.success or -found.fun <= 1e-7 * max(1.0, float(np.abs(ends).sum())):
        return None
    return np.asarray(found.x) / scale
