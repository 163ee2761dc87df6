"""The size of an array in a program. On some JAX versions `jnp.max` cannot tell that: see below.

The CPU backends of JAX 0.10.2 and 0.12.0.1 drop NaN from maxima and minima of 4 096 entries and
more (of NaN alone they give −∞, or the initial value). A test `isfinite(max|x|)` then passes on an
array of NaN. Logical reductions are right on every version, so NaN is put back by one.
"""

import jax
import jax.numpy as jnp


def max_norm(x: jax.Array) -> jax.Array:
    """Largest |x_i|, NaN where any entry is NaN; of nothing, zero.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax._core.norms import max_norm
        >>> max_norm(jnp.array([1.0, -3.0])).item()
        3.0
        >>> max_norm(jnp.full(5000, jnp.nan)).item()
        nan
    """
    return jnp.where(jnp.any(jnp.isnan(x)), jnp.nan, jnp.max(jnp.abs(x), initial=0.0))


def all_finite(x: jax.Array) -> jax.Array:
    """Whether no entry is NaN or infinite.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax._core.norms import all_finite
        >>> all_finite(jnp.array([1.0, jnp.inf])).item()
        False
    """
    return jnp.all(jnp.isfinite(x))
