"""Algebra on patterns: the structural half of every operation on sparse matrices.

Each function returns the pattern of the result and, for each operand, a *source map*: int32, one
number per stored entry of the result, the position of the operand's entry it is taken from, or -1
for a zero. Products return triples instead: out[t] += left[t] * right[t]. Patterns are general
unless a function says otherwise; callers expand symmetric ones first (`expand`). Results are
remembered.
"""

import numpy as np

from cholax._core.errors import StructureError
from cholax.patterns.cache import memoise
from cholax.patterns.indexing import canonical, check_count, from_sorted, ranges, source_map
from cholax.patterns.pattern import Pattern, check_shape


def identity_map(pattern: Pattern) -> np.ndarray:
    """Source map that keeps every entry where it is."""
    return np.arange(pattern.nnz, dtype=np.int32)


@memoise
def union(p: Pattern, q: Pattern) -> tuple[Pattern, np.ndarray, np.ndarray]:
    """Pattern of A + B, for two patterns of one shape and one symmetry."""
    _check_general("union", p, q, symmetric=p.symmetric)
    if p == q:
        return p, identity_map(p), identity_map(p)
    rows = np.concatenate([p.rows, q.rows])
    columns = np.concatenate([p.columns, q.columns])
    pattern, positions = canonical(rows, columns, p.shape, p.symmetric)
    left, right = positions[: p.nnz], positions[p.nnz :]
    return pattern, source_map(left, pattern.nnz), source_map(right, pattern.nnz)


@memoise
def intersection(p: Pattern, q: Pattern) -> tuple[Pattern, np.ndarray, np.ndarray]:
    """Entries stored in both of two patterns of one shape and one symmetry."""
    _check_general("intersection", p, q, symmetric=p.symmetric)
    left, right = (
        pattern.columns.astype(np.int64) * p.shape[0] + pattern.rows for pattern in (p, q)
    )
    _, in_p, in_q = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    common = from_sorted(p.rows[in_p], p.columns[in_p], p.shape, p.symmetric)
    return common, in_p.astype(np.int32), in_q.astype(np.int32)


@memoise
def transpose(p: Pattern) -> tuple[Pattern, np.ndarray]:
    """Pattern of Aᵀ; a symmetric pattern is its own."""
    if p.symmetric:
        return p, identity_map(p)
    # Stable: within one row the columns stay in order, so the result needs no second sort.
    source = np.argsort(p.rows, kind="stable").astype(np.int32)
    return from_sorted(p.columns[source], p.rows[source], (p.shape[1], p.shape[0])), source


@memoise
def expand(p: Pattern) -> tuple[Pattern, np.ndarray]:
    """General pattern of a symmetric one: both triangles, each upper entry from its mirror."""
    if not p.symmetric:
        return p, identity_map(p)
    off = np.flatnonzero(p.rows != p.columns)
    check_count(p.nnz + off.size, "as_general", "entries")
    rows = np.concatenate([p.rows, p.columns[off]])
    columns = np.concatenate([p.columns, p.rows[off]])
    pattern, positions = canonical(rows, columns, p.shape)
    sources = np.concatenate([np.arange(p.nnz), off])
    return pattern, source_map(positions, pattern.nnz, sources)


@memoise
def fold(p: Pattern) -> tuple[Pattern, np.ndarray, np.ndarray]:
    """Symmetric pattern of ½(A + Aᵀ), with the sources of a_ij and of a_ji for each i >= j.

    The diagonal is completed. On it the two sources agree.
    """
    _check_square("symmetrize", p)
    n = p.shape[0]
    diagonal = np.arange(n, dtype=np.int32)
    rows = np.concatenate([np.maximum(p.rows, p.columns), diagonal])
    columns = np.concatenate([np.minimum(p.rows, p.columns), diagonal])
    pattern, positions = canonical(rows, columns, p.shape, symmetric=True)
    positions = positions[: p.nnz]
    lower = np.flatnonzero(p.rows >= p.columns)
    upper = np.flatnonzero(p.rows <= p.columns)
    return (
        pattern,
        source_map(positions[lower], pattern.nnz, lower),
        source_map(positions[upper], pattern.nnz, upper),
    )


@memoise
def tril(p: Pattern, k: int = 0) -> tuple[Pattern, np.ndarray]:
    """General pattern of the entries on and below diagonal k; of both triangles when symmetric."""
    full, source = expand(p)
    keep = np.flatnonzero(full.rows.astype(np.int64) - full.columns >= -k)
    return from_sorted(full.rows[keep], full.columns[keep], p.shape), source[keep]


@memoise
def lower_half(p: Pattern) -> tuple[Pattern, np.ndarray]:
    """Symmetric pattern from the lower triangle of a general square one; diagonal completed."""
    _check_square("lower_half", p)
    keep = np.flatnonzero(p.rows >= p.columns)
    diagonal = np.arange(p.shape[0], dtype=np.int32)
    rows = np.concatenate([p.rows[keep], diagonal])
    columns = np.concatenate([p.columns[keep], diagonal])
    pattern, positions = canonical(rows, columns, p.shape, symmetric=True)
    return pattern, source_map(positions[: keep.size], pattern.nnz, keep)


@memoise
def add_diagonal(p: Pattern) -> tuple[Pattern, np.ndarray, np.ndarray]:
    """Pattern of A + diag(d), of the symmetry of A; the second map is into d."""
    _check_square("add_diagonal", p)
    n = p.shape[0]
    diagonal = np.arange(n, dtype=np.int32)
    if (p.diagonal_positions >= 0).all():
        return p, identity_map(p), source_map(p.diagonal_positions, p.nnz, diagonal)
    identity = Pattern.trusted(p.shape, np.arange(n + 1, dtype=np.int32), diagonal, p.symmetric)
    return union(p, identity)


def submatrix(p: Pattern, rows: np.ndarray, columns: np.ndarray) -> tuple[Pattern, np.ndarray]:
    """Pattern of A[rows, columns], every listed row by every listed column, repeats allowed.

    Takes general and symmetric patterns; a symmetric one stays so when the two lists are equal.
    """
    rows, columns = (np.ascontiguousarray(index, np.int32) for index in (rows, columns))
    return _submatrix(p, rows.tobytes(), columns.tobytes())


@memoise
def _submatrix(p: Pattern, row_bytes: bytes, column_bytes: bytes) -> tuple[Pattern, np.ndarray]:
    full, from_stored = expand(p)
    rows, columns = (np.frombuffer(index, np.int32) for index in (row_bytes, column_bytes))
    # Entries of the chosen columns, then one copy for each place where their row is listed.
    counts = np.diff(full.indptr)[columns]
    entries = ranges(full.indptr[columns], counts)
    new_column = np.repeat(np.arange(columns.size), counts)
    listed = np.bincount(rows, minlength=p.shape[0])
    first = np.cumsum(listed) - listed
    copies = listed[full.rows[entries]]
    check_count(int(copies.sum()), "A[rows, columns]", "entries")
    places = ranges(first[full.rows[entries]], copies)
    new_row = np.argsort(rows, kind="stable")[places]
    shape = check_shape((rows.size, columns.size), "A[rows, columns]")
    pattern, positions = canonical(new_row, np.repeat(new_column, copies), shape)
    source = from_stored[np.repeat(entries, copies)]
    source = source_map(positions, pattern.nnz, source)
    if p.symmetric and row_bytes == column_bytes:
        pattern, lower = lower_half(pattern)
        source = source[lower]
    return pattern, source


def entry_position(p: Pattern, i: int, j: int) -> int:
    """Position of entry (i, j), of its mirror when symmetric, or -1."""
    if p.symmetric and i < j:
        i, j = j, i
    start, stop = p.indptr[j], p.indptr[j + 1]
    k = int(start + np.searchsorted(p.indices[start:stop], i))
    return k if k < stop and p.indices[k] == i else -1


@memoise
def product(p: Pattern, q: Pattern) -> tuple[Pattern, np.ndarray, np.ndarray, np.ndarray]:
    """Pattern of A B and the triples (left, right, out), sorted by out."""
    # Entry (k, j) of B meets all of column k of A.
    counts = np.diff(p.indptr)[q.rows]
    check_count(int(counts.sum(dtype=np.int64)), "A @ B", "multiplications")
    left = ranges(p.indptr[q.rows], counts)
    right = np.repeat(np.arange(q.nnz), counts)
    shape = (p.shape[0], q.shape[1])
    pattern, out = canonical(p.rows[left], q.columns[right], shape)
    return pattern, *_sorted_triples(left, right, out)


@memoise
def congruence(p: Pattern) -> tuple[Pattern, np.ndarray, np.ndarray, np.ndarray]:
    """Symmetric pattern of BᵀDB and the triples (left, right, out) of B's own entries."""
    # Row by row: the t-th entry of a row of B, in column j, meets the first t + 1, in columns <= j.
    rowwise, source = transpose(p)
    rank = ranges(np.zeros(p.shape[0], np.int64), np.diff(rowwise.indptr))
    check_count(int((rank + 1).sum()), "congruence", "multiplications")
    left = np.repeat(np.arange(p.nnz), rank + 1)
    right = ranges(rowwise.indptr[rowwise.columns], rank + 1)
    n = p.shape[1]
    diagonal = np.arange(n, dtype=np.int32)
    rows = np.concatenate([rowwise.rows[left], diagonal])
    columns = np.concatenate([rowwise.rows[right], diagonal])
    pattern, out = canonical(rows, columns, (n, n), symmetric=True)
    return pattern, *_sorted_triples(source[left], source[right], out[: left.size])


@memoise
def kron(p: Pattern, q: Pattern) -> tuple[Pattern, np.ndarray, np.ndarray]:
    """Pattern of A ⊗ B; symmetric when both are. Each entry is the product of its two sources."""
    symmetric = p.symmetric and q.symmetric
    (p, from_p), (q, from_q) = expand(p), expand(q)
    shape = check_shape((p.shape[0] * q.shape[0], p.shape[1] * q.shape[1]), "kron")
    check_count(p.nnz * q.nnz, "kron", "entries")
    # Column (a, b) runs over column a of A outside and over column b of B inside, so it is sorted.
    outer, inner = np.diff(p.indptr)[:, None], np.diff(q.indptr)[None, :]
    counts = (outer.astype(np.int64) * inner).ravel()
    place = ranges(np.zeros(counts.size, np.int64), counts)
    column = np.repeat(np.arange(counts.size), counts)
    a, b = np.divmod(column, max(q.shape[1], 1))
    offset, within = np.divmod(place, np.diff(q.indptr)[b])
    left, right = p.indptr[a] + offset, q.indptr[b] + within
    row = p.rows[left].astype(np.int64) * q.shape[0] + q.rows[right]
    keep = np.flatnonzero(row >= column) if symmetric else slice(None)
    pattern = from_sorted(row[keep], column[keep], shape, symmetric)
    return pattern, from_p[left[keep]], from_q[right[keep]]


@memoise
def assemble(
    patterns: tuple[Pattern, ...],
    row_offsets: tuple[int, ...],
    column_offsets: tuple[int, ...],
    shape: tuple[int, int],
    symmetric: bool,
) -> tuple[Pattern, np.ndarray]:
    """Place blocks that do not overlap; the source map is into their values, concatenated.

    A symmetric result needs its entries on and below the diagonal, which is completed.
    """
    shape = check_shape(shape, "block")
    check_count(sum(p.nnz for p in patterns), "block", "entries")
    diagonal = np.arange(shape[0] if symmetric else 0)
    rows = [p.rows + np.int64(offset) for p, offset in zip(patterns, row_offsets, strict=True)]
    columns = [
        p.columns + np.int64(offset) for p, offset in zip(patterns, column_offsets, strict=True)
    ]
    pattern, positions = canonical(
        np.concatenate([*rows, diagonal]), np.concatenate([*columns, diagonal]), shape, symmetric
    )
    return pattern, source_map(positions[: positions.size - diagonal.size], pattern.nnz)


def _sorted_triples(
    left: np.ndarray, right: np.ndarray, out: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # By output: each entry of the result is then one run of the sum, in a fixed order.
    order = np.argsort(out, kind="stable")
    return left[order].astype(np.int32), right[order].astype(np.int32), out[order]


def _check_general(where: str, p: Pattern, q: Pattern, symmetric: bool) -> None:
    if p.shape != q.shape or q.symmetric != symmetric:
        raise StructureError(
            f"{where}: needs two patterns of one shape and symmetry, got {p} and {q}. "
            "Expand the symmetric one first."
        )


def _check_square(where: str, p: Pattern) -> None:
    if p.shape[0] != p.shape[1]:
        raise StructureError(
            f"{where}: the matrix must be square, got {p.shape[0]}×{p.shape[1]}. "
            "Select a square part first, for instance A[:n, :n]."
        )
