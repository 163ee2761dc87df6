"""Newton's method with affine-invariant damping, and reuse of each factor while that pays.

The step −J⁻¹F is damped until the *next* correction, taken with the same factor, is shorter:
‖J⁻¹F(z + λd)‖ ≤ (1 − λ/4)‖d‖. That test does not depend on how the equations are scaled, and the
correction it computes is the first of the chord steps that follow a full step.

Reference:
    Deuflhard, *Newton Methods for Nonlinear Problems* (2004), algorithm NLEQ-ERR.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from cholax._core.norms import all_finite, max_norm
from cholax.implicit import status as codes
from cholax.implicit.linear import LinearSolver
from cholax.implicit.status import Status, make_status

# A factorisation costs about as much as this many solves and evaluations (2-D grids of 10⁴ to 10⁵
# points: 3 to 6), so up to as many chord steps may finish an iteration.
CHORD_STEPS = 3
# Chord steps that contract less than this are not worth making.
CHORD_RATE = 0.25
# Multiples of the rounding unit: wanted accuracy of z, and noise of F relative to |J||z|.
ACCURACY = 8.0
NOISE = 8.0

Function = Callable[[jax.Array], jax.Array]


class _State(NamedTuple):
    z: jax.Array
    f: jax.Array
    follow: jax.Array  # a correction still to be added to z, or zero
    cache: Any
    damping: jax.Array
    scale: jax.Array  # largest |z| of all iterates: what "relative" refers to
    largest: jax.Array  # largest |F| of all iterates
    error: jax.Array
    steps: jax.Array
    code: jax.Array


class _Inner(NamedTuple):
    z: jax.Array
    f: jax.Array
    step: jax.Array  # from z; once a step was accepted, −J⁻¹F(z): the error of z to first order
    damping: jax.Array
    taken: jax.Array  # damping of the first step accepted, 0 before
    first: jax.Array  # how much the first step's correction shrank
    rate: jax.Array  # how much the last one did
    go: jax.Array


def newton(
    residual: Callable[..., jax.Array],
    solver: LinearSolver,
    start: jax.Array,
    theta: Sequence[Any],
    tol: float | None,
    max_steps: int | jax.Array,
) -> tuple[jax.Array, Any, Status]:
    """Solve F(z, θ) = 0; also the last factor and a status.

    Converged means one of: the estimated error of z is below `tol` times the largest iterate; every
    |F_i| is at the rounding level of (|J||z|)_i; a correction below half the digits of z no longer
    shrinks. The correction must also fit the Jacobian where it leads, which one product tells.
    """
    tol = default_tolerance(start.dtype) if tol is None else tol

    def F(z: jax.Array) -> jax.Array:
        return residual(z, *theta)

    def body(state: _State) -> _State:
        z, f = _followed(F, state)
        matrix = solver.matrix(z, theta)
        cache, ok = solver.factor(matrix)

        def correct(f: jax.Array) -> jax.Array:
            # An exact root needs no correction, however singular its Jacobian.
            return jnp.where(jnp.all(f == 0), 0.0, -solver.solve(cache, f, False))

        noise = NOISE * jnp.finfo(z.dtype).eps * solver.magnitude(matrix, z)
        return _advance(F, correct, state._replace(z=z, f=f, cache=cache), noise, ok, tol)

    shapes = jax.eval_shape(lambda z, theta: solver.factor(solver.matrix(z, theta)), start, theta)
    cache = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes[0])
    one, zero = jnp.ones((), start.dtype), jnp.zeros_like(start)
    code, steps = jnp.array(codes.RUNNING), jnp.array(0)
    unknown = one * jnp.inf
    # The start counts as reached by a correction of zero; F there is evaluated by the first step.
    state = _State(start, zero, zero, cache, one, 0 * one, 0 * one, unknown, steps, code)
    state = lax.while_loop(lambda s: (s.code == codes.RUNNING) & (s.steps < max_steps), body, state)
    z, f = _followed(F, state)
    return z, state.cache, make_status(state.code, state.steps, max_norm(f), state.error)


def default_tolerance(dtype: Any) -> float:
    """A few units of rounding."""
    return ACCURACY * float(jnp.finfo(dtype).eps)


def _followed(F: Function, state: _State) -> tuple[jax.Array, jax.Array]:
    """The iterate with its pending correction, unless that leaves the domain of F."""
    z = state.z + state.follow
    f = F(z)
    keep = (state.steps > 0) & ~all_finite(f)
    return jnp.where(keep, state.z, z), jnp.where(keep, state.f, f)


def _advance(
    F: Function,
    correct: Function,
    state: _State,
    noise: jax.Array,
    ok: jax.Array,
    tol: float,
) -> _State:
    """One damped step with a new factor, and the chord steps that are worth making with it."""
    step = correct(state.f)
    scale = jnp.maximum(state.scale, max_norm(state.z))
    largest = jnp.maximum(state.largest, max_norm(state.f))
    inner = _inner(F, correct, state, step, scale, tol)
    accepted, full = inner.taken > 0, inner.taken == 1
    scale = jnp.maximum(scale, max_norm(inner.z))
    error = max_norm(inner.step)
    small = full & (error <= tol * scale)
    follow = full & (small | (inner.rate <= CHORD_RATE))
    quiet = jnp.all(jnp.abs(inner.f) <= noise) & all_finite(step)
    stalled = _tiny(step, scale) & _tiny(inner.f, largest) & (inner.first > 0.5)
    code = jnp.where(accepted, codes.RUNNING, codes.NO_PROGRESS)
    code = jnp.where(ok | jnp.all(state.f == 0), code, codes.SINGULAR)
    reached = (small | quiet | stalled) & _consistent(F, inner)
    code = jnp.where(reached, codes.CONVERGED, code)
    code = jnp.where(all_finite(state.f), code, codes.NOT_FINITE)
    return _State(
        z=inner.z,
        f=inner.f,
        follow=jnp.where(follow, inner.step, 0.0),
        cache=state.cache,
        damping=inner.damping,
        scale=scale,
        largest=largest,
        error=error,
        steps=state.steps + 1,
        code=code,
    )


def _consistent(F: Function, inner: _Inner) -> jax.Array:
    """Whether the correction is one for the Jacobian where it leads, not only for the factored one.

    A step off a cliff, from slope 10¹⁷ to slope 1, leaves a correction of nearly nothing.
    """
    left = inner.f + jax.jvp(F, (inner.z + inner.step,), (inner.step,))[1]
    return max_norm(left) <= 0.9 * max_norm(inner.f)


def _tiny(x: jax.Array, scale: jax.Array) -> jax.Array:
    """Below half the digits of what it is a part of: rounding, where it does not shrink."""
    return max_norm(x) <= jnp.sqrt(jnp.finfo(x.dtype).eps) * scale


def _inner(
    F: Function,
    correct: Function,
    state: _State,
    step: jax.Array,
    scale: jax.Array,
    tol: float,
) -> _Inner:
    """Steps with one factor: a damped one, and where that was a full one, chord steps.

    One loop for both, as both evaluate F and solve once; a second copy of F and of the solve would
    cost compile time.
    """

    def body(inner: _Inner) -> _Inner:
        z = inner.z + inner.damping * inner.step
        f = F(z)
        correction = correct(f)
        before, after = max_norm(inner.step), max_norm(correction)
        limit = 1 - inner.damping / 4
        shrinks = (after <= limit * before) | (max_norm(f) <= limit * max_norm(inner.f))
        accepted = shrinks & jnp.isfinite(after) & all_finite(f)
        rate = jnp.where(before > 0, after / before, 0.0)
        found = inner.taken > 0
        return _Inner(
            z=jnp.where(accepted, z, inner.z),
            f=jnp.where(accepted, f, inner.f),
            step=jnp.where(accepted, correction, inner.step),
            damping=jnp.where(accepted | found, inner.damping, _shorter(inner, correction)),
            taken=jnp.where(accepted & ~found, inner.damping, inner.taken),
            first=jnp.where(found, inner.first, rate),
            rate=rate,
            go=jnp.where(
                accepted,
                (inner.damping == 1) & _few_more(after, rate, tol * scale),
                ~found & (inner.damping > smallest) & ~_tiny(step, scale),
            ),
        )

    size = max_norm(step)
    smallest = jnp.finfo(step.dtype).eps ** 2
    start = jnp.minimum(1.0, 4.0 * state.damping)
    none, go = jnp.zeros_like(size), jnp.isfinite(size)
    first = _Inner(state.z, state.f, step, start, none, none, none, go)
    return lax.while_loop(lambda inner: inner.go, body, first)


def _few_more(size: jax.Array, rate: jax.Array, target: jax.Array) -> jax.Array:
    """Whether a few corrections that shrink by the rate each reach the target."""
    needed = jnp.log(target / size) / jnp.log(rate)
    return (size > target) & (rate <= CHORD_RATE) & (needed <= CHORD_STEPS)


def _shorter(inner: _Inner, correction: jax.Array) -> jax.Array:
    """The damping that a quadratic model of F would want, at most half the one that failed."""
    old = inner.damping
    curvature = 2.0 * max_norm(correction - (1 - old) * inner.step)
    wanted = old**2 * max_norm(inner.step) / curvature
    wanted = jnp.where(jnp.isfinite(wanted), wanted, 0.0)
    return jnp.clip(wanted, old / 10, old / 2)
