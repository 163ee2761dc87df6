"""The demo's figure: a map of the risk, and what the ordering does to L. Needs Matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from cholax.demo.data import Counties
from cholax.demo.fill import Fill
from cholax.demo.inference import Integrated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

_INK = "#222222"
_GREY = "#b8b8b8"
_BLUE = "#1f4e79"
_RISK_TICKS = (0.25, 0.33, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0)


def draw(data: Counties, integrated: Integrated, filled: Fill, path: Path) -> None:
    """Write the figure to `path`; ImportError where Matplotlib is missing."""
    # Imported here because it is optional; Figure without pyplot needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06, wspace=0.04)
    figure = Figure(figsize=(11.0, 6.5), layout=layout, dpi=200)
    FigureCanvasAgg(figure)
    top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=[0.76, 1.0]))
    left, right = top.subplots(1, 2)
    _risk_row(left, right, data, integrated)
    hessian, natural, ordered = bottom.subplots(1, 3)
    _fill_row(hessian, natural, ordered, data.size, filled)
    figure.savefig(path)


def _risk_row(left: "Axes", right: "Axes", data: Counties, integrated: Integrated) -> None:
    from matplotlib.colors import LogNorm, Normalize

    risk, sd = integrated.risk
    # Symmetric about 1 on the log scale: white is the state's average.
    reach = float(np.exp(np.abs(np.log(risk)).max()))
    shown = _map(left, data, risk, "RdBu_r", LogNorm(1 / reach, reach))
    ticks = [tick for tick in _RISK_TICKS if 1 / reach <= tick <= reach]
    bar = left.figure.colorbar(shown, ax=left, shrink=0.75, aspect=18, pad=0.01)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=8)
    _title(left, "a", "Sudden infant deaths 1974–78: posterior mean of relative risk")
    crude = data.counts / data.expected
    for county in {int(risk.argmax()), int(crude.argmax()), int(risk.argmin())}:
        _label(left, data, county, f"{data.names[county]} {risk[county]:.2f}")
    key = "area: births\nlines: neighbouring counties"
    left.text(0.02, 0.08, key, transform=left.transAxes, fontsize=8, color=_INK)

    shown = _map(right, data, sd, "viridis", Normalize(0.0, sd.max()))
    right.figure.colorbar(shown, ax=right, shrink=0.75, aspect=18, pad=0.01).ax.tick_params(
        labelsize=8
    )
    _title(right, "b", "Posterior standard deviation of relative risk")


def _map(
    axes: "Axes", data: Counties, values: np.ndarray, cmap: str, norm: "Normalize"
) -> "ScalarMappable":
    """Counties at their centroids, area growing with births, neighbours joined."""
    ends = np.stack([data.longitude, data.latitude], axis=1)[data.edges]
    axes.plot(ends[..., 0].T, ends[..., 1].T, color=_GREY, linewidth=0.6, zorder=1)
    axes.set_aspect(1.0 / np.cos(np.radians(data.latitude.mean())))
    axes.set_axis_off()
    axes.margins(x=0.03, y=0.12)
    return axes.scatter(
        data.longitude,
        data.latitude,
        c=values,
        s=22 + 120 * data.births / data.births.max(),
        cmap=cmap,
        norm=norm,
        edgecolors=_INK,
        linewidths=0.5,
        zorder=2,
    )


def _label(axes: "Axes", data: Counties, county: int, text: str) -> None:
    """Outward from the map: above in its northern half, below in the southern."""
    north = data.latitude[county] > np.median(data.latitude)
    axes.annotate(
        text,
        (data.longitude[county], data.latitude[county]),
        xytext=(0, 7 if north else -7),
        textcoords="offset points",
        ha="center",
        va="bottom" if north else "top",
        fontsize=8,
        color=_INK,
    )


def _fill_row(
    hessian: "Axes", natural: "Axes", ordered: "Axes", counties: int, filled: Fill
) -> None:
    full = filled.hessian + sp.csc_array(sp.triu(filled.hessian.T, 1))
    rows, count = 2 + 2 * counties, filled.hessian.nnz
    _spy(hessian, full)
    _title(hessian, "c", f"H, {rows} × {rows}: {count:,} non-zeros in its triangle")
    # β takes the first two rows, too thin to be labelled at their own centre.
    places = [0.5, 2 + counties / 2, 2 + 3 * counties / 2]
    hessian.set_xticks(places, labels=["β", "u", "v"])
    hessian.set_yticks(places, labels=["β", "u", "v"])
    hessian.tick_params(length=0, bottom=True, top=False, labelbottom=True, labeltop=False)
    _spy(natural, filled.natural)
    _title(natural, "d", f"L in the order β, u, v: {filled.natural.nnz:,} non-zeros")
    _spy(ordered, filled.ordered)
    _title(ordered, "e", f"L in fill-reducing order: {filled.ordered.nnz:,} non-zeros")


def _spy(axes: "Axes", matrix: sp.csc_array) -> None:
    shown = matrix.toarray() != 0.0
    # An image, not markers: every entry is one cell whatever the size of the figure.
    axes.imshow(shown, cmap=_one_color(), interpolation="nearest", vmin=0.0, vmax=1.0)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(_GREY)


def _one_color() -> "ListedColormap":
    from matplotlib.colors import ListedColormap

    return ListedColormap(["white", _BLUE])


def _title(axes: "Axes", letter: str, text: str) -> None:
    axes.set_title(rf"$\bf{{{letter}}}$  {text}", fontsize=9.5, color=_INK, loc="left")
