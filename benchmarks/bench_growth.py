"""How cost grows with size: log-log slopes of flops and times against n, in 2-D and in 3-D.

python benchmarks/bench_growth.py            # nested dissection, one thread
python benchmarks/bench_growth.py --sizes2d 100 200 400 --sizes3d 15 20 25 30

Theory, nested dissection: factor flops n^1.5 in 2-D and n^2 in 3-D, entries n log n and n^(4/3).
"""

import argparse
import statistics
import sys
from typing import Any

import numpy as np
import problems
from compare.client import Engine
from report.tables import count, number, table

SIZES2D = (100, 178, 316, 562, 1000)
SIZES3D = (15, 20, 27, 37, 50)
OPERATIONS = ("factor", "selected_inverse", "value_and_gradient", "solve1")


def measure(engine: Engine, name: str, ordering: str, calls: int) -> dict[str, float]:
    """n, entries, flops, and the median time of every operation on one problem."""
    size = problems.load(name).n  # generated here, before the engine asks for it
    opened = engine.ask("open", problem=name, ordering=ordering)
    found: dict[str, Any] = {"n": size}
    found |= {key: opened["facts"][key] for key in ("nnz_factor", "flops")}
    for operation in OPERATIONS:
        request = {"ordering": ordering, "operation": operation}
        engine.ask("time", calls=1, **request)
        found[operation] = statistics.median(engine.ask("time", calls=calls, **request)["seconds"])
    engine.ask("close")
    return found


def slopes(rows: list[dict[str, float]]) -> dict[str, float]:
    """Slope of log(quantity) against log(n) by least squares, without the smallest size."""
    kept = rows[-max(3, len(rows) - 1) :]
    size = np.log([row["n"] for row in kept])
    return {
        key: float(np.polyfit(size, np.log([row[key] for row in kept]), 1)[0])
        for key in rows[0]
        if key != "n"
    }


def show(title: str, rows: list[dict[str, float]]) -> None:
    """Print one family."""
    header = ["n", "nnz(L)", "flops", *(f"{operation} ms" for operation in OPERATIONS), "GFLOP/s"]
    lines = [
        [
            str(row["n"]),
            count(row["nnz_factor"]),
            count(row["flops"]),
            *(number(row[operation], 1e3) for operation in OPERATIONS),
            number(row["flops"] / row["factor"] * 1e-9),
        ]
        for row in rows
    ]
    exponents = slopes(rows)
    last = ["slope", *(f"n^{exponents[key]:.2f}" for key in ("nnz_factor", "flops", *OPERATIONS))]
    print(f"\n### {title}\n\n{table(header, [*lines, [*last, '']])}")


def main() -> None:
    """Read the command line and measure both families."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes2d", type=int, nargs="*", default=list(SIZES2D))
    parser.add_argument("--sizes3d", type=int, nargs="*", default=list(SIZES3D))
    parser.add_argument("--ordering", default="nested_dissection")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--python", default=sys.executable, help="interpreter that has cholax")
    options = parser.parse_args()
    engine = Engine("cholax", options.python, options.threads, timeout=600.0)
    for family, title, sizes in (
        ("lap2d", "2-D grids", options.sizes2d),
        ("lap3d", "3-D grids", options.sizes3d),
    ):
        names = [f"{family}_{size}" for size in sizes]
        rows = [measure(engine, name, options.ordering, options.calls) for name in names]
        if len(rows) > 1:
            show(f"{title}, {options.ordering}, {options.threads}T", rows)
    engine.stop()


if __name__ == "__main__":
    main()
