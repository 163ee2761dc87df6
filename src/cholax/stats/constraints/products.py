"""Products with the rows of a plane A x = e and with its orthonormal coordinates, in JAX.

All along the last axis of their argument. Where rows are eliminated, x = A⁺e + B u, the others are
dense rows on u, and everything follows from both.
"""

from typing import Any

import jax
import jax.numpy as jnp

from cholax.stats.constraints.held import constant
from cholax.stats.constraints.rows import Rows


def times(rows: Rows, x: jax.Array) -> jax.Array:
    """A x, `(..., k)` for x of shape `(..., n)`."""
    if rows.local is None:
        return x @ constant(rows, "matrix", x.dtype).T
    return rows.operator.along(x, transpose=True)


def magnitude(rows: Rows, x: jax.Array) -> jax.Array:
    """|A| |x|: A x below a few rounding units of it is rounding error."""
    if rows.local is None:
        return jnp.abs(x) @ jnp.abs(constant(rows, "matrix", x.dtype)).T
    return rows.magnitudes.along(jnp.abs(x), transpose=True)


def shortest(rows: Rows, e: jax.Array) -> jax.Array:
    """A⁺e, the shortest solution of A x = e, `(..., n)` for e of shape `(..., k)`."""
    if rows.local is None:
        return e @ pseudo_inverse(rows, e.dtype).T
    start, left = particular(rows, e)
    return start + rows.local.basis.along(shortest(rows.rest, left))


def pseudo_inverse(rows: Rows, dtype: Any) -> jax.Array:
    """A⁺ of dense rows."""
    if rows.are_orthonormal:
        return constant(rows, "matrix", dtype).T
    return constant(rows, "pseudo_inverse", dtype)


def particular(rows: Rows, e: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The shortest solution of the rows that are eliminated, and what is left of e for the rest."""
    local = rows.local
    assert local is not None
    start = local.inverse.along(e[..., local.rows])
    left = (e - times(rows, start))[..., rows.rest_rows]
    return start, left @ jnp.asarray(rows.rest_scale.T, e.dtype)


def onto_plane(rows: Rows, x: jax.Array) -> jax.Array:
    """The point of A x = 0 nearest to x."""
    return x - shortest(rows, times(rows, x))


def coordinates(rows: Rows, x: jax.Array) -> jax.Array:
    """Zᵀx, Z an orthonormal basis of the null space of A."""
    if rows.local is not None:
        return coordinates(rows.rest, rows.local.basis.along(x, transpose=True))
    Y, T = (jnp.asarray(part, x.dtype) for part in rows.reflectors)
    return (x - ((x @ Y) @ T) @ Y.T)[..., rows.k :]


def from_coordinates(rows: Rows, y: jax.Array) -> jax.Array:
    """Z y."""
    if rows.local is not None:
        return rows.local.basis.along(from_coordinates(rows.rest, y))
    Y, T = (jnp.asarray(part, y.dtype) for part in rows.reflectors)
    x = jnp.concatenate([jnp.zeros((*y.shape[:-1], rows.k), y.dtype), y], axis=-1)
    return x - ((x @ Y) @ T.T) @ Y.T
