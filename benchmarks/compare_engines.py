"""Time cholax and every installed peer side by side, check that they agree, print the tables.

python benchmarks/compare_engines.py --peers PATH_TO_VENV/bin/python
python benchmarks/compare_engines.py --quick
python benchmarks/compare_engines.py --problems lap2d_300 real --threads 1 --engines cholax cholmod

Engines run in processes of their own and take turns: round by round, operation by operation, in
one fixed order. How the peers get installed: benchmarks/compare/README.md.
"""

import argparse
import dataclasses
import datetime as dt
import json
import sys
import time
from pathlib import Path
from typing import Any

import problems
from ceilings import ceilings
from compare.agreement import disagreements
from compare.client import Engine
from compare.machine import file_name, machine, occasion
from compare.roster import ROSTER, Entry
from compare.rounds import Budget, measure
from compare.session import OPERATIONS
from report.bars import print_bars
from report.tables import print_tables

HERE = Path(__file__).resolve().parent
PEERS = HERE / ".cache" / "peers" / "bin" / "python"
QUICK = ("lap2d_100", "lap3d_20", "real_fe4elt_lap", "batch_200", "lap2d_10")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    groups = ", ".join(problems.GROUPS)
    parser.add_argument("--problems", nargs="+", help=f"names, or groups: {groups}")
    parser.add_argument("--quick", action="store_true", help="a few small problems, two rounds")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--engines", nargs="+", default=[entry.name for entry in ROSTER])
    parser.add_argument("--operations", nargs="+", default=list(OPERATIONS), choices=OPERATIONS)
    parser.add_argument("--orderings", nargs="+", help="only these; large problems need memory")
    parser.add_argument("--rounds", type=int, default=Budget.rounds)
    parser.add_argument("--seconds", type=float, default=Budget.seconds, help="per problem")
    parser.add_argument("--turn", type=float, default=Budget.turn, help="seconds of one turn")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one request")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has cholax")
    parser.add_argument("--peers", default=str(PEERS), help="interpreter that has the peers")
    parser.add_argument("--output", type=Path, help="results file; results/<date>-<cpu>.json")
    parser.add_argument("--add", action="store_true", help="keep the file's other problems")
    found = parser.parse_args()
    if found.quick:
        found.problems = found.problems or list(QUICK)
        found.rounds, found.seconds, found.turn = min(found.rounds, 2), 30.0, 0.02
    return found


def chosen_problems(names: list[str] | None) -> list[str]:
    """Names with groups replaced by their members; all of them by default."""
    found: list[str] = []
    for name in names or problems.GROUPS:
        found += problems.GROUPS.get(name, (name,))
    if not problems.GROUPS["real"]:
        print("real matrices skipped: no data directory (set CHOLAX_BENCH_DATA)")
    return list(dict.fromkeys(found))


def start(options: argparse.Namespace) -> dict[int, list[tuple[Entry, Engine]]]:
    """Start every engine wanted at every thread count; one line for each that is not there."""
    found: dict[int, list[tuple[Entry, Engine]]] = {}
    for count in options.threads:
        found[count] = []
        for entry in ROSTER:
            if entry.name not in options.engines or count not in entry.threads:
                continue
            entry = restricted(entry, options.orderings)
            python = options.python if entry.ours else options.peers
            engine = Engine(entry.name, python, count, options.timeout)
            versions = ask_versions(engine)
            if "versions" in versions:
                found[count].append((entry, engine))
            else:
                print(f"{entry.name} skipped: {versions['error']}")
    return found


def restricted(entry: Entry, orderings: list[str] | None) -> Entry:
    """The entry with the wanted orderings only; with its own where it has none of them."""
    kept = tuple(name for name in entry.orderings if name in (orderings or entry.orderings))
    return dataclasses.replace(entry, orderings=kept or entry.orderings)


def ask_versions(engine: Engine) -> dict[str, Any]:
    """The engine's first answer; an error where its interpreter or package is missing."""
    try:
        return engine.ask("versions")
    except FileNotFoundError:
        return {"error": f"no interpreter {Path(engine.python).name}: see compare/README.md"}


def describe(name: str) -> dict[str, Any]:
    """Size of a problem; generates it before any engine asks for it."""
    problem = problems.load(name)
    members = 1 if problem.members is None else len(problem.members)
    return {
        "n": problem.n,
        "nnz": problem.matrix.nnz,
        "group": problems.group_of(name),
        "members": members,
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything; the results are on disk after every problem."""
    about = machine()
    path = options.output or HERE / "results" / file_name(about)
    result: dict[str, Any] = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": about,
        "settings": {"rounds": options.rounds, "seconds": options.seconds},
        "ceilings": ceilings(options.threads),
        "versions": {},
        "problems": {},
        "runs": [],
        "skipped": [],
        "failures": [],
    }
    if options.add and path.exists():
        result = json.loads(path.read_text()) | {"machine": about}
    engines = start(options)
    for pairs in engines.values():
        for entry, engine in pairs:
            result["versions"][entry.name] = ask_versions(engine).get("versions")
    budget = Budget(rounds=options.rounds, seconds=options.seconds, turn=options.turn)
    for name in chosen_problems(options.problems):
        one_problem(name, engines, budget, tuple(options.operations), result)
        save(path, result)
    for pairs in engines.values():
        for _, engine in pairs:
            engine.stop()
    result["ceilings_after"] = ceilings(options.threads)
    save(path, result)
    print(f"written: {path}")
    return result


def forget(result: dict[str, Any], name: str) -> None:
    """Drop what the results hold of a problem."""
    result["runs"] = [run for run in result["runs"] if run["problem"] != name]
    for field in ("skipped", "failures"):
        result[field] = [line for line in result[field] if line.split(":")[0] != name]


def one_problem(
    name: str,
    engines: dict[int, list[tuple[Entry, Engine]]],
    budget: Budget,
    operations: tuple[str, ...],
    result: dict[str, Any],
) -> None:
    """Measure one problem at every thread count and compare the engines' numbers."""
    about, reference = describe(name), problems.load(name).reference
    found: list[dict[str, Any]] = []
    lines: list[str] = []
    for count, pairs in engines.items():
        start_time = time.monotonic()
        records, skipped = measure(name, pairs, budget, operations)
        found += records
        lines += [line for line in skipped if line not in lines]
        spent = time.monotonic() - start_time
        print(f"{name} {count}T: {len(records)} configurations in {spent:.0f} s", flush=True)
    forget(result, name)
    result["problems"][name] = about | occasion()
    result["runs"] += found
    result["skipped"] += lines
    result["failures"] += disagreements(found, about["n"], reference)


def save(path: Path, result: dict[str, Any]) -> None:
    """Write the results so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, default=float) + "\n")


def main() -> int:
    """Measure, report; 1 where engines disagree."""
    result = run(arguments())
    print_tables(result)
    print_bars(result)
    for line in result["failures"]:
        print(f"WRONG: {line}")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
