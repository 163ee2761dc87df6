"""Sparse differentiation: colours of reference patterns, and time per evaluated Hessian.

python benchmarks/bench_sparsediff.py              # both tables
python benchmarks/bench_sparsediff.py --only colors
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from report.tables import table

from cholax.patterns import Pattern, algebra
from cholax.sparsediff import (
    color_acyclic,
    color_bidirectional,
    color_columns,
    color_star,
    hessian,
    jacobian,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.sparsediff import graphs

PATTERNS: dict[str, Callable[[], Pattern]] = {
    "tridiagonal 10^4": lambda: graphs.band(10_000, 1),
    "tridiagonal 10^6": lambda: graphs.band(1_000_000, 1),
    "band 5, 10^4": lambda: graphs.band(10_000, 5),
    "5-point grid 100^2": lambda: graphs.grid5(100),
    "5-point grid 1000^2": lambda: graphs.grid5(1000),
    "9-point grid 100^2": lambda: graphs.grid9(100),
    "triangle mesh 100^2": lambda: graphs.triangle_mesh(100),
    "triangle mesh 1000^2": lambda: graphs.triangle_mesh(1000),
    "arrow 3000": lambda: graphs.arrow(3000),
    "arrow 10^5": lambda: graphs.arrow(100_000),
    "mixed model, 5000 groups": lambda: graphs.mixed_model(5000),
    "crossed effects 1000 x 50": lambda: graphs.crossed_effects(0),
}


def seconds(call: Callable[[], Any]) -> tuple[Any, float]:
    """A result and the time it took."""
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def color_table() -> str:
    """Colours and milliseconds by pattern and kind."""
    rows = []
    for name, make in PATTERNS.items():
        given = make()
        general = given if not given.symmetric else algebra.expand(given)[0]
        cells = [name, str(general.nnz)]
        for color, pattern in (
            (color_columns, general),
            (color_bidirectional, general),
            (color_star, graphs.symmetric(general)),
            (color_acyclic, graphs.symmetric(general)),
        ):
            coloring, took = seconds(lambda color=color, pattern=pattern: color(pattern))
            cells.append(f"{len(coloring)} ({1e3 * took:.0f})")
        rows.append(cells)
    return table(["pattern", "nnz", "column (ms)", "bidirectional", "star", "acyclic"], rows)


def mixed_model(observations: int = 100_000, groups: int = 5000) -> tuple[Any, jax.Array]:
    """Negative log density of a logistic mixed model in [β(5), u, log σ]."""
    random = np.random.default_rng(0)
    X = np.c_[np.ones(observations), random.normal(size=(observations, 4))]
    group = random.integers(groups, size=observations)
    y = random.integers(2, size=observations).astype(float)

    def f(x: jax.Array) -> jax.Array:
        beta, u, log_sigma = x[:5], x[5 : 5 + groups], x[-1]
        eta = X @ beta + u[group]
        prior = 0.5 * jnp.sum(u**2) * jnp.exp(-2 * log_sigma) + groups * log_sigma
        return jnp.sum(jax.nn.softplus(eta) - y * eta) + prior

    return f, jnp.asarray(0.1 * random.normal(size=groups + 6))


def bratu(m: int = 316) -> tuple[Any, jax.Array]:
    """Residual of the 2-D Bratu problem on an m × m grid."""

    def f(x: jax.Array) -> jax.Array:
        u = jnp.pad(x.reshape(m, m), 1)
        near = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
        inner = u[1:-1, 1:-1]
        return (4 * inner - near - 5.0 / (m + 1) ** 2 * jnp.exp(inner)).ravel()

    return f, jnp.zeros(m * m)


def evaluation_table(calls: int) -> str:
    """First call and later ones, of compiled derivatives."""
    rows = []
    for name, derivative, (f, x) in (
        ("mixed model Hessian, 10^5 observations", hessian, mixed_model()),
        ("Bratu Jacobian, n = 10^5", jacobian, bratu()),
    ):
        D = derivative(f)
        coloring, prepared = seconds(lambda D=D, x=x: D.colors(x))
        _, first = seconds(lambda D=D, x=x: jax.block_until_ready(D(x).values))
        compiled = jax.jit(D)
        jax.block_until_ready(compiled(x))
        times = [
            seconds(lambda compiled=compiled, x=x: jax.block_until_ready(compiled(x)))[1]
            for _ in range(calls)
        ]
        rows.append(
            [
                name,
                str(D.pattern(x).nnz),
                str(len(coloring)),
                f"{prepared:.2f}",
                f"{first:.2f}",
                f"{1e3 * min(times):.1f}",
                f"{1e3 * float(np.median(times)):.1f}",
            ]
        )
    header = ["derivative", "stored", "colors", "detect+color s", "first call s", "best ms"]
    return table([*header, "median ms"], rows)


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["colors", "evaluation"])
    parser.add_argument("--calls", type=int, default=30)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if options.only != "evaluation":
        print(color_table(), flush=True)
    if options.only != "colors":
        print(evaluation_table(options.calls))


if __name__ == "__main__":
    main()
