"""What it costs that zero cotangents give zero adjoints: derivatives with and without that look.

    python bench_adjoint_zeros.py [side ...]

Laplacians of grids; times of running and compiling, by turns in one process, medians. The vectors b
and w are constants of the program, which a compiler may evaluate.
"""

import statistics
import sys
import time
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

jax.config.update("jax_enable_x64", True)

import cholax as cx  # noqa: E402
from cholax.primitives._define import Definition  # noqa: E402

REPEATS = {10: 400, 100: 60}


def main(sides: list[int]) -> None:
    """Print a line per grid and derivative."""
    for side in sides:
        A = laplacian(side)
        b = jnp.ones(side * side)
        w = jnp.asarray(np.random.default_rng(0).normal(size=A.values.shape))

        def quadratic(v, A=A, b=b):
            return -0.5 * (b @ cx.cholesky(cx.SparseMatrix(v, A.pattern)).solve(b))

        def log_det(v, A=A):
            return cx.log_det(cx.SparseMatrix(v, A.pattern))

        for name, f in (("quadratic form", quadratic), ("log-determinant", log_det)):
            compare(f"n = {side**2}, gradient of {name}", jax.grad(f), A.values, side)
            product = hessian_product(f, w)
            compare(f"n = {side**2}, Hessian-vector product of {name}", product, A.values, side)


def laplacian(side: int) -> cx.SparseMatrix:
    """Five points, with a small diagonal."""
    line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(side, side))
    one = scipy.sparse.eye_array(side)
    A = scipy.sparse.kron(line, one) + scipy.sparse.kron(one, line)
    return cx.from_scipy((A + 0.1 * scipy.sparse.eye_array(side**2)).tocsc(), symmetric=True)


def hessian_product(f, w):
    """v -> H(v) w."""
    return lambda v: jax.jvp(jax.grad(f), (v,), (w,))[1]


def compare(name: str, derivative, values, side: int) -> None:
    """One line: ratios of times to run and to compile."""
    programs, compiling = {}, {True: [], False: []}
    for _ in range(3):
        for look in (True, False):
            jax.clear_caches()
            with patch.object(Definition, "multiplies", Definition.multiplies if look else False):
                start = time.perf_counter()
                programs[look] = jax.jit(lambda v: derivative(v)).lower(values).compile()
                compiling[look].append(time.perf_counter() - start)
    running = {True: [], False: []}
    for _ in range(REPEATS.get(side, 10)):
        for look in (True, False):
            start = time.perf_counter()
            jax.block_until_ready(programs[look](values))
            running[look].append(time.perf_counter() - start)
    run, build = (
        [statistics.median(t[look]) for look in (True, False)] for t in (running, compiling)
    )
    print(f"{name}: run {ratio(run)}, compile {ratio(build)}", flush=True)


def ratio(seconds: list[float]) -> str:
    """Two times and their quotient."""
    one, other = seconds
    return f"{1e3 * one:.3f} ms ÷ {1e3 * other:.3f} ms = {one / other:.2f}"


if __name__ == "__main__":
    main([int(side) for side in sys.argv[1:]] or [10, 100, 300])
