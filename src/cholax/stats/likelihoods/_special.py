"""Elementary functions without overflow or cancellation, derivatives included."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from scipy.special import zeta

# Stirling's series is exact to double precision from here on: the first term left out is
# 691/360360 x⁻¹¹ = 1e-16.
_STIRLING = 16.0


def largest_exponent(dtype: Any) -> float:
    """One less than the logarithm of the largest number."""
    return math.log(float(jnp.finfo(dtype).max)) - 1.0


def safe_exp(x: jax.Array) -> jax.Array:
    """eˣ, continued along its tangent within a factor e of overflow.

    Derivatives stay finite where the value does not: inf · 0 would make gradients NaN.
    """
    cap = largest_exponent(x.dtype)
    # Not `minimum`: its derivative is a product with 0, and the factor may be infinite.
    low = jnp.where(x < cap, x, cap)
    return jnp.exp(low) * (1.0 + (x - low))


def safe_expm1(x: jax.Array) -> jax.Array:
    """eˣ - 1, continued like `safe_exp`."""
    small = x < 1.0
    return jnp.where(
        small, jnp.expm1(jnp.where(small, x, 0.0)), safe_exp(jnp.where(small, 1.0, x)) - 1.0
    )


def log1mexp(log_x: jax.Array) -> jax.Array:
    """log(1 - e⁻ˣ) of x = exp(log_x) > 0."""
    # Beyond x = 1000 the result is 0 in any format; capped before the exponential, whose
    # derivative would overflow.
    x = jnp.exp(jnp.minimum(log_x, math.log(1000.0)))
    tiny, small = x < jnp.finfo(x.dtype).eps, x < math.log(2.0)
    near = jnp.log(-jnp.expm1(-jnp.where(small & ~tiny, x, 1.0)))
    far = jnp.log1p(-jnp.exp(-jnp.where(small, 1.0, x)))
    return jnp.where(tiny, log_x, jnp.where(small, near, far))


def stirling_remainder(x: jax.Array) -> jax.Array:
    """Log Γ(x) - (x - ½) log x + x - ½ log 2π, for x >= 16 by its series."""
    large = x >= _STIRLING
    y = 1.0 / jnp.where(large, x, _STIRLING)
    z = y * y
    series = y * (1 / 12 - z * (1 / 360 - z * (1 / 1260 - z * (1 / 1680 - z / 1188))))
    s = jnp.where(large, 1.0, x)
    direct = gammaln(s) - (s - 0.5) * jnp.log(s) + s - 0.5 * math.log(2.0 * math.pi)
    return jnp.where(large, series, direct)


def log_gamma_ratio(x: jax.Array, a: jax.Array) -> jax.Array:
    """Log Γ(x + a) - log Γ(x) for x > 0, a >= 0, without cancellation for large x."""
    large = x >= _STIRLING
    s = jnp.where(large, x, _STIRLING)
    grown = a * jnp.log(s) + (s + a - 0.5) * jnp.log1p(a / s) - a
    ratio = grown + stirling_remainder(s + a) - stirling_remainder(s)
    t = jnp.where(large, 1.0, x)
    return jnp.where(large, ratio, gammaln(t + a) - gammaln(t))


def log_factorial(y: jax.Array) -> jax.Array:
    """Log y!."""
    return gammaln(y + 1.0)


def log_gamma_spread(x: jax.Array) -> jax.Array:
    """Log Γ(1 + 2x) - 2 log Γ(1 + x) for x > 0, without cancellation for small x."""
    small = x < 1 / 16
    s, t = jnp.where(small, x, 0.0), jnp.where(small, 1.0, x)
    # log Γ(1 + x) = -γ x + Σ (-1)ᵏ ζ(k) xᵏ/k, whose terms beyond k = 20 are below (1/8)²⁰ here.
    series = jnp.zeros_like(s)
    for k in range(20, 1, -1):
        series = series * s + (-1.0) ** k * float(zeta(k)) * (2.0**k - 2.0) / k
    return jnp.where(small, series * s * s, gammaln(1.0 + 2.0 * t) - 2.0 * gammaln(1.0 + t))
