"""`lmm`: fit a linear mixed model by maximum likelihood or REML."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import scipy.linalg

from cholax._core import options
from cholax._core.failures import tolerant
from cholax.stats._lmm import status as codes
from cholax.stats._lmm._optimize import Optimum, minimize
from cholax.stats._lmm.confint import profile_confint
from cholax.stats._lmm.deviance import Profile
from cholax.stats._lmm.effects import random_effects, variance_components
from cholax.stats._lmm.estimates import SINGULAR, Uncertainty
from cholax.stats._lmm.identify import dependent_covariances, flat_parameters
from cholax.stats._lmm.layout import Layout
from cholax.stats._lmm.model import LinearMixedModel
from cholax.stats._lmm.result import MixedFit
from cholax.stats._lmm.status import FitStatus
from cholax.stats._lmm.summary import lmm_summary
from cholax.stats._progress import reporting


@tolerant
def lmm(
    formula: str,
    data: Any,
    *,
    reml: bool = True,
    weights: Any = None,
    offset: Any = None,
    theta0: Any = None,
    max_iterations: int = 500,
    progress: bool | Callable[[str], Any] = False,
    throw: bool = False,
) -> "LMMFit":
    """Fit y = Xβ + Zb + ε, a linear mixed model, from a formula in lme4's notation.

    The profiled deviance (or REML criterion) is minimized over the relative covariance factors θ
    with its exact gradient, and the minimum confirmed by the exact Hessian. Covariates are scaled
    on the way; results are on their own scale. θ is searched without bounds: the criterion
    depends on ΛΛᵀ alone, so beyond θ_ii = 0 it goes on smoothly and a bound could only stop a
    search too early. A variance of zero is then an ordinary minimum, and `singular` says so.

    Args:
        formula: `y ~ x + (1 | g) + (x | h)`; `(x || h)` for independent effects, `(1 | a/b)` for
            nested and `(1 | a:b)` for combined factors. formulaic reads the parts between bars.
        data: a pandas, polars or pyarrow table, or a mapping of columns. Rows with missing values
            are left out; `fit.design.dropped` counts them.
        reml: restricted maximum likelihood instead of maximum likelihood.
        weights: column name or vector; Var(ε_i) = σ²/w_i.
        offset: column name or vector, added to Xβ.
        theta0: θ to start from.
        max_iterations: most evaluations of the criterion with its gradient.
        progress: True shows a line on stderr; a function gets each line as a text.
        throw: raise where the fit does not converge.

    Returns:
        An `LMMFit`: estimates, conditional modes, tables, plots.

    Raises:
        ArgumentError: formula and data that make no model.
        ShapeError: columns or vectors of different lengths.
        ConvergenceError: with `throw`, a fit that does not converge.

    Example:
        >>> import jax, numpy as np, cholax.stats as cs
        >>> jax.config.update("jax_enable_x64", True)
        >>> y, g = np.array([1.0, 2.0, 4.0, 6.0]), ["a", "a", "b", "b"]
        >>> fit = cs.lmm("y ~ 1 + (1 | g)", {"y": y, "g": g})
        >>> fit.beta.round(4).tolist(), round(fit.sigma, 4), fit.varcorr["g"].sd.round(4).tolist()
        ([3.25], 1.118, [2.3452])

    Reference:
        Bates, Mächler, Bolker & Walker (2015), *Journal of Statistical Software* 67(1).
    """
    reml = options.flag(reml, "lmm", "reml")
    max_iterations = options.count(max_iterations, "lmm", "max_iterations", least=1)
    progress = options.progress(progress, "lmm")
    throw = options.flag(throw, "lmm", "throw")
    model = LinearMixedModel(formula, data, weights=weights, offset=offset)
    first = model.start
    if theta0 is not None:
        remedy = f"The parameters are {', '.join(model.theta_names)}."
        first = options.vector(theta0, "lmm", "theta0", first.shape, remedy=remedy)
    optimum = search(model, first, reml, max_iterations, progress)
    return assemble(model, optimum, reml).confirmed("lmm", throw)


def search(
    model: LinearMixedModel, theta: np.ndarray, reml: bool, max_iterations: int, progress: Any
) -> Optimum:
    """Minimize the criterion in internal coordinates."""
    logarithmic, scale = model.layout.search_scale()
    ready = model.compile_hessian(reml=reml)

    def hessian(x: np.ndarray) -> np.ndarray:
        ready()
        return model.hessian(x, reml=reml)

    with reporting("lmm", "evaluation", progress) as report:
        return minimize(
            partial(model.value_and_gradient, reml=reml),
            hessian,
            model.to_internal(theta),
            logarithmic=logarithmic,
            scale=scale,
            units=model.layout.units,
            max_iterations=max_iterations,
            progress=report,
        )


@dataclass(frozen=True, eq=False)
class LMMFit(MixedFit):
    """A fitted linear mixed model; see `MixedFit` for what it shares with generalised ones.

    Attributes:
        model: the criterion as a differentiable function, `model.deviance(theta)`.
        reml: whether it was fitted by REML.
        criterion: minimal deviance, or minimal REML criterion.
        sigma: residual standard deviation.
        optimum: the end of the search, with gradient and Hessian in internal coordinates.
        internal: θ there, with non-negative diagonals.
    """

    model: LinearMixedModel
    reml: bool
    criterion: float
    sigma: float
    optimum: Optimum
    internal: np.ndarray

    @property
    def parameters(self) -> int:
        """Fixed effects, θ and σ."""
        return self.beta.size + self.theta.size + 1

    @property
    def deviance(self) -> float:
        """−2 log L, not restricted, at the estimates of θ."""
        if not self.reml:
            return self.criterion
        return float(self.model.deviance(self.theta))

    @property
    def fitted(self) -> np.ndarray:
        """`(n,)` Xβ + Zb + offset for the rows used."""
        return self.linear_predictor

    def uncertainty(self) -> Uncertainty:
        """Cov(β, b) from the mixed-model equations at the estimates of θ and σ."""
        layout = self.model.layout
        found, _ = self.model.evaluate(self.internal, reml=self.reml)
        sensitivity = np.asarray(found.solution)[:, : layout.fixed] @ self.model.coordinates.R
        return Uncertainty(found.factor, self.sigma**2, sensitivity, layout.templates(self.theta))

    def mean_and_slope(
        self, eta: np.ndarray, known: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """E y = η."""
        del known
        return eta, np.ones_like(eta)

    @property
    def residuals(self) -> np.ndarray:
        """`(n,)` y − fitted."""
        return self.design.y - self.fitted

    @property
    def scaled_residuals(self) -> np.ndarray:
        """`(n,)` √w (y − fitted)/σ."""
        return np.sqrt(self.design.weights) * self.residuals / self.sigma

    @property
    def kind(self) -> str:
        """A linear model."""
        return "a linear model"

    def by_likelihood(self) -> "LMMFit":
        """This fit, or after REML the same model fitted by maximum likelihood."""
        if not self.reml:
            return self
        return assemble(self.model, search(self.model, self.theta, False, 500, None), False)

    def _refit(self, formula: str, data: Any, given: dict[str, Any]) -> "LMMFit":
        return lmm(formula, data, **{"reml": self.reml, **given})

    def summary(self) -> str:
        """The fit as a text table."""
        return lmm_summary(self)

    def __str__(self) -> str:
        return self.summary()

    def _profile_confint(
        self, level: float, parameters: Sequence[str] | None
    ) -> dict[str, tuple[float, float]]:
        return profile_confint(self, level, parameters)

    def _responses(self, u: jax.Array, key: jax.Array) -> jax.Array:
        layout, arrays = self.model.layout, self.model.arrays
        noise = jax.random.normal(key, (self.design.n, u.shape[1]), u.dtype)
        templates = layout.templates(self.internal)
        drawn = arrays.Z @ layout.scale(templates, u) + noise
        root = np.sqrt(self.design.weights)
        mean = self.design.offset + self.design.X @ self.beta
        return mean + self.sigma * (drawn / root[:, None]).T


@partial(jax.jit, static_argnames=("layout",))
def _inverse(layout: Layout, found: Profile) -> Any:
    del layout
    return found.factor.selected_inverse()


def assemble(model: LinearMixedModel, optimum: Optimum, reml: bool) -> LMMFit:
    """The fit that belongs to the end of a search."""
    design, layout = model.design, model.layout
    internal = canonical(layout, optimum.x)
    T = layout.templates(internal)
    found, _ = model.evaluate(internal, reml=reml)
    nu = design.n - layout.fixed if reml else design.n
    scale = float(found.r2) / nu
    theta = model.to_user(internal)
    user = layout.templates(theta)
    V, beta = np.asarray(found.solution), np.asarray(found.beta)
    u = V[:, layout.fixed] - V[:, : layout.fixed] @ beta
    inverse_R = scipy.linalg.solve_triangular(model.coordinates.R, np.eye(layout.fixed))
    vcov = scale * inverse_R @ np.linalg.solve(np.asarray(found.schur), inverse_R.T)
    criterion = float(found.criterion)
    return LMMFit(
        design=design,
        theta=theta,
        theta_names=model.theta_names,
        beta=inverse_R @ beta + model.coordinates.shift,
        _covariance=0.5 * (vcov + vcov.T),
        varcorr=variance_components(design.terms, [scale * t @ t.T for t in user]),
        ranef=random_effects(design.terms, layout, user, u, _inverse(layout, found), scale),
        log_likelihood=-0.5 * criterion,
        status=make_status(optimum, T, _undetermined(model, optimum)),
        model=model,
        reml=reml,
        criterion=criterion,
        sigma=float(np.sqrt(scale)),
        optimum=optimum,
        internal=internal,
    )


def make_status(
    optimum: Optimum, templates: Sequence[np.ndarray], undetermined: Sequence[str] = ()
) -> FitStatus:
    """The status of a fit from its search and its factors in internal coordinates.

    Args:
        optimum: the end of the search.
        templates: T̃ of each term there.
        undetermined: names of covariances that the data do not determine.
    """
    singular = any(bool(np.min(np.diag(T)) < SINGULAR) for T in templates)
    code, detail = optimum.code, ""
    if undetermined:
        code, detail = codes.NOT_IDENTIFIED, ", ".join(dict.fromkeys(undetermined))
    return FitStatus(
        code == codes.CONVERGED,
        code,
        optimum.evaluations,
        singular,
        optimum.hessians,
        optimum.gradient_norm,
        optimum.decrease,
        detail,
    )


def _undetermined(model: LinearMixedModel, optimum: Optimum) -> list[str]:
    """Covariances that the data, or the criterion at its minimum, do not determine."""
    layout, names = model.layout, model.theta_names
    found = dependent_covariances(layout, model.arrays.blocks, names, residual=True)
    factors = layout.templates(canonical(layout, optimum.x))
    if found or any(np.min(np.diag(T)) < SINGULAR for T in factors):
        return found  # where a variance is zero some entries of T do not matter
    _, scale = layout.search_scale()
    return flat_parameters(optimum.hessian, layout.units(optimum.x), scale, names)


def canonical(layout: Layout, internal: np.ndarray) -> np.ndarray:
    """The lower triangular factors with non-negative diagonal of the same T Tᵀ, term by term.

    Where a diagonal entry is zero the factor is not unique: that of the semidefinite Cholesky
    factorisation is taken, in which the rest of the column is zero too.
    """
    return layout.theta([_semidefinite_factor(T) for T in layout.templates(internal)])


def _semidefinite_factor(T: np.ndarray) -> np.ndarray:
    # By rotations from the right (QR of Tᵀ), without squaring T.
    L = np.zeros_like(T)
    rest = T.copy()
    # In internal coordinates this is a variance of 1e-14 of the residual variance.
    tiny = 1e-7 * max(float(np.max(np.abs(T), initial=0.0)), 1.0)
    for k in range(T.shape[0]):
        length = np.linalg.norm(rest[k])
        if length <= tiny:
            continue
        direction = rest[k] / length
        L[k:, k] = rest[k:] @ direction
        L[k, k] = length
        rest = rest - np.outer(rest @ direction, direction)
    return L
