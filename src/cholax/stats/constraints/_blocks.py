"""Products with the sparse basis B of an elimination, which acts on groups of variables.

`Grouped` is B itself, for vectors. `Blocks` makes BᵀQB and BΣBᵀ: Q is read into dense blocks, one
for each pair of groups that it couples; B_gᵀ Q_gh B_h is a matrix product per block, and the
entries of the products are those of BᵀQB. The way back, Σ ↦ BΣBᵀ on the pattern of Q, is the same
with read and written sides exchanged. All maps are linear in the values.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from cholax import primitives
from cholax.linalg.constants import Operator, constant
from cholax.patterns import Pattern
from cholax.patterns.indexing import check_count, from_sorted
from cholax.primitives import EntryMap


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


class Shape:
    """Groups of one shape, numbered consecutively.

    Attributes:
        columns: `(g, r)` coordinates of each group, -1 where there are fewer.
        height: number s of variables, the largest of the groups.
        basis: `(g, s, r)`, or `(1, s, r)` for all; None for single variables left as they are.
    """

    def __init__(self, columns: np.ndarray, height: int, basis: np.ndarray | None) -> None:
        self.columns = columns
        self.height = height
        self.basis = basis


class _Piece(NamedTuple):
    """Pairs of groups of two shapes: their places among the groups of that shape.

    Either all are pairs of a group with itself, whose blocks are symmetric and hold one triangle,
    or none is.
    """

    left: np.ndarray
    right: np.ndarray
    shapes: tuple[Shape, Shape]
    own: bool

    @property
    def outer(self) -> tuple[int, int, int]:
        """Shape of the blocks of Q."""
        return len(self.left), self.shapes[0].height, self.shapes[1].height

    @property
    def inner(self) -> tuple[int, int, int]:
        """Shape of the blocks of BᵀQB."""
        return len(self.left), self.shapes[0].columns.shape[1], self.shapes[1].columns.shape[1]


class Blocks:
    """A symmetric pattern on n variables by blocks, and the pattern of BᵀQB.

    Args:
        shapes: the groups.
        group_of: `(n,)` group of each variable.
        place_of: `(n,)` its place there.
        size: number of coordinates.
        pattern: of Q.

    Attributes:
        outer: the pattern of Q.
        inner: the pattern of BᵀQB, full on each pair of groups.
        pairs: pairs of groups, two arrays.
    """

    def __init__(
        self,
        shapes: list[Shape],
        group_of: np.ndarray,
        place_of: np.ndarray,
        size: int,
        pattern: Pattern,
    ) -> None:
        self.outer = pattern
        counts = [len(shape.columns) for shape in shapes]
        first, total = np.concatenate([[0], np.cumsum(counts)]), sum(counts)
        self._count = total
        shape_of = np.repeat(np.arange(len(shapes)), counts)
        rows, columns = group_of[pattern.rows], group_of[pattern.columns]
        keys = np.minimum(rows, columns).astype(np.int64) * total + np.maximum(rows, columns)
        keys, pair_of = np.unique(keys, return_inverse=True)
        a, b = np.divmod(keys, max(total, 1))
        order = np.lexsort((a != b, shape_of[b], shape_of[a]))
        rank = np.empty(order.size, np.int64)
        rank[order] = np.arange(order.size)
        a, b, pair_of = a[order], b[order], rank[pair_of]
        self.pairs = a, b
        self._pieces = list(_pieces(a, b, shape_of, first, shapes))
        # Where the block of each pair starts, and the length of its rows.
        starts, widths = self._starts([piece.outer for piece in self._pieces])
        swapped = rows > columns
        left = place_of[np.where(swapped, pattern.columns, pattern.rows)]
        right = place_of[np.where(swapped, pattern.rows, pattern.columns)]
        start, width = starts[pair_of], widths[pair_of]
        self._outer_places = (start + width * left + right).astype(np.int32)
        self._lay_out_inner(size)

    def _starts(self, shapes: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray]:
        starts, widths, begin = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
        for p, s, t in shapes:
            starts.append(begin + s * t * np.arange(p))
            widths.append(np.full(p, t))
            begin += p * s * t
        check_count(begin, "Constraints", "entries in the blocks of eliminated variables")
        return np.concatenate(starts), np.concatenate(widths)

    def _lay_out_inner(self, size: int) -> None:
        self._starts([piece.inner for piece in self._pieces])
        rows, columns, places, begin = [], [], [], 0
        for piece in self._pieces:
            p, r, q = piece.inner
            left, right = piece.shapes
            i = left.columns[piece.left].astype(np.int32)[:, :, None]
            j = right.columns[piece.right].astype(np.int32)[:, None, :]
            kept = (i >= 0) & (j >= 0)
            if piece.own:
                kept &= i >= j
            rows.append(np.maximum(i, j)[kept])
            columns.append(np.minimum(i, j)[kept])
            places.append(begin + np.flatnonzero(kept).astype(np.int32))
            begin += p * r * q
        empty = np.zeros(0, np.int32)
        row, column, place = (np.concatenate([empty, *parts]) for parts in (rows, columns, places))
        # Linear in the entries, unlike a sort of their keys.
        shape = size, size
        sorted_places = sp.csr_array(sp.coo_array((place + 1, (row, column)), shape=shape)).tocsc()
        self.inner = Pattern.trusted(
            shape,
            sorted_places.indptr.astype(np.int32),
            sorted_places.indices.astype(np.int32),
            symmetric=True,
        )
        self._inner_places = sorted_places.data - 1

    @cached_property
    def quotient(self) -> Pattern:
        """Which groups are coupled, a symmetric pattern on the groups."""
        a, b = self.pairs
        order = np.lexsort((b, a))
        return from_sorted(b[order], a[order], (self._count, self._count), symmetric=True)

    @cached_property
    def _outer_map(self) -> EntryMap:
        """From blocks to entries."""
        total = sum(int(np.prod(piece.outer)) for piece in self._pieces)
        return EntryMap(self._outer_places, total)

    @cached_property
    def _inner_map(self) -> EntryMap:
        total = sum(int(np.prod(piece.inner)) for piece in self._pieces)
        return EntryMap(self._inner_places, total)

    def congruence(self, values: jax.Array) -> jax.Array:
        """Entries of BᵀQB on `inner` from those of Q on `outer`."""
        made = [
            _product(piece, X, transpose=True).reshape(-1)
            for piece, X in self._read(self._outer_map, values, "outer")
        ]
        return primitives.gather(self._inner_map, _joined(made, values.dtype))

    def spread(self, values: jax.Array) -> jax.Array:
        """Entries of BΣBᵀ on `outer` from those of Σ on `inner`."""
        made = [
            _product(piece, X, transpose=False).reshape(-1)
            for piece, X in self._read(self._inner_map, values, "inner")
        ]
        return primitives.gather(self._outer_map, _joined(made, values.dtype))

    def _read(
        self, places: EntryMap, values: jax.Array, side: str
    ) -> Iterator[tuple[_Piece, jax.Array]]:
        """The blocks of each piece, zero where nothing is stored."""
        entries, begin = primitives.scatter(places, values), 0
        for piece in self._pieces:
            shape = getattr(piece, side)
            end = begin + int(np.prod(shape))
            X = entries[begin:end].reshape(shape)
            if piece.own:
                X = X + jnp.where(np.eye(shape[1], dtype=bool), 0, jnp.swapaxes(X, 1, 2))
            yield piece, X
            begin = end


def _joined(parts: list[jax.Array], dtype: Any) -> jax.Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate([jnp.zeros(0, dtype), *parts])


def _pieces(
    a: np.ndarray, b: np.ndarray, shape_of: np.ndarray, first: np.ndarray, shapes: list[Shape]
) -> Iterator[_Piece]:
    kinds = 2 * (shape_of[a] * len(shapes) + shape_of[b]) + (a != b)
    for kind in np.unique(kinds):
        here = kinds == kind
        left, right = divmod(int(kind) // 2, len(shapes))
        both = shapes[left], shapes[right]
        yield _Piece(a[here] - first[left], b[here] - first[right], both, kind % 2 == 0)


def _product(piece: _Piece, X: jax.Array, *, transpose: bool) -> jax.Array:
    """LᵀXR for all pairs, or LXRᵀ."""
    for side, where in ((1, piece.right), (0, piece.left)):
        shape = piece.shapes[side]
        if shape.basis is None:
            continue
        M = constant(shape, "basis", X.dtype)
        one = M.shape[0] == 1
        M = M[0] if one else M[where]
        inside = "sr" if transpose else "rs"
        factor = inside if one else "p" + inside
        operands, result = ("pas", "par") if side else ("psb", "prb")
        X = jnp.einsum(f"{operands},{factor}->{result}", X, M, precision="highest")
    return X
