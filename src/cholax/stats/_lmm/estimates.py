"""What a fitted mixed model has found: parameters, effects, and what follows from them alone."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from cholax._core.errors import ConvergenceError
from cholax._core.pickling import Portable
from cholax.linalg.factor import Factor
from cholax.stats._lmm.design import Design
from cholax.stats._lmm.effects import RandomEffects, VarianceComponent
from cholax.stats._lmm.status import FitStatus

# lme4's isSingular, here in coordinates where the columns of a term are orthonormal.
SINGULAR = 1e-4


class Uncertainty(NamedTuple):
    """Joint covariance of fixed and random effects at the estimates, b = T u level by level.

    Attributes:
        factor: of A, Cov(u | y, β) = scale · A⁻¹.
        scale: residual variance, or 1.
        sensitivity: `(q, p)` −dû/dβ, by how much the conditional modes give way to β.
        templates: T of each term.
    """

    factor: Factor
    scale: float
    sensitivity: np.ndarray
    templates: Sequence[np.ndarray]


@dataclass(frozen=True, eq=False)
class Estimates(Portable, ABC):
    """The estimates of a linear or generalised linear mixed model.

    Attributes:
        model: the criterion or log-likelihood as a differentiable function.
        design: y, X and the terms, rows with missing values left out.
        theta: `(k,)` relative covariance factors, `theta_names` names them.
        beta: `(p,)` fixed effects, named by `names`.
        varcorr: covariances of the random effects by group.
        ranef: conditional modes and covariances by group.
        log_likelihood: maximal log-likelihood (with REML the restricted one).
        status: how the search ended.
    """

    model: Any
    design: Design
    theta: np.ndarray
    theta_names: tuple[str, ...]
    beta: np.ndarray
    _covariance: np.ndarray
    varcorr: dict[str, VarianceComponent]
    ranef: dict[str, RandomEffects]
    log_likelihood: float
    status: FitStatus

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fixed effects."""
        return self.design.names

    def covariance(self) -> np.ndarray:
        """Covariance of the fixed effects, `(p, p)`."""
        return self._covariance.copy()

    def standard_errors(self) -> np.ndarray:
        """Standard errors of the fixed effects, `(p,)`."""
        return np.sqrt(np.diag(self._covariance))

    def confirmed(self, where: str, throw: bool) -> Self:
        """This fit; with `throw`, an exception where it did not converge."""
        if throw and not self.converged:
            raise ConvergenceError(
                f"{where}: need a minimum of the criterion, got gradient norm "
                f"{self.status.gradient_norm:.3g}: {self.status.reason()}."
            )
        return self

    @property
    def converged(self) -> bool:
        """Whether the fit is at a minimum of the criterion."""
        return self.status.converged

    @property
    def singular(self) -> bool:
        """Whether some variance is estimated as zero, or some correlation as ±1."""
        return self.status.singular

    @property
    def parameters(self) -> int:
        """Number of parameters counted in AIC and BIC."""
        return self.beta.size + self.theta.size

    @property
    def aic(self) -> float:
        """−2 log L + 2 k."""
        return -2.0 * self.log_likelihood + 2.0 * self.parameters

    @property
    def bic(self) -> float:
        """−2 log L + k log n."""
        return -2.0 * self.log_likelihood + np.log(self.design.n) * self.parameters

    @property
    def linear_predictor(self) -> np.ndarray:
        """`(n,)` offset + Xβ + Zb at the conditional modes, for the rows used."""
        design = self.design
        codes = [term.grouping.codes for term in design.terms]
        values = [term.values for term in design.terms]
        return design.offset + design.X @ self.beta + self.random_part(codes, values)

    def random_part(self, codes: list[np.ndarray], values: list[np.ndarray]) -> np.ndarray:
        """Zb by terms; a code of −1 is a new level, whose effects have mean zero."""
        done: dict[str, int] = {}
        total: Any = 0.0
        for term, code, value in zip(self.design.terms, codes, values, strict=True):
            first, p = done.get(term.group, 0), value.shape[1]
            b = self.ranef[term.group].modes[:, first : first + p]
            done[term.group] = first + p
            total = total + np.sum(np.where(code[:, None] < 0, 0.0, b[code]) * value, axis=1)
        return total

    @abstractmethod
    def uncertainty(self) -> Uncertainty:
        """Joint covariance of fixed and random effects, for standard errors of predictions."""

    @abstractmethod
    def mean_and_slope(
        self, eta: np.ndarray, known: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """E y and dE y/dη, per trial for binomial responses; `known` holds exposures."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """What is fitted, in words: likelihoods of different kinds cannot be compared."""
