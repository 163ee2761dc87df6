"""Names of problems, and `load`, which makes or reads one.

Names ending in a size stand for families (`lap2d_150`, `lap3d_30`, `matern_50`, `batch_300`):
`NAMES` lists the members that are compared by default.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from problems import arrows, batches, grids, meshes, real
from problems.problem import Problem, canonical

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "problems"
# Part of every file name: raise it when a generator changes.
VERSION = 1

_FAMILIES: dict[str, Callable[[int], sp.sparray]] = {
    "lap2d": grids.grid2d,
    "matern": grids.matern2d,
    "lap3d": grids.grid3d,
}
_SINGLE: dict[str, Callable[[], sp.sparray]] = {
    "st_50x40": lambda: grids.spacetime(50, 40),
    "delaunay_200k": lambda: meshes.delaunay(200_000),
    "delaunay_5k": lambda: meshes.delaunay(5_000),
    "arrow_50k": lambda: arrows.arrow(12_500, 4, 20),
}
GROUPS: dict[str, tuple[str, ...]] = {
    "mesh": (
        "lap2d_100",
        "lap2d_300",
        "lap2d_1000",
        "matern_100",
        "matern_300",
        "matern_700",
        "lap3d_20",
        "lap3d_40",
        "lap3d_50",
        "st_50x40",
        "delaunay_200k",
        "arrow_50k",
    ),
    "real": tuple(real.references()),
    "batch": ("batch_200", "batch_500", "batch_1000", "batch_2000"),
    "tiny": ("lap2d_10",),
}
NAMES = tuple(name for group in GROUPS.values() for name in group)


def load(name: str) -> Problem:
    """Return a problem by name, from the cache when it is there."""
    path = CACHE / f"{name}.v{VERSION}.npz"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        _save(path, _generate(name))
    return _read(path, name)


def group_of(name: str) -> str:
    """The group a name belongs to, `other` when it is not compared by default."""
    return next((group for group, names in GROUPS.items() if name in names), "other")


def _generate(name: str) -> Problem:
    if name.startswith(real.PREFIX):
        return real.real(name)
    if name in _SINGLE:
        return Problem(name, canonical(_SINGLE[name]()))
    family = re.fullmatch(r"([a-z0-9]+)_(\d+)", name)
    if family and family[1] == "batch":
        return batches.weighted_batch(name, int(family[2]))
    if family and family[1] in _FAMILIES:
        return Problem(name, canonical(_FAMILIES[family[1]](int(family[2]))))
    raise KeyError(f"no problem is called {name!r}; there are {', '.join(NAMES)}")


def _save(path: Path, problem: Problem) -> None:
    A = problem.matrix
    extra = {} if problem.members is None else {"members": problem.members}
    unfinished = path.with_suffix(".tmp.npz")
    np.savez(
        unfinished,
        indptr=A.indptr.astype(np.int32),
        indices=A.indices.astype(np.int32),
        data=A.data,
        **extra,
    )
    unfinished.rename(path)  # a reader never meets half a file


def _read(path: Path, name: str) -> Problem:
    with np.load(path) as arrays:
        n = arrays["indptr"].size - 1
        A = sp.csc_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=(n, n))
        members = arrays.get("members")
    return Problem(name, A, members, real.references().get(name))
