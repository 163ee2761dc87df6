"""Minimising a smooth criterion with exact gradients: quasi-Newton, then Newton steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

Value = Callable[[np.ndarray], tuple[float, np.ndarray]]
# Below this expected decrease (½ gᵀH⁻¹g) a minimum counts as reached: a deviance is a χ².
_DECREASE = 1e-6
# Curvature below this part of the largest counts as none: parameters that do not matter.
_FLAT = 1e-9
# Below this decrease a Newton step leaves the Hessian what it was to 1e-5.
_SAME_HESSIAN = 1e-10
# Where the search on the log scale ends, and how many standard errors its first step takes.
_LOWEST = 1e-3
_FIRST_STEP = 5.0
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
        converged: a minimum: expected decrease at rounding level, no negative curvature.
        message: in words.
    """

    x: np.ndarray
    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    evaluations: int
    hessians: int
    decrease: float
    curvature: float
    converged: bool
    message: str

    @property
    def gradient_norm(self) -> float:
        """Largest entry of the gradient."""
        return float(np.max(np.abs(self.gradient), initial=0.0))


def minimise(
    value_and_gradient: Value,
    hessian: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    *,
    logarithmic: np.ndarray | None = None,
    scale: np.ndarray | None = None,
    max_evaluations: int = 500,
    max_newton: int = 20,
    progress: Callable[[int, float, float], Any] | None = None,
) -> Optimum:
    """Minimise without constraints: L-BFGS from `start`, then guarded Newton steps.

    Standard deviations are far from their optimum at first, where the criterion is a smooth
    function of their logarithms; but an optimum of zero is at infinity there. So L-BFGS takes the
    logarithms, down to a small value, and Newton's method the parameters themselves.

    Args:
        value_and_gradient: of the criterion.
        hessian: of the criterion.
        start: first iterate.
        logarithmic: which parameters are positive and searched on the log scale first.
        scale: square root of the curvature to expect of each.
        max_evaluations: for L-BFGS.
        max_newton: Newton steps after it.
        progress: called with the number of evaluations, the value and the gradient norm.

    Example:
        >>> import numpy as np
        >>> from cholax.stats.lmm.optimise import minimise
        >>> f = lambda x: (float(np.sum((x - 1) ** 4 + x**2)), 4 * (x - 1) ** 3 + 2 * x)
        >>> found = minimise(f, lambda x: np.diag(12 * (x - 1) ** 2 + 2), np.zeros(1))
        >>> found.converged, round(float(found.x[0]), 6)
        (True, 0.410245)
    """
    counter = _Counter(value_and_gradient, progress)
    start = np.asarray(start, np.float64)
    if start.size == 0:
        return _polish(counter, hessian, start, 0)
    positive = np.zeros(start.size, bool) if logarithmic is None else logarithmic & (start > 0)
    # The first step has unit length: a few standard errors.
    s = (np.ones(start.size) if scale is None else scale) / _FIRST_STEP

    def back(z: np.ndarray) -> np.ndarray:
        return np.where(positive, np.exp(np.where(positive, z / s, 0.0)), z / s)

    def scaled(z: np.ndarray) -> tuple[float, np.ndarray]:
        x = back(z)
        value, gradient = counter(x)
        return value, gradient * np.where(positive, x, 1.0) / s

    first = s * np.where(positive, np.log(np.where(positive, start, 1.0)), start)
    if not np.isfinite(scaled(first)[0]):
        return _polish(counter, hessian, start, 0)
    low = np.where(positive, np.minimum(s * np.log(_LOWEST), first), -np.inf)
    found = scipy.optimize.minimize(
        scaled,
        first,
        jac=True,
        method="L-BFGS-B",
        bounds=np.column_stack([low, np.full(low.size, np.inf)]),
        options={"maxfun": max_evaluations, "ftol": 1e-13, "gtol": 1e-5, "maxcor": 20},
    )
    return _polish(counter, hessian, back(np.asarray(found.x, np.float64)), max_newton)


class _Counter:
    def __init__(self, evaluate: Value, progress: Callable[..., Any] | None) -> None:
        self.evaluate, self.progress, self.calls = evaluate, progress, 0
        self.lowest = np.inf

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
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
    evaluate: _Counter, hessian: Callable[[np.ndarray], np.ndarray], x: np.ndarray, steps: int
) -> Optimum:
    """Newton steps along directions of positive curvature, out of saddles along negative ones."""
    value, gradient = evaluate(x)
    shape = _Curvature.unknown(x.size)
    decrease, drift, hessians, fresh = np.nan, np.nan, 0, False
    for _ in range(steps + 1):
        if not np.isfinite(value):
            break
        if not fresh:
            shape, hessians = _Curvature.of(np.asarray(hessian(x), np.float64)), hessians + 1
        along, decrease, drift = shape.newton_step(gradient)
        saddle = shape.lowest < -_SADDLE
        if decrease <= 1e-14 * max(1.0, abs(value)) and not saddle:
            break
        if saddle:
            along = along + _escape(shape.directions[:, 0], gradient)
        moved = _line_search(evaluate, x, value, gradient, along, saddle)
        if moved is None:
            break
        x, value, gradient = moved
        fresh = decrease < _SAME_HESSIAN and not saddle
    found = x, value, gradient, shape.hessian
    return _conclude(found, evaluate.calls, hessians, decrease, shape.lowest, drift)


class _Curvature(NamedTuple):
    """A Hessian with its eigenvalues, and which of them count as curvature."""

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
    def of(cls, H: np.ndarray) -> "_Curvature":
        if not np.all(np.isfinite(H)):
            return cls.unknown(H.shape[0])._replace(hessian=H)
        values, directions = np.linalg.eigh(0.5 * (H + H.T))
        scale = max(float(np.max(np.abs(values), initial=0.0)), 1e-300)
        lowest = float(values[0]) / scale if values.size else 0.0
        return cls(H, values, directions, values > _FLAT * scale, lowest)

    def newton_step(self, gradient: np.ndarray) -> tuple[np.ndarray, float, float]:
        """The step, its expected decrease, and the largest slope it leaves out."""
        slopes = self.directions.T @ gradient
        used, step = self.used, -slopes[self.used] / self.values[self.used]
        decrease = float(-0.5 * slopes[used] @ step)
        drift = float(np.max(np.abs(slopes[~used]), initial=0.0))
        return self.directions[:, used] @ step, decrease, drift


def _escape(direction: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    return -0.1 * direction * (1.0 if direction @ gradient >= 0 else -1.0)


def _line_search(
    evaluate: _Counter, x: np.ndarray, value: float, gradient: np.ndarray, along: np.ndarray,
    saddle: bool,
) -> tuple[np.ndarray, float, np.ndarray] | None:  # fmt: skip
    """The longest of eight halved steps that lowers the value, or at its noise the gradient."""
    noise = 4 * np.finfo(np.float64).eps * max(1.0, abs(value))
    for k in range(8):
        trial = x + 0.5**k * along
        new, slope = evaluate(trial)
        smaller = np.linalg.norm(slope) < np.linalg.norm(gradient)
        if new < value - noise or (new <= value + noise and smaller and not saddle):
            return trial, new, slope
    return None


def _conclude(
    found: tuple[np.ndarray, float, np.ndarray, np.ndarray],
    evaluations: int,
    hessians: int,
    decrease: float,
    curvature: float,
    drift: float,
) -> Optimum:
    x, value, gradient, H = found
    if not np.isfinite(value):
        converged, message = False, "the criterion is not finite at the start"
    elif curvature < -_SADDLE:
        converged, message = False, "the search ended at a saddle point"
    elif not decrease <= _DECREASE:
        converged, message = False, f"a further step would gain {decrease:.1e}: the search stalled"
    elif drift > _DRIFT:
        converged, message = False, "the criterion falls along a direction without curvature"
    else:
        converged, message = True, "converged"
    return Optimum(
        x, value, gradient, H, evaluations, hessians, decrease, curvature, converged, message
    )
