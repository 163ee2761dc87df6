"""2-D Bratu problem, Σu² and its derivative in λ: `cx.root` beside optimistix's default Newton.

python benchmarks/bench_bratu.py                       # n = 2025, 4900, 10⁴ and 9·10⁴
python benchmarks/bench_bratu.py --sizes 2025 --limit 30 --profile

Δu + λ exp(u) = 0 on the unit square, u = 0 on its boundary, λ = 5, five-point differences on m × m
inner points, start u = 0. Times are the least of a few calls after compilation, in seconds; on a
machine that is shared the processor time of value and derivative tells more. Each measurement is a
process of its own with a time limit, as the dense one needs n² memory.
"""

import argparse
import json
import os
import subprocess
import sys
import time

SIZES = (2025, 4900, 10_000, 90_000)
# Of Σu² and of its derivative, to the digits the reference was printed with.
REFERENCE = {
    2025: (190.8647117229, 124.4509213655),
    4900: (454.8260637328, 296.5311911915),
    10_000: (920.480944127, 600.098454033),
    90_000: (8176.033663595, 5330.100058843),
}
LAMBDA = 5.0


def residual(m):
    """Δu + λ exp(u) on an m × m grid, flat."""
    import jax.numpy as jnp

    def F(u, factor):
        grid = jnp.pad(u.reshape(m, m), 1)
        inner = grid[1:-1, 1:-1]
        around = grid[:-2, 1:-1] + grid[2:, 1:-1] + grid[1:-1, :-2] + grid[1:-1, 2:]
        return ((around - 4 * inner) * (m + 1) ** 2 + factor * jnp.exp(inner)).ravel()

    return F


def with_cholax(m):
    """Value and status."""
    import jax.numpy as jnp

    from cholax.implicit import root

    def objective(factor):
        u, status = root(residual(m), jnp.zeros(m * m), factor, has_status=True)
        return jnp.sum(u * u), status

    return objective


def with_optimistix(m):
    """The same with optimistix's Newton as it comes: dense Jacobian, LU, implicit adjoint."""
    import jax.numpy as jnp
    import optimistix

    F = residual(m)

    def objective(factor):
        solver = optimistix.Newton(rtol=1e-10, atol=1e-10)
        found = optimistix.root_find(lambda u, a: F(u, a), solver, jnp.zeros(m * m), factor)
        return jnp.sum(found.value**2), found.stats["num_steps"]

    return objective


ENGINES = {"cholax": with_cholax, "optimistix": with_optimistix}


def least(function, repeats):
    """Least wall time of a few calls."""
    return timed(function, repeats)[0]


def timed(function, repeats):
    """Least wall time and least processor time of a few calls."""
    import jax

    times = []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        jax.block_until_ready(function())
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return [min(column) for column in zip(*times, strict=True)]


def measure(engine, n, repeats, profile):
    """One engine on one size, in this process."""
    import jax

    jax.config.update("jax_enable_x64", True)
    m = round(n**0.5)
    objective = ENGINES[engine](m)
    start = time.perf_counter()
    value = jax.jit(objective)
    both = jax.jit(jax.value_and_grad(objective, has_aux=True))
    (total, status), slope = jax.block_until_ready(both(LAMBDA))
    first = time.perf_counter() - start
    jax.block_until_ready(value(LAMBDA))
    found = {
        "first": first,
        "value": least(lambda: value(LAMBDA), repeats),
        **dict(zip(("both", "processor"), timed(lambda: both(LAMBDA), repeats), strict=True)),
        "result": [float(total), float(slope)],
    }
    if engine == "cholax":
        found |= counts(value, both)
        found["steps"] = int(status.iterations)
        if profile:
            found["parts"] = parts(m, repeats)
    return found


def counts(value, both):
    """Factorisations and solves, without and with the derivative."""
    import jax

    import cholax as cx

    found = {}
    for name, function in (("value", value), ("both", both)):
        with cx.testing.count_kernel_calls() as calls:
            jax.block_until_ready(function(LAMBDA))
        found[f"{name} factors"] = calls["cholesky"] + calls["lu_factor"]
        found[f"{name} solves"] = calls["solve"] + calls["lu_solve"]
    return found


def parts(m, repeats):
    """Seconds of what an iteration consists of."""
    import jax
    import jax.numpy as jnp

    import cholax as cx
    from cholax.sparsediff._jacobian import jacobian

    F, u = residual(m), jnp.zeros(m * m)
    start = time.perf_counter()
    J = jacobian(F, verify=False)
    colors = len(J.colors(u, LAMBDA))
    prepared = time.perf_counter() - start
    evaluate = jax.jit(lambda u: J(u, LAMBDA))
    factor = jax.jit(lambda A: cx.cholesky(A.symmetrize() * -1.0))
    matrix = jax.block_until_ready(evaluate(u))
    factored = jax.block_until_ready(factor(matrix))
    solve = jax.jit(lambda L, b: L.solve(b))
    plain = jax.jit(lambda u: F(u, LAMBDA))
    jax.block_until_ready((solve(factored, u), plain(u)))
    return {
        "detection and colouring": prepared,
        "colours": colors,
        "residual": least(lambda: plain(u), repeats),
        "jacobian": least(lambda: evaluate(u), repeats),
        "factor": least(lambda: factor(matrix), repeats),
        "solve": least(lambda: solve(factored, u), repeats),
    }


def apart(engine, n, options):
    """Run `measure` in a process of its own, with a time limit."""
    command = [sys.executable, __file__, "--worker", engine, "--sizes", str(n)]
    command += ["--repeats", str(options.repeats), *["--profile"] * options.profile]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=options.limit, check=False
        )
    except subprocess.TimeoutExpired:
        return f"stopped after {options.limit:g} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1][:100]
    return json.loads(done.stdout.splitlines()[-1])


def show(engine, n, found):
    """Print one line, and a second one with what the first consists of."""
    if isinstance(found, str):
        print(f"{engine:<11} {n:>6}  {found}", flush=True)
        return
    errors = [abs(a / b - 1) for a, b in zip(found["result"], REFERENCE[n], strict=True)]
    times = (found[name] for name in ("value", "both", "processor"))
    line = f"{engine:<11} {n:>6}  {found['first']:>9.2f}" + "".join(f" {t:>9.4f}" for t in times)
    line += f"   {errors[0]:.0e} {errors[1]:.0e}"
    if "steps" in found:
        done = [
            found[f"{run} {what}"] for what in ("factors", "solves") for run in ("value", "both")
        ]
        line += "   {} steps, factors {} and {}, solves {} and {}".format(found["steps"], *done)
    print(line, flush=True)
    for name, seconds in found.get("parts", {}).items():
        print(f"{'':<20}{name:<24} {seconds:.5f}", flush=True)


def main():
    """Read the command line; every engine on every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), choices=REFERENCE)
    parser.add_argument("--limit", type=float, default=90.0, help="seconds per engine and size")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--profile", action="store_true", help="time the parts of an iteration")
    parser.add_argument("--worker", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        n = options.sizes[0]
        print(json.dumps(measure(options.worker, n, options.repeats, options.profile)))
        return
    columns = ("first s", "value s", "+grad s", "cpu s")
    print(f"{'':<11} {'n':>6} " + "".join(f" {c:>9}" for c in columns) + "   relative errors")
    for n in options.sizes:
        for engine in options.engines:
            # Its matrix of 9·10⁴ squared doubles would take 65 GB.
            if engine == "optimistix" and n > 20_000:
                show(engine, n, "left out: a dense matrix of 65 GB")
                continue
            show(engine, n, apart(engine, n, options))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
