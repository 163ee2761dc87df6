"""`Domain`: the part of the plane that a mesh covers, with the edges that it has to respect."""

from collections.abc import Sequence

import numpy as np

from cholax._core.errors import ArgumentError
from cholax.stats.mesh.polygon import crossing, distance_to_edges, inside

# Halvings of an edge that the triangulation misses, before its corner counts as too sharp.
_HALVINGS = 12


class Domain:
    """A polygon, or all of the plane, without the holes in it.

    Edges are subdivided into segments. A triangulation by Delaunay contains a segment if no node
    lies in the circle on it as diameter; segments it misses are halved until it has all.

    Attributes:
        nodes: ends of the segments.
        segments: `(s, 2)` numbers of nodes.
    """

    def __init__(
        self, outline: np.ndarray | None, holes: Sequence[np.ndarray], spacing: float
    ) -> None:
        self.outline, self.holes = outline, tuple(holes)
        polygons = [*self.holes, *(() if outline is None else (outline,))]
        nodes, segments, count = [np.zeros((0, 2))], [np.zeros((0, 2), int)], 0
        for polygon in polygons:
            ring = _subdivided(polygon, spacing)
            numbers = count + np.arange(len(ring))
            nodes.append(ring)
            segments.append(np.stack([numbers, np.roll(numbers, -1)], axis=1))
            count += len(ring)
        self.nodes, self.segments = np.concatenate(nodes), np.concatenate(segments)

    def contains(self, x: np.ndarray) -> np.ndarray:
        """Which points lie in it."""
        found = np.ones(len(x), bool) if self.outline is None else inside(x, self.outline)
        for hole in self.holes:
            found &= ~inside(x, hole)
        return found

    def clear_of_edges(self, x: np.ndarray, distance: float) -> np.ndarray:
        """Which points are in it and that far from its edges."""
        found = self.contains(x)
        for polygon in (*self.holes, *(() if self.outline is None else (self.outline,))):
            found[found] = distance_to_edges(x[found], polygon) >= distance
        return found

    def missing(self, triangles: np.ndarray) -> np.ndarray:
        """Places of the segments that are no edges of the triangles."""
        edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        there = {(int(i), int(j)) for i, j in edges}
        wanted = np.sort(self.segments, axis=1)
        absent = [(int(i), int(j)) not in there for i, j in wanted]
        return np.flatnonzero(np.asarray(absent, bool))

    def halve(self, which: np.ndarray, nodes: np.ndarray, shortest: float) -> np.ndarray:
        """Split segments at their middles; the nodes with those appended."""
        ends = self.segments[which]
        lengths = np.hypot(*(nodes[ends[:, 0]] - nodes[ends[:, 1]]).T)
        if lengths.min() < shortest * 0.5**_HALVINGS:
            at = nodes[ends[np.argmin(lengths), 0]].tolist()
            raise ArgumentError(
                f"triangulate: boundary and holes come too near to each other, or a corner is too "
                f"sharp, near {at}. Simplify the polygons there, or take a smaller max_edge."
            )
        new = len(nodes) + np.arange(len(which))
        rest = np.delete(self.segments, which, axis=0)
        halves = [np.stack([ends[:, 0], new], 1), np.stack([new, ends[:, 1]], 1)]
        self.segments = np.concatenate([rest, *halves])
        return np.concatenate([nodes, nodes[ends].mean(axis=1)])


def check_holes(outline: np.ndarray, holes: Sequence[np.ndarray]) -> None:
    """Raise unless every hole lies inside the outline and apart from the others."""
    for k, hole in enumerate(holes):
        if not inside(hole, outline).all() or crossing(hole, outline):
            raise ArgumentError(
                f"triangulate: hole {k} must lie inside the boundary. Cut the boundary instead."
            )
        for j, other in enumerate(holes[:k]):
            if crossing(hole, other) or inside(hole[:1], other)[0] or inside(other[:1], hole)[0]:
                raise ArgumentError(f"triangulate: holes {j} and {k} overlap. Unite them.")


def _subdivided(polygon: np.ndarray, spacing: float) -> np.ndarray:
    pieces = []
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        count = max(1, int(np.ceil(np.hypot(*(b - a)) / spacing)))
        pieces.append(a + (np.arange(count) / count)[:, None] * (b - a))
    return np.concatenate(pieces)
