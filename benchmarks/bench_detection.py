"""Sparsity detection beside asdex: CPU seconds and peak memory, each run in its own process.

The engines take turns, so that a change of the machine's load falls on all of them; the table
gives medians. CPU time is that of detection itself, imports and small warm-ups excluded; peak
memory is that of the whole process, with the process before detection in brackets.

Usage: benchmarks/bench_detection.py [--rounds 3] [--problems NAME ...] [--engines cholax asdex]
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Problem(NamedTuple):
    """A flat function and its number of inputs; a Hessian if `second`."""

    f: Callable[[Any], Any]
    n: int
    second: bool = False


def triangles(side: int) -> np.ndarray:
    """Two triangles in each cell of a side × side grid of nodes."""
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    lower = np.stack([corner, corner + 1, corner + side], axis=1)
    upper = np.stack([corner + 1, corner + side + 1, corner + side], axis=1)
    return np.concatenate([lower, upper])


def tridiagonal(n: int) -> Problem:
    import jax.numpy as jnp

    def f(x: Any) -> Any:
        return 2 * x**2 - jnp.pad(x[1:], (0, 1)) - jnp.pad(x[:-1], (1, 0))

    return Problem(f, n)


def stencil(side: int) -> Problem:
    import jax.numpy as jnp

    def f(x: Any) -> Any:
        u = jnp.pad(x.reshape(side, side), 1)
        inner = u[1:-1, 1:-1]
        out = 4 * inner - u[2:, 1:-1] - u[:-2, 1:-1] - u[1:-1, 2:] - u[1:-1, :-2]
        return (out - jnp.exp(inner)).ravel()

    return Problem(f, side**2)


def finite_elements(side: int, *, energy: bool) -> Problem:
    """Minimal-surface elements: the residual by gather and scatter-add, or the energy."""
    import jax
    import jax.numpy as jnp

    mesh, n = jnp.asarray(triangles(side)), side**2

    def element(u: Any) -> Any:
        return jnp.sqrt(1 + (u[1] - u[0]) ** 2 + (u[2] - u[0]) ** 2)

    def total(x: Any) -> Any:
        return jnp.sum(jax.vmap(element)(x[mesh]))

    def residual(x: Any) -> Any:
        forces = jax.vmap(jax.grad(element))(x[mesh])
        return jnp.zeros(n, x.dtype).at[mesh].add(forces)

    return Problem(total if energy else residual, n, energy)


def mixed_model(observations: int, groups: int) -> Problem:
    """Poisson regression with five fixed effects, a random effect per group and log σ."""
    import jax.numpy as jnp

    rng = np.random.default_rng(0)
    design = jnp.asarray(rng.standard_normal((observations, 5)))
    group = jnp.asarray(rng.integers(0, groups, observations))
    counts = jnp.asarray(rng.poisson(2.0, observations).astype(float))

    def f(x: Any) -> Any:
        beta, u, log_sigma = x[:5], x[5:-1], x[-1]
        eta = design @ beta + u[group]
        prior = -0.5 * jnp.sum((u * jnp.exp(-log_sigma)) ** 2) - groups * log_sigma
        return -(jnp.sum(counts * eta - jnp.exp(eta)) + prior)

    return Problem(f, groups + 6, True)


def assembly_loop(n: int) -> Problem:
    import jax
    import jax.numpy as jnp

    def f(x: Any) -> Any:
        def body(e: Any, r: Any) -> Any:
            return r.at[e].add(x[e + 1] - x[e])

        return jax.lax.fori_loop(0, n - 1, body, jnp.zeros(n))

    return Problem(f, n)


def autoregression(n: int) -> Problem:
    import jax
    import jax.numpy as jnp

    def f(x: Any) -> Any:
        def step(carry: Any, u: Any) -> Any:
            previous, total = carry
            return (u, total + (u - 0.9 * jnp.sin(previous)) ** 2), None

        return jax.lax.scan(step, (x[0], jnp.zeros(())), x[1:])[0][1]

    return Problem(f, n, True)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "tridiagonal_1e5": lambda: tridiagonal(10**5),
    "tridiagonal_1e6": lambda: tridiagonal(10**6),
    "stencil_1e5": lambda: stencil(316),
    "fem_residual_1e5": lambda: finite_elements(316, energy=False),
    "fem_energy_1e5": lambda: finite_elements(316, energy=True),
    "mixed_model_1e5": lambda: mixed_model(10**5, 5000),
    "assembly_loop_1e3": lambda: assembly_loop(1000),
    "autoregression_1e3": lambda: autoregression(1000),
}


def detect_cholax(problem: Problem) -> int:
    import jax

    from cholax.sparsediff.detect import hessian_pattern, jacobian_pattern

    x = jax.ShapeDtypeStruct((problem.n,), np.float64)
    if not problem.second:
        return jacobian_pattern(problem.f, x).nnz
    return 2 * hessian_pattern(problem.f, x).nnz - problem.n  # both triangles, as asdex counts


def detect_asdex(problem: Problem) -> int:
    import asdex

    x = np.zeros(problem.n)
    if problem.second:
        return asdex.hessian_sparsity(problem.f, x).nnz
    return asdex.jacobian_sparsity(problem.f, x).nnz


ENGINES = {"cholax": detect_cholax, "asdex": detect_asdex}


def measure(engine: str, name: str) -> dict[str, float]:
    """Run in this process; meant for a fresh one."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    ENGINES[engine](Problem(lambda x: jnp.sin(x[1:]) * x[:-1], 4))
    problem = PROBLEMS[name]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    nnz = ENGINES[engine](problem)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"nnz": nnz, "seconds": seconds, "peak": peak / 1e6, "before": before / 1e6}


def run_apart(engine: str, name: str, limit: float) -> dict[str, float] | None:
    """One measurement in its own process; None if it fails or takes too long."""
    command = [sys.executable, __file__, "--worker", engine, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one run")
    parser.add_argument("--problems", nargs="*", default=list(PROBLEMS))
    parser.add_argument("--engines", nargs="*", default=list(ENGINES))
    parser.add_argument("--worker", nargs=2)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(*options.worker)))
        return
    print(f"{'problem':20} {'engine':8} {'CPU s':>8} {'peak GB':>8} {'(before)':>9} {'nnz':>9}")
    for name in options.problems:
        results: dict[str, list[Any]] = {engine: [] for engine in options.engines}
        for _ in range(options.rounds):
            for engine in options.engines:
                results[engine].append(run_apart(engine, name, options.limit))
        for engine, runs in results.items():
            good = [r for r in runs if r]
            if not good:
                print(f"{name:20} {engine:8} {'failed':>8}")
                continue
            middle = {k: statistics.median(r[k] for r in good) for k in good[0]}
            print(
                f"{name:20} {engine:8} {middle['seconds']:8.2f} {middle['peak']:8.2f} "
                f"({middle['before']:7.2f}) {int(middle['nnz']):9d}",
                flush=True,
            )


if __name__ == "__main__":
    main()
