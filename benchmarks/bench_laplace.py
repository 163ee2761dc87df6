"""Laplace's method against a bare CHOLMOD refactorisation, and a large spatial fit.

python benchmarks/bench_laplace.py                  # lattice Poisson models, n = 10 000 and 40 000
python benchmarks/bench_laplace.py --spde           # SPDE field of 102 400 nodes, fitted
python benchmarks/bench_laplace.py --peers PYTHON   # an interpreter with the peers (for CHOLMOD)

Lattice: x ~ N(0, Q⁻¹), Q = exp(log τ)(R + exp(log κ²) I) on a k x k grid, y ~ Poisson(exp(μ + x)),
θ = (μ, log τ, log κ²). One evaluation is value and exact gradient at a *new* θ (each parameter
moved by 0.05), warm-started at the mode of the θ before it, as TMB's published figures are. CHOLMOD
(supernodal, AMD and METIS, OpenBLAS, one thread) refactors the same Hessian in a process of its
own, in turn with it; the ratio is to the faster ordering. TMB 1.9.2 took 18 refactorisations at
n = 10 000 and 30 at 40 000 (reference BLAS, TMBad).
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PEERS = HERE / ".cache" / "peers" / "bin" / "python"
ROUNDS, CALLS = 7, 3
MOVE = 0.05

REFACTOR = """
import sys, time, types
import numpy as np
from compare.engines.cholmod import Cholmod
data = np.load(sys.argv[1])
n, indptr, indices, values = int(data["n"]), data["indptr"], data["indices"], data["values"]
problem = types.SimpleNamespace(
    n=n, triangle=lambda upper: (indptr, indices, np.arange(values.size))
)
sessions = {}
for ordering in ("amd", "metis"):
    session = sessions[ordering] = Cholmod(problem, ordering)
    session.analyze()
    session.prepare(values)
    session.factor()
print("ready", flush=True)
for line in sys.stdin:
    ordering = line.strip()
    begin = time.perf_counter()
    sessions[ordering].factor()
    print(time.perf_counter() - begin, flush=True)
"""


def lattice(k: int) -> tuple[Any, Any]:
    """The graph Laplacian of a k x k grid, and counts of a smooth field on it."""
    import numpy as np
    import scipy.sparse as sp

    import cholax as cx

    path = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(k, k)).tolil()
    path[0, 0] = path[-1, -1] = 1.0
    eye = sp.eye_array(k)
    R = cx.from_scipy(sp.csc_array(sp.kron(eye, path) + sp.kron(path, eye)), symmetric=True)
    random = np.random.default_rng(1)
    Q = R.add_diagonal(0.1)
    field = cx.cholesky(Q).half_solve_t(random.standard_normal(k * k))
    return R, random.poisson(np.exp(1.0 + np.asarray(field))).astype(float)


def lattice_model(k: int) -> Any:
    """The Laplace model of the lattice."""
    import jax.numpy as jnp
    import numpy as np

    import cholax as cx
    import cholax.stats as cs

    R, y = lattice(k)

    def log_joint(x: Any, theta: Any) -> Any:
        mu, log_tau, log_kappa2 = theta
        Q = jnp.exp(log_tau) * R.add_diagonal(jnp.exp(log_kappa2))
        eta = mu + x
        prior = 0.5 * cx.log_det(Q) - 0.5 * cx.quadratic_form(Q, x)
        return jnp.sum(y * eta - jnp.exp(eta)) + prior - k * k / 2 * np.log(2 * np.pi)

    return cs.laplace(log_joint, jnp.zeros(k * k))


class Refactorisation:
    """CHOLMOD's numeric factorisation of one matrix, in a process of its own."""

    def __init__(self, python: str, H: Any) -> None:
        import numpy as np

        upper = H.T.tocsc()
        upper.sort_indices()
        with tempfile.NamedTemporaryFile(suffix=".npz", delete=False) as file:
            np.savez(
                file,
                n=upper.shape[0],
                indptr=upper.indptr.astype(np.int32),
                indices=upper.indices.astype(np.int32),
                values=upper.data,
            )
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [python, "-c", REFACTOR, file.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE,
            env=environment | {"PYTHONPATH": str(HERE)},
        )
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit("CHOLMOD did not start; see benchmarks/compare/README.md")
        Path(file.name).unlink()

    def seconds(self, ordering: str) -> float:
        """One refactorisation."""
        self.process.stdin.write(ordering + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def stop(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def measure_lattice(k: int, python: str) -> None:
    """One size: medians over rounds of alternating calls."""
    import jax
    import jax.numpy as jnp
    import scipy.sparse as sp

    import cholax as cx

    model = lattice_model(k)

    def value(theta: Any, u0: Any) -> Any:
        result = model(theta, u0=u0)
        return result.log_marginal, (result.mode, result.status)

    both = jax.jit(jax.value_and_grad(value, has_aux=True))
    alone = jax.jit(value)
    base = jnp.array([1.0, 0.3, -2.0])
    thetas = [base, base + MOVE * jnp.array([1.0, -1.0, 1.0])]
    begin = time.perf_counter()
    (_, (mode, _)), _ = jax.block_until_ready(both(base, jnp.zeros(k * k)))
    compiled = time.perf_counter() - begin
    jax.block_until_ready(alone(base, mode))

    H = model(base).factor.A
    lower = sp.csc_array((H.values, H.pattern.indices, H.pattern.indptr), shape=H.shape)
    cholmod = Refactorisation(python, lower)
    times: dict[str, list[float]] = {"value": [], "value and gradient": [], "amd": [], "metis": []}
    for step in range(ROUNDS * CALLS):
        theta = thetas[(step + 1) % 2]
        begin = time.perf_counter()
        jax.block_until_ready(alone(theta, mode))
        times["value"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        (_, (mode, status)), _ = jax.block_until_ready(both(theta, mode))
        times["value and gradient"].append(time.perf_counter() - begin)
        for ordering in ("amd", "metis"):
            times[ordering].append(cholmod.seconds(ordering))
    cholmod.stop()
    with cx.testing.count_kernel_calls() as calls:
        jax.block_until_ready(both(thetas[(step + 2) % 2], mode))
    medians = {name: statistics.median(found) for name, found in times.items()}
    refactor = min(medians["amd"], medians["metis"])
    quickest, bare = min(times["value and gradient"]), min(*times["amd"], *times["metis"])
    print(
        f"n = {k * k}: CHOLMOD {1e3 * medians['amd']:.2f} ms (AMD), "
        f"{1e3 * medians['metis']:.2f} ms (METIS); value {1e3 * medians['value']:.1f} ms = "
        f"{medians['value'] / refactor:.1f}; value and gradient "
        f"{1e3 * medians['value and gradient']:.1f} ms = "
        f"{medians['value and gradient'] / refactor:.1f} refactorisations "
        f"(quickest of both: {1e3 * quickest:.1f} ms, {1e3 * bare:.2f} ms, "
        f"{quickest / bare:.1f}); "
        f"{int(status.iterations)} iterations; first call {compiled:.1f} s"
    )
    kernels = ("cholesky", "selected_inverse", "solve", "matvec")
    print("   kernel calls: " + ", ".join(f"{name} {calls[name]}" for name in kernels))


def spde_model(m: int) -> tuple[Any, Any, Any]:
    """Poisson counts at random places of a unit square, a Matérn field on m x m nodes."""
    import jax.numpy as jnp
    import numpy as np
    import scipy.sparse as sp

    import cholax as cx
    import cholax.stats as cs

    n, h = m * m, 1.0 / (m - 1)
    path = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(m, m)).tolil()
    path[0, 0] = path[-1, -1] = 1.0
    ends = np.ones(m)
    ends[[0, -1]] = 0.5
    mass = sp.diags_array(ends)
    # Linear elements on right triangles, lumped masses.
    C = h**2 * sp.diags_array(np.kron(ends, ends))
    G = sp.csc_array(sp.kron(mass, path) + sp.kron(path, mass))
    G2 = sp.csc_array(G @ sp.diags_array(1 / C.diagonal()) @ G)
    C, G, G2 = (cx.from_scipy(sp.csc_array(M), symmetric=True) for M in (C, G, G2))

    def precision(log_sigma: Any, log_range: Any) -> Any:
        kappa2 = 8.0 * jnp.exp(-2.0 * log_range)
        tau2 = jnp.exp(-2.0 * log_sigma) / (4 * np.pi * kappa2)
        return tau2 * (kappa2**2 * C + 2.0 * kappa2 * G + G2)

    random = np.random.default_rng(7)
    truth = np.array([0.7, np.log(0.8), np.log(0.15)])
    field = cx.cholesky(precision(truth[1], truth[2])).half_solve_t(random.standard_normal(n))
    count = n // 2
    cell = random.integers(0, m - 1, (count, 2))
    a, b = np.sort(random.uniform(size=(2, count)), axis=0)
    corner = cell[:, 0] * m + cell[:, 1]
    places = np.stack([corner, corner + m, corner + m + 1])
    weights = np.stack([1 - b, b - a, a])
    A = sp.csc_array(
        (weights.ravel(), (np.tile(np.arange(count), 3), places.ravel())), shape=(count, n)
    )
    y = random.poisson(np.exp(truth[0] + A @ np.asarray(field))).astype(float)
    A = cx.from_scipy(A)

    def log_joint(x: Any, theta: Any) -> Any:
        Q = precision(theta["log_sigma"], theta["log_range"])
        eta = theta["mean"] + A @ x
        prior = 0.5 * cx.log_det(Q) - 0.5 * cx.quadratic_form(Q, x) - n / 2 * np.log(2 * np.pi)
        return jnp.sum(y * eta - jnp.exp(eta)) + prior

    start = {"log_range": np.log(0.3), "log_sigma": 0.0, "mean": 0.0}
    return cs.laplace(log_joint, jnp.zeros(n)), start, truth


def fit_spde(m: int) -> None:
    """Fit and print the trace, the time and the memory."""
    import jax

    import cholax.stats as cs

    begin = time.perf_counter()
    model, start, truth = spde_model(m)
    pattern = model.pattern(start)
    print(
        f"n = {m * m}, {pattern.nnz} entries in half of H, model made in "
        f"{time.perf_counter() - begin:.1f} s",
        flush=True,
    )
    lines: list[str] = []

    def show(line: str) -> None:
        lines.append(line)
        print("  " + line, flush=True)

    fit = cs.fit_ml(model, start, progress=show)
    jax.block_until_ready(fit.result.log_marginal)
    seconds = time.perf_counter() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    errors = fit.standard_errors()
    print(
        f"{fit.status.reason()}: {fit.status.evaluations} evaluations, error {fit.status.error:.1e}"
    )
    for name, true in zip(("mean", "log_sigma", "log_range"), truth, strict=True):
        print(
            f"  {name}: {float(fit.theta[name]):.4f} ± {float(errors[name]):.4f} (true {true:.4f})"
        )
    print(f"{seconds:.1f} s from the start, peak memory {memory:.2f} GiB")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 200], help="k of k x k grids")
    parser.add_argument("--spde", action="store_true", help="the large fit instead")
    parser.add_argument("--nodes", type=int, default=320, help="m of its m x m nodes")
    parser.add_argument("--peers", default=str(PEERS), help="interpreter with the peers")
    options = parser.parse_args()

    import jax

    jax.config.update("jax_enable_x64", True)
    print(f"load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    if options.spde:
        fit_spde(options.nodes)
        return
    for k in options.sizes:
        measure_lattice(k, options.peers)


if __name__ == "__main__":
    main()
