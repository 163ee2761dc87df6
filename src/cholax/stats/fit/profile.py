"""Profile likelihood of one parameter, and the interval it gives."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from cholax._core import options
from cholax._core.errors import ArgumentError
from cholax._core.failures import tolerant
from cholax.stats.fit import status as codes
from cholax.stats.fit._optimize import Point, minimize

# Wanted error of an end of the interval, in units of the signed root.
_TARGET = 1e-6
_STEPS = 30


@dataclass(frozen=True)
class Profile:
    """The objective maximized over all parameters but one.

    Attributes:
        name: of the parameter.
        values: tried, ascending, the estimate among them.
        objective: at each.
        interval: where 2(objective at θ̂ − objective) stays below the χ² quantile.
        level: of the interval.
        converged: whether every maximisation behind it was.
    """

    name: str
    values: np.ndarray
    objective: np.ndarray
    interval: tuple[float, float]
    level: float
    converged: bool


class _Visit(NamedTuple):
    value: float
    root: float  # signed root of twice the drop
    slope: float  # of the root, by the envelope theorem
    others: np.ndarray
    objective: float


class _Slice:
    """The function with one variable held; a function of the others for the optimiser."""

    def __init__(self, function: Any, place: int, value: float) -> None:
        self._function = function
        self._place = place
        self._value = value
        self.slope = np.nan

    def full(self, x: np.ndarray) -> np.ndarray:
        """All variables."""
        return np.insert(x, self._place, self._value)

    def __call__(self, x: np.ndarray) -> Point:
        """Value and gradient in the others; the held one's slope is kept."""
        point = self._function(self.full(x))
        self.last = point.gradient[self._place]
        return Point(x, point.value, np.delete(point.gradient, self._place))

    def hessian(self, x: np.ndarray) -> np.ndarray:
        """The Hessian in the others."""
        H = self._function.hessian(self.full(x))
        return np.delete(np.delete(H, self._place, 0), self._place, 1)

    def accept(self, point: Point) -> None:
        """The slope along the held variable at the point moved to."""
        self.slope = self.last
        self._function.accept(point)


class _Profiler:
    def __init__(self, fit: Any, place: int, max_iterations: int) -> None:
        self.fit = fit
        self.place = place
        self.limit = max_iterations
        self.best = fit.objective
        self.centre = float(fit.flat_theta[place])
        self.converged = fit.status.converged
        x = np.delete(fit.flat_theta, place)
        self.visits = [_Visit(self.centre, 0.0, self.scale(), x, self.best)]

    def scale(self) -> float:
        """Slope of the signed root at the maximum: one over the standard error."""
        error = float(np.sqrt(self.fit.covariance()[self.place, self.place]))
        return 1.0 / error if error > 0 else 1.0

    def visit(self, value: float) -> _Visit:
        """Maximize over the others at a value, from the nearest visit."""
        near = min(self.visits, key=lambda v: abs(v.value - value))
        part = _Slice(self.fit.evaluator, self.place, value)
        out = minimize(part, near.others, max_iterations=self.limit)
        self.converged &= out.code == codes.CONVERGED
        objective = -out.point.value
        sign = 1.0 if value >= self.centre else -1.0
        root = sign * np.sqrt(2 * max(0.0, self.best - objective))
        # z² = 2(best − f): z' = −f'/z, and the slope at hand is that of −f.
        slope = part.slope / root if root else self.scale()
        made = _Visit(value, root, float(slope), out.point.x, objective)
        self.visits.append(made)
        return made

    def end(self, target: float, points: int) -> float:
        """Where the signed root reaches the target, or infinity."""
        sign = np.sign(target)
        inside, outside = self.visits[0], None
        value = self.centre + target / inside.slope
        for _ in range(_STEPS):
            if outside is None and points == 0:
                return sign * np.inf
            found = self.visit(value)
            if not np.isfinite(found.objective):
                value = 0.5 * (value + inside.value)
                points -= 1
                continue
            if abs(found.root - target) <= _TARGET:
                return value
            if sign * (found.root - target) < 0:
                inside = found
                points -= 1 if outside is None else 0
            else:
                outside = found
            value = self.next(found, inside, outside, target)
        return value

    def next(self, found: _Visit, inside: _Visit, outside: _Visit | None, target: float) -> float:
        """A Newton step on the root, kept in the bracket; without one, not too far out."""
        sign = np.sign(target)
        newton = found.value + (target - found.root) / found.slope
        if outside is None:
            reach = 2.0 * max(abs(inside.value - self.centre), abs(target) / self.scale())
            step = sign * (newton - inside.value)
            step = step if np.isfinite(step) and step > 0 else reach
            return inside.value + sign * min(step, reach)
        low, high = sorted((inside.value, outside.value))
        margin = 1e-3 * (high - low)
        if low + margin < newton < high - margin:
            return newton
        weight = (target - inside.root) / (outside.root - inside.root)
        weight = float(np.clip(weight, 0.05, 0.95))
        return inside.value + weight * (outside.value - inside.value)


@tolerant
def profile(
    fit: Any, parameter: int | str, level: float, points: int, max_iterations: int
) -> Profile:
    """`Fit.profile`."""
    where = "Fit.profile"
    level = options.fraction(level, where)
    points = options.count(points, where, "points", least=2)
    max_iterations = options.count(max_iterations, where, "max_iterations", least=1)
    names = fit.names
    named = isinstance(parameter, str) and parameter in names
    place: Any = names.index(parameter) if named else parameter
    whole = isinstance(place, int | np.integer) and not isinstance(place, bool)
    if not whole or not 0 <= place < len(names):
        raise ArgumentError(
            f"Fit.profile: parameter must be one of {names} or its place, got "
            f"{options.shown(parameter)}."
        )
    profiler = _Profiler(fit, int(place), max_iterations)
    target = float(ndtri(0.5 + level / 2))
    mode = fit.evaluator.mode
    ends = []
    for side in (-1.0, 1.0):
        fit.evaluator.mode = mode  # the search for the mode starts at the fit's own again
        ends.append(float(profiler.end(side * target, points)))
    fit.evaluator.mode = mode
    visits = sorted(profiler.visits, key=lambda v: v.value)
    return Profile(
        name=names[place],
        values=np.array([v.value for v in visits]),
        objective=np.array([v.objective for v in visits]),
        interval=(ends[0], ends[1]),
        level=level,
        converged=profiler.converged,
    )
