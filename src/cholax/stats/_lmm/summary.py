"""Fits of mixed models as text tables."""

from typing import Any

import numpy as np
from scipy.special import ndtr

_LARGEST_CORRELATION_TABLE = 12


def lmm_summary(fit: Any) -> str:
    """Title, criterion, scaled residuals, random effects, fixed effects, remarks."""
    how = "REML" if fit.reml else "maximum likelihood"
    weights = fit.design.weights
    kind = "Linear mixed model" if fit.design.terms else "Linear model"
    lines = [f"{kind} fit by {how}", f"Formula: {fit.design.formula.text}", ""]
    if fit.reml:
        lines.append(f"REML criterion at convergence: {fit.criterion:.4f}")
    else:
        lines.append(_row(["AIC", "BIC", "logLik", "deviance"], 12))
        numbers = (fit.aic, fit.bic, fit.log_likelihood, fit.criterion)
        lines.append(_row([f"{x:.4f}" for x in numbers], 12))
    lines += ["", "Scaled residuals:", _row(["Min", "1Q", "Median", "3Q", "Max"], 10)]
    quartiles = np.quantile(fit.scaled_residuals, [0, 0.25, 0.5, 0.75, 1])
    lines += [_row([f"{x:.4f}" for x in quartiles], 10), ""]
    lines += random_table(fit, fit.sigma)
    lines += ["", *fixed_table(fit, "t value", p_values=False)]
    lines += correlation_table(fit)
    if np.ptp(weights) > 0:
        lines += ["", f"Residual standard deviation for weight 1; weights {_range(weights)}"]
    return "\n".join([*lines, *remarks(fit)])


def glmm_summary(fit: Any) -> str:
    """Title, likelihood, random effects, fixed effects, remarks."""
    family = fit.model.family
    title = "Generalised linear model fit by maximum likelihood"
    if fit.design.terms:
        title = "Generalised linear mixed model fit by maximum likelihood (Laplace approximation)"
    lines = [
        title,
        f"Family: {family.name} ({family.link})",
        f"Formula: {fit.design.formula.text}",
        "",
        _row(["AIC", "BIC", "logLik", "deviance"], 12),
        _row([f"{x:.4f}" for x in (fit.aic, fit.bic, fit.log_likelihood, fit.deviance)], 12),
        "",
        *random_table(fit, None),
    ]
    if fit.family_parameters:
        shown = ", ".join(
            f"{name} {x:.6g} (se {fit.family_se[name]:.3g})"
            for name, x in fit.family_parameters.items()
        )
        lines.append(f"Family parameters: {shown}")
    lines += ["", *fixed_table(fit, "z value", p_values=True), *correlation_table(fit)]
    return "\n".join([*lines, *remarks(fit)])


def random_table(fit: Any, sigma: float | None) -> list[str]:
    """Standard deviations and correlations by group, with counts of rows and levels."""
    rows = [["Groups", "Name", "Variance", "Std.Dev.", "Corr"]]
    for name, component in fit.varcorr.items():
        correlation = component.correlation
        for k, column in enumerate(component.columns):
            corr = " ".join(f"{c:.3f}" for c in correlation[k, :k])
            sd = component.sd[k]
            rows.append([name if k == 0 else "", column, f"{sd**2:.6g}", f"{sd:.6g}", corr])
    if sigma is not None:
        rows.append(["Residual", "", f"{sigma**2:.6g}", f"{sigma:.6g}", ""])
    levels = {term.group: len(term.grouping.levels) for term in fit.design.terms}
    counts = ", ".join(f"{group} {count}" for group, count in levels.items())
    title = "Random effects:" if levels else "Random effects: none"
    body = table(rows, left=(0, 1, 4)) if len(rows) > 1 else []
    return [
        title,
        *body,
        f"Number of rows: {fit.design.n}" + (f"; levels: {counts}" if counts else ""),
    ]


def fixed_table(fit: Any, statistic: str, *, p_values: bool) -> list[str]:
    """Estimates, standard errors and their ratios."""
    if not fit.names:
        return ["No fixed effects"]
    rows = [["", "Estimate", "Std. Error", statistic, *(["Pr(>|z|)"] if p_values else [])]]
    for name, b, se in zip(fit.names, fit.beta, fit.standard_errors(), strict=True):
        z = b / se
        p = [f"{2 * ndtr(-abs(z)):.3g}"] if p_values else []
        rows.append([name, f"{b:.6g}", f"{se:.6g}", f"{z:.3f}", *p])
    return ["Fixed effects:", *table(rows, left=(0,))]


def correlation_table(fit: Any) -> list[str]:
    """Correlations of the fixed effects, where there are few."""
    if not 1 < len(fit.names) <= _LARGEST_CORRELATION_TABLE:
        return []
    correlation = fit.covariance() / np.outer(fit.standard_errors(), fit.standard_errors())
    rows = [["", *(name[:10] for name in fit.names[:-1])]]
    for k, name in enumerate(fit.names[1:], start=1):
        rows.append([name, *(f"{c:.3f}" for c in correlation[k, :k])])
    width = len(rows[0])
    rows = [row + [""] * (width - len(row)) for row in rows]
    return ["", "Correlation of fixed effects:", *table(rows, left=(0,))]


def remarks(fit: Any) -> list[str]:
    """What the reader must not miss: dropped rows and columns, singular fits, no convergence."""
    design, lines = fit.design, []
    if design.dropped:
        lines.append(f"{design.dropped} of {design.kept.size} rows dropped: missing values")
    if design.aliased:
        lines.append(
            f"fixed effects dropped as combinations of others: {', '.join(design.aliased)}"
        )
    if fit.singular:
        lines.append("singular fit: a variance is zero or a correlation ±1")
    if not fit.converged:
        gradient = fit.status.gradient_norm
        lines.append(f"NOT CONVERGED: {fit.status.reason()} (gradient {gradient:.1e})")
    return ["", *lines] if lines else []


def _range(x: np.ndarray) -> str:
    return f"from {np.min(x):g} to {np.max(x):g}"


def _row(cells: list[str], width: int) -> str:
    return " ".join(cell.rjust(width) for cell in cells)


def table(rows: list[list[str]], left: tuple[int, ...]) -> list[str]:
    """Rows of cells as aligned lines; `left` are the columns that are aligned to the left."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]

    def cell(k: int, text: str) -> Any:
        return text.ljust(widths[k]) if k in left else text.rjust(widths[k])

    return [(" " + "  ".join(cell(k, text) for k, text in enumerate(row))).rstrip() for row in rows]
