"""Null spaces of intrinsic precisions: what constraints and observations leave of them.

A null space is spanned by local vectors, few variables each, and a few others. Rows that see few
variables split into independent small problems for the local vectors; each of the others is
corrected by local ones, if that makes the rows vanish.
"""

from functools import lru_cache
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.core import Tracer
from scipy.sparse.csgraph import connected_components

from cholax._core.errors import ShapeError, StructureError, UnsupportedError
from cholax.linalg.matrix import SparseMatrix
from cholax.stats.constraints._constraints import Constraints, times
from cholax.stats.constraints._rows import RANK_TOLERANCE, Rows, stacked

# The null space of a precision known to be positive definite; None stands for unknown.
EMPTY = "empty"
NullSpace = Rows | str | None

# Entries of the largest dense block.
_LARGEST = 2**22


def as_null_space(null_space: Any, n: int, where: str) -> Rows | None:
    """The `(n, k)` basis, or one vector, as rows; None where there is no null space."""
    if null_space is None:
        return None
    rows = null_space
    if not isinstance(rows, Rows):
        array = null_space if sp.issparse(null_space) else np.asarray(null_space)
        rows = Rows(array.T if array.ndim == 2 else array, f"{where}: null_space")
    if rows.n != n:
        raise ShapeError(
            f"{where}: need a null space of {n} variables, got vectors of length {rows.n}. "
            "Its columns are the basis vectors."
        )
    return rows if rows.k else None


def read_null_space(null_space: Any, precision: SparseMatrix, where: str) -> NullSpace:
    """A null space as the user gives it: None, a basis, or a basis of no vectors."""
    if null_space is None or isinstance(null_space, Rows):
        return null_space
    if isinstance(null_space, str) and null_space == EMPTY:  # of a field at hand
        return null_space
    rows = as_null_space(null_space, precision.n, where)
    if rows is None:
        return EMPTY
    if not isinstance(precision.values, Tracer):
        _check_product(precision, rows, where)
    return rows


def _check_product(Q: SparseMatrix, rows: Rows, where: str) -> None:
    product = Q.to_scipy() @ rows.orthonormal.astype(Q.dtype)
    entries = np.abs(product.data if sp.issparse(product) else product)
    largest = float(np.max(np.abs(np.asarray(Q.values)), initial=0))
    half = float(np.sqrt(np.finfo(Q.dtype).eps))
    if not np.max(entries, initial=0) <= half * largest:
        raise StructureError(
            f"{where}: the precision must map its null space to zero, got entries up to "
            f"{np.max(entries):.3g} in Q V (largest entry of Q: {largest:.3g}). "
            "The columns of null_space are the vectors v with Q v = 0."
        )


def check_regular(rows: Rows | None, null: Rows, where: str) -> Rows | None:
    """The null space on what an elimination leaves; raise where all rows vanish on a vector."""
    free, vectors = null.k, None
    if rows is not None:
        vectors, others = _after_elimination(null, rows)
        free = _vanishing(others, vectors, 1.0).number
    if free:
        raise StructureError(
            f"{where}: the matrix must be positive definite under the constraints, but they leave "
            f"{free} of the {null.k} directions of its null space free. Constrain them."
        )
    if vectors is None or rows is None or rows.local is None:
        return null
    if not vectors.number:
        return None
    B = rows.local.basis.matrix()
    return Rows(np.concatenate([(B.T @ vectors.local).toarray(), B.T @ vectors.others], axis=1).T)


@lru_cache(maxsize=128)
def support_rows(rows: Rows | None, null: NullSpace) -> tuple[Rows | None, Rows | None]:
    """All rows B of the support's equations, and the improper directions W among them.

    W spans the null vectors that satisfy the constraints. The density is constant along W, so W is
    held at the mean: an equation of the support, but no constraint.
    """
    free = None
    if isinstance(null, Rows):
        free = null if rows is None or rows.k == 0 else _free(null, rows)
    if free is None or rows is None:
        return (rows if free is None else free), free
    return stacked([rows, free], "GMRF"), free


def _free(null: Rows, rows: Rows) -> Rows | None:
    vectors, others = _after_elimination(null, rows)
    vectors = _vanishing(others, vectors, 1.0)
    return vectors.rows("Constraints") if vectors.number else None


def support_of(
    constraints: Constraints | None, null: NullSpace, location: jax.Array | None, dtype: Any
) -> Constraints | None:
    """The equations of a field's support: A x = e and Wᵀx = Wᵀμ."""
    rows, free = support_rows(None if constraints is None else constraints.rows, null)
    if rows is None:
        return None
    e = constraints.e if constraints is not None else None
    if e is None and location is None:
        return Constraints(rows)
    parts = []
    if constraints is not None:
        parts.append(constraints.right_hand_side(dtype))
    if free is not None:
        still = jnp.zeros(free.k, dtype)
        parts.append(still if location is None else times(free, location))
    return Constraints(rows, jnp.concatenate(parts))


def observed_null_space(null: NullSpace, A: Any, noise: Any) -> NullSpace:
    """What is left of a null space when A x is observed with some noise precision.

    A is a NumPy or SciPy matrix, or None while it is traced: then the result is unknown.
    """
    if not isinstance(null, Rows):
        return null
    if A is None:
        return None
    A = sp.csr_array(A) if sp.issparse(A) or null.local is not None else A
    if not isinstance(noise, Tracer | SparseMatrix) and np.ndim(noise) == 1:
        A = A[np.flatnonzero(np.asarray(noise) > 0)]
    try:
        left = _vanishing(A, Vectors.of(null))
    except UnsupportedError:
        return None
    if not left.number:
        return EMPTY
    return null if left.number == null.k else left.rows("condition")


class Vectors(NamedTuple):
    """Vectors of a null space: sparse local ones and a few dense others, as columns."""

    local: Any
    others: np.ndarray

    @classmethod
    def of(cls, null: Rows) -> "Vectors":
        """An orthonormal basis of a null space."""
        if null.local is None:
            return cls(sp.csc_array((null.n, 0)), null.basis)
        return cls(null.local.span(), null.local.basis.matrix() @ null.rest.basis)

    @property
    def number(self) -> int:
        """Number of vectors."""
        return self.local.shape[1] + self.others.shape[1]

    def rows(self, where: str) -> Rows:
        """All of them as rows."""
        if not self.local.shape[1]:
            return Rows(self.others.T, where)
        return Rows(sp.hstack([self.local, sp.csc_array(self.others)]).T, where)


def _after_elimination(null: Rows, rows: Rows) -> tuple[Vectors, Any]:
    """The vectors on which the eliminated rows vanish, and the other rows, scaled to length one."""
    vectors = Vectors.of(null)
    if rows.local is None and null.local is None:
        return vectors, rows.matrix / rows.lengths[:, None]
    scaled = sp.csr_array(sp.diags_array(1 / rows.lengths) @ rows.sparse)
    if rows.local is None:
        return vectors, scaled
    return _vanishing(scaled[rows.local.rows], vectors, 1.0), scaled[rows.rest_rows]


def _vanishing(rows: Any, vectors: Vectors, scale: float | None = None) -> Vectors:
    """The combinations of vectors on which rows vanish.

    Args:
        rows: `(m, n)` array or SciPy CSR matrix, of any rank.
        vectors: linearly independent ones.
        scale: size of a product that counts as one; the largest there is when not given.

    Raises:
        UnsupportedError: rows that tie too many local vectors together.
    """
    others, largest = rows @ vectors.others, scale
    if not vectors.local.shape[1]:
        if largest is None:
            largest = float(np.max(np.abs(others), initial=0))
        kept = _null(others, RANK_TOLERANCE * largest)
        return Vectors(vectors.local, np.linalg.qr(vectors.others @ kept)[0])
    seen = sp.csc_array(rows @ vectors.local)
    seen.eliminate_zeros()
    if largest is None:
        largest = max(float(np.max(np.abs(x), initial=0)) for x in (seen.data, others))
    tolerance = RANK_TOLERANCE * largest
    mixed, corrections, residual = _by_blocks(seen, others, tolerance)
    kept = _null(residual, tolerance)
    few = vectors.others @ kept + vectors.local @ (corrections @ kept)
    return Vectors(sp.csc_array(vectors.local @ mixed), np.linalg.qr(few)[0])


def _by_blocks(seen: Any, others: np.ndarray, tolerance: float) -> tuple[Any, Any, np.ndarray]:
    """Local vectors that vanish, as combinations; corrections of the others; what those leave."""
    m, count = seen.shape
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
            raise UnsupportedError(
                "Constraints: constraints and null space must fall into small groups of the same "
                "variables to be eliminated. Leave null_space out."
            )
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
    places = _joined(free_i).astype(int), _joined(free_j).astype(int)
    mixed = sp.coo_array((_joined(free_x), places), shape=(count, found)).tocsc()
    return mixed, corrections, residual


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
