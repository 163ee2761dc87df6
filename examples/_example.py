"""What every example shares: its command line, its table, and the look of its figure.

An example is a module with `main(quick, out)`, which prints, draws, checks what it found against
numbers known from elsewhere, and returns what it found.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

INK, ACCENT, GREY, PALE = "#1f4e79", "#b3541e", "#8a8a8a", "#c9d8e6"
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


class Unavailable(RuntimeError):
    """The data or a package that an example needs is not there."""


def run(main: Callable[..., Any]) -> None:
    """The command line: `python examples/NAME.py [--quick] [--out PNG]`."""
    parser = argparse.ArgumentParser(description=main.__globals__["__doc__"])
    parser.add_argument("--quick", action="store_true", help="a smaller problem, for tests")
    parser.add_argument("--out", type=Path, help="where the figure goes")
    options = parser.parse_args()
    out = options.out or Path(f"{Path(main.__code__.co_filename).stem}.png")
    began = time.perf_counter()
    try:
        main(quick=options.quick, out=out)
    except Unavailable as reason:
        parser.exit(1, f"not run: {reason}\n")
    print(f"figure: {out}; {time.perf_counter() - began:.1f} s in all")


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under a header, numbers with four significant digits."""
    text = [[x if isinstance(x, str) else f"{x:.4g}" for x in row] for row in rows]
    widths = [max(len(row[k]) for row in [list(header), *text]) for k in range(len(header))]
    for row in [list(header), *text]:
        first, *rest = (cell for cell in zip(row, widths, strict=True))
        print("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]))


def figure(width: float, height: float) -> Figure:
    """A figure of the size in inches, without pyplot's global state."""
    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def save(drawn: Figure, out: Path | None) -> None:
    """Write the figure, if it is wanted."""
    if out is not None:
        drawn.savefig(out, dpi=150)


def rings(geometry: Any) -> list[np.ndarray]:
    """The outer rings of a shapely polygon or multipolygon."""
    return [np.asarray(part.exterior.coords) for part in getattr(geometry, "geoms", [geometry])]


def choropleth(axes: Axes, geometries: Sequence[Any], values: Any, **style: Any) -> PolyCollection:
    """Colour areas by a value, one each; the collection goes to `colorbar`."""
    parts = [rings(geometry) for geometry in geometries]
    collection = PolyCollection(
        [ring for part in parts for ring in part], edgecolors="white", linewidths=0.4, **style
    )
    collection.set_array(np.repeat(np.asarray(values), [len(part) for part in parts]))
    axes.add_collection(collection)
    axes.autoscale_view()
    axes.set_aspect(1.2)  # about 1/cos(latitude): degrees of longitude are shorter
    axes.set_axis_off()
    return collection


mpl.rcParams.update(STYLE)
