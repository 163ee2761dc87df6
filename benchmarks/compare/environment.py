"""Environment variables that give an engine a number of threads and its best kernels."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
THREAD_VARIABLES = (
    "BENCH_THREADS",
    "CHOLAX_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NPROC",  # XLA's pools
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PJRT_NPROC",
    "RAYON_NUM_THREADS",
)


def avx512() -> bool:
    """Whether this processor has AVX-512."""
    info = Path("/proc/cpuinfo")
    return info.exists() and "avx512f" in info.read_text()


def environment(threads: int) -> dict[str, str]:
    """The whole environment of an engine's process.

    OpenBLAS and MKL take some AVX-512 processors for older ones: OpenBLAS is told.
    """
    variables = dict(os.environ, PYTHONPATH=str(ROOT), MKL_DYNAMIC="FALSE")
    variables |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    if avx512():
        variables.setdefault("OPENBLAS_CORETYPE", "SKYLAKEX")
    return variables
