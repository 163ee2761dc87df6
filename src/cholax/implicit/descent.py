"""Newton descent with a shifted Hessian, until the plain Newton iteration can take over.

(H + μI) d = −∇f with the smallest of a few μ that makes H + μI positive definite, and a step along
d short enough to lower f.

Reference:
    Nocedal & Wright, *Numerical Optimization* (2006), section 3.4.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from cholax._core.norms import all_finite, max_norm
from cholax.implicit import status as codes
from cholax.implicit.linear import is_definite
from cholax.implicit.newton import CHORD_RATE
from cholax.linalg.cholesky import cholesky
from cholax.linalg.matrix import SparseMatrix

# A step must lower f by this part of what its slope promises.
ARMIJO = 1e-4
# The first shift tried, relative to the largest diagonal entry, and its growth.
SHIFT = 1e-3
GROWTH = 10.0
# Of the rounding unit times |f|: how much f may seem to rise by rounding.
SLACK = 10.0

Scalar = Callable[[jax.Array], jax.Array]


class _State(NamedTuple):
    z: jax.Array
    value: jax.Array
    gradient: jax.Array
    shift: jax.Array
    scale: jax.Array
    steps: jax.Array
    code: jax.Array


def descend(
    f: Scalar,
    hessian: Callable[[jax.Array], SparseMatrix],
    start: jax.Array,
    max_iterations: int | jax.Array,
    rate: float | jax.Array = CHORD_RATE,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A point where unshifted Newton steps contract by `rate`, the steps made, and a status code.

    Where that is by chance the Newton iteration fails and should begin later: at a smaller rate.
    """

    def body(state: _State) -> _State:
        H = hessian(state.z)
        factor, shift = _shifted(H, state.shift)
        step = -factor.solve(state.gradient)
        z, value, damping = _search(f, state, step)
        gradient = jax.grad(f)(z)
        contraction = max_norm(factor.solve(gradient)) / max_norm(step)
        scale = jnp.maximum(state.scale, max_norm(z))
        tiny = max_norm(step) <= jnp.sqrt(jnp.finfo(step.dtype).eps) * scale
        # A rejected step leaves nothing to do here either: the Newton iteration will judge.
        local = (shift == 0) & (damping == 1) & (contraction <= rate)
        code = jnp.where(local | tiny | (damping == 0), codes.CONVERGED, codes.RUNNING)
        finite = jnp.isfinite(value) & all_finite(gradient) & all_finite(step)
        code = jnp.where(finite, code, codes.NOT_FINITE)
        # A short step says that the model reaches too far: shift more; a full one, less.
        shift = jnp.where(damping < 0.1, jnp.maximum(shift, SHIFT * _largest(H)) * GROWTH, shift)
        shift = jnp.where(
            damping == 1, jnp.where(shift <= SHIFT * _largest(H), 0, shift / GROWTH), shift
        )
        return _State(z, value, gradient, shift, scale, state.steps + 1, code)

    value, gradient = jax.value_and_grad(f)(start)
    finite = jnp.isfinite(value) & all_finite(gradient)
    code = jnp.where(finite, codes.RUNNING, codes.NOT_FINITE)
    zero = jnp.zeros((), start.dtype)
    first = _State(start, value, gradient, zero, max_norm(start), jnp.array(0), code)
    last = lax.while_loop(
        lambda s: (s.code == codes.RUNNING) & (s.steps < max_iterations), body, first
    )
    return last.z, last.steps, last.code


def _largest(H: SparseMatrix) -> jax.Array:
    size = max_norm(H.diagonal())
    return jnp.where(size > 0, size, 1.0)


def _shifted(H: SparseMatrix, shift: jax.Array) -> tuple[Any, jax.Array]:
    """A Cholesky factor of H + μI, μ grown until there is one, and μ."""

    def attempt(carry: Any) -> Any:
        shift, _, _, count = carry
        grown = jnp.maximum(GROWTH * shift, SHIFT * _largest(H))
        shift = jnp.where(count == 0, shift, grown)
        factor = cholesky(H.add_diagonal(shift))
        return shift, factor, is_definite(factor), count + 1

    shapes = jax.eval_shape(lambda H: cholesky(H.add_diagonal(0.0)), H)
    blank = jax.tree.map(lambda a: jnp.ones(a.shape, a.dtype), shapes)
    # 40 times tenfold covers every Hessian of finite entries; other ones end in NaN.
    shift, factor, _, _ = lax.while_loop(
        lambda c: ~c[2] & (c[3] < 40), attempt, (shift, blank, jnp.array(False), jnp.array(0))
    )
    return factor, shift


def _search(f: Scalar, state: _State, step: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Halve the step until f falls; the new point, its value and the damping (0: none found)."""
    eps = jnp.finfo(step.dtype).eps
    slope = jnp.sum(state.gradient * step)

    def enough(value: jax.Array, damping: jax.Array) -> jax.Array:
        limit = state.value + ARMIJO * damping * slope + SLACK * eps * jnp.abs(state.value)
        return jnp.isfinite(value) & (value <= limit)

    def body(carry: Any) -> Any:
        damping, _, count = carry
        damping = jnp.where(count == 0, 1.0, damping / 2).astype(step.dtype)
        return damping, f(state.z + damping * step), count + 1

    one = jnp.ones((), step.dtype)
    damping, value, _ = lax.while_loop(
        lambda c: (c[2] == 0) | (~enough(c[1], c[0]) & (c[2] < 60)),
        body,
        (one, one * jnp.inf, jnp.array(0)),
    )
    found = enough(value, damping)
    return (
        jnp.where(found, state.z + damping * step, state.z),
        jnp.where(found, value, state.value),
        jnp.where(found, damping, 0.0),
    )
