"""CHOMPACK: multifrontal Cholesky, projected inverse and Hessian map of log-det (GPL, CVXOPT)."""

from importlib.metadata import version
from typing import Any

import chompack as cp
import numpy as np
from cvxopt import amd, matrix, spmatrix
from problems import Problem

from compare.server import serve
from compare.session import Session, Skipped

# Its supernodes are visited by a C loop, but analysis and assembly hold several copies in Python.
MOST_ENTRIES = 1_500_000


class Chompack(Session):
    """One matrix in CHOMPACK, lower triangle, AMD ordering."""

    operations = ("factor", "log_det", "selected_inverse", "value_and_gradient", "hessian_vector")

    def __init__(self, problem: Problem, ordering: str) -> None:
        super().__init__(problem, ordering)
        if problem.matrix.nnz > MOST_ENTRIES:
            raise Skipped("too large for its analysis")
        indptr, rows, self.kept = problem.triangle(upper=False)
        columns = np.repeat(np.arange(problem.n), np.diff(indptr))
        self.rows, self.columns = matrix(rows.astype(int)), matrix(columns.astype(int))
        self.matrix = self._sparse(problem.matrix.data)

    def _sparse(self, values: np.ndarray) -> Any:
        n = self.problem.n
        return spmatrix(matrix(values[self.kept]), self.rows, self.columns, (n, n))

    def analyze(self) -> None:
        """Ordering, elimination tree and cliques, merged to narrow fill."""
        merge = cp.merge_size_fill(16, 4)
        self.symbolic = cp.symbolic(self.matrix, p=amd.order, merge_function=merge)

    def facts(self) -> dict[str, Any]:
        """Entries of L, the padding of merged cliques included."""
        return {"nnz_factor": self.symbolic.nnz}

    def prepare(self, values: np.ndarray) -> None:
        """Put new values into the block storage that the factorisation overwrites."""
        self.blocks = cp.cspmatrix(self.symbolic)
        self.blocks += self._sparse(values)

    def factor(self) -> None:
        """`cholesky`, in place."""
        cp.cholesky(self.blocks)

    def before(self, operation: str) -> None:
        """Operations that overwrite the factor get a copy."""
        if operation == "selected_inverse":
            if not self.blocks.is_factor:
                cp.cholesky(self.blocks)
            self.inverse = self.blocks.copy()
        if operation == "log_det" and not self.blocks.is_factor:
            cp.cholesky(self.blocks)
        if operation == "hessian_vector":
            self.direction = self.blocks.copy()

    def log_det(self) -> None:
        """Sum over the factor's diagonal."""
        self.found = 2.0 * float(np.log(np.array(self.blocks.diag())).sum())

    def value(self) -> float:
        """Log-determinant found last."""
        return self.found

    def selected_inverse(self) -> None:
        """`projected_inverse`, in place of a copy of the factor."""
        cp.projected_inverse(self.inverse)

    def inverse_diagonal(self) -> np.ndarray:
        """Diagonal of the inverse, in the order of A."""
        found = np.empty(self.problem.n)
        found[np.array(self.symbolic.p).ravel()] = np.array(self.inverse.diag()).ravel()
        return found

    def value_and_gradient(self) -> None:
        """Factor, log-determinant, projected inverse; the gradient stays in its block storage."""
        cp.cholesky(self.blocks)
        self.log_det()
        self.inverse = self.blocks.copy()
        cp.projected_inverse(self.inverse)

    def hessian_vector(self) -> None:
        """Factor, projected inverse and the Hessian map of log-det on one direction."""
        cp.cholesky(self.blocks)
        self.inverse = self.blocks.copy()
        cp.projected_inverse(self.inverse)
        cp.hessian(self.blocks, self.inverse, [self.direction], adj=None)


def versions() -> dict[str, str]:
    """CHOMPACK and CVXOPT."""
    return {name: version(name) for name in ("chompack", "cvxopt")}


if __name__ == "__main__":
    serve(Chompack, versions)
