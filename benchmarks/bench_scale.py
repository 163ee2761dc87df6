"""Analysis, factor, log-determinant and its full gradient at scale, with peak memory.

python benchmarks/bench_scale.py                  # n = 10⁶: the 2-D grid of 1000 x 1000 nodes
python benchmarks/bench_scale.py grid2d 300 matern2d 300 grid3d 40
"""

import resource
import sys
import time
from collections.abc import Callable

import jax

jax.config.update("jax_enable_x64", True)  # before cholax makes an array

import problems  # noqa: E402

import cholax as cx  # noqa: E402


def timed(label: str, call: Callable, repeat: int = 1) -> object:
    """Run `call`, print the median time, return its result."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    print(f"  {label:<34}{sorted(times)[len(times) // 2]:9.3f} s")
    return result


def run(name: str, size: int) -> None:
    """Time every stage on one problem."""
    Q = getattr(problems, name)(size)
    print(f"{name}({size}): n = {Q.shape[0]}, nnz = {Q.nnz}")
    start = time.perf_counter()
    A = timed("from_scipy", lambda: cx.from_scipy(Q, symmetric=True))
    plan = timed("analysis (ordering included)", lambda: cx.analyze(A.pattern))
    print(f"  nnz(L) = {plan.nnz_factor}, stored {plan.size}, {plan.flops:.3g} flops")

    def factor(values: jax.Array) -> cx.Factor:
        return cx.cholesky(cx.SparseMatrix(values, A.pattern), ordering=plan)

    numeric = jax.jit(factor)
    gradient = jax.jit(jax.value_and_grad(lambda v: factor(v).log_det()))
    timed("compile + first factorisation", lambda: numeric(A.values))
    timed("compile + first log-det gradient", lambda: gradient(A.values))
    print(f"  everything so far{'':<17}{time.perf_counter() - start:9.3f} s")
    timed("factorisation (median of 5)", lambda: numeric(A.values), 5)
    value, _ = timed("log-det and gradient (median of 5)", lambda: gradient(A.values), 5)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  log-det = {value:.12g}, peak memory {peak:.2f} GiB")


def main() -> None:
    """Read problem names and sizes from the command line."""
    arguments = sys.argv[1:] or ["grid2d", "1000"]
    for name, size in zip(arguments[::2], arguments[1::2], strict=True):
        run(name, int(size))


if __name__ == "__main__":
    main()
