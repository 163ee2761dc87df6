"""A type IV space-time interaction: thousands of exact constraints, with peak memory.

python benchmarks/bench_interaction.py                # rw1(20) ⊗ besag(3 000 nodes), n = 60 000
python benchmarks/bench_interaction.py 20 3000 rw2

Counts y ~ Poisson(exp(μ + x)) at all times and places, x ~ walk ⊗ besag on a Delaunay graph of
random points, θ = (μ, log τ). Measured are the model, its factorisation under constraints, marginal
variances, and value and gradient of the Laplace approximation; each at a new θ after compilation.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)  # before cholax makes an array

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from scipy.spatial import Delaunay  # noqa: E402

import cholax.stats as cs  # noqa: E402

THETA, MOVE = np.array([0.5, 1.0]), 0.05


def timed(label: str, call: Callable[[], Any]) -> Any:
    """Run `call`, print its time and the peak memory so far, return its result."""
    start = time.perf_counter()
    result = jax.block_until_ready(call())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  {label:<44}{time.perf_counter() - start:8.2f} s   peak {peak:5.2f} GiB", flush=True)
    return result


def delaunay(nodes: int) -> cs.Graph:
    """The graph of a triangulation of random points."""
    points = np.random.default_rng(0).uniform(size=(nodes, 2))
    triangles = Delaunay(points).simplices
    return cs.Graph.from_edges(nodes, triangles[:, [[0, 1], [1, 2], [0, 2]]].reshape(-1, 2))


def moments(model: cs.LatentModel) -> None:
    """Log-determinant, which has a closed form to compare with, and marginal variances."""
    field = jax.jit(lambda tau: model(precision=tau))(2.0)
    factor = timed("compile + constrained factor", field.factor)
    gap = float(factor.log_det() - model.log_det(precision=2.0))
    print(f"  {factor!r}: {factor.factor.plan!r}\n  log-det less its closed form: {gap:.2g}")
    variances = timed("compile + marginal variances", field.marginal_variance)
    mean = float(jnp.exp(jnp.mean(jnp.log(variances))))
    print(f"  geometric mean of the variances: {mean:.10f} (scaled parts and τ = 2: 0.5)")


def approximation(model: cs.LatentModel) -> None:
    """Value and gradient of the Laplace approximation, and differences of the values."""
    y = jnp.asarray(np.random.default_rng(1).poisson(2.0, model.n).astype(float))

    def log_joint(u: jax.Array, theta: jax.Array) -> jax.Array:
        eta = theta[0] + u
        prior = model.log_prob(u, precision=jnp.exp(theta[1]))
        return jnp.sum(y * eta - jnp.exp(eta)) + prior

    laplace = cs.laplace(log_joint, jnp.zeros(model.n), constraints=model.constraints)

    def value(theta: jax.Array) -> Any:
        result = laplace(theta)
        return result.log_marginal, result.status

    run = jax.jit(jax.value_and_grad(value, has_aux=True))
    compiled = timed("trace and compile Laplace value + gradient", lambda: _compiled(run))
    (_, status), slope = timed("Laplace value + gradient", lambda: compiled(THETA))
    print(f"  {status.reason()} after {int(status.factorizations)} factorisations")
    ends = [
        timed("Laplace value + gradient", lambda d=d: compiled(THETA + np.array([0.0, d])))[0][0]
        for d in (MOVE / 100, -MOVE / 100)
    ]
    quotient = (ends[0] - ends[1]) / (2 * MOVE / 100)
    print(f"  slope in log τ: {slope[1]:.8g}, difference quotient {quotient:.8g}")


def _compiled(run: Any) -> Any:
    return run.lower(THETA).compile()


def main() -> None:
    """Read sizes from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("times", type=int, nargs="?", default=20)
    parser.add_argument("nodes", type=int, nargs="?", default=3000)
    parser.add_argument("walk", choices=("rw1", "rw2"), nargs="?", default="rw1")
    given = parser.parse_args()
    print(f"{given.walk}({given.times}) ⊗ besag({given.nodes}), n = {given.times * given.nodes}")
    time_part = getattr(cs, given.walk)(given.times, scaled=True)
    place = timed("besag", lambda: cs.besag(delaunay(given.nodes), scaled=True))
    model = timed("kronecker", lambda: cs.kronecker(time_part, place))
    print(f"  {model.constraints!r}, dimension {model.dimension}")
    approximation(model)
    moments(model)


if __name__ == "__main__":
    main()
