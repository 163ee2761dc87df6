"""Sparse matrices of fixed numbers as operators in JAX: any, and those made of blocks of groups."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from cholax import primitives
from cholax.linalg import operands
from cholax.patterns import Pattern
from cholax.stats.constraints.held import constant


class Operator:
    """Products with a matrix M along the first axis of `(n,)` or `(n, c)` arrays."""

    def __call__(self, x: jax.Array, *, transpose: bool = False) -> jax.Array:
        """M x or Mᵀx."""
        raise NotImplementedError

    def along(self, x: jax.Array, *, transpose: bool = False) -> jax.Array:
        """The same along the last axis of x, `(..., n)`."""
        if x.ndim == 1:
            return self(x, transpose=transpose)
        flat = self(x.reshape(-1, x.shape[-1]).T, transpose=transpose).T
        return flat.reshape(*x.shape[:-1], flat.shape[-1])


class Fixed(Operator):
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


class Stack:
    """Blocks of groups of one shape.

    Attributes:
        variables: `(g, s)` the rows of each block.
        blocks: `(g, s, w)`, or `(1, s, w)` for all, whose columns follow each other.
    """

    def __init__(self, variables: np.ndarray, blocks: np.ndarray) -> None:
        self.variables = variables
        self.blocks = blocks

    @property
    def columns(self) -> int:
        """Number of columns of all blocks."""
        return len(self.variables) * self.blocks.shape[2]

    def product(self, x: jax.Array, transpose: bool) -> jax.Array:
        """All blocks times the parts of x that follow each other, `(g·w, ...)` to `(g·s, ...)`."""
        if self.blocks.shape == (1, 1, 1) and self.blocks[0, 0, 0] == 1:
            return x
        g, tail = len(self.variables), x.shape[1:]
        M = constant(self, "blocks", x.dtype)
        M = M[0] if len(M) == 1 else M
        into, out = ("s", "w") if transpose else ("w", "s")
        subscripts = f"g{into}...,{'g' if M.ndim == 3 else ''}sw->g{out}..."
        made = jnp.einsum(subscripts, x.reshape(g, -1, *tail), M, precision="highest")
        return made.reshape(-1, *tail)


class Grouped(Operator):
    """A matrix of n rows whose columns are those of stacks of blocks, on different variables."""

    def __init__(self, n: int, stacks: Sequence[Stack]) -> None:
        self.n = n
        self.stacks = tuple(stacks)
        self.width = sum(stack.columns for stack in stacks)

    @cached_property
    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        """The variables of all stacks, and the place of each variable among them, -1 for none."""
        order = np.concatenate(
            [np.zeros(0, np.int32), *(np.ravel(s.variables) for s in self.stacks)]
        ).astype(np.int32)
        places = np.full(self.n, -1, np.int32)
        places[order] = np.arange(order.size)
        return order, places

    def matrix(self) -> Any:
        """The same as a SciPy CSC matrix, made anew."""
        i, j, entries, first = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)], 0
        for stack in self.stacks:
            (g, s), w = stack.variables.shape, stack.blocks.shape[2]
            columns = first + np.arange(g * w).reshape(g, 1, w)
            i.append(np.broadcast_to(stack.variables[:, :, None], (g, s, w)).ravel())
            j.append(np.broadcast_to(columns, (g, s, w)).ravel())
            entries.append(np.broadcast_to(stack.blocks, (g, s, w)).ravel())
            first += g * w
        at = np.concatenate(i).astype(np.int32), np.concatenate(j).astype(np.int32)
        made = sp.coo_array((np.concatenate(entries), at), shape=(self.n, self.width)).tocsc()
        made.sort_indices()
        return made

    def __call__(self, x: jax.Array, *, transpose: bool = False) -> jax.Array:
        """M x or Mᵀx."""
        order, places = self._rows
        if transpose:
            x = jnp.take(x, order, axis=0, mode="clip")
        made, first = [], 0
        for stack in self.stacks:
            last = first + (stack.variables.size if transpose else stack.columns)
            made.append(stack.product(x[first:last], transpose))
            first = last
        tail = x.shape[1:]
        if transpose:
            return jnp.concatenate([jnp.zeros((0, *tail), x.dtype), *made])
        # The zero behind them all is for variables in no block.
        every = jnp.concatenate([*made, jnp.zeros((1, *tail), x.dtype)])
        return jnp.take(every, np.where(places < 0, order.size, places), axis=0, mode="clip")
