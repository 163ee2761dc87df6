"""Derivatives along a direction: t ↦ f(x + t·d) sampled on a rule's steps.

Every direction carries its own steps d (one per component, signed), so the result is a derivative
in t; who asked divides by d. Components are perturbed by powers of two times t where the scale is
the default one: x ± h is then exact.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from cholax._core.errors import ArgumentError
from cholax._core.norms import largest, max_norm, smallest
from cholax.numdiff.estimate import Estimate, Ladder, extrapolate, kink, noise, select
from cholax.numdiff.rules import Rule, closeness, nearness


class Frame(NamedTuple):
    """Where the differences are taken: the point, the scale of its components, the bounds."""

    x: jax.Array
    scale: jax.Array
    lower: jax.Array | None
    upper: jax.Array | None


def per_leaf(spec: Any, x: Any, where: str, name: str) -> jax.Array:
    """A scalar, or a pytree like x of what broadcasts to its leaves, as one flat vector."""
    leaves, treedef = jax.tree.flatten(x)
    parts, structure = jax.tree.flatten(spec)
    if len(parts) == 1 and structure != treedef:
        parts = parts * len(leaves)
    elif structure != treedef:
        raise ArgumentError(
            f"{where}: {name} must be one number or a pytree like x, got {structure} for "
            f"{treedef}. Give one entry per leaf."
        )
    flat = [
        jnp.ravel(jnp.broadcast_to(jnp.asarray(part, jnp.result_type(leaf)), jnp.shape(leaf)))
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return jnp.concatenate(flat) if flat else jnp.zeros(0)


def frame(
    x: Any,
    flat_x: jax.Array,
    eps: float,
    *,
    scale: Any,
    step: Any,
    bounds: Any,
    adaptive: bool,
    where: str,
) -> Frame:
    """Resolve the options of the public functions for the point x."""
    if scale is not None:
        units = jnp.abs(per_leaf(scale, x, where, "scale"))
    elif step is not None:
        units = jnp.ones_like(flat_x)
    else:
        units = default_scale(flat_x, eps, adaptive)
    lower, upper = (None, None) if bounds is None else bounds
    if lower is not None:
        lower = per_leaf(lower, x, where, "lower bound")
    if upper is not None:
        upper = per_leaf(upper, x, where, "upper bound")
    return Frame(flat_x, units, lower, upper)


def default_scale(x: jax.Array, eps: float, adaptive: bool) -> jax.Array:
    """A power of two near max(|x|, 1); for a ladder smaller where x is small but not zero.

    There is no telling whether f has the scale of x, as log has, or 1. A ladder below 1 reaches
    down to small x by itself; below it for tiny x only when it starts lower.
    """
    size = jnp.abs(jax.lax.stop_gradient(x))
    small = (size < closeness(eps)) & (size > 0) & adaptive
    size = jnp.where(small, size / closeness(eps), jnp.maximum(size, 1))
    _, exponent = jnp.frexp(jnp.where(jnp.isfinite(size), size, 1))
    return jnp.ldexp(jnp.ones_like(x), exponent - 1)


class Steps(NamedTuple):
    """A direction made ready: signed steps per component, and whether it is one-sided."""

    d: jax.Array
    sided: jax.Array
    shrink: jax.Array
    """Factor on the fixed rules' steps that keeps the one-sided stencil inside the bounds."""


def prepare(at: Frame, seed: jax.Array, rule: Rule) -> Steps:
    """Signs and side of a direction that moves the components marked by `seed` (0, ±1).

    A component within a small fraction of its scale of a bound (fixed rules: within their largest
    step) is moved away from it.
    """
    d = seed * at.scale
    always = jnp.asarray(rule.points == 1)
    if at.lower is None and at.upper is None:
        return Steps(d, always, jnp.ones((), d.dtype))
    below = jnp.inf if at.lower is None else at.x - at.lower
    above = jnp.inf if at.upper is None else at.upper - at.x
    used = seed != 0
    near = nearness(rule.eps) if rule.adaptive else float(rule.steps[0])
    room = jnp.where(used, jnp.minimum(below, above) / at.scale, jnp.inf)
    sided = always | (smallest(room, initial=jnp.inf) < near)
    away = jnp.where(above >= below, 1, -1).astype(d.dtype)
    d = jnp.where(sided & used, away * jnp.abs(d), d)
    roomy = jnp.where(used, jnp.maximum(below, above) / at.scale, jnp.inf)
    reach = float(rule.steps[0]) * rule.points
    shrink = jnp.minimum(1, smallest(roomy, initial=jnp.inf) / reach)
    fixed_and_sided = sided & (not rule.adaptive)
    return Steps(d, sided, jnp.where(fixed_and_sided, shrink, 1).astype(d.dtype))


def offsets(sided: jax.Array, points: int, dtype: Any) -> jax.Array:
    """Sample places in units of h."""
    if points == 1:
        return jnp.ones(1, dtype)
    return jnp.where(sided, jnp.array([1, 2], dtype), jnp.array([1, -1], dtype))


class Places(NamedTuple):
    """Where f is sampled along one direction: steps t, points `(K, q, n)`, those inside bounds."""

    t: jax.Array
    points: jax.Array
    inside: jax.Array
    steps: Steps
    away: jax.Array
    """Largest |x| of a moved component in units of its step: how much rounding x costs."""


@partial(jax.jit, static_argnames="rule")
def places_along(at: Frame, seed: jax.Array, rule: Rule) -> Places:
    """The points of a direction; those outside the bounds are replaced by x."""
    steps = prepare(at, seed, rule)
    t = jnp.asarray(rule.steps, at.x.dtype) * steps.shrink
    places = offsets(steps.sided, rule.points, at.x.dtype)
    points = at.x + (t[:, None] * places)[..., None] * steps.d
    inside = jnp.ones(points.shape[:-1], bool)
    for bound, sign in ((at.lower, 1), (at.upper, -1)):
        if bound is not None:
            inside &= jnp.all((sign * (points - bound) >= 0) | (steps.d == 0), axis=-1)
    used = steps.d != 0
    away = jnp.where(used, jnp.abs(at.x) / jnp.where(used, jnp.abs(steps.d), 1), 0)
    away = max_norm(away)
    return Places(t, jnp.where(inside[..., None], points, at.x), inside, steps, away)


@partial(jax.jit, static_argnames="rule")
def estimate_along(
    results: jax.Array, t: jax.Array, inside: jax.Array, sided: jax.Array, away: Any, rule: Rule
) -> Estimate:
    """The derivative in t from f at x (first row) and at all points of a direction."""
    origin, samples = results[0], results[1:].reshape(*inside.shape, results.shape[1])
    valid = jnp.all(inside[..., None] & jnp.isfinite(samples), axis=1)
    # Safe values in place of NaN keep derivatives through the chosen estimate finite.
    samples = jnp.where(valid[:, None], samples, jnp.where(jnp.isfinite(origin), origin, 0))
    ladder = _assemble(origin, samples, valid, t, sided, rule)
    # Truncation of the central quotient has even powers only, of the one-sided one all from h².
    exponents = tuple(jnp.where(sided, 2 + stage, 2 + 2 * stage) for stage in range(rule.stages))
    if rule.adaptive:
        return _adaptive(ladder, t, sided, away, rule, exponents)
    return fixed(ladder.base, ladder.valid, rule, exponents)


def _assemble(
    origin: jax.Array,
    samples: jax.Array,
    valid: jax.Array,
    t: jax.Array,
    sided: jax.Array,
    rule: Rule,
) -> Ladder:
    first, last = samples[:, 0], samples[:, -1]
    if rule.points == 1:
        odd, even = first - origin, jnp.zeros_like(first)
        base = odd / t[:, None]
    else:
        odd = jnp.where(sided, first - origin, first - last)
        even = jnp.where(sided, origin - 2 * first + last, first + last - 2 * origin)
        one_sided = (4 * (first - origin) - (last - origin)) / (2 * t[:, None])
        base = jnp.where(sided, one_sided, odd / (2 * t[:, None]))
    changes = jnp.abs(samples - origin)
    magnitude = jnp.maximum(jnp.abs(origin), max_norm(samples, 1))
    residue = jnp.where(sided, unexplained(even, rule.ratio**2), unexplained(odd, rule.ratio))
    return Ladder(origin, largest(changes, 1), magnitude, base, odd, even, residue, valid)


def unexplained(part: jax.Array, growth: jax.Array | float) -> jax.Array:
    """What is left of a part of the samples that should grow by `growth` from step to step.

    Of the order h³, so the smallest steps leave the noise alone. Second differences, of the order
    h², overstate it a hundredfold where f varies fast (log at 1e-6).
    """
    rest = jnp.abs(part[:-1] - growth * part[1:]) / (growth + 1)
    return jnp.concatenate([rest, jnp.full_like(part[:1], jnp.inf)])


def _rows(points: jax.Array) -> jax.Array:
    return points.reshape(points.shape[0] * points.shape[1], points.shape[2])


def along(
    on_points: Callable[[jax.Array], jax.Array], at: Frame, seed: jax.Array, rule: Rule
) -> tuple[Estimate, jax.Array]:
    """D f(x + t·d)/dt at t = 0 with its error bar, and the signed steps d."""
    places = places_along(at, seed, rule)
    results = jnp.asarray(on_points(jnp.concatenate([at.x[None], _rows(places.points)])))
    steps, size = places.steps, results.shape[1]
    if not isinstance(results, Tracer):
        results = jnp.pad(results, ((0, 0), (0, _bucket(size) - size)))
    estimate = estimate_along(results, places.t, places.inside, steps.sided, places.away, rule)
    return Estimate(*(part[:size] for part in estimate)), steps.d


def _bucket(size: int) -> int:
    """Number of results padded to: programs compile once per width, which takes a second."""
    width = 1
    while width < size:
        width *= 8
    return width


def _adaptive(
    samples: Ladder, t: jax.Array, sided: jax.Array, away: jax.Array, rule: Rule, exponents: Any
) -> Estimate:
    eta = noise(samples, t, rule.eps, away)
    amplification = jnp.where(sided, 4, 1) / t
    estimate = select(
        samples, t, ratio=rule.ratio, exponents=exponents, eta=eta, amplification=amplification
    )
    jump = jnp.where(sided, 0, kink(samples, t, eta))
    return estimate._replace(error=jnp.maximum(estimate.error, jump))


def fixed(base: jax.Array, valid: jax.Array, rule: Rule, exponents: Any) -> Estimate:
    """The last entry of Neville's scheme; its change over the last stage as error."""
    stages = extrapolate(base, rule.ratio, exponents)
    value = jnp.where(jnp.all(valid, axis=0), stages[-1][-1], jnp.nan)
    error = jnp.abs(stages[-1][-1] - stages[max(0, rule.stages - 1)][-1])
    error = jnp.where(jnp.isfinite(value), error, jnp.inf)
    return Estimate(value, error, jnp.zeros_like(error))
