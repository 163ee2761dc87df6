"""From values at nodes to values at points: sparse interpolation matrices."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from cholax._core.errors import ArgumentError, ShapeError
from cholax.linalg import SparseMatrix, from_coo


def check_points(points: Any, dimension: int, where: str) -> np.ndarray:
    """Return points as a finite `(m, dimension)` array, or raise."""
    try:
        array = np.asarray(points, float)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{where}: points must be numbers: {error}.") from error
    if dimension == 1 and array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] != dimension:
        raise ShapeError(f"{where}: points must have shape (m, {dimension}), got {array.shape}.")
    if not np.isfinite(array).all():
        first = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ArgumentError(f"{where}: points must be finite, got {array[first]} at {first}.")
    return array


def outside(points: np.ndarray, wrong: np.ndarray, where: str) -> ArgumentError:
    """The error that names the first of the points that lie outside."""
    first = int(np.flatnonzero(wrong)[0])
    return ArgumentError(
        f"{where}: {int(wrong.sum())} points lie outside the domain or in a hole of it, the first "
        f"is point {first} at {points[first].tolist()}. Extend the domain, or leave them out."
    )


def projection(columns: np.ndarray, weights: np.ndarray, n: int, dtype: Any) -> SparseMatrix:
    """The matrix whose row i has `weights[i]` in `columns[i]`."""
    m, k = columns.shape
    values = jnp.asarray(weights.ravel(), jnp.zeros(0).dtype if dtype is None else dtype)
    return from_coo(values, np.repeat(np.arange(m), k), columns.ravel(), (m, n))
