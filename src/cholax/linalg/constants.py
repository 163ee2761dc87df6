"""Numbers fixed on the host as operands in JAX: arrays of static objects, SciPy matrices.

A program has a copy of a constant for each function that uses it, and XLA evaluates what it can of
them while compiling: with millions of numbers, minutes and gigabytes. So large ones are held by
the native side, not written into programs.
"""

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cholax import primitives
from cholax.linalg import operands
from cholax.patterns import Pattern
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


class Operator:
    """Products with a fixed matrix M along the first axis of `(n,)` or `(n, c)` arrays."""

    def __call__(self, x: jax.Array, *, transpose: bool = False) -> jax.Array:
        """M x or Mᵀx."""
        raise NotImplementedError

    def along(self, x: jax.Array, *, transpose: bool = False) -> jax.Array:
        """The same along the last axis of x, `(..., n)`."""
        if x.ndim == 1:
            return self(x, transpose=transpose)
        flat = self(x.reshape(-1, x.shape[-1]).T, transpose=transpose).T
        return flat.reshape(*x.shape[:-1], flat.shape[-1])


class FixedMatrix(Operator):
    """A SciPy CSC matrix."""

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix
        self.data = matrix.data

    @cached_property
    def pattern(self) -> Pattern:
        """Where its entries are."""
        M = self.matrix
        indptr, indices = np.asarray(M.indptr, np.int32), np.asarray(M.indices, np.int32)
        return Pattern.trusted(M.shape, indptr, indices, False)

    def __call__(self, x: jax.Array, *, transpose: bool = False) -> jax.Array:
        """M x or Mᵀx."""
        values = constant(self, "data", x.dtype)
        columns = operands.as_column(x) if x.ndim == 1 else x
        product = primitives.matvec(self.pattern, values, columns, transpose=transpose)
        return operands.as_vector(product) if x.ndim == 1 else product
