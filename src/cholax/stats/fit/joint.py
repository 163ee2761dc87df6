"""The joint Gaussian approximation of latent variables and parameters."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core import options
from cholax._core.errors import ArgumentError
from cholax.linalg.construct import from_coo
from cholax.linalg.factor import Factor
from cholax.linalg.matrix import SparseMatrix
from cholax.stats._covariance import covariance_root


def joint_precision(fit: Any) -> SparseMatrix:
    """`Fit.joint_precision`."""
    V = fit.covariance()
    if not np.all(np.isfinite(V)) or fit.status.boundary.any():
        raise ArgumentError(
            "Fit.joint_precision: need a covariance matrix of the parameters, got none: "
            f"{fit.status.reason()}."
        )
    factor = fit.result.factor
    H = factor.A if isinstance(factor, Factor) else factor.Q
    S = jnp.asarray(fit.sensitivity.T, H.dtype)
    HS = H @ S
    n, p = S.shape
    corner = jnp.asarray(-fit.hessian, H.dtype) + S.T @ HS
    rows, columns = np.tril_indices(p)
    border_rows, border_columns = np.divmod(np.arange(n * p), n)
    # The lower triangle: H, the border below it, the corner.
    i = np.concatenate([H.pattern.rows, n + border_rows, n + rows])
    j = np.concatenate([H.pattern.columns, border_columns, n + columns])
    values = jnp.concatenate([H.values, -HS.T.ravel(), corner[rows, columns]])
    return from_coo(values, i, j, (n + p, n + p), symmetric=True, half=True)


def joint_sample(fit: Any, key: jax.Array, shape: int | Sequence[int]) -> tuple[Any, Any]:
    """`Fit.sample`."""
    options.random_key(key, "Fit.sample")
    shape = options.sizes(shape, "Fit.sample")
    for_theta, for_u = jax.random.split(key)
    result, evaluator = fit.result, fit.evaluator
    dtype = evaluator.dtype
    root = jnp.asarray(covariance_root(fit.covariance()), dtype)
    count, p = int(np.prod(shape)), fit.flat_theta.size
    change = jax.random.normal(for_theta, (count, p), dtype) @ root.T
    S = jnp.asarray(fit.sensitivity, dtype)
    u = result.flat_mode + change @ S + result.factor.sample(for_u, (count,))
    theta = jnp.asarray(fit.flat_theta, dtype) + change

    def stacked(unravel: Any, flat: jax.Array) -> Any:
        made = jax.vmap(unravel)(flat)
        return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), made)

    return stacked(result.unravel, u), stacked(evaluator.unravel, theta)
