"""Constants of static objects; large ones held by the native side, not written into programs.

A program has a copy of a constant for each function that uses it, and XLA evaluates what it can of
them while compiling: with the millions of numbers here, minutes and gigabytes.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cholax import primitives
from cholax.primitives import EntryMap

# Numbers of an array that counts as large.
LARGE = 2**16


def constant(owner: Any, name: str, dtype: Any) -> jax.Array:
    """The NumPy array in an attribute of an immutable object, which keeps what is made of it."""
    array = getattr(owner, name)
    if array.size < LARGE:
        return jnp.asarray(array, dtype)
    kept = owner.__dict__.setdefault("_held", {})
    if name not in kept:
        kept[name] = EntryMap(np.zeros(array.size, np.int32), 1, np.ravel(array))
    return primitives.gather(kept[name], jnp.ones(1, dtype)).reshape(array.shape)
