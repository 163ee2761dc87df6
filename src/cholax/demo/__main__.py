"""`python -m cholax.demo`: the demo from data to verdict."""

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np

import cholax.stats as cs
from cholax.demo import comparison, figure, inference, report
from cholax.demo.data import Counties, north_carolina, reference
from cholax.demo.fill import Fill, fill
from cholax.demo.model import Bym2

FIGURE_NAME = "cholax_demo.png"
_START = np.zeros(2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The demo's options, for its own parser and for `cholax demo`."""
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path(),
        help=f"folder for {FIGURE_NAME} (default: the current one)",
    )
    parser.add_argument("--quiet", action="store_true", help="leave out the optimiser's steps")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m cholax.demo", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    return run(options.output, quiet=options.quiet)


def run(output: Path, *, quiet: bool = False) -> int:
    """Fit, print, draw, compare. Returns 0 if all reference values are reproduced, else 1."""
    jax.config.update("jax_enable_x64", True)
    begin = time.perf_counter()
    data, expected = north_carolina(), reference()
    model = Bym2(data)
    filled = fill(model, _START)
    print(report.introduction(data, filled))

    if not quiet:
        print("\nPosterior mode of (log sigma, logit phi)")
    fit = cs.fit_map(
        model.laplace, _START, model.log_prior, progress=False if quiet else _print_step
    )
    integrated = inference.integrate(model)
    print()
    print(report.estimates(model, fit, integrated, expected), end="\n\n")
    print(report.extremes(data, integrated), end="\n\n")
    print(draw(data, integrated, filled, output), end="\n\n")

    rows = comparison.compare(model, fit, integrated, expected)
    print(comparison.table(rows))
    print(f"Finished in {time.perf_counter() - begin:.1f} s")
    return 0 if all(row.agrees for row in rows) else 1


def draw(data: Counties, integrated: inference.Integrated, filled: Fill, folder: Path) -> str:
    """Write the figure and say where, or say why not."""
    if find_spec("matplotlib") is None:
        return "No figure: Matplotlib is not installed (pip install matplotlib)."
    folder.mkdir(parents=True, exist_ok=True)
    figure.draw(data, integrated, filled, folder / FIGURE_NAME)
    return f"Figure written to {folder / FIGURE_NAME}"


def _print_step(line: str) -> None:
    print(f"  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
