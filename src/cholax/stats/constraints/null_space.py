"""Null spaces of intrinsic precisions: what a plane leaves of them, and whether pins hold them."""

from typing import Any

import numpy as np
import scipy.sparse as sp

from cholax._core.errors import ArgumentError, ShapeError, StructureError, UnsupportedError
from cholax.stats.constraints.constraints import Constraints
from cholax.stats.constraints.kernel import Vectors, kernel, vectors_of
from cholax.stats.constraints.rows import LARGEST, RANK_TOLERANCE, Rows


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


def left_free(null: Rows, rows: Rows | None) -> Rows | None:
    """The part of a null space on which every row vanishes; None where there is none."""
    if rows is None or rows.k == 0:
        return null
    if rows.local is not None or null.local is not None:
        return _many_left_free(null, rows)
    seen = (rows.matrix / rows.lengths[:, None]) @ null.basis
    _, sizes, right = np.linalg.svd(seen)
    rank = int(np.sum(sizes > RANK_TOLERANCE))
    return Rows((null.basis @ right[rank:].T).T) if rank < null.k else None


def _many_left_free(null: Rows, rows: Rows) -> Rows | None:
    found, right = _before_the_rest(null, rows)
    if not right.shape[0]:
        return None
    if 8 * null.n * len(right) > LARGEST:
        raise UnsupportedError(
            f"Constraints: they leave {len(right)} of {null.k} directions of a null space free, "
            f"dense vectors of {8 * null.n * len(right) / 2**30:.1f} GiB; they may take "
            f"{LARGEST / 2**30:.0f} GiB. Constrain them."
        )
    local = found.local.shape[1]
    free = found.local @ right[:, :local].T + found.others @ right[:, local:].T
    return Rows(np.linalg.qr(free)[0].T)


def _before_the_rest(null: Rows, rows: Rows) -> tuple[Vectors, np.ndarray]:
    """Vectors on which the eliminated rows vanish, and `(q, count)` those where all others do."""
    vectors, rest = vectors_of(null), np.arange(rows.k)
    scaled = sp.csr_array(sp.diags_array(1 / rows.lengths) @ rows.sparse)
    if rows.local is not None:
        found, rest = kernel(scaled[rows.local.rows], vectors, 1.0), rows.rest_rows
        if found is None:
            raise UnsupportedError(
                "Constraints: constraints and null space must fall into small groups of the same "
                "variables to be eliminated. Leave null_space out."
            )
        vectors = found
    others = scaled[rest]
    seen = np.concatenate([(others @ vectors.local).toarray(), others @ vectors.others], axis=1)
    if not vectors.number:
        return vectors, np.zeros((0, 0))
    _, sizes, right = np.linalg.svd(seen)
    return vectors, right[int(np.sum(sizes > RANK_TOLERANCE)) :]


def check_regular(constraints: Constraints | None, null: Rows, where: str) -> Rows | None:
    """The null space on what an elimination leaves; raise where the plane holds a vector of it."""
    rows = None if constraints is None else constraints.rows
    if rows is None or rows.local is None:
        free = left_free(null, rows)
        count = 0 if free is None else free.k
        inside = null
    else:
        vectors, right = _before_the_rest(null, rows)
        count, inside = len(right), None
        if vectors.number and not count:
            B = rows.local.basis.matrix()
            every = [(B.T @ vectors.local).toarray(), B.T @ vectors.others]
            inside = Rows(np.concatenate(every, axis=1).T)
    if count:
        raise StructureError(
            f"{where}: the matrix must be positive definite on the plane of the constraints, but "
            f"{count} of the {null.k} directions of its null space lie in it. Constrain them."
        )
    return inside


def check_pinned(null: Rows, pins: tuple[int, ...], where: str) -> None:
    """Raise where a vector of the null space vanishes on all pins."""
    held = null.basis[list(pins)]
    rank = np.linalg.matrix_rank(held, tol=RANK_TOLERANCE) if pins else 0
    if rank < null.k:
        raise ArgumentError(
            f"{where}: pins must hold all {null.k} directions of the null space, but {list(pins)} "
            f"hold {rank}. Leave pins out to have them chosen."
        )
