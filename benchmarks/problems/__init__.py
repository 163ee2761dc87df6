"""Named test problems with fixed seeds: functions returning a full symmetric SciPy CSC matrix."""

from problems.grids import grid2d, grid3d, matern2d

__all__ = ["grid2d", "grid3d", "matern2d"]
