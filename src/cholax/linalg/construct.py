"""Sparse matrices from other formats and from lists of entries."""

import os
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import scipy.io
import scipy.sparse
from jax.core import Tracer
from jax.typing import ArrayLike

from cholax import primitives
from cholax._core import options
from cholax._core.dtypes import check_dtype, check_values
from cholax._core.errors import (
    ArgumentError,
    PatternError,
    ShapeError,
    SparsityError,
    StructureError,
    UnsupportedError,
)
from cholax.linalg import maps, operands
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern, build

if TYPE_CHECKING:
    from jax.experimental.sparse import BCOO


def from_scipy(Q: Any, /, *, symmetric: bool = False, half: bool = False) -> SparseMatrix:
    """Convert a SciPy sparse matrix or array of any format.

    Indices are sorted and duplicates summed; stored zeros stay.

    Args:
        Q: SciPy sparse matrix of float32 or float64.
        symmetric: store the lower half of a symmetric matrix. Q is the full matrix; its halves are
            averaged when they differ by rounding only (1e-12 of the largest entry; about 2e-6 in
            float32) and refused otherwise. Missing diagonal entries are added as zeros.
        half: with `symmetric=True`, Q holds the lower triangle only.

    Returns:
        A `SparseMatrix`.

    Raises:
        DtypeError: values of another dtype.
        StructureError: Q is not symmetric, naming the worst entry; one triangle without `half`.

    Example:
        >>> import jax, scipy.sparse, cholax as cx
        >>> jax.config.update("jax_enable_x64", True)
        >>> Q = scipy.sparse.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(3, 3))
        >>> cx.from_scipy(Q, symmetric=True)
        SparseMatrix(shape=(3, 3), nnz=5, dtype=float64, symmetric=True)
    """
    where = "from_scipy"
    if not scipy.sparse.issparse(Q):
        raise UnsupportedError(
            f"{where}: need a SciPy sparse matrix, got {type(Q).__name__}. "
            "Use cx.from_dense for an array, cx.from_bcoo for a BCOO."
        )
    if Q.ndim != 2:
        raise ShapeError(f"{where}: need two dimensions, got {Q.ndim}. Reshape to a matrix.")
    if Q.format in ("csc", "csr"):
        compressed = build.from_csc if Q.format == "csc" else build.from_csr
        pattern, positions = compressed(Q.indptr, Q.indices, Q.shape, where=where)
    else:
        Q = Q.tocoo()
        pattern, positions = build.from_coo(Q.row, Q.col, Q.shape, where=where)
    return summed(Q.data, pattern, positions, symmetric, half, where)


def from_coo(
    values: ArrayLike,
    rows: ArrayLike,
    columns: ArrayLike,
    shape: tuple[int, int],
    *,
    symmetric: bool = False,
    half: bool = False,
) -> SparseMatrix:
    """Build a matrix from entries in any order: a_ij is the sum of the values listed at (i, j).

    Differentiable in the values. The indices are static.

    Args:
        values: `(k,)` float32 or float64.
        rows: `(k,)` concrete integers.
        columns: `(k,)` concrete integers.
        shape: number of rows and columns.
        symmetric: store the lower half of a symmetric matrix. Both triangles are listed and are
            averaged; concrete values are checked as in `from_scipy`, traced ones only for the
            presence of mirror entries.
        half: with `symmetric=True`, only the lower triangle is listed.

    Returns:
        A `SparseMatrix`.

    Raises:
        DtypeError: values of another dtype.
        PatternError: indices that are traced, negative or out of range.
        ShapeError: values and indices of different lengths.
        StructureError: not symmetric, as for `from_scipy`.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> A = cx.from_coo(jnp.array([1.0, 2.0, 4.0]), [1, 0, 1], [0, 2, 0], (2, 3))
        >>> A.to_dense().tolist()
        [[0.0, 0.0, 2.0], [5.0, 0.0, 0.0]]
    """
    pattern, positions = build.from_coo(rows, columns, shape)
    return summed(values, pattern, positions, symmetric, half, "from_coo")


def from_dense(
    array: ArrayLike,
    /,
    *,
    symmetric: bool = False,
    half: bool = False,
    pattern: Pattern | SparseMatrix | None = None,
) -> SparseMatrix:
    """Keep the non-zero entries of a dense array, or those of a given pattern.

    Differentiable in the array.

    Args:
        array: `(rows, columns)` float32 or float64. It may be traced if `pattern` is given.
        symmetric: as for `from_scipy`; a given pattern decides by itself.
        half: as for `from_scipy`.
        pattern: where to read the array, a `Pattern` or a `SparseMatrix` with that of its own.
            Concrete arrays must be zero elsewhere. A symmetric pattern reads both triangles and
            averages them.

    Returns:
        A `SparseMatrix`.

    Raises:
        PatternError: traced without a pattern.
        SparsityError: a non-zero outside the pattern.
        StructureError: not symmetric, as for `from_scipy`.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> cx.from_dense(jnp.array([[0.0, 3.0], [0.0, 0.0]])).nnz
        1
    """
    where = "from_dense"
    values = check_values(array, where)
    if values.ndim != 2:
        raise ShapeError(
            f"{where}: need a matrix, got shape {values.shape}. Use jax.vmap over a stack."
        )
    if pattern is not None:
        pattern = operands.pattern_of(pattern, where)
        return _read_dense(values, pattern, symmetric, where)
    if isinstance(values, Tracer):
        raise PatternError(
            f"{where}: the non-zero entries of a traced array are unknown. "
            "Pass pattern=..., for instance of the matrix at a concrete argument."
        )
    host = np.asarray(values)
    mask_pattern, positions = build.from_mask(host != 0, where=where)
    return summed(host[host != 0], mask_pattern, positions, symmetric, half, where)


def from_bcoo(B: "BCOO", /, *, symmetric: bool = False, half: bool = False) -> SparseMatrix:
    """Convert a `jax.experimental.sparse.BCOO`; duplicates are summed, padding is dropped.

    Differentiable in the data. The indices must be concrete.

    Args:
        B: BCOO matrix without batch or dense dimensions.
        symmetric: as for `from_coo`.
        half: as for `from_coo`.

    Returns:
        A `SparseMatrix`.

    Raises:
        PatternError: traced indices.
        ShapeError: B is not a plain matrix.
        StructureError: not symmetric, as for `from_scipy`.

    Example:
        >>> import cholax as cx
        >>> cx.from_bcoo(cx.eye(3).to_bcoo()).nnz
        3
    """
    where = "from_bcoo"
    pattern, positions, inside = build.from_bcoo(B, where=where)
    values = B.data if inside.size == B.data.size else B.data[inside]
    return summed(values, pattern, positions, symmetric, half, where)


def from_matrix_market(
    source: Any, /, *, symmetric: bool | None = None, dtype: Any = None
) -> SparseMatrix:
    r"""Read a Matrix Market file through `scipy.io.mmread`.

    Args:
        source: file name, or a seekable file opened for reading.
        symmetric: store the lower half; by default what the header of the file says.
        dtype: convert the values explicitly, needed for files of integers.

    Returns:
        A `SparseMatrix`.

    Raises:
        DtypeError: integer or complex values without `dtype`.
        StructureError: not symmetric, as for `from_scipy`.

    Example:
        >>> import cholax as cx, io
        >>> text = b"%%MatrixMarket matrix coordinate real symmetric\n2 2 2\n1 1 4\n2 1 1\n"
        >>> cx.from_matrix_market(io.BytesIO(text), dtype="float32").to_dense().tolist()
        [[4.0, 1.0], [1.0, 0.0]]
    """
    if not (isinstance(source, str | os.PathLike) or hasattr(source, "read")):
        raise ArgumentError(
            f"from_matrix_market: need a file name or an open file, got {type(source).__name__}."
        )
    header = scipy.io.mminfo(source)
    if (rewind := getattr(source, "seek", None)) is not None:
        rewind(0)
    half_storage = bool(header[5] == "symmetric") if symmetric is None else symmetric
    # mmread fills in the other triangle of a symmetric file, and gives "array" files dense.
    Q = scipy.sparse.coo_array(scipy.io.mmread(source, spmatrix=False))
    return from_scipy(
        Q if dtype is None else Q.astype(check_dtype(dtype, "from_matrix_market")),
        symmetric=half_storage,
    )


def summed(
    values: Any,
    pattern: Pattern,
    positions: np.ndarray,
    symmetric: bool,
    half: bool,
    where: str,
) -> SparseMatrix:
    """Sum duplicates into a general pattern, then fold to half storage when asked for."""
    array = check_values(values, where)
    if array.shape != positions.shape:
        raise ShapeError(
            f"{where}: need one value per entry, {positions.size}, got shape {array.shape}. "
            "Use jax.vmap over a stack of values."
        )
    symmetric = options.flag(symmetric, where, "symmetric")
    if options.flag(half, where, "half") and not symmetric:
        raise StructureError(
            f"{where}: half=True says that one triangle stands for both, got symmetric=False. "
            "Pass symmetric=True as well, or leave half out for a triangular matrix."
        )
    if symmetric and pattern.shape[0] != pattern.shape[1]:
        raise StructureError(
            f"{where}: a symmetric matrix must be square, got "
            f"{pattern.shape[0]}×{pattern.shape[1]}. Leave symmetric out."
        )
    if symmetric and half:
        build.check_lower(pattern, where=where)
    if isinstance(array, Tracer):
        return _fold_traced(array, pattern, positions, symmetric, half, where)
    # Concrete values stay on the host: no program to compile, and asymmetry can be checked.
    host = build.sum_duplicates(positions, np.asarray(array), pattern.nnz)
    if symmetric:
        if not half:
            build.check_symmetric_values(pattern, host, where=where)
        pattern, host = build.fold_values(pattern, host, half=half)
    return SparseMatrix(host, pattern)


def _fold_traced(
    array: jax.Array,
    pattern: Pattern,
    positions: np.ndarray,
    symmetric: bool,
    half: bool,
    where: str,
) -> SparseMatrix:
    values = maps.put(primitives.EntryMap(positions, pattern.nnz), array)
    if not symmetric:
        return SparseMatrix(values, pattern)
    if half:
        pattern, source = maps.lower_half(pattern)
        return SparseMatrix(maps.take(source, values), pattern)
    build.check_symmetric_structure(pattern, where=where)
    return SparseMatrix(values, pattern).symmetrize()


def _read_dense(values: jax.Array, pattern: Pattern, symmetric: bool, where: str) -> SparseMatrix:
    if pattern.shape != values.shape or (symmetric and not pattern.symmetric):
        raise ShapeError(
            f"{where}: the pattern must fit the array, got {pattern} for shape {values.shape} and "
            f"symmetric={symmetric}. Build the pattern for this matrix."
        )
    full, _ = maps.expand(pattern)
    if not isinstance(values, Tracer):
        outside = np.asarray(values) != 0
        outside[full.rows, full.columns] = False
        if outside.any():
            i, j = np.argwhere(outside)[0]
            raise SparsityError(
                f"{where}: the pattern must cover all non-zero entries, got {values[i, j]} at "
                f"({i}, {j}) outside. Add the entry to the pattern or zero it."
            )
        if pattern.symmetric:
            host = np.asarray(values)[full.rows, full.columns]
            build.check_symmetric_values(full, host, where=where)
    read = SparseMatrix(primitives.gather(maps.dense(full), values.ravel()), full)
    return read.symmetrize() if pattern.symmetric else read
