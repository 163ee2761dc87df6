"""What one can do with a fitted mixed model: predict, simulate, compare, refit, plot."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from scipy.special import ndtri

from cholax._core import options
from cholax._core.errors import ArgumentError
from cholax.stats._lmm.compare import Comparison, compare
from cholax.stats._lmm.estimates import Estimates
from cholax.stats._lmm.formula import update_formula
from cholax.stats._lmm.plots import caterpillar_plot, residual_plot
from cholax.stats._lmm.prediction import Prediction, predict
from cholax.stats._lmm.sampling import sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Options of a fit that are no part of its model.
_FIT_OPTIONS = ("max_iterations", "progress", "reml", "theta0", "throw")


@dataclass(frozen=True, eq=False)
class MixedFit(Estimates):
    """Base of the fits of linear and generalised linear mixed models: `Estimates` with methods."""

    def predict(
        self,
        newdata: Any = None,
        *,
        random: bool = True,
        new_levels: bool = False,
        offset: Any = None,
        type: str = "link",  # noqa: A002  # R's name
        se: bool = False,
    ) -> np.ndarray | Prediction:
        """The linear predictor, or the mean, of new rows.

        η = offset + xᵀβ + zᵀb at the conditional modes. Offsets are computed from the new data as
        they were from the old: those in the formula, and the column that `offset=` named.

        Args:
            newdata: a table with the columns of the formula; by default the rows fitted.
            random: add the conditional modes of the random effects.
            new_levels: take effects of levels that were not observed as zero instead of raising.
            offset: column name, `(rows,)` or a number in the place of the `offset=` of the fit;
                offsets in the formula stay.
            type: `"link"` for η, `"response"` for the mean given the effects: for binomial
                responses the probability, for counts with the exposure of the new data.
            se: return standard errors too, by the delta method. They hold the uncertainty of β
                and of b (that of a new level is its variance), with variances and parameters of
                the family taken as known, and no noise of the response.

        Returns:
            `(rows,)`, NaN in rows that miss a value; with `se` a `Prediction` of mean and se.

        Raises:
            ArgumentError: a level or a factor's value that was not observed, or a column that
                lacks.

        Example:
            >>> import jax, numpy as np, cholax.stats as cs
            >>> jax.config.update("jax_enable_x64", True)
            >>> y, g = np.array([1.0, 2.0, 4.0, 6.0]), ["a", "a", "b", "b"]
            >>> fit = cs.lmm("y ~ 1 + (1 | g)", {"y": y, "g": g})
            >>> mean, se = fit.predict({"g": ["a", "b"]}, se=True)
            >>> mean.round(3).tolist(), se.round(3).tolist()
            ([1.679, 4.821], [0.77, 0.77])
        """
        return predict(
            self, newdata, random=random, new_levels=new_levels, offset=offset, scale=type, se=se
        )

    @abstractmethod
    def by_likelihood(self) -> "MixedFit":
        """This fit, or after REML the same model fitted by maximum likelihood."""

    @abstractmethod
    def _refit(self, formula: str, data: Any, given: dict[str, Any]) -> "MixedFit":
        """A fit with some options changed."""

    def anova(self, *others: "MixedFit") -> Comparison:
        """Likelihood-ratio tests of this and other fits, nested in each other.

        2 (log L₁ − log L₀) ~ χ² with as many degrees of freedom as there are parameters more.
        Fits by REML are made again by maximum likelihood first, as lme4 does. Where variances
        differ the p-value is conservative, and the table says so.

        Args:
            *others: fits of the same responses, weights and offsets.

        Returns:
            A `Comparison`, the smallest model first; print it.

        Raises:
            ArgumentError: fits of different data or families, or models that are not nested.

        Example:
            >>> import jax, numpy as np, cholax.stats as cs
            >>> jax.config.update("jax_enable_x64", True)
            >>> data = {"y": np.array([1.0, 2.0, 4.0, 6.0, 5.0]), "x": np.arange(5.0)}
            >>> small, big = cs.lmm("y ~ 1", data), cs.lmm("y ~ x", data)
            >>> table = small.anova(big)
            >>> table.df.tolist(), table.chisq.round(3).tolist(), table.p_value.round(4).tolist()
            ([0, 1], [nan, 9.076], [nan, 0.0026])
        """
        for other in others:
            if not isinstance(other, MixedFit):
                raise ArgumentError(f"anova: need fitted models, got {type(other).__name__}.")
        return compare([fit.by_likelihood() for fit in (self, *others)])

    def update(self, formula: str | None = None, *, data: Any = None, **changes: Any) -> "MixedFit":
        """Fit again with another formula, other data or other options.

        Args:
            formula: a formula in which `.` stands for what was there: `". ~ . - x + (1 | h)"`.
            data: other data, by default the same.
            **changes: options of `lmm` or `glmm`: `reml`, `family`, `weights`, `offset`, …

        Raises:
            ArgumentError: an unknown option, or what the fit raises.

        Example:
            >>> import jax, numpy as np, cholax.stats as cs
            >>> jax.config.update("jax_enable_x64", True)
            >>> data = {"y": np.array([1.0, 2.0, 4.0, 6.0, 5.0]), "x": np.arange(5.0)}
            >>> fit = cs.lmm("y ~ x", data)
            >>> fit.update(". ~ . - x").names, fit.update("~ . + I(x^2)", reml=False).names
            (('Intercept',), ('Intercept', 'x', 'I(x ** 2)'))
        """
        old = self.design.formula
        text = old.text if formula is None else update_formula(old, formula)
        known = self.model.call
        unknown = sorted(set(changes) - set(known) - set(_FIT_OPTIONS))
        if unknown:
            there = sorted({*known, *_FIT_OPTIONS})
            raise ArgumentError(f"update: no option {unknown}; there are {there}.")
        given = {name: value for name, value in known.items() if name != "data"}
        return self._refit(text, known["data"] if data is None else data, {**given, **changes})

    def sample(
        self, key: jax.Array, shape: int | Sequence[int] = ()
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Draws of (β, b) given the data, from their joint Gaussian distribution.

        Variances and the family's parameters are taken as known, as in the standard errors of
        `predict`: draws of xᵀβ + zᵀb have those as standard deviations.

        Args:
            key: a JAX random key.
            shape: shape of the stack of draws.

        Returns:
            β, `(*shape, p)`, and by group the random effects, `(*shape, levels, columns)`.

        Example:
            >>> import jax, numpy as np, cholax.stats as cs
            >>> jax.config.update("jax_enable_x64", True)
            >>> y, g = np.array([1.0, 2.0, 4.0, 6.0]), ["a", "a", "b", "b"]
            >>> fit = cs.lmm("y ~ 1 + (1 | g)", {"y": y, "g": g})
            >>> beta, effects = fit.sample(jax.random.key(0), (5,))
            >>> beta.shape, effects["g"].shape
            ((5, 1), (5, 2, 1))
        """
        return sample(self, key, shape)

    def simulate(self, key: jax.Array, shape: int | Sequence[int] = ()) -> jax.Array:
        """Draw responses from the fitted model, with new random effects and new noise.

        Args:
            key: a JAX random key.
            shape: of the stack of draws.

        Returns:
            `(*shape, n)`.
        """
        options.random_key(key, "simulate")
        shape = options.sizes(shape, "simulate")
        for_u, for_y = jax.random.split(key)
        size = (int(self.model.layout.offsets[-1]), math.prod(shape))
        y = self._responses(jax.random.normal(for_u, size, self.design.y.dtype), for_y)
        return y.reshape(*shape, self.design.n)

    @abstractmethod
    def _responses(self, u: jax.Array, key: jax.Array) -> jax.Array:
        """`(draws, n)` responses given white random effects u `(q, draws)`."""

    def confint(
        self,
        level: float = 0.95,
        *,
        method: str = "wald",
        parameters: str | Sequence[str] | None = None,
    ) -> dict[str, tuple[float, float]]:
        """Confidence intervals.

        Args:
            level: coverage.
            method: `"wald"`, β ± z se for the fixed effects; or `"profile"`, the parameters at
                which the profiled deviance is χ²₁-far from its minimum, for fixed effects,
                standard deviations, correlations, and sigma or the parameters of the family.
                Profiles are those of maximum likelihood, also after REML; an end that is not
                found is NaN.
            parameters: names to report, or one, by default all.

        Raises:
            ArgumentError: an unknown method or name.
        """
        level = options.fraction(level, "confint")
        method = options.choice(method, "confint", "method", ("wald", "profile"))
        if parameters is not None:
            parameters = options.texts(parameters, "confint", "parameters")
        if method == "profile":
            return self._profile_confint(level, parameters)
        found = self.wald_confint(level)
        if parameters is None:
            return found
        unknown = [name for name in parameters if name not in found]
        if unknown:
            raise ArgumentError(
                f"confint: no Wald interval for {unknown}; there are {list(found)}. "
                'Use method="profile" for variances.'
            )
        return {name: found[name] for name in parameters}

    @abstractmethod
    def _profile_confint(
        self, level: float, parameters: Sequence[str] | None
    ) -> dict[str, tuple[float, float]]:
        """Profile-likelihood intervals."""

    def wald_confint(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """β ± z se for the fixed effects."""
        z = float(ndtri(0.5 + options.fraction(level, "wald_confint") / 2))
        return {
            name: (float(b - z * se), float(b + z * se))
            for name, b, se in zip(self.names, self.beta, self.standard_errors(), strict=True)
        }

    def plot_residuals(self) -> "Figure":
        """Residuals against fitted values, and their normal quantiles. Needs Matplotlib."""
        return residual_plot(self)

    def plot_caterpillar(self, group: str | None = None, *, level: float = 0.95) -> "Figure":
        """Conditional modes with intervals, sorted by the first effect. Needs Matplotlib.

        Args:
            group: the grouping factor, by default the first.
            level: of the intervals.
        """
        level = options.fraction(level, "plot_caterpillar")
        name = next(iter(self.ranef), None) if group is None else group
        if not isinstance(name, str) or name not in self.ranef:
            raise ArgumentError(
                f"plot_caterpillar: no grouping factor {name!r}; there are {list(self.ranef)}."
            )
        return caterpillar_plot(self.ranef[name], level)
