"""Square roots, logarithms near the diagonal and Sylvester equations of triangular matrices.

Roots and equations are scans over columns with one triangular solve each, O(n³), and run under jit
and vmap.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from cholax._core.norms import max_norm

Array = jax.Array


def _solve_upper(T: Array, b: Array) -> Array:
    return jax.scipy.linalg.solve_triangular(T, b, lower=False)


def sqrt_upper(T: Array) -> Array:
    """The principal square root U of an upper triangular T: column j solves (U + u_jj I) u = t.

    Between two eigenvalues 0 the entry is 0 where the equation is 0·u = 0 up to rounding, and NaN
    where it has no solution (a nilpotent part has no root). (Björck & Hammarling 1983.)
    """
    n = T.shape[0]
    index = jnp.arange(n)
    diagonal = jnp.sqrt(jnp.diagonal(T))
    rounding = 10 * n * jnp.finfo(T.dtype).eps * max_norm(T)

    def column(U: Array, j: Any) -> tuple[Array, None]:
        above = index < j
        free = above & (diagonal == 0) & (diagonal[j] == 0)
        # Rows from j on get the identity, which keeps the solve of one size.
        system = jnp.where(above[:, None] & above, U, 0) + jnp.diag(
            jnp.where(above & ~free, diagonal[j], 1).astype(T.dtype)
        )
        u = _solve_upper(system, jnp.where(above, T[:, j], 0))
        u = jnp.where(free, jnp.where(jnp.abs(u) <= rounding, 0, jnp.nan), u)
        return U.at[:, j].set(jnp.where(index == j, diagonal[j], u)), None

    return jax.lax.scan(column, jnp.zeros_like(T), index)[0]


class Band(NamedTuple):
    """The entries of a matrix on its diagonal and on both sides of it."""

    diagonal: Array
    above: Array
    below: Array


def band_of(A: Array) -> Band:
    """The band of a square matrix."""
    return Band(jnp.diagonal(A), jnp.diagonal(A, 1), jnp.diagonal(A, -1))


def with_band(F: Array, exact: Band) -> Array:
    """f(T) with the entries next to its diagonal replaced, T quasi-triangular.

    Those of a 2×2 block on the diagonal, or of the pair between two 1×1 blocks; not the one between
    blocks of which one is 2×2, which is no function of these four entries alone.
    """
    if F.shape[0] < 2:
        return jnp.diag(exact.diagonal.astype(F.dtype))
    block = jnp.pad(exact.below != 0, 1)
    alone = ~(block[:-2] | block[2:])
    rows, columns = jnp.arange(F.shape[0] - 1), jnp.arange(1, F.shape[0])
    above = jnp.where(alone, exact.above, jnp.diagonal(F, 1)).astype(F.dtype)
    F = F.at[rows, columns].set(above)
    F = F.at[columns, rows].set(exact.below.astype(F.dtype))
    return F.at[jnp.arange(F.shape[0]), jnp.arange(F.shape[0])].set(exact.diagonal.astype(F.dtype))


def isolated_blocks(A: Array) -> Array:
    """Whether no two neighbouring entries below the diagonal are there: blocks of at most 2×2."""
    below = jnp.diagonal(A, -1) != 0
    return ~jnp.any(below[:-1] & below[1:])


def log_near_diagonal(F: Array, T: Array) -> Array:
    """F with its diagonal and first superdiagonal replaced by those of log T, computed directly.

    With z = (t₂ − t₁)/(t₂ + t₁), entry (1, 2) is t₁₂ (2 atanh z + 2πi k)/(t₂ − t₁), k making up
    for the turns between the logarithms. (Higham 2008, eq. 11.28.)
    """
    t = jnp.diagonal(T)
    logs = jnp.log(t)
    one, two, gap = t[:-1], t[1:], t[1:] - t[:-1]
    change = logs[1:] - logs[:-1]
    mean = jnp.where(one + two == 0, 1, one + two)
    near = 2 * jnp.arctanh(jnp.where(one + two == 0, 0, gap / mean))
    turns = 2j * jnp.pi * jnp.round((change.imag - near.imag) / (2 * jnp.pi))
    # Logarithms of like size cancel; those of unlike size do not, but atanh is near its pole.
    size = (jnp.abs(one), jnp.abs(two))
    apart = (size[0] < size[1] / 2) | (size[1] < size[0] / 2) | (one + two == 0)
    slope = jnp.where(apart, change, near + turns) / jnp.where(gap == 0, 1, gap)
    above = jnp.diagonal(T, 1) * jnp.where(gap == 0, 1 / one, slope)
    return with_band(F, Band(logs, above, jnp.zeros_like(above)))


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


def lower_triangular(A: Array) -> Array:
    """Whether nothing stands above the diagonal: then Aᵀ is a Schur form already, A is not."""
    return jnp.all(jnp.triu(A, 1) == 0)


def turned(lower: Array, A: Array) -> Array:
    """Aᵀ if `lower`, else A: f(A) = f(Aᵀ)ᵀ."""
    return jnp.where(lower, A.T, A)


def oriented(f: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """F(A) for a lower triangular A as f(Aᵀ)ᵀ: a non-normal A would suffer from its Schur form."""

    def value(A: Array) -> Array:
        lower = lower_triangular(A)
        return turned(lower, f(turned(lower, A)))

    return value
