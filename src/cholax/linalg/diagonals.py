"""Sparse matrices from their diagonals."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax._core.dtypes import check_dtype, check_values, read_array
from cholax._core.errors import ShapeError, StructureError
from cholax._core.foreign import refuse_foreign
from cholax.linalg import operands
from cholax.linalg.construct import summed
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern, build
from cholax.patterns.indexing import check_count
from cholax.patterns.pattern import check_shape, check_static


def eye(n: int, /, *, dtype: Any = None) -> SparseMatrix:
    """Identity matrix of order n, symmetric.

    Args:
        n: order.
        dtype: float32 or float64; JAX's default float when left out.

    Returns:
        A symmetric `SparseMatrix`. Added to a general matrix it gives a general one.

    Example:
        >>> import cholax as cx
        >>> cx.eye(2).to_dense().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    shape = check_shape((n, n), "eye")
    starts = np.arange(shape[0] + 1, dtype=np.int32)
    pattern = Pattern.trusted(shape, starts, starts[:-1].copy(), symmetric=True)
    dtype = check_dtype(jnp.result_type(float) if dtype is None else dtype, "eye")
    return SparseMatrix(np.ones(shape[0], dtype), pattern)


def diags(
    diagonals: Sequence[ArrayLike],
    offsets: Sequence[int],
    /,
    *,
    shape: tuple[int, int] | None = None,
    symmetric: bool = False,
    dtype: Any = None,
) -> SparseMatrix:
    """Build a matrix from its diagonals.

    Element t of diagonal k is a_{t, t+k}, or a_{t-k, t} when k < 0, as in `scipy.sparse.diags`.

    Differentiable in the diagonals.

    Args:
        diagonals: one vector per offset, or a scalar to repeat.
        offsets: distinct integers, positive above the main diagonal.
        shape: needed if all diagonals are scalars; otherwise the smallest square that fits.
        symmetric: the result is symmetric and only offsets <= 0 are given.
        dtype: float32 or float64 for Python scalars; the dtype of the vectors otherwise.

    Returns:
        A `SparseMatrix`.

    Raises:
        DtypeError: diagonals of different dtypes.
        ShapeError: a diagonal of the wrong length, naming it.
        StructureError: with `symmetric=True`, an offset above the diagonal or a rectangular shape.

    Example:
        >>> import cholax as cx
        >>> cx.diags([2.0, -1.0], [0, -1], shape=(3, 3), symmetric=True).to_dense().tolist()
        [[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]]
    """
    places = [int(k) for k in np.atleast_1d(check_static(offsets, "diags: offsets"))]
    if not isinstance(diagonals, list | tuple | np.ndarray | jax.Array):
        refuse_foreign(diagonals, "diags", "a list of diagonals")
        raise ShapeError(
            f"diags: need a list of diagonals, one per offset, got {type(diagonals).__name__}. "
            "Pass [d] and [0] for one."
        )
    diagonals = [v if operands.is_scalar(v) else read_array(v, "diags") for v in diagonals]
    if len(places) != len(diagonals) or len(set(places)) != len(places):
        raise ShapeError(
            f"diags: need one distinct offset per diagonal, got {len(diagonals)} diagonals and "
            f"offsets {places}. Add diagonals with one offset beforehand."
        )
    shape = _diagonal_shape(diagonals, places, shape)
    if symmetric and (max(places, default=0) > 0 or shape[0] != shape[1]):
        raise StructureError(
            f"diags: symmetric=True needs a square shape and offsets <= 0, got {shape} and "
            f"offsets {places}. The entries above the diagonal are implied."
        )
    vectors = _diagonal_vectors(diagonals, places, shape, dtype)
    rows = np.concatenate([np.arange(v.size) + max(-k, 0) for v, k in vectors] or [[]])
    columns = np.concatenate([np.arange(v.size) + max(k, 0) for v, k in vectors] or [[]])
    empty = jnp.zeros(0, jnp.result_type(float) if dtype is None else check_dtype(dtype, "diags"))
    values = jnp.concatenate([v for v, _ in vectors]) if vectors else empty
    pattern, positions = build.from_coo(
        rows.astype(np.int32), columns.astype(np.int32), shape, where="diags"
    )
    return summed(values, pattern, positions, symmetric, symmetric, "diags")


def _diagonal_shape(
    diagonals: list[Any], places: list[int], shape: tuple[int, int] | None
) -> tuple[int, int]:
    if shape is not None:
        return check_shape(shape, "diags")
    sizes = [
        np.shape(v)[0] + abs(k) for v, k in zip(diagonals, places, strict=True) if np.ndim(v) == 1
    ]
    if not sizes:
        raise ShapeError("diags: scalars do not fix a shape. Pass shape=(rows, columns).")
    return max(sizes), max(sizes)


def _diagonal_vectors(
    diagonals: list[Any], places: list[int], shape: tuple[int, int], dtype: Any
) -> list[tuple[jax.Array, int]]:
    given = [v for v in diagonals if not operands.is_scalar(v)]
    if dtype is None:
        dtype = check_values(given[0], "diags").dtype if given else jnp.result_type(float)
    dtype = check_dtype(dtype, "diags")
    vectors = []
    for v, k in zip(diagonals, places, strict=True):
        # Diagonal k of an m×n matrix: from row max(-k, 0) and column max(k, 0) to the border.
        length = max(min(shape[0] + min(k, 0), shape[1] - max(k, 0)), 0)
        check_count(length, "diags", "entries")
        where = f"diags: diagonal {k}"
        if operands.is_scalar(v):
            vectors.append((jnp.full(length, operands.scalar(v, np.dtype(dtype), where)), k))
        else:
            vectors.append((operands.vector(v, length, np.dtype(dtype), where), k))
    return vectors
