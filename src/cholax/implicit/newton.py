"""Newton's method with affine-invariant damping, and reuse of each factor while that pays.

The step −J⁻¹F is damped until the *next* correction, taken with the same factor, is shorter:
‖J⁻¹F(z + λd)‖ ≤ (1 − λ/4)‖d‖. That test does not depend on how the equations are scaled, and the
correction it computes is the first of the chord steps that follow a full step. Where it makes the
steps short, `watchdog` tries full ones.

Reference:
    Deuflhard, *Newton Methods for Nonlinear Problems* (2004), algorithm NLEQ-ERR.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from cholax._core.errors import ArgumentError
from cholax._core.norms import all_finite, max_norm
from cholax.implicit import status as codes
from cholax.implicit.linear import LinearSolver
from cholax.implicit.refine import USELESS
from cholax.implicit.status import Status, make_status
from cholax.implicit.watchdog import SHORTER, Watchdog, observe, renew, same_sign, watchdog

# A factorisation costs about as much as this many solves and evaluations (2-D grids of 10⁴ to 10⁵
# points: 3 to 6), so up to as many chord steps may finish an iteration.
CHORD_STEPS = 3
# Chord steps that contract less than this are not worth making.
CHORD_RATE = 0.25
# Multiples of the rounding unit: wanted accuracy of z, and noise of F relative to |J||z|.
ACCURACY = 8.0
NOISE = 8.0
# Steps in a row without progress from which on more of them are no advice.
STUCK = 10
DAMPINGS = ("auto", "monotone", "none")

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
    dog: Watchdog
    least: jax.Array  # smallest |F| and |J⁻¹F| so far that were progress
    idle: jax.Array  # steps since


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
    tolerance: float | None,
    max_iterations: int | jax.Array,
    damping: str = "monotone",
) -> tuple[jax.Array, Any, Status]:
    """Solve F(z, θ) = 0; also the last factor and a status.

    Converged means one of: the estimated error of z is below `tolerance` times the largest iterate;
    every |F_i| is at the rounding level of (|J||z|)_i and z is known to a digit; a correction below
    half the digits of z no longer shrinks. The correction must also fit the Jacobian where it
    leads, which one product tells.
    """
    tolerance = default_tolerance(start.dtype) if tolerance is None else tolerance

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
        state = state._replace(z=z, f=f, cache=cache)
        return _advance(F, correct, state, noise, ok, tolerance, damping)

    shapes = jax.eval_shape(lambda z, theta: solver.factor(solver.matrix(z, theta)), start, theta)
    cache = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes[0])
    one, zero = jnp.ones((), start.dtype), jnp.zeros_like(start)
    code, steps = jnp.array(codes.RUNNING), jnp.array(0)
    unknown = one * jnp.inf
    # The start counts as reached by a correction of zero; F there is evaluated by the first step.
    state = _State(
        start,
        zero,
        zero,
        cache,
        one,
        0 * one,
        0 * one,
        unknown,
        steps,
        code,
        watchdog(start),
        jnp.full(2, unknown),
        steps,
    )
    state = lax.while_loop(
        lambda s: (s.code == codes.RUNNING) & (s.steps < max_iterations), body, state
    )
    z, f = _followed(F, state)
    stuck = (state.code == codes.RUNNING) & (state.idle >= STUCK)
    code = jnp.where(stuck, codes.NO_PROGRESS, state.code)
    return z, state.cache, make_status(code, state.steps, max_norm(f), state.error)


def check_damping(damping: str, where: str) -> None:
    """Raise `ArgumentError` for a name that is none of the globalisations."""
    if damping not in DAMPINGS:
        raise ArgumentError(
            f'{where}: damping must be "auto", "monotone" or "none", got {damping!r}.'
        )


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
    tolerance: float,
    damping: str,
) -> _State:
    """One damped or full step with a new factor, and the chord steps worth making with it."""
    step = correct(state.f)
    dog = observe(state.dog, state.z, step, ok)
    forced = dog.on | (damping == "none")
    scale = jnp.maximum(state.scale, max_norm(state.z))
    largest = jnp.maximum(state.largest, max_norm(state.f))
    lost = state.dog.on & ~dog.on
    inner = _inner(F, correct, state, step, scale, tolerance, forced, lost)
    lost = lost | (dog.on & (inner.taken == 0))
    error = max_norm(inner.step)
    # After a step that had to pass no test, a correction that grew once proves no rounding.
    settled = ~forced | (dog.same >= 2)
    code, follow = _judge(F, correct, inner, step, (scale, largest), noise, tolerance, settled)
    idle, least = _progress(state, step, forced & same_sign(dog.sign, state.dog.sign))
    after = dog
    if damping == "auto":
        after = renew(dog, lost, inner.z, inner.taken, idle > 0)
    unmoved = codes.NOT_FINITE if damping == "none" else codes.NO_PROGRESS
    code = jnp.where((code == codes.RUNNING) & (inner.taken == 0) & ~after.on, unmoved, code)
    code = jnp.where(ok | jnp.all(state.f == 0), code, codes.SINGULAR)
    code = jnp.where(all_finite(state.f), code, codes.NOT_FINITE)
    # What a trial meets far away says nothing of the size of z and F near the solution.
    kept = state.dog.on
    return _State(
        z=jnp.where(lost, dog.origin, inner.z),
        f=inner.f,
        follow=jnp.where(follow & ~lost, inner.step, 0.0),
        cache=state.cache,
        damping=jnp.where(kept, state.damping, inner.damping),
        scale=jnp.where(kept, state.scale, jnp.maximum(scale, max_norm(inner.z))),
        largest=jnp.where(kept, state.largest, largest),
        error=error,
        steps=state.steps + 1,
        code=jnp.where(lost, codes.RUNNING, code),
        dog=after,
        least=least,
        idle=idle,
    )


def _judge(
    F: Function,
    correct: Function,
    inner: _Inner,
    step: jax.Array,
    sizes: tuple[jax.Array, jax.Array],
    noise: jax.Array,
    tolerance: float,
    settled: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Whether it has converged, as a code, and whether the last correction is to be added."""
    scale, largest = jnp.maximum(sizes[0], max_norm(inner.z)), sizes[1]
    full = inner.taken == 1
    small = full & (max_norm(inner.step) <= tolerance * scale)
    follow = full & (small | (inner.rate <= CHORD_RATE))
    quiet = jnp.all(jnp.abs(inner.f) <= noise) & all_finite(step)
    quiet = lax.cond(quiet, lambda: _known(correct, inner, noise), lambda: quiet)
    stalled = _tiny(step, scale) & _tiny(inner.f, largest) & (inner.first > 0.5)
    reached = (small | ((quiet | stalled) & settled)) & _consistent(F, inner)
    return jnp.where(reached, codes.CONVERGED, codes.RUNNING), follow


def _progress(state: _State, step: jax.Array, monotone: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Steps since |F| or |J⁻¹F| last fell by a tenth, monotone ones not counted; the levels.

    Monotone full steps may go on for long and then converge, yet two in a row prove nothing.
    """
    now = jnp.stack([max_norm(state.f), max_norm(step)])
    fallen = now <= SHORTER * state.least
    idle = jnp.where(jnp.any(fallen), 0, state.idle + ~monotone)
    return idle, jnp.where(fallen, now, state.least)


def _consistent(F: Function, inner: _Inner) -> jax.Array:
    """Whether the correction is one for the Jacobian where it leads, not only for the factored one.

    A step off a cliff, from slope 10¹⁷ to slope 1, leaves a correction of nearly nothing.
    """
    left = inner.f + jax.jvp(F, (inner.z + inner.step,), (inner.step,))[1]
    return max_norm(left) <= 0.9 * max_norm(inner.f)


def _known(correct: Function, inner: _Inner, noise: jax.Array) -> jax.Array:
    """Whether F at rounding level leaves z a digit: not where the Jacobian is singular.

    The correction made may be small by chance, so that of noise of arbitrary signs is looked at as
    well: a bound on the condition number |J⁻¹||J||z| / |z|.
    """
    signs = jnp.cos(jnp.arange(noise.size, dtype=noise.dtype) ** 2)
    error = jnp.maximum(max_norm(correct(noise * signs)), max_norm(inner.step))
    return error <= USELESS * max_norm(inner.z)


def _tiny(x: jax.Array, scale: jax.Array) -> jax.Array:
    """Below half the digits of what it is a part of: rounding, where it does not shrink."""
    return max_norm(x) <= jnp.sqrt(jnp.finfo(x.dtype).eps) * scale


def _inner(
    F: Function,
    correct: Function,
    state: _State,
    step: jax.Array,
    scale: jax.Array,
    tolerance: float,
    forced: jax.Array,
    lost: jax.Array,
) -> _Inner:
    """Steps with one factor: a damped one, and where that was a full one, chord steps.

    One loop for both, as both evaluate F and solve once; a second copy of F and of the solve would
    cost compile time. A forced step need not pass the test, only stay in the domain of F.
    """

    def body(inner: _Inner) -> _Inner:
        z = inner.z + inner.damping * inner.step
        f = F(z)
        correction = correct(f)
        before, after = max_norm(inner.step), max_norm(correction)
        limit = 1 - inner.damping / 4
        shrinks = (after <= limit * before) | (max_norm(f) <= limit * max_norm(inner.f))
        found = inner.taken > 0
        accepted = (shrinks | (forced & ~found)) & jnp.isfinite(after) & all_finite(f)
        rate = jnp.where(before > 0, after / before, 0.0)
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
                (inner.damping == 1) & _few_more(after, rate, tolerance * scale),
                ~forced & ~found & (inner.damping > smallest) & ~_tiny(step, scale),
            ),
        )

    size = max_norm(step)
    smallest = jnp.finfo(step.dtype).eps ** 2
    start = jnp.where(forced, 1.0, jnp.minimum(1.0, 4.0 * state.damping))
    none, go = jnp.zeros_like(size), jnp.isfinite(size) & ~lost
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
