"""`cx.lu`: entries of L and U against the prediction, and times of a factorisation and a solve.

    python benchmarks/bench_lu.py [SIDE ...]

For each matrix: n, entries of L and U when pivots stay on the matched diagonal (what the plan
predicts), entries taken by threshold pivoting in multiples of that, backward error of one solve,
and best times of three in milliseconds. SIDE is the side of the convection-diffusion grids.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.sparse as sp

import cholax as cx
from cholax.linalg.lu import lu

jax.config.update("jax_enable_x64", True)


def grid(side: int, wind: float = 20.0) -> sp.csr_array:
    """Central differences of −Δu + wind·u_x on side² points."""
    h = 1 / (side + 1)
    bands = [-1 - wind * h / 2, 2.0, -1 + wind * h / 2]
    across = sp.diags_array(bands, offsets=[-1, 0, 1], shape=(side, side))
    along = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(side, side))
    return sp.csr_array(sp.kron(sp.eye_array(side), across) + sp.kron(along, sp.eye_array(side)))


def saddle(side: int) -> sp.csr_array:
    """[[K, Bᵀ], [B, 0]]."""
    K = grid(side)
    B = sp.diags_array([1.0, -1.0], offsets=[0, 1], shape=(K.shape[0] // 3, K.shape[0]))
    return sp.csr_array(sp.block_array([[K, B.T], [B, None]]))


def scattered(n: int) -> sp.csr_array:
    """About 3.5 entries a row, most of the diagonal missing."""
    rng = np.random.default_rng(n)
    heavy = (rng.standard_normal(n), (np.arange(n), rng.permutation(n)))
    return sp.csr_array(sp.random_array((n, n), density=2.5 / n, rng=rng) + sp.coo_array(heavy))


def best(f: Callable[[], Any]) -> float:
    """Milliseconds of the fastest of three runs, after one that compiles."""
    jax.block_until_ready(f())
    times = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(f())
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def report(name: str, Q: sp.csr_array) -> None:
    """One line."""
    A = cx.from_scipy(Q)
    factor = jax.jit(lambda v: lu(cx.SparseMatrix(v, A.pattern)))
    F, b = factor(A.values), np.cos(np.arange(A.n))
    x = np.asarray(F.solve(b))
    error = np.max(np.abs(Q @ x - b)) / np.max(abs(Q) @ np.abs(x) + np.abs(b))
    entries = int(np.count_nonzero(F._caches[0])) + A.n  # noqa: SLF001  # the diagonal is stored once
    times = best(lambda: factor(A.values).status), best(lambda: F.solve(b))
    print(
        f"{name:18} n={A.n:<7} status={int(F.status)} predicted={F.plan.predicted:<9} "
        f"taken={entries / F.plan.predicted:5.2f} error={error:.0e} "
        f"factor={times[0]:7.1f} solve={times[1]:6.2f}",
        flush=True,
    )


def main(sides: list[int]) -> None:
    """Print the table."""
    for side in sides:
        Q = grid(side)
        report(f"grid_{side}", Q)
        report(f"shuffled_{side}", Q[np.random.default_rng(side).permutation(side * side)])
        report(f"saddle_{side}", saddle(side))
        report(f"scattered_{side}", scattered(side * side // 4))


if __name__ == "__main__":
    main([int(x) for x in sys.argv[1:]] or [30, 60, 100])
