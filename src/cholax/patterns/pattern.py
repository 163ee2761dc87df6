"""`Pattern`: where the stored entries of a sparse matrix are. Static, immutable, hashable."""

import hashlib
import operator
from functools import cached_property
from typing import Any, NoReturn, Self, final

import jax
import numpy as np
from numpy.typing import ArrayLike

from cholax._core.dtypes import check_index_array
from cholax._core.errors import PatternError, ShapeError, StructureError
from cholax._core.options import shown

# Part of every fingerprint: raise it when the meaning of the arrays changes, so that plans and
# compiled programs of two versions can never be taken for each other.
LAYOUT_VERSION = b"cholax-pattern-1"
INDEX_LIMIT = int(np.iinfo(np.int32).max)


@final
class Pattern:
    """The sparsity pattern of a matrix, in compressed columns.

    Column j holds the rows `indices[indptr[j]:indptr[j + 1]]`, sorted and without duplicates. A
    symmetric pattern stores the lower triangle only, with every diagonal entry present. A pattern
    is immutable, and equal patterns hash alike (by `fingerprint`), so it serves as auxiliary data
    of a pytree and as a key of the jit cache.

    Args:
        shape: number of rows and columns.
        indptr: `(ncols + 1,)` integers, where each column starts.
        indices: `(nnz,)` integers, the row of each stored entry.
        symmetric: the pattern is the lower triangle of a symmetric matrix.

    Raises:
        PatternError: the arrays break one of the rules above; the message names the first entry.
        ShapeError: the shape is not two non-negative integers that fit in 32 bits.
        StructureError: a symmetric pattern that is not square.

    Example:
        >>> import cholax as cx
        >>> pattern = cx.Pattern((3, 2), indptr=[0, 2, 3], indices=[0, 2, 1])
        >>> pattern
        Pattern(shape=(3, 2), nnz=3)
        >>> pattern.columns.tolist()
        [0, 0, 1]
    """

    shape: tuple[int, int]
    indptr: np.ndarray
    indices: np.ndarray
    symmetric: bool
    _plans: dict[Any, Any]

    def __init__(
        self,
        shape: tuple[int, int],
        indptr: ArrayLike,
        indices: ArrayLike,
        *,
        symmetric: bool = False,
    ) -> None:
        shape = check_shape(shape, "Pattern")
        self._set(
            shape,
            _index_vector(indptr, "indptr"),
            _index_vector(indices, "indices"),
            bool(symmetric),
        )
        _check_columns(self)
        _check_rows(self)
        if self.symmetric:
            _check_symmetric(self)

    def _set(
        self, shape: tuple[int, int], indptr: np.ndarray, indices: np.ndarray, symmetric: bool
    ) -> None:
        indptr.flags.writeable = False
        indices.flags.writeable = False
        # cached_property and this write to __dict__, past the __setattr__ that keeps others out.
        self.__dict__.update(
            shape=shape, indptr=indptr, indices=indices, symmetric=symmetric, _plans={}
        )

    @classmethod
    def trusted(
        cls, shape: tuple[int, int], indptr: np.ndarray, indices: np.ndarray, symmetric: bool
    ) -> Self:
        """Wrap int32 arrays already known to be valid; cholax's own algorithms only.

        The arrays become read-only and must not be shared with anyone who writes to them.
        """
        self = cls.__new__(cls)
        self._set(shape, indptr, indices, symmetric)
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Pattern is immutable, cannot set {name!r}. Build another Pattern.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Pattern is immutable, cannot delete {name!r}.")

    @property
    def nnz(self) -> int:
        """Number of stored entries (of the lower triangle when symmetric)."""
        return self.indices.size

    @property
    def n(self) -> int:
        """Order of a square pattern."""
        if self.shape[0] != self.shape[1]:
            raise StructureError(
                f"Pattern.n: the pattern must be square, got {self.shape[0]}×{self.shape[1]}. "
                "Use .shape for a rectangular one."
            )
        return self.shape[0]

    @property
    def rows(self) -> np.ndarray:
        """`(nnz,)` row of each stored entry; the same array as `indices`."""
        return self.indices

    @property
    def nbytes(self) -> int:
        """Bytes held by the index arrays."""
        return self.indptr.nbytes + self.indices.nbytes

    def plans(self) -> tuple[Any, ...]:
        """Symbolic factorisations made of this pattern so far, which it keeps alive."""
        return tuple(self._plans.values())

    @cached_property
    def columns(self) -> np.ndarray:
        """`(nnz,)` column of each stored entry."""
        columns = np.repeat(np.arange(self.shape[1], dtype=np.int32), np.diff(self.indptr))
        columns.flags.writeable = False
        return columns

    @cached_property
    def diagonal_positions(self) -> np.ndarray:
        """`(min(shape),)` position of entry (j, j) among the stored ones, -1 where absent."""
        positions = np.full(min(self.shape), -1, np.int32)
        stored = np.flatnonzero(self.indices == self.columns)
        positions[self.indices[stored]] = stored
        positions.flags.writeable = False
        return positions

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes that identify the pattern: blake2b over shape, symmetry and index arrays."""
        digest = hashlib.blake2b(LAYOUT_VERSION, digest_size=16)
        digest.update(np.array([*self.shape, self.symmetric], np.int64).tobytes())
        digest.update(np.ascontiguousarray(self.indptr).data)
        digest.update(np.ascontiguousarray(self.indices).data)
        return digest.digest()

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Pattern):
            return NotImplemented
        # The shape first: most unequal patterns differ there, before anything is hashed.
        return self.shape == other.shape and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        symmetric = ", symmetric=True" if self.symmetric else ""
        return f"Pattern(shape={self.shape}, nnz={self.nnz}{symmetric})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Plans stay behind (they hold native objects); reading back validates like any other input.
        return _unpickle, (self.shape, self.indptr, self.indices, self.symmetric)


def _unpickle(
    shape: tuple[int, int], indptr: np.ndarray, indices: np.ndarray, symmetric: bool
) -> Pattern:
    return Pattern(shape, indptr, indices, symmetric=symmetric)


def check_shape(shape: Any, where: str) -> tuple[int, int]:
    """Return `shape` as two Python integers, or raise `ShapeError`."""
    try:
        # Not `in shape` for any object: some iterate without end.
        listed = isinstance(shape, tuple | list | np.ndarray | jax.Array)
        rows, columns = (operator.index(size) for size in (shape if listed else ()))
    except (TypeError, ValueError):
        raise ShapeError(
            f"{where}: shape must be two static integers, got {shown(shape)}. Pass (rows, columns)."
        ) from None
    if min(rows, columns) < 0 or max(rows, columns) >= INDEX_LIMIT:
        raise ShapeError(
            f"{where}: sizes must lie between 0 and {INDEX_LIMIT - 1}, got {rows}×{columns}. "
            "Larger matrices are not supported."
        )
    return rows, columns


def check_static(x: Any, where: str) -> np.ndarray:
    """Return concrete integers as an int32 array of any rank; refuse traced ones by name."""
    return check_index_array(x, where)


def _index_vector(x: ArrayLike, name: str) -> np.ndarray:
    array = check_static(x, f"Pattern: {name}")
    if array.ndim != 1:
        raise PatternError(
            f"Pattern: {name} must be one-dimensional, got shape {array.shape}. "
            f"Flatten it with numpy.ravel."
        )
    return np.ascontiguousarray(array)


def _check_columns(pattern: Pattern) -> None:
    indptr, ncols, nnz = pattern.indptr, pattern.shape[1], pattern.nnz
    if indptr.size != ncols + 1:
        raise PatternError(
            f"Pattern: indptr must have length {ncols + 1} (columns + 1), got {indptr.size}. "
            "For compressed rows use cx.from_scipy, or swap the shape."
        )
    if indptr[0] != 0:
        raise PatternError(
            f"Pattern: indptr must start at 0, got indptr[0] = {indptr[0]}. Subtract the offset."
        )
    falling = np.flatnonzero(np.diff(indptr) < 0)
    if falling.size:
        j = falling[0]
        raise PatternError(
            f"Pattern: indptr must not decrease, got indptr[{j}] = {indptr[j]} and "
            f"indptr[{j + 1}] = {indptr[j + 1]}. It holds running counts of entries per column."
        )
    if indptr[-1] != nnz:
        raise PatternError(
            f"Pattern: indptr must end at the number of indices, got indptr[{ncols}] = "
            f"{indptr[-1]} for {nnz} indices. Drop the padding or pass all of them."
        )


def _check_rows(pattern: Pattern) -> None:
    indices, columns, nrows = pattern.indices, pattern.columns, pattern.shape[0]
    outside = np.flatnonzero((indices < 0) | (indices >= nrows))
    if outside.size:
        k = outside[0]
        kind = "negative" if indices[k] < 0 else "out of range"
        raise PatternError(
            f"Pattern: rows must lie between 0 and {nrows - 1}, got indices[{k}] = {indices[k]} "
            f"in column {columns[k]} ({kind}). Check the shape and the order (CSC, not CSR)."
        )
    wrong = np.flatnonzero((np.diff(indices) <= 0) & (columns[1:] == columns[:-1]))
    if wrong.size:
        k = wrong[0] + 1
        if indices[k] == indices[k - 1]:
            need, kind = "hold each entry once", "a duplicate"
        else:
            need, kind = "list rows in increasing order", "unsorted"
        raise PatternError(
            f"Pattern: each column must {need}, got indices[{k}] = {indices[k]} after "
            f"{indices[k - 1]} in column {columns[k]} ({kind}). "
            "cx.from_coo and cx.from_scipy sort entries and sum duplicates."
        )


def _check_symmetric(pattern: Pattern) -> None:
    if pattern.shape[0] != pattern.shape[1]:
        raise StructureError(
            f"Pattern: a symmetric pattern must be square, got {pattern.shape[0]}×"
            f"{pattern.shape[1]}. Pass symmetric=False for a rectangular one."
        )
    upper = np.flatnonzero(pattern.indices < pattern.columns)
    if upper.size:
        k = upper[0]
        raise PatternError(
            "Pattern: a symmetric pattern must hold the lower triangle only, got the upper entry "
            f"({pattern.indices[k]}, {pattern.columns[k]}) at position {k}. "
            "cx.from_scipy(Q, symmetric=True) takes the full matrix."
        )
    missing = np.flatnonzero(pattern.diagonal_positions < 0)
    if missing.size:
        j = missing[0]
        raise PatternError(
            f"Pattern: a symmetric pattern must hold the whole diagonal, got none at ({j}, {j}). "
            "Store an explicit zero there, or use a constructor such as cx.from_coo, which adds it."
        )
