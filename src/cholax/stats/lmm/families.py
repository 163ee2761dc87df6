"""Means and variances of the families of generalised linear mixed models, and separation."""

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
    """E y as a function of η, and Var y as a function of the mean; parameters by name."""

    mean: Callable[..., Array]
    variance: Callable[..., Array]


def _rate(eta: Array, exposure: Any = 1.0, **_: Any) -> Array:
    return np.exp(eta) * exposure


def _probability(eta: Array, trials: Any = 1.0, **_: Any) -> Array:
    return scipy.special.expit(eta) * trials


MOMENTS = {
    "poisson": Moments(_rate, lambda mu, **_: mu),
    "negative_binomial": Moments(_rate, lambda mu, size, **_: mu + mu**2 / size),
    "negative_binomial1": Moments(_rate, lambda mu, dispersion, **_: mu * (1 + dispersion)),
    "bernoulli": Moments(_probability, lambda mu, **_: mu * (1 - mu)),
    "binomial": Moments(_probability, lambda mu, trials, **_: mu * (1 - mu / trials)),
    "gaussian": Moments(lambda eta, **_: eta, lambda mu, sd, **_: sd**2 + 0 * mu),
    "gamma": Moments(lambda eta, **_: np.exp(eta), lambda mu, shape, **_: mu**2 / shape),
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
    counts = ("poisson", "negative_binomial", "negative_binomial1")
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
