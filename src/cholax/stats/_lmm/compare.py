"""Likelihood-ratio tests of nested mixed models."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import gammaincc

from cholax._core.errors import ArgumentError
from cholax.stats._lmm.design import Design, RandomTerm
from cholax.stats._lmm.estimates import Estimates
from cholax.stats._lmm.summary import table

if TYPE_CHECKING:
    import pandas as pd

# A column lies in the span of others when what is left of it is below this part of it.
_SPANNED = 1e-8


@dataclass(frozen=True, eq=False)
class Comparison:
    """Nested models, the smallest first, each tested against the one before it.

    Attributes:
        formulas: of the models.
        parameters: numbers of parameters.
        aic: −2 log L + 2 k.
        bic: −2 log L + k log n.
        log_likelihood: maximal log-likelihoods.
        chisq: twice the gain in log L over the model before; NaN for the first.
        df: parameters more than the model before; 0 for the first.
        p_value: P(χ²_df > chisq); NaN for the first.
        boundary: where the models differ in variances, which are zero in the smaller one, at the
            boundary of what they can be: there the p-value is conservative (up to twice too large
            for one variance).
    """

    formulas: tuple[str, ...]
    parameters: np.ndarray
    aic: np.ndarray
    bic: np.ndarray
    log_likelihood: np.ndarray
    chisq: np.ndarray
    df: np.ndarray
    p_value: np.ndarray
    boundary: np.ndarray

    def to_pandas(self) -> "pd.DataFrame":
        """One row per model."""
        import pandas as pd

        names = ("parameters", "aic", "bic", "log_likelihood", "chisq", "df", "p_value", "boundary")
        return pd.DataFrame({name: getattr(self, name) for name in names}, list(self.formulas))

    def __str__(self) -> str:
        rows = [["", "npar", "AIC", "BIC", "logLik", "Chisq", "Df", "Pr(>Chisq)"]]
        for k in range(len(self.formulas)):
            test = ["", "", ""]
            if k:
                test = [f"{self.chisq[k]:.4f}", f"{self.df[k]}", f"{self.p_value[k]:.4g}"]
            numbers = [f"{x[k]:.4f}" for x in (self.aic, self.bic, self.log_likelihood)]
            rows.append([f"model {k + 1}", f"{self.parameters[k]}", *numbers, *test])
        lines = [f"model {k + 1}: {text}" for k, text in enumerate(self.formulas)]
        if self.boundary.any():
            lines.append("variances differ: their p-values are conservative (boundary)")
        return "\n".join([*lines, *table(rows, left=(0,))])


def compare(fits: Sequence[Estimates]) -> Comparison:
    """Likelihood-ratio tests of fits by maximum likelihood, in the order of their size.

    Raises:
        ArgumentError: fits of different data or kinds, or models that are not nested.

    Reference:
        Self & Liang (1987), *JASA* 82, on variances at the boundary.
    """
    if len(fits) < 2:
        raise ArgumentError("anova: need at least two fits to compare, fit.anova(other).")
    fits = sorted(fits, key=lambda fit: fit.parameters)
    for other in fits[1:]:
        _check_comparable(fits[0], other)
    for small, big in pairwise(fits):
        _check_nested(small, big)
    log_likelihood = np.array([fit.log_likelihood for fit in fits])
    parameters = np.array([fit.parameters for fit in fits])
    chisq = np.append(np.nan, 2 * np.diff(log_likelihood))
    df = np.append(0, np.diff(parameters))
    with np.errstate(invalid="ignore"):
        p = np.append(np.nan, gammaincc(df[1:] / 2, np.maximum(chisq[1:], 0) / 2))
    sizes = [fit.theta.size for fit in fits]
    return Comparison(
        formulas=tuple(fit.design.formula.text for fit in fits),
        parameters=parameters,
        aic=np.array([fit.aic for fit in fits]),
        bic=np.array([fit.bic for fit in fits]),
        log_likelihood=log_likelihood,
        chisq=chisq,
        df=df,
        p_value=p,
        boundary=np.append(False, np.diff(sizes) > 0),
    )


def _check_comparable(one: Estimates, other: Estimates) -> None:
    if type(one) is not type(other) or one.kind != other.kind:
        raise ArgumentError(
            f"anova: need fits of one kind, got {one.kind} and {other.kind}. Their likelihoods "
            "cannot be compared."
        )
    a, b = one.design, other.design
    pairs: list[tuple[str, Any, Any]] = [
        ("responses", a.y, b.y),
        ("weights", a.weights, b.weights),
        ("offsets", a.offset, b.offset),
        *((name, x, b.extra.get(name)) for name, x in a.extra.items()),
    ]
    for what, x, y in pairs:
        if y is None or x.shape != y.shape or not np.array_equal(x, y):
            rows = f" ({a.n} and {b.n} rows)" if a.n != b.n else ""
            raise ArgumentError(
                f"anova: the fits have different {what}{rows}, so their likelihoods cannot be "
                "compared. Fit both to the same complete rows."
            )


def _check_nested(small: Estimates, big: Estimates) -> None:
    problem = nesting_problem(small.design, big.design)
    if small.parameters == big.parameters:
        problem = "both have as many parameters"
    if problem:
        raise ArgumentError(
            f"anova: {small.design.formula.text!r} is not nested in "
            f"{big.design.formula.text!r}: {problem}. Compare them by aic or bic."
        )


def nesting_problem(small: Design, big: Design) -> str:
    """Why one model is no special case of another, or nothing."""
    if not _spans(big.X, small.X):
        return "its fixed effects are no combinations of those of the other"
    for term in small.terms:
        if not any(_holds(other, term) for other in big.terms):
            return f"the other has no term that holds ({' + '.join(term.columns)} | {term.group})"
    return ""


def _spans(X: np.ndarray, Y: np.ndarray) -> bool:
    Q = np.linalg.qr(X)[0]
    rest = Y - Q @ (Q.T @ Y)
    size = np.linalg.norm(Y, axis=0)
    return bool(np.all(np.linalg.norm(rest, axis=0) <= _SPANNED * size))


def _holds(big: RandomTerm, small: RandomTerm) -> bool:
    a, b = big.grouping.codes, small.grouping.codes
    pairs = np.unique(np.column_stack([a, b]), axis=0)
    same = len(pairs) == len(big.grouping.levels) == len(small.grouping.levels)
    return same and _spans(big.values, small.values)
