"""`fit_ml`, `fit_map`, `fit_reml`: the parameters that maximize a Laplace log-marginal."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from cholax._core import options
from cholax._core.errors import ArgumentError, ConvergenceError
from cholax._core.failures import tolerant
from cholax._core.foreign import refuse_foreign_tree
from cholax._core.jax_compat import boundary
from cholax.stats._laplace import LaplaceModel, laplace
from cholax.stats._laplace.model import check_real
from cholax.stats._progress import reporting
from cholax.stats.constraints import Constraints, widened
from cholax.stats.fit import status as codes
from cholax.stats.fit._optimize import minimize
from cholax.stats.fit.programs import Evaluator, LogPrior
from cholax.stats.fit.result import Fit, make_fit


@boundary
def fit_ml(
    model: LaplaceModel,
    theta0: Any,
    *args: Any,
    u0: Any = None,
    max_iterations: int = 200,
    progress: bool | Callable[[str], None] = False,
    throw: bool = False,
) -> Fit:
    """Maximum likelihood: θ̂ = argmax log_marginal(θ).

    BFGS, scaled by an exact Hessian, and exact Newton steps at the end; each evaluation starts the
    inner search at the last mode. The parameters are free real numbers: use logs of variances.

    Args:
        model: from `laplace`.
        theta0: where to start, a pytree of floating-point numbers and arrays of one dtype.
        *args: further arguments of the model's `log_joint`, held fixed.
        u0: where the first inner search starts.
        max_iterations: most steps.
        progress: show one line that changes while the fit runs, or a function that gets it.
        throw: raise `ConvergenceError` where the fit did not converge.

    Returns:
        A `Fit`. Look at `fit.status`: a maximum at infinity (a variance of zero, a separated
        response) is reported there, with the parameters concerned.

    Raises:
        ArgumentError: the model is not one, or an option is out of range.
        ConvergenceError: with `throw`.

    Example:
        >>> import jax, jax.numpy as jnp, cholax.stats as cs
        >>> jax.config.update("jax_enable_x64", True)
        >>> y = jnp.array([3.1, 0.4, 1.6, 2.9])
        >>> def log_joint(u, theta):  # y ~ N(μ + u, 1), u ~ N(0, σ²)
        ...     prior = -0.5 * u**2 * jnp.exp(-2 * theta["log_sd"]) - theta["log_sd"]
        ...     return jnp.sum(prior - 0.5 * (y - theta["mean"] - u) ** 2)
        >>> model = cs.laplace(log_joint, jnp.zeros(4))
        >>> fit = cs.fit_ml(model, {"mean": 0.0, "log_sd": 0.0})
        >>> fit.status.reason(), round(float(fit.theta["mean"]), 6)
        ('converged', 2.0)

    Reference:
        Kristensen, Nielsen, Berg, Skaug & Bell, J. Stat. Softw. 70 (2016).
    """
    return _fit("fit_ml", model, theta0, args, None, u0, max_iterations, progress, throw)


@boundary
def fit_map(
    model: LaplaceModel,
    theta0: Any,
    log_prior: Callable[[Any], Any],
    *args: Any,
    u0: Any = None,
    max_iterations: int = 200,
    progress: bool | Callable[[str], None] = False,
    throw: bool = False,
) -> Fit:
    """Posterior mode: θ̂ = argmax log_marginal(θ) + log_prior(θ).

    Args:
        model: from `laplace`.
        theta0: where to start.
        log_prior: log-density of θ as it is parametrized here: a prior on a variance is to be
            written for its logarithm, with the Jacobian, where θ holds the logarithm.
        *args: further arguments of the model's `log_joint`.
        u0: where the first inner search starts.
        max_iterations: most steps.
        progress: as for `fit_ml`.
        throw: as for `fit_ml`.

    Returns:
        A `Fit`; its covariance is that of the Gaussian approximation to the posterior of θ.

    Example:
        >>> import jax, jax.numpy as jnp, cholax.stats as cs
        >>> jax.config.update("jax_enable_x64", True)
        >>> model = cs.laplace(lambda u, t: -0.5 * jnp.sum((u - t) ** 2 + u**2), jnp.zeros(2))
        >>> fit = cs.fit_map(model, 0.0, lambda t: -0.5 * (t - 2.0) ** 2)  # doctest: +SKIP
        >>> round(float(fit.theta), 6)  # doctest: +SKIP
        1.0
    """
    return _fit("fit_map", model, theta0, args, log_prior, u0, max_iterations, progress, throw)


@boundary
def fit_reml(
    model: LaplaceModel,
    theta0: Any,
    *args: Any,
    fixed: str | Sequence[str],
    u0: Any = None,
    max_iterations: int = 200,
    progress: bool | Callable[[str], None] = False,
    throw: bool = False,
) -> Fit:
    """Restricted maximum likelihood: the fixed effects are integrated out as well, flat prior.

    The parameters named by `fixed` join u, so `fit.mode` is a dictionary with the entries `"u"`
    and each of them, and `fit.theta` has them no more. For a linear mixed model that is REML.

    Args:
        model: from `laplace`, its theta a dictionary.
        theta0: where to start, a dictionary with all parameters.
        *args: further arguments of the model's `log_joint`.
        fixed: keys of the parameters to integrate.
        u0: where the first inner search starts, of the model's own u.
        max_iterations: most steps.
        progress: as for `fit_ml`.
        throw: as for `fit_ml`.

    Returns:
        A `Fit`.

    Raises:
        ArgumentError: theta0 is no dictionary with these keys.

    Example:
        >>> import jax, jax.numpy as jnp, cholax.stats as cs
        >>> jax.config.update("jax_enable_x64", True)
        >>> y = jnp.array([3.1, 0.4, 1.6, 2.9])
        >>> def log_joint(u, theta):  # y ~ N(μ, 1 + σ²)
        ...     prior = -0.5 * u**2 * jnp.exp(-2 * theta["log_sd"]) - theta["log_sd"]
        ...     return jnp.sum(prior - 0.5 * (y - theta["mean"] - u) ** 2)
        >>> model = cs.laplace(log_joint, jnp.zeros(4))
        >>> fit = cs.fit_reml(model, {"mean": 0.0, "log_sd": 0.0}, fixed="mean")  # doctest: +SKIP
        >>> round(float(jnp.exp(2 * fit.theta["log_sd"])), 4)  # doctest: +SKIP
        0.5133

    Reference:
        Patterson & Thompson, Biometrika 58 (1971).
    """
    names = options.texts(fixed, "fit_reml", "fixed")
    if not isinstance(model, LaplaceModel):
        raise ArgumentError(
            f"fit_reml: need a model from cholax.stats.laplace, got {type(model).__name__}."
        )
    if not isinstance(theta0, dict) or not all(name in theta0 for name in names):
        raise ArgumentError(
            f"fit_reml: theta0 must be a dictionary with the keys {list(names)}, got "
            f"{options.shown(theta0)}. "
            "For other structures make the fixed effects a part of u and use fit_ml."
        )
    moved = {name: theta0[name] for name in names}
    rest = {name: value for name, value in theta0.items() if name not in names}
    inner = model.start if u0 is None else model.checked_start(u0, "fit_reml")
    refuse_foreign_tree(moved, "fit_reml: theta0")
    start = {"u": inner, **jax.tree.map(_as_float, moved)}
    integrated = _integrating(model, names, start)
    return _fit("fit_reml", integrated, rest, args, None, start, max_iterations, progress, throw)


def _integrating(model: LaplaceModel, names: tuple[str, ...], start: Any) -> LaplaceModel:
    """The model with some parameters in u; kept with it, so that fits share their programs."""
    key = names, jax.tree.structure(start), tuple(jnp.shape(x) for x in jax.tree.leaves(start))
    kept = model.__dict__.setdefault("_integrating", {})
    if key in kept:
        return kept[key]
    log_joint = model.log_joint

    def with_fixed(v: Any, rest: Any, *args: Any) -> Any:
        theta = {**rest, **{name: v[name] for name in names}}
        return log_joint(v["u"], theta, *args)

    like = jax.tree.map(jnp.asarray, start)
    constraints = None
    if model.constraints is not None:
        # The leaves of a dictionary are ordered by key.
        order = sorted(like)
        widths = [sum(jnp.size(x) for x in jax.tree.leaves(like[name])) for name in order]
        at = order.index("u")
        rows, e = model.constraints.rows, model.constraints.e
        constraints = Constraints(widened(rows, sum(widths[:at]), sum(widths[at + 1 :])), e)
    made = laplace(with_fixed, like, constraints=constraints, **model.options)
    return kept.setdefault(key, made)


@tolerant
def _fit(
    where: str,
    model: LaplaceModel,
    theta0: Any,
    args: tuple[Any, ...],
    log_prior: LogPrior,
    u0: Any,
    max_iterations: int,
    progress: Any,
    throw: bool,
) -> Fit:
    if not isinstance(model, LaplaceModel):
        raise ArgumentError(
            f"{where}: need a model from cholax.stats.laplace, got {type(model).__name__}."
        )
    max_iterations = options.count(max_iterations, where, "max_iterations", least=1)
    throw = options.flag(throw, where, "throw")
    progress = options.progress(progress, where)
    if log_prior is not None:
        options.function(log_prior, where, "log_prior")
    refuse_foreign_tree(theta0, f"{where}: theta0")
    theta0 = jax.tree.map(_as_float, theta0)
    check_real(theta0, where, "theta0")
    flat = np.asarray(ravel_pytree(theta0)[0])
    start = model.start if u0 is None else model.checked_start(u0, where)
    evaluator = Evaluator(model, log_prior, theta0, args, start)
    with reporting(where, "iteration", progress) as report:
        outcome = minimize(evaluator, flat, max_iterations=max_iterations, report=report)
    fit = make_fit(model, log_prior, args, evaluator, outcome)
    if throw and outcome.code != codes.CONVERGED:
        raise ConvergenceError(
            f"{where}: need a maximum, got gradient norm {fit.status.gradient_norm:.3g}: "
            f"{fit.status.reason()}."
        )
    return fit


def _as_float(leaf: Any) -> jax.Array:
    """An array; Python integers are meant as numbers."""
    return jnp.asarray(float(leaf)) if type(leaf) is int else jnp.asarray(leaf)
