"""Reading a results file: times by problem, engine, ordering, threads and operation."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Results:
    """One results file, with the look-ups that tables and bars share."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.runs: list[dict[str, Any]] = data["runs"]
        self.threads = sorted({run["threads"] for run in self.runs})

    @classmethod
    def read(cls, *paths: Path) -> "Results":
        """From JSON files of one machine.

        Engines are compared within one run only, so a problem may be in several files at different
        thread counts, not at the same one.
        """
        first, *others = [json.loads(path.read_text()) for path in paths]
        for other in others:
            _add(first, other)
        return cls(first)

    def names(self, *groups: str) -> list[str]:
        """Problems of some groups, of all when none is given, in the order of measurement."""
        about = self.data["problems"]
        return [name for name in about if not groups or about[name]["group"] in groups]

    def of(self, problem: str, threads: int, engine: str | None = None) -> list[dict[str, Any]]:
        """The runs on a problem at a thread count."""
        return [
            run
            for run in self.runs
            if run["problem"] == problem
            and run["threads"] == threads
            and engine in (None, run["engine"])
        ]

    def best(
        self, problem: str, threads: int, engine: str, operation: str
    ) -> tuple[float, dict[str, Any]] | None:
        """Shortest median over an engine's orderings, and the run it is from."""
        timed = [
            (run["operations"][operation]["median"], run)
            for run in self.of(problem, threads, engine)
            if operation in run["operations"]
        ]
        return min(timed, key=lambda pair: pair[0], default=None)

    def time(self, problem: str, threads: int, engine: str, operation: str) -> float | None:
        """Shortest median over an engine's orderings."""
        found = self.best(problem, threads, engine, operation)
        return found[0] if found else None

    def ceiling(self, name: str, threads: int) -> float | None:
        """A ceiling: the better of before and after the run."""
        found = [
            self.data.get(when, {}).get(str(threads), {}).get(name)
            for when in ("ceilings", "ceilings_after")
        ]
        return max((rate for rate in found if rate), default=None)

    def size(self, problem: str) -> dict[str, Any]:
        """n, nnz, group, members."""
        return self.data["problems"][problem]


def _add(data: dict[str, Any], other: dict[str, Any]) -> None:
    held, new = (
        {(run["problem"], run["threads"]) for run in found["runs"]} for found in (data, other)
    )
    if held & new:
        problem, threads = min(held & new)
        raise ValueError(f"two files hold {problem} at {threads} threads; give one of them.")
    for part in ("versions", "problems", "ceilings", "ceilings_after"):
        data.setdefault(part, {}).update(other.get(part, {}))
    for part in ("runs", "skipped", "failures"):
        data[part] += other[part]


def seconds(run: dict[str, Any], operation: str) -> float | None:
    """Median of an operation in a run."""
    found = run["operations"].get(operation)
    return found["median"] if found else None


def geometric_mean(values: Iterable[float]) -> float:
    """exp(mean(log)); NaN of nothing."""
    values = list(values)
    if not values:
        return math.nan
    return math.exp(sum(math.log(value) for value in values) / len(values))
