"""Minimize a smooth function of a few parameters: BFGS from an exact Hessian, then Newton.

Few parameters, costly evaluations, exact gradients, and Hessians at the price of a few gradients:
the first Hessian (its eigenvalues made positive) sets the scale of every direction, so units of
covariates do not matter; BFGS updates it; exact Newton steps finish to rounding. Where the function
is not finite the step is shortened, which SciPy's line searches do not do.

A function that decreases towards a limit at infinity (a variance at zero) has ever smaller
gradients too. There Newton's error shrinks by a constant factor only: that tells it from a minimum.

Reference:
    Nocedal & Wright, *Numerical Optimization* (2006), chapters 3 and 6.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from cholax.stats.fit import status as codes

_ARMIJO = 1e-4
# Rounding of the function relative to its value: what an accepted step may seem to rise by.
_SLACK = 1e-13
# BFGS hands over to Newton at this error, in standard errors.
_NEAR = 1e-3
# Wanted error, and the one that rounding excuses when it no longer shrinks.
_TARGET, _STALLED = 1e-9, 1e-5
_QUADRATIC = 0.25
# A Newton step of this size, relative to max(1, |x|), that does not shrink leads to infinity.
_RUNAWAY = 1e-2
# Steps at once towards infinity: e⁻¹⁰ in a variance.
_LEAP = 10.0
_FLAT = 1e-6
# The largest step, relative to max(1, |x|): at first, and its growth after each success.
_RADIUS, _WIDER = 1.0, 2.5
_HALVINGS = 40


class Point(NamedTuple):
    """An evaluation; `value` is not finite where the function is not defined."""

    x: np.ndarray
    value: float
    gradient: np.ndarray


class Function(Protocol):
    """What is minimized."""

    def __call__(self, x: np.ndarray) -> Point:
        """Value and gradient."""
        ...

    def hessian(self, x: np.ndarray) -> np.ndarray:
        """The exact Hessian."""
        ...

    def accept(self, point: Point) -> None:
        """Told of every point the search moves to."""
        ...


@dataclass
class Outcome:
    """Where the search ended.

    Attributes:
        point: the last point.
        hessian: there; NaN where never computed.
        code: see `status`.
        iterations: steps taken.
        evaluations: of value and gradient.
        error: √(gᵀH⁻¹g).
        boundary: which variables run off to infinity.
        trace: (value, largest entry of the gradient) per iteration.
    """

    point: Point
    hessian: np.ndarray
    code: int = codes.MAX_ITERATIONS
    iterations: int = 0
    evaluations: int = 0
    error: float = np.inf
    boundary: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    trace: list[tuple[float, float]] = field(default_factory=list)


def minimize(
    function: Function,
    start: np.ndarray,
    *,
    max_iterations: int,
    report: Callable[[int, float, float], None] | None = None,
) -> Outcome:
    """Minimize from `start`; everything about the end is in the outcome."""
    search = _Search(function, np.asarray(start, float), max_iterations, report)
    search.descend()
    return search.outcome


class _Search:
    def __init__(
        self,
        function: Function,
        start: np.ndarray,
        max_iterations: int,
        report: Callable[[int, float, float], None] | None,
    ) -> None:
        self.function = function
        self.limit = max_iterations
        self.report = report
        self.radius = _RADIUS
        size = start.size
        point = function(start)
        self.outcome = Outcome(
            point, np.full((size, size), np.nan), evaluations=1, boundary=np.zeros(size, bool)
        )
        self.moved(point)

    def descend(self) -> None:
        """BFGS until near, then Newton; back to BFGS where that fails."""
        out = self.outcome
        if not _finite(out.point):
            out.code = codes.NOT_FINITE
        elif out.point.x.size == 0:
            out.code, out.error = codes.CONVERGED, 0.0
        else:
            B: np.ndarray | None = _positive(self.function.hessian(out.point.x))
            while B is not None and self.quasi_newton(B):
                B = self.polish()

    def quasi_newton(self, B: np.ndarray) -> bool:
        """BFGS steps; whether the error became small."""
        out = self.outcome
        while out.iterations < self.limit:
            point = out.point
            step = -np.linalg.solve(B, point.gradient)
            out.error = float(np.sqrt(max(0.0, -point.gradient @ step)))
            if out.error <= _NEAR:
                return True
            found = self.line_search(step)
            if found is None:
                # The curvature may be outdated; with a fresh one the search goes on or is over.
                fresh = _positive(self.function.hessian(point.x))
                found = self.line_search(-np.linalg.solve(fresh, point.gradient))
                B = fresh
            if found is None:
                out.code = codes.NO_PROGRESS
                return False
            s, y = found.x - point.x, found.gradient - point.gradient
            B = _updated(B, s, y)
            self.moved(found)
        return False

    def line_search(self, step: np.ndarray) -> Point | None:
        """The first point along the step, halved as often as needed, that lowers the function."""
        point = self.outcome.point
        relative = float(np.max(np.abs(step) / np.maximum(1.0, np.abs(point.x))))
        damping = min(1.0, self.radius / relative) if relative > 0 else 1.0
        capped = damping < 1.0
        slope = float(point.gradient @ step)
        slack = _SLACK * abs(point.value)
        for tries in range(_HALVINGS):
            found = self.evaluate(point.x + damping * step)
            if _finite(found) and found.value <= point.value + _ARMIJO * damping * slope + slack:
                if tries == 0 and capped:
                    self.radius *= _WIDER
                elif tries > 0:
                    self.radius = max(damping * relative, 1e-3)
                return found
            damping *= 0.5 if _finite(found) else 0.25
        return None

    def polish(self) -> np.ndarray | None:
        """Newton steps with exact Hessians, until the error is rounding.

        Returns a matrix to go on with where the point turns out not to be stationary.
        """
        out = self.outcome
        before, stalled = np.inf, 0
        while True:
            point = out.point
            out.hessian = self.function.hessian(point.x)
            step, out.error = _newton(out.hessian, point.gradient)
            if step is None:
                return self.singular()
            quadratic = out.error <= _QUADRATIC * before
            stalled = 0 if quadratic else stalled + 1
            finished = out.error <= _TARGET or (stalled >= 2 and out.error <= _NEAR)
            found = None
            if out.iterations < self.limit and not finished:
                found = self.newton_step(step)
            if found is None:
                self.settle(step)
                return None
            before = out.error
            self.moved(found)

    def newton_step(self, step: np.ndarray) -> Point | None:
        """A full step where it lowers gradient or value, else a damped one."""
        point = self.outcome.point
        relative = float(np.max(np.abs(step) / np.maximum(1.0, np.abs(point.x))))
        if relative <= self.radius:
            found = self.evaluate(point.x + step)
            slack = np.sqrt(_SLACK) * abs(point.value)
            shorter = np.max(np.abs(found.gradient)) < np.max(np.abs(point.gradient))
            if _finite(found) and shorter and found.value <= point.value + slack:
                return found
        return self.line_search(step)

    def running(self, step: np.ndarray) -> np.ndarray:
        """Which variables still move although next to nothing is gained any more."""
        return np.abs(step) > _RUNAWAY * np.maximum(1.0, np.abs(self.outcome.point.x))

    def settle(self, step: np.ndarray) -> None:
        """The error no longer shrinks: rounding, a minimum at infinity, or the end of patience."""
        out = self.outcome
        running = self.running(step)
        if running.any() and out.error <= _NEAR:
            out.code, out.boundary = codes.AT_INFINITY, running
            self.leap(np.where(running, _LEAP * step, 0.0))
        elif not running.any() and out.error <= _STALLED:
            out.code = codes.CONVERGED
        elif out.iterations < self.limit:
            out.code = codes.NO_PROGRESS

    def leap(self, step: np.ndarray) -> None:
        """Far towards the limit at infinity, where that loses nothing."""
        point = self.outcome.point
        found = self.evaluate(point.x + step)
        if _finite(found) and found.value <= point.value:
            self.moved(found)
            self.outcome.hessian = self.function.hessian(found.x)

    def singular(self) -> np.ndarray | None:
        """The Hessian is not definite; what to go on with if the point is not stationary."""
        out = self.outcome
        x, H, gradient = out.point.x, out.hessian, out.point.gradient
        if not np.all(np.isfinite(H)):
            out.code = codes.NOT_A_MAXIMUM
            return None
        scale = np.maximum(1.0, np.abs(x))
        # Moving such a variable by its own size changes the function by less than a millionth.
        out.boundary = np.max(np.abs(H), axis=1) * scale**2 < _FLAT
        rest = ~out.boundary
        if out.boundary.any() and _definite(H[np.ix_(rest, rest)]):
            out.code = codes.AT_INFINITY
            return None
        B = _positive(H)
        out.error = float(np.sqrt(max(0.0, gradient @ np.linalg.solve(B, gradient))))
        if out.error > _NEAR and out.iterations < self.limit:
            return B
        out.code = codes.NOT_A_MAXIMUM
        return None

    def evaluate(self, x: np.ndarray) -> Point:
        """Evaluate and count."""
        self.outcome.evaluations += 1
        return self.function(x)

    def moved(self, point: Point) -> None:
        """Go to a point and tell everybody."""
        out = self.outcome
        if point is not out.point:
            out.iterations += 1
        out.point = point
        out.trace.append((point.value, float(np.max(np.abs(point.gradient), initial=0.0))))
        if _finite(point):
            self.function.accept(point)
        if self.report is not None:
            value, gradient = out.trace[-1]
            self.report(out.iterations, -value, gradient)


def _finite(point: Point) -> bool:
    return bool(np.isfinite(point.value) and np.all(np.isfinite(point.gradient)))


def _units(H: np.ndarray) -> np.ndarray:
    """1/√|H_ii|, the scale of each variable; one where that says nothing."""
    diagonal = np.abs(np.diagonal(H))
    return np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)


def _positive(H: np.ndarray) -> np.ndarray:
    """H with |eigenvalues|, bounded from below, in units in which its diagonal is ±1."""
    if not np.all(np.isfinite(H)):
        return np.eye(H.shape[0])
    d = _units(H)
    values, vectors = np.linalg.eigh(d[:, None] * H * d)
    sizes = np.maximum(np.abs(values), 1e-6)
    return (vectors * sizes) @ vectors.T / d[:, None] / d


def _updated(B: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """BFGS; with Powell's damping where the curvature along s is not positive."""
    Bs = B @ s
    sBs, sy = float(s @ Bs), float(s @ y)
    if not sBs > 0:  # a step lost in rounding tells nothing
        return B
    if sy < 0.2 * sBs:
        weight = 0.8 * sBs / (sBs - sy)
        y = weight * y + (1 - weight) * Bs
        sy = float(s @ y)
    return B - np.outer(Bs, Bs) / sBs + np.outer(y, y) / sy


def _definite(H: np.ndarray) -> bool:
    d = _units(H)
    values = np.linalg.eigvalsh(d[:, None] * H * d)
    return bool(np.all(values > 1e-12 * max(1, values.size)))


def _newton(H: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray | None, float]:
    """The Newton step and its length in standard errors; None where H is not definite."""
    if not np.all(np.isfinite(H)) or not _definite(H):
        return None, float("nan")
    d = _units(H)
    step = -d * np.linalg.solve(d[:, None] * H * d, d * gradient)
    return step, float(np.sqrt(max(0.0, -gradient @ step)))
