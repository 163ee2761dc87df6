"""Common families of priors of one number."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import betaln, gammaln, xlog1py, xlogy

from cholax._core.pickling import recipe
from cholax.stats.priors._prior import Prior, check_positive
from cholax.stats.support import POSITIVE, REAL, UNIT, Interval

_LOG_2PI = math.log(2.0 * math.pi)


@recipe
def normal(mean: float = 0.0, sd: float = 1.0) -> Prior:
    """N(mean, sd²) on the real line.

    Args:
        mean: its mean.
        sd: its standard deviation.

    Example:
        >>> from cholax.stats import priors
        >>> round(float(priors.normal(0.0, 2.0).log_prob(0.0)), 4)
        -1.6121
    """
    check_positive("normal", sd=sd)

    def density(x: jax.Array) -> jax.Array:
        return -0.5 * ((x - mean) / sd) ** 2 - jnp.log(sd) - 0.5 * _LOG_2PI

    def sampler(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return mean + sd * jax.random.normal(key, shape)

    return Prior(f"normal({mean}, {sd})", "parameter", REAL, density, sampler)


@recipe
def half_normal(scale: float) -> Prior:
    """|N(0, scale²)| on positive numbers, for a standard deviation.

    Args:
        scale: its square is the mean square.

    Example:
        >>> from cholax.stats import priors
        >>> round(float(priors.half_normal(1.0).log_prob(1.0)), 4)
        -0.7258
    """
    check_positive("half_normal", scale=scale)

    def density(x: jax.Array) -> jax.Array:
        return math.log(2.0) - 0.5 * (x / scale) ** 2 - jnp.log(scale) - 0.5 * _LOG_2PI

    def sampler(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return scale * jnp.abs(jax.random.normal(key, shape))

    return Prior(f"half_normal({scale})", "parameter", POSITIVE, density, sampler)


@recipe
def half_t(df: float, scale: float) -> Prior:
    """|scale · t(df)| on positive numbers, for a standard deviation; half-Cauchy for df = 1.

    Args:
        df: degrees of freedom.
        scale: of the t distribution.

    Example:
        >>> from cholax.stats import priors
        >>> round(float(priors.half_t(1.0, 1.0).log_prob(1.0)), 4)
        -1.1447
    """
    check_positive("half_t", df=df, scale=scale)

    def density(x: jax.Array) -> jax.Array:
        v = jnp.asarray(df, x.dtype)
        constant = gammaln(0.5 * (v + 1.0)) - gammaln(0.5 * v) - 0.5 * jnp.log(v * math.pi)
        body = -0.5 * (v + 1.0) * jnp.log1p((x / scale) ** 2 / v)
        return math.log(2.0) + constant - jnp.log(scale) + body

    def sampler(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return scale * jnp.abs(jax.random.t(key, df, shape))

    return Prior(f"half_t({df}, {scale})", "parameter", POSITIVE, density, sampler)


@recipe
def gamma(shape: float, rate: float) -> Prior:
    """Gamma with mean shape/rate on positive numbers, for instance a precision.

    Args:
        shape: exponent of x, plus one.
        rate: inverse scale.

    Example:
        >>> from cholax.stats import priors
        >>> float(priors.gamma(1.0, 1.0).log_prob(2.0))
        -2.0
    """
    check_positive("gamma", shape=shape, rate=rate)

    def density(x: jax.Array) -> jax.Array:
        a = jnp.asarray(shape, x.dtype)
        return a * jnp.log(rate) - gammaln(a) + (a - 1.0) * jnp.log(x) - rate * x

    def sampler(key: jax.Array, size: tuple[int, ...]) -> jax.Array:
        return jax.random.gamma(key, shape, size) / rate

    return Prior(f"gamma({shape}, {rate})", "parameter", POSITIVE, density, sampler)


@recipe
def exponential(rate: float) -> Prior:
    """Exponential with mean 1/rate on positive numbers.

    Args:
        rate: inverse mean.

    Example:
        >>> from cholax.stats import priors
        >>> float(priors.exponential(1.0).log_prob(2.0))
        -2.0
    """
    check_positive("exponential", rate=rate)

    def sampler(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.exponential(key, shape) / rate

    return Prior(
        f"exponential({rate})",
        "parameter",
        POSITIVE,
        lambda x: jnp.log(rate) - rate * x,
        sampler,
    )


@recipe
def uniform(lower: float, upper: float) -> Prior:
    """Uniform between two concrete numbers.

    Args:
        lower: left end.
        upper: right end.

    Example:
        >>> from cholax.stats import priors
        >>> priors.uniform(0.0, 1.0).log_prob(0.3).tolist()
        0.0
    """
    support = Interval(float(lower), float(upper))
    height = math.log(1.0 / (support.upper - support.lower))

    def sampler(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.uniform(key, shape, minval=lower, maxval=upper)

    name = f"uniform({lower}, {upper})"
    return Prior(name, "parameter", support, lambda x: jnp.full_like(x, height), sampler)


@recipe
def beta(a: float, b: float) -> Prior:
    """Beta between 0 and 1, with density proportional to x^(a - 1) (1 - x)^(b - 1).

    Args:
        a: exponent of x, plus one.
        b: exponent of 1 - x, plus one.

    Example:
        >>> from cholax.stats import priors
        >>> priors.beta(1.0, 1.0).log_prob(0.3).tolist()
        0.0
    """
    check_positive("beta", a=a, b=b)

    def density(x: jax.Array) -> jax.Array:
        p, q = jnp.asarray(a, x.dtype), jnp.asarray(b, x.dtype)
        return xlogy(p - 1.0, x) + xlog1py(q - 1.0, -x) - betaln(p, q)

    def sampler(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.beta(key, a, b, shape)

    return Prior(f"beta({a}, {b})", "parameter", UNIT, density, sampler)
