"""Minimising a smooth criterion with exact gradients: quasi-Newton, then Newton steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

from cholax.stats._lmm import status as codes

Value = Callable[[np.ndarray], tuple[float, np.ndarray]]
# Below this expected decrease (½ gᵀH⁻¹g) a minimum counts as reached: a deviance is a χ².
_DECREASE = 1e-6
# Curvature below this part of the largest counts as none: parameters that do not matter.
_FLAT = 1e-9
# Below this decrease a Newton step leaves the Hessian what it was to 1e-5.
_SAME_HESSIAN = 1e-10
# What a step with a decrease below `_DECREASE` may seem to rise by: rounding of the criterion.
_NOISE = 1e-3
# Steps with one Hessian at the end; each must gain this factor, or rounding is reached.
_LAST_STEPS, _GAIN = 6, 1e-2
# Where the search on the log scale ends, and how many standard errors its first step takes.
_LOWEST, _HIGHEST = 1e-3, 1e10
_FIRST_STEP = 5.0
# A slope on the log scale steeper than this part of the curvature to expect leads far away.
_STEEP, _TENFOLD = 0.5, 10.0
# How far up one quasi-Newton search may go, and how often another one goes on from there.
_WINDOW, _WINDOWS = 1e2, 6
# Curvature below minus this part of the largest is a way down.
_SADDLE = 1e-6
# Largest slope along a direction without curvature.
_DRIFT = 1e-4


class Optimum(NamedTuple):
    """Where the search ended, and how.

    Attributes:
        x: the parameters.
        value: the criterion.
        gradient: there.
        hessian: there, exact.
        evaluations: of the criterion with its gradient.
        hessians: evaluations of the Hessian.
        decrease: ½ gᵀH⁻¹g, what a further Newton step would gain.
        curvature: smallest eigenvalue of the Hessian.
        code: how it ended, one of `status`; converged is a minimum: expected decrease at rounding
            level, no negative curvature.
    """

    x: np.ndarray
    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    evaluations: int
    hessians: int
    decrease: float
    curvature: float
    code: int

    @property
    def converged(self) -> bool:
        """Whether this is a minimum."""
        return self.code == codes.CONVERGED

    @property
    def gradient_norm(self) -> float:
        """Largest entry of the gradient."""
        return float(np.max(np.abs(self.gradient), initial=0.0))


def minimize(
    value_and_gradient: Value,
    hessian: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    *,
    logarithmic: np.ndarray | None = None,
    scale: np.ndarray | None = None,
    units: Callable[[np.ndarray], np.ndarray] = np.ones_like,
    max_iterations: int = 500,
    max_newton: int = 20,
    progress: Callable[[int, float, float], Any] | None = None,
) -> Optimum:
    """Minimize without constraints: L-BFGS from `start`, then guarded Newton steps.

    Standard deviations are far from their optimum at first, where the criterion is a smooth
    function of their logarithms; but an optimum of zero is at infinity there. So L-BFGS takes the
    logarithms, down to a small value, and Newton's method the parameters themselves.

    Where the criterion falls steeply on the log scale the minimum is decades away, and the
    extrapolations of a quasi-Newton method would miss it by as many. There the first steps are
    tenfold, and no search goes up further than hundredfold at once.

    Args:
        value_and_gradient: of the criterion.
        hessian: of the criterion.
        start: first iterate.
        logarithmic: which parameters are positive and searched on the log scale first.
        scale: square root of the curvature to expect of each.
        units: sizes of the parameters at a point, in which curvatures can be compared.
        max_iterations: for L-BFGS.
        max_newton: Newton steps after it.
        progress: called with the number of evaluations, the value and the gradient norm.

    Example:
        >>> import numpy as np
        >>> from cholax.stats._lmm._optimize import minimize
        >>> f = lambda x: (float(np.sum((x - 1) ** 4 + x**2)), 4 * (x - 1) ** 3 + 2 * x)
        >>> found = minimize(f, lambda x: np.diag(12 * (x - 1) ** 2 + 2), np.zeros(1))
        >>> found.converged, round(float(found.x[0]), 6)
        (True, 0.410245)
    """
    counter = _Counter(value_and_gradient, progress)
    x = np.asarray(start, np.float64)
    if x.size == 0:
        return _polish(counter, hessian, units, x, 0)
    if not np.isfinite(counter(x)[0]):
        return _polish(counter, hessian, units, x, 0)
    positive = np.zeros(x.size, bool) if logarithmic is None else logarithmic & (x > 0)
    scale = np.ones(x.size) if scale is None else scale
    x = _magnify(counter, x, positive, scale)
    for _ in range(_WINDOWS):
        # The first step has unit length: a few standard errors.
        s = scale / _FIRST_STEP / np.where(positive, 1.0, units(x))
        x, end = _quasi_newton(counter, x, positive, s, max_iterations - counter.calls)
        if not end or counter.calls >= max_iterations:
            break
    if np.any(positive & (x >= _HIGHEST)):
        return _polish(counter, hessian, units, x, 0)._replace(code=codes.AT_INFINITY)
    optimum = _polish(counter, hessian, units, x, max_newton)
    if optimum.code == codes.NO_PROGRESS and counter.calls >= max_iterations:
        return optimum._replace(code=codes.MAX_ITERATIONS)
    return optimum


def _magnify(
    evaluate: "_Counter", x: np.ndarray, positive: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Tenfold steps of the positive parameters along which the criterion falls steeply."""
    value, gradient = evaluate(x)
    while True:
        steep = positive & (gradient * x < -_STEEP * scale**2) & (x < _HIGHEST)
        if not steep.any():
            return x
        trial = np.where(steep, np.minimum(_TENFOLD * x, _HIGHEST), x)
        new, slope = evaluate(trial)
        if not new < value:
            return x
        x, value, gradient = trial, new, slope


def _quasi_newton(
    evaluate: "_Counter", x: np.ndarray, positive: np.ndarray, s: np.ndarray, limit: int
) -> tuple[np.ndarray, bool]:
    """L-BFGS in the logarithms of positive parameters; whether it ended at the upper bound."""
    slopes = evaluate(x)[1] * np.where(positive, x, 1.0) / s
    # Without bounds the first step has unit length; between bounds it is the gradient.
    unit = np.sqrt(np.linalg.norm(slopes)) if positive.all() and slopes.any() else 1.0
    s = s * unit
    low, high = np.minimum(_LOWEST, x), np.maximum(x, np.minimum(_WINDOW * x, _HIGHEST))
    log = np.where(positive, x, 1.0)
    bounds = [np.log(np.where(positive, end, 1.0)) for end in (low, high)]
    low = np.where(positive, s * bounds[0], -np.inf)
    high = np.where(positive, s * bounds[1], np.inf)

    def back(z: np.ndarray) -> np.ndarray:
        return np.where(positive, np.exp(np.where(positive, z / s, 0.0)), z / s)

    def scaled(z: np.ndarray) -> tuple[float, np.ndarray]:
        x = back(z)
        value, gradient = evaluate(x)
        return value, gradient * np.where(positive, x, 1.0) / s

    found = scipy.optimize.minimize(
        scaled,
        s * np.where(positive, np.log(log), x),
        jac=True,
        method="L-BFGS-B",
        bounds=np.column_stack([low, high]),
        options={"maxfun": max(limit, 1), "ftol": 1e-11, "gtol": 1e-5 / unit, "maxcor": 20},
    )
    z = np.asarray(found.x, np.float64)
    end = positive & (z >= high)
    return np.where(end, np.exp(bounds[1]), back(z)), bool(end.any())


class _Counter:
    def __init__(self, evaluate: Value, progress: Callable[..., Any] | None) -> None:
        self.evaluate, self.progress, self.calls = evaluate, progress, 0
        self.lowest = np.inf
        self.last: tuple[np.ndarray, float, np.ndarray] | None = None

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        # One stage of the search begins where the one before it ended.
        if self.last is None or not np.array_equal(self.last[0], x):
            self.last = (np.array(x), *self.evaluated(x))
        return self.last[1:]

    def evaluated(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient, a high value where there is none."""
        value, gradient = self.evaluate(x)
        value, gradient = float(value), np.asarray(gradient, np.float64)
        self.calls += 1
        if self.progress is not None:
            self.progress(self.calls, value, float(np.max(np.abs(gradient), initial=0.0)))
        if not np.isfinite(value):
            # High but finite, so that the interpolation of a line search shortens its step.
            high = self.lowest + 1e3 * (1.0 + abs(self.lowest))
            return high, np.zeros_like(gradient)
        self.lowest = min(self.lowest, value)
        return value, gradient


def _polish(
    evaluate: _Counter,
    hessian: Callable[[np.ndarray], np.ndarray],
    units: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    steps: int,
) -> Optimum:
    """Newton steps along directions of positive curvature, out of saddles along negative ones."""
    point = _Point(x, *evaluate(x))
    shape, hessians = _Curvature.unknown(x.size), 0
    step = _Step(np.zeros(x.size), np.nan, np.nan)
    for _ in range(steps + 1):
        if not np.isfinite(point.value):
            break
        H = np.asarray(hessian(point.x), np.float64)
        shape, hessians = _Curvature.of(H, units(point.x)), hessians + 1
        step = shape.newton_step(point.gradient)
        saddle = shape.lowest < -_SADDLE
        if step.decrease < _SAME_HESSIAN and not saddle:
            point, step = _last_steps(evaluate, point, shape, step)
            break
        along = step.along
        if saddle:
            along = along + _escape(shape.directions[:, 0], point.gradient)
        moved = _line_search(evaluate, point, shape, step._replace(along=along), saddle)
        if moved is None:
            break
        point = moved
        step = shape.newton_step(point.gradient)
    return _conclude(point, shape, step, evaluate.calls, hessians)


class _Point(NamedTuple):
    x: np.ndarray
    value: float
    gradient: np.ndarray


class _Step(NamedTuple):
    """A Newton step, its expected decrease, and the largest slope it leaves out."""

    along: np.ndarray
    decrease: float
    drift: float


class _Curvature(NamedTuple):
    """A Hessian with its eigenvalues in given units, and which of them count as curvature."""

    hessian: np.ndarray
    values: np.ndarray
    directions: np.ndarray
    used: np.ndarray
    lowest: float

    @classmethod
    def unknown(cls, n: int) -> "_Curvature":
        nan = np.full((n, n), np.nan)
        return cls(nan, nan[:, :1].ravel(), nan, np.zeros(n, bool), np.nan)

    @classmethod
    def of(cls, H: np.ndarray, units: np.ndarray) -> "_Curvature":
        if not np.all(np.isfinite(H)):
            return cls.unknown(H.shape[0])._replace(hessian=H)
        values, directions = np.linalg.eigh(0.5 * units[:, None] * (H + H.T) * units)
        scale = max(float(np.max(np.abs(values), initial=0.0)), 1e-300)
        lowest = float(values[0]) / scale if values.size else 0.0
        return cls(H, values, units[:, None] * directions, values > _FLAT * scale, lowest)

    def newton_step(self, gradient: np.ndarray) -> _Step:
        slopes = self.directions.T @ gradient
        used, step = self.used, -slopes[self.used] / self.values[self.used]
        decrease = float(-0.5 * slopes[used] @ step)
        drift = float(np.max(np.abs(slopes[~used]), initial=0.0))
        return _Step(self.directions[:, used] @ step, decrease, drift)


def _escape(direction: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    return -0.1 * direction * (1.0 if direction @ gradient >= 0 else -1.0)


def _last_steps(
    evaluate: _Counter, point: _Point, shape: _Curvature, step: _Step
) -> tuple[_Point, _Step]:
    """Newton steps with one Hessian until the gradient is rounding, where values tell nothing."""
    for _ in range(_LAST_STEPS):
        trial = point.x + step.along
        new, slope = evaluate(trial)
        after = shape.newton_step(slope)
        if not (new <= point.value + _NOISE and after.decrease < step.decrease):
            break
        rounding = after.decrease > _GAIN * step.decrease
        point, step = _Point(trial, new, slope), after
        if rounding:
            break
    return point, step


def _line_search(
    evaluate: _Counter, point: _Point, shape: _Curvature, step: _Step, saddle: bool
) -> _Point | None:
    """The longest of eight halved steps that lowers the value, or at its noise the gradient."""
    value = point.value
    noise = 4 * np.finfo(np.float64).eps * max(1.0, abs(value))
    # So near the minimum the criterion is quadratic, and the gradient tells more than the value.
    near = _NOISE if step.decrease < _DECREASE else noise
    for k in range(8):
        trial = point.x + 0.5**k * step.along
        new, slope = evaluate(trial)
        smaller = shape.newton_step(slope).decrease < step.decrease
        if new < value - noise or (new <= value + near and smaller and not saddle):
            return _Point(trial, new, slope)
    return None


def _conclude(
    point: _Point, shape: _Curvature, step: _Step, evaluations: int, hessians: int
) -> Optimum:
    decrease, curvature = step.decrease, shape.lowest
    code = codes.CONVERGED
    if not np.isfinite(point.value) or not np.all(np.isfinite(shape.hessian)):
        code = codes.NOT_FINITE
    elif curvature < -_SADDLE:
        code = codes.NOT_A_MINIMUM
    elif not decrease <= _DECREASE:
        code = codes.NO_PROGRESS
    elif step.drift > _DRIFT:
        code = codes.NOT_A_MINIMUM
    return Optimum(*point, shape.hessian, evaluations, hessians, decrease, curvature, code)
