"""What fitted mixed models have in common: estimates, effects, prediction, tables, plots."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from scipy.special import ndtri

from cholax._core.errors import ArgumentError
from cholax._core.pickling import Portable
from cholax.stats.lmm.design import Design
from cholax.stats.lmm.effects import RandomEffects, VarianceComponent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# lme4's isSingular, here in coordinates where the columns of a term are orthonormal.
SINGULAR = 1e-4


@dataclass(frozen=True)
class FitStatus:
    """How a fit ended.

    Attributes:
        converged: at a minimum of the criterion.
        singular: some random effects have no variance, or are combinations of others.
        evaluations: of the criterion with its gradient.
        hessians: exact Hessians.
        gradient_norm: largest entry of the gradient there, in scaled parameters.
        decrease: ½ gᵀH⁻¹g: what another Newton step would gain in the criterion.
        message: in words.
    """

    converged: bool
    singular: bool
    evaluations: int
    hessians: int
    gradient_norm: float
    decrease: float
    message: str


@dataclass(frozen=True, eq=False)
class MixedFit(Portable, ABC):
    """Base of the fits of linear and generalised linear mixed models.

    Attributes:
        model: the criterion or log-likelihood as a differentiable function.
        design: y, X and the terms, rows with missing values left out.
        theta: `(k,)` relative covariance factors, `theta_names` names them.
        beta: `(p,)` fixed effects, named by `names`.
        vcov: `(p, p)` their covariance.
        varcorr: covariances of the random effects by group.
        ranef: conditional modes and covariances by group.
        loglik: maximal log-likelihood (with REML the restricted one).
        status: how the search ended.
    """

    model: Any
    design: Design
    theta: np.ndarray
    theta_names: tuple[str, ...]
    beta: np.ndarray
    vcov: np.ndarray
    varcorr: dict[str, VarianceComponent]
    ranef: dict[str, RandomEffects]
    loglik: float
    status: FitStatus

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fixed effects."""
        return self.design.names

    @property
    def beta_se(self) -> np.ndarray:
        """`(p,)` standard errors of the fixed effects."""
        return np.sqrt(np.diag(self.vcov))

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
        return -2.0 * self.loglik + 2.0 * self.parameters

    @property
    def bic(self) -> float:
        """−2 log L + k log n."""
        return -2.0 * self.loglik + np.log(self.design.n) * self.parameters

    @property
    def linear_predictor(self) -> np.ndarray:
        """`(n,)` offset + Xβ + Zb at the conditional modes, for the rows used."""
        design = self.design
        codes = [term.grouping.codes for term in design.terms]
        values = [term.values for term in design.terms]
        return design.offset + design.X @ self.beta + self._random(codes, values)

    def _random(self, codes: list[np.ndarray], values: list[np.ndarray]) -> np.ndarray:
        """Zb by terms; a code of −1 is a new level, whose effects have mean zero."""
        done: dict[str, int] = {}
        total = np.zeros(codes[0].size)
        for term, code, value in zip(self.design.terms, codes, values, strict=True):
            first, p = done.get(term.group, 0), value.shape[1]
            b = self.ranef[term.group].modes[:, first : first + p]
            done[term.group] = first + p
            total += np.sum(np.where(code[:, None] < 0, 0.0, b[code]) * value, axis=1)
        return total

    def predict(
        self,
        newdata: Any = None,
        *,
        random: bool = True,
        new_levels: bool = False,
        offset: Any = None,
    ) -> np.ndarray:
        """The linear predictor for new rows.

        Args:
            newdata: a table with the columns of the formula; by default the rows fitted.
            random: add the conditional modes of the random effects.
            new_levels: take effects of levels that were not observed as zero instead of raising.
            offset: `(rows,)`, added.

        Returns:
            `(rows,)`, NaN in rows that miss a value.

        Raises:
            ArgumentError: a level that was not observed.
        """
        if newdata is None:
            design = self.design
            fixed = design.offset + design.X @ self.beta
            return self.linear_predictor if random else fixed
        rows = self.design.evaluate(newdata, "predict", random=random)
        eta = rows.X @ self.beta
        if random:
            if not new_levels:
                self._check_levels(rows.codes)
            eta = eta + self._random(rows.codes, rows.values)
        full = np.full(rows.table.kept.size, np.nan)
        full[rows.table.kept] = eta
        return full if offset is None else full + np.asarray(offset, np.float64)

    def _check_levels(self, codes: list[np.ndarray]) -> None:
        for term, code in zip(self.design.terms, codes, strict=True):
            if np.any(code < 0):
                raise ArgumentError(
                    f"predict: {int(np.sum(code < 0))} rows have levels of {term.group!r} that "
                    "were not in the data. With new_levels=True their effects are zero, their "
                    "mean; random=False leaves all random effects out."
                )

    def simulate(self, key: jax.Array, shape: int | Sequence[int] = ()) -> jax.Array:
        """Draw responses from the fitted model, with new random effects and new noise.

        Args:
            key: a JAX random key.
            shape: of the stack of draws.

        Returns:
            `(*shape, n)`.
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        for_u, for_y = jax.random.split(key)
        size = (int(self.model.layout.offsets[-1]), math.prod(shape))
        y = self._responses(jax.random.normal(for_u, size, self.design.y.dtype), for_y)
        return y.reshape(*shape, self.design.n)

    @abstractmethod
    def _responses(self, u: jax.Array, key: jax.Array) -> jax.Array:
        """`(draws, n)` responses given white random effects u `(q, draws)`."""

    def wald_confint(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """β ± z se for the fixed effects."""
        z = float(ndtri(0.5 + level / 2))
        return {
            name: (float(b - z * se), float(b + z * se))
            for name, b, se in zip(self.names, self.beta, self.beta_se, strict=True)
        }

    def plot_residuals(self) -> "Figure":
        """Residuals against fitted values, and their normal quantiles. Needs Matplotlib."""
        from cholax.stats.lmm.plots import residual_plot

        return residual_plot(self)

    def plot_caterpillar(self, group: str | None = None, *, level: float = 0.95) -> "Figure":
        """Conditional modes with intervals, sorted by the first effect. Needs Matplotlib.

        Args:
            group: the grouping factor, by default the first.
            level: of the intervals.
        """
        from cholax.stats.lmm.plots import caterpillar_plot

        name = next(iter(self.ranef)) if group is None else group
        if name not in self.ranef:
            raise ArgumentError(
                f"plot_caterpillar: no grouping factor {group!r}; there are {list(self.ranef)}."
            )
        return caterpillar_plot(self.ranef[name], level)
