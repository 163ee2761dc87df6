"""SymPy's derivative rules beside automatic differentiation: time, compilation, accuracy.

python benchmarks/bench_symbolic.py
"""

import itertools
import time
from collections.abc import Callable

import jax

jax.config.update("jax_enable_x64", True)  # before cholax makes an array

import jax.numpy as jnp  # noqa: E402
import sympy  # noqa: E402

from cholax.symbolic import primitive  # noqa: E402

x = sympy.Symbol("x")
SIZE = 100_000


def seconds(call: Callable, *args: object) -> tuple[float, float]:
    """First call (with compilation) and the best of ten further ones."""
    times = []
    for _ in range(11):
        start = time.perf_counter()
        jax.block_until_ready(call(*args))
        times.append(time.perf_counter() - start)
    return times[0], min(times[1:])


def nth(f: Callable, order: int) -> Callable:
    """The derivative of some order, elementwise over an array."""
    for _ in range(order):
        f = jax.grad(f)
    return jax.jit(jax.vmap(f))


def table_of_orders() -> None:
    """One expression, derivatives of rising order."""
    expression = sympy.exp(-(x**2)) * sympy.sin(3 * x) / (1 + x**2)
    twin = lambda v: jnp.exp(-(v**2)) * jnp.sin(3 * v) / (1 + v**2)  # noqa: E731
    points = jnp.linspace(-2, 2, SIZE)
    print(f"e^(-x²) sin(3x)/(1+x²), {SIZE} points")
    print("order   first call s: SymPy  JAX    each ms: SymPy   JAX    largest difference")
    for order in (1, 2, 3, 4):
        ours, theirs = nth(primitive(expression, [x]), order), nth(twin, order)
        first, each = seconds(ours, points)
        first_ad, each_ad = seconds(theirs, points)
        off = float(jnp.max(jnp.abs(ours(points) - theirs(points))))
        print(
            f"{order:5}{first:21.2f}{first_ad:7.2f}{1e3 * each:18.2f}{1e3 * each_ad:8.2f}"
            f"{off:15.1e}"
        )


def table_of_arguments() -> None:
    """A gradient with respect to many arguments: reverse mode is the better choice."""
    print("\ngradient of Π cos(xᵢ xᵢ₊₁) in n arguments, each 1000 points")
    print("    n   first call s: SymPy  JAX    each ms: SymPy   JAX")
    for n in (2, 8, 24):
        symbols = sympy.symbols(f"x:{n}")
        expression = sympy.prod([sympy.cos(a * b) for a, b in itertools.pairwise(symbols)])

        def twin(*args: jax.Array) -> jax.Array:
            product = jnp.ones(())
            for a, b in itertools.pairwise(args):
                product = product * jnp.cos(a * b)
            return product

        points = [jnp.linspace(0.1, 1, 1000) + k / n for k in range(n)]
        gradients = [
            jax.jit(jax.vmap(jax.grad(f, tuple(range(n)))))
            for f in (primitive(expression, symbols), twin)
        ]
        (first, each), (first_ad, each_ad) = (seconds(g, *points) for g in gradients)
        print(f"{n:5}{first:21.2f}{first_ad:7.2f}{1e3 * each:18.3f}{1e3 * each_ad:8.3f}")


def table_of_accuracy() -> None:
    """Where the formula can be simplified before it is evaluated."""
    print("\nrelative error of the derivative of (1 − cos x)/x² at small x")
    simplified = sympy.diff(sympy.Rational(1, 2) * (sympy.sin(x / 2) / (x / 2)) ** 2, x)
    rule = primitive(sympy.series(simplified, x, 0, 8).removeO(), [x])
    direct = jax.grad(lambda v: (1 - jnp.cos(v)) / v**2)
    for point in (1e-1, 1e-3, 1e-5):
        exact = float(simplified.subs(x, sympy.Float(point, 50)).evalf(30))
        print(
            f"  x = {point:5.0e}: SymPy's series {abs(float(rule(point)) / exact - 1):.0e}, "
            f"AD of the formula {abs(float(direct(point)) / exact - 1):.0e}"
        )


if __name__ == "__main__":
    table_of_orders()
    table_of_arguments()
    table_of_accuracy()
