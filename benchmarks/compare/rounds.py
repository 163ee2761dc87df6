"""Interleaved measurement: round by round every engine takes its turn at every operation."""

import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from compare.client import Engine
from compare.roster import DETAILS, Entry
from compare.session import OPERATIONS


@dataclass
class Budget:
    """How much is measured.

    Attributes:
        rounds: turns of every engine at every operation.
        seconds: no further round (after the first) once a problem has taken this long.
        turn: a turn repeats its operation for about so many seconds.
        slow: an operation this slow is measured once only.
        cycle: seconds for passes over all operations of our own engine, each timed once a pass.
        short: an operation shorter than this runs once untimed in every turn, and at least three
            times timed: another engine's turn has emptied the caches, and an operation with many
            calls a turn would not show it while one with few would.
    """

    rounds: int = 5
    seconds: float = 300.0
    turn: float = 0.15
    slow: float = 20.0
    short: float = 1.0
    cycle: float = 10.0


@dataclass
class Run:
    """One engine under one ordering on one problem, and what was measured."""

    entry: Entry
    engine: Engine
    ordering: str
    opened: dict[str, Any]
    calls: dict[str, int] = field(default_factory=dict)
    warm: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, list[list[float]]] = field(default_factory=dict)
    to_factor: dict[str, float] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Engine and ordering."""
        return f"{self.entry.name} {self.ordering}"

    def turn(self, operation: str, calls: int) -> list[float]:
        """Time an operation; an empty list where it fails, which drops it."""
        answer = self.engine.ask(
            "time",
            ordering=self.ordering,
            operation=operation,
            calls=calls,
            warm=self.warm.get(operation, 0),
        )
        time.sleep(self.entry.settle if self.engine.threads > 1 else 0.0)
        if "seconds" in answer:
            return answer["seconds"]
        self.notes.append(f"{operation}: {answer.get('error') or answer.get('skipped')}")
        self.calls.pop(operation, None)
        return []

    def record(self) -> dict[str, Any]:
        """All of it, for the results file."""
        return {
            "engine": self.entry.name,
            "ordering": self.ordering,
            "threads": self.engine.threads,
            "facts": self.opened["facts"],
            "analyze": statistics.median(self.opened["analyze"]),
            "operations": {name: _summary(turns) for name, turns in self.seconds.items() if turns},
            "to_factor": self.to_factor,
            "results": self.results,
            "notes": self.notes,
        }


def _summary(turns: list[list[float]]) -> dict[str, Any]:
    medians = [statistics.median(turn) for turn in turns]
    return {
        "median": statistics.median(medians),
        "min": min(min(turn) for turn in turns),
        "rounds": medians,
        "calls": sum(len(turn) for turn in turns),
    }


def measure(
    problem: str, pairs: list[tuple[Entry, Engine]], budget: Budget, wanted: tuple[str, ...]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Run everything on one problem at one thread count; return records and skipped engines."""
    skipped: list[str] = []
    runs = list(_open(problem, pairs, skipped))
    start = time.monotonic()
    for run in runs:
        _warm_up(run, budget, wanted)
    for number in range(budget.rounds):
        if number >= 1 and time.monotonic() - start > budget.seconds:
            break
        _one_round(runs)
    for run in runs:
        if run.entry.ours and run.ordering == run.entry.detail:
            _cycles(run, budget)
        _check(run)
    for _, engine in pairs:
        engine.ask("close")
    load = os.getloadavg()[0]
    return [run.record() | {"problem": problem, "load": load} for run in runs], skipped


def _open(problem: str, pairs: list[tuple[Entry, Engine]], skipped: list[str]) -> Iterator[Run]:
    for entry, engine in pairs:
        for ordering in entry.orderings:
            opened = engine.ask("open", problem=problem, ordering=ordering)
            if "operations" in opened:
                yield Run(entry, engine, ordering, opened)
            else:
                reason = opened.get("skipped") or opened.get("error")
                skipped.append(f"{problem}: {entry.name} {ordering}: {reason}")


def _warm_up(run: Run, budget: Budget, wanted: tuple[str, ...]) -> None:
    """First calls (compilation, memory) outside the measurement; they fix the calls per turn."""
    for operation in OPERATIONS:
        if operation not in run.opened["operations"] or operation not in wanted:
            continue
        if operation in DETAILS and run.ordering != run.entry.detail:
            continue
        run.calls[operation] = 1
        first = run.turn(operation, 1)
        if first and first[0] < budget.slow:
            first = run.turn(operation, 1)
        if first and first[0] >= budget.slow:
            run.seconds[operation] = [first]
            run.notes.append(f"{operation}: measured once, it takes {first[0]:.0f} s")
            del run.calls[operation]
        elif first:
            short = first[0] < budget.short
            run.warm[operation] = int(short)
            run.calls[operation] = max(3 if short else 1, min(20, int(budget.turn / first[0])))


def _one_round(runs: list[Run]) -> None:
    for operation in OPERATIONS:
        for run in runs:
            calls = run.calls.get(operation)
            if calls and (turn := run.turn(operation, calls)):
                run.seconds.setdefault(operation, []).append(turn)


def _cycles(run: Run, budget: Budget) -> None:
    """Operations in units of the factorisation: medians over passes in one undisturbed process.

    The clock moves by half between one engine's turn and the next, so that times of different turns
    do not tell what one operation costs in terms of another.
    """
    operations = list(run.calls)
    once = sum(statistics.median(run.seconds[name][-1]) for name in operations)
    cycles = max(3, min(50, int(budget.cycle / once)))
    answer = run.engine.ask("cycle", ordering=run.ordering, operations=operations, cycles=cycles)
    seconds = answer.get("seconds", {})
    for name in operations if "factor" in seconds else ():
        ratios = [a / b for a, b in zip(seconds[name], seconds["factor"], strict=True)]
        run.to_factor[name] = statistics.median(ratios)


def _check(run: Run) -> None:
    """Results of one pass over the operations that were measured in rounds."""
    operations = [name for name in OPERATIONS if name in run.calls]
    if not operations:
        return
    answer = run.engine.ask("check", ordering=run.ordering, operations=operations)
    run.results = answer.get("results", {})
    if "error" in answer:
        run.notes.append(f"check: {answer['error']}")
