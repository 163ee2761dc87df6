"""Gradients of many inputs by finite differences, beside SciPy and a plain vmapped stencil.

    python bench_many_inputs.py [n]

Ratios of medians, taken by turns in one process.
"""

import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize._numdiff import approx_derivative

jax.config.update("jax_enable_x64", True)

import cholax as cx  # noqa: E402

H = 2.0**-17


def main(n: int) -> None:
    """Print first and later times of every way for two functions."""
    x = jnp.linspace(0.1, 1.0, n)
    for name, f in (
        ("sum of squares", lambda x: jnp.sum(x**2)),
        ("sum of x sin x", lambda x: jnp.sum(x * jnp.sin(x))),
    ):
        compiled = jax.jit(f)
        plain = jax.jit(
            lambda x, f=f: jax.vmap(lambda e: (f(x + H * e) - f(x - H * e)) / (2 * H))(jnp.eye(n))
        )
        ways = {
            "vmap of the stencil": plain,
            "SciPy, 3-point": lambda x, c=compiled: approx_derivative(
                lambda y: np.asarray(c(y)), np.asarray(x), method="3-point"
            ),
            **{m: cx.finite_difference.gradient(f, m) for m in ("central", "adaptive")},
        }
        first = {way: seconds(call, x) for way, call in ways.items()}
        rounds = [{way: seconds(call, x) for way, call in ways.items()} for _ in range(5)]
        print(f"{name}, n = {n}")
        base = statistics.median(r["vmap of the stencil"] for r in rounds)
        for way in ways:
            again = statistics.median(r[way] for r in rounds)
            ratio = again / base
            print(f"  {way:20s} first {first[way]:7.3f} s, then {again:7.4f} s, ÷ {ratio:.1f}")


def seconds(call, x) -> float:
    """Time of one call."""
    start = time.perf_counter()
    jax.block_until_ready(call(x))
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
