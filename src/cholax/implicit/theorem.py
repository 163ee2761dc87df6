"""The implicit function theorem: F(z, θ) = 0 gives dz = −F_z⁻¹ F_θ dθ, to any order.

The derivative solves with the factor that the iteration left behind. That factor belongs to an
iterate next to the solution, so each solve is refined against products with the exact F_z, which
one jvp or vjp of F gives: derivatives are exact and nothing is factored again. The solve is a
linear operation in its right-hand side and differentiable in z and θ through those products
(d x = A⁻¹(db − dA x)), so every mix of forward and reverse mode exists.

Where the iteration failed there is no solution: its value is NaN, and so is every derivative that
depends on it, but one that does not (a cotangent of zero, as `jnp.where(converged, z, 0.0)` sends)
gets an exact zero. F at such a point may be anything, and 0 × NaN is NaN: nothing computed there
may reach an adjoint.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cholax._core.linear_map import LinearSolver, linear_solve
from cholax.implicit.failed_lanes import detach, keep, mark, mark_entries
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
    """Solve F(z, θ) = 0: z, NaN where not converged, and a status; differentiable in θ.

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
        z, cache, status = out = solution(start, theta)
        ok = status.converged
        z, *theta = detach(ok, [z, *theta])
        moved = [keep(ok, t) for t in tangents[1]]
        change = jax.jvp(lambda *t: residual(z, *t), tuple(theta), tuple(moved))[1]
        # Constants: the factor only preconditions, its derivative is never needed.
        fixed = jax.tree.map(lax.stop_gradient, (z, theta, cache))
        factor = fixed[2] if prepare is None else prepare(*fixed)
        dz = _solve(residual, precondition, (z, theta, factor), keep(ok, -change))
        return out, (keep(ok, dz), *jax.tree.map(_zero_tangent, (cache, status)))

    solution.defjvp(rule)
    z, _, status = solution(start, list(theta))
    return mark(z, status.converged, theta), status


def elementwise_solution(
    iterate: Callable[[Any, Sequence[Any]], tuple[jax.Array, Status]],
    residual: Residual,
    start: Any,
    theta: Sequence[Any],
) -> tuple[jax.Array, Status]:
    """Solve F_i(z_i, θ) = 0, every entry by itself: dz_i = −(∂F_i/∂θ dθ) / (∂F_i/∂z_i).

    Args:
        iterate: `(start, theta) -> (z, status)`, the status of z's shape. Where an entry of z is no
            solution, it must still be a point where F can be differentiated in θ.
        residual: `F(z, *theta)`, flat.
        start: where the iteration starts.
        theta: parameters.
    """

    @jax.custom_jvp
    def solution(start: Any, theta: Sequence[Any]) -> tuple[jax.Array, Status]:
        return iterate(start, theta)

    def rule(primals: Any, tangents: Any) -> Any:
        start, theta = primals
        z, status = out = solution(start, theta)
        ok = status.converged
        # With no solution at all F may be anything there, as in `implicit_solution`.
        some = jnp.any(ok)
        z, *theta = detach(some, [z, *theta])
        moved = [keep(some, t) for t in tangents[1]]
        change = jax.jvp(lambda *t: residual(z, *t), tuple(theta), tuple(moved))[1]
        slope = jax.jvp(lambda z: residual(z, *theta), (z,), (jnp.ones_like(z),))[1]
        dz = keep(some, -change / jnp.where(ok, slope, 1))
        return out, (dz, jax.tree.map(_zero_tangent, status))

    solution.defjvp(rule)
    z, status = solution(start, list(theta))
    return mark_entries(z, status.converged), status


def _solve(residual: Residual, precondition: Preconditioner, point: Any, b: jax.Array) -> jax.Array:
    """F_z(z, θ)⁻¹ b at a point (z, θ, cache), as a differentiable linear operation."""
    leaves, tree = jax.tree.flatten(point)

    def product(leaves: Any, x: jax.Array) -> jax.Array:
        z, theta, _ = jax.tree.unflatten(tree, leaves)
        return jax.jvp(lambda z: residual(z, *theta), (z,), (x,))[1]

    def product_transposed(leaves: Any, y: jax.Array) -> jax.Array:
        z, theta, _ = jax.tree.unflatten(tree, leaves)
        return jax.vjp(lambda z: residual(z, *theta), z)[1](y)[0]

    def solving(product: Any, transpose: bool) -> Any:
        def solve(leaves: Any, b: jax.Array) -> jax.Array:
            cache = jax.tree.unflatten(tree, leaves)[2]

            def apply(x: jax.Array) -> jax.Array:
                return product(leaves, x)

            return refined(apply, lambda r: precondition(cache, r, transpose, apply), b)

        return solve

    solver = LinearSolver(
        solving(product, False), solving(product_transposed, True), product, product_transposed
    )
    return linear_solve(solver, leaves, b)


def _zero_tangent(x: Any) -> Any:
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.zeros_like(x)
    return np.zeros(jnp.shape(x), jax.dtypes.float0)
