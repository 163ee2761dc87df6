"""Intel MKL PARDISO for symmetric positive definite matrices, phase by phase."""

import ctypes as c
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from problems import Problem

from compare.native import address
from compare.server import serve
from compare.session import Session

POSITIVE_DEFINITE = 2
ANALYSE, FACTOR, SOLVE, RELEASE = 11, 22, 33, -1
METHODS = {"amd": 0, "metis": 2}


def load() -> c.CDLL:
    """The single dynamic library of the mkl wheel."""
    found = sorted((Path(sys.prefix) / "lib").glob("libmkl_rt.so*"))
    if not found:
        raise ModuleNotFoundError("mkl is not installed: no libmkl_rt.so")
    return c.CDLL(str(found[-1]), mode=c.RTLD_GLOBAL)


MKL = load()


def _int(value: int) -> Any:
    return c.byref(c.c_int32(value))


class Pardiso(Session):
    """One matrix in PARDISO, upper triangle by rows."""

    operations = ("factor", "log_det", "solve1", "solve32")

    def __init__(self, problem: Problem, ordering: str) -> None:
        super().__init__(problem, ordering)
        # The lower triangle by columns is the upper triangle by rows. Indices count from 1.
        indptr, indices, self.kept = problem.triangle(upper=False)
        self.indptr, self.indices = indptr + 1, indices + 1
        self.values = np.zeros(self.kept.size)
        self.x = np.zeros_like(self.b)
        self.handle = np.zeros(64, np.int64)
        self.perm = np.zeros(problem.n, np.int32)
        self.columns = 1

    def _settings(self) -> np.ndarray:
        """iparm: own values, the ordering, counts of entries and flops, diagonal readable."""
        settings = np.zeros(64, np.int32)
        settings[[0, 1, 17, 18, 55]] = (1, METHODS[self.ordering], -1, -1, 1)
        return settings

    def _call(self, phase: int) -> None:
        error = c.c_int32(0)
        MKL.pardiso(
            address(self.handle), _int(1), _int(1), _int(POSITIVE_DEFINITE), _int(phase),
            _int(self.problem.n), address(self.values), address(self.indptr),
            address(self.indices), address(self.perm), _int(self.columns),
            address(self.settings), _int(0), address(self.b), address(self.x), c.byref(error),
        )  # fmt: skip
        if error.value:
            raise RuntimeError(f"pardiso phase {phase}: error {error.value}")

    def forget(self) -> None:
        """Release everything of an earlier analysis."""
        if hasattr(self, "settings"):
            self._call(RELEASE)
            self.handle[:] = 0
        self.settings = self._settings()

    def analyze(self) -> None:
        """Phase 11."""
        self._call(ANALYSE)

    def facts(self) -> dict[str, Any]:
        """PARDISO's own counts; its entries include the padding of supernodes."""
        return {"nnz_factor": int(self.settings[17]), "flops": float(self.settings[18]) * 1e6}

    def prepare(self, values: np.ndarray) -> None:
        """Copy one triangle's values."""
        np.take(values, self.kept, out=self.values)

    def factor(self) -> None:
        """Phase 22."""
        self._call(FACTOR)

    def solve1(self) -> None:
        """Phase 33, one right-hand side."""
        self.columns = 1
        self._call(SOLVE)

    def solve32(self) -> None:
        """Phase 33, 32 right-hand sides."""
        self.columns = 32
        self._call(SOLVE)

    def solution(self) -> np.ndarray:
        """Solutions of the last solve."""
        return self.x[:, : self.columns]

    def log_det(self) -> None:
        """Sum of the logarithms of the factor's diagonal, which PARDISO keeps squared."""
        first, second, error = np.empty(self.problem.n), np.empty(self.problem.n), c.c_int32(0)
        MKL.pardiso_getdiag(
            address(self.handle), address(first), address(second), _int(1), c.byref(error)
        )
        self.found = float(np.log(first).sum())

    def value(self) -> float:
        """Log-determinant read last."""
        return self.found

    def close(self) -> None:
        """Release PARDISO's memory."""
        self._call(RELEASE)


def versions() -> dict[str, str]:
    """MKL's version."""
    text = c.create_string_buffer(200)
    MKL.mkl_get_version_string(text, 200)
    return {"mkl": version("mkl"), "mkl_text": text.value.decode().strip()}


if __name__ == "__main__":
    serve(Pardiso, versions)
