"""What this machine can do at best: dense BLAS-3 rates and memory bandwidth.

python benchmarks/ceilings.py               # at 1 and 2 threads
python benchmarks/ceilings.py --threads 4

Each thread count is measured in a process of its own (BLAS reads its settings once).
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from compare.environment import environment
from compare.native import address, library
from scipy.linalg import blas, lapack

SIZES = (64, 256, 2000)
STREAM_BYTES = 400_000_000
CACHED_BYTES = 8_000_000


def best(call: Callable[[], object], seconds: float = 0.6) -> float:
    """Shortest time of a call among those that fit in some seconds."""
    call()
    times: list[float] = []
    while not times or sum(times) < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def dgemm_rate(n: int) -> float:
    """GFLOP/s of C := A B of order n."""
    a, b, c = (np.asfortranarray(np.random.default_rng(k).random((n, n))) for k in range(3))
    repeat = max(1, int(1e8 / n**3))

    def run() -> None:
        for _ in range(repeat):
            blas.dgemm(1.0, a, b, c=c, overwrite_c=1)

    return 2e-9 * n**3 * repeat / best(run)


def dpotrf_rate(n: int) -> float:
    """GFLOP/s of a dense Cholesky factorisation of order n, the copy of its input left out."""
    half = np.random.default_rng(0).random((n, n))
    matrix = np.asfortranarray(half + half.T + 2 * n * np.eye(n))
    work = np.empty_like(matrix)
    repeat = max(1, int(2e8 / n**3))

    def copy() -> None:
        for _ in range(repeat):
            work[:] = matrix

    def run() -> None:
        for _ in range(repeat):
            work[:] = matrix
            lapack.dpotrf(work, lower=1, overwrite_a=1, clean=0)

    return n**3 / 3e9 * repeat / (best(run) - best(copy))


def read_rate(size: int, threads: int) -> float:
    """GB/s of reading an array of `size` bytes over and over."""
    native = library(Path(__file__).with_name("read_rate.c"), "-fopenmp")
    array = np.ones(size // 8)
    repeat = max(1, STREAM_BYTES // size)
    native.read_all(address(array), array.size, 1, threads)
    return (
        1e-9
        * size
        * repeat
        / best(lambda: native.read_all(address(array), array.size, repeat, threads))
    )


def measure(threads: int) -> dict[str, float]:
    """All ceilings at the thread count this process was started with."""
    found = {f"dgemm_{n}": dgemm_rate(n) for n in SIZES}
    found |= {f"dpotrf_{n}": dpotrf_rate(n) for n in SIZES}
    found["read_memory"] = read_rate(STREAM_BYTES, threads)
    found["read_cached"] = read_rate(CACHED_BYTES, threads)
    return {name: round(rate, 2) for name, rate in found.items()}


def ceilings(threads: list[int], python: str = sys.executable) -> dict[str, dict[str, float]]:
    """Measure each thread count in a fresh process: {"1": {"dgemm_2000": GFLOP/s, ...}}."""
    found = {}
    for count in threads:
        command = [python, str(Path(__file__).resolve()), "--here", str(count)]
        answer = subprocess.run(
            command, env=environment(count), check=True, capture_output=True, text=True
        )
        found[str(count)] = json.loads(answer.stdout)
    return found


def main() -> None:
    """Print the ceilings as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(json.dumps(measure(arguments.here)))
    else:
        print(json.dumps(ceilings(arguments.threads), indent=2))


if __name__ == "__main__":
    main()
