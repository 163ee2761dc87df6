"""Pattern algebra as the static structures that primitives take; remembered for eager loops."""

import jax
import numpy as np

from cholax import primitives
from cholax.patterns import Pattern, algebra
from cholax.patterns.cache import memoise
from cholax.patterns.indexing import check_count
from cholax.primitives import EntryMap, Triples


def take(source: EntryMap, values: jax.Array) -> jax.Array:
    """The entries a map reads out of `values`; no copy where it reads them all in order."""
    return values if source.identity else primitives.gather(source, values)


def put(target: EntryMap, values: jax.Array) -> jax.Array:
    """The transpose of `take`: `values` added up at the entries the map reads."""
    return values if target.identity else primitives.scatter(target, values)


@memoise
def union(p: Pattern, q: Pattern) -> tuple[Pattern, EntryMap, EntryMap]:
    """Pattern of A + B, with where its entries come from in A and in B."""
    pattern, left, right = algebra.union(p, q)
    return pattern, EntryMap(left, p.nnz), EntryMap(right, q.nnz)


@memoise
def expand(p: Pattern) -> tuple[Pattern, EntryMap]:
    """Both triangles of a symmetric pattern."""
    pattern, source = algebra.expand(p)
    return pattern, EntryMap(source, p.nnz)


@memoise
def fold(p: Pattern) -> tuple[Pattern, EntryMap, EntryMap]:
    """Lower triangle of ½(A + Aᵀ), as the sum of two maps of weight ½."""
    pattern, lower, upper = algebra.fold(p)
    half = np.full(pattern.nnz, 0.5)
    return pattern, EntryMap(lower, p.nnz, half), EntryMap(upper, p.nnz, half)


@memoise
def lower_half(p: Pattern) -> tuple[Pattern, EntryMap]:
    """The lower triangle of a general pattern, taken as the half of a symmetric one."""
    pattern, source = algebra.lower_half(p)
    return pattern, EntryMap(source, p.nnz)


@memoise
def transpose(p: Pattern) -> tuple[Pattern, EntryMap]:
    """Pattern of Aᵀ."""
    pattern, source = algebra.transpose(p)
    return pattern, EntryMap(source, p.nnz)


@memoise
def tril(p: Pattern, k: int) -> tuple[Pattern, EntryMap]:
    """General pattern on and below diagonal k."""
    pattern, source = algebra.tril(p, k)
    return pattern, EntryMap(source, p.nnz)


@memoise
def diagonal(p: Pattern) -> EntryMap:
    """The main diagonal."""
    return EntryMap(p.diagonal_positions, p.nnz)


@memoise
def add_diagonal(p: Pattern) -> tuple[Pattern, EntryMap, EntryMap]:
    """Pattern of A + diag(d), with its sources in A and in d."""
    pattern, source, from_d = algebra.add_diagonal(p)
    return pattern, EntryMap(source, p.nnz), EntryMap(from_d, p.n)


@memoise
def rows(p: Pattern) -> EntryMap:
    """From a vector over the rows to the stored entries."""
    return EntryMap(p.rows, p.shape[0])


@memoise
def columns(p: Pattern) -> EntryMap:
    """From a vector over the columns to the stored entries."""
    return EntryMap(p.columns, p.shape[1])


@memoise
def product(p: Pattern, q: Pattern) -> tuple[Pattern, Triples]:
    """Pattern of A B, and the products that make up each entry."""
    pattern, left, right, out = algebra.product(p, q)
    return pattern, Triples(left, right, out, sizes=(p.nnz, q.nnz, pattern.nnz))


@memoise
def congruence(p: Pattern) -> tuple[Pattern, Triples]:
    """Symmetric pattern of BᵀDB, from the entries of D B and of B."""
    pattern, left, right, out = algebra.congruence(p)
    return pattern, Triples(left, right, out, sizes=(p.nnz, p.nnz, pattern.nnz))


@memoise
def kron(p: Pattern, q: Pattern) -> tuple[Pattern, EntryMap, EntryMap]:
    """Pattern of A ⊗ B; entry by entry the product of the two maps."""
    pattern, left, right = algebra.kron(p, q)
    return pattern, EntryMap(left, p.nnz), EntryMap(right, q.nnz)


@memoise
def trace(p: Pattern, q: Pattern) -> tuple[EntryMap, EntryMap]:
    """Where A and Bᵀ both have entries, weighted 2 off the diagonal of symmetric patterns."""
    # For symmetric patterns the transpose is the pattern itself, and so is its map.
    transposed, to_q = algebra.transpose(q)
    common, left, right = algebra.intersection(p, transposed)
    weights = np.where(common.rows != common.columns, 2.0, 1.0) if p.symmetric else None
    return EntryMap(left, p.nnz, weights), EntryMap(to_q[right], q.nnz)


@memoise
def dense(p: Pattern) -> EntryMap:
    """Places of a general pattern's entries in the dense matrix, read row by row."""
    size = p.shape[0] * p.shape[1]
    check_count(size, "to_dense", "entries")
    # The product fits int32, as checked, and NumPy keeps int32 under Python scalars.
    return EntryMap(p.rows * np.int32(p.shape[1]) + p.columns, size)


@memoise
def assemble(
    patterns: tuple[Pattern, ...],
    row_offsets: tuple[int, ...],
    column_offsets: tuple[int, ...],
    shape: tuple[int, int],
    symmetric: bool,
) -> tuple[Pattern, EntryMap]:
    """Blocks placed side by side; the map is from their concatenated values."""
    pattern, source = algebra.assemble(patterns, row_offsets, column_offsets, shape, symmetric)
    return pattern, EntryMap(source, sum(p.nnz for p in patterns))


def submatrix(p: Pattern, rows: np.ndarray, columns: np.ndarray) -> tuple[Pattern, EntryMap]:
    """Pattern of A[rows, columns]."""
    return _submatrix(p, rows.tobytes(), columns.tobytes())


@memoise
def _submatrix(p: Pattern, row_bytes: bytes, column_bytes: bytes) -> tuple[Pattern, EntryMap]:
    rows, columns = (np.frombuffer(index, np.int32) for index in (row_bytes, column_bytes))
    pattern, source = algebra.submatrix(p, rows, columns)
    return pattern, EntryMap(source, p.nnz)
