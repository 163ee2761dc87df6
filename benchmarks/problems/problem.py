"""`Problem`: a symmetric positive definite matrix with a name, and what is known about it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class Reference:
    """Independent figures of a matrix, with how far rounding may move its log-determinant."""

    log_det: float
    sensitivity: float


@dataclass(frozen=True)
class Problem:
    """One matrix in full symmetric CSC (sorted, float64, int32), or a batch on its pattern.

    Attributes:
        name: how the command line calls it.
        matrix: both triangles.
        members: None, or `(batch, nnz)` values of the members of a batch on `matrix`'s pattern.
        reference: None, or figures from an independent source.
    """

    name: str
    matrix: sp.csc_array
    members: np.ndarray | None = None
    reference: Reference | None = None

    @property
    def n(self) -> int:
        """Order of the matrix."""
        return self.matrix.shape[0]

    def triangle(self, upper: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One triangle: indptr, indices, and where its values are among those of the matrix."""
        A = self.matrix
        columns = np.repeat(np.arange(self.n), np.diff(A.indptr))
        kept = np.flatnonzero(A.indices <= columns if upper else A.indices >= columns)
        counts = np.bincount(columns[kept], minlength=self.n)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        return indptr, A.indices[kept].astype(np.int32), kept

    def write_lower(self, path: Path) -> None:
        """The lower triangle for native/tests/time_kernels.cc: n, nnz, indptr, indices, values."""
        indptr, indices, kept = self.triangle(upper=False)
        with path.open("wb") as file:
            np.array([self.n, indices.size], np.int64).tofile(file)
            indptr.astype(np.int64).tofile(file)
            indices.tofile(file)
            self.matrix.data[kept].tofile(file)


def canonical(matrix: sp.sparray) -> sp.csc_array:
    """Exactly symmetric, without duplicates, sorted, float64 values and int32 indices."""
    A = sp.csc_array(matrix, dtype=np.float64)
    A = sp.csc_array((A + A.T) * 0.5)
    A.sum_duplicates()
    A.sort_indices()
    arrays = (A.data, A.indices.astype(np.int32), A.indptr.astype(np.int32))
    return sp.csc_array(arrays, shape=A.shape)
