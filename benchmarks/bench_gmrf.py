"""GMRF in NumPyro on a lattice: compile and one gradient of the log density of a CAR model.

The model is a conditional autoregression with unknown correlation and precision, as NumPyro's own
`CAR`, which takes the eigenvalues of a dense n × n matrix when it is traced and cannot be built at
these sizes. Printed per size: the symbolic analysis, trace and compile, the first gradient, later
gradients (median of five), and marginal variances with constraints of an intrinsic field.

Usage: python benchmarks/bench_gmrf.py [--sides 100 316]
"""

import argparse
import time
from typing import Any

import jax
import numpy as np
import scipy.sparse as sp

import cholax as cx
import cholax.stats as cs
from cholax.integrations.numpyro import CAR

jax.config.update("jax_enable_x64", True)


def lattice(side: int) -> sp.csr_array:
    """Adjacency of a square lattice."""
    path = sp.diags_array([np.ones(side - 1)] * 2, offsets=[-1, 1])
    eye = sp.eye_array(side)
    return sp.csr_array(sp.kron(path, eye) + sp.kron(eye, path))


def timed(run: Any) -> tuple[Any, float]:
    """A result and the seconds it took, all devices done."""
    start = time.perf_counter()
    result = jax.block_until_ready(run())
    return result, time.perf_counter() - start


def car_gradient(W: sp.csr_array) -> dict[str, float]:
    """From nothing to the gradient in correlation, precision and field."""
    x = np.random.default_rng(0).normal(size=W.shape[0])
    start, cpu = time.perf_counter(), time.process_time()

    def density(correlation: Any, precision: Any, x: Any) -> Any:
        return CAR(0.0, correlation, precision, W).log_prob(x)

    lowered = jax.jit(jax.value_and_grad(density, (0, 1, 2))).lower(0.9, 2.0, x)
    traced = time.perf_counter() - start
    compiled, compile_time = timed(lowered.compile)
    (value, _), first = timed(lambda: compiled(0.9, 2.0, x))
    cpu = time.process_time() - cpu
    later = [timed(lambda: compiled(0.9, 2.0, x))[1] for _ in range(5)]
    assert np.isfinite(value)
    return {
        "analyze and trace": traced,
        "compile": compile_time,
        "first gradient": first,
        "together": traced + compile_time + first,
        "together, CPU time": cpu,
        "later gradient": float(np.median(later)),
    }


def intrinsic(W: sp.csr_array) -> dict[str, float]:
    """Density and marginal variances of the intrinsic field, sum to zero, warm."""
    n = W.shape[0]
    L = cx.from_scipy(sp.csc_array(sp.diags_array(W.sum(axis=1)) - W), symmetric=True)
    ones = np.ones((n, 1))
    constraints = cs.Constraints(ones.T)
    x = np.zeros(n)

    @jax.jit
    def density(tau: Any) -> Any:
        return cs.GMRF(0.0, tau * L, constraints, null_space=ones).log_prob(x)

    @jax.jit
    def variances(tau: Any) -> Any:
        return cs.GMRF(0.0, tau * L, constraints, null_space=ones).marginal_variance()

    gradient = jax.jit(jax.grad(density))
    runs = {"density": density, "its gradient": gradient, "variances": variances}
    jax.block_until_ready([run(1.0) for run in runs.values()])
    return {name: timed(lambda run=run: run(2.0))[1] for name, run in runs.items()}


def main() -> None:
    """Print one table per size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 100, 316])
    for side in parser.parse_args().sides:
        W = lattice(side)
        print(f"\nlattice {side} x {side}, n = {W.shape[0]}")
        for name, seconds in {**car_gradient(W), **intrinsic(W)}.items():
            print(f"  {name:20s} {seconds:8.3f} s")


if __name__ == "__main__":
    main()
