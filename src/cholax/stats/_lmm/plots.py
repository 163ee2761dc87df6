"""Figures of mixed models: residuals and caterpillars. Needs Matplotlib, not pyplot."""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from cholax.stats._lmm.effects import RandomEffects

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#1f4e79"
_GREY = "#8a8a8a"
# From this many levels on their names would overlap.
_NAMED_LEVELS = 60


def residual_plot(fit: Any) -> "Figure":
    """Residuals against fitted values with their running median, and a normal quantile plot.

    Args:
        fit: of a linear or generalised linear mixed model (Pearson residuals).

    Returns:
        A Matplotlib `Figure`; `figure.savefig(path)` writes it.
    """
    fitted, residuals = np.asarray(fit.fitted), np.asarray(fit.scaled_residuals)
    figure = _figure(9.0, 4.0)
    left, right = figure.subplots(1, 2)
    _against(left, fitted, residuals)
    _quantiles(right, residuals)
    return figure


def caterpillar_plot(effects: RandomEffects, level: float = 0.95) -> "Figure":
    """Conditional modes with normal intervals, levels sorted by the first effect.

    Args:
        effects: of one grouping factor.
        level: of the intervals.

    Returns:
        A Matplotlib `Figure`.
    """
    count, p = effects.modes.shape
    order = np.argsort(effects.modes[:, 0], kind="stable")
    reach = float(ndtri(0.5 + level / 2)) * effects.sd[order]
    modes, place = effects.modes[order], np.arange(count)
    named = count <= _NAMED_LEVELS
    figure = _figure(1.2 + 3.3 * p, min(1.2 + 0.22 * count, 11.0) if named else 7.0)
    for k, axes in enumerate(figure.subplots(1, p, sharey=True, squeeze=False)[0]):
        axes.axvline(0.0, color=_GREY, linewidth=0.8)
        axes.hlines(
            place, modes[:, k] - reach[:, k], modes[:, k] + reach[:, k],
            color=_INK, linewidth=1.0 if named else 0.4, alpha=1.0 if named else 0.4,
        )  # fmt: skip
        axes.plot(modes[:, k], place, "o", color=_INK, markersize=3.5 if named else 1.5)
        axes.set_title(effects.columns[k], fontsize=10)
        axes.set_xlabel(f"conditional mode, {100 * level:g} % interval", fontsize=8)
        _tidy(axes)
    first = figure.axes[0]
    first.set_ylabel(effects.group if named else f"{effects.group} ({count} levels, sorted)")
    first.set_yticks(place if named else [], effects.levels[order] if named else [], fontsize=7)
    first.set_ylim(-1, count)
    return figure


def _against(axes: "Axes", fitted: np.ndarray, residuals: np.ndarray) -> None:
    size = 10.0 if fitted.size <= 2000 else 2.0
    axes.axhline(0.0, color=_GREY, linewidth=0.8)
    axes.scatter(
        fitted,
        residuals,
        s=size,
        color=_INK,
        alpha=0.5,
        linewidths=0,
        rasterized=fitted.size > 5000,
    )
    order = np.argsort(fitted, kind="stable")
    parts = np.array_split(order, int(np.clip(fitted.size // 20, 1, 15)))
    if len(parts) > 2:
        middle = [np.median(fitted[part]) for part in parts]
        axes.plot(middle, [np.median(residuals[part]) for part in parts], color="#c0392b")
    axes.set_xlabel("fitted value", fontsize=9)
    axes.set_ylabel("scaled residual", fontsize=9)
    _tidy(axes)


def _quantiles(axes: "Axes", residuals: np.ndarray) -> None:
    expected = ndtri((np.arange(residuals.size) + 0.5) / residuals.size)
    reach = [expected[0], expected[-1]]
    axes.plot(reach, reach, color=_GREY, linewidth=0.8)
    axes.plot(expected, np.sort(residuals), "o", color=_INK, markersize=2.5, alpha=0.6)
    axes.set_xlabel("normal quantile", fontsize=9)
    axes.set_ylabel("scaled residual, sorted", fontsize=9)
    _tidy(axes)


def _tidy(axes: "Axes") -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _figure(width: float, height: float) -> "Figure":
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("lmm: plots need Matplotlib: pip install matplotlib.") from error
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    return figure
