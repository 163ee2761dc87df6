"""Sparsity patterns as users have them, and the pattern a derivative needs."""

from typing import Any

import jax
import numpy as np
import scipy.sparse
from jax.core import Tracer

from cholax._core.errors import ShapeError, StructureError, UnsupportedError
from cholax.linalg import SparseMatrix
from cholax.patterns import Pattern, algebra, build


def as_pattern(sparsity: Any, shape: tuple[int, int], *, symmetric: bool, where: str) -> Pattern:
    """Turn what the user gave into a pattern of this shape and symmetry.

    Args:
        sparsity: a `Pattern`, a `SparseMatrix`, a SciPy sparse matrix, a BCOO matrix (stored
            entries count, zeros too), or a dense array whose non-zeros count.
        shape: of the derivative.
        symmetric: give the lower triangle of a symmetric pattern, with its diagonal. A general
            pattern then stands for itself and its transpose, so one triangle is enough.
        where: name of the caller, for the messages.

    Returns:
        A pattern, general unless `symmetric`.

    Raises:
        ShapeError: another shape.
        UnsupportedError: another type.
        StructureError: a traced mask.
    """
    pattern = pattern_of(sparsity, where)
    if pattern.shape != shape:
        raise ShapeError(
            f"{where}: sparsity must have the shape of the derivative, "
            f"{shape[0]}×{shape[1]}, got {pattern.shape[0]}×{pattern.shape[1]}. "
            "Inputs and outputs count flat, leaf after leaf."
        )
    if symmetric:
        return pattern if pattern.symmetric else algebra.fold(pattern)[0]
    return algebra.expand(pattern)[0]


def pattern_of(sparsity: Any, where: str) -> Pattern:
    """The pattern of anything `as_pattern` takes, as it is."""
    if isinstance(sparsity, Pattern):
        return sparsity
    if isinstance(sparsity, SparseMatrix):
        return sparsity.pattern
    if scipy.sparse.issparse(sparsity):
        coo = sparsity.tocoo()
        return build.from_coo(coo.row, coo.col, coo.shape, where=where)[0]
    if hasattr(sparsity, "todense") and hasattr(sparsity, "indices"):
        return _of_bcoo(sparsity, where)
    if isinstance(sparsity, Tracer):
        raise StructureError(
            f"{where}: sparsity decides the pattern and must be concrete, got a traced array. "
            "Compute it outside jit."
        )
    if isinstance(sparsity, np.ndarray | jax.Array | list | tuple):
        return build.from_mask(np.asarray(sparsity) != 0, where=where)[0]
    raise UnsupportedError(
        f"{where}: sparsity must be a Pattern, a SparseMatrix, a SciPy or BCOO matrix or a dense "
        f"mask, got {type(sparsity).__name__}."
    )


def _of_bcoo(matrix: Any, where: str) -> Pattern:
    indices = matrix.indices
    if isinstance(indices, Tracer) or indices.ndim != 2 or matrix.ndim != 2:
        raise UnsupportedError(
            f"{where}: sparsity needs a concrete BCOO matrix without batch dimensions."
        )
    rows, columns = np.asarray(indices).T
    # BCOO pads with indices one past the end.
    kept = (rows < matrix.shape[0]) & (columns < matrix.shape[1])
    return build.from_coo(rows[kept], columns[kept], matrix.shape, where=where)[0]
