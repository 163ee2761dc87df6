"""The roofline picture: rates of our kernels and of the peers under this machine's ceilings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from report.results import Results, seconds

# Operation -> (flops in units of Σ columns², passes over the factor's 8 nnz(L) bytes at least).
# A factorisation writes L; a selected inverse reads L and writes Z; a solve reads L twice and does
# 4 nnz(L) flops per right-hand side.
MARKERS = {"factor": "o", "selected_inverse": "s", "solve1": "v", "solve32": "^"}
COLOURS = ("#1b6ca8", "#d1495b", "#edae49", "#66a182", "#7d5ba6", "#8d8d8d", "#2e4057", "#b5838d")


def point(run: dict[str, Any], operation: str) -> tuple[float, float] | None:
    """Arithmetic intensity (flop per byte that must move) and GFLOP/s."""
    time, facts = seconds(run, operation), run["facts"]
    entries, flops = facts.get("nnz_factor"), facts.get("flops")
    if not time or not entries or not flops:
        return None
    columns = {"solve1": 1, "solve32": 32}.get(operation, 0)
    match operation:
        case "factor":
            work, traffic = flops, 8 * entries
        case "selected_inverse":
            work, traffic = 2 * flops, 16 * entries
        case _:
            work, traffic = 4 * entries * columns, 16 * entries
    return work / traffic, work / time * 1e-9


def points(
    results: Results, engine: str, operation: str, threads: int
) -> Iterator[tuple[float, float]]:
    """The best ordering's point of every mesh problem."""
    for name in results.names("mesh"):
        best = results.best(name, threads, engine, operation)
        found = point(best[1], operation) if best else None
        if found:
            yield found


def draw(results: Results, path: Path) -> None:
    """Write the picture, one panel per thread count."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    engines = [e for e in ("cholax", "cholmod", "pardiso") if e in _engines(results)]
    columns = len(results.threads)
    figure, axes = plt.subplots(1, columns, figsize=(6.4 * columns, 5.2), squeeze=False)
    for axis, threads in zip(axes[0], results.threads, strict=True):
        _panel(axis, results, threads, engines)
    figure.suptitle(f"Sparse Cholesky under the roofline: {results.data['machine']['cpu']}")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _engines(results: Results) -> set[str]:
    return {run["engine"] for run in results.runs}


def _panel(axis: Any, results: Results, threads: int, engines: list[str]) -> None:
    _roof(axis, results, threads)
    for engine, colour in zip(engines, COLOURS, strict=False):
        for operation, marker in MARKERS.items():
            found = list(points(results, engine, operation, threads))
            if found:
                label = f"{engine}: {operation.replace('_', ' ')}"
                x, y = zip(*found, strict=True)
                axis.plot(x, y, marker, color=colour, alpha=0.8, markersize=6, label=label)
    axis.set(xscale="log", yscale="log")
    axis.set_xlabel("flop per byte of L (and Z) that must move")
    axis.set_ylabel("GFLOP/s")
    axis.set_title(f"{threads} thread{'s' * (threads > 1)}")
    axis.grid(True, which="both", alpha=0.2)
    axis.legend(fontsize=7, loc="lower right")


def _roof(axis: Any, results: Results, threads: int) -> None:
    """min(dgemm rate, intensity × bandwidth), for memory and for a cached array."""
    peak = results.ceiling("dgemm_2000", threads) or 1.0
    for name, style in (("read_memory", "-"), ("read_cached", ":")):
        rate = results.ceiling(name, threads)
        if not rate:
            continue
        knee, end = peak / rate, 1e4
        label = f"{name.replace('_', ' ')} {rate:.0f} GB/s"
        axis.plot([0.1, knee, end], [0.1 * rate, peak, peak], style, color="black", label=label)
    axis.annotate(f"dgemm {peak:.0f} GFLOP/s", (300, peak * 1.06), fontsize=8)
