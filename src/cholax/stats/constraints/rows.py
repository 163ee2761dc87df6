"""`Rows`: the coefficients of linear constraints, or a basis of a null space; known on the host."""

import hashlib
from functools import cached_property
from typing import Any, cast, final

import numpy as np
import scipy.linalg
import scipy.sparse
from jax.core import Tracer

from cholax._core.dtypes import read_array
from cholax._core.errors import DtypeError, ShapeError, StructureError, UnsupportedError
from cholax._core.pickling import Portable
from cholax.linalg.matrix import SparseMatrix

# Smallest singular value, relative to the largest of rows of length one, of independent rows.
RANK_TOLERANCE = 1e-10


@final
class Rows(Portable):
    """k linearly independent rows of length n; immutable, hashed by content, so static in JAX.

    Args:
        matrix: `(k, n)` array, SciPy matrix or `SparseMatrix` of concrete numbers; one row may be
            given as a vector.
        where: the function that error messages name.

    Raises:
        ShapeError: not a matrix, or more rows than columns.
        StructureError: rows that depend on each other or are not finite.
        UnsupportedError: traced numbers.

    Example:
        >>> from cholax.stats.constraints.rows import Rows
        >>> Rows([1.0, 1.0, 0.0]).matrix.shape
        (1, 3)
    """

    def __init__(self, matrix: Any, where: str = "Rows") -> None:
        array = _concrete(matrix, where)
        k, n = array.shape
        if k > n:
            raise ShapeError(
                f"{where}: need at most as many rows as variables, got shape {array.shape}. "
                "Rows are conditions, columns are variables: transpose the matrix."
            )
        array.flags.writeable = False
        self.matrix = array
        self._digest = hashlib.blake2b(array.tobytes(), digest_size=16).digest()
        _check_rank(self, where)

    @property
    def k(self) -> int:
        """Number of rows."""
        return self.matrix.shape[0]

    @property
    def n(self) -> int:
        """Length of each row."""
        return self.matrix.shape[1]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Rows)
            and self.matrix.shape == other.matrix.shape
            and self._digest == other._digest
        )

    def __hash__(self) -> int:
        return hash((self.matrix.shape, self._digest))

    def __repr__(self) -> str:
        return f"Rows(k={self.k}, n={self.n})"

    @cached_property
    def lengths(self) -> np.ndarray:
        """`(k,)` Euclidean length of each row."""
        return np.linalg.norm(self.matrix, axis=1)

    @cached_property
    def _qr(self) -> tuple[np.ndarray, np.ndarray]:
        return np.linalg.qr((self.matrix / self.lengths[:, None]).T)

    @property
    def singular_values(self) -> np.ndarray:
        """`(k,)` singular values of the rows scaled to length one, largest first."""
        return np.linalg.svd(self._qr[1], compute_uv=False)

    @cached_property
    def basis(self) -> np.ndarray:
        """`(n, k)` orthonormal basis of the span of the rows."""
        return self._qr[0]

    @cached_property
    def reflectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Y `(n, k)` and T `(k, k)` with H = I − Y T Yᵀ orthogonal.

        The first k columns of H span the rows, the others Z the space where they vanish.
        """
        scaled = (self.matrix / self.lengths[:, None]).T
        (raw, scales), *_ = cast("Any", scipy.linalg.qr(scaled, mode="raw"))
        Y = np.tril(raw[:, : self.k], -1)
        Y[np.arange(self.k), np.arange(self.k)] = 1.0
        T = np.zeros((self.k, self.k))
        for j in range(self.k):
            T[:j, j] = -scales[j] * T[:j, :j] @ (Y[:, :j].T @ Y[:, j])
            T[j, j] = scales[j]
        return Y, T

    @cached_property
    def log_gram(self) -> float:
        """log|AAᵀ| of the matrix A of rows."""
        triangle = np.abs(np.diagonal(self._qr[1]))
        return float(2 * np.sum(np.log(triangle * self.lengths)))

    @cached_property
    def pseudo_inverse(self) -> np.ndarray:
        """`(n, k)` matrix Aᵀ(AAᵀ)⁻¹: the shortest solution of A x = e is its product with e."""
        basis, triangle = self._qr
        right = scipy.linalg.solve_triangular(triangle, np.eye(self.k), trans=0).T
        return basis @ right / self.lengths

    @cached_property
    def pins(self) -> tuple[int, ...]:
        """The k variables on which the rows are best independent, by pivoted QR.

        Holding these variables fixes every combination of the rows.
        """
        return pivots(self.basis)

    def interpolant(self, pins: tuple[int, ...]) -> np.ndarray:
        """`(n, k)` basis of the span that is the identity at k pins."""
        at = list(pins)
        columns = self.basis @ np.linalg.inv(self.basis[at])
        columns[at] = np.eye(self.k)
        return columns

    def span_equals(self, other: "Rows") -> bool:
        """Whether two sets of rows span one space."""
        if self.matrix.shape != other.matrix.shape:
            return False
        if self == other or self.k == 0:
            return True
        cosines = np.linalg.svd(self.basis.T @ other.basis, compute_uv=False)
        return bool(np.min(cosines) > 1 - RANK_TOLERANCE)


def pivots(basis: np.ndarray) -> tuple[int, ...]:
    """Rows of an `(n, k)` basis that are best independent of each other, sorted."""
    k = basis.shape[1]
    if k == 0:
        return ()
    order = cast("Any", scipy.linalg.qr(basis.T, mode="r", pivoting=True))[1]
    return tuple(sorted(int(i) for i in order[:k]))


def _concrete(matrix: Any, where: str) -> np.ndarray:
    if isinstance(matrix, SparseMatrix):
        traced = isinstance(matrix.values, Tracer)
        matrix = matrix.values if traced else matrix.to_scipy()
    if isinstance(matrix, Tracer):
        raise UnsupportedError(
            f"{where}: the coefficients must be known while tracing, got traced values. "
            "Build them outside of jit; the right-hand side e may be traced."
        )
    if scipy.sparse.issparse(matrix):
        matrix = matrix.toarray()
    matrix = np.asarray(read_array(matrix, where))
    if matrix.dtype.kind not in "fiu":
        raise DtypeError(
            f"{where}: the coefficients must be real numbers, got {matrix.dtype}. "
            "Convert them explicitly with .astype(float)."
        )
    array = np.array(np.atleast_2d(matrix), np.float64, order="C")
    if array.ndim != 2:
        raise ShapeError(f"{where}: need a matrix with a row per condition, got {array.shape}.")
    return array


def _check_rank(rows: Rows, where: str) -> None:
    if rows.k == 0:
        return
    if not np.all(np.isfinite(rows.matrix)):
        raise StructureError(f"{where}: the coefficients must be finite numbers. Check for NaN.")
    zero = np.flatnonzero(rows.lengths == 0)
    if zero.size:
        raise StructureError(
            f"{where}: row {zero[0]} is zero, which is no condition. Leave it out."
        )
    singular = rows.singular_values
    if singular[-1] < RANK_TOLERANCE * singular[0]:
        rank = int(np.sum(singular >= RANK_TOLERANCE * singular[0]))
        raise StructureError(
            f"{where}: need linearly independent rows, got rank {rank} of {rows.k}. "
            "Leave out the rows that follow from the others."
        )
