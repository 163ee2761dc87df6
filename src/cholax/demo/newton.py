"""Newton's method for a convex function, guarded by step halving."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

_MAX_STEPS = 50
_MAX_HALVINGS = 30
# At decrement d the next error is O(d): the step taken last leaves z exact to rounding.
_DECREMENT = 1e-18
# Below this the full step is safe, and the function's own rounding would mislead the guard.
_TRUSTED_DECREMENT = 1e-8
_ARMIJO = 1e-4


def minimize(
    f: Callable[[jax.Array], jax.Array],
    step: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    start: jax.Array,
) -> jax.Array:
    """The argmin of f from `start`; `step(z)` gives Newton's direction d and the slope f'(z)d.

    NaN everywhere when it did not converge, so that nothing downstream looks like a result.
    """

    def unfinished(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        _, decrement, count = state
        return (decrement > _DECREMENT) & (count < _MAX_STEPS)

    def advance(
        state: tuple[jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        z, _, count = state
        direction, slope = step(z)
        length = jnp.where(-slope < _TRUSTED_DECREMENT, 1.0, _armijo(f, z, direction, slope))
        return z + length * direction, -slope, count + 1

    infinite = jnp.full((), jnp.inf, start.dtype)
    z, decrement, _ = jax.lax.while_loop(unfinished, advance, (start, infinite, jnp.array(0)))
    return jnp.where(decrement <= _DECREMENT, z, jnp.nan)


def _armijo(
    f: Callable[[jax.Array], jax.Array], z: jax.Array, direction: jax.Array, slope: jax.Array
) -> jax.Array:
    """The first of 1, 1/2, 1/4, … that gives a sufficient decrease."""
    value = f(z)

    def too_long(length: jax.Array) -> jax.Array:
        insufficient = f(z + length * direction) > value + _ARMIJO * length * slope
        return insufficient & (length > 0.5**_MAX_HALVINGS)

    return jax.lax.while_loop(too_long, lambda length: 0.5 * length, jnp.ones_like(slope))
