"""From samples on a ladder of steps to a derivative with an error bar.

Estimates T_k belong to steps h_0 > h_1 > …, each a factor r smaller. Neville's scheme removes one
power of h after the other. Every estimate carries a rounding bar R_k ∝ η / h_k^d for noise η in f,
so the small steps are inaccurate but honest. Going up from the smallest step, an estimate is
trusted while it agrees with all smaller steps within the bars (Lepski's principle); among those
trusted the one of smallest R_k + |T_k − T_{k+1}| wins. A step too large for f (a high frequency,
another branch, a pole) disagrees with the smaller ones and cannot be chosen.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from cholax._core.norms import largest, max_norm, smallest

# Noise is estimated from few samples: bars may be short by this factor before they count as
# disagreeing. With 1 every tenth of 400 random functions had no trusted step at all.
_SLACK = 2.0
# Smaller steps that must agree before an estimate is trusted.
SUPPORT = 2
# A noise estimate from the third smallest of eight samples is short by about this.
_NOISE_FACTOR = 4.0
# Where little is trusted the noise may be in single samples that the third smallest misses
# (log_ndtr at 3 is off by 250 spacings in one point of six): once more with bars this much wider,
# if they are still those of rounding. (Those of a frequency that no step resolves are not.)
_NOISE_MISSED = 256.0


class Ladder(NamedTuple):
    """Samples on K steps, in m columns: one per output and direction, each in a unit of its own."""

    origin: jax.Array
    """`(m,)` f(x)."""
    spread: jax.Array
    """`(K, m)` largest |f − f(x)| of the step's samples."""
    magnitude: jax.Array
    """`(K, m)` largest |f| of the step's samples."""
    base: jax.Array
    """`(K, m)` the plain difference quotient."""
    odd: jax.Array
    """`(K, m)` the part of the samples that is odd in h (∝ h for smooth f)."""
    even: jax.Array
    """`(K, m)` their second difference (∝ h² for smooth f)."""
    residue: jax.Array
    """`(K, m)` a combination that vanishes faster than the derivative's part: the noise seen."""
    valid: jax.Array
    """`(K, m)` all samples finite and inside the bounds."""
    least: jax.Array
    """`(K, m)` smallest |f| of the step's samples."""
    underflow: jax.Array
    """`(m,)` the smallest number of the format in the column's unit: what is below it is 0."""
    grain: jax.Array
    """`(m,)` the largest power of two that divides all samples."""


class Estimate(NamedTuple):
    """A derivative and its error bar."""

    value: jax.Array
    error: jax.Array


def extrapolate(
    base: jax.Array, ratio: float, exponents: tuple[jax.Array | float, ...]
) -> list[jax.Array]:
    """Neville's scheme: stage s removes h^exponents[s]; stage s has s estimates less."""
    stages = [base]
    for exponent in exponents:
        weight = ratio**exponent
        last = stages[-1]
        # Not (w·T' − T)/(w − 1): the product overflows earlier than the result.
        stages.append(last[1:] + (last[1:] - last[:-1]) / (weight - 1))
    return stages


def unit(origin: jax.Array, samples: jax.Array, valid: jax.Array) -> jax.Array:
    """`(m,)` powers of two near |f| at x, so that nothing computed from f / unit leaves the format.

    Args:
        origin: `(m,)` f(x).
        samples: `(K, q, m)` f on the steps, from the largest to the smallest.
        valid: `(K, m)` where all of a step's samples count.
    """
    size = jnp.where(valid, max_norm(samples, 1), 0)
    near = jnp.maximum(jnp.abs(origin), size[-1])
    near = jnp.where(near > 0, near, largest(size, 0))
    near = jnp.where((near > 0) & jnp.isfinite(near), near, 1)
    limit = jnp.finfo(origin.dtype).maxexp - 4
    _, exponent = jnp.frexp(near)
    return jnp.ldexp(jnp.ones_like(near), jnp.clip(exponent, -limit, limit))


def noise(ladder: Ladder, h: jax.Array, eps: float, argument: jax.Array) -> jax.Array:
    """η_k: rounding of f, of its argument (x is `argument` away from 0), and what is seen.

    The smallest steps show the noise itself, in differences that should vanish.
    """
    # The last step has no residue; invalid steps are hardly among the last nine.
    # Where f changes in few stairs, a residue of 0 is chance.
    usable = ladder.valid[:-1] & ladder.valid[1:]
    usable &= (ladder.residue[:-1] > 0) | (ladder.spread[:-1] == 0)
    seen = jnp.where(usable, ladder.residue[:-1], jnp.inf)[-8:]
    observed = _third_smallest(seen)
    observed = jnp.where(jnp.isfinite(observed), _NOISE_FACTOR * observed, 0)
    observed = jnp.maximum(observed, _quantum(ladder, h, eps))
    observed = jnp.maximum(observed, _cancelled(ladder))
    return jnp.maximum(rounding(ladder, h, eps, argument), observed)


def _cancelled(ladder: Ladder) -> jax.Array:
    """The last digit of f where leading ones cancelled, else 0: all samples then end in zeros.

    In flat parts of a function, and at numbers of few digits, they do without that; then either
    small steps change nothing, or the first change is large next to the digit or next to f.
    """
    changes = jnp.where(ladder.valid & (ladder.spread > 0), ladder.spread, jnp.inf)
    few = smallest(changes, 0) <= 64 * ladder.grain
    top = largest(jnp.where(ladder.valid, ladder.spread, 0), 0)
    digits = (at_last(ladder, ladder.spread) > 0) | (few & (ladder.grain < 2.0**-16 * top))
    return jnp.where(digits, ladder.grain, 0)


def rounding(ladder: Ladder, h: jax.Array, eps: float, argument: jax.Array) -> jax.Array:
    """The part of η_k that is known beforehand.

    The slope that rounding of the argument is multiplied by is the steepest one seen at a step or
    below it: f may vary faster than a step shows, but what larger steps see far from x says nothing
    about x.
    """
    slope = _running_largest(jnp.where(ladder.valid, ladder.spread / h, 0))
    rounded = eps * (ladder.magnitude + jnp.where(argument > 0, argument * slope, 0))
    # Samples below the smallest number of the format have become zero.
    lost = ladder.least < ladder.underflow
    return jnp.maximum(rounded, jnp.where(lost, ladder.underflow, 0))


def _running_largest(rows: jax.Array) -> jax.Array:
    """The largest of each row and all later ones, by doubling: it compiles faster than a scan."""
    shift = 1
    while shift < rows.shape[0]:
        rows = jnp.maximum(rows, _padded(rows[shift:], rows.shape[0]))
        shift *= 2
    return rows


def _third_smallest(rows: jax.Array) -> jax.Array:
    index = jnp.arange(rows.shape[0])[:, None]
    for _ in range(min(2, rows.shape[0] - 1)):
        rows = jnp.where(index == jnp.argmin(rows, axis=0), jnp.inf, rows)
    return smallest(rows, 0)


def _quantum(ladder: Ladder, h: jax.Array, eps: float) -> jax.Array:
    """Height of a stair where f is one (a difference that cancelled, or a shorter format), else 0.

    Below some step f does not change at all; the first changes above it grow in proportion to h
    and are odd in h. A function that is flat at x by itself (a ReLU) changes on one side only.
    """
    changed = ladder.valid & (ladder.spread > 0)
    flat = ladder.valid & (ladder.spread == 0)
    count = changed.shape[0]
    index = jnp.arange(count)[:, None]
    first = jnp.max(jnp.where(changed, index, -1), axis=0)
    flat_below = jnp.any(flat & (index > first), axis=0)

    def at(values: jax.Array, offset: int) -> jax.Array:
        place = jnp.clip(first - offset, 0, count - 1)[None]
        return jnp.take_along_axis(values, place, axis=0)[0]

    odd, even = ([at(part, k) for k in range(5)] for part in (ladder.odd, ladder.even))
    is_odd = [jnp.abs(even[k]) < 0.5 * jnp.abs(odd[k]) for k in (1, 2)]
    growth = jnp.abs(odd[2]) / jnp.where(odd[1] == 0, jnp.inf, jnp.abs(odd[1]))
    grows = is_odd[0] & is_odd[1] & (odd[1] * odd[2] > 0) & (growth > 2) & (growth < 8)
    stairs = flat_below & (first >= 2) & grows
    for last in (3, 4):
        whole = _whole_stairs(odd, even, [at(h, k) for k in range(last + 1)])
        stairs |= flat_below & (first >= last) & whole
    # No stair where the next step's change is too small to be seen, or for the format.
    height, size = at(ladder.spread, 0), at(ladder.magnitude, 0)
    next_change = height * at(h, -1) / at(h, 0)
    visible = next_change > jnp.maximum(8 * eps * size, 2 * ladder.underflow)
    return jnp.where(stairs & visible, height, 0)


def _whole_stairs(odd: list[jax.Array], even: list[jax.Array], h: list[jax.Array]) -> jax.Array:
    """Whether the first changes are whole stairs, as many as a parabola passes.

    x may lie at the edge of a stair: one side then changes alone, several times by one height.
    The parabola is that through the last step's change, which is of several stairs.
    """
    up, down = (jnp.abs(odd[0] + sign * even[0]) / 2 for sign in (1, -1))
    low, high = jnp.minimum(up, down), jnp.maximum(up, down)
    height = jnp.where(low < 1e-3 * high, high, low)
    height = jnp.where(height > 0, height, jnp.nan)
    last = len(h) - 1
    found = jnp.maximum(jnp.abs(odd[last]), jnp.abs(even[last])) >= 5 * height
    for k in range(last):
        for part, power, off in ((odd, 1, 1.5), (even, 2, 2.5)):
            stairs = part[k] / height
            found &= jnp.abs(stairs - jnp.round(stairs)) < 1e-3
            found &= jnp.abs(part[k] - part[last] * (h[k] / h[last]) ** power) <= off * height
    return found


def last_bit(values: jax.Array) -> jax.Array:
    """The largest power of two that divides each number; infinity for 0, which all divide."""
    values = lax.stop_gradient(values)
    if values.dtype.itemsize < 4:
        values = values.astype(jnp.float32)
    digits = jnp.finfo(values.dtype).nmant + 1
    whole = jnp.int32 if values.dtype == jnp.float32 else jnp.int64
    mantissa, exponent = jnp.frexp(values)
    integer = jnp.ldexp(mantissa, digits).astype(whole)
    last = jnp.ldexp((integer & -integer).astype(values.dtype), exponent - digits)
    return jnp.where(values == 0, jnp.inf, last)


def saturated(ladder: Ladder, eps: float) -> jax.Array:
    """Whether the smallest step changes f as much as large ones do, by more than rounding would.

    So does noise of the size of f, and so does a frequency that no step resolves (sin 10⁷x in
    single precision).
    """
    least, size = (at_last(ladder, q) for q in (ladder.spread, ladder.magnitude))
    top = largest(jnp.where(ladder.valid, ladder.spread, 0), 0)
    return (least > 0.1 * top) & (least > eps**0.5 * size)


def silent(ladder: Ladder, eta: jax.Array, eps: float) -> jax.Array:
    """Whether the smallest step changes f by far less than the noise seen at others.

    Real noise does not stop there. A frequency that few steps resolve does (sin 10⁶x in single
    precision), and so do stairs, below which f does not change.
    """
    least, size, seen = (at_last(ladder, q) for q in (ladder.spread, ladder.magnitude, eta))
    return (seen > 8 * least) & (seen > eps**0.5 * size)


def at_last(ladder: Ladder, rows: jax.Array) -> jax.Array:
    """The row of the smallest valid step; 0 where no step is valid."""
    last = rows.shape[0] - 1 - jnp.argmax(ladder.valid[::-1], axis=0)
    row = jnp.take_along_axis(rows, last[None], axis=0)[0]
    return jnp.where(jnp.any(ladder.valid, axis=0), row, 0)


def kink(ladder: Ladder, h: jax.Array, eta: jax.Array) -> jax.Array:
    """Half the jump of the slope at x, or 0: second differences that shrink like h, not like h²."""
    size = jnp.abs(ladder.even)
    jump = size / h
    seen = ladder.valid & (size > 32 * eta)
    three = seen[2:] & seen[1:-1] & seen[:-2]
    steady = three & (jump[2:] > jump[1:-1] / 1.7) & (jump[2:] > jump[:-2] / 3)
    # The next smaller step shows nothing only because the noise hides it: a kink beside x, which
    # the smaller steps do not reach, is no kink at x.
    ratio = h[0] / h[1]
    hidden = ~ladder.valid[1:] | (size[:-1] / ratio < 64 * eta[1:])
    hidden = jnp.concatenate([hidden, jnp.ones_like(hidden[:1])]) & seen
    below = jnp.concatenate([~seen[1:], jnp.ones_like(seen[:1])])
    here = steady & (hidden & below)[2:]
    return largest(jnp.where(here, jump[2:] / 2, 0), 0, initial=0)


def trusted(value: jax.Array, bar: jax.Array, valid: jax.Array, support: int) -> jax.Array:
    """Whether an estimate and all those of smaller steps (later rows) agree within their bars."""
    low = jnp.where(valid, value - _SLACK * bar, -jnp.inf)
    high = jnp.where(valid, value + _SLACK * bar, jnp.inf)

    # A loop, not cumulative minima: each of those takes XLA as long to compile as all the rest.
    def add(carry: Any, row: Any) -> tuple[Any, jax.Array]:
        top, bottom, agree, count = carry
        low, high, valid = row
        top, bottom = jnp.minimum(top, high), jnp.maximum(bottom, low)
        agree &= top >= bottom
        ok = valid & agree & (count >= support)
        return (top, bottom, agree, count + valid), ok

    edge = jnp.full_like(low[0], jnp.inf)
    start = (edge, -edge, jnp.ones(edge.shape, bool), jnp.zeros(edge.shape, jnp.int32))
    return jax.lax.scan(add, start, (low, high, valid), reverse=True)[1]


def _padded(rows: jax.Array, count: int) -> jax.Array:
    return jnp.pad(rows, ((0, count - rows.shape[0]), (0, 0)))


def _windows(valid: jax.Array, linked: jax.Array, count: int) -> list[jax.Array]:
    """Where s + 1 neighbouring steps are valid, for s < count."""
    windows = [valid]
    for s in range(1, count):
        windows.append(windows[-1][:-1] & valid[s:] & linked[s - 1 :])
    return windows


def rescaled(estimate: Estimate, scale: jax.Array, length: jax.Array) -> Estimate:
    """An estimate in units of `scale` per `length` in plain numbers.

    An error bar, and the error of a value too small for the format, is never rounded to zero.
    """
    tiny = jnp.finfo(estimate.value.dtype).tiny
    # Their quotient stays in the format where both are large or both small; else neither factor
    # takes a result out of it that the other would bring back.
    same = (scale > 1) == (length > 1)

    def plain(part: jax.Array) -> jax.Array:
        return jnp.where(same, part * (scale / length), part * scale / length)

    value, error = (plain(part) for part in estimate)
    lost = (estimate.error > 0) | ((estimate.value != 0) & (jnp.abs(value) < tiny))
    return Estimate(value, jnp.where(lost, jnp.maximum(error, tiny), error))


def select(
    ladder: Ladder,
    h: jax.Array,
    *,
    ratio: float,
    exponents: tuple[jax.Array | float, ...],
    eps: float,
    eta: jax.Array,
    amplification: jax.Array,
    support: int = SUPPORT,
) -> Estimate:
    """The trusted estimate of smallest error bar over all steps and orders.

    Args:
        ladder: the samples.
        h: `(K, m)` steps, decreasing.
        ratio: between neighbouring steps.
        exponents: powers of h in the truncation error, one per Neville stage.
        eps: relative spacing of the format.
        eta: `(K, m)` noise of f.
        amplification: `(K, m)` bar of the base estimate per unit of noise.
        support: how many smaller steps must agree.

    Returns:
        NaN with error inf where no estimate is trusted.
    """
    rounded = [eta * amplification]
    for exponent in exponents:
        weight = ratio**exponent
        rounded.append(rounded[-1][1:] + (rounded[-1][1:] + rounded[-1][:-1]) / (weight - 1))
    count = ladder.base.shape[0]
    stages = extrapolate(ladder.base, ratio, exponents)
    values = jnp.stack([_padded(value, count) for value in stages], axis=1)
    bar = jnp.stack([_padded(b, count) for b in rounded], axis=1)
    # Where a ladder has two parts, no scheme reaches over the gap.
    linked = h[:-1] < 1.5 * ratio * h[1:]
    windows = _windows(ladder.valid, linked, len(stages))
    valid = jnp.stack([_padded(window, count) for window in windows], axis=1)
    following = jnp.abs(values[:-1] - values[1:])
    missed = _NOISE_MISSED * eta
    small = jnp.all((missed <= eps**0.5 * ladder.magnitude) | ~ladder.valid, axis=0)
    bars = jnp.stack([bar, jnp.where(small, _NOISE_MISSED, 1) * bar])
    ok = jax.vmap(trusted, (None, 0, None, None))(values, bars, valid, support)[:, :-1] & valid[1:]
    errors = jnp.where(ok, bars[:, :-1] + following, jnp.inf)
    errors = smallest(errors, 0)
    errors = errors.reshape(errors.shape[0] * errors.shape[1], errors.shape[2])
    best = jnp.argmin(errors, axis=0)[None]
    error = jnp.take_along_axis(errors, best, axis=0)[0]
    value = jnp.take_along_axis(values[:-1].reshape(errors.shape), best, axis=0)[0]
    known = jnp.isfinite(error) & jnp.isfinite(ladder.origin)
    return Estimate(jnp.where(known, value, jnp.nan), jnp.where(known, error, jnp.inf))
