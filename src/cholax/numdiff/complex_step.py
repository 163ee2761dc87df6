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
from cholax.numdiff.directional import Frame, along
from cholax.numdiff.estimate import Estimate
from cholax.numdiff.rules import rule

# Error bars of the comparison that the complex step may be away.
_ALLOWED = 10.0


def complex_along(
    on_points: Callable[[jax.Array], jax.Array], at: Frame, seed: jax.Array, eps: float
) -> tuple[Estimate, jax.Array]:
    """Complex-step derivative along a direction, NaN where central differences contradict it."""
    d = seed * at.scale
    # h² vanishes beside 1, and h times a small derivative does not underflow.
    h = float(jnp.finfo(at.x.dtype).eps) ** 2
    try:
        stepped = on_points((at.x + 1j * h * d)[None])[0]
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
    value = jnp.imag(stepped) / h
    reference, steps = along(on_points, at, seed, rule("adaptive", eps, None))
    # One-sided steps may run against the seed.
    compared = jnp.where(jnp.sum(steps * d) < 0, -1, 1) * reference.value
    difference = jnp.abs(value - compared)
    rounding = 100 * eps * jnp.abs(value)
    agrees = difference <= _ALLOWED * reference.error + rounding
    agrees &= jnp.isfinite(reference.error)
    error = jnp.where(agrees, rounding, jnp.inf)
    return Estimate(jnp.where(agrees, value, jnp.nan), error, reference.variation), d


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
