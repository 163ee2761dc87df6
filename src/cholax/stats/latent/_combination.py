"""Precisions that are linear combinations of fixed matrices, with coefficients that vary."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from cholax.patterns import Pattern

Coefficients = Callable[..., Sequence[jax.Array]]


def lower_pattern(matrices: Sequence[Any]) -> tuple[Pattern, np.ndarray]:
    """The union of the lower triangles, diagonal included, and each matrix's values on it.

    Args:
        matrices: symmetric SciPy sparse matrices of one order.

    Returns:
        A symmetric pattern and a `(len(matrices), nnz)` array.
    """
    n = matrices[0].shape[0]
    keys, data = [], []
    for R in matrices:
        entries = sp.tril(sp.coo_array(R)).tocsc().tocoo()
        keys.append(entries.col.astype(np.int64) * n + entries.row)
        data.append(entries.data)
    diagonal = np.arange(n, dtype=np.int64) * (n + 1)
    stored = np.unique(np.concatenate([diagonal, *keys]))
    columns, rows = np.divmod(stored, max(n, 1))
    indptr = np.searchsorted(columns, np.arange(n + 1))
    basis = np.zeros((len(matrices), stored.size))
    for k, (key, values) in enumerate(zip(keys, data, strict=True)):
        basis[k, np.searchsorted(stored, key)] = values
    pattern = Pattern((n, n), indptr.astype(np.int32), rows.astype(np.int32), symmetric=True)
    return pattern, basis


def combination(
    matrices: Sequence[Any], coefficients: Coefficients
) -> tuple[Pattern, Callable[..., jax.Array]]:
    """The pattern and the values of Σ_k c_k(hyperparameters) R_k.

    Args:
        matrices: the R_k, symmetric SciPy sparse matrices.
        coefficients: from hyperparameters by name to the scalars c_k.
    """
    pattern, basis = lower_pattern(matrices)

    def values(**hyper: jax.Array) -> jax.Array:
        terms = [
            c * jnp.asarray(R, c.dtype) for c, R in zip(coefficients(**hyper), basis, strict=True)
        ]
        return sum(terms[1:], start=terms[0])

    return pattern, values
