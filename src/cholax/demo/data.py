"""The North Carolina SIDS counts, 1974-78, shipped with the package."""

import csv
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

_FOLDER = files("cholax.demo") / "data"


@dataclass(frozen=True, eq=False)
class Counties:
    """One row per county; `edges` are the pairs of counties that touch."""

    counts: np.ndarray
    expected: np.ndarray
    covariate: np.ndarray
    births: np.ndarray
    longitude: np.ndarray
    latitude: np.ndarray
    names: tuple[str, ...]
    edges: np.ndarray

    @property
    def size(self) -> int:
        """How many counties."""
        return self.counts.size


def north_carolina() -> Counties:
    """Read the counties and their queen-contiguity graph."""
    rows = list(csv.DictReader(_lines("nc_sids.csv")))
    edges = np.loadtxt(_lines("nc_sids_edges.csv"), delimiter=",", skiprows=1, dtype=np.int32)

    def column(name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in rows])

    return Counties(
        counts=column("y"),
        expected=column("E"),
        covariate=column("x"),
        births=column("BIR74"),
        longitude=column("lon"),
        latitude=column("lat"),
        names=tuple(row["NAME"] for row in rows),
        edges=edges,
    )


def reference() -> dict[str, Any]:
    """Values of the same model computed by other programs, see data/README.md."""
    return json.loads((_FOLDER / "nc_sids_reference.json").read_text(encoding="utf-8"))


def _lines(name: str) -> list[str]:
    return (_FOLDER / name).read_text(encoding="utf-8").splitlines()
