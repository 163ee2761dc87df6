"""Draws on the plane of linear constraints."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import lax

from cholax._core import options
from cholax.implicit.failed_lanes import mark_entries
from cholax.stats.constraints import products
from cholax.stats.constraints.held import constant
from cholax.stats.constraints.small import quasi_definite

if TYPE_CHECKING:
    from cholax.stats.constraints.factor import ConstrainedFactor


def sample_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """A shape given as one number or as several."""
    return options.sizes(shape, "sample")


@partial(jax.jit, static_argnums=2)
def draw(factor: "ConstrainedFactor", key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws of N(0, Z(ZᵀQZ)⁻¹Zᵀ), `(*shape, n)`.

    1. x ~ N(0, P), P the inverse of the pinned matrix;
    2. x − PAᵀ(APAᵀ)⁻¹A x is N(0, Σ), on the plane but with the pins held back;
    3. the covariance sought is Σ + ΣE C⁻¹ EᵀΣ with C = Γ⁻¹ − EᵀΣE, and −C⁻¹ is the trailing block
       of S⁻¹, −ΣE C⁻¹ the trailing columns of P G S⁻¹. So ΣE C^(−½) times white noise is added;
    4. where rows are eliminated all this is u, and B u is returned.
    """
    for_field, for_pins = jax.random.split(key)
    x = factor.factor.sample(for_field, shape)
    pins = len(factor.pins)
    rows, local = factor.rest, factor.local
    k = 0 if rows is None else rows.k
    A: Any = None if rows is None else constant(rows, "matrix", x.dtype)
    if rows is not None:
        PAt = factor.solved[:, :k]
        # Numbers also where the factorisation failed: 0 × NaN would be the adjoint.
        numbers = jnp.where(factor.factor.ok, x, 0)
        x = x - (numbers @ A.T) @ _inverse(A @ PAt) @ PAt.T
    if pins:
        inverse_C = jnp.where(factor.ok, -factor.inverse[k:, k:], jnp.eye(pins, dtype=x.dtype))
        SigmaE = -(factor.solved @ factor.inverse[:, k:]) @ _inverse(inverse_C)
        white = jax.random.normal(for_pins, (*x.shape[:-1], pins), x.dtype)
        x = x + white @ _root(inverse_C).T @ SigmaE.T
    if rows is not None:
        # The rounding error of x goes back onto the plane.
        off = x @ A.T
        x = x - off @ products.pseudo_inverse(rows, x.dtype).T
    if local is not None:
        x = local.basis.along(mark_entries(x, factor.ok))
    return mark_entries(x, factor.ok)


def _inverse(M: jax.Array) -> jax.Array:
    """Inverse of a small positive definite matrix."""
    M = 0.5 * (M + M.T)
    return quasi_definite(M, lax.stop_gradient(jnp.diagonal(M)), M.shape[0])[0]


def _root(M: jax.Array) -> jax.Array:
    return jnp.sqrt(M) if M.shape == (1, 1) else jnp.linalg.cholesky(M)
