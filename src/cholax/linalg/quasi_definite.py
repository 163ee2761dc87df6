"""Inverse and log-determinant of a small quasi-definite matrix, by Gauss–Jordan sweeps.

A quasi-definite matrix [M N; Nᵀ −T], M positive and T non-negative definite, needs no pivoting.
Plain array operations: LAPACK calls in one program, batched by vmap, may wait for each other for
ever on two cores, and the matrices here are small: one or two rows per constraint.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cholax._core.norms import smallest


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def quasi_definite(
    S: jax.Array, scale: jax.Array, positive: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """S⁻¹, log|det S| and the smallest pivot relative to `scale`, negative for a wrong sign.

    dS⁻¹ = −S⁻¹ dS S⁻¹;  d log|det S| = tr(S⁻¹ dS).

    Args:
        S: `(m, m)` symmetric, its first `positive` pivots positive and the others negative.
        scale: `(m,)` positive sizes that pivots are compared with.
        positive: number of positive pivots.
    """
    m = S.shape[0]
    X, pivots = _two(S) if m == 2 else lax.fori_loop(0, m, _sweep, (-S, jnp.zeros(m, S.dtype)))
    signed = pivots * np.where(np.arange(m) < positive, 1, -1).astype(S.dtype)
    # The other two tell of a singular S; infinite entries here would spoil adjoints of zero.
    X = jnp.where(jnp.all(jnp.isfinite(X)), X, 0)
    return X, jnp.sum(jnp.log(signed)), smallest(signed / scale, initial=jnp.inf)


def _two(S: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The common case: no loop, a quarter of the time to compile."""
    a, b, c = S[0, 0], S[0, 1], S[1, 1]
    ratio = b / a
    rest = c - ratio * b
    corner = -ratio / rest
    X = jnp.stack([1 / a - ratio * corner, corner, corner, 1 / rest]).reshape(2, 2)
    return X, jnp.stack([a, rest])


def _sweep(j: Any, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Sweep −S at j; all sweeps together make it S⁻¹."""
    S, pivots = state
    column = S[j]
    pivot = -column[j]
    here = jnp.arange(S.shape[0]) == j
    edge = column / pivot
    swept = S + edge[:, None] * column
    swept = jnp.where(here[:, None], edge[None, :], jnp.where(here[None, :], edge[:, None], swept))
    swept = jnp.where(here[:, None] & here[None, :], 1 / pivot, swept)
    return swept, jnp.where(here, pivot, pivots)


@quasi_definite.defjvp
def _jvp(positive: int, primals: Any, tangents: Any) -> Any:
    S, scale = primals
    dS = tangents[0]
    X, log_det, margin = quasi_definite(S, scale, positive)
    return (X, log_det, margin), (-X @ dS @ X, jnp.sum(X * dS), jnp.zeros_like(margin))
