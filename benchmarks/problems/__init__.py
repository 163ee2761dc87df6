"""Named test problems with fixed seeds: `load(name)` gives any of them, `NAMES` lists them."""

from problems.catalogue import GROUPS, NAMES, group_of, load
from problems.grids import grid2d, grid3d, matern2d, spacetime
from problems.problem import Problem, Reference

__all__ = [
    "GROUPS",
    "NAMES",
    "Problem",
    "Reference",
    "grid2d",
    "grid3d",
    "group_of",
    "load",
    "matern2d",
    "spacetime",
]
