"""Relative errors of finite differences, by method and library, and how honest the estimates are.

python benchmarks/bench_finite_differences.py          # numdifftools is shown where it is installed
"""

import math
import warnings
from collections.abc import Callable

import jax

jax.config.update("jax_enable_x64", True)  # before cholax makes an array

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import scipy.differentiate  # noqa: E402

from cholax.numdiff import derivative  # noqa: E402

try:
    import numdifftools
except ImportError:
    numdifftools = None

# As NumPy functions too: the other libraries get those.
CASES = [
    ("exp at 1", lambda np_: np_.exp, 1.0, math.e),
    ("sin 1000x at .3", lambda np_: lambda x: np_.sin(1000 * x), 0.3, -22.096619278683942),
    ("x³ at 1e6", lambda np_: lambda x: x**3, 1e6, 3e12),
    ("log at 1e-6", lambda np_: np_.log, 1e-6, 1e6),
    ("sqrt at 1e-8", lambda np_: np_.sqrt, 1e-8, 5e3),
    (
        "small + 1e8",
        lambda np_: lambda x: np_.exp(-x) * np_.cos(5 * x) + 1e8,
        2.0,
        0.4816822386878871,
    ),
    ("x^3.5/(1+x)", lambda np_: lambda x: x**3.5 / (1 + x), 0.7, 0.7447432243110412),
]
EPS = float(np.finfo(float).eps)


def five_point(f: Callable, x: float, h: float) -> float:
    """The fixed rule with a step of its own."""
    return (f(x - 2 * h) - 8 * f(x - h) + 8 * f(x + h) - f(x + 2 * h)) / (12 * h)


def ours(method: str) -> Callable:
    """One of our methods on the JAX function."""
    return lambda make, x: float(derivative(make(jnp), method)(x))


def scipys(make: Callable, x: float) -> float:
    """`scipy.differentiate.derivative` with its defaults."""
    return float(scipy.differentiate.derivative(make(np), x).df)


METHODS = {
    "adaptive": ours("adaptive"),
    "richardson": ours("richardson"),
    "complex": ours("complex"),
    "forward √ε": ours("forward"),
    "central ∛ε": ours("central"),
    "5-pt ε^¼": lambda make, x: five_point(make(np), x, EPS**0.25),
    "5-pt ε^⅕": lambda make, x: five_point(make(np), x, EPS**0.2),
    "SciPy": scipys,
}
if numdifftools is not None:
    METHODS["numdifftools"] = lambda make, x: float(numdifftools.Derivative(make(np))(x))


def table_of_errors() -> None:
    """Every case by every method."""
    print(f"{'relative error':16}" + "".join(f"{name:>13}" for name in METHODS))
    for name, make, x, truth in CASES:
        cells = []
        for method in METHODS.values():
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numdifftools, where f is NaN
                cells.append(f"{abs(method(make, x) - truth) / abs(truth):13.0e}")
        print(f"{name:16}" + "".join(cells))


def table_of_estimates() -> None:
    """Our error estimate beside the true error."""
    print("\nadaptive, relative      estimate        true")
    for name, make, x, truth in CASES:
        value, error = derivative(make(jnp), with_error=True)(x)
        off = abs(float(value) - truth)
        print(f"{name:20}{float(error) / abs(truth):12.0e}{off / abs(truth):12.0e}")


def coverage(count: int = 4000, seed: int = 0) -> None:
    """True error over estimate, for random sums of functions at random places."""
    random = np.random.default_rng(seed)
    c = jnp.asarray(random.standard_normal((count, 4)))
    w = jnp.asarray(10 ** random.uniform(-2, 4, count))
    offset = jnp.asarray(10 ** random.uniform(-6, 6, count) * random.choice([0, 1], count))
    x = jnp.asarray(10 ** random.uniform(-6, 3, count) * random.choice([-1, 1], count))

    def f(x, c, w, offset):
        y = w * x
        return c[0] * jnp.sin(y) + c[1] * jnp.arctan(y) + c[2] / (1 + y**2) + c[3] * x + offset

    given = (x, c, w, offset)
    value, error = jax.jit(jax.vmap(derivative(f, with_error=True)))(*given)
    truth = jax.vmap(jax.grad(f))(x, c, w, offset)
    own = 1e-14 * (jnp.abs(c[:, 0] * w) + jnp.abs(c[:, 1] * w) + jnp.abs(c[:, 3]))
    print(f"\n{count} random functions, the whole ladder of each, as in a program")
    shares(value - truth, error, own)
    # One by one and eagerly a part of the ladder settles what is smooth.
    each = derivative(f, with_error=True)
    value, error = zip(*(each(*one) for one in zip(*given, strict=True)), strict=True)
    print(f"{count} random functions, eagerly")
    shares(jnp.stack(value) - truth, jnp.stack(error), own)


def shares(difference: jax.Array, error: jax.Array, own: jax.Array) -> None:
    """Quantiles of the true error over its estimate."""
    known = np.isfinite(np.asarray(error))
    off = np.maximum(np.asarray(jnp.abs(difference) - own), 0)[known]  # AD is rounded as well
    ratio = off / np.maximum(np.asarray(error)[known], 1e-300)
    print(f"  no estimate for {np.mean(~known):.2%}")
    for share in (0.5, 0.9, 0.99, 1.0):
        print(f"  {share:4.0%} have true error / estimate below {np.quantile(ratio, share):.2g}")


if __name__ == "__main__":
    table_of_errors()
    table_of_estimates()
    coverage()
