"""The stationary autoregressive process of first order."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from cholax._core.pickling import recipe
from cholax.stats.latent._combination import combination
from cholax.stats.latent._model import (
    Hyperparameter,
    Hypers,
    LatentModel,
    Parametrization,
    with_precision,
)
from cholax.stats.latent._sizes import check_size
from cholax.stats.support import POSITIVE, Interval


@recipe
def ar1(n: int) -> LatentModel:
    """Stationary autoregression x_{i+1} = ρ x_i + ε_i with Var(x_i) = 1/τ for every i.

    Q = τ/(1 - ρ²) T(ρ), tridiagonal: -ρ beside the diagonal, 1 + ρ² on it, and 1 at both ends, the
    exact stationary boundary. Hyperparameters: `precision` τ > 0 (marginal), or `sd`, or
    `innovation_precision` = τ/(1 - ρ²), or `innovation_sd`; with `rho` between -1 and 1.

    Args:
        n: length.

    Returns:
        A `LatentModel`.

    Raises:
        ArgumentError: n below 1.

    Example:
        >>> from cholax.stats import ar1
        >>> ar1(3).precision(innovation_sd=1.0, rho=0.5).to_dense().tolist()
        [[1.0, -0.5, 0.0], [-0.5, 1.25, -0.5], [0.0, -0.5, 1.0]]

    Reference:
        Rue & Held, *Gaussian Markov Random Fields* (2005), section 1.1.
    """
    n = check_size(n, 1, "ar1")
    inner = np.ones(n)
    inner[[0, -1]] = 0.0
    if n == 1:
        # Both ends at once: 1 - ρ², so that the variance is 1/τ again.
        inner[0] = -1.0
    beside = sp.eye_array(n, k=-1) + sp.eye_array(n, k=1)
    matrices = [sp.eye_array(n), sp.diags_array(inner), beside]

    def coefficients(precision: jax.Array, rho: jax.Array) -> tuple[jax.Array, ...]:
        innovation = precision / (1.0 - rho**2)
        return innovation, innovation * rho**2, -innovation * rho

    def log_det(precision: jax.Array, rho: jax.Array) -> jax.Array:
        return n * jnp.log(precision) - (n - 1) * jnp.log1p(-(rho**2))

    pattern, values = combination(matrices, coefficients)
    return LatentModel(
        "ar1",
        pattern,
        _parametrizations(),
        values,
        null_space=np.zeros((n, 0)),
        cheap_log_det=log_det,
    )


def _parametrizations() -> tuple[Parametrization, ...]:
    rho = Hyperparameter("rho", Interval(-1.0, 1.0))

    def from_precision(innovation_precision: jax.Array, rho: jax.Array) -> Hypers:
        return {"precision": innovation_precision * (1.0 - rho**2), "rho": rho}

    def from_sd(innovation_sd: jax.Array, rho: jax.Array) -> Hypers:
        return from_precision(innovation_sd**-2.0, rho)

    precision = Hyperparameter("innovation_precision", POSITIVE)
    sd = Hyperparameter("innovation_sd", POSITIVE)
    return (
        *with_precision(rho),
        Parametrization((precision, rho), from_precision),
        Parametrization((sd, rho), from_sd),
    )
