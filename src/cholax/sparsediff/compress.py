"""From coloured products back to entries: compressed matrices and the static maps that read them.

A forward product J s sums the columns of one colour, a reverse one Jᵀ w the rows of one colour.
Stacked, they are the compressed matrices B = (J S)ᵀ and C = WᵀJ. Every entry of J stands alone in
one of them, at a place known beforehand; after an acyclic colouring it is a difference of such
places, found by one sparse triangular solve with ones.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.errors import ShapeError, StructureError
from cholax.csc import sparse_triangular_solve
from cholax.linalg import maps
from cholax.patterns import Pattern, algebra
from cholax.patterns.indexing import check_count
from cholax.primitives import EntryMap
from cholax.sparsediff.coloring.result import Coloring
from cholax.sparsediff.coloring.symmetric import native_graph

# Most elements of a compressed matrix held at once (1 GiB of float64); beyond, each chunk of
# products is read out before the next one is made.
LARGEST_COMPRESSED = 2**27

LinearMap = Callable[[jax.Array], jax.Array]


# --- products ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Side:
    """The products of one side, `chunk` of them at a time."""

    colors: np.ndarray
    count: int
    length: int
    chunk: int

    @property
    def chunks(self) -> int:
        """How many times `chunk` products are made."""
        return math.ceil(self.count / self.chunk) if self.count else 0

    @property
    def size(self) -> int:
        """Elements of the compressed matrix, padding included."""
        return self.chunks * self.chunk * self.length

    def products(
        self, linear: LinearMap, dtype: np.dtype, read: Callable[..., jax.Array], *tables: jax.Array
    ) -> jax.Array:
        """Apply `linear` to the seeds of all colours; `read(block, *rows of tables)` per chunk."""

        # Seeds are compared on the fly: a seed matrix would be colours × n numbers in the program.
        def one(color: jax.Array) -> jax.Array:
            return linear((self.colors == color).astype(dtype))

        # Numbers beyond the last colour fill up the last chunk; their seeds are zero.
        numbers = np.arange(self.chunks * self.chunk, dtype=np.int32).reshape(-1, self.chunk)

        def block(step: tuple[jax.Array, ...]) -> jax.Array:
            made = jax.vmap(one)(step[0]) if self.chunk > 1 else one(step[0][0])[None]
            return read(made, *step[1:])

        if self.chunks == 1:
            return block((jnp.asarray(numbers[0]), *(table[0] for table in tables)))[None]
        return jax.lax.map(block, (jnp.asarray(numbers), *tables))


def side(colors: np.ndarray, count: int, length: int, most: int) -> Side:
    """Products of `length` numbers, in as few equal chunks of at most `most` as possible."""
    chunks = math.ceil(count / max(1, most)) if count else 1
    return Side(colors, count, length, max(1, math.ceil(count / chunks)))


# --- places --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Places:
    """Where each entry is read: (number of the product, position within it), on one of the sides.

    `reverse` marks entries read from the products of rows. `children_first`, for acyclic
    colourings: the entries in the order in which they can be solved, and `parent`, the place in
    that order of the entry whose equation each of them enters (-1: none).
    """

    product: np.ndarray
    position: np.ndarray
    reverse: np.ndarray
    children_first: np.ndarray | None = None
    parent: np.ndarray | None = None


def places(pattern: Pattern, coloring: Coloring) -> Places:
    """Find every entry in the compressed matrices; raise when the colouring does not allow it."""
    if coloring.kind == "acyclic":
        return _by_substitution(pattern, coloring)
    if pattern.symmetric:
        return _of_symmetric(pattern, coloring)
    by_column = _read_directly(pattern, coloring.column_colors, pattern.columns, pattern.rows)
    transposed = coloring.row_colors[pattern.rows]
    by_row = ~by_column
    if by_row.any():
        by_row &= _read_directly(pattern, coloring.row_colors, pattern.rows, pattern.columns)
    if not (by_column | by_row).all():
        raise _invalid(coloring)
    return Places(
        np.where(by_row, transposed, coloring.column_colors[pattern.columns]),
        np.where(by_row, pattern.columns, pattern.rows),
        by_row,
    )


def _of_symmetric(pattern: Pattern, coloring: Coloring) -> Places:
    colors = coloring.column_colors
    full, source = algebra.expand(pattern)
    alone = _read_directly(full, colors, full.columns, full.rows)
    # Of the two mirror entries the last one that stands alone is taken.
    product, position = np.full(pattern.nnz, -1), np.zeros(pattern.nnz, np.int64)
    product[source[alone]] = colors[full.columns[alone]]
    position[source[alone]] = full.rows[alone]
    if (product < 0).any():
        raise _invalid(coloring)
    return Places(product, position, np.zeros(pattern.nnz, bool))


def _read_directly(
    p: Pattern, colors: np.ndarray, ours: np.ndarray, theirs: np.ndarray
) -> np.ndarray:
    """Whether an entry is the only one of its colour along its line: `theirs` numbers the lines."""
    color = colors[ours].astype(np.int64)
    count = int(colors.max(initial=-1)) + 1
    keys = theirs * np.int64(count) + color
    lines = p.shape[0] if theirs is p.rows else p.shape[1]
    keys[color < 0] = count * lines
    size = count * lines + 1
    if size <= max(10_000_000, 4 * keys.size):
        single = np.bincount(keys, minlength=size)[keys] == 1
    else:
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        single = counts[inverse] == 1
    return single & (color >= 0)


def _by_substitution(pattern: Pattern, coloring: Coloring) -> Places:
    colors = np.ascontiguousarray(coloring.column_colors, np.int32)
    order, vertex, parent = native_graph(pattern).substitution(colors, coloring.count)
    rows, columns = pattern.rows, pattern.columns
    off = rows != columns
    if order.size != off.sum() or (colors[rows[off]] == colors[columns[off]]).any():
        raise _invalid(coloring)
    product, position = colors[columns].copy(), rows.astype(np.int64)
    other = np.where(vertex[order] == rows[order], columns[order], rows[order])
    product[order], position[order] = colors[other], vertex[order]
    # Diagonal entries come first: nothing enters their equations.
    children_first = np.concatenate([np.flatnonzero(~off), order])
    place = np.empty(pattern.nnz + 1, np.int64)
    place[children_first] = np.arange(pattern.nnz)
    place[-1] = -1
    up = np.full(pattern.nnz, -1)
    up[: parent.size] = parent
    return Places(
        product, position, np.zeros(pattern.nnz, bool), children_first, place[up[children_first]]
    )


def _invalid(coloring: Coloring) -> StructureError:
    return StructureError(
        f"decompression: {coloring} does not determine every entry. "
        "This is a defect of cholax: please report it with the pattern."
    )


# --- reading -------------------------------------------------------------------------------------


class Reader:
    """Reads the values of a matrix out of its coloured products.

    Args:
        pattern: where the entries are.
        coloring: how they were grouped.
        chunks: most products to make at once, forward and reverse.
    """

    def __init__(self, pattern: Pattern, coloring: Coloring, chunk: tuple[int, int]) -> None:
        rows, columns = pattern.shape
        self.forward = side(coloring.column_colors, coloring.num_column_colors, rows, chunk[0])
        self.reverse = side(coloring.row_colors, coloring.num_row_colors, columns, chunk[1])
        found = places(pattern, coloring)
        self._substitution = None if found.parent is None else _Substitution(found)
        order = found.children_first
        if order is not None:
            found = Places(found.product[order], found.position[order], found.reverse[order])
        self._streamed = self.forward.size + self.reverse.size > LARGEST_COMPRESSED
        self._tables: dict[bool, np.ndarray] = {}
        self._entries = self._streams(found) if self._streamed else self._direct(found)

    def __call__(
        self, forward: LinearMap | None, reverse: LinearMap | None, dtype: np.dtype
    ) -> jax.Array:
        """The values, from the two linear maps s -> J s and w -> Jᵀ w; one may be missing."""
        parts = []
        for one_side, linear in ((self.forward, forward), (self.reverse, reverse)):
            if one_side.count == 0:
                continue
            if linear is None:
                raise StructureError("decompression: the colouring needs both kinds of products.")
            if self._streamed:
                table = jnp.asarray(self._tables[one_side is self.reverse])
                made = one_side.products(linear, dtype, lambda b, at: b.ravel()[at], table)
            else:
                made = one_side.products(linear, dtype, lambda b: b)
            parts.append(made.ravel())
        if not parts:
            return jnp.zeros(0, dtype)
        read = maps.take(self._entries, jnp.concatenate(parts) if len(parts) > 1 else parts[0])
        return read if self._substitution is None else self._substitution(read)

    def _direct(self, found: Places) -> EntryMap:
        length = np.where(found.reverse, self.reverse.length, self.forward.length)
        start = np.where(found.reverse, self.forward.size, 0)
        positions = start + found.product * length.astype(np.int64) + found.position
        return EntryMap(positions, self.forward.size + self.reverse.size)

    def _streams(self, found: Places) -> EntryMap:
        """Per chunk a row of positions to read, padded; then one map from all that was read."""
        slots, start = np.zeros(found.product.size, np.int64), 0
        for reverse, one_side in ((False, self.forward), (True, self.reverse)):
            if one_side.count == 0:
                continue
            ours = np.flatnonzero(found.reverse == reverse)
            chunk, inside = np.divmod(found.product[ours], one_side.chunk)
            check_count(one_side.chunk * one_side.length, "chunk_size", "numbers in one chunk")
            order = np.argsort(chunk, kind="stable")
            counts = np.bincount(chunk, minlength=one_side.chunks)
            width = int(counts.max(initial=1))
            rank = np.empty(ours.size, np.int64)
            rank[order] = np.arange(ours.size) - np.repeat(np.cumsum(counts) - counts, counts)
            table = np.zeros((one_side.chunks, width), np.int32)
            table[chunk, rank] = inside * one_side.length + found.position[ours]
            self._tables[reverse] = table
            slots[ours] = start + chunk * width + rank
            start += table.size
        if start > np.iinfo(np.int32).max:
            raise ShapeError(
                f"sparse differentiation: {start} numbers to read, more than 32-bit positions "
                "address. Pass a larger chunk_size, or another mode."
            )
        return EntryMap(slots, start)


class _Substitution:
    """x(e) = b(e) - sum of x(d) over the children d of e: a triangular solve with ones."""

    def __init__(self, found: Places) -> None:
        assert found.children_first is not None
        assert found.parent is not None
        size = found.parent.size
        below = np.flatnonzero(found.parent >= 0)
        counts = np.ones(size, np.int32)
        counts[below] += 1
        self._indptr = np.append(0, np.cumsum(counts)).astype(np.int32)
        self._indices = np.empty(self._indptr[-1], np.int32)
        self._indices[self._indptr[:-1]] = np.arange(size)
        self._indices[self._indptr[below] + 1] = found.parent[below]
        back = np.empty(size, np.int64)
        back[found.children_first] = np.arange(size)
        self._back = EntryMap(back, size)

    def __call__(self, b: jax.Array) -> jax.Array:
        ones = jnp.ones(self._indices.size, b.dtype)
        x = sparse_triangular_solve(self._indices, self._indptr, ones, b)
        return maps.take(self._back, x)
