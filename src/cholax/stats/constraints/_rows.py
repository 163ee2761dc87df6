"""`Rows`: the coefficients of linear constraints, or a basis of a null space; known on the host."""

import hashlib
import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast, final

import numpy as np
import scipy.linalg
import scipy.sparse
from jax.core import Tracer

from cholax._core.dtypes import read_array
from cholax._core.errors import DtypeError, ShapeError, StructureError, UnsupportedError
from cholax._core.pickling import Portable
from cholax.linalg.constants import FixedMatrix
from cholax.linalg.matrix import SparseMatrix
from cholax.stats.constraints._elimination import Elimination, local_groups

# Smallest singular value, relative to the largest of rows of length one, of independent rows.
RANK_TOLERANCE = 1e-10
# Bytes that a dense array of k rows may take; factorisations need several times as much.
LARGEST_BYTES = 2**30


@final
class Rows(Portable):
    """k linearly independent rows of length n; immutable, hashed by content, so static in JAX.

    Many rows on small disjoint groups of variables are kept sparse, to be eliminated: `local` has
    them, and `rest` what the other rows say of the coordinates that are left. All properties that
    are dense arrays of k rows are for few rows, and refuse to become larger than a gibibyte.

    Args:
        matrix: `(k, n)` array, SciPy matrix or `SparseMatrix` of concrete numbers; one row may be
            given as a vector.
        where: the function that error messages name.

    Raises:
        ShapeError: not a matrix, or more rows than columns.
        StructureError: rows that depend on each other or are not finite.
        UnsupportedError: traced numbers, or more than a gibibyte of rows that cannot be eliminated.

    Example:
        >>> from cholax.stats.constraints import Rows
        >>> Rows([1.0, 1.0, 0.0]).matrix.shape
        (1, 3)
    """

    _transient = ("_held",)
    # Whether the rows are known to be orthonormal.
    are_orthonormal = False

    def __init__(self, matrix: Any, where: str = "Rows") -> None:
        given = _concrete(matrix, where)
        k, n = self.shape = given.shape
        if k > n:
            raise ShapeError(
                f"{where}: need at most as many rows as variables, got shape {given.shape}. "
                "Rows are conditions, columns are variables: transpose the matrix."
            )
        if not np.all(np.isfinite(given.data if scipy.sparse.issparse(given) else given)):
            raise StructureError(
                f"{where}: the coefficients must be finite numbers. Check for NaN."
            )
        self._groups = local_groups(given)
        if self._groups:
            sparse = self._given = _canonical(given)
            grouped = [variables for variables, _ in self._groups]
            sizes = np.array([len(variables) for variables in grouped])
            parts = sparse.indptr, sparse.indices, sparse.data, sizes, *grouped
        else:
            self._given = _dense(given, where)
            self._given.flags.writeable = False
            parts = (self._given,)
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            digest.update(np.ascontiguousarray(part).data)
        self._digest = digest.digest()
        _check_rank(self, where)

    @classmethod
    def orthonormal_of(cls, array: np.ndarray) -> "Rows":
        """Dense rows known to be orthonormal."""
        self = object.__new__(cls)
        self._given = np.ascontiguousarray(array)
        self._given.flags.writeable = False
        self._groups, self.shape, self.are_orthonormal = [], array.shape, True
        self._digest = hashlib.blake2b(self._given.data, digest_size=16).digest()
        return self

    @property
    def k(self) -> int:
        """Number of rows."""
        return self.shape[0]

    @property
    def n(self) -> int:
        """Length of each row."""
        return self.shape[1]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Rows)
            and self.shape == other.shape
            and self._digest == other._digest
            and bool(self._groups) == bool(other._groups)
        )

    def __hash__(self) -> int:
        return hash((self.shape, self._digest))

    def __repr__(self) -> str:
        return f"Rows(k={self.k}, n={self.n})"

    @property
    def matrix(self) -> np.ndarray:
        """`(k, n)` coefficients, read-only."""
        return self._dense if self._groups else self._given

    @cached_property
    def _dense(self) -> np.ndarray:
        array = _dense(self._given, "Rows.matrix")
        array.flags.writeable = False
        return array

    @cached_property
    def sparse(self) -> Any:
        """`(k, n)` coefficients, SciPy CSR."""
        return self._given if self._groups else _canonical(self._given)

    @cached_property
    def operator(self) -> FixedMatrix:
        """The transpose of the coefficients as an operator in JAX."""
        return FixedMatrix(self.sparse.T)

    @cached_property
    def magnitudes(self) -> FixedMatrix:
        """The transpose of the absolute coefficients as an operator in JAX."""
        return FixedMatrix(abs(self.operator.matrix))

    @cached_property
    def _split(self) -> "_Split":
        key = self._digest, self.shape
        return _splits.get(key) or _splits.setdefault(key, _Split(self._given, self._groups))

    @property
    def local(self) -> Elimination | None:
        """The rows that are eliminated; None where there are not many of them."""
        return self._split.local if self._groups else None

    @property
    def rest(self) -> "Rows":
        """The other rows, on the coordinates that the elimination leaves; dense."""
        return self._split.rest if self._groups else self

    @property
    def rest_scale(self) -> np.ndarray:
        """What turns the right-hand side of the other rows into that of `rest`."""
        return self._split.scale if self._groups else np.eye(self.k)

    @property
    def rest_rows(self) -> np.ndarray:
        """Numbers of the other rows."""
        return self._split.rest_rows if self._groups else np.arange(self.k)

    @cached_property
    def lengths(self) -> np.ndarray:
        """`(k,)` Euclidean length of each row."""
        if self._groups:
            A = self.sparse
            return np.sqrt(np.asarray(A.multiply(A).sum(axis=1)).ravel())
        return np.linalg.norm(self.matrix, axis=1)

    @cached_property
    def _qr(self) -> tuple[np.ndarray, np.ndarray]:
        return np.linalg.qr((self.matrix / self.lengths[:, None]).T)

    @property
    def singular_values(self) -> np.ndarray:
        """`(k,)` singular values of the rows scaled to length one, largest first."""
        return np.linalg.svd(self._qr[1], compute_uv=False)

    @property
    def rank(self) -> int:
        """Number of rows that are independent, up to rounding."""
        if self._groups:
            return self.k - self._split.lost
        singular = self.singular_values
        return int(np.sum(singular >= RANK_TOLERANCE * singular[0]))

    @cached_property
    def basis(self) -> np.ndarray:
        """`(n, k)` orthonormal basis of the span of the rows."""
        return self.matrix.T if self.are_orthonormal else self._qr[0]

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
    def pivots(self) -> tuple[int, ...]:
        """The k variables on which the rows are best independent, by pivoted QR; sorted.

        A combination of the rows that vanishes on these variables vanishes.
        """
        if self.k == 0:
            return ()
        order = cast("Any", scipy.linalg.qr(self.basis.T, mode="r", pivoting=True))[1]
        return tuple(sorted(int(i) for i in order[: self.k]))

    @cached_property
    def orthonormal(self) -> Any:
        """`(n, k)` orthonormal basis of the span of the rows: dense, or SciPy CSC where sparse."""
        if not self._groups:
            return self.basis
        local, rest = self._split.local, self._split.rest
        few = local.basis.matrix() @ rest.basis
        return scipy.sparse.hstack([local.span(), scipy.sparse.csc_array(few)], format="csc")

    def span_equals(self, other: "Rows") -> bool:
        """Whether two sets of rows span one space."""
        if self.shape != other.shape:
            return False
        if self == other or self.k == 0:
            return True
        if self.local is not None or other.local is not None:
            # Lengths of the projections of one basis on the other span.
            inner = scipy.sparse.csc_array(self.orthonormal.T @ other.orthonormal)
            lengths = np.sqrt(np.asarray(inner.multiply(inner).sum(axis=0)).ravel())
            return bool(np.min(lengths) > 1 - RANK_TOLERANCE)
        cosines = np.linalg.svd(self.basis.T @ other.basis, compute_uv=False)
        return bool(np.min(cosines) > 1 - RANK_TOLERANCE)


def stacked(parts: Sequence[Rows], where: str) -> Rows:
    """The rows of all of them."""
    if len(parts) == 1:
        return parts[0]
    if any(part.local is not None for part in parts):
        return Rows(scipy.sparse.vstack([part.sparse for part in parts]), where)
    return Rows(np.concatenate([part.matrix for part in parts]), where)


def widened(rows: Rows, before: int, after: int) -> Any:
    """The coefficients with columns of zeros on either side, sparse where they are."""
    k = rows.k
    if rows.local is None:
        return np.concatenate([np.zeros((k, before)), rows.matrix, np.zeros((k, after))], axis=1)
    A = rows.sparse
    return scipy.sparse.csr_array(
        (A.data, A.indices + before, A.indptr), shape=(k, before + rows.n + after)
    )


class _Split:
    """Rows by whether they are eliminated."""

    def __init__(self, A: Any, groups: Any) -> None:
        self.local = local = Elimination(A, groups, RANK_TOLERANCE)
        self.rest_rows = np.setdiff1d(np.arange(A.shape[0]), local.rows)
        others = A[self.rest_rows]
        reduced = scipy.sparse.csr_array(others @ local.basis.matrix())
        array = _dense(reduced, "Constraints")
        lengths = np.sqrt(np.asarray(others.multiply(others).sum(axis=1)).ravel())
        span, triangle = np.linalg.qr((array / lengths[:, None]).T)
        self.lost = local.lost
        if len(array) and not self.lost:
            singular = np.linalg.svd(triangle, compute_uv=False)
            self.lost = int(np.sum(singular < RANK_TOLERANCE * max(1.0, singular[0])))
        # The rows are lengths ∘ Rᵀ spanᵀ: spanᵀu = scale e where they are e.
        self.scale = np.zeros((0, 0)) if self.lost else np.linalg.inv(triangle.T) / lengths
        self.rest = Rows.orthonormal_of(span.T if not self.lost else array[:0])


# Equal rows share what is made of them.
_splits: "weakref.WeakValueDictionary[Any, _Split]" = weakref.WeakValueDictionary()


def _concrete(matrix: Any, where: str) -> Any:
    """A float64 array, or a SciPy CSR matrix of one."""
    if isinstance(matrix, SparseMatrix):
        traced = isinstance(matrix.values, Tracer)
        matrix = matrix.values if traced else matrix.to_scipy()
    if isinstance(matrix, Tracer):
        raise UnsupportedError(
            f"{where}: the coefficients must be known while tracing, got traced values. "
            "Build them outside of jit; the right-hand side e may be traced."
        )
    sparse = scipy.sparse.issparse(matrix)
    matrix = scipy.sparse.csr_array(matrix) if sparse else np.asarray(read_array(matrix, where))
    if matrix.dtype.kind not in "fiu":
        raise DtypeError(
            f"{where}: the coefficients must be real numbers, got {matrix.dtype}. "
            "Convert them explicitly with .astype(float)."
        )
    if sparse:
        return matrix.astype(np.float64)
    array = np.array(np.atleast_2d(matrix), np.float64, order="C")
    if array.ndim != 2:
        raise ShapeError(f"{where}: need a matrix with a row per condition, got {array.shape}.")
    return array


def _canonical(matrix: Any) -> Any:
    """CSR without duplicates and zeros, its indices sorted and of one dtype."""
    found = scipy.sparse.csr_array(matrix, copy=True)
    found.sum_duplicates()
    found.eliminate_zeros()
    indptr, indices = (part.astype(np.int32) for part in (found.indptr, found.indices))
    return scipy.sparse.csr_array((found.data, indices, indptr), shape=found.shape)


def _dense(matrix: Any, where: str) -> np.ndarray:
    """The same as a dense array, unless that would take gigabytes."""
    if not scipy.sparse.issparse(matrix):
        return matrix
    k, n = matrix.shape
    if 8 * k * n > LARGEST_BYTES:
        raise UnsupportedError(
            f"{where}: {k} rows of {n} numbers that cannot be eliminated take "
            f"{8 * k * n / 2**30:.1f} GiB as a dense array; they may take "
            f"{LARGEST_BYTES / 2**30:.0f} GiB. Rows on small disjoint groups of variables are "
            "kept sparse; leave others out."
        )
    return np.ascontiguousarray(matrix.toarray())


def _check_rank(rows: Rows, where: str) -> None:
    if rows.k == 0:
        return
    zero = np.flatnonzero(rows.lengths == 0)
    if zero.size:
        raise StructureError(
            f"{where}: row {zero[0]} is zero, which is no condition. Leave it out."
        )
    rank = rows.rank
    if rank < rows.k:
        raise StructureError(
            f"{where}: need linearly independent rows, got rank {rank} of {rows.k}. "
            "Leave out the rows that follow from the others."
        )
