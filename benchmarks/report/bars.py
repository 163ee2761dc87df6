"""The bars that cholax set itself, each with the number measured: met, not met, or not measured."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from report.results import Results, geometric_mean, seconds

SPARSAX_SIZE = 60_000
DETAIL = "auto"


@dataclass(frozen=True)
class Bar:
    """One claim.

    Attributes:
        claim: in words.
        limit: the number not to exceed, or to reach where `least`.
        found: what was measured; NaN for nothing.
        where: the problems behind it.
    """

    claim: str
    limit: float
    found: float
    where: str = ""
    least: bool = False

    @property
    def verdict(self) -> str:
        """Met, not met, not measured."""
        if math.isnan(self.found):
            return "not measured"
        met = self.found >= self.limit if self.least else self.found <= self.limit
        return "met" if met else "NOT MET"

    def line(self) -> str:
        """One line of a report."""
        sign = "≥" if self.least else "≤"
        tail = f" ({self.where})" if self.where else ""
        return f"{self.verdict:12} {self.claim} {sign} {self.limit:g}: {self.found:.3g}{tail}"


def extreme(claim: str, limit: float, ratios: dict[str, float], least: bool = False) -> Bar:
    """The worst problem decides."""
    if not ratios:
        return Bar(claim, limit, math.nan, least=least)
    worst = (min if least else max)(ratios, key=ratios.__getitem__)
    bad = [name for name, r in ratios.items() if (r < limit if least else r > limit)]
    where = f"worst {worst}; {len(ratios) - len(bad)} of {len(ratios)} problems"
    return Bar(claim, limit, ratios[worst], where, least)


def mean(claim: str, limit: float, ratios: dict[str, float], least: bool = False) -> Bar:
    """The geometric mean decides."""
    where = f"{len(ratios)} problems"
    return Bar(claim, limit, geometric_mean(ratios.values()), where, least)


class Checker:
    """Computes every bar from one results file."""

    def __init__(self, results: Results) -> None:
        self.r = results
        self.meshes = results.names("mesh")

    def bars(self) -> Iterator[Bar]:
        """All of them, in the order of the issue."""
        yield from self.factor()
        yield from self.selected_inverse()
        yield from self.gradient()
        yield from self.kernels()
        yield from self.solves()
        yield from self.tiny()

    def against(
        self, threads: int, operation: str, peers: tuple[str, ...], ordering: str | None = None
    ) -> dict[str, float]:
        """cholax ÷ best of some peers by problem; cholax's best ordering, or a given one."""
        found = {}
        for name in self.meshes:
            ours = self._ours(name, threads, operation, ordering)
            theirs = [self.r.time(name, threads, peer, operation) for peer in peers]
            known = [time for time in theirs if time]
            if ours and known:
                found[name] = ours / min(known)
        return found

    def _ours(self, name: str, threads: int, operation: str, ordering: str | None) -> float | None:
        if ordering is None:
            return self.r.time(name, threads, "cholax", operation)
        runs = self.r.of(name, threads, "cholax")
        return next((seconds(run, operation) for run in runs if run["ordering"] == ordering), None)

    def to_factor(
        self, operation: str, least_flops: float = 0.0, group: str = "mesh"
    ) -> dict[str, float]:
        """Operation ÷ our own factor, alternating in one process, one thread."""
        return {
            name: run["to_factor"][operation]
            for name in self.r.names(group)
            for run in self.r.of(name, 1, "cholax")
            if operation in run.get("to_factor", {}) and run["facts"]["flops"] >= least_flops
        }

    def factor(self) -> Iterator[Bar]:
        """Numeric factorisation."""
        one = self.against(1, "factor", ("cholmod",))
        yield mean("factor 1T ÷ best CHOLMOD, geometric mean", 0.7, one)
        yield extreme("factor 1T ÷ best CHOLMOD, on every problem", 1.1, one)
        auto = self.against(1, "factor", ("cholmod",), ordering=DETAIL)
        yield mean("the same with ordering 'auto', geometric mean", 0.7, auto)
        two = self.against(2, "factor", ("cholmod", "pardiso", "rslab"))
        yield mean("factor 2T ÷ best of CHOLMOD, PARDISO, rslab, geometric mean", 0.6, two)
        speed_up = {
            name: self._ours(name, 1, "factor", DETAIL) / self._ours(name, 2, "factor", DETAIL)
            for name in self.meshes
            if self._flops(name) > 1e9 and self._ours(name, 2, "factor", DETAIL)
        }
        yield extreme("factor 1T ÷ 2T of cholax above 1e9 flops", 1.6, speed_up, least=True)
        yield extreme("factor with 'auto' ÷ with the best ordering", 1.1, self._choice())

    def _choice(self) -> dict[str, float]:
        """'auto' ÷ the best ordering; sessions with equal counts hold the ordering it took."""
        found = {}
        for name in self.meshes:
            runs = {run["ordering"]: run for run in self.r.of(name, 1, "cholax")}
            chosen = runs.get(DETAIL)
            own = seconds(chosen, "factor") if chosen else None
            if chosen is None or not own:
                continue
            others = [run for run in runs.values() if run["facts"] != chosen["facts"]]
            times = [time for run in others if (time := seconds(run, "factor"))]
            found[name] = own / min([own, *times])
        return found

    def _flops(self, name: str) -> float:
        runs = [run for run in self.r.of(name, 1, "cholax") if run["ordering"] == DETAIL]
        return runs[0]["facts"]["flops"] if runs else 0.0

    def selected_inverse(self) -> Iterator[Bar]:
        """Selected inverse."""
        own = self.to_factor("selected_inverse", 1e8)
        yield extreme("selected inverse ÷ own factor above 1e8 flops", 1.5, own)
        yield mean(
            "sparsax selinv ÷ ours, n ≥ 60 000, geometric mean", 30,
            self._ahead_of("sparsax", "selected_inverse"), least=True,
        )  # fmt: skip

    def _ahead_of(self, peer: str, operation: str) -> dict[str, float]:
        ratios = self.against(1, operation, (peer,))
        return {
            name: 1 / ratio
            for name, ratio in ratios.items()
            if self.r.size(name)["n"] >= SPARSAX_SIZE and not name.startswith("arrow")
        }

    def gradient(self) -> Iterator[Bar]:
        """Log-det value and gradient through `jax.jit`."""
        own = self.to_factor("value_and_gradient")
        yield extreme("value + gradient ÷ own bare factor, 1T", 2.6, own)
        peer = self.against(1, "value_and_gradient", ("cholmod",))
        yield extreme("value + gradient ÷ best CHOLMOD + BLAS-3 Takahashi, 1T", 1.0, peer)
        yield mean(
            "sparsax value_and_grad ÷ ours, n ≥ 60 000, geometric mean", 20,
            self._ahead_of("sparsax", "value_and_gradient"), least=True,
        )  # fmt: skip

    def kernels(self) -> Iterator[Bar]:
        """C, Ct and second derivatives."""
        yield extreme("C ÷ own factor, 1T", 3.5, self.to_factor("cholesky_tangent"))
        yield extreme("Ct ÷ own factor, 1T", 3.5, self.to_factor("cholesky_cotangent"))
        yield extreme(
            "log-det Hessian × vector ÷ own factor, 1T", 10, self.to_factor("hessian_vector")
        )

    def solves(self) -> Iterator[Bar]:
        """Triangular solves."""
        for threads in self.r.threads:
            yield extreme(
                f"triangular solve (half a solve) ÷ time to stream L once, {threads}T",
                1.5,
                self._to_stream(threads),
            )
        one, many = self.to_factor("solve1"), self.to_factor("solve32")
        ratios = {name: many[name] / one[name] for name in one.keys() & many.keys()}
        yield extreme("solve, 32 right-hand sides ÷ 1, 1T", 8, ratios)

    def _to_stream(self, threads: int) -> dict[str, float]:
        rate = self.r.ceiling("read_memory", threads)
        found: dict[str, float] = {}
        for name in self.meshes:
            for run in self.r.of(name, threads, "cholax"):
                time = seconds(run, "solve1")
                if time and rate and run["ordering"] == DETAIL:
                    once = 8e-9 * run["facts"]["nnz_factor"] / rate
                    found[name] = 0.5 * time / once  # forward and backward
        return found

    def tiny(self) -> Iterator[Bar]:
        """Small systems: dispatch, batches."""
        for operation in ("log_det_of_values", "value_and_gradient"):
            time = self.to_factor(operation, group="tiny")
            empty = self.to_factor("dispatch", group="tiny")
            ratios = {name: time[name] / empty[name] for name in time.keys() & empty.keys()}
            yield extreme(f"{operation} at n = 100 ÷ an empty FFI call, 1T", 3, ratios)
        ratios = {}
        for name in self.r.names("batch"):
            one = self.r.time(name, 1, "cholax", "value_and_gradient")
            two = self.r.time(name, 2, "cholax", "value_and_gradient")
            if one and two:
                ratios[name] = one / two
        yield extreme("64 systems by vmap, 1T ÷ 2T", 1.7, ratios, least=True)


def bar_lines(results: Results) -> list[str]:
    """Every bar as a line."""
    return [bar.line() for bar in Checker(results).bars()]


def print_bars(data: dict[str, Any]) -> None:
    """Print every bar."""
    print("\n### Bars\n")
    print("\n".join(bar_lines(Results(data))))
