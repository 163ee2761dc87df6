"""Differences along a direction for `check_derivatives`: every entry at its own size.

Samples are brought to the size of 1 entry by entry, so neither 1e-300 sin x nor its neighbour
1e300 sin x underflows or overflows. Where the steps reach so far that f is 10⁸⁰ times larger there,
the error bars say nothing about x: shorter ladders of steps are tried.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cholax.numdiff.directional import estimate_columns, frame, places_along
from cholax.numdiff.evaluate import placed_by_jax
from cholax.numdiff.rules import rule
from cholax.numdiff.sweep import columns_of
from cholax.testing.problem import Leaf

# Shorter ladders, relative to the default one: with steps of at most 1/128 and 1/8192 of x.
_SHORTER = (2.0**-6, 2.0**-12)
# Between steps that differ fourfold the slope of a smooth function grows by 1 (linear), 4
# (stationary) or 16 (an inflection); by far more where it grows exponentially.
_SAME_BEHAVIOR = (0.6, 20.0)
# Changes below this multiple of what the smallest steps show are noise.
_NOISE = 64.0


class Difference(NamedTuple):
    """A derivative along the direction of a leaf, entry by entry."""

    value: np.ndarray
    error: np.ndarray
    slope: np.ndarray
    """Largest |f(x + t·d) − f(x)| / t over the steps where f behaves as it does at x, else 0."""
    constant: np.ndarray
    """Whether f does not change at all, or is even and smooth about x: its derivative is 0."""

    def part(self, where: slice) -> "Difference":
        """The entries of one leaf of the result."""
        return Difference(*(q[where] for q in self))


def difference(
    f: Callable[..., Any], leaf: Leaf, scale: Any, bounds: Any, resolution: float
) -> Difference:
    """The derivative of a flat f along a leaf's direction, by the adaptive rule."""
    shape = leaf.value.shape
    evaluate = jax.jit(jax.vmap(lambda point: f(point.reshape(shape))))
    eps = _spacing(f, leaf.value)
    best = _on_ladder(evaluate, leaf, scale, bounds, eps, 1.0)
    for shorter in _SHORTER:
        if np.all(_resolved(best, resolution)):
            break
        best = _merge(best, _on_ladder(evaluate, leaf, scale, bounds, eps, shorter), resolution)
    return best


def _spacing(f: Callable[..., Any], x: jax.Array) -> float:
    out = jax.eval_shape(f, x)
    return max(float(jnp.finfo(dtype).eps) for dtype in (x.dtype, out.dtype))


def size(d: Difference) -> np.ndarray:
    """What an entry's error bar is measured by: the difference, or the slope of f beside x."""
    return np.fmax(np.abs(d.value), d.slope)


def _resolved(d: Difference, resolution: float) -> np.ndarray:
    return d.constant | (d.error <= 0.1 * resolution * size(d))


def _merge(one: Difference, short: Difference, resolution: float) -> Difference:
    """The shorter ladder's entries where they are better and do not contradict the longer one."""
    bars = 3 * (one.error + short.error)
    agrees = np.isfinite(one.error) & (np.abs(one.value - short.value) <= bars)
    better = agrees & (short.error < one.error) & ~_resolved(one, resolution) & ~short.constant
    return Difference(*(np.where(better, new, old) for new, old in zip(short, one, strict=True)))


def _on_ladder(
    evaluate: Callable[..., Any],
    leaf: Leaf,
    scale: Any,
    bounds: Any,
    eps: float,
    shorter: float,
) -> Difference:
    x = jnp.ravel(leaf.value)
    at = frame(
        leaf.value,
        x,
        eps,
        scale=scale,
        step=None,
        bounds=bounds,
        adaptive=True,
        where="check_derivatives",
    )
    at = at._replace(scale=at.scale * shorter)
    # Differences are taken in units of the scale, so the direction must be too.
    seed = jnp.ravel(leaf.direction) / at.scale
    unit = float(np.max(np.abs(np.asarray(seed, float))))
    # Estimates are derivatives along a direction whose longest component is 1.
    length = float(np.max(np.abs(np.asarray(leaf.direction, float))))
    ladder = rule("adaptive", eps, None)
    places, rows = placed_by_jax(at, (seed / unit)[None], rule=ladder, placing=places_along)
    points = jnp.concatenate([x[None], rows])
    scaled, exponent = _to_one(evaluate(points))
    estimate = estimate_columns(columns_of(places, scaled[0], scaled[None, 1:]), ladder)
    points, samples, d = (np.asarray(part, float) for part in (points, scaled, places.d[0]))
    # Near a bound a component may be moved the other way; then there is no difference along v.
    same = np.all(np.sign(d) == np.sign(np.ravel(leaf.direction)))
    value, error = (np.asarray(part, float) for part in estimate)
    slope, constant = _beside(points, samples, d, eps)
    with np.errstate(over="ignore", invalid="ignore"):
        value, error, slope = (np.ldexp(q * length, exponent) for q in (value, error, slope))
    return Difference(value, np.where(same, error, np.inf), slope, constant & same)


def _to_one(results: jax.Array) -> tuple[jax.Array, np.ndarray]:
    """Results `(p, m)` with every column times a power of two that brings its median to 1."""
    values = np.abs(np.asarray(results, float))
    usable = np.isfinite(values) & (values > 0)
    exponent = np.zeros(values.shape[1], int)
    for k in range(values.shape[1]):
        column = values[usable[:, k], k]
        if column.size:
            exponent[k] = np.frexp(np.median(column))[1] - 1
    # 2^-e must be a normal number of the format.
    info = jnp.finfo(results.dtype)
    exponent = np.clip(exponent, info.minexp + 1, info.maxexp - 2)
    return results * jnp.asarray(np.ldexp(1.0, -exponent), results.dtype), exponent


def _beside(
    points: np.ndarray, samples: np.ndarray, d: np.ndarray, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """`Difference.slope` and `.constant` from the samples, the first of which is at x."""
    reach = np.max(np.abs(points[1:] - points[0]) / np.where(d == 0, np.inf, np.abs(d)), axis=1)
    pairs = reach.size // 2
    with np.errstate(invalid="ignore", over="ignore"):
        change = (samples[1:] - samples[0])[: 2 * pairs].reshape(pairs, 2, -1)
        steps = reach[: 2 * pairs].reshape(pairs, 2)
        steps = np.where(steps > 0, steps, np.inf)
        spread = np.max(np.abs(change), axis=1)
        slopes = np.max(np.abs(change) / steps[:, :, None], axis=1)
        even = np.all(change[:, 0] == change[:, 1], axis=0)
    both_sides = np.all(np.isclose(steps[:, 0], steps[:, 1]) | ~np.isfinite(steps[:, 0]))
    finite = np.all(np.isfinite(change[pairs // 2 :]), axis=(0, 1))
    # Large steps may leave the domain; the small ones are looked at above.
    unchanged = np.all((change == 0) | ~np.isfinite(change), axis=(0, 1))
    noise = _NOISE * np.maximum(eps * np.abs(samples[0]), np.max(spread[-4:], axis=0))
    seen = np.isfinite(slopes) & (spread > noise)
    constant = finite & (unchanged | (even & both_sides & _vanishing(slopes, seen)))
    return _steady(slopes, seen), constant


def _vanishing(slopes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Whether the slopes shrink with the steps, as beside an extremum and not beside a kink."""
    last = slopes.shape[0] - 1 - np.argmax(seen[::-1], axis=0)
    smallest = np.take_along_axis(slopes, last[None], axis=0)[0]
    return np.any(seen, axis=0) & (smallest <= 1e-3 * np.max(slopes, axis=0, where=seen, initial=0))


def _steady(slopes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Largest slope of the steps, from the smallest seen one on, while it grows as powers do."""
    low, high = _SAME_BEHAVIOR
    best = np.zeros(slopes.shape[1])
    for k in range(slopes.shape[1]):
        rows = np.flatnonzero(seen[:, k])[::-1]
        for small, large in pairwise(rows):
            growth = slopes[large, k] / slopes[small, k]
            if large != small - 1 or not low <= growth <= high:
                break
            best[k] = max(best[k], slopes[large, k])
    return best
