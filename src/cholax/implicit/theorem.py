"""The implicit function theorem: F(z, θ) = 0 gives dz = −F_z⁻¹ F_θ dθ, to any order.

The derivative solves with the factor that the iteration left behind. That factor belongs to an
iterate next to the solution, so each solve is refined against products with the exact F_z, which
one jvp or vjp of F gives: derivatives are exact and nothing is factored again. The solve is a
linear operation in its right-hand side and differentiable in z and θ through those products
(d x = A⁻¹(db − dA x)), so every mix of forward and reverse mode exists.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cholax.implicit.refine import refined
from cholax.implicit.status import Status

Residual = Callable[..., jax.Array]


class Preconditioner(Protocol):
    """Solves with a matrix near F_z, from what the iteration left in `cache`.

    `apply` is the product with F_z itself, or with its transpose where that is asked for; methods
    without a factor work with it alone.
    """

    def __call__(self, cache: Any, b: jax.Array, transpose: bool, apply: Any) -> jax.Array:
        """Solve, approximately."""
        ...


def implicit_solution(
    iterate: Callable[[Any, Sequence[Any]], tuple[jax.Array, Any, Status]],
    residual: Residual,
    precondition: Preconditioner,
    start: Any,
    theta: Sequence[Any],
    prepare: Callable[[jax.Array, Sequence[Any], Any], Any] | None = None,
) -> tuple[jax.Array, Status]:
    """Solve F(z, θ) = 0: z and a status, differentiable in θ (not in the start).

    Args:
        iterate: `(start, theta) -> (z, cache, status)`; never differentiated.
        residual: `F(z, *theta)`, flat.
        precondition: approximate solves with F_z or its transpose.
        start: where the iteration starts; the solution does not depend on it.
        theta: parameters.
        prepare: makes the cache of the derivative, where the iteration leaves none.
    """

    @jax.custom_jvp
    def solution(start: Any, theta: Sequence[Any]) -> tuple[jax.Array, Any, Status]:
        return iterate(start, theta)

    def rule(primals: Any, tangents: Any) -> Any:
        start, theta = primals
        z, cache, status = solution(start, theta)
        change = jax.jvp(lambda *t: residual(z, *t), tuple(theta), tuple(tangents[1]))[1]
        # Constants: the factor only preconditions, its derivative is never needed.
        fixed = jax.tree.map(lax.stop_gradient, (z, list(theta), cache))
        factor = fixed[2] if prepare is None else prepare(*fixed)
        dz = _solve(residual, precondition, z, theta, factor, -change)
        return (z, cache, status), (dz, *jax.tree.map(_zero_tangent, (cache, status)))

    solution.defjvp(rule)
    z, _, status = solution(start, list(theta))
    return z, status


def _solve(
    residual: Residual,
    precondition: Preconditioner,
    z: jax.Array,
    theta: Sequence[Any],
    cache: Any,
    b: jax.Array,
) -> jax.Array:
    """F_z(z, θ)⁻¹ b as a differentiable linear operation."""

    def product(x: jax.Array) -> jax.Array:
        return jax.jvp(lambda z: residual(z, *theta), (z,), (x,))[1]

    def solve(apply: Any, b: jax.Array) -> jax.Array:
        return refined(apply, lambda r: precondition(cache, r, False, apply), b)

    def solve_transposed(apply: Any, b: jax.Array) -> jax.Array:
        return refined(apply, lambda r: precondition(cache, r, True, apply), b)

    try:
        return lax.custom_linear_solve(product, b, solve, solve_transposed)
    except (ValueError, NotImplementedError):
        # F has no reverse mode (a while_loop over z): forward mode works all the same, and reverse
        # mode raises. Any other fault of F shows again here.
        return lax.custom_linear_solve(product, b, solve)


def _zero_tangent(x: Any) -> Any:
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.zeros_like(x)
    return np.zeros(jnp.shape(x), jax.dtypes.float0)
