"""Profile-likelihood intervals of generalised linear mixed models, by the search of `confint`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from scipy.special import ndtri

from cholax._core.errors import ArgumentError
from cholax._core.failures import tolerant
from cholax.stats._lmm.confint import (
    Ball,
    Ends,
    ball_root,
    covariance_names,
    covariance_parts,
    extremes,
    numbers,
    or_nan,
    sd_ends,
)
from cholax.stats._lmm.layout import Layout


@tolerant
def profile_confint(fit: Any, level: float, parameters: Sequence[str] | None) -> dict[str, Ends]:
    """Intervals for fixed effects, `sd(group.column)`, `cor(group.a,b)` and family parameters.

    Args:
        fit: of a generalised linear mixed model.
        level: coverage.
        parameters: names, by default all.

    Raises:
        ArgumentError: an unknown name.
    """
    variances, family = covariance_names(fit), list(fit.family_parameters)
    known = [*fit.names, *variances, *family]
    wanted = known if parameters is None else list(parameters)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ArgumentError(f"confint: no parameter {unknown}; there are {known}.")
    if not np.all(np.isfinite(fit.optimum.hessian)):
        return dict.fromkeys(wanted, (float("nan"), float("nan")))
    reach = float(ndtri(0.5 + level / 2))
    root = ball_root(fit.optimum.hessian, reach)
    ball = Ball(fit.optimum.x, root, fit.optimum.value + reach**2, reach)
    extreme = partial(extremes, ball, _deviance(fit))
    found = {}
    for name in wanted:
        if name in fit.names:
            found[name] = _fixed_ends(fit, extreme, fit.names.index(name))
        elif name in variances:
            found[name] = _variance_ends(fit, extreme, variances.index(name), name)
        else:
            found[name] = _family_ends(fit, extreme, family.index(name))
    return found


def _deviance(fit: Any) -> Any:
    """−2 log L in internal coordinates; all searches for the mode begin at that of the fit."""
    program, rows = fit.model.program, fit.model.rows
    mode = fit.approximation.flat_mode

    def deviance(phi: np.ndarray) -> tuple[float, np.ndarray]:
        (value, _), slope = program.value_and_gradient(jnp.asarray(phi), mode, rows)
        return numbers((value, slope))

    return deviance


def _linear(weights: np.ndarray, phi: np.ndarray) -> tuple[float, np.ndarray]:
    return float(weights @ phi), weights


def _fixed_ends(fit: Any, extreme: Any, k: int) -> Ends:
    # β = R⁻¹β̃.
    p = fit.beta.size
    row = scipy.linalg.solve_triangular(fit.model.R, np.eye(p)[k], trans=1)
    lower, upper = extreme(partial(_linear, np.append(row, np.zeros(fit.optimum.x.size - p))))
    return or_nan(lower), or_nan(upper)


def _family_ends(fit: Any, extreme: Any, k: int) -> Ends:
    p, size, _ = fit.model.program.sizes
    name = fit.model.program.free[k]
    support = next(x.support for x in fit.model.family.parameters if x.name == name)
    ends = extreme(partial(_linear, np.eye(fit.optimum.x.size)[p + size + k]))
    lower, upper = sorted(float(support.forward(jnp.asarray(or_nan(end)))) for end in ends)
    return lower, upper


@partial(jax.jit, static_argnames=("layout", "choice", "log"))
def _function(layout: Layout, inverses: Any, theta: Any, *, choice: int, log: bool) -> Any:
    def value(theta: jax.Array) -> jax.Array:
        chosen = covariance_parts(layout.templates(theta), inverses, 1.0)[choice]
        return jnp.log(chosen) if log else chosen

    return jax.value_and_grad(value)(theta)


def _variance_ends(fit: Any, extreme: Any, choice: int, name: str) -> Ends:
    layout, inverses = fit.model.layout, fit.model.to_internal_factors
    p, k, _ = fit.model.program.sizes

    def function(phi: np.ndarray, log: bool) -> tuple[float, np.ndarray]:
        found = _function(layout, inverses, jnp.asarray(phi[p : p + k]), choice=choice, log=log)
        value, slope = numbers(found)
        return value, np.concatenate([np.zeros(p), slope, np.zeros(phi.size - p - k)])

    here = function(fit.optimum.x, False)
    if not np.all(np.isfinite(here[1])):
        return float("nan"), float("nan")  # a correlation with an effect without variance
    if name.startswith("sd("):
        return sd_ends(extreme, function, here[0] > 1e-8)
    lower, upper = extreme(partial(function, log=False))
    return or_nan(lower), or_nan(upper)
