"""Sparsity patterns as users have them, and the pattern a derivative needs."""

from typing import Any

import jax
import numpy as np
import scipy.sparse
from jax.core import Tracer

from cholax._core.dtypes import read_array
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
    if hasattr(sparsity, "todense") and hasattr(sparsity, "n_batch"):
        return build.from_bcoo(sparsity, where=f"{where}: sparsity")[0]
    if isinstance(sparsity, Tracer):
        raise StructureError(
            f"{where}: sparsity decides the pattern and must be concrete, got a traced array. "
            "Compute it outside jit."
        )
    if isinstance(sparsity, np.ndarray | jax.Array | list | tuple):
        mask = np.asarray(read_array(sparsity, f"{where}: sparsity"))
        return build.from_mask(mask != 0, where=f"{where}: sparsity")[0]
    raise UnsupportedError(
        f"{where}: sparsity must be a Pattern, a SparseMatrix, a SciPy or BCOO matrix or a dense "
        f"mask, got {type(sparsity).__name__}."
    )
