"""`Fit`: what a fit found, and inference from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.pickling import Portable
from cholax.linalg.matrix import SparseMatrix
from cholax.stats._laplace import LaplaceModel, LaplaceResult
from cholax.stats.fit import status as codes
from cholax.stats.fit._optimize import Outcome
from cholax.stats.fit.delta import Delta, delta
from cholax.stats.fit.joint import joint_precision, joint_sample
from cholax.stats.fit.profile import Profile, profile
from cholax.stats.fit.programs import Evaluator, LogPrior
from cholax.stats.fit.status import FitStatus


@dataclass(frozen=True, eq=False)
class Fit(Portable):
    """The best parameters, the latent variables given them, and their uncertainty.

    Where a maximum lies at infinity, the parameters concerned (`status.boundary`) have no standard
    error, and those of the others hold with these fixed. Where there is no maximum, all are NaN.

    Attributes:
        theta: θ̂, of theta0's structure.
        objective: at θ̂: the log-marginal, plus the log-prior of `fit_map`.
        gradient: of the objective, flat.
        hessian: of the objective, `(p, p)`.
        sensitivity: dû/dθ at θ̂, `(p, n)`, both flat.
        result: the `LaplaceResult` at θ̂.
        status: a `FitStatus`.
        trace: `(steps, 2)`, objective and largest entry of its gradient.
        model: the model fitted (of `fit_reml`, the one with the fixed effects integrated).
        evaluator: objective, gradient and Hessian at any parameters, as the fit used them.

    Example:
        >>> import jax, jax.numpy as jnp, cholax.stats as cs
        >>> jax.config.update("jax_enable_x64", True)
        >>> y = jnp.array([1.0, 3.0])
        >>> def log_joint(u, theta):  # y ~ N(θ, 2)
        ...     return -0.5 * jnp.sum((u - theta["mean"]) ** 2 + (u - y) ** 2)
        >>> fit = cs.fit_ml(cs.laplace(log_joint, jnp.zeros(2)), {"mean": 0.0})
        >>> fit.names, round(float(fit.standard_errors()["mean"]), 6)
        (('mean',), 1.0)
        >>> total = fit.delta(lambda u, theta: jnp.sum(u))
        >>> round(float(total.estimate), 6), round(float(total.standard_error**2), 6)
        (4.0, 2.0)
        >>> [round(x, 4) for x in fit.profile("mean").interval]
        [0.04, 3.96]
        >>> fit.joint_precision().to_dense().round(6).tolist()
        [[2.0, 0.0, -1.0], [0.0, 2.0, -1.0], [-1.0, -1.0, 2.0]]
        >>> u, theta = fit.sample(jax.random.key(0), (5,))
        >>> u.shape, theta["mean"].shape
        ((5, 2), (5,))
    """

    theta: Any
    objective: float
    gradient: np.ndarray
    hessian: np.ndarray
    sensitivity: np.ndarray
    result: LaplaceResult
    status: FitStatus
    trace: np.ndarray
    model: LaplaceModel
    evaluator: Evaluator = field(repr=False)
    _flat: np.ndarray = field(repr=False)
    _args: tuple[Any, ...] = field(repr=False)
    _log_prior: LogPrior = field(repr=False)

    @property
    def log_likelihood(self) -> float:
        """Log p(y | θ̂), u integrated out: of `fit_ml` the maximum (of `fit_reml` restricted)."""
        return float(self.result.log_marginal)

    @property
    def mode(self) -> Any:
        """û at θ̂, of u's structure."""
        return self.result.mode

    @property
    def flat_theta(self) -> np.ndarray:
        """θ̂ as one vector, in the order of `names`."""
        return self._flat

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each entry of the flat θ̂."""
        found = []
        for path, leaf in jax.tree_util.tree_flatten_with_path(self.theta)[0]:
            base = jax.tree_util.keystr(path, simple=True, separator=".") or "theta"
            shape = jnp.shape(leaf)
            found += [base + "".join(f"[{i}]" for i in index) for index in np.ndindex(*shape)]
        return tuple(found)

    def covariance(self) -> np.ndarray:
        """Covariance of θ̂, the inverse of minus the Hessian, `(p, p)`; zero for fixed entries."""
        return self._covariance.copy()

    @cached_property
    def _covariance(self) -> np.ndarray:
        size = self._flat.size
        if self.status.code not in (codes.CONVERGED, codes.AT_INFINITY):
            return np.full((size, size), np.nan)
        free = np.flatnonzero(~self.status.boundary)
        V = np.zeros((size, size))
        block = -self.hessian[np.ix_(free, free)]
        # Scaled: the units of covariates may differ by many orders of magnitude.
        with np.errstate(invalid="ignore", divide="ignore"):
            d = 1 / np.sqrt(np.diagonal(block))
        V[np.ix_(free, free)] = d[:, None] * np.linalg.inv(d[:, None] * block * d) * d
        return V

    def standard_errors(self) -> Any:
        """Standard errors of θ̂, of its structure; NaN for entries at infinity."""
        errors = np.sqrt(np.diagonal(self._covariance))
        return self.evaluator.theta(np.where(self.status.boundary, np.nan, errors))

    def delta(self, function: Callable[[Any, Any], Any], *, full: bool = False) -> Delta:
        """Standard errors of `function(u, theta)` by the generalised delta method.

        var = J_u H⁻¹ J_uᵀ + D V Dᵀ, J_u the derivative in u at the mode, D the total derivative of
        function(û(θ), θ) in θ, V the covariance of θ̂. One solve per number.

        Args:
            function: in JAX, of u and theta; returns an array or a pytree.
            full: keep the whole covariance matrix of the numbers.

        Returns:
            A `Delta`.

        Reference:
            Kass & Steffey, J. Am. Stat. Assoc. 84 (1989).
        """
        return delta(self, function, full)

    def mode_variance(self) -> Any:
        """Variances of u with the uncertainty of θ̂, of u's structure; one selected inverse."""
        S, V = self.sensitivity, self._covariance
        spread = np.sum((V @ S) * S, axis=0)
        conditional = self.result.factor.inverse_diagonal()
        return self.result.unravel(conditional + jnp.asarray(spread, conditional.dtype))

    def profile(
        self,
        parameter: int | str,
        *,
        level: float = 0.95,
        points: int = 12,
        max_iterations: int = 200,
    ) -> Profile:
        """Profile the objective over one parameter: maximized over all others at each value.

        Args:
            parameter: place in the flat θ, or a name from `names`.
            level: of the likelihood interval.
            points: most values tried on each side before the interval counts as open.
            max_iterations: of each maximisation.

        Returns:
            A `Profile` with its interval, which is infinite on a side where the objective never
            falls far enough.

        Raises:
            ArgumentError: an unknown parameter, or a level outside (0, 1).
        """
        return profile(self, parameter, level, points, max_iterations)

    def joint_precision(self) -> SparseMatrix:
        """Precision of (u, θ) at the mode, sparse: u first, then θ as `names` orders it.

            [H  −HS; −SᵀH  V⁻¹ + SᵀHS],   S = dû/dθ

        Under constraints it is that of u given A u = e.

        Raises:
            ArgumentError: where θ̂ has no covariance matrix of full rank.
        """
        return joint_precision(self)

    def sample(self, key: jax.Array, shape: int | Sequence[int] = ()) -> tuple[Any, Any]:
        """Draws of (u, θ) from the joint Gaussian approximation at the mode.

        Args:
            key: a JAX random key.
            shape: shape of the stack of draws.

        Returns:
            u and θ, pytrees with `shape` in front of every leaf. Parameters at infinity stay put.
        """
        return joint_sample(self, key, shape)


def make_fit(
    model: LaplaceModel,
    log_prior: LogPrior,
    args: tuple[Any, ...],
    evaluator: Evaluator,
    outcome: Outcome,
) -> Fit:
    """Turn a minimum of −objective into a `Fit`."""
    x = outcome.point.x
    hessian, sensitivity, result = evaluator.curvature(x)
    status = FitStatus(
        converged=outcome.code == codes.CONVERGED,
        code=outcome.code,
        iterations=outcome.iterations,
        evaluations=outcome.evaluations,
        gradient_norm=outcome.trace[-1][1],
        error=outcome.error,
        boundary=outcome.boundary,
        laplace=result.status,
    )
    trace = np.array(outcome.trace) * np.array([-1.0, 1.0])
    return Fit(
        theta=evaluator.theta(x),
        objective=-outcome.point.value,
        gradient=-outcome.point.gradient,
        hessian=hessian,
        sensitivity=sensitivity,
        result=result,
        status=status,
        trace=trace,
        model=model,
        evaluator=evaluator,
        _flat=x,
        _args=args,
        _log_prior=log_prior,
    )
