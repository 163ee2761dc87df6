"""Iterative refinement: a factor of a nearby matrix solves the exact system to rounding."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from cholax._core.norms import max_norm

Map = Callable[[Any], Any]

LIMIT = 60
# A correction as large as this part of the solution means that not even its first digit is known.
USELESS = 0.1


class _State(NamedTuple):
    x: jax.Array
    size: jax.Array
    go: jax.Array
    bad: jax.Array
    made: jax.Array


def refined(apply: Map, precondition: Map, b: jax.Array) -> jax.Array:
    """Solve A x = b by x += M⁻¹(b − A x), from x = M⁻¹ b; NaN where that does not contract.

    With corrections shrinking by ρ each, the next one is predicted; it is made only where it would
    show. A factor from the last Newton iterate has ρ of about the last step, so one is enough.

    Args:
        apply: x ↦ A x, exactly.
        precondition: b ↦ M⁻¹ b, M near A.
        b: right-hand side.
    """
    eps = jnp.finfo(b.dtype).eps

    def body(state: _State) -> _State:
        change = precondition(b - apply(state.x))
        x = state.x + change
        size, norm = max_norm(change), max_norm(x)
        rho = size / state.size
        contracts = rho < 0.5
        # Not contracting near the rounding level is the end; far above it, failure.
        bad = ~(size <= USELESS * norm) & (~contracts | (state.made + 1 == LIMIT))
        x = jnp.where(contracts | (size <= USELESS * norm), x, state.x)
        go = contracts & (rho * size > eps * norm)
        return _State(x, size, go, bad, state.made + 1)

    x = precondition(b)
    first = _State(x, max_norm(x), jnp.array(True), jnp.array(False), jnp.array(0))
    last = lax.while_loop(lambda s: s.go & (s.made < LIMIT), body, first)
    return jnp.where(last.bad & (max_norm(b) > 0), jnp.nan, last.x)
