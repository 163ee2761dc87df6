"""SciPy's SuperLU in symmetric mode: what `scipy.sparse.linalg.splu` users have."""

import numpy as np
import scipy
import scipy.sparse as sp
from problems import Problem
from scipy.sparse.linalg import splu

from compare.server import serve
from compare.session import Session, Skipped

# Its minimum degree has no care for dense rows, and above this many entries it takes minutes.
MOST_ENTRIES = 3_000_000
DENSE_ROW = 5_000


class SuperLU(Session):
    """One matrix in SuperLU; ordering, analysis and factorisation are one call."""

    operations = ("one_call", "log_det", "solve1", "solve32")

    def __init__(self, problem: Problem, ordering: str) -> None:
        super().__init__(problem, ordering)
        A = problem.matrix
        if A.nnz > MOST_ENTRIES or np.diff(A.indptr).max() > DENSE_ROW:
            raise Skipped("too large for minimum degree without care for dense rows")
        self.options = {"SymmetricMode": True}

    def analyze(self) -> None:
        """Nothing can be analyzed ahead."""

    def prepare(self, values: np.ndarray) -> None:
        """Make the matrix."""
        A = self.problem.matrix
        self.matrix = sp.csc_array((values, A.indices, A.indptr), shape=A.shape)

    def one_call(self) -> None:
        """`splu`, diagonal pivots, minimum degree of A + Aᵀ."""
        self.held = splu(
            self.matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=self.options
        )

    factor = one_call

    def log_det(self) -> None:
        """Log-determinant from the diagonal of U."""
        self.found = float(np.log(np.abs(self.held.U.diagonal())).sum())

    def value(self) -> float:
        """Log-determinant found last."""
        return self.found

    def solve1(self) -> None:
        """One right-hand side."""
        self.x = self.held.solve(self.b[:, 0])

    def solve32(self) -> None:
        """32 right-hand sides."""
        self.x = self.held.solve(self.b)

    def solution(self) -> np.ndarray:
        """Solutions of the last solve."""
        return self.x.reshape(self.problem.n, -1)


def versions() -> dict[str, str]:
    """SciPy's version."""
    return {"scipy": scipy.__version__}


if __name__ == "__main__":
    serve(SuperLU, versions)
