"""Profile-likelihood intervals without profiles: the ends are found directly.

An end of the interval of g(φ) is the extreme of g over the region d(φ) ≤ d̂ + χ²₁, a smooth
problem with one constraint whose derivatives are exact. Scaled by the Hessian at the minimum the
region is about a ball, and the search starts where it would end if it were one.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.optimize
from scipy.special import ndtri

from cholax._core.errors import ArgumentError
from cholax._core.failures import tolerant
from cholax.stats._lmm.deviance import profile
from cholax.stats._lmm.layout import Arrays, Layout

Ends = tuple[float, float]
# How far from the boundary, in χ²₁, and from a right angle to it an end may be found.
_ON_BOUNDARY, _NORMAL = 1e-6, 1e-3


@tolerant
def profile_confint(fit: Any, level: float, parameters: Sequence[str] | None) -> dict[str, Ends]:
    """Intervals for fixed effects, `sd(group.column)`, `cor(group.a,b)` and `sigma`.

    Args:
        fit: of a linear mixed model; after REML the likelihood is maximized first.
        level: coverage.
        parameters: names, by default all.

    Raises:
        ArgumentError: an unknown name.

    Reference:
        Neale & Miller (1997), *Behavior Genetics* 27; Venzon & Moolgavkar (1988).
    """
    variances = [*covariance_names(fit), "sigma"]
    known = [*fit.names, *variances]
    wanted = known if parameters is None else list(parameters)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ArgumentError(f"confint: no parameter {unknown}; there are {known}.")
    region = _region(fit, level)
    return {
        name: _fixed_ends(region, fit.names.index(name))
        if name in fit.names
        else _variance_ends(region, variances.index(name), name)
        for name in wanted
    }


class _Region(NamedTuple):
    """d(φ) ≤ limit, φ = (θ̃, z) with z = log σ, or β_k in standard errors.

    Attributes:
        fit: by maximum likelihood.
        limit: d̂ + χ²₁.
        centre: θ̃ at the minimum.
        root: C with θ̃ = centre + C w, such that the region is about the unit ball in w.
        reach: the square root of χ²₁.
    """

    fit: Any
    limit: float
    centre: np.ndarray
    root: np.ndarray
    reach: float


def _region(fit: Any, level: float) -> _Region:
    fit = fit.by_likelihood()
    reach = float(ndtri(0.5 + level / 2))
    root = ball_root(fit.optimum.hessian, reach)
    return _Region(fit, fit.criterion + reach**2, fit.optimum.x, root, reach)


def covariance_names(fit: Any) -> list[str]:
    """`sd(group.column)` and `cor(group.a,b)`, term by term."""
    names = list[str]()
    for group, component in fit.varcorr.items():
        names += [f"sd({group}.{column})" for column in component.columns]
        names += [
            f"cor({group}.{a},{b})"
            for k, b in enumerate(component.columns)
            for a in component.columns[:k]
        ]
    return names


def _extreme(region: _Region, deviance: Any, function: Any, last: float, unit: float) -> list[Any]:
    """`extremes` over the region; `last` and `unit` are centre and scale of the last entry of φ."""
    ball = Ball(
        np.append(region.centre, last),
        np.asarray(scipy.linalg.block_diag(region.root, [[unit]])),
        region.limit,
        region.reach,
    )
    return extremes(ball, deviance, function)


class Ball(NamedTuple):
    """d(φ) ≤ limit, about the unit ball in w where φ = centre + root · w."""

    centre: np.ndarray
    root: np.ndarray
    limit: float
    reach: float


def ball_root(hessian: np.ndarray, reach: float) -> np.ndarray:
    """C with ½ (Cw)ᵀH(Cw) = reach² ‖w‖² where the criterion has curvature."""
    curvatures, directions = np.linalg.eigh(hessian)
    # Only for scaling the search, so a flat direction may count as one of little curvature.
    curvatures = np.maximum(curvatures, 1e-4 * np.max(curvatures, initial=1e-300))
    return directions * (np.sqrt(2.0) * reach / np.sqrt(curvatures))


def extremes(ball: Ball, deviance: Any, function: Any) -> list[Any]:
    """Smallest and largest value of a function over a region, None where the search fails.

    Args:
        ball: the region.
        deviance: d, a function of φ that returns value and gradient.
        function: likewise.
    """
    centre, C = ball.centre, ball.root
    middle, slope = function(centre)
    slope = C.T @ slope
    # Scaled: the square of a variance may be out of range.
    largest = float(np.max(np.abs(slope), initial=0.0))
    size = largest * float(np.linalg.norm(slope / largest)) if largest > 0 else 1.0

    def inside(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = deviance(centre + C @ w)
        # Trials far out may leave the range of numbers; there the region is what it is about.
        if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
            return 1.0 - float(w @ w), -2.0 * w
        return (ball.limit - value) / ball.reach**2, -C.T @ gradient / ball.reach**2

    ends = []
    for sign in (-1.0, 1.0):

        def objective(w: np.ndarray, sign: float = sign) -> tuple[float, np.ndarray]:
            value, gradient = function(centre + C @ w)
            if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
                value, gradient = middle + slope @ w, None
            along = slope if gradient is None else C.T @ gradient
            return -sign * value / size, -sign * along / size

        found = scipy.optimize.minimize(
            objective,
            0.9 * sign * slope / size,
            jac=True,
            method="SLSQP",
            constraints={
                "type": "ineq",
                "fun": lambda w: inside(w)[0],
                "jac": lambda w: inside(w)[1],
            },
            options={"maxiter": 200, "ftol": 1e-11},
        )
        feasible = inside(found.x)[0] > -_ON_BOUNDARY
        # A variance of zero lies inside the region.
        reached = (found.success and feasible) or _is_end(objective(found.x)[1], *inside(found.x))
        ends.append(-sign * found.fun * size if reached else None)
    return ends


def _is_end(slope: np.ndarray, room: float, normal: np.ndarray) -> bool:
    """Whether a point is on the boundary, and the slope of the objective, about 1, normal to it.

    The search itself may report failure where rounding ends it at the solution. What is left of
    the slope counts by its square in the end.
    """
    if not (
        np.all(np.isfinite(slope)) and np.all(np.isfinite(normal)) and abs(room) < _ON_BOUNDARY
    ):
        return False
    length = float(np.linalg.norm(normal))
    along = float(slope @ normal) / max(length, 1e-300)
    # The constraint is room ≥ 0, so the objective must fall where the room does.
    return along > 0 and float(np.linalg.norm(slope - along * normal / length)) < _NORMAL * along


# Fixed effects


@partial(jax.jit, static_argnames=("layout",))
def _fixed_deviance(layout: Layout, arrays: Arrays, phi: Any, contrast: Any, unit: Any) -> Any:
    """−2 log L(θ, cᵀβ̃), everything else profiled out; `unit` is the size of cᵀβ̃'s error."""

    def value(phi: jax.Array) -> jax.Array:
        found = profile(layout, arrays, layout.templates(phi[:-1]), reml=False)
        variance = contrast @ jnp.linalg.solve(found.schur, contrast)
        # In that unit, or the derivative of the quotient, with the square of r², leaves the range.
        away = (phi[-1] - contrast @ found.beta) / unit
        spread = variance * (found.r2 / unit**2)
        return found.criterion + layout.n * jnp.log1p(away**2 / spread)

    return jax.value_and_grad(value)(phi)


def _fixed_ends(region: _Region, k: int) -> Ends:
    fit, model = region.fit, region.fit.model
    # β_k = cᵀβ̃ + shift_k with c the k-th row of R⁻¹.
    selected = np.eye(model.layout.fixed)[k]
    contrast = scipy.linalg.solve_triangular(model.coordinates.R, selected, trans=1)
    shift = float(model.coordinates.shift[k])

    last, unit = float(fit.beta[k]) - shift, region.reach * float(fit.standard_errors()[k])

    def deviance(phi: np.ndarray) -> tuple[float, np.ndarray]:
        at = jnp.asarray(phi)
        return numbers(_fixed_deviance(model.layout, model.arrays, at, contrast, unit))

    def value(phi: np.ndarray) -> tuple[float, np.ndarray]:
        return float(phi[-1]), np.eye(phi.size)[-1]

    lower, upper = _extreme(region, deviance, value, last, unit)
    return or_nan(lower) + shift, or_nan(upper) + shift


# Variances and correlations


@partial(jax.jit, static_argnames=("layout", "choice", "log"))
def _function(layout: Layout, inverses: Any, phi: Any, last: Any, *, choice: int, log: bool) -> Any:
    """A variance (or its logarithm), a correlation or log σ, in the order of their names.

    All of them with `last`, log σ at the centre, for zero, and in the units of the `inverses`.
    """

    def value(phi: jax.Array) -> jax.Array:
        away = phi[-1] - last
        parts = covariance_parts(layout.templates(phi[:-1]), inverses, jnp.exp(2 * away))
        chosen = [*parts, away][choice]
        return jnp.log(chosen) if log else chosen

    return jax.value_and_grad(value)(phi)


def covariance_parts(templates: Any, inverses: Any, scale: Any) -> list[jax.Array]:
    """Variances and correlations of the effects in the order of `covariance_names`."""
    parts = []
    for T, inverse in zip(templates, inverses, strict=True):
        user = jax.scipy.linalg.solve_triangular(inverse, T, lower=True)
        covariance = user @ user.T
        variance = jnp.diagonal(covariance)
        rows, columns = np.tril_indices(variance.size, -1)
        parts += list(variance * scale)
        parts += list(
            covariance[rows, columns] / (jnp.sqrt(variance[columns]) * jnp.sqrt(variance[rows]))
        )
    return parts


@partial(jax.jit, static_argnames=("layout",))
def _variance_deviance(layout: Layout, arrays: Arrays, phi: Any) -> Any:
    """−2 log L(θ, σ), only β profiled out."""

    def value(phi: jax.Array) -> jax.Array:
        found = profile(layout, arrays, layout.templates(phi[:-1]), reml=False)
        spread = found.r2 * jnp.exp(-2.0 * phi[-1]) / layout.n
        return found.criterion + layout.n * (spread - 1.0 - jnp.log(spread))

    return jax.value_and_grad(value)(phi)


def _variance_ends(region: _Region, choice: int, name: str) -> Ends:
    fit, model = region.fit, region.fit.model
    is_sd = name.startswith("sd(")

    def deviance(phi: np.ndarray) -> tuple[float, np.ndarray]:
        return numbers(_variance_deviance(model.layout, model.arrays, jnp.asarray(phi)))

    last, unit = float(np.log(fit.sigma)), region.reach / np.sqrt(2.0 * fit.design.n)
    inverses, unit_sds = _in_unit_effects(model.arrays)

    def function(phi: np.ndarray, log: bool) -> tuple[float, np.ndarray]:
        program = partial(_function, model.layout, inverses, choice=choice, log=log)
        return numbers(program(jnp.asarray(phi), last))

    centre = np.append(region.centre, last)
    if not np.all(np.isfinite(function(centre, False)[1])):
        return float("nan"), float("nan")  # a correlation with an effect without variance
    extreme = partial(_extreme, region, deviance, last=last, unit=unit)
    if is_sd:
        lower, upper = sd_ends(extreme, function, function(centre, False)[0] > 1e-8)
        unit_sd = fit.sigma * unit_sds[choice]
        return lower * unit_sd, upper * unit_sd
    ends = [or_nan(end) for end in extreme(partial(function, log=False))]
    if name != "sigma":
        return ends[0], ends[1]
    return fit.sigma * float(np.exp(ends[0])), fit.sigma * float(np.exp(ends[1]))


def _in_unit_effects(arrays: Arrays) -> tuple[tuple[jax.Array, ...], list[float]]:
    """`to_internal` for covariates such that T̃ = I has standard deviations of 1, and those it has.

    So no square of an effect leaves the range of numbers, in whatever units the covariates are. The
    standard deviations are in the order of `covariance_names`, with 1 for correlations.
    """
    inverses, units = [], list[float]()
    for matrix in arrays.to_internal:
        M = np.asarray(matrix)
        sds = np.linalg.norm(scipy.linalg.solve_triangular(M, np.eye(len(M)), lower=True), axis=1)
        inverses.append(jnp.asarray(M * sds))
        units += [*sds.tolist(), *[1.0] * (len(M) * (len(M) - 1) // 2)]
    return tuple(inverses), units


def sd_ends(extreme: Any, function: Any, positive: bool) -> Ends:
    """The ends of a standard deviation from those of its square, `function(φ, log)`.

    The variance itself may be zero at the lower end; its logarithm is better scaled above.
    """
    lower, upper = extreme(partial(function, log=False))
    if positive:
        ends = extreme(partial(function, log=True))
        upper = upper if ends[1] is None else np.exp(ends[1])
        lower = lower if ends[0] is None else np.exp(ends[0])
    return float(np.sqrt(max(or_nan(lower), 0.0))), float(np.sqrt(or_nan(upper)))


def numbers(result: Any) -> tuple[float, np.ndarray]:
    """Value and gradient for SciPy."""
    value, gradient = result
    return float(value), np.asarray(gradient)


def or_nan(end: float | None) -> float:
    """NaN where a search failed."""
    return float("nan") if end is None else float(end)
