"""A small dense inverse that compiles quickly and maps over lanes without LAPACK calls."""

import jax
import jax.numpy as jnp
from jax import lax


def inverse(matrix: jax.Array) -> jax.Array:
    """A⁻¹ by Gauss–Jordan elimination with partial pivoting; not finite where A is singular.

    For the few unknowns it serves, one loop over columns compiles several times faster than the
    chain of LAPACK calls behind `jnp.linalg.inv`, and a batch of it is ordinary array code.
    """
    n = matrix.shape[0]
    if n <= 1:
        return 1.0 / matrix
    rows = jnp.arange(n)

    def eliminate(k: jax.Array, pair: jax.Array) -> jax.Array:
        column = jnp.abs(pair[:, k])
        pivot = jnp.argmax(jnp.where(rows >= k, column, -1.0))
        order = jnp.where(rows == k, pivot, jnp.where(rows == pivot, k, rows))
        pair = pair[order]
        pivot_row = pair[k] / pair[k, k]
        reduced = pair - jnp.outer(pair[:, k], pivot_row)
        return jnp.where((rows == k)[:, None], pivot_row, reduced)

    pair = jnp.concatenate([matrix, jnp.eye(n, dtype=matrix.dtype)], axis=1)
    return lax.fori_loop(0, n, eliminate, pair)[:, n:]
