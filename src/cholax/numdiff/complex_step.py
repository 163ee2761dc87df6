"""The complex step: f'(x) = Im f(x + ih) / h, exact to rounding where f is holomorphic.

Where f is not (abs, max, norms, softplus, conjugates), it is silently wrong, often 0. So it is
compared with central differences, and refused where they disagree beyond their own error.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from cholax._core.errors import ArgumentError, UnsupportedError
from cholax._core.norms import max_norm
from cholax.numdiff.blocks import in_chunks
from cholax.numdiff.directional import Frame
from cholax.numdiff.estimate import Estimate
from cholax.numdiff.evaluate import Flat, Placing
from cholax.numdiff.rules import rule
from cholax.numdiff.sweep import CHUNK, derivatives

# Error bars of the comparison that the complex step may be away.
_ALLOWED = 10.0


def complex_derivatives(
    flat: Flat, at: Frame, items: jax.Array, placing: Placing
) -> tuple[Estimate, jax.Array]:
    """Complex-step derivatives along directions, NaN where central differences contradict them.

    Args:
        flat: the function.
        at: where, and the scales of the components.
        items: components or seeds, as `placing` takes them.
        placing: how a ladder is placed along them.
    """
    adaptive = rule("adaptive", flat.eps, None)
    origin = jnp.asarray(flat.on_points(at.x[None]))[0]
    if not jnp.issubdtype(origin.dtype, jnp.floating):
        origin = jnp.real(origin)
    reference, signs = derivatives(flat, at, items, adaptive, placing, origin)
    size = CHUNK // max(1, flat.x.size + flat.size)
    value = in_chunks(lambda items: _stepped(flat, at, items), items, size)
    # One-sided steps may run against the seed.
    against = signs if items.ndim == 1 else jnp.sum(signs * items, axis=1)
    compared = jnp.where(against < 0, -1, 1)[:, None] * reference.value
    difference = jnp.abs(value - compared)
    rounding = 100 * flat.eps * jnp.abs(value)
    agrees = difference <= _ALLOWED * reference.error + rounding
    agrees &= jnp.isfinite(reference.error)
    error = jnp.where(agrees, rounding, jnp.inf)
    directions = jnp.abs(signs) if items.ndim == 1 else jnp.abs(signs) * items
    return Estimate(jnp.where(agrees, value, jnp.nan), error), directions


def _stepped(flat: Flat, at: Frame, items: jax.Array) -> jax.Array:
    """Im f(x + ih·d) / h, `(items, m)`, the longest component of d being ±1."""
    seeds = items if items.ndim == 2 else (items[:, None] == jnp.arange(at.x.size))
    d = seeds * at.scale
    # h² vanishes beside 1, and h times a small derivative does not underflow.
    h = float(jnp.finfo(at.x.dtype).eps) ** 2
    try:
        stepped = flat.on_points(at.x + 1j * h * d)
    except TypeError as error:
        raise UnsupportedError(
            f'method="complex": the function does not take complex numbers ({error}). '
            'Use method="adaptive".'
        ) from error
    if not jnp.iscomplexobj(stepped):
        raise UnsupportedError(
            'method="complex": the result is real for complex x, so the function drops the '
            'imaginary part somewhere. Use method="adaptive".'
        )
    return jnp.imag(stepped) / h / max_norm(d, 1)[:, None]


def refuse_disagreement(derivative: Any, f: Callable[[], Any], where: str) -> None:
    """Raise where a concrete complex step was refused although f itself is finite."""
    leaves = jax.tree.leaves(derivative)
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return
    refused = any(bool(jnp.any(jnp.isnan(leaf))) for leaf in leaves)
    if refused and all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(f())):
        raise ArgumentError(
            f'{where}: method="complex" disagrees with central differences, or they cannot '
            "confirm it: the function is not holomorphic (abs, max, norm, where, conj) or not "
            'smooth here. Use method="adaptive".'
        )
