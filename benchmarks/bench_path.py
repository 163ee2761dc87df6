"""What surrounds the kernels: dispatch, compilation, eager calls, memory.

python benchmarks/bench_path.py                                  # tiny systems, compilation, eager
python benchmarks/bench_path.py --memory [grid2d 300 grid3d 40]  # peak and growth of memory
python benchmarks/bench_path.py --compile 10 100 1000            # chosen sides of the grid
"""

import argparse
import ctypes
import gc
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.ffi
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)  # before cholax makes an array

import problems  # noqa: E402

import cholax as cx  # noqa: E402

EMPTY = "bench_empty_call"
STEPS = 1000  # iterations of the compiled loop


def median_microseconds(run: Callable[[], Any], calls: int, rounds: int = 9) -> float:
    """Median over rounds of the time of one of `calls` calls, the last of them awaited."""
    result = jax.block_until_ready(run())
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            result = run()
        jax.block_until_ready(result)
        times.append((time.perf_counter() - start) / calls)
    return 1e6 * float(np.median(times))


class Grid:
    """The 5-point grid of side x side nodes, and functions of its values."""

    def __init__(self, side: int, ordering: str = "auto") -> None:
        self.A = cx.from_scipy(problems.grid2d(side), symmetric=True)
        self.values, self.n = self.A.values, self.A.n
        self.plan = cx.analyze(self.A.pattern, ordering)
        self.b = jnp.ones(self.n)

    def factor(self, values: jax.Array) -> cx.Factor:
        """The factorisation, traced."""
        return cx.cholesky(cx.SparseMatrix(values, self.A.pattern), ordering=self.plan)

    def log_det(self, values: jax.Array) -> jax.Array:
        """log|A|."""
        return self.factor(values).log_det()

    def value_and_grad(self, values: jax.Array) -> Any:
        """log|A| and its gradient."""
        return jax.value_and_grad(self.log_det)(values)

    def solve(self, values: jax.Array) -> jax.Array:
        """A⁻¹ 1."""
        return self.factor(values).solve(self.b)

    def product(self, values: jax.Array) -> Any:
        """Gradient and a Hessian-vector product of log|A|."""
        return jax.jvp(jax.grad(self.log_det), (values,), (values,))


# --- tiny systems --------------------------------------------------------------------------------


def register_empty_call() -> None:
    """Compile the handler that does nothing and register it."""
    source = Path(__file__).with_name("empty_call.cc")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libempty.so"
        flags = ["-O2", "-std=c++17", "-w", "-fPIC", "-shared", "-I", jax.ffi.include_dir()]
        subprocess.run(["g++", *flags, str(source), "-o", str(library)], check=True)
        handler = ctypes.CDLL(str(library)).EmptyCall
    jax.ffi.register_ffi_target(EMPTY, jax.ffi.pycapsule(handler), platform="cpu")


def empty_like(f: Callable[..., Any], values: jax.Array) -> Callable[..., Any]:
    """One empty custom call with the operands and results of `f`."""
    results = jax.eval_shape(f, values)
    leaves, tree = jax.tree.flatten(results)

    def run(values: jax.Array) -> Any:
        return jax.tree.unflatten(tree, jax.ffi.ffi_call(EMPTY, leaves)(values))

    return run


def in_loop(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` repeated in one program, each call waiting for the one before."""

    def step(_: Any, state: Any) -> Any:
        values, total = state
        read = sum(jnp.ravel(leaf)[0] for leaf in jax.tree.leaves(f(values)))
        return values.at[0].add(0 * read), total + read

    def run(values: jax.Array) -> Any:
        return jax.lax.fori_loop(0, STEPS, step, (values, jnp.zeros(())))

    return run


def bench_tiny(side: int = 10) -> None:
    """Dispatch and loop time of small programs against one empty call."""
    register_empty_call()
    grid = Grid(side)
    print(f"n = {grid.n}: microseconds a call, and relative to an empty call of the same shapes")
    print(f"  {'':<16}{'dispatch':>10}{'empty':>8}{'ratio':>7}{'in a loop':>12}{'empty':>8}")
    for f in (grid.log_det, grid.value_and_grad, grid.solve):
        dispatch, looped = tiny_times(f, grid.values)
        floor, loop_floor = tiny_times(empty_like(f, grid.values), grid.values)
        times = (
            f"{dispatch:10.1f}{floor:8.1f}{dispatch / floor:7.2f}{looped:12.2f}{loop_floor:8.2f}"
        )
        print(f"  {f.__name__:<16}{times}")


def tiny_times(f: Callable[..., Any], values: jax.Array) -> tuple[float, float]:
    """Microseconds of a dispatched call, and of one inside a compiled loop."""
    call, loop = jax.jit(f), jax.jit(in_loop(f))
    dispatch = median_microseconds(lambda: call(values), 2000)
    return dispatch, median_microseconds(lambda: loop(values), 1) / STEPS


# --- compilation ---------------------------------------------------------------------------------


def bench_compile(sides: list[int]) -> None:
    """Tracing, lowering and compiling the log-det gradient, analysis excluded."""
    jax.jit(lambda x: x + 1)(1.0)  # the backend exists before the clock runs
    print("log-det value and gradient: milliseconds, and bytes of the lowered program")
    for side in sides:
        grid = Grid(side, "amd")
        marks = [time.perf_counter()]
        traced = jax.jit(grid.value_and_grad).trace(grid.values)
        marks.append(time.perf_counter())
        lowered = traced.lower()
        marks.append(time.perf_counter())
        lowered.compile()
        marks.append(time.perf_counter())
        trace, lower, build = 1e3 * np.diff(marks)
        size = len(lowered.as_text())
        stages = f"trace {trace:.1f}, lower {lower:.1f}, compile {build:.1f}"
        print(f"  n = {grid.n:<9}{stages}; {size} bytes")


# --- eager calls ---------------------------------------------------------------------------------


def bench_eager(side: int = 10) -> None:
    """Calls outside jit, one at a time."""
    grid = Grid(side)
    A, b, F = grid.A, grid.b, cx.cholesky(grid.A)
    B = cx.from_scipy(problems.matern2d(side), symmetric=True)
    calls: dict[str, Callable[[], Any]] = {
        "v + v (one JAX operation)": lambda: grid.values + grid.values,
        "SparseMatrix(values, pattern)": lambda: cx.SparseMatrix(grid.values, A.pattern).values,
        "A + A": lambda: A + A,
        "A + B (union of patterns)": lambda: A + B,
        "2.0 * A": lambda: 2.0 * A,
        "A @ b": lambda: A @ b,
        "A.add_diagonal(1.0)": lambda: A.add_diagonal(1.0),
        "A[5, 5]": lambda: A[5, 5],
        "cholesky(A)": lambda: cx.cholesky(A),
        "F.solve(b)": lambda: F.solve(b),
        "F.log_det()": F.log_det,
        "F.inverse_diagonal()": F.inverse_diagonal,
        "cx.log_det(A)": lambda: cx.log_det(A),
        "cx.solve(A, b)": lambda: cx.solve(A, b),
        "cx.inverse_diagonal(A)": lambda: cx.inverse_diagonal(A),
        "jax.grad of cx.log_det": lambda: jax.grad(cx.log_det)(A),
    }
    print(f"eager calls at n = {grid.n}: microseconds")
    for name, call in calls.items():
        print(f"  {name:<32}{median_microseconds(call, 200):10.1f}")


# --- memory --------------------------------------------------------------------------------------


def resident() -> int:
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak_during(run: Callable[[], Any]) -> int:
    """The most bytes held while `run` runs, above those held before."""
    gc.collect()
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts here
    jax.block_until_ready(run())
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    return peak - before


def bench_peak(name: str, size: int) -> None:
    """Peak memory of compiled programs, relative to the factor's own bytes."""
    grid = Grid(3)
    jax.block_until_ready(jax.jit(grid.product)(grid.values))
    grid.A = cx.from_scipy(getattr(problems, name)(size), symmetric=True)
    grid.plan, grid.n, grid.values = cx.analyze(grid.A.pattern), grid.A.n, grid.A.values
    grid.b = jnp.ones(grid.n)
    factor = 8 * grid.plan.size
    print(
        f"{name}({size}): n = {grid.n}, factor {factor / 1e6:.1f} MB, plan "
        f"{grid.plan.nbytes / factor:.3f} of it; peak in factors:"
    )
    for f in (grid.log_det, grid.value_and_grad, grid.solve, grid.product):
        program = jax.jit(f).lower(grid.values).compile()
        peak = peak_during(lambda run=program: run(grid.values))
        planned = getattr(program.memory_analysis(), "temp_size_in_bytes", 0)
        print(
            f"  {f.__name__:<16}{peak / factor:6.2f}   (XLA's temporaries {planned / factor:.2f})"
        )


def bench_growth(side: int = 30, calls: int = 1000) -> None:
    """Growth of memory over repeated calls, after as many to settle."""
    grid = Grid(side)
    pattern, gradient = grid.A.pattern, jax.jit(grid.value_and_grad)
    F, of_matrix = cx.cholesky(grid.A), jax.jit(cx.log_det)

    def new_pattern() -> Any:
        again = cx.Pattern(pattern.shape, pattern.indptr, pattern.indices, symmetric=True)
        return of_matrix(cx.SparseMatrix(grid.values, again))

    cases: dict[str, Callable[[], Any]] = {
        "jit(value_and_grad)": lambda: gradient(grid.values),
        "eager solve": lambda: F.solve(grid.b),
        "eager cholesky": lambda: cx.cholesky(grid.A).log_det(),
        "jit, equal pattern objects": new_pattern,
        "eager gradient": lambda: jax.grad(cx.log_det)(grid.A).values,
    }
    print(f"growth over {calls} calls at n = {grid.n}: kB")
    for name, call in cases.items():
        held, result = [], call()
        for _ in range(3):
            for _ in range(calls):
                result = call()
            jax.block_until_ready(result)
            gc.collect()
            held.append(resident())
        print(f"  {name:<28}{(held[1] - held[0]) // 1024:8d}, then {(held[2] - held[1]) // 1024}")


def main() -> None:
    """Choose what to measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="small systems against an empty call")
    parser.add_argument("--compile", type=int, nargs="*", metavar="SIDE", help="compile times")
    parser.add_argument("--eager", action="store_true", help="calls outside jit")
    parser.add_argument("--memory", nargs="*", metavar="NAME SIZE", help="peak and growth")
    chosen = parser.parse_args()
    everything = chosen.memory is None and chosen.compile is None
    everything = everything and not (chosen.tiny or chosen.eager)
    if chosen.tiny or everything:
        bench_tiny()
    if chosen.compile is not None or everything:
        bench_compile(chosen.compile or [10, 100, 316, 1000])
    if chosen.eager or everything:
        bench_eager()
    if chosen.memory is not None:
        names = chosen.memory or ["grid2d", "300", "grid3d", "40"]
        for name, size in zip(names[::2], names[1::2], strict=True):
            bench_peak(name, int(size))
        bench_growth()


if __name__ == "__main__":
    main()
