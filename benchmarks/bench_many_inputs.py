"""Gradients of many inputs by finite differences, beside SciPy and a plain vmapped stencil.

    python bench_many_inputs.py [n]

Ratios to the stencil are medians over rounds that take all ways by turns in one process; bars: the
fixed rules 2, the adaptive one 10. On two busy cores (2026-12-01, load 12, n = 2000):

    sum of        x²     x sin x   sin x   exp x   logistic   Rosenbrock   sin 1000x
    central       0.05   0.57      0.80    0.21    0.30       0.07         0.75
    five_point    0.06   1.04      1.38    0.40    0.56       0.10         1.56
    adaptive      0.37   5.37      6.30    1.79    1.94       0.87        16.78
"""

import statistics
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize._numdiff import approx_derivative

jax.config.update("jax_enable_x64", True)

import cholax as cx  # noqa: E402

H = 2.0**-17
ROUNDS = 9

FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "x²": lambda x: jnp.sum(x**2),
    "x sin x": lambda x: jnp.sum(x * jnp.sin(x)),
    "sin x": lambda x: jnp.sum(jnp.sin(x)),
    "exp x": lambda x: jnp.sum(jnp.exp(x)),
    "logistic": lambda x: jnp.sum(jax.nn.sigmoid(x)),
    "Rosenbrock": lambda x: jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2),
    # Nothing settles it early: the adaptive rule takes all of its ladder.
    "sin 1000x": lambda x: jnp.sum(jnp.sin(1000 * x)),
}


def main(n: int) -> None:
    """Print first times, later times and their ratios for every way and function."""
    x = jnp.linspace(0.1, 1.0, n)
    for name, f in FUNCTIONS.items():
        compiled = jax.jit(f)
        plain = jax.jit(
            lambda x, f=f: jax.vmap(lambda e: (f(x + H * e) - f(x - H * e)) / (2 * H))(jnp.eye(n))
        )
        ways = {
            "stencil": plain,
            "SciPy, 3-point": lambda x, c=compiled: approx_derivative(
                lambda y: np.asarray(c(y)), np.asarray(x), method="3-point"
            ),
            **{
                m: cx.finite_difference.gradient(compiled, m)
                for m in ("central", "five_point", "adaptive")
            },
        }
        first = {way: seconds(call, x) for way, call in ways.items()}
        rounds = [{way: seconds(call, x) for way, call in ways.items()} for _ in range(ROUNDS)]
        print(f"sum of {name}, n = {n}")
        for way in ways:
            again = statistics.median(r[way] for r in rounds)
            ratio = statistics.median(r[way] / r["stencil"] for r in rounds)
            print(f"  {way:15s} first {first[way]:7.3f} s, then {again:7.4f} s, ÷ {ratio:.2f}")
        value, error = cx.finite_difference.gradient(compiled, with_error=True)(x)
        off = np.abs(value - jax.grad(f)(x))
        print(f"  adaptive: error {off.max():.0e}, its bar there {error[off.argmax()]:.0e}")


def seconds(call: Callable[[jax.Array], object], x: jax.Array) -> float:
    """Time of one call."""
    start = time.perf_counter()
    jax.block_until_ready(call(x))
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
