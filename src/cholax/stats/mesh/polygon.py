"""Polygons: which points lie inside, how far from the edges, and whether edges cross."""

from typing import Any

import numpy as np

from cholax._core.errors import ArgumentError
from cholax.stats.mesh.projector import check_points


def check_polygon(corners: Any, where: str) -> np.ndarray:
    """Corners of a simple polygon as `(k, 2)` array, counterclockwise, or raise."""
    polygon = check_points(corners, 2, where)
    if len(polygon) > 1 and np.array_equal(polygon[0], polygon[-1]):
        polygon = polygon[:-1]
    if len(polygon) < 3 or crossing(polygon, polygon) or signed_area(polygon) == 0.0:
        raise ArgumentError(
            f"{where}: need the corners of a polygon whose edges do not cross, at least three, in "
            f"order around it, got {len(polygon)} points."
        )
    return polygon if signed_area(polygon) > 0 else polygon[::-1]


def signed_area(polygon: np.ndarray) -> float:
    """Area, positive where the corners go counterclockwise."""
    following = np.roll(polygon, -1, axis=0)
    return float(0.5 * np.sum(_cross(polygon, following)))


def inside(x: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which points `(m, 2)` lie inside: a ray to the right crosses an odd number of edges."""
    odd = np.zeros(len(x), bool)
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        spans = (a[1] > x[:, 1]) != (b[1] > x[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            at = a[0] + (x[:, 1] - a[1]) * (b[0] - a[0]) / (b[1] - a[1])
        odd ^= spans & (x[:, 0] < at)
    return odd


def distance_to_edges(x: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Distance of points from the nearest edge."""
    best = np.full(len(x), np.inf)
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        edge, to_x = b - a, x - a
        t = np.clip(to_x @ edge / max(edge @ edge, 1e-300), 0.0, 1.0)
        best = np.minimum(best, np.hypot(*(to_x - t[:, None] * edge).T))
    return best


def crossing(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether any edge of one polygon crosses an edge of the other that shares no corner."""
    a, b = first[:, None], np.roll(first, -1, axis=0)[:, None]
    c, d = second[None], np.roll(second, -1, axis=0)[None]
    sides = [
        np.sign(_cross(q - p, r - p)) for p, q, r in ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    ]
    return bool(((sides[0] * sides[1] < 0) & (sides[2] * sides[3] < 0)).any())


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
