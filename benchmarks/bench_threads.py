"""Our own operations at 1 and 2 threads by turns, in one process: what a second thread gives, and
what each costs in factorisations.

python benchmarks/bench_threads.py
python benchmarks/bench_threads.py --problems matern_300 lap3d_40 --passes 9

In the comparison of engines thread counts and operations are minutes apart, and the clock moves
between them. Here every call with one thread is followed by one with two, and every pass goes
through all operations. Before and after, dgemm at one and two threads says what the machine gives.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import problems
from ceilings import ceilings

import cholax as cx
from cholax import primitives

jax.config.update("jax_enable_x64", True)

PROBLEMS = ("matern_300", "matern_700", "lap2d_1000", "lap3d_40", "lap3d_50", "st_50x40")
THREADS = (1, 2)


def operations(name: str) -> tuple[float, dict[str, Callable[[], Any]]]:
    """Flops of the factorisation, and what is timed."""
    A = cx.from_scipy(problems.load(name).matrix, symmetric=True)
    plan = cx.analyze(A.pattern)
    factor = jax.jit(lambda v: primitives.cholesky(plan, v, throw=False))
    selected = jax.jit(lambda L: primitives.selected_inverse(plan, L))
    log_det = jax.jit(
        jax.value_and_grad(
            lambda v: cx.cholesky(cx.SparseMatrix(v, A.pattern), ordering=plan).log_det()
        )
    )
    L = factor(A.values)[0]
    return plan.flops, {
        "factor": lambda: factor(A.values),
        "selected inverse": lambda: selected(L),
        "value and gradient": lambda: log_det(A.values),
    }


def by_turns(calls: dict[str, Callable[[], Any]], passes: int) -> dict[str, list[list[float]]]:
    """Seconds of each operation with one and with two threads, pass by pass."""
    seconds: dict[str, list[list[float]]] = {operation: [] for operation in calls}
    for _ in range(passes + 1):
        for operation, call in calls.items():
            pair = []
            for count in THREADS:
                cx.set_num_threads(count)
                start = time.perf_counter()
                jax.block_until_ready(call())
                pair.append(time.perf_counter() - start)
            seconds[operation].append(pair)
    # The first pass compiles and touches the memory.
    return {operation: pairs[1:] for operation, pairs in seconds.items()}


def show_machine() -> None:
    """The rate of dgemm at both thread counts."""
    rates = [ceilings([count])[str(count)]["dgemm_2000"] for count in THREADS]
    print(f"dgemm 2000: {rates[0]:.1f} and {rates[1]:.1f} GFLOP/s, {rates[1] / rates[0]:.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", default=PROBLEMS)
    parser.add_argument("--passes", type=int, default=5)
    options = parser.parse_args()
    show_machine()
    print("| problem | Gflop | operation | 1T s | 1T ÷ 2T | ÷ factor, 1T | ÷ factor, 2T |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    for name in options.problems:
        flops, calls = operations(name)
        seconds = by_turns(calls, options.passes)
        for operation, pairs in seconds.items():
            one = statistics.median(a for a, _ in pairs)
            gain = statistics.median(a / b for a, b in pairs)
            relative = [
                statistics.median(
                    own[k] / factor[k] for own, factor in zip(pairs, seconds["factor"], strict=True)
                )
                for k in range(len(THREADS))
            ]
            figures = " | ".join(f"{x:.2f}" for x in (gain, *relative))
            row = f"| {name} | {flops / 1e9:.2f} | {operation} | {one:.3f} | {figures} |"
            print(row, flush=True)
    show_machine()


if __name__ == "__main__":
    main()
