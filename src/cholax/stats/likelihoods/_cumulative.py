"""Incomplete gamma and beta functions: cumulative distributions of counts, times and t.

`jax.scipy.special` takes differences of log Γ, which lose all digits for large parameters: of
10⁹ trials its cumulative distribution is off by 1. Here powers are taken relative to their largest
value, so that errors stay near rounding whatever the size.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr

from cholax.stats.likelihoods._special import stirling_remainder

_MAX_TERMS = 20_000


def incomplete_gamma(a: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """P(a, x) = ∫₀ˣ tᵃ⁻¹ e⁻ᵗ dt / Γ(a) and Q = 1 - P, for a > 0, x >= 0.

    Derivatives of every order exist in both arguments.
    """
    a, x = jnp.broadcast_arrays(a, _finite(x))
    return _gamma_lower(a, x), _gamma_upper(a, x)


def incomplete_beta(a: jax.Array, b: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """I_x(a, b) = ∫₀ˣ tᵃ⁻¹ (1 - t)ᵇ⁻¹ dt / B(a, b), given x and y = 1 - x, for a, b > 0.

    Derivatives of every order exist in all arguments.
    """
    return _beta(*jnp.broadcast_arrays(a, b, x, y))


def _finite(x: jax.Array) -> jax.Array:
    return jnp.clip(x, jnp.finfo(x.dtype).tiny, math.sqrt(float(jnp.finfo(x.dtype).max)))


def differentiable(
    f: Callable[..., jax.Array], slopes: Mapping[int, Callable[..., jax.Array]]
) -> Callable[..., jax.Array]:
    """An elementwise f with loops, made differentiable in reverse and to any order.

    Args:
        f: of arrays of one shape.
        slopes: ∂f/∂xₖ by k where there is a formula; the others are found by forward mode.
    """

    def slope(k: int) -> Callable[..., jax.Array]:
        def forward(*x: jax.Array) -> jax.Array:
            along = lambda t: f(*x[:k], t, *x[k + 1 :])  # noqa: E731
            return jax.jvp(along, (x[k],), (jnp.ones_like(x[k]),))[1]

        return slopes[k] if k in slopes else differentiable(forward, {})

    def rule(primals: tuple[jax.Array, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        terms = [
            slope(k)(*primals) * dx
            for k, dx in enumerate(tangents)
            if not isinstance(dx, jax.custom_derivatives.SymbolicZero)
        ]
        return wrapped(*primals), sum(terms, start=jnp.zeros_like(primals[0]))

    wrapped = jax.custom_jvp(f)
    wrapped.defjvp(rule, symbolic_zeros=True)
    # Compiled once: loops called outside of `jit` would be compiled at every call.
    return jax.jit(wrapped)


def _gamma(a: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """P and Q: by its series or Q's continued fraction, whichever side of the mode x lies."""
    large = a > _large(a.dtype)
    a_small, x_small = jnp.where(large, 1.0, a), jnp.where(large, 1.0, x)
    below = x_small < a_small + 1.0
    power = jnp.exp(_gamma_log_power(a_small, x_small))
    lower = power * _gamma_series(a_small, jnp.where(below, x_small, a_small))
    upper = power * a_small * _gamma_fraction(a_small, jnp.where(below, a_small + 1.0, x_small))
    v = (x - a) / jnp.sqrt(a)
    w, correction = _uniform(_gamma_deviance(a, x), v, 1.0 / (3.0 * jnp.sqrt(a)))
    return (
        jnp.where(large, ndtr(w) + correction, jnp.where(below, lower, 1.0 - upper)),
        jnp.where(large, ndtr(-w) - correction, jnp.where(below, 1.0 - lower, upper)),
    )


def _gamma_log_power(a: jax.Array, x: jax.Array) -> jax.Array:
    """Log of xᵃ e⁻ˣ / Γ(a + 1)."""
    scale = -0.5 * jnp.log(2.0 * math.pi * a) - stirling_remainder(a)
    return scale - _gamma_deviance(a, x)


def _gamma_density(a: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.exp(_gamma_log_power(a, x) + jnp.log(a) - jnp.log(x))


_gamma_lower = differentiable(lambda a, x: _gamma(a, x)[0], {1: _gamma_density})
_gamma_upper = differentiable(lambda a, x: _gamma(a, x)[1], {1: lambda a, x: -_gamma_density(a, x)})


def _gamma_deviance(a: jax.Array, x: jax.Array) -> jax.Array:
    return -a * _log1p_minus((x - a) / a, x / a)


def _gamma_series(a: jax.Array, x: jax.Array) -> jax.Array:
    """Σ xᵏ / ((a + 1) ... (a + k))."""
    eps = jnp.finfo(a.dtype).eps

    def step(state: tuple) -> tuple:
        k, term, total, _ = state
        term = term * (x / (a + k))
        return k + 1.0, term, total + term, (term > eps * total).any()

    one = jnp.ones_like(a)
    *_, total, more = jax.lax.while_loop(
        lambda s: s[3] & (s[0] < _MAX_TERMS), step, (jnp.ones((), a.dtype), one, one, True)
    )
    return jnp.where(more, jnp.nan, total)


def _gamma_fraction(a: jax.Array, x: jax.Array) -> jax.Array:
    """eˣ x⁻ᵃ Γ(a, x) = 1/(x + 1 - a - 1 (1 - a)/(x + 3 - a - ...)), by Lentz's algorithm."""

    def step(k: jax.Array, c: jax.Array, d: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        numerator, denominator = -k * (k - a), x + 1.0 - a + 2.0 * k
        d = 1.0 / _nonzero(denominator + numerator * d)
        c = _nonzero(denominator + numerator / c)
        return c, d, c * d

    first = 1.0 / _nonzero(x + 1.0 - a)
    return _lentz(step, jnp.full_like(a, 1.0 / jnp.finfo(a.dtype).tiny), first, first)


def _beta_lower(a: jax.Array, b: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """I_x(a, b) by its continued fraction, or 1 - I_y(b, a) beyond the mode."""
    large = jnp.minimum(a, b) > _large(a.dtype)
    # x > (a + 1)/(a + b + 2), whose sides may both round to 1.
    beyond = x * (b + 2.0) - y * a > 1.0
    p, q = jnp.where(beyond, b, a), jnp.where(beyond, a, b)
    s, t = jnp.where(beyond, y, x), jnp.where(beyond, x, y)
    spare = zip((2.0, 2.0, 0.5, 0.0), (p, q, s, s * q - t * p), strict=True)
    fraction = _beta_fraction(*(jnp.where(large, one, z) for one, z in spare))
    tail = jnp.exp(_beta_log_power(p, q, s, t)) * fraction
    deviance, v = _beta_deviance(p, q, s, t)
    skew = (q - p) / (3.0 * jnp.sqrt(p) * jnp.sqrt(q) * jnp.sqrt(p + q))
    w, correction = _uniform(deviance, v, skew)
    tail = jnp.where(large, ndtr(w) + correction, tail)
    return jnp.where(beyond, 1.0 - tail, tail)


def _beta_log_power(p: jax.Array, q: jax.Array, s: jax.Array, t: jax.Array) -> jax.Array:
    """Log of sᵖ tᑫ / (p B(p, q))."""
    remainder = stirling_remainder(p + q) - stirling_remainder(p) - stirling_remainder(q)
    scale = 0.5 * (jnp.log(q) - jnp.log(p) - jnp.log(p + q) - math.log(2.0 * math.pi))
    return scale + remainder - _beta_deviance(p, q, s, t)[0]


def _beta_density(a: jax.Array, b: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    ends = jnp.log(_finite(x)) + jnp.log(_finite(y))
    return jnp.exp(_beta_log_power(a, b, x, y) + jnp.log(a) - ends)


# y = 1 - x moves with x: all of the slope is x's.
_beta = differentiable(
    _beta_lower, {2: _beta_density, 3: lambda *arrays: jnp.zeros_like(arrays[0])}
)


def _beta_deviance(
    p: jax.Array, q: jax.Array, s: jax.Array, t: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """D = p log(s₀/s) + q log(t₀/t), s₀ = p/(p + q), t = 1 - s, and s - s₀ in units of its sd."""
    total = p + q
    s, t = _finite(s), _finite(t)
    off = s * q - t * p
    deviance = -p * _log1p_minus(off / p, s * total / p)
    deviance -= q * _log1p_minus(-off / q, t * total / q)
    return deviance, off / (jnp.sqrt(p) * jnp.sqrt(q / total))


def _beta_fraction(a: jax.Array, b: jax.Array, x: jax.Array, off: jax.Array) -> jax.Array:
    """I_x(a, b) a B(a, b)/(xᵃ (1 - x)ᵇ), by the even part of its continued fraction.

    In terms of off = x b - (1 - x) a, whose digits cancel in the fraction itself.
    """

    def step(k: jax.Array, c: jax.Array, d: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        odd = a + 2.0 * k - 1.0
        numerator = ((a + (k - 1.0)) / odd) * ((a + b + (k - 1.0)) * x / odd) * (k * ((b - k) * x))
        denominator = k + k * ((b - k) * x) / odd
        denominator += (a + k) / (odd + 2.0) * (1.0 - off + k * (2.0 - x))
        d = 1.0 / _nonzero(denominator + numerator * d)
        c = _nonzero(denominator + numerator / c)
        return c, d, c * d

    first = _nonzero(a / (a + 1.0) * (1.0 - off))
    return a / _lentz(step, first, jnp.zeros_like(a), first)


def _lentz(step: Callable, c: jax.Array, d: jax.Array, value: jax.Array) -> jax.Array:
    """The limit of value · Π growth; NaN where it is not reached."""
    eps = 8.0 * jnp.finfo(c.dtype).eps

    def advance(state: tuple) -> tuple:
        k, c, d, value, _ = state
        c, d, growth = step(k, c, d)
        return k + 1.0, c, d, value * growth, jnp.abs(growth - 1.0) > eps

    state = jnp.ones((), c.dtype), c, d, value, jnp.ones(c.shape, bool)
    *_, value, moving = jax.lax.while_loop(
        lambda s: s[4].any() & (s[0] < _MAX_TERMS), advance, state
    )
    return jnp.where(moving, jnp.nan, value)


def _nonzero(x: jax.Array) -> jax.Array:
    tiny = jnp.finfo(x.dtype).tiny
    return jnp.where(jnp.abs(x) < tiny, tiny, x)


def _large(dtype: jnp.dtype) -> float:
    """Beyond it a normal tail with one correction is exact to about parameter⁻¹·⁵."""
    return 1e6 if dtype == jnp.float64 else 1e4


def _uniform(deviance: jax.Array, v: jax.Array, skew: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The w and φ(w) (1/w - 1/v) of P ≈ Φ(w) + φ(w) (1/w - 1/v), w = sign(v) √(2 deviance).

    Temme's expansions of the incomplete gamma and beta functions, uniform in their arguments, to
    the first term; 1/w - 1/v tends to `skew` as v → 0.
    """
    near = jnp.abs(v) < (1e-4 if v.dtype == jnp.float64 else 0.05)
    safe = jnp.where(near, 1.0, v)
    far = jnp.sign(safe) * jnp.sqrt(2.0 * jnp.where(near, 0.5, deviance))
    w = jnp.where(near, v / (1.0 + skew * v), far)
    difference = jnp.where(near, skew, 1.0 / far - 1.0 / safe)
    return w, jnp.exp(-0.5 * w * w) / math.sqrt(2.0 * math.pi) * difference


def _log1p_minus(u: jax.Array, one_plus: jax.Array) -> jax.Array:
    """log(1 + u) - u, given 1 + u as well, without cancellation for small u."""
    small = jnp.abs(u) < 0.5
    s = jnp.where(small, u, 0.0)
    # log(1 + u) = 2 artanh(r), r = u/(2 + u), |r| <= 1/3.
    r = s / (2.0 + s)
    z, series = r * r, jnp.zeros_like(r)
    for k in range(35, 1, -2):
        series = series * z + 1.0 / k
    t = jnp.maximum(jnp.where(small, 1.0, one_plus), jnp.finfo(u.dtype).tiny)
    far = jnp.log(t) - jnp.where(small, 0.0, u)
    return jnp.where(small, 2.0 * r * z * series - s * r, far)
