"""Markdown tables: one per problem, and geometric means over problems."""

from collections.abc import Iterator
from typing import Any

from report.results import Results, geometric_mean, seconds

TIMED = (
    ("factor", "factor"),
    ("log_det", "log-det"),
    ("solve1", "solve 1"),
    ("solve32", "solve 32"),
    ("selected_inverse", "selected inverse"),
    ("value_and_gradient", "value + gradient"),
)
GROUPS = ("mesh", "real", "batch", "tiny", "other")
DETAILED = (
    ("hessian_vector", "H v"),
    ("cholesky_tangent", "C"),
    ("cholesky_cotangent", "Ct"),
    ("symmetric_product", "S"),
    ("symmetric_product_transpose", "T"),
    ("dispatch", "empty call"),
)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, text to the left and numbers to the right."""
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]

    def line(cells: list[str]) -> str:
        padded = [
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(rule), *map(line, rows)])


def number(value: float | None, scale: float = 1.0) -> str:
    """Three significant digits, a dash for nothing."""
    if value is None or value != value:
        return "–"
    value *= scale
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def count(value: float | None) -> str:
    """A large count with its unit."""
    if not value:
        return "–"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def problem_title(results: Results, name: str) -> str:
    """Name and sizes of a problem."""
    size = results.size(name)
    batch = f", {size['members']} members" if size["members"] > 1 else ""
    return f"{name}: n = {size['n']}, nnz(A) = {size['nnz']}{batch}"


def problem_table(results: Results, name: str, threads: int) -> str:
    """Times in ms of every engine, with the ratio of its factor time to cholax's best."""
    header = ["engine", "nnz(L)", "flops", "analyze", *(title for _, title in TIMED)]
    header += ["÷ cholax", "GFLOP/s", "% dgemm"]
    ours = results.time(name, threads, "cholax", "factor")
    rows = [_row(results, name, threads, run, ours) for run in results.of(name, threads)]
    return table(header, rows)


def _row(
    results: Results, name: str, threads: int, run: dict[str, Any], ours: float | None
) -> list[str]:
    facts = run["facts"]
    factor = seconds(run, "factor") or seconds(run, "one_call")
    rate = gflops(run, results.size(name)["members"])
    peak = results.ceiling("dgemm_2000", threads)
    first = factor if "one_call" in run["operations"] else seconds(run, "factor")
    times = [first, *(seconds(run, operation) for operation, _ in TIMED[1:])]
    return [
        f"{run['engine']} {run['ordering']}",
        count(facts.get("nnz_factor")),
        count(facts.get("flops")),
        number(run["analyze"], 1e3),
        *(number(t, 1e3) for t in times),
        number(factor / ours if factor and ours else None),
        number(rate),
        number(100 * rate / peak if rate and peak else None),
    ]


def gflops(run: dict[str, Any], members: int = 1) -> float | None:
    """Rate of the factorisation, by the flops of the engine's own ordering."""
    time, flops = seconds(run, "factor"), run["facts"].get("flops")
    return members * flops / time * 1e-9 if time and flops else None


def detail_table(results: Results, threads: int) -> str:
    """Our kernels in units of our own factor time, alternating in one process."""
    every = (*TIMED[2:], *DETAILED[:-1])
    header = ["problem", "ordering", "factor ms", *(title for _, title in every), "empty call µs"]
    rows = []
    for name in results.names():
        for run in results.of(name, threads, "cholax"):
            factor = seconds(run, "factor")
            if not factor or "cholesky_tangent" not in run["operations"]:
                continue
            ratios = [number(run.get("to_factor", {}).get(operation)) for operation, _ in every]
            empty = number(seconds(run, "dispatch"), 1e6)
            rows.append([name, run["ordering"], number(factor, 1e3), *ratios, empty])
    return table(header, rows)


def means_table(results: Results, threads: int, groups: tuple[str, ...]) -> str:
    """Geometric means of peer ÷ cholax, best orderings both, where both have the operation."""
    header = ["engine", *(title for _, title in TIMED), "problems"]
    engines = dict.fromkeys(run["engine"] for run in results.runs if run["engine"] != "cholax")
    rows = []
    for engine in engines:
        ratios = {op: _ratios(results, threads, groups, engine, op) for op, _ in TIMED}
        if any(ratios.values()):
            cells = [number(geometric_mean(ratios[op])) for op, _ in TIMED]
            most = max(len(found) for found in ratios.values())
            rows.append([engine, *cells, str(most)])
    return table(header, rows)


def _ratios(
    results: Results, threads: int, groups: tuple[str, ...], engine: str, operation: str
) -> list[float]:
    theirs_is = "one_call" if engine == "superlu" and operation == "factor" else operation
    found = []
    for name in results.names(*groups):
        ours = results.time(name, threads, "cholax", operation)
        theirs = results.time(name, threads, engine, theirs_is)
        if ours and theirs:
            found.append(theirs / ours)
    return found


def ratio_table(results: Results, threads: int, group: str, operation: str) -> str:
    """A row per problem of a group: cholax in ms, and every peer ÷ cholax, best orderings all."""
    engines = list(dict.fromkeys(run["engine"] for run in results.runs))
    engines.remove("cholax")
    rows = []
    for name in results.names(group):
        ours = results.time(name, threads, "cholax", operation)
        if ours is None:
            continue
        theirs = [results.time(name, threads, engine, operation) for engine in engines]
        ratios = [number(time / ours if time else None) for time in theirs]
        rows.append([name, count(results.size(name)["n"]), number(ours, 1e3), *ratios])
    kept = [k for k in range(len(engines)) if any(row[3 + k] != "–" for row in rows)]
    header = ["problem", "n", "cholax ms", *(engines[k] for k in kept)]
    return table(header, [[*row[:3], *(row[3 + k] for k in kept)] for row in rows])


def sections(results: Results, brief: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every table with its title; groups in `brief` have a row per problem instead of a table."""
    groups = [group for group in GROUPS if group not in brief]
    for name in results.names(*groups):
        for threads in results.threads:
            title = f"{problem_title(results, name)}; {threads} thread{'s' * (threads > 1)}, ms"
            yield title, problem_table(results, name, threads)
    for threads in results.threads:
        yield f"cholax's kernels ÷ its factor; {threads}T", detail_table(results, threads)
    for threads in results.threads:
        for group in ("mesh", "real", "batch"):
            if results.names(group) and group in brief:
                for operation, what in (TIMED[0], TIMED[5]):
                    title = f"{group} problems, {what}: peer ÷ cholax, {threads}T"
                    yield title, ratio_table(results, threads, group, operation)
            if results.names(group):
                title = f"Geometric means, peer ÷ cholax: {group} problems, {threads}T"
                yield title, means_table(results, threads, (group,))


def print_tables(data: dict[str, Any]) -> None:
    """Print every table."""
    for title, text in sections(Results(data)):
        print(f"\n### {title}\n\n{text}")
