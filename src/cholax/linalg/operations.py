"""Functions of sparse matrices: blocks, Kronecker products, congruence, quadratic forms, traces."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from cholax import primitives
from cholax._core import options
from cholax._core.dtypes import check_same_dtype
from cholax._core.errors import ShapeError, StructureError, UnsupportedError
from cholax.linalg import maps, operands
from cholax.linalg.matrix import SparseMatrix, entries
from cholax.patterns.pattern import INDEX_LIMIT

Block = SparseMatrix | None


def kron(A: SparseMatrix, B: SparseMatrix, /) -> SparseMatrix:
    """Kronecker product A ⊗ B: block (i, j) is a_ij B.

    Args:
        A: left factor.
        B: right factor, of the same dtype.

    Returns:
        A `SparseMatrix`, symmetric when both are.

    Raises:
        DtypeError: the dtypes differ.
        ShapeError: the result does not fit 32-bit positions.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> A = cx.from_dense(jnp.array([[1.0, 2.0]]))
        >>> cx.kron(A, cx.eye(2)).to_dense().tolist()
        [[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 2.0]]
    """
    a, b = entries(A, "kron"), entries(B, "kron")
    check_same_dtype("kron", A=a, B=b)
    pattern, left, right = maps.kron(A.pattern, B.pattern)
    return SparseMatrix(primitives.gather(left, a) * primitives.gather(right, b), pattern)


def block_diag(blocks: Sequence[SparseMatrix], /) -> SparseMatrix:
    """Place matrices along the diagonal, zeros elsewhere.

    Args:
        blocks: at least one matrix, all of one dtype.

    Returns:
        A `SparseMatrix`, symmetric when all blocks are.

    Raises:
        DtypeError: the dtypes differ.
        ShapeError: no block at all.

    Example:
        >>> import cholax as cx
        >>> cx.block_diag([cx.eye(2), 3.0 * cx.eye(1)]).diagonal().tolist()
        [1.0, 1.0, 3.0]
    """
    blocks = _listed(blocks, "block_diag")
    for A in blocks:
        entries(A, "block_diag")
    symmetric = all(A.symmetric for A in blocks)
    heights, widths = [A.shape[0] for A in blocks], [A.shape[1] for A in blocks]
    return _place(blocks, _offsets(heights), _offsets(widths), symmetric, "block_diag")


def hstack(blocks: Sequence[SparseMatrix], /) -> SparseMatrix:
    """Place matrices side by side: [A B ...].

    Args:
        blocks: at least one matrix, all with as many rows and of one dtype.

    Returns:
        A general `SparseMatrix`.

    Raises:
        DtypeError: the dtypes differ.
        ShapeError: no block at all, or numbers of rows that differ.

    Example:
        >>> import cholax as cx
        >>> cx.hstack([cx.eye(2), cx.eye(2)]).shape
        (2, 4)
    """
    return _grid([_listed(blocks, "hstack")], "hstack")


def vstack(blocks: Sequence[SparseMatrix], /) -> SparseMatrix:
    """Place matrices below each other.

    Args:
        blocks: at least one matrix, all with as many columns and of one dtype.

    Returns:
        A general `SparseMatrix`.

    Raises:
        DtypeError: the dtypes differ.
        ShapeError: no block at all, or numbers of columns that differ.

    Example:
        >>> import cholax as cx
        >>> cx.vstack([cx.eye(2), cx.eye(2)]).shape
        (4, 2)
    """
    return _grid([[A] for A in _listed(blocks, "vstack")], "vstack")


def block(blocks: Sequence[Sequence[Block]], /, *, symmetric: bool = False) -> SparseMatrix:
    """Assemble a matrix from a grid of blocks: [[A, B], [C, D]].

    Args:
        blocks: rows of blocks of one dtype, `None` for zeros. Every row and every column of the
            grid needs one block that fixes its size.
        symmetric: the result is symmetric. Only the blocks on and below the diagonal of the grid
            are given, those above are `None`; blocks on the diagonal are symmetric or `None`.

    Returns:
        A `SparseMatrix`, symmetric if asked for, general otherwise.

    Raises:
        DtypeError: the dtypes differ.
        ShapeError: blocks that do not fit, named by their place.
        StructureError: with `symmetric=True`, a block above the diagonal or a general one on it.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> B = cx.from_dense(jnp.array([[5.0, 0.0]]))
        >>> K = cx.block([[cx.eye(2), None], [B, cx.eye(1)]], symmetric=True)
        >>> K.to_dense().tolist()
        [[1.0, 0.0, 5.0], [0.0, 1.0, 0.0], [5.0, 0.0, 1.0]]
    """
    options.flag(symmetric, "block", "symmetric")
    rows = _listed(blocks, "block", "a list of rows of blocks")
    return _grid(
        [_listed(row, "block", "a list of rows of blocks") for row in rows], "block", symmetric
    )


def congruence(B: SparseMatrix, d: ArrayLike | None = None, /) -> SparseMatrix:
    """Congruence BᵀDB with D = diag(d): entry (j, k) is the sum over i of d_i b_ij b_ik.

    Args:
        B: `(m, n)` matrix.
        d: `(m,)` weights or one scalar for all; 1 when left out.

    Returns:
        A symmetric `(n, n)` `SparseMatrix`.

    Raises:
        DtypeError: the dtypes differ.
        ShapeError: d is not one number per row of B.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> B = cx.from_dense(jnp.array([[1.0, 2.0], [0.0, 1.0]]))
        >>> cx.congruence(B, jnp.array([1.0, 10.0])).to_dense().tolist()
        [[1.0, 2.0], [2.0, 14.0]]
    """
    entries(B, "congruence")
    B = B.as_general()
    if d is None:
        scaled = B.values
    elif operands.is_scalar(d):
        scaled = B.values * operands.scalar(d, B.dtype, "congruence")
    else:
        d = operands.vector(d, B.shape[0], B.dtype, "congruence")
        scaled = B.values * primitives.gather(maps.rows(B.pattern), d)
    pattern, triples = maps.congruence(B.pattern)
    return SparseMatrix(primitives.contract(triples, scaled, B.values), pattern)


def quadratic_form(A: SparseMatrix, x: ArrayLike, /) -> jax.Array:
    """Quadratic form xᵀAx of a square matrix.

    Its derivative is xᵀ dA x + xᵀ(A + Aᵀ) dx; a stored off-diagonal entry of a symmetric matrix
    gets 2 x_i x_j.

    Args:
        A: `(n, n)` matrix.
        x: `(n,)` vector of the same dtype.

    Returns:
        A scalar.

    Raises:
        ShapeError: x is not a vector of length n.
        StructureError: A is not square.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> float(cx.quadratic_form(cx.eye(2), jnp.array([3.0, 4.0])))
        25.0
    """
    values = entries(A, "quadratic_form")
    x = operands.vector(x, A.n, values.dtype, "quadratic_form")
    product = primitives.matvec(A.pattern, values, operands.as_column(x))
    return jnp.dot(x, operands.as_vector(product))


def trace_product(A: SparseMatrix, B: SparseMatrix, /) -> jax.Array:
    """Trace of a product, tr(AB): the sum over i, j of a_ij b_ji, without forming AB.

    Args:
        A: `(m, n)` matrix.
        B: `(n, m)` matrix of the same dtype.

    Returns:
        A scalar. Off-diagonal entries of symmetric matrices count twice.

    Raises:
        DtypeError: the dtypes differ.
        ShapeError: B is not of the shape of Aᵀ.

    Example:
        >>> import cholax as cx
        >>> float(cx.trace_product(cx.eye(3), 2.0 * cx.eye(3)))
        6.0
    """
    check_same_dtype("trace_product", A=entries(A, "trace_product"), B=entries(B, "trace_product"))
    if A.shape != B.shape[::-1]:
        raise ShapeError(
            f"trace_product: AB must be square, so B of the shape of Aᵀ, got {A.shape} and "
            f"{B.shape}. Use A.T or B.T."
        )
    if A.symmetric != B.symmetric:
        A, B = A.as_general(), B.as_general()
    left, right = maps.trace(A.pattern, B.pattern)
    return jnp.dot(maps.take(left, A.values), maps.take(right, B.values))


def tril(A: SparseMatrix, /, k: int = 0) -> SparseMatrix:
    """Lower triangle: the entries with j - i <= k, as a general matrix.

    Args:
        A: any matrix.
        k: the last diagonal kept, 0 for the main one, negative below it.

    Returns:
        A general `SparseMatrix`, which for symmetric A is not the half storage of A but a triangle.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> cx.tril(cx.from_dense(jnp.array([[1.0, 2.0], [3.0, 4.0]]))).to_dense().tolist()
        [[1.0, 0.0], [3.0, 4.0]]
    """
    values = entries(A, "tril")
    pattern, source = maps.tril(A.pattern, options.count(k, "tril", "k", least=-INDEX_LIMIT))
    return SparseMatrix(primitives.gather(source, values), pattern)


def _listed(blocks: Any, where: str, need: str = "a list of matrices") -> list[Any]:
    """The blocks of a list, tuple or generator; matrices and arrays are none."""
    if isinstance(blocks, list | tuple | Iterator):
        return list(blocks)
    raise UnsupportedError(
        f"{where}: need {need}, got {type(blocks).__name__}. Pass them in one list: "
        f"cx.{where}({'[[A, B], [C, D]]' if where == 'block' else '[A, B]'})."
    )


def _grid(grid: list[list[Block]], where: str, symmetric: bool = False) -> SparseMatrix:
    for row in grid:
        for A in row:
            if A is not None:
                entries(A, where)
    if not any(grid):
        raise ShapeError(f"{where}: need at least one block, got none. Use cx.diags for zeros.")
    if len({len(row) for row in grid}) > 1:
        lengths = [len(row) for row in grid]
        raise ShapeError(
            f"{where}: each row of the grid needs as many blocks, got {lengths}. "
            "Write None for a block of zeros."
        )
    if symmetric:
        _check_lower_blocks(grid, where)
    placed = [(A, i, j) for i, row in enumerate(grid) for j, A in enumerate(row) if A is not None]
    found_rows = [(i, A.shape[0]) for A, i, _ in placed]
    found_columns = [(j, A.shape[1]) for A, _, j in placed]
    if symmetric:
        # Row i and column i have one size, so the blocks of either fix it.
        heights = widths = _sizes(found_rows + found_columns, len(grid), "row and column", where)
    else:
        heights = _sizes(found_rows, len(grid), "row", where)
        widths = _sizes(found_columns, len(grid[0]), "column", where)
    tops, lefts = _offsets(heights), _offsets(widths)
    rows = [tops[i] for _, i, _ in placed] + tops[-1:]
    lefts = [lefts[j] for _, _, j in placed] + lefts[-1:]
    return _place([A for A, _, _ in placed], rows, lefts, symmetric, where)


def _check_lower_blocks(grid: list[list[Block]], where: str) -> None:
    if len(grid) != len(grid[0]):
        raise StructureError(
            f"{where}: symmetric=True needs a square grid, got {len(grid)}×{len(grid[0])} blocks. "
            "Write None for the blocks above the diagonal."
        )
    for i, row in enumerate(grid):
        for j, A in enumerate(row):
            if A is not None and (j > i or (j == i and not A.symmetric)):
                need = "None above the diagonal" if j > i else "a symmetric block on the diagonal"
                raise StructureError(
                    f"{where}: symmetric=True needs {need}, got {A!r} at ({i}, {j}). "
                    "Only the lower blocks are given; use A.symmetrize() for a general block."
                )


def _sizes(found: list[tuple[int, int]], count: int, axis: str, where: str) -> list[int]:
    sizes: list[int | None] = [None] * count
    for place, size in found:
        known = sizes[place]
        if known is not None and known != size:
            raise ShapeError(
                f"{where}: blocks in one {axis} of the grid must have one size, got {known} and "
                f"{size} in {axis} {place}. Check the shapes."
            )
        sizes[place] = size
    for place, size in enumerate(sizes):
        if size is None:
            raise ShapeError(
                f"{where}: {axis} {place} of the grid holds no block to take its size from. "
                "Put an empty matrix there, for instance cx.diags([], [], shape=(m, n))."
            )
    return [size for size in sizes if size is not None]


def _offsets(sizes: list[int]) -> list[int]:
    """Where each block starts, and where the last one ends."""
    return [0, *accumulate(sizes)]


def _place(
    blocks: list[SparseMatrix], rows: list[int], columns: list[int], symmetric: bool, where: str
) -> SparseMatrix:
    """Put blocks at the given offsets; the last offset of each axis is the size of the result."""
    if not blocks:
        raise ShapeError(f"{where}: need at least one matrix, got none. Use cx.diags for zeros.")
    check_same_dtype(where, **{f"block {k}": A.values for k, A in enumerate(blocks)})
    blocks = [
        A if symmetric and row == column else A.as_general()
        for A, row, column in zip(blocks, rows, columns, strict=False)
    ]
    pattern, source = maps.assemble(
        tuple(A.pattern for A in blocks),
        tuple(rows[:-1]),
        tuple(columns[:-1]),
        (rows[-1], columns[-1]),
        symmetric,
    )
    values = jnp.concatenate([A.values for A in blocks])
    return SparseMatrix(maps.take(source, values), pattern)
