"""Square roots and Sylvester equations of upper triangular matrices, column by column.

Both are scans over columns with one triangular solve each, O(n³), and run under jit and vmap.
"""

from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


def _solve_upper(T: Array, b: Array) -> Array:
    return jax.scipy.linalg.solve_triangular(T, b, lower=False)


def sqrt_upper(T: Array) -> Array:
    """The principal square root U of an upper triangular T: column j solves (U + u_jj I) u = t.

    (Björck & Hammarling 1983.)
    """
    n = T.shape[0]
    index = jnp.arange(n)
    diagonal = jnp.sqrt(jnp.diagonal(T))

    def column(U: Array, j: Any) -> tuple[Array, None]:
        above = index < j
        # Rows from j on get the identity, which keeps the solve of one size.
        system = jnp.where(above[:, None] & above, U, 0) + jnp.diag(
            jnp.where(above, diagonal[j], 1).astype(T.dtype)
        )
        u = _solve_upper(system, jnp.where(above, T[:, j], 0))
        return U.at[:, j].set(jnp.where(index == j, diagonal[j], u)), None

    return jax.lax.scan(column, jnp.zeros_like(T), index)[0]


def sylvester_upper(T: Array, C: Array) -> Array:
    """Y with T Y + Y T = C for upper triangular T: column k solves (T + t_kk I) y = c − Y t_k."""
    n = T.shape[0]
    identity = jnp.eye(n, dtype=T.dtype)

    def column(Y: Array, k: Any) -> tuple[Array, None]:
        right = C[:, k] - Y @ jnp.where(jnp.arange(n) < k, T[:, k], 0)
        return Y.at[:, k].set(_solve_upper(T + T[k, k] * identity, right)), None

    return jax.lax.scan(column, jnp.zeros_like(C), jnp.arange(n))[0]


def schur(A: Array) -> tuple[Array, Array]:
    """Complex Schur form A = Q T Qᴴ."""
    T, Q = jax.scipy.linalg.schur(A, output="complex")
    return T, Q
