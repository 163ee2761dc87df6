"""Checks on what meets a sparse matrix: scalars, vectors, static indices, foreign types."""

import operator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.core import Tracer

from cholax._core.dtypes import check_values, read_array
from cholax._core.errors import (
    DtypeError,
    PatternError,
    ShapeError,
    StructureError,
    UnsupportedError,
)
from cholax._core.foreign import is_sparse, refuse_library
from cholax.patterns import Pattern
from cholax.patterns.pattern import check_static


def is_scalar(x: Any) -> bool:
    """A number or an array of rank 0, traced or not."""
    return isinstance(x, int | float | complex | np.generic) or (
        isinstance(x, np.ndarray | jax.Array) and x.ndim == 0
    )


def is_dense(x: Any) -> bool:
    """An array or what NumPy reads as one."""
    return isinstance(x, np.ndarray | jax.Array | list | tuple)


def is_foreign_sparse(x: Any) -> bool:
    """A sparse matrix of SciPy, of jax.experimental.sparse or alike."""
    return is_sparse(x) and not hasattr(x, "pattern")


def conversion(x: Any, options: str = "") -> str:
    """Which function makes a SparseMatrix of x, for messages."""
    if scipy.sparse.issparse(x):
        return f"Convert it with cx.from_scipy(A{options})."
    if is_foreign_sparse(x):
        made = "" if hasattr(x, "n_batch") and hasattr(x, "data") else " (a BCOO)"
        return f"Convert it with cx.from_bcoo(A{options}){made}."
    if is_dense(x):
        return f"Convert it with cx.from_dense(A{options})."
    return "Build one with cx.from_coo, cx.from_dense, cx.from_scipy or cx.from_bcoo."


def pattern_of(x: Any, where: str) -> Pattern:
    """The pattern meant by a `Pattern` or by a matrix of ours."""
    pattern = getattr(x, "pattern", x)
    if isinstance(pattern, Pattern):
        return pattern
    raise StructureError(
        f"{where}: need a cholax Pattern, got {type(x).__name__}. "
        "Build one with cx.Pattern(shape, indptr, indices), or take the pattern of a SparseMatrix."
    )


def refuse_foreign_matrix(x: Any, where: str) -> None:
    """Raise `UnsupportedError` for a sparse matrix of another library."""
    if is_foreign_sparse(x):
        raise UnsupportedError(
            f"{where}: need a cholax SparseMatrix, got {type(x).__module__}.{type(x).__name__}. "
            f"{conversion(x)}"
        )
    if not hasattr(x, "pattern"):
        refuse_library(x, where, "a SparseMatrix or an array")


def refuse(x: Any, where: str, remedy: str) -> Any:
    """Raise for a known type that `where` does not take, else return NotImplemented for Python."""
    refuse_foreign_matrix(x, where)
    known = is_scalar(x) or is_dense(x) or hasattr(x, "pattern")
    if known:
        kind = "a scalar" if is_scalar(x) else f"an object of type {type(x).__name__}"
        raise UnsupportedError(f"{where}: not defined for a SparseMatrix and {kind}. {remedy}")
    return NotImplemented


def scalar(x: Any, dtype: np.dtype, where: str) -> Any:
    """Return a scalar in `dtype`: Python numbers are weak, integers convert, other floats raise."""
    if isinstance(x, int | float) and not isinstance(x, np.generic):
        return dtype.type(x)
    weak = getattr(x, "weak_type", False)
    kind = x_dtype(x).kind
    if not (kind in "iu" or (weak and kind == "f")) and x_dtype(x) != dtype:
        raise DtypeError(
            f"{where}: the scalar and the matrix must have one dtype, got {x_dtype(x)} and "
            f"{dtype}. Pass a Python number, or convert one of them with .astype()."
        )
    return jnp.asarray(x).astype(dtype)


def x_dtype(x: Any) -> np.dtype:
    """Dtype of an array or Python scalar; a random key has none that means anything here."""
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    return np.dtype(object) if jnp.issubdtype(dtype, jax.dtypes.extended) else np.dtype(dtype)


def same_dtype(x: Any, dtype: np.dtype, where: str) -> jax.Array:
    """Return `x` as an array of the matrix's dtype, or raise `DtypeError`."""
    array = check_values(x, where)
    if array.dtype != dtype:
        raise DtypeError(
            f"{where}: the array and the matrix must have one dtype, got {array.dtype} and "
            f"{dtype}. Convert one of them with .astype()."
        )
    return array


def unbatched(values: Any, where: str) -> jax.Array:
    """Return the values of one matrix; raise `ShapeError` for the stack that vmap returns."""
    if jnp.ndim(values) != 1:
        raise ShapeError(
            f"{where}: need the values of one matrix, got a stack of shape {values.shape}. "
            "Use jax.vmap over the stacked SparseMatrix."
        )
    return values


def vector(x: Any, length: int, dtype: np.dtype, where: str) -> jax.Array:
    """Return `x` as an array of shape `(length,)` and the matrix's dtype, or raise."""
    array = same_dtype(x, dtype, where)
    if array.shape != (length,):
        raise ShapeError(
            f"{where}: need a vector of shape ({length},), got {array.shape}. "
            "Use jax.vmap over a stack of vectors."
        )
    return array


def right_hand_side(
    b: Any, n: int, dtype: np.dtype, batch: tuple[int, ...], where: str
) -> tuple[jax.Array, jax.Array]:
    """What is solved for, as an array of shape `(n,)` or `(n, k)` and as columns, or raise.

    `batch` is the shape of the stack of factorisations, which must be `()`.
    """
    refuse_batch(batch, where)
    array = same_dtype(b, dtype, where)
    if array.ndim not in (1, 2) or array.shape[0] != n:
        raise ShapeError(
            f"{where}: need a right-hand side of shape ({n},) or ({n}, k), got {array.shape}. "
            "For more batch dimensions use jax.vmap."
        )
    return array, as_column(array) if array.ndim == 1 else array


def refuse_batch(batch: tuple[int, ...], where: str) -> None:
    """Raise `ShapeError` for a stack of factorisations."""
    if batch:
        raise ShapeError(
            f"{where}: this is a batch of factorisations, of shape {batch}. Map over it: "
            "jax.vmap(lambda F: F.solve(b))(factorisations)."
        )


def shaped_like(columns: jax.Array, b: jax.Array) -> jax.Array:
    """Columns as a vector where b is one."""
    return as_vector(columns) if b.ndim == 1 else columns


# Compiled where they run eagerly, as indexing and broadcasting one by one are slow there.


@partial(jax.jit, inline=True)
def as_column(x: jax.Array) -> jax.Array:
    """A vector as a matrix of one column."""
    return x[:, None]


@partial(jax.jit, inline=True)
def as_vector(x: jax.Array) -> jax.Array:
    """A matrix of one column as a vector."""
    return x[:, 0]


@partial(jax.jit, static_argnames="length", inline=True)
def repeated(x: jax.Array, length: int) -> jax.Array:
    """A scalar as a vector."""
    return jnp.broadcast_to(x, (length,))


def static_index(index: Any, size: int, where: str) -> tuple[np.ndarray, bool]:
    """Turn an integer, slice, index array or mask into int32 indices; was it an integer?"""
    if isinstance(index, slice):
        for bound in (index.start, index.stop, index.step):
            if bound is not None:
                check_static(bound, where)
        return np.arange(*index.indices(size), dtype=np.int32), False
    if isinstance(index, list | tuple | range):
        index = read_array(index, where)
    if getattr(index, "dtype", None) == np.bool_ and not isinstance(index, Tracer):
        index = _from_mask(np.asarray(index), size, where)
    array = check_static(_whole(index, where), where)
    if array.ndim > 1:
        raise PatternError(
            f"{where}: an index must be an integer, a slice or a vector, got shape {array.shape}. "
            "A[rows, columns] takes every listed row by every listed column."
        )
    outside = np.flatnonzero((array < -size) | (array >= size))
    if outside.size:
        raise PatternError(
            f"{where}: index {np.ravel(array)[outside[0]]} is out of range for size {size}. "
            f"Valid ones run from {-size} to {size - 1}."
        )
    positive = np.where(array < 0, array + size, array).astype(np.int32)
    return np.atleast_1d(positive), array.ndim == 0


def _from_mask(mask: np.ndarray, size: int, where: str) -> np.ndarray:
    if mask.shape != (size,):
        raise PatternError(
            f"{where}: a mask must have shape ({size},), got {mask.shape}. "
            "Or pass the indices themselves, numpy.flatnonzero(mask)."
        )
    return np.flatnonzero(mask)


def _whole(index: Any, where: str) -> Any:
    # Arrays go through; anything else must be a whole number: None and Ellipsis are not.
    if hasattr(index, "dtype"):
        return index
    try:
        return operator.index(index)
    except TypeError:
        raise PatternError(
            f"{where}: need integers, slices or index arrays, got {index!r}. "
            "Write A[rows, columns] with : for all of them."
        ) from None
