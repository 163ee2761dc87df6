"""rslab: supernodal L D Lᵀ in Rust, with tree parallelism and its own race of orderings."""

import os
from importlib.metadata import version
from typing import Any

import numpy as np
import rslab

from compare.server import serve
from compare.session import Session

THREADS = int(os.environ.get("BENCH_THREADS", "1"))


class Rslab(Session):
    """One matrix in rslab; its factor offers no log-determinant."""

    operations = ("factor", "solve1", "solve32")

    def analyze(self) -> None:
        """Ordering and symbolic analysis."""
        self.symbolic = rslab.analyze(self.problem.matrix, path="ldlt", threads=THREADS)

    def facts(self) -> dict[str, Any]:
        """rslab's own count of entries."""
        return {"nnz_factor": self.symbolic.factor_nnz}

    def prepare(self, values: np.ndarray) -> None:
        """Full values, or the lower triangle's, whichever the analysis expects."""
        if not hasattr(self, "kept"):
            self.kept = self.problem.triangle(upper=False)[2]
        self.values = values[self.kept]

    def before(self, operation: str) -> None:
        """The previous factor's memory is given back outside the timing."""
        if operation == "factor":
            self.held = None

    def factor(self) -> None:
        """Numeric factorisation on the given analysis."""
        self.held = self.symbolic.factor(self.values)

    def solve1(self) -> None:
        """One right-hand side."""
        self.x = self.held.solve(self.b[:, 0])

    def solve32(self) -> None:
        """32 right-hand sides."""
        self.x = self.held.solve_many(self.b)

    def solution(self) -> np.ndarray:
        """Solutions of the last solve."""
        return np.asarray(self.x).reshape(self.problem.n, -1)


def versions() -> dict[str, str]:
    """The package's version."""
    return {"rslab": version("rslab")}


if __name__ == "__main__":
    serve(Rslab, versions)
