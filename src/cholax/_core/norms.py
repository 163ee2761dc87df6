"""Maxima that keep NaN on every JAX version.

The CPU backends of JAX 0.10.2 and 0.12.0.1 (in float32 that of 0.10.0, too) drop NaN from maxima
and minima over 4 096 entries and more, flat or along an axis, eager or compiled: `jnp.max` of NaN
alone is −∞, or the initial value; `jnp.ptp`, `jnp.linalg.norm(x, ord=jnp.inf)`, batched maxima,
`lax.reduce` and `lax.reduce_window` are the same. A test `isfinite(max|x|)` then passes on an array
of NaN. Sums, logical reductions, elementwise `maximum` and `clip`, `argmax`, `top_k`, cumulative
and segment maxima and sorting are right, so NaN is put back by a logical reduction. Every maximum
that decides whether something is finite, small or converged is one of these.
"""

from typing import Any

import jax
import jax.numpy as jnp


def largest(x: jax.Array, axis: Any = None, initial: float | None = None) -> jax.Array:
    """The largest entry, NaN where there is a NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax._core.norms import largest
        >>> largest(jnp.full(5000, jnp.nan)).item()
        nan
    """
    return _with_nan(x, jnp.max(x, axis, initial=initial), axis)


def smallest(x: jax.Array, axis: Any = None, initial: float | None = None) -> jax.Array:
    """The smallest entry, NaN where there is a NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax._core.norms import smallest
        >>> smallest(jnp.array([2.0, 1.0])).item()
        1.0
    """
    return _with_nan(x, jnp.min(x, axis, initial=initial), axis)


def max_norm(x: jax.Array, axis: Any = None) -> jax.Array:
    """The largest |x_i|, NaN where there is a NaN; of nothing, zero.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax._core.norms import max_norm
        >>> max_norm(jnp.array([1.0, -3.0])).item()
        3.0
    """
    return largest(jnp.abs(x), axis, initial=0.0)


def one_norm(A: jax.Array) -> jax.Array:
    """The largest sum of magnitudes in a column of a matrix, NaN where there is a NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax._core.norms import one_norm
        >>> one_norm(jnp.array([[1.0, -3.0], [2.0, 0.0]])).item()
        3.0
    """
    return max_norm(jnp.sum(jnp.abs(A), axis=0))


def all_finite(x: jax.Array) -> jax.Array:
    """Whether no entry is NaN or infinite.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax._core.norms import all_finite
        >>> all_finite(jnp.array([1.0, jnp.inf])).item()
        False
    """
    return jnp.all(jnp.isfinite(x))


def _with_nan(x: jax.Array, extreme: jax.Array, axis: Any) -> jax.Array:
    return jnp.where(jnp.any(jnp.isnan(x), axis), jnp.nan, extreme)
