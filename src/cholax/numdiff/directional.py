"""Derivatives along a direction: t ↦ f(x + t·d) sampled on a rule's steps.

Every direction carries its own steps d (one per component, signed), so the result is a derivative
in t; who asked divides by d. Components are perturbed by powers of two times t where the scale is
the default one: x ± h is then exact.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core.errors import ArgumentError
from cholax._core.norms import largest, max_norm, smallest
from cholax.numdiff.estimate import (
    Estimate,
    Ladder,
    at_last,
    extrapolate,
    kink,
    last_bit,
    noise,
    rescaled,
    saturated,
    select,
    silent,
    unit,
)
from cholax.numdiff.rules import Rule, closeness, nearness


class Frame(NamedTuple):
    """Where the differences are taken: the point, the scale of its components, the bounds."""

    x: jax.Array
    scale: jax.Array
    near_zero: jax.Array
    """|x| of the components so close to 0 that it may be a scale of f, else inf."""
    lower: jax.Array | None
    upper: jax.Array | None


def per_leaf(spec: Any, x: Any, where: str, name: str) -> jax.Array:
    """A scalar, or a pytree like x of what broadcasts to its leaves, as one flat vector."""
    leaves, treedef = jax.tree.flatten(x)
    parts, structure = jax.tree.flatten(spec)
    for part in parts:
        kind = getattr(part, "dtype", np.asarray(part).dtype).kind
        if kind not in "fiu":
            raise ArgumentError(
                f"{where}: {name} must be real numbers, got {type(part).__name__} of kind {kind!r}."
            )
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
    near_zero = jnp.full_like(flat_x, jnp.inf)
    if scale is not None:
        units = per_leaf(scale, x, where, "scale")
        _require(jnp.all((units > 0) & jnp.isfinite(units)), where, "scale must be finite and > 0")
    elif step is not None:
        units = jnp.ones_like(flat_x)
    else:
        units = default_scale(flat_x)
        if adaptive:
            size = jnp.abs(jax.lax.stop_gradient(flat_x))
            near_zero = jnp.where((size > 0) & (size < closeness(eps)), size, jnp.inf)
    lower, upper = (None, None) if bounds is None else bounds
    if lower is not None:
        lower = per_leaf(lower, x, where, "lower bound")
    if upper is not None:
        upper = per_leaf(upper, x, where, "upper bound")
    for low, high in ((lower, upper), (lower, flat_x), (flat_x, upper)):
        if low is not None and high is not None:
            _require(~jnp.any(low > high), where, "need lower <= x <= upper in every entry")
    for bound in (lower, upper):
        if bound is not None:
            _require(~jnp.any(jnp.isnan(bound)), where, "bounds must not be NaN")
    return Frame(flat_x, units, near_zero, lower, upper)


def _require(holds: jax.Array, where: str, what: str) -> None:
    """Raise `ArgumentError` where a concrete condition does not hold."""
    if not isinstance(holds, Tracer) and not bool(holds):
        raise ArgumentError(f"{where}: {what}, got other values.")


def default_scale(x: jax.Array) -> jax.Array:
    """A power of two near max(|x|, 1)."""
    size = jnp.maximum(jnp.abs(jax.lax.stop_gradient(x)), 1)
    _, exponent = jnp.frexp(jnp.where(jnp.isfinite(size), size, 1))
    return jnp.ldexp(jnp.ones_like(x), exponent - 1)


def ladder_of(at: Frame, used: jax.Array, rule: Rule) -> jax.Array:
    """The steps of a direction, from the largest to the smallest.

    There is no telling whether f has the scale of a tiny x, as log has, or 1, as exp. Then the
    upper half of the ladder stays and the lower half begins at 2|x|.
    """
    t = jnp.asarray(rule.steps, at.x.dtype)
    if not rule.adaptive:
        return t
    rows = np.arange(len(rule.steps)) if rule.rows is None else np.array(rule.rows)
    half = (len(rule.steps) + 1) // 2
    near = smallest(jnp.where(used, at.near_zero, jnp.inf), initial=jnp.inf)
    _, exponent = jnp.frexp(jnp.where(jnp.isfinite(near), near, 1))
    top = jnp.minimum(t[half], jnp.ldexp(jnp.ones_like(near), exponent))
    lower = top * jnp.asarray(rule.steps[: len(rule.steps) - half], at.x.dtype) / rule.steps[0]
    return jnp.where(jnp.isfinite(near), jnp.concatenate([t[:half], lower]), t)[rows]


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
    """Where f is sampled along one direction."""

    t: jax.Array
    """`(K,)` steps, from the largest to the smallest."""
    points: jax.Array | None
    """`(K, q, n)`; x in place of what lies outside the bounds."""
    inside: jax.Array
    """`(K, q)` which of them are inside, and not at x."""
    sided: jax.Array
    away: jax.Array
    """Largest |x| of a moved component in units of its step: how much rounding x costs."""
    length: jax.Array
    """The longest component of the direction, in units of x."""
    d: jax.Array
    """`(n,)` the direction, its longest component ±1."""


def places_along(at: Frame, seed: jax.Array, rule: Rule) -> Places:
    """The points of a direction; those outside the bounds are replaced by x."""
    places, moves, d = _without_points(at, seed, rule)
    return places._replace(points=_points(at.x, moves, d, places.inside))


def places_of_component(at: Frame, index: jax.Array, rule: Rule) -> Places:
    """The points of one component's direction; of the direction only the component's own part.

    All but the points is found in one dimension: maxima over n components would cost as much as a
    cheap f.
    """
    own = jax.tree.map(lambda part: part[index][None], at)
    places, moves, d = _without_points(own, jnp.ones(1, at.x.dtype), rule)
    d = jnp.where(jnp.arange(at.x.size) == index, d, 0)
    return places._replace(points=_points(at.x, moves, d, places.inside), d=places.d[0])


def _points(x: jax.Array, moves: jax.Array, d: jax.Array, inside: jax.Array) -> jax.Array:
    return jnp.where(inside[..., None], x + moves[..., None] * d, x)


def _without_points(at: Frame, seed: jax.Array, rule: Rule) -> tuple[Places, jax.Array, jax.Array]:
    """All but the points, which are x + moves · d: the moves `(K, q)` and d with its signs."""
    steps = prepare(at, seed, rule)
    t = ladder_of(at, steps.d != 0, rule) * steps.shrink
    # What is added to x is then what was asked for, to the last bit. (Of a ladder, smaller steps
    # may be near the spacing of x; their error bars know.)
    d = steps.d if rule.adaptive else representable(at.x, steps.d, t[-1])
    moves = t[:, None] * offsets(steps.sided, rule.points, at.x.dtype)
    points = at.x + moves[..., None] * d
    # A step that rounding takes back has no difference: 0 there would pass for a derivative.
    inside = jnp.ones(points.shape[:-1], bool)
    if rule.adaptive:
        inside = jnp.any(points != at.x, axis=-1)
    for bound, sign in ((at.lower, 1), (at.upper, -1)):
        if bound is not None:
            inside &= jnp.all((sign * (points - bound) >= 0) | (d == 0), axis=-1)
    used = d != 0
    away = max_norm(jnp.where(used, jnp.abs(at.x) / jnp.where(used, jnp.abs(d), 1), 0))
    length = max_norm(d)
    length = jnp.where(length > 0, length, jnp.nan)
    return Places(t, None, inside, steps.sided, away, length, d / length), moves, d


def representable(x: jax.Array, d: jax.Array, smallest: jax.Array) -> jax.Array:
    """The direction nearest to d whose smallest step added to x is exact."""
    return ((x + smallest * d) - x) / smallest


class Samples(NamedTuple):
    """f along one or more directions, a column per output and direction."""

    origin: jax.Array
    """`(m,)` f(x)."""
    results: jax.Array
    """`(K, q, m)`."""
    t: jax.Array
    """`(K, m)` steps."""
    inside: jax.Array
    """`(K, q, m)` which samples are inside the bounds."""
    sided: jax.Array
    """`(m,)`."""
    away: jax.Array
    """`(m,)`."""
    length: jax.Array
    """`(m,)`."""


@partial(jax.jit, static_argnames="rule")
def estimate_columns(given: Samples, rule: Rule) -> Estimate:
    """The derivative along each column's direction, with its error bar."""
    ladder, scale, exponents = ladder_in_units(given, rule)
    if rule.adaptive:
        found = _adaptive(ladder, given, rule, exponents)
    else:
        found = fixed(ladder.base, ladder.valid, rule, exponents)
    return rescaled(found, scale, given.length)


def ladder_in_units(given: Samples, rule: Rule) -> tuple[Ladder, jax.Array, tuple[jax.Array, ...]]:
    """The ladder in units of |f|, the units, and the powers of h that Neville's scheme removes."""
    valid = jnp.all(given.inside & jnp.isfinite(given.results), axis=1)
    scale = unit(given.origin, given.results, valid)
    samples, origin = given.results / scale, given.origin / scale
    valid &= jnp.all(jnp.isfinite(samples), axis=1)
    # Safe values in place of NaN keep derivatives through the chosen estimate finite.
    samples = jnp.where(valid[:, None], samples, jnp.where(jnp.isfinite(origin), origin, 0))
    ladder = _assemble(origin, samples, valid, scale, given, rule)
    # Truncation of the central quotient has even powers only, of the one-sided one all from h².
    exponents = tuple(
        jnp.where(given.sided, 2 + stage, 2 + 2 * stage) for stage in range(rule.stages)
    )
    return ladder, scale, exponents


def _assemble(
    origin: jax.Array,
    samples: jax.Array,
    valid: jax.Array,
    scale: jax.Array,
    given: Samples,
    rule: Rule,
) -> Ladder:
    t, sided = given.t, given.sided
    first, last = samples[:, 0], samples[:, -1]
    if rule.points == 1:
        odd, even = first - origin, jnp.zeros_like(first)
        base = odd / t
    else:
        odd = jnp.where(sided, first - origin, first - last)
        even = jnp.where(sided, origin - 2 * first + last, first + last - 2 * origin)
        one_sided = (4 * (first - origin) - (last - origin)) / (2 * t)
        base = jnp.where(sided, one_sided, odd / (2 * t))
    changes = jnp.abs(samples - origin)
    magnitude = jnp.maximum(jnp.abs(origin), max_norm(samples, 1))
    residue = jnp.where(sided, unexplained(even, rule.ratio**2), unexplained(odd, rule.ratio))
    least = jnp.minimum(jnp.abs(origin), smallest(jnp.abs(samples), 1))
    tiny = jnp.finfo(origin.dtype).tiny
    underflow = jnp.maximum(tiny, tiny / scale)
    spread = largest(changes, 1)
    grain = jnp.minimum(last_bit(origin), smallest(last_bit(samples), (0, 1)))
    return Ladder(
        origin, spread, magnitude, base, odd, even, residue, valid, least, underflow, grain
    )


def unexplained(part: jax.Array, growth: jax.Array | float) -> jax.Array:
    """What is left of a part of the samples that should grow by `growth` from step to step.

    Of the order h³, so the smallest steps leave the noise alone. Second differences, of the order
    h², overstate it a hundredfold where f varies fast (log at 1e-6).
    """
    rest = jnp.abs(part[:-1] - growth * part[1:]) / (growth + 1)
    return jnp.concatenate([rest, jnp.full_like(part[:1], jnp.inf)])


def _adaptive(samples: Ladder, given: Samples, rule: Rule, exponents: Any) -> Estimate:
    t, sided = given.t, given.sided
    eta = noise(samples, t, rule.eps, given.away)
    amplification = jnp.where(sided, 4, 1) / t
    estimate = select(
        samples,
        t,
        ratio=rule.ratio,
        exponents=exponents,
        eps=rule.eps,
        eta=eta,
        amplification=amplification,
    )
    jump = jnp.where(sided, 0, kink(samples, t, eta))
    error = jnp.maximum(jnp.maximum(estimate.error, jump), unresolved(samples, given, eta, rule))
    return estimate._replace(error=error)


def unresolved(samples: Ladder, given: Samples, eta: jax.Array, rule: Rule) -> jax.Array:
    """The slope at the smallest step where that is too large to tell noise from f itself, else 0.

    With given steps far above the scale of f the samples look random, and averaging them would
    promise much. A ladder that reaches rounding ends in noise, whatever f is.
    """
    step, noise_there, spread = (at_last(samples, q) for q in (given.t, eta, samples.spread))
    large = step > rule.eps**0.5 * jnp.maximum(given.away, 1 / given.length)
    noisy = noise_there > 0.01 * spread
    slope = spread / jnp.where(step > 0, step, 1)
    # Of stairs the slope below the first is 0.
    not_noise = saturated(samples, rule.eps) | silent(samples, eta, rule.eps)
    return jnp.where((large & noisy) | not_noise, slope, 0)


def fixed(base: jax.Array, valid: jax.Array, rule: Rule, exponents: Any) -> Estimate:
    """The last entry of Neville's scheme; its change over the last stage as error."""
    stages = extrapolate(base, rule.ratio, exponents)
    value = jnp.where(jnp.all(valid, axis=0), stages[-1][-1], jnp.nan)
    error = jnp.abs(stages[-1][-1] - stages[max(0, rule.stages - 1)][-1])
    error = jnp.where(jnp.isfinite(value), error, jnp.inf)
    return Estimate(value, error)
