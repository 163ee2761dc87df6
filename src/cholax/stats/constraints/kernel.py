"""The part of a large null space on which sparse rows vanish, block by block.

A null space is spanned by local vectors, few variables each, and a few others. Rows that see few
variables split into independent small problems for the local vectors; each of the others is
corrected by local ones, if that makes the rows vanish.
"""

from typing import Any, NamedTuple, cast

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from cholax.stats.constraints.rows import RANK_TOLERANCE, Rows

# Entries of the largest dense block.
_LARGEST = 2**22


class Vectors(NamedTuple):
    """Vectors of a null space: sparse local ones and a few dense others, as columns."""

    local: Any
    others: np.ndarray

    @property
    def number(self) -> int:
        """Number of vectors."""
        return self.local.shape[1] + self.others.shape[1]


def vectors_of(null: Rows) -> Vectors:
    """An orthonormal basis of a null space."""
    if null.local is None:
        return Vectors(sp.csc_array((null.n, 0)), null.basis)
    return Vectors(null.local.span(), null.local.basis.matrix() @ null.rest.basis)


def kernel(rows: Any, vectors: Vectors, scale: float | None = None) -> Vectors | None:
    """The combinations of vectors on which rows vanish; None where the blocks are too large.

    Args:
        rows: `(m, n)` SciPy CSR matrix, of any rank.
        vectors: linearly independent ones.
        scale: size of a product that counts as one; the largest there is when not given.
    """
    seen, others = sp.csc_array(rows @ vectors.local), rows @ vectors.others
    seen.eliminate_zeros()
    largest = max(np.max(np.abs(x), initial=0) for x in (seen.data, others))
    tolerance = RANK_TOLERANCE * (largest if scale is None else scale)
    m, count = rows.shape[0], vectors.local.shape[1]
    graph = sp.coo_array(seen)
    at = graph.row, m + graph.col
    joined = sp.coo_array((np.ones(graph.nnz), at), shape=(m + count, m + count))
    pieces, label = cast("Any", connected_components)(joined, directed=False)
    own_rows = _members(label[:m], pieces)
    own_columns = _members(label[m:], pieces)
    free_i, free_j, free_x, found = [], [], [], 0
    corrections = np.zeros((count, others.shape[1]))
    residual = others.copy()
    for r, c in zip(own_rows, own_columns, strict=True):
        if not c.size:
            continue
        if r.size * c.size > _LARGEST:
            return None
        left, sizes, right = np.linalg.svd(seen[:, c][r].toarray())
        rank = int(np.sum(sizes > tolerance))
        own = others[r]
        along = left[:, :rank].T @ own
        corrections[c] = -right[:rank].T @ (along / sizes[:rank, None])
        residual[r] = own - left[:, :rank] @ along
        i, j = np.meshgrid(c, found + np.arange(c.size - rank), indexing="ij")
        free_i.append(i.ravel())
        free_j.append(j.ravel())
        free_x.append(right[rank:].T.ravel())
        found += c.size - rank
    mixed = sp.coo_array(
        (_joined(free_x), (_joined(free_i).astype(int), _joined(free_j).astype(int))),
        shape=(count, found),
    ).tocsc()
    kept = _null(residual, tolerance)
    few = vectors.others @ kept + vectors.local @ (corrections @ kept)
    return Vectors(sp.csc_array(vectors.local @ mixed), np.linalg.qr(few)[0])


def _members(labels: np.ndarray, count: int) -> list[np.ndarray]:
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.searchsorted(labels[order], np.arange(1, count)))


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts])


def _null(M: np.ndarray, tolerance: float) -> np.ndarray:
    """Directions that M maps to zero, as orthonormal columns."""
    if not M.shape[1]:
        return np.zeros((0, 0))
    _, sizes, right = np.linalg.svd(np.linalg.qr(M, mode="r") if len(M) else M)
    return right[int(np.sum(sizes > tolerance)) :].T
