"""Guarded Newton descent to the mode, which leaves the factor of the Hessian *at* the mode behind.

The Laplace approximation needs that factor three times: for log|H|, for the implicit derivative and
for its selected inverse. So the iteration ends with it: a fresh Hessian is factored, its step found
to be negligible, and the iterate kept. `cholax.implicit.minimize`, whose last factor belongs to an
earlier iterate, would need one factorisation more for the value and one more for the gradient.

Between factorisations a few chord steps reuse the factor. Where H is not positive definite, the
step, and only the step, is taken with another matrix: H with the negative entries of its diagonal
reflected, or, where that is not enough, this plus μ|diag H| with the smallest of a few μ that is.
The iteration never ends with one. All lengths are measured in conditional standard deviations,
|d_i|√|H_ii|, so nothing depends on how u is scaled.

Reference:
    Nocedal & Wright, *Numerical Optimization* (2006), section 3.4;
    Hager & Zhang, SIAM J. Optim. 16 (2005), for the line search near the rounding level.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from cholax._core.norms import max_norm
from cholax.implicit import status as codes
from cholax.linalg.matrix import SparseMatrix
from cholax.stats._laplace.status import LaplaceStatus, settle
from cholax.stats.constraints import ConstrainedFactor, Constraints

# A step must lower f by this part of what its slope promises.
_ARMIJO = 1e-4
# Where f is flat to rounding, its slope tells: at most this part of it may be left, with any sign.
_SLOPE = 0.8
# Of the rounding unit times |f|: how much f may seem to rise by rounding.
_SLACK = 10.0
# Chord steps with one factor, and the contraction below which another one pays. On lattices of 10⁴
# nodes a step costs a quarter of a factorisation.
_CHORD_STEPS = 4
_CHORD_RATE = 0.25
# First shift, relative to the diagonal, its growth, and how often it may grow: 1e20 in the end.
_SHIFT, _GROWTH, _SHIFTS = 1e-3, 10.0, 24
# Newton's error must shrink by this from one factor to the next before it counts as small.
_QUADRATIC = 0.25
# Multiples of the rounding unit: noise of a step, and noise that no iteration gets below.
_NOISE, _STALLED = 8.0, 1e3
_SHORTEST = 1e-12

Scalar = Callable[[jax.Array], jax.Array]
Factorize = Callable[[SparseMatrix], ConstrainedFactor]


@dataclass(frozen=True)
class Options:
    """What stops the iteration."""

    max_iterations: int
    tolerance: float | None

    def target(self, dtype: Any) -> float:
        """Wanted error of the mode, in conditional standard deviations."""
        # Above what rounding allows for data of a few digits; the last step leaves its square.
        return float(jnp.finfo(dtype).eps) ** 0.6 if self.tolerance is None else self.tolerance


@dataclass(frozen=True)
class Objective:
    """f = −log_joint at fixed parameters, and how to solve with its Hessian.

    Attributes:
        value: u ↦ f(u).
        expansion: u ↦ value, gradient, Hessian.
        factorize: Hessian ↦ factor under the constraints.
        constraints: A u = e, or None.
    """

    value: Scalar
    expansion: Callable[[jax.Array], tuple[jax.Array, jax.Array, SparseMatrix]]
    factorize: Factorize
    constraints: Constraints | None


class _State(NamedTuple):
    u: jax.Array
    H: SparseMatrix
    factor: ConstrainedFactor  # of H, or of H shifted
    shift: jax.Array
    plain: jax.Array  # whether H itself was factored
    gradient_norm: jax.Array
    error: jax.Array
    pivot: jax.Array
    iterations: jax.Array
    factorizations: jax.Array
    code: jax.Array


class _Search(NamedTuple):
    u: jax.Array
    value: jax.Array
    gradient: jax.Array
    step: jax.Array
    damping: jax.Array
    taken: jax.Array  # steps accepted
    go: jax.Array


def find_mode(
    objective: Objective, start: jax.Array, options: Options
) -> tuple[jax.Array, SparseMatrix, ConstrainedFactor, LaplaceStatus]:
    """The minimizer of f under the constraints, its Hessian, the factor of that, and a status."""
    if objective.constraints is not None:
        start = objective.constraints.project(start)
    tolerance = options.target(start.dtype)

    def going(state: _State) -> jax.Array:
        return (state.code == codes.RUNNING) & (state.iterations < options.max_iterations)

    last = lax.while_loop(
        going, lambda state: _iterate(objective, state, tolerance), _initial(objective, start)
    )
    code = settle(last.code)
    status = LaplaceStatus(
        converged=code == codes.CONVERGED,
        iterations=last.iterations,
        factorizations=last.factorizations,
        gradient_norm=last.gradient_norm,
        error=last.error,
        definite=last.plain & last.factor.ok,
        pivot=last.pivot,
        code=code,
    )
    return last.u, last.H, last.factor, status


def _initial(objective: Objective, start: jax.Array) -> _State:
    def blank(function: Callable[..., Any], *args: Any) -> Any:
        shapes = jax.eval_shape(function, *args)
        return jax.tree.map(lambda a: jnp.full(a.shape, jnp.nan, a.dtype), shapes)

    H = blank(lambda u: objective.expansion(u)[2], start)
    factor = jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(objective.factorize, H)
    )
    number, count = jnp.zeros((), start.dtype), jnp.zeros((), jnp.int32)
    return _State(
        u=start,
        H=H,
        factor=factor,
        shift=number,
        plain=count == 0,
        gradient_norm=number,
        error=jnp.full_like(number, jnp.inf),
        pivot=count - 1,
        iterations=count,
        factorizations=count,
        code=count + codes.RUNNING,
    )


def _iterate(objective: Objective, state: _State, tolerance: float) -> _State:
    """One new Hessian and its factor; where its step is not negligible yet, that and more."""
    value, gradient, H = objective.expansion(state.u)
    shifted = _regularized(objective.factorize, H, state)
    factor, plain = shifted.factor, shifted.plain
    step = -factor.solve(gradient)
    units = jnp.sqrt(_sizes(H))
    error = max_norm(step * units)
    numbers = jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(H.values))
    finite = jnp.isfinite(value) & numbers
    tangential = _tangential(objective.constraints, gradient)
    unit = _NOISE * jnp.finfo(step.dtype).eps
    noise = unit * max_norm(units * (jnp.abs(state.u) + 1))
    rounding = max_norm(tangential / units) <= unit * max_norm(_magnitude(H, state.u) / units)
    small = _small(error, state.error, noise, rounding, tolerance)
    search = _search(objective, state, factor, value, gradient, step, units, tolerance, ~small)
    code = jnp.where(search.taken > 0, codes.RUNNING, codes.NO_PROGRESS)
    code = jnp.where(small, codes.NOT_A_MINIMUM, code)
    code = jnp.where(factor.ok, code, codes.NOT_A_MINIMUM)
    code = jnp.where(small & plain & factor.ok, codes.CONVERGED, code)
    code = jnp.where(finite, code, codes.NOT_FINITE)
    return _State(
        u=search.u,
        H=H,
        factor=factor,
        shift=shifted.shift,
        plain=plain,
        gradient_norm=max_norm(tangential),
        error=error,
        pivot=shifted.pivot,
        iterations=state.iterations + 1,
        factorizations=state.factorizations + shifted.tries,
        code=code.astype(jnp.int32),
    )


def _small(
    error: jax.Array, before: jax.Array, noise: jax.Array, rounding: jax.Array, tolerance: float
) -> jax.Array:
    """Whether the step is negligible.

    A step that shrinks only linearly belongs to a mode without curvature, or to one at infinity,
    and is no measure of the error however short it is, unless it is rounding: its own, or that of
    the gradient, which an ill-conditioned Hessian makes large. A Matérn field with a range of
    several times its domain left steps of 1e-4 where no digit of the gradient was right.
    """
    shrinks = error <= _QUADRATIC * before
    short = error <= jnp.maximum(tolerance, noise)
    return jnp.where(shrinks, short, rounding | (error <= _STALLED * noise))


def _magnitude(H: SparseMatrix, u: jax.Array) -> jax.Array:
    """|H| |u|: a gradient below a few rounding units of it is rounding error."""
    return SparseMatrix(jnp.abs(H.values), H.pattern) @ jnp.abs(u)


class _Shifted(NamedTuple):
    factor: ConstrainedFactor
    shift: jax.Array
    plain: jax.Array
    pivot: jax.Array
    tries: jax.Array


def _regularized(factorize: Factorize, H: SparseMatrix, state: _State) -> _Shifted:
    """The factor of H, or of the first matrix made from it that is positive definite there.

    Where H is what was factored last (Gaussian models), that factor serves again.
    """
    same = state.plain & jnp.all(H.values == state.H.values) & (state.iterations > 0)
    sizes, negative = _sizes(H), jnp.maximum(-H.diagonal(), 0)
    reflects = jnp.any(negative > 0)
    first = jnp.maximum(state.shift / _GROWTH, _SHIFT).astype(sizes.dtype)

    def attempt(made: _Shifted) -> _Shifted:
        plain = made.tries == 0
        grown = jnp.where(made.shift > 0, _GROWTH * made.shift, first)
        alone = plain | (reflects & (made.tries == 1))
        shift = jnp.where(alone, jnp.zeros_like(grown), grown)
        added = jnp.where(plain, jnp.zeros_like(sizes), 2 * negative + shift * sizes)
        factor = factorize(H.add_diagonal(added))
        pivot = jnp.where(plain, factor.pivot, made.pivot).astype(jnp.int32)
        return _Shifted(factor, shift, plain, pivot, made.tries + 1)

    def missing(made: _Shifted) -> jax.Array:
        fresh = (made.tries == 0) & ~same
        again = (made.tries > 0) & ~made.factor.ok & (made.tries < _SHIFTS)
        return fresh | (again & jnp.all(jnp.isfinite(H.values)))

    zero = jnp.zeros((), jnp.int32)
    blank = _Shifted(state.factor, jnp.zeros_like(first), zero == 0, zero - 1, zero)
    return lax.while_loop(missing, attempt, blank)


def _search(
    objective: Objective,
    state: _State,
    factor: ConstrainedFactor,
    value: jax.Array,
    gradient: jax.Array,
    step: jax.Array,
    units: jax.Array,
    tolerance: float,
    wanted: jax.Array,
) -> _Search:
    """A damped step that lowers f, and after a full one chord steps while they contract well.

    One loop for both, as both evaluate f and solve once; a second copy would cost compile time.
    """
    expand = jax.value_and_grad(objective.value)

    def body(now: _Search) -> _Search:
        u = now.u + now.damping * now.step
        value, gradient = expand(u)
        correction = -factor.solve(gradient)
        before, after = max_norm(now.step * units), max_norm(correction * units)
        accepted = _is_decrease(now, value, gradient) & jnp.isfinite(after)
        chord = (now.damping == 1) & (after <= _CHORD_RATE * before) & (after > 0.01 * tolerance)
        damping = jnp.where(accepted, now.damping, now.damping / 2)
        shorter = (now.taken == 0) & (damping > _SHORTEST)
        return _Search(
            u=jnp.where(accepted, u, now.u),
            value=jnp.where(accepted, value, now.value),
            gradient=jnp.where(accepted, gradient, now.gradient),
            step=jnp.where(accepted, correction, now.step),
            damping=damping,
            taken=now.taken + accepted,
            go=jnp.where(accepted, chord & (now.taken < _CHORD_STEPS), shorter),
        )

    go = wanted & factor.ok & jnp.all(jnp.isfinite(step)) & jnp.isfinite(value)
    one, none = jnp.ones_like(value), jnp.zeros((), jnp.int32)
    first = _Search(state.u, value, gradient, step, one, none, go)
    return lax.while_loop(lambda now: now.go, body, first)


def _is_decrease(now: _Search, value: jax.Array, gradient: jax.Array) -> jax.Array:
    """Whether f falls enough; within its rounding, whether its slope does."""
    eps = jnp.finfo(value.dtype).eps
    slope, left = jnp.sum(now.gradient * now.step), jnp.sum(gradient * now.step)
    size = jnp.abs(now.value)
    enough = value <= now.value + _ARMIJO * now.damping * slope + _SLACK * eps * size
    flat = (left <= _SLOPE * jnp.abs(slope)) & (value <= now.value + jnp.sqrt(eps) * size)
    return jnp.isfinite(value) & (enough | flat)


def _sizes(H: SparseMatrix) -> jax.Array:
    """|H_ii|, bounded away from zero; one where H vanishes."""
    sizes = jnp.abs(H.diagonal())
    largest = max_norm(sizes)
    floor = jnp.where(largest > 0, jnp.finfo(sizes.dtype).eps * largest, 1.0)
    return jnp.maximum(sizes, floor)


def _tangential(constraints: Constraints | None, gradient: jax.Array) -> jax.Array:
    """The part of a gradient along the constraints."""
    return gradient if constraints is None else constraints.tangential(gradient)
