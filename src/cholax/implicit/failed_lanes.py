"""NaN where an iteration failed, in values and in derivatives, and nowhere else.

Multiplying by NaN would do for values, but 0 × NaN is NaN: a lane that `jnp.where` discards sends a
cotangent of zero, and the NaN it gave back would spoil every parameter the lanes share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from cholax._core.linear_map import linear_map


def mark(z: jax.Array, ok: jax.Array, theta: Sequence[Any]) -> jax.Array:
    """z, NaN where not ok; then what depends on z has NaN as its derivative in θ, the rest zero.

    Args:
        z: any array, whose own derivative counts where ok.
        ok: a boolean scalar.
        theta: everything z depends on.
    """
    return _marked(z, ok, [t for t in theta if _moves(t)])


@jax.custom_jvp
def _marked(z: jax.Array, ok: jax.Array, theta: Sequence[Any]) -> jax.Array:
    del theta
    return jnp.where(ok, z, jnp.nan)


def _marked_jvp(primals: Any, tangents: Any) -> Any:
    z, ok, _ = primals
    dz = tangents[0]
    dz = jnp.zeros_like(z) if _is_zero(dz) else jnp.where(ok, dz, 0)
    out, back = _Spread(z.shape, z.dtype), None
    for dt in tangents[2]:
        if not _is_zero(dt):
            dt = jnp.asarray(dt)
            back = _Spread(dt.shape, dt.dtype)
            dz = dz + linear_map(out, back, (ok,), dt)
    return jnp.where(ok, z, jnp.nan), dz


_marked.defjvp(_marked_jvp, symbolic_zeros=True)


def mark_entries(z: jax.Array, ok: jax.Array) -> jax.Array:
    """z, NaN in the entries that are not ok, and so are their derivatives unless they are zero."""
    return _marked_entries(z, ok)


@jax.custom_jvp
def _marked_entries(z: jax.Array, ok: jax.Array) -> jax.Array:
    return jnp.where(ok, z, jnp.nan)


def _marked_entries_jvp(primals: Any, tangents: Any) -> Any:
    z, ok = primals
    return _marked_entries(z, ok), linear_map(_guard, _guard, (ok,), tangents[0])


_marked_entries.defjvp(_marked_entries_jvp)


def detach(ok: jax.Array, arrays: Sequence[Any]) -> list[Any]:
    """The same arrays, without derivatives where not ok: no adjoint passes, not even NaN."""
    return [jnp.where(ok, x, lax.stop_gradient(x)) if _moves(x) else x for x in arrays]


def keep(ok: jax.Array, tangent: Any) -> Any:
    """A tangent, zero where not ok; its transpose makes the cotangent zero there."""
    return jnp.where(ok, tangent, 0) if _moves(tangent) else tangent


@dataclass(frozen=True)
class _Spread:
    """x ↦ an array of NaN if any entry of x is not zero and the lane failed, else of zeros."""

    shape: tuple[int, ...]
    dtype: Any
    is_marker: ClassVar[bool] = True

    def __call__(self, residuals: tuple[jax.Array, ...], x: jax.Array) -> jax.Array:
        (ok,) = residuals
        lost = ~ok & jnp.any(x != 0)
        return jnp.broadcast_to(jnp.where(lost, jnp.nan, 0.0).astype(self.dtype), self.shape)


def _guard(residuals: tuple[jax.Array, ...], x: jax.Array) -> jax.Array:
    (ok,) = residuals
    return jnp.where(ok | (x == 0), x, jnp.nan)


def _moves(x: Any) -> bool:
    dtype = jnp.result_type(x)
    return dtype != jax.dtypes.float0 and jnp.issubdtype(dtype, jnp.inexact)


def _is_zero(tangent: Any) -> bool:
    symbolic = isinstance(tangent, jax.custom_derivatives.SymbolicZero)
    return symbolic or not _moves(tangent)
