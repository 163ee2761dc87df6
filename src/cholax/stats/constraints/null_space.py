"""Null spaces of intrinsic precisions: what a plane leaves of them, and whether pins hold them."""

from typing import Any

import numpy as np

from cholax._core.errors import ArgumentError, ShapeError, StructureError
from cholax.stats.constraints.constraints import Constraints
from cholax.stats.constraints.rows import RANK_TOLERANCE, Rows


def as_null_space(null_space: Any, n: int, where: str) -> Rows | None:
    """The `(n, k)` basis, or one vector, as rows; None where there is no null space."""
    if null_space is None:
        return None
    rows = null_space
    if not isinstance(rows, Rows):
        array = np.asarray(null_space)
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
    seen = (rows.matrix / rows.lengths[:, None]) @ null.basis
    _, sizes, right = np.linalg.svd(seen)
    rank = int(np.sum(sizes > RANK_TOLERANCE))
    return Rows((null.basis @ right[rank:].T).T) if rank < null.k else None


def check_regular(constraints: Constraints | None, null: Rows, where: str) -> None:
    """Raise where the plane of the constraints holds a vector of the null space."""
    free = left_free(null, None if constraints is None else constraints.rows)
    if free is not None:
        raise StructureError(
            f"{where}: the matrix must be positive definite on the plane of the constraints, but "
            f"{free.k} of the {null.k} directions of its null space lie in it. Constrain them."
        )


def check_pinned(null: Rows, pins: tuple[int, ...], where: str) -> None:
    """Raise where a vector of the null space vanishes on all pins."""
    held = null.basis[list(pins)]
    rank = np.linalg.matrix_rank(held, tol=RANK_TOLERANCE) if pins else 0
    if rank < null.k:
        raise ArgumentError(
            f"{where}: pins must hold all {null.k} directions of the null space, but {list(pins)} "
            f"hold {rank}. Leave pins out to have them chosen."
        )
