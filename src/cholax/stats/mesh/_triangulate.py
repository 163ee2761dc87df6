"""`triangulate`: a mesh over scattered points that grows coarser beyond them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import ConvexHull, Delaunay, KDTree, QhullError

from cholax._core.errors import ArgumentError
from cholax.stats.mesh.domain import Domain, check_holes
from cholax.stats.mesh.mesh import Mesh
from cholax.stats.mesh.polygon import check_polygon, distance_to_edges, inside
from cholax.stats.mesh.projector import check_points, outside

# Lattice spacing relative to the longest edge wanted: leaves room where lattices of two levels
# meet. Nodes of a coarser lattice stay this share of their spacing away from finer ones.
_FILL, _APART = 0.8, 0.7


def triangulate(
    points: ArrayLike,
    *,
    max_edge: float,
    extension: float | None = None,
    outer_max_edge: float | None = None,
    boundary: ArrayLike | None = None,
    holes: Sequence[ArrayLike] = (),
) -> Mesh:
    """Mesh a domain without its holes, and a margin around it, with nearly regular triangles.

    The domain is the convex hull of the points, or of the boundary where one is given. Nodes are
    triangular lattices, within the domain of spacing below `max_edge` and beyond it of spacings
    that double with the distance, triangulated by Delaunay; edges that come out too long are
    halved. The points themselves are no nodes: use `Mesh.projector`.

    **Lengths for a Matérn field** with correlation range ρ. Linear elements blur what is shorter
    than they are: the variance is off by 20 % with a `max_edge` of ρ/2, by 10 % with ρ/3, 3 % with
    ρ/5 and 1 % with ρ/10. At the end of the mesh it is twice as large as it should be, in a corner
    four times, and right from a distance ρ on: let `extension` be ρ. Nothing is observed in
    the margin, so `outer_max_edge` may be ρ/2. The rim of a hole is such an end, too, and
    correlation goes around it, as it should for an island among fish.

    Args:
        points: `(m, 2)` coordinates, not all on one line.
        max_edge: longest edge within the domain.
        extension: width of the margin, a third of the domain's diameter when left out. With 0 the
            mesh ends at the boundary, which may then be of any shape.
        outer_max_edge: longest edge in the margin, three times `max_edge` when left out.
        boundary: `(k, 2)` corners of a polygon around the points.
        holes: polygons inside the domain, `(k, 2)` corners each, that the mesh leaves out.

    Returns:
        A `Mesh`. Its projector raises for points outside of the mesh and in holes;
        `Mesh.contains` tells which ones those are.

    Raises:
        ArgumentError: lengths that are not positive, points on one line, outside the boundary or in
            a hole, polygons whose edges cross.

    Example:
        >>> import numpy as np
        >>> from cholax.stats import triangulate
        >>> points = np.random.default_rng(0).uniform(size=(50, 2))
        >>> mesh = triangulate(points, max_edge=0.2, extension=0.5)
        >>> mesh.projector(points).shape == (50, mesh.n)
        True
        >>> mesh.minimum_angle > 20
        True
        >>> square, lake = [[0, 0], [1, 0], [1, 1], [0, 1]], [[0.4, 0.4], [0.6, 0.4], [0.5, 0.6]]
        >>> cut = triangulate(square, max_edge=0.2, extension=0, boundary=square, holes=[lake])
        >>> round(float(cut.areas.sum()), 6), cut.contains([[0.5, 0.5], [0.9, 0.9]]).tolist()
        (0.98, [False, True])
    """
    points = check_points(points, 2, "triangulate")
    outline = None if boundary is None else check_polygon(boundary, "triangulate: boundary")
    cuts = [check_polygon(hole, f"triangulate: hole {k}") for k, hole in enumerate(holes)]
    corners = _hull(points if outline is None else outline)
    outline = corners if outline is None else outline
    check_holes(outline, cuts)
    _check_covered(points, outline, cuts)
    diameter = float(np.hypot(*(corners[:, None] - corners[None]).reshape(-1, 2).T).max())
    margin = diameter / 3 if extension is None else float(extension)
    coarsest = 3.0 * max_edge if outer_max_edge is None else float(outer_max_edge)
    if not (max_edge > 0 and margin >= 0 and coarsest >= max_edge):
        raise ArgumentError(
            "triangulate: need max_edge > 0, extension >= 0 and outer_max_edge >= max_edge, got "
            f"{max_edge}, {margin} and {coarsest}."
        )
    domain = Domain(outline if margin == 0 else None, cuts, _FILL * max_edge)

    def limit(x: np.ndarray) -> np.ndarray:
        """Longest edge around x: constant in the hull, then growing with the distance from it."""
        return np.minimum(coarsest, max_edge + np.maximum(_distance(x, corners) - max_edge, 0.0))

    fixed, nodes = _lattices(corners, margin, max_edge, coarsest, limit, domain)
    return _refined(_smooth(nodes, fixed, domain), domain, limit, max_edge)


def _refined(nodes: np.ndarray, domain: Domain, limit: Any, max_edge: float) -> Mesh:
    """Delaunay's triangles, with all segments of the domain and no edge that is too long."""
    while True:
        triangles = _delaunay(nodes)
        absent = domain.missing(triangles)
        if absent.size:
            nodes = domain.halve(absent, nodes, max_edge)
            continue
        triangles = triangles[domain.contains(nodes[triangles].mean(axis=1))]
        ends = np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
        middles = nodes[ends].mean(axis=1)
        lengths = np.hypot(*(nodes[ends[:, 0]] - nodes[ends[:, 1]]).T)
        long = lengths > limit(middles)
        if not long.any():
            return Mesh(nodes, triangles)
        nodes = np.concatenate([nodes, _spread(middles[long], lengths[long])])


def _check_covered(points: np.ndarray, outline: np.ndarray, holes: Sequence[np.ndarray]) -> None:
    # On an edge counts as inside: of the boundary, not of a hole.
    slack = 1e-9 * np.ptp(outline, axis=0).max()
    wrong = ~inside(points, outline) & (distance_to_edges(points, outline) > slack)
    for hole in holes:
        wrong |= inside(points, hole) & (distance_to_edges(points, hole) > slack)
    if wrong.any():
        raise outside(points, wrong, "triangulate")


def _hull(points: np.ndarray) -> np.ndarray:
    try:
        return points[ConvexHull(points).vertices]
    except (QhullError, ValueError):
        raise ArgumentError(
            f"triangulate: need at least three points that are not on one line, got {len(points)}. "
            "For points along a line use a Grid in one dimension."
        ) from None


def _distance(x: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Distance from a polygon, 0 inside."""
    return np.where(inside(x, corners), 0.0, distance_to_edges(x, corners))


def _rim(corners: np.ndarray, margin: float, spacing: float) -> np.ndarray:
    """Points at a distance `margin` from the polygon, at most `spacing` apart along the curve."""
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.hypot(*edges.T)
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / lengths[:, None]
    heading = np.arctan2(normals[:, 1], normals[:, 0])
    turns = (np.roll(heading, -1) - heading) % (2.0 * np.pi)
    # Pieces in turn: along an edge, then around the corner at its end.
    pieces = np.stack([lengths, margin * turns], axis=1).ravel()
    ends = np.cumsum(pieces)
    count = max(8, int(np.ceil(ends[-1] / spacing)))
    at = np.arange(count) * (ends[-1] / count)
    piece = np.minimum(np.searchsorted(ends, at, side="right"), len(pieces) - 1)
    along = (at - (ends - pieces)[piece])[:, None]
    k = piece // 2
    straight = corners[k] + margin * normals[k] + along * edges[k] / lengths[k][:, None]
    angle = heading[k] + along[:, 0] / margin
    centre = np.roll(corners, -1, axis=0)[k]
    round_corner = centre + margin * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.where((piece % 2 == 0)[:, None], straight, round_corner)


def _encloses(polygon: np.ndarray, points: np.ndarray) -> bool:
    """Whether points are well inside a convex polygon given counterclockwise."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    offsets = points[:, None] - polygon
    depth = edges[:, 0] * offsets[..., 1] - edges[:, 1] * offsets[..., 0]
    # In units of the edge itself: no flat triangles between the hull and the rim.
    return bool((depth > 0.1 * np.sum(edges**2, axis=1)).all())


def _lattices(
    corners: np.ndarray,
    margin: float,
    max_edge: float,
    coarsest: float,
    limit: Any,
    domain: Domain,
) -> tuple[int, np.ndarray]:
    """How many nodes stay put, and all nodes: those, then lattices from fine to coarse, apart."""
    nodes = domain.nodes
    if margin > 0:
        spacing = _FILL * min(coarsest, max(max_edge, margin / 2))
        rim = _rim(corners, margin, spacing)
        # Wide chords cut off corners of the hull.
        while not _encloses(rim, corners):
            spacing /= 2.0
            rim = _rim(corners, margin, spacing)
        nodes = np.concatenate([nodes, rim])
    fixed = len(nodes)
    low, high = corners.min(axis=0) - margin, corners.max(axis=0) + margin
    wanted = max_edge
    while wanted <= coarsest:
        spacing = _FILL * wanted
        x = _triangular_lattice(low, high, spacing)
        if margin > 0:
            x = x[_distance(x, corners) < margin - 0.5 * spacing]
        x = x[limit(x) >= wanted]
        x = x[domain.clear_of_edges(x, 0.5 * spacing)]
        apart, _ = KDTree(nodes).query(x)
        nodes = np.concatenate([nodes, x[apart >= _APART * spacing]])
        wanted *= 2.0
    return fixed, nodes


def _smooth(nodes: np.ndarray, fixed: int, domain: Domain, rounds: int = 4) -> np.ndarray:
    """Move nodes to the mean of their neighbours, but for the first ones.

    Lattices stay as they are; where two meet, it raises the smallest angle from 11 to 22 degrees.
    """
    for _ in range(rounds):
        triangles = _delaunay(nodes)
        i, j = triangles[:, [0, 1, 2, 0, 1, 2]].ravel(), triangles[:, [1, 2, 0, 2, 0, 1]].ravel()
        sums = np.stack([np.bincount(i, nodes[j, k], len(nodes)) for k in range(2)], axis=1)
        moved = sums / np.maximum(np.bincount(i, minlength=len(nodes)), 1)[:, None]
        # At a corner that juts into the domain the mean may lie beyond it.
        stays = ~domain.contains(moved)
        stays[:fixed] = True
        nodes = np.where(stays[:, None], nodes, moved)
    return nodes


def _triangular_lattice(low: np.ndarray, high: np.ndarray, spacing: float) -> np.ndarray:
    height = spacing * np.sqrt(0.75)
    rows = np.arange(int((high[1] - low[1]) / height) + 1)
    columns = np.arange(int((high[0] - low[0]) / spacing) + 2)
    i, j = np.meshgrid(columns, rows, indexing="ij")
    x = low[0] + spacing * (i - 0.5 * (j % 2))
    return np.stack([x.ravel(), (low[1] + height * j).ravel()], axis=1)


def _spread(middles: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """A subset of new nodes, the longest edges' first, none within half an edge of another."""
    order = np.argsort(-lengths, kind="stable")
    middles, lengths = middles[order], lengths[order]
    near = KDTree(middles).query_ball_point(middles, 0.5 * lengths)
    kept = np.zeros(len(middles), bool)
    for k, others in enumerate(near):
        kept[k] = not kept[others].any()
    return middles[kept]


def _delaunay(nodes: np.ndarray) -> np.ndarray:
    """Delaunay triangles, without those of rounding between nodes on a straight rim."""
    triangles = Delaunay(nodes).simplices
    a, b, c = (nodes[triangles[:, k]] for k in range(3))
    area = np.abs(
        (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    )
    size = np.max([np.sum((b - a) ** 2, 1), np.sum((c - b) ** 2, 1), np.sum((a - c) ** 2, 1)], 0)
    return triangles[area > 1e-9 * size]
