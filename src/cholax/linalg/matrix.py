"""`SparseMatrix`: values on a pattern. The pattern is static, the values are traced."""

from collections.abc import Callable, Iterable
from typing import Any, NoReturn, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax import primitives
from cholax._core.dtypes import check_dtype, check_values
from cholax._core.errors import ShapeError, StructureError, UnsupportedError
from cholax._core.options import shown
from cholax._core.pickling import pack, unpack
from cholax.linalg import arithmetic, maps, operands
from cholax.linalg.export import Export
from cholax.patterns import Pattern, algebra


@final
class SparseMatrix(Export):
    """A sparse matrix: values on a static pattern, in compressed columns.

    A_ij = values[k] where the pattern's entry k is (i, j). With a symmetric pattern the values are
    those of the lower triangle, each off-diagonal one standing for a_ij and a_ji; a gradient with
    respect to it counts both.

    The matrix is a pytree with `values` as its only leaf, so it passes through `jit`, `grad` and
    `vmap`. Operators, each differentiable to any order: `A + B`, `A - B`, `-A`, `c * A`, `A / c`
    for a scalar c; `A @ x`, `A @ X`, `x @ A` with dense arrays, `A @ B` (a general matrix); and
    `A[rows, columns]` by static indices. Two lists select every listed row by every listed column,
    as `numpy.ix_` does; equal lists keep a symmetric matrix symmetric. An integer in place of one
    list gives a dense vector, two integers a scalar. Nothing is cast silently: dtypes must agree,
    and only Python scalars adapt.

    Args:
        values: `(nnz,)` float32 or float64.
        pattern: where they are.

    Raises:
        DtypeError: values of another dtype, or float64 while JAX has 64-bit types disabled.
        ShapeError: values that are not one vector of length `pattern.nnz`.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> pattern = cx.Pattern((2, 2), [0, 2, 3], [0, 1, 1], symmetric=True)
        >>> A = cx.SparseMatrix(jnp.array([2.0, -1.0, 2.0]), pattern)
        >>> A.to_dense().tolist()
        [[2.0, -1.0], [-1.0, 2.0]]
        >>> (A @ jnp.array([1.0, 0.0])).tolist()
        [2.0, -1.0]
    """

    __slots__ = ("__weakref__", "pattern", "values")
    # NumPy arrays and scalars then leave `x @ A` and `c * A` to this class.
    __array_ufunc__ = None
    __array_priority__ = 1000.0
    # Without it Python would iterate through __getitem__.
    __iter__ = None

    values: jax.Array
    pattern: Pattern

    def __init__(self, values: ArrayLike, pattern: Pattern) -> None:
        if not isinstance(pattern, Pattern):
            raise StructureError(
                f"SparseMatrix: need a cholax Pattern, got {type(pattern).__name__}. "
                "Build one with cx.Pattern, or the whole matrix with cx.from_coo or cx.from_scipy."
            )
        array = check_values(values, "SparseMatrix")
        if array.ndim != 1:
            raise ShapeError(
                f"SparseMatrix: values must be one vector of length {pattern.nnz}, got shape "
                f"{array.shape}. For a stack of matrices use jax.vmap over a function of values."
            )
        if array.size != pattern.nnz:
            raise ShapeError(
                f"SparseMatrix: need {pattern.nnz} values, one per entry of {pattern}, got "
                f"{array.size}. A symmetric pattern stores the lower triangle only."
            )
        object.__setattr__(self, "values", array)
        object.__setattr__(self, "pattern", pattern)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"SparseMatrix is immutable, cannot set {name!r}. "
            "Build another one with SparseMatrix(values, pattern)."
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"SparseMatrix is immutable, cannot delete {name!r}.")

    def __reduce__(self) -> tuple[Any, ...]:
        return _read, (pack(self.values), self.pattern)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.pattern.shape

    @property
    def ndim(self) -> int:
        """Always 2."""
        return 2

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the values."""
        return self.values.dtype

    @property
    def nnz(self) -> int:
        """Number of stored entries (of the lower triangle when symmetric)."""
        return self.pattern.nnz

    @property
    def n(self) -> int:
        """Order of a square matrix; raises `StructureError` for a rectangular one."""
        return self.pattern.n

    @property
    def symmetric(self) -> bool:
        """Whether the lower triangle stands for both."""
        return self.pattern.symmetric

    def __repr__(self) -> str:
        # After a round trip through a pytree the leaf may be anything.
        dtype = getattr(self.values, "dtype", type(self.values).__name__)
        batch = getattr(self.values, "shape", ())[:-1]
        extra = f", batch={batch}" if batch else ""
        extra += ", symmetric=True" if self.symmetric else ""
        return f"SparseMatrix(shape={self.shape}, nnz={self.nnz}, dtype={dtype}{extra})"

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise UnsupportedError(
            "SparseMatrix: does not turn into a dense array by itself. Call A.to_dense()."
        )

    # Elementwise algebra

    def __neg__(self) -> "SparseMatrix":
        return _wrap(-entries(self, "-A"), self.pattern)

    def __add__(self, other: Any) -> "SparseMatrix":
        return _sum(self, other, "A + B", jnp.add)

    def __radd__(self, other: Any) -> "SparseMatrix":
        # sum([A, B]) starts from the integer 0, the one scalar whose sum is sparse.
        if type(other) is int and other == 0:
            return self
        return _sum(self, other, "A + B", jnp.add)

    def __sub__(self, other: Any) -> "SparseMatrix":
        return _sum(self, other, "A - B", jnp.subtract)

    def __rsub__(self, other: Any) -> "SparseMatrix":
        return _sum(self, other, "A - B", jnp.subtract)

    def __mul__(self, other: Any) -> "SparseMatrix":
        values = entries(self, "c * A")
        if not operands.is_scalar(other):
            return operands.refuse(other, "c * A", _PRODUCT_REMEDY)
        return _wrap(values * operands.scalar(other, values.dtype, "c * A"), self.pattern)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "SparseMatrix":
        values = entries(self, "A / c")
        if not operands.is_scalar(other):
            remedy = "Use A.scale_rows(1 / d) for a vector, cx.solve for A⁻¹b."
            return operands.refuse(other, "A / c", remedy)
        return _wrap(values / operands.scalar(other, values.dtype, "A / c"), self.pattern)

    # Products

    def __matmul__(self, other: Any) -> Any:
        values = entries(self, "A @ x")
        if isinstance(other, SparseMatrix):
            factors = values, self.pattern, entries(other, "A @ B"), other.pattern
            return _wrap(*arithmetic.product(*factors))
        operands.refuse_foreign_matrix(other, "A @ x")
        if not operands.is_dense(other):
            return NotImplemented
        x = operands.same_dtype(other, values.dtype, "A @ x")
        arithmetic.check_inner("A @ x", self.shape, x.shape, self.shape[1], x.shape[:1])
        if x.ndim == 1:
            column = operands.as_column(x)
            return operands.as_vector(primitives.matvec(self.pattern, values, column))
        return primitives.matvec(self.pattern, values, x)

    def __rmatmul__(self, other: Any) -> Any:
        values = entries(self, "x @ A")
        operands.refuse_foreign_matrix(other, "x @ A")
        if not operands.is_dense(other):
            return NotImplemented
        x = operands.same_dtype(other, values.dtype, "x @ A")
        arithmetic.check_inner("x @ A", x.shape, self.shape, self.shape[0], x.shape[-1:])
        if x.ndim == 1:
            column = operands.as_column(x)
            row = primitives.matvec(self.pattern, values, column, transpose=True)
            return operands.as_vector(row)
        return primitives.matvec(self.pattern, values, x.T, transpose=True).T

    # Structure

    @property
    def T(self) -> "SparseMatrix":
        """The transpose; a symmetric matrix is its own."""
        if self.symmetric:
            return self
        pattern, source = maps.transpose(self.pattern)
        return _wrap(primitives.gather(source, entries(self, "A.T")), pattern)

    def as_general(self) -> "SparseMatrix":
        """Store both triangles of a symmetric matrix; a general one is returned as it is.

        Returns:
            The same matrix with a general pattern.

        Example:
            >>> import cholax as cx
            >>> cx.eye(2).as_general().symmetric
            False
        """
        if not self.symmetric:
            return self
        return _wrap(*arithmetic.expand(entries(self, "as_general"), self.pattern))

    def symmetrize(self) -> "SparseMatrix":
        """The symmetric part of a square matrix, ½(A + Aᵀ), in half storage.

        Returns:
            A symmetric `SparseMatrix`, its diagonal completed by zeros; a symmetric matrix is
            returned as it is.

        Raises:
            StructureError: A is not square.

        Example:
            >>> import cholax as cx, jax.numpy as jnp
            >>> A = cx.from_dense(jnp.array([[1.0, 4.0], [0.0, 1.0]]))
            >>> A.symmetrize().to_dense().tolist()
            [[1.0, 2.0], [2.0, 1.0]]
        """
        if self.symmetric:
            return self
        pattern, lower, upper = maps.fold(self.pattern)
        values = entries(self, "symmetrize")
        halves = primitives.gather(lower, values) + primitives.gather(upper, values)
        return _wrap(halves, pattern)

    def diagonal(self) -> jax.Array:
        """The main diagonal, zero where no entry is stored.

        Returns:
            `(min(shape),)` array.

        Example:
            >>> import cholax as cx
            >>> cx.eye(3).diagonal().tolist()
            [1.0, 1.0, 1.0]
        """
        return primitives.gather(maps.diagonal(self.pattern), entries(self, "diagonal"))

    def add_diagonal(self, d: ArrayLike) -> "SparseMatrix":
        """Add to the diagonal of a square matrix: A + diag(d), or A + d·I for a scalar.

        Args:
            d: scalar or `(n,)`.

        Returns:
            A `SparseMatrix` of the same symmetry with the whole diagonal stored.

        Raises:
            StructureError: A is not square.
            ShapeError: a vector of another length.

        Example:
            >>> import cholax as cx
            >>> cx.eye(2).add_diagonal(0.5).to_dense().tolist()
            [[1.5, 0.0], [0.0, 1.5]]
        """
        values, where = entries(self, "add_diagonal"), "add_diagonal"
        pattern, source, from_d = maps.add_diagonal(self.pattern)
        if operands.is_scalar(d):
            added = operands.repeated(operands.scalar(d, values.dtype, where), self.n)
        else:
            added = operands.vector(d, self.n, values.dtype, where)
        return _wrap(maps.take(source, values) + maps.take(from_d, added), pattern)

    def scale_rows(self, d: ArrayLike) -> "SparseMatrix":
        """Multiply row i by d_i: diag(d) A.

        Args:
            d: `(rows,)`.

        Returns:
            A general `SparseMatrix`, as scaling one side breaks symmetry.

        Raises:
            ShapeError: d is not one vector with a number per row.

        Example:
            >>> import cholax as cx, jax.numpy as jnp
            >>> cx.eye(2).scale_rows(jnp.array([2.0, 3.0])).to_dense().tolist()
            [[2.0, 0.0], [0.0, 3.0]]
        """
        A = self.as_general()
        values = entries(A, "scale_rows")
        factors = operands.vector(d, self.shape[0], values.dtype, "scale_rows")
        return _wrap(values * primitives.gather(maps.rows(A.pattern), factors), A.pattern)

    def scale_columns(self, d: ArrayLike) -> "SparseMatrix":
        """Multiply column j by d_j: A diag(d).

        Args:
            d: `(columns,)`.

        Returns:
            A general `SparseMatrix`, as scaling one side breaks symmetry.

        Raises:
            ShapeError: d is not one vector with a number per column.

        Example:
            >>> import cholax as cx, jax.numpy as jnp
            >>> A = cx.from_dense(jnp.array([[1.0, 2.0]]))
            >>> A.scale_columns(jnp.array([3.0, 4.0])).to_dense().tolist()
            [[3.0, 8.0]]
        """
        A = self.as_general()
        values = entries(A, "scale_columns")
        factors = operands.vector(d, self.shape[1], values.dtype, "scale_columns")
        return _wrap(values * primitives.gather(maps.columns(A.pattern), factors), A.pattern)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, tuple) or len(key) != 2:
            given = f"{len(key)}" if isinstance(key, tuple) else f"only one, {shown(key)}"
            raise ShapeError(
                f"A[rows, columns]: need two indices, got {given}. "
                "Use A[i, :] for row i, A[:, j] for column j."
            )
        rows, one_row = operands.static_index(key[0], self.shape[0], "A[rows, columns]: rows")
        columns, one_column = operands.static_index(
            key[1], self.shape[1], "A[rows, columns]: columns"
        )
        values = entries(self, "A[rows, columns]")
        if one_row and one_column:
            k = algebra.entry_position(self.pattern, int(rows[0]), int(columns[0]))
            # Not `gather`: a static map per entry would compile one program for each.
            return (
                jax.lax.dynamic_index_in_dim(values, k, keepdims=False)
                if k >= 0
                else jnp.zeros((), values.dtype)
            )
        pattern, source = maps.submatrix(self.pattern, rows, columns)
        part = _wrap(primitives.gather(source, values), pattern)
        return part.to_dense().ravel() if one_row or one_column else part

    def astype(self, dtype: Any) -> "SparseMatrix":
        """Convert the values to float32 or float64.

        Args:
            dtype: the new dtype.

        Returns:
            A `SparseMatrix` on the same pattern.

        Raises:
            DtypeError: any other dtype, or float64 while JAX has 64-bit types disabled.

        Example:
            >>> import cholax as cx
            >>> cx.eye(2).astype("float32").dtype.name
            'float32'
        """
        # Checked before JAX converts: with 64-bit types disabled it would give float32 silently.
        dtype = check_dtype(dtype, "astype")
        return _wrap(entries(self, "astype").astype(dtype), self.pattern)


_PRODUCT_REMEDY = (
    "Use A @ B for the matrix product, A.scale_rows(d) or A.scale_columns(d) for a vector, "
    "A.to_dense() * X for a dense product entry by entry."
)
_SUM_REMEDY = (
    "The sum would fill the matrix: use A.add_diagonal(c) for A + c·I, or A.to_dense() + X."
)


def _wrap(values: Any, pattern: Pattern) -> SparseMatrix:
    self = object.__new__(SparseMatrix)
    object.__setattr__(self, "values", values)
    object.__setattr__(self, "pattern", pattern)
    return self


def _read(values: Any, pattern: Pattern) -> SparseMatrix:
    return _wrap(unpack(values), pattern)


def _flatten_with_keys(A: SparseMatrix) -> tuple[tuple[tuple[Any, Any]], Pattern]:
    return ((jax.tree_util.GetAttrKey("values"), A.values),), A.pattern


def _unflatten(pattern: Pattern, leaves: Iterable[Any]) -> SparseMatrix:
    # JAX puts anything in the place of leaves (None, object(), batches): nothing is checked here.
    (values,) = leaves
    return _wrap(values, pattern)


jax.tree_util.register_pytree_with_keys(
    SparseMatrix, _flatten_with_keys, _unflatten, lambda A: ((A.values,), A.pattern)
)


def entries(A: SparseMatrix, where: str) -> jax.Array:
    """The values of one matrix; raises for another type, and for the stack that vmap returns."""
    if not isinstance(A, SparseMatrix):
        operands.refuse_foreign_matrix(A, where)
        raise UnsupportedError(
            f"{where}: need a SparseMatrix, got {type(A).__name__}. {operands.conversion(A)}"
        )
    return operands.unbatched(A.values, where)


def _sum(
    A: SparseMatrix, other: Any, where: str, combine: Callable[[jax.Array, jax.Array], jax.Array]
) -> Any:
    a = entries(A, where)
    if not isinstance(other, SparseMatrix):
        return operands.refuse(other, where, _SUM_REMEDY)
    b = entries(other, where)
    return _wrap(*arithmetic.combine(combine, a, A.pattern, b, other.pattern, where=where))
