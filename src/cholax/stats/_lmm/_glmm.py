"""`glmm`: fit a generalised linear mixed model by maximum likelihood with Laplace's method."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jax.typing import ArrayLike

from cholax._core import options
from cholax._core.compilation import compile_ahead
from cholax._core.errors import ArgumentError
from cholax._core.failures import tolerant
from cholax.stats._laplace import LaplaceResult
from cholax.stats._lmm import status as codes
from cholax.stats._lmm._optimize import Optimum, minimize
from cholax.stats._lmm.effects import random_effects, variance_components
from cholax.stats._lmm.estimates import SINGULAR, Uncertainty
from cholax.stats._lmm.fit import canonical, make_status
from cholax.stats._lmm.generalized import GeneralizedLinearMixedModel, Program
from cholax.stats._lmm.glmm_confint import profile_confint
from cholax.stats._lmm.identify import dependent_covariances, flat_parameters
from cholax.stats._lmm.layout import Layout
from cholax.stats._lmm.model import theta_names
from cholax.stats._lmm.result import MixedFit
from cholax.stats._lmm.separation import separating_direction
from cholax.stats._lmm.status import FitStatus
from cholax.stats._lmm.summary import glmm_summary
from cholax.stats._progress import reporting
from cholax.stats.likelihoods import Likelihood

# Curvature below this part of the largest counts as none, and what a parameter has of it.
_FLAT, _TOUCHED = 1e-9, 1e-3


@tolerant
def glmm(
    formula: str,
    data: Any,
    *,
    family: str | Likelihood = "poisson",
    weights: Any = None,
    offset: Any = None,
    trials: Any = None,
    exposure: Any = None,
    theta0: Any = None,
    max_iterations: int = 500,
    progress: bool | Callable[[str], Any] = False,
    throw: bool = False,
) -> "GLMMFit":
    """Fit y_i ~ family(η_i), η = offset + Xβ + Zb, from a formula in lme4's notation.

    −2 log L by Laplace's method is minimized over β, the covariance factors θ and the family's
    own parameters, with exact gradients; the exact Hessian confirms the minimum and gives the
    standard errors. Covariates are scaled on the way; results are on their own scale.

    Args:
        formula: `y ~ x + (1 | g) + (x | h)`, as for `lmm`.
        data: a pandas, polars or pyarrow table, or a mapping of columns. Rows with missing values
            are left out and counted.
        family: `"poisson"`, `"binomial"` (with `trials`), `"bernoulli"`, `"negative_binomial"`,
            any other name in `LIKELIHOODS`, or a `Likelihood`.
        weights: column name or vector, multiplies the rows' log-densities.
        offset: column name or vector, added to Xβ.
        trials: column name or vector: numbers of trials of binomial counts of successes.
        exposure: column name or vector of positive numbers that multiply the mean of counts.
        theta0: covariance factors θ to start from.
        max_iterations: most evaluations of the likelihood with its gradient.
        progress: True shows a line on stderr; a function gets each line as a text.
        throw: raise where the fit does not converge.

    Returns:
        A `GLMMFit`. Where the response is separated by the fixed effects no finite estimate
        exists: `converged` is False and `status.reason()` names them.

    Raises:
        ArgumentError: formula, data and family that make no model.
        ConvergenceError: with `throw`, a fit that does not converge.

    Example:
        >>> import jax, cholax.stats as cs
        >>> jax.config.update("jax_enable_x64", True)
        >>> data = {"y": [2, 0, 1, 5, 3, 7, 0, 1], "g": list("aabbccdd")}
        >>> fit = cs.glmm("y ~ 1 + (1 | g)", data, family="poisson")  # doctest: +SKIP
        >>> fit.converged, fit.beta.round(3).tolist(), fit.theta.round(3).tolist()  # doctest: +SKIP
        (True, [0.662], [0.655])

    Reference:
        Brooks et al. (2017), *The R Journal* 9(2); Kristensen et al. (2016), *Journal of
        Statistical Software* 70(5).
    """
    max_iterations = options.count(max_iterations, "glmm", "max_iterations", least=1)
    progress = options.progress(progress, "glmm")
    throw = options.flag(throw, "glmm", "throw")
    model = GeneralizedLinearMixedModel(
        formula, data, family=family, weights=weights, offset=offset, trials=trials,
        exposure=exposure,
    )  # fmt: skip
    objective = _Objective(model)
    logarithmic, scale = _search_scale(model)
    with reporting("glmm", "evaluation", progress) as report:
        found = minimize(
            objective.value_and_gradient,
            objective.hessian,
            _start(model, theta0),
            logarithmic=logarithmic,
            scale=scale,
            units=partial(_units, model),
            max_iterations=max_iterations,
            progress=report,
        )
    return _assemble(model, found).confirmed("glmm", throw)


class _Objective:
    """−2 log L; each search for the mode of U begins at the last one found."""

    def __init__(self, model: GeneralizedLinearMixedModel) -> None:
        self.program, self.rows = model.program, model.rows
        self.mode = jnp.zeros(int(model.layout.offsets[-1]))
        x = jnp.zeros(sum(self.program.sizes))
        self._ready = compile_ahead(
            Program.hessian_column, self.program, x, x, self.mode, self.rows
        )

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        (value, mode), slope = self.program.value_and_gradient(jnp.asarray(x), self.mode, self.rows)
        if np.isfinite(value):
            self.mode = mode
        return float(value), np.asarray(slope)

    def hessian(self, x: np.ndarray) -> np.ndarray:
        self._ready()
        point, program = jnp.asarray(x), self.program
        columns = [
            program.hessian_column(point, jnp.asarray(e), self.mode, self.rows)
            for e in np.eye(x.size)
        ]
        return np.stack(columns) if columns else np.zeros((0, 0))


def _search_scale(model: GeneralizedLinearMixedModel) -> tuple[np.ndarray, np.ndarray]:
    p, _, extra = model.program.sizes
    diagonal, scale = model.layout.search_scale()
    root = np.sqrt(model.design.n)
    before, after = np.full(p, root), np.full(extra, root)
    logarithmic = np.concatenate([np.zeros(p, bool), diagonal, np.zeros(extra, bool)])
    return logarithmic, np.concatenate([before, scale, after])


def _units(model: GeneralizedLinearMixedModel, x: np.ndarray) -> np.ndarray:
    p, k, extra = model.program.sizes
    return np.concatenate([np.ones(p), model.layout.units(x[p : p + k]), np.ones(extra)])


def _start(model: GeneralizedLinearMixedModel, theta0: Any) -> np.ndarray:
    """The fit without random effects, and the factors given or T̃ = ½ I."""
    p, _, extra = model.program.sizes
    program, rows = model.program, model.rows
    found = minimize(
        lambda x: program.fixed_value_and_gradient(jnp.asarray(x), rows),
        lambda x: np.asarray(program.fixed_hessian(jnp.asarray(x), rows)),
        np.zeros(p + extra),
        scale=np.full(p + extra, np.sqrt(model.design.n)),
        max_iterations=50,
        max_newton=3,
    )
    factors = [0.5 * np.eye(size) for _, size in model.layout.sizes]
    if theta0 is not None:
        size, names = sum(model.layout.theta_sizes), theta_names(model.design)
        remedy = f"The parameters are {', '.join(names)}."
        given = options.vector(theta0, "glmm", "theta0", (size,), remedy=remedy)
        pairs = zip(model.to_internal_factors, model.layout.templates(given), strict=True)
        factors = [np.asarray(m) @ T for m, T in pairs]
    return np.concatenate([found.x[:p], model.layout.theta(factors), found.x[p:]])


@dataclass(frozen=True, eq=False)
class GLMMFit(MixedFit):
    """A fitted generalised linear mixed model; see `MixedFit` for what it shares with linear ones.

    Attributes:
        model: the log-likelihood as a differentiable function, `model.log_likelihood(beta, theta)`.
        family_parameters: estimates on their natural scale.
        theta_se: `(k,)` standard errors of θ; NaN in singular fits. Those of log θ are
            `theta_se / theta`.
        family_internal: the same estimates without constraints, in which they were searched: log
            of positive parameters, logit of probabilities.
        family_internal_se: their standard errors; NaN where the likelihood does not change.
        optimum: the end of the search, β̃, θ̃ and the family's parameters in internal coordinates.
        approximation: the Laplace approximation at the estimates.
    """

    model: GeneralizedLinearMixedModel
    family_parameters: dict[str, float]
    theta_se: np.ndarray
    family_internal: dict[str, float]
    family_internal_se: dict[str, float]
    approximation: LaplaceResult
    optimum: Optimum

    @property
    def family_se(self) -> dict[str, float]:
        """Standard errors of the family's parameters as they are, by the delta method."""
        supports = {p.name: p.support for p in self.model.family.parameters}
        slopes = {n: jax.grad(supports[n].forward)(z) for n, z in self.family_internal.items()}
        return {n: abs(float(slopes[n])) * se for n, se in self.family_internal_se.items()}

    @property
    def parameters(self) -> int:
        """Fixed effects, θ and the family's own parameters."""
        return self.beta.size + self.theta.size + len(self.family_parameters)

    @property
    def deviance(self) -> float:
        """−2 log L."""
        return -2.0 * self.log_likelihood

    @property
    def _given(self) -> dict[str, Any]:
        """Everything but η that the family's distribution depends on."""
        return {**self.family_parameters, **self.design.extra}

    def uncertainty(self) -> Uncertainty:
        """Cov(β, b) from the Hessian of the joint log-density at its mode."""
        model, layout = self.model, self.model.layout
        rows, templates = model.rows, layout.templates(self.theta)
        eta = jnp.asarray(self.linear_predictor)

        def slope(eta: jax.Array) -> jax.Array:
            density = lambda x: jnp.sum(  # noqa: E731
                model.family.log_prob(rows.y, x, **self.family_parameters, **rows.known)
            )
            return jax.grad(density)(eta)

        # The density is elementwise in η, so one direction gives the whole diagonal.
        curvature = -rows.weights * jax.jvp(slope, (eta,), (jnp.ones_like(eta),))[1]
        pairs = zip(model.to_internal_factors, templates, strict=True)
        internal = [jnp.asarray(np.asarray(m) @ T) for m, T in pairs]
        cross = rows.Z.T @ (curvature[:, None] * self.design.X)
        scaled = layout.scale(internal, cross, transpose=True)
        factor = self.approximation.factor
        return Uncertainty(factor, 1.0, np.asarray(factor.solve(scaled)), templates)

    def mean_and_slope(
        self, eta: ArrayLike, known: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The mean of the family per trial, and its slope in η."""
        family = self.model.family
        single = {p.name: 1.0 for p in family.parameters if p.name == "trials"}
        mean = partial(family.mean, **single, **self.family_parameters, **known)
        eta = jnp.asarray(eta)
        # Elementwise in η, so one direction gives every slope.
        value, slope = jax.jvp(mean, (eta,), (jnp.ones_like(eta),))
        return np.asarray(value), np.asarray(slope)

    @property
    def fitted(self) -> np.ndarray:
        """`(n,)` E(y | b) at the conditional modes, for the rows used."""
        return np.asarray(self.model.family.mean(self.linear_predictor, **self._given))

    @property
    def residuals(self) -> np.ndarray:
        """`(n,)` y − fitted."""
        return self.design.y - self.fitted

    @property
    def scaled_residuals(self) -> np.ndarray:
        """`(n,)` Pearson residuals √w (y − μ)/√Var(y)."""
        variance = self.model.family.variance(self.linear_predictor, **self._given)
        return np.sqrt(self.design.weights / np.asarray(variance)) * self.residuals

    def _profile_confint(
        self, level: float, parameters: Sequence[str] | None
    ) -> dict[str, tuple[float, float]]:
        return profile_confint(self, level, parameters)

    @property
    def kind(self) -> str:
        """The family."""
        return f"the family {self.model.family.name}"

    def by_likelihood(self) -> "GLMMFit":
        """This fit."""
        return self

    def _refit(self, formula: str, data: Any, given: dict[str, Any]) -> "GLMMFit":
        if "reml" in given:
            raise ArgumentError("update: a generalised model has no reml=.")
        return glmm(formula, data, **given)

    def summary(self) -> str:
        """The fit as a text table."""
        return glmm_summary(self)

    def __str__(self) -> str:
        return self.summary()

    def _responses(self, u: jax.Array, key: jax.Array) -> jax.Array:
        layout = self.model.layout
        pairs = zip(self.model.to_internal_factors, layout.templates(self.theta), strict=True)
        b = layout.scale(tuple(m @ T for m, T in pairs), u)
        eta = (self.design.offset + self.design.X @ self.beta)[:, None] + self.model.rows.Z @ b
        # The vectors of the design, of one row each, go with every draw.
        given = {name: jnp.broadcast_to(x, eta.T.shape) for name, x in self._given.items()}
        return self.model.family.sample(key, eta.T, **given)


def _assemble(model: GeneralizedLinearMixedModel, found: Optimum) -> GLMMFit:
    design, layout = model.design, model.layout
    p, k, _ = model.program.sizes
    internal = np.concatenate(
        [found.x[:p], canonical(layout, found.x[p : p + k]), found.x[p + k :]]
    )
    _, _, natural = model.program.split(jnp.asarray(internal))
    beta = scipy.linalg.solve_triangular(model.R, internal[:p])
    factors = layout.templates(internal[p : p + k])
    inverses = [np.asarray(m) for m in model.to_internal_factors]
    user = [np.linalg.solve(m, T) for m, T in zip(inverses, factors, strict=True)]
    theta = layout.theta(user)
    approximation = model.approximate(beta, theta, **natural)
    status = _status(model, make_status(found, factors, _undetermined(model, found, factors)))
    vcov, theta_se, internal_se = _covariances(model, found, internal, status.singular)
    inverse = approximation.factor.selected_inverse(layout.pattern)
    u = np.asarray(approximation.flat_mode)
    return GLMMFit(
        design=design,
        theta=theta,
        theta_names=theta_names(design),
        beta=beta,
        _covariance=vcov,
        varcorr=variance_components(design.terms, [T @ T.T for T in user]),
        ranef=random_effects(design.terms, layout, user, u, inverse, 1.0),
        log_likelihood=float(approximation.log_marginal),
        status=status,
        model=model,
        family_parameters={name: float(x) for name, x in natural.items()},
        theta_se=theta_se,
        family_internal=dict(zip(natural, internal[p + k :].tolist(), strict=True)),
        family_internal_se=dict(zip(natural, internal_se.tolist(), strict=True)),
        approximation=approximation,
        optimum=found,
    )


def _status(model: GeneralizedLinearMixedModel, status: FitStatus) -> FitStatus:
    design = model.design
    direction = separating_direction(model.family, design.y, design.X, design.extra)
    if direction is None:
        return status
    size = np.abs(direction) * np.max(np.abs(design.X), axis=0)
    named = [name for name, part in zip(design.names, size, strict=True) if part > 1e-6]
    return replace(status, converged=False, code=codes.SEPARATED, detail=", ".join(named))


def _undetermined(
    model: GeneralizedLinearMixedModel, found: Optimum, factors: Sequence[np.ndarray]
) -> list[str]:
    """Covariances that the data, or the likelihood at its maximum, do not determine."""
    names = theta_names(model.design)
    gaussian = model.family.name == "gaussian"
    dependent = dependent_covariances(model.layout, model.blocks, names, residual=gaussian)
    if dependent or any(np.min(np.diag(T)) < SINGULAR for T in factors):
        return dependent
    p, _, _ = model.program.sizes
    _, scale = _search_scale(model)
    everything = ["" for _ in range(p)] + list(names)
    flat = flat_parameters(found.hessian, _units(model, found.x), scale, everything)
    return [name for name in flat if name]


def _covariances(
    model: GeneralizedLinearMixedModel, found: Optimum, internal: np.ndarray, singular: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cov(β), standard errors of θ and of the family's parameters from the Hessian of −log L."""
    p, k, extra = model.program.sizes
    if not np.all(np.isfinite(found.hessian)):
        return np.full((p, p), np.nan), np.full(k, np.nan), np.full(extra, np.nan)
    # Directions in which the likelihood does not change carry no information on β either.
    covariance = np.asarray(scipy.linalg.pinvh(0.5 * found.hessian, rtol=_FLAT))
    inverse_R = scipy.linalg.solve_triangular(model.R, np.eye(p))
    vcov = inverse_R @ covariance[:p, :p] @ inverse_R.T
    error = np.where(_flat(found.hessian), np.nan, np.sqrt(np.diag(covariance)))
    if singular or not k:
        return vcov, np.full(k, np.nan), error[p + k :]
    # Without zeros on diagonals the canonical factor differs in signs alone; θ is linear in θ̃.
    signs = np.where(found.x[p : p + k] * internal[p : p + k] < 0, -1.0, 1.0)
    J = _to_user_jacobian(model.layout, [np.asarray(m) for m in model.to_internal_factors]) * signs
    theta = np.sqrt(np.diag(J @ covariance[p : p + k, p : p + k] @ J.T))
    return vcov, np.where(np.isnan(error[p : p + k]), np.nan, theta), error[p + k :]


def _flat(hessian: np.ndarray) -> np.ndarray:
    """Which parameters take part in directions without curvature."""
    values, directions = np.linalg.eigh(0.5 * (hessian + hessian.T))
    flat = directions[:, np.abs(values) <= _FLAT * np.max(np.abs(values), initial=0.0)]
    return np.max(np.abs(flat), axis=1, initial=0.0) > _TOUCHED


def _to_user_jacobian(layout: Layout, inverses: list[np.ndarray]) -> np.ndarray:
    columns = []
    for e in np.eye(sum(layout.theta_sizes)):
        pairs = zip(inverses, layout.templates(e), strict=True)
        user = [np.linalg.solve(m, T) for m, T in pairs]
        columns.append(layout.theta(user))
    return np.stack(columns, axis=1)
