"""CHOLMOD, supernodal, phase by phase, and a BLAS-3 selected inverse over its factor."""

import ctypes as c
from pathlib import Path
from typing import Any

import numpy as np
from problems import Problem

from compare.engines import cholmod_library as cm
from compare.native import address, library
from compare.server import serve
from compare.session import Session, Skipped

LIBRARY, VERSION = cm.load()
TAKAHASHI = library(Path(__file__).with_name("takahashi.c"))
TAKAHASHI.takahashi_log_det.restype = c.c_double
METHODS = {"amd": cm.AMD, "metis": cm.METIS, "nesdis": cm.NESDIS, "amd_simplicial": cm.AMD}


class Cholmod(Session):
    """One matrix in CHOLMOD, upper triangle (the cheaper one to permute)."""

    operations = (
        "factor",
        "log_det",
        "solve1",
        "solve32",
        "selected_inverse",
        "value_and_gradient",
    )

    def __init__(self, problem: Problem, ordering: str) -> None:
        super().__init__(problem, ordering)
        self.indptr, self.indices, self.kept = problem.triangle(upper=True)
        self.values = np.zeros(self.kept.size)
        n, nnz = problem.n, self.kept.size
        arrays = (address(self.indptr), address(self.indices), None, address(self.values), None)
        self.matrix = cm.Sparse(n, n, nnz, *arrays, cm.UPPER, 0, cm.REAL, 0, 1, 1)
        self.common = cm.start(LIBRARY)
        self.common.print_level = 0
        self.common.nmethods = 1
        self.common.method0_ordering = METHODS[ordering]
        automatic = ordering.endswith("_simplicial")
        self.common.supernodal = cm.SIMPLICIAL_OR_SUPERNODAL if automatic else cm.SUPERNODAL
        self.common.final_ll = 1
        self.handle = c.c_void_p(None)
        self.work = [c.c_void_p(None) for _ in range(3)]  # X, Y, E of cholmod_solve2

    def forget(self) -> None:
        """Free the factor of an earlier analysis."""
        if self.handle:
            LIBRARY.cholmod_free_factor(c.byref(self.handle), c.byref(self.common))

    def analyze(self) -> None:
        """Order and analyze: `cholmod_analyze`."""
        found = LIBRARY.cholmod_analyze(c.byref(self.matrix), c.byref(self.common))
        if not found or self.common.status:
            raise RuntimeError(f"cholmod_analyze: status {self.common.status}")
        self.handle = c.c_void_p(found)
        self.counts = {"nnz_factor": self.common.nnz_factor, "flops": self.common.flops}

    @property
    def factor_object(self) -> cm.Factor:
        """The factor as a structure."""
        return cm.Factor.from_address(self.handle.value)

    def facts(self) -> dict[str, Any]:
        """Counts of the analysis; a second supernodal configuration is refused."""
        factor = self.factor_object
        if self.ordering.endswith("_simplicial"):
            if factor.is_super:
                raise Skipped("CHOLMOD prefers supernodal here")
            self.operations = ("factor", "solve1", "solve32")
        return {
            **self.counts,
            "supernodes": factor.num_supernodes,
            "size": factor.size,
        }

    def prepare(self, values: np.ndarray) -> None:
        """Copy the upper triangle's values."""
        np.take(values, self.kept, out=self.values)

    def factor(self) -> None:
        """Numeric factorisation into the memory of the last: `cholmod_factorize`."""
        LIBRARY.cholmod_factorize(c.byref(self.matrix), self.handle, c.byref(self.common))
        if self.common.status:
            raise RuntimeError(f"cholmod_factorize: status {self.common.status}")

    def _solve(self, columns: int) -> None:
        n = self.problem.n
        b = cm.Dense(n, columns, n * columns, n, address(self.b), None, cm.REAL, 0)
        x, y, e = (c.byref(handle) for handle in self.work)
        common = c.byref(self.common)
        done = LIBRARY.cholmod_solve2(
            cm.SYSTEM_A, self.handle, c.byref(b), None, x, None, y, e, common
        )
        if not done:
            raise RuntimeError(f"cholmod_solve2: status {self.common.status}")

    def solve1(self) -> None:
        """One right-hand side, memory reused: `cholmod_solve2`."""
        self._solve(1)

    def solve32(self) -> None:
        """32 right-hand sides, memory reused."""
        self._solve(32)

    def solution(self) -> np.ndarray:
        """X of the last solve."""
        x = cm.Dense.from_address(self.work[0].value)
        values = (c.c_double * (x.nrow * x.ncol)).from_address(x.x)
        return np.array(values).reshape((x.nrow, x.ncol), order="F")

    def _supernodes(self) -> tuple[Any, ...]:
        f = self.factor_object
        pointers = (f.super_, f.pi, f.px, f.s, f.x)
        return (c.c_int(f.num_supernodes), *map(c.c_void_p, pointers))

    def log_det(self) -> None:
        """Read the diagonals of the supernodes."""
        self.found = TAKAHASHI.takahashi_log_det(*self._supernodes())

    def value(self) -> float:
        """Log-determinant read last."""
        return self.found

    def before(self, operation: str) -> None:
        """Memory of the selected inverse, as large as the factor, is reused like the factor's."""
        if operation in ("selected_inverse", "value_and_gradient") and not hasattr(self, "inverse"):
            self.inverse = np.empty(self.factor_object.size)
            self.diagonal = np.empty(self.problem.n)

    def selected_inverse(self) -> None:
        """Supernodal Takahashi with BLAS-3, all of the filled pattern."""
        out = (address(self.inverse), address(self.diagonal))
        if TAKAHASHI.takahashi(c.c_int(self.problem.n), *self._supernodes(), *out):
            raise MemoryError("takahashi")

    def inverse_diagonal(self) -> np.ndarray:
        """Diagonal of the inverse, in the order of A."""
        perm = (c.c_int * self.problem.n).from_address(self.factor_object.perm)
        found = np.empty(self.problem.n)
        found[np.array(perm)] = self.diagonal
        return found

    def value_and_gradient(self) -> None:
        """Factor, log-determinant, selected inverse; the gradient stays in the factor's layout."""
        self.factor()
        self.log_det()
        self.selected_inverse()

    def close(self) -> None:
        """Free CHOLMOD's memory."""
        for handle in self.work[:3]:
            LIBRARY.cholmod_free_dense(c.byref(handle), c.byref(self.common))
        self.forget()
        LIBRARY.cholmod_finish(c.byref(self.common))


def versions() -> dict[str, str]:
    """CHOLMOD's version and its BLAS."""
    return {"cholmod": VERSION, "openblas": cm.blas_config()}


if __name__ == "__main__":
    serve(Cholmod, versions)
