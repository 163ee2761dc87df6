"""The symmetric positive definite matrices of the data directory beside the checkout.

Where it is: the environment variable CHOLAX_BENCH_DATA, or `../shared/data`.
"""

import csv
import functools
import os
from pathlib import Path

import scipy.io

from problems.problem import Problem, Reference, canonical

PREFIX = "real_"


def directory() -> Path:
    """The data directory; it need not exist."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    return Path(os.environ.get("CHOLAX_BENCH_DATA", beside))


@functools.cache
def references() -> dict[str, Reference]:
    """Name -> reference figures of every positive definite matrix there, smallest first."""
    index = directory() / "index.csv"
    if not index.exists():
        return {}
    with index.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["kind"] == "spd"]
    return {
        PREFIX + row["name"]: Reference(
            float(row["logdet_or_logabsdet"]), float(row["logdet_sensitivity"])
        )
        for row in sorted(rows, key=lambda row: int(row["nrow"]))
    }


def real(name: str) -> Problem:
    """Read one of them."""
    path = directory() / f"{name.removeprefix(PREFIX)}.mtx.gz"
    return Problem(name, canonical(scipy.io.mmread(path)), reference=references()[name])
