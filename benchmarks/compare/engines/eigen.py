"""Eigen's SimplicialLLT (up-looking, one column at a time, one thread), AMD ordering."""

import ctypes as c
import sys
from pathlib import Path
from typing import Any

import numpy as np
from problems import Problem

from compare.native import address, library
from compare.server import serve
from compare.session import Session, Skipped

# Sum over the columns of |L_j|²; it runs near 1 GFLOP/s.
MOST_ENTRIES = 2_000_000


def headers() -> Path:
    """Eigen's headers: the cmeel-eigen wheel's, or the system's."""
    places = [Path(path) / "cmeel.prefix/include/eigen3" for path in sys.path]
    places.append(Path("/usr/include/eigen3"))
    found = next((place for place in places if (place / "Eigen").is_dir()), None)
    if found is None:
        raise ModuleNotFoundError("Eigen's headers are not installed: pip install cmeel-eigen")
    return found


LIBRARY = library(Path(__file__).with_name("eigen_llt.cpp"), f"-I{headers()}", "-DNDEBUG")
LIBRARY.eigen_new.restype = c.c_void_p
LIBRARY.eigen_entries.restype = c.c_long
LIBRARY.eigen_log_det.restype = c.c_double
LIBRARY.eigen_version.restype = c.c_char_p


class Eigen(Session):
    """One matrix in Eigen, lower triangle."""

    operations = ("factor", "log_det", "solve1", "solve32")

    def __init__(self, problem: Problem, ordering: str) -> None:
        super().__init__(problem, ordering)
        if problem.matrix.nnz > MOST_ENTRIES and problem.name != "arrow_50k":
            raise Skipped("too large for a simplicial factorisation")
        self.indptr, self.indices, self.kept = problem.triangle(upper=False)
        self.values = problem.matrix.data[self.kept]
        self.x = np.zeros_like(self.b)
        self.solver = c.c_void_p(LIBRARY.eigen_new())

    def _matrix(self) -> tuple[Any, ...]:
        sizes = (c.c_int(self.problem.n), c.c_int(self.kept.size))
        return (*sizes, address(self.indptr), address(self.indices), address(self.values))

    def analyze(self) -> None:
        """`analyzePattern`."""
        LIBRARY.eigen_analyze(self.solver, *self._matrix())

    def prepare(self, values: np.ndarray) -> None:
        """Copy one triangle's values."""
        np.take(values, self.kept, out=self.values)

    def facts(self) -> dict[str, Any]:
        """Entries of L."""
        return {"nnz_factor": LIBRARY.eigen_entries(self.solver)}

    def factor(self) -> None:
        """`factorize`."""
        if LIBRARY.eigen_factor(self.solver, *self._matrix()):
            raise RuntimeError("Eigen: not positive definite")

    def log_det(self) -> None:
        """Sum over L's diagonal."""
        self.found = LIBRARY.eigen_log_det(self.solver)

    def value(self) -> float:
        """Log-determinant found last."""
        return self.found

    def _solve(self, columns: int) -> None:
        self.columns = columns
        sizes = (c.c_int(self.problem.n), c.c_int(columns))
        LIBRARY.eigen_solve(self.solver, *sizes, address(self.b), address(self.x))

    def solve1(self) -> None:
        """One right-hand side."""
        self._solve(1)

    def solve32(self) -> None:
        """32 right-hand sides."""
        self._solve(32)

    def solution(self) -> np.ndarray:
        """Solutions of the last solve."""
        return self.x[:, : self.columns]

    def close(self) -> None:
        """Delete the solver."""
        LIBRARY.eigen_free(self.solver)


def versions() -> dict[str, str]:
    """Eigen's version."""
    return {"eigen": LIBRARY.eigen_version().decode()}


if __name__ == "__main__":
    serve(Eigen, versions)
