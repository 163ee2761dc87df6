"""Correlated random effects of independent groups."""

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.pickling import recipe
from cholax.patterns import Pattern
from cholax.stats.correlation import CholeskyCorrelation
from cholax.stats.latent._model import Hyperparameter, Hypers, LatentModel, Parametrization
from cholax.stats.latent._sizes import check_size
from cholax.stats.support import POSITIVE, REAL


@recipe
def iidkd(n: int, k: int) -> LatentModel:
    """Correlated effects, k in each of n independent groups, as intercepts and slopes: Q = I ⊗ Σ⁻¹.

    Variable i·k + a is effect a of group i. Hyperparameters: `sd` `(k,)` with
    `correlation_cholesky` `(k, k)`, the lower factor with unit rows for which `lkj_cholesky` is a
    prior, Σ = diag(sd) L Lᵀ diag(sd); or `covariance_cholesky`, the lower factor of Σ; or
    `covariance`, Σ itself.

    Args:
        n: number of groups.
        k: number of effects in each.

    Returns:
        A `LatentModel` with n·k variables.

    Raises:
        ArgumentError: n negative or k below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax.stats import iidkd
        >>> Q = iidkd(2, 2).precision(covariance=jnp.array([[1.0, 0.0], [0.0, 0.25]]))
        >>> Q.diagonal().tolist()
        [1.0, 4.0, 1.0, 4.0]
    """
    n, k = check_size(n, 0, "iidkd"), check_size(k, 1, "iidkd", "k")
    columns, rows = np.triu_indices(k)
    counts = np.tile(np.arange(k, 0, -1), n)
    starts = k * np.arange(n)[:, None]
    pattern = Pattern(
        (n * k, n * k),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        (starts + rows).ravel().astype(np.int32),
        symmetric=True,
    )

    def values(factor: jax.Array) -> jax.Array:
        inverse = _triangular_inverse(factor)
        return jnp.tile((inverse.T @ inverse)[rows, columns], n)

    def log_det(factor: jax.Array) -> jax.Array:
        return -2.0 * n * jnp.sum(jnp.log(jnp.diagonal(factor)))

    return LatentModel(
        "iidkd",
        pattern,
        _parametrizations(k),
        values,
        null_space=np.zeros((n * k, 0)),
        cheap_log_det=log_det,
    )


def _parametrizations(k: int) -> tuple[Parametrization, ...]:
    sd = Hyperparameter("sd", POSITIVE, (k,))
    correlation = Hyperparameter("correlation_cholesky", CholeskyCorrelation(k), (k, k))
    factor = Hyperparameter("covariance_cholesky", REAL, (k, k))
    covariance = Hyperparameter("covariance", REAL, (k, k))

    def from_sd(sd: jax.Array, correlation_cholesky: jax.Array) -> Hypers:
        return {"factor": sd[:, None] * correlation_cholesky}

    def from_factor(covariance_cholesky: jax.Array) -> Hypers:
        return {"factor": jnp.tril(covariance_cholesky)}

    def from_covariance(covariance: jax.Array) -> Hypers:
        return {"factor": jnp.linalg.cholesky(covariance)}

    return (
        Parametrization((sd, correlation), from_sd),
        Parametrization((factor,), from_factor),
        Parametrization((covariance,), from_covariance),
    )


def _triangular_inverse(L: jax.Array) -> jax.Array:
    """L⁻¹ row by row: k is small, and batches of LAPACK's solver are slow to start."""
    one = jnp.eye(L.shape[0], dtype=L.dtype)
    rows: list[jax.Array] = []
    for i in range(L.shape[0]):
        known = L[i, :i] @ jnp.stack(rows) if rows else 0.0
        rows.append((one[i] - known) / L[i, i])
    return jnp.stack(rows)
