"""Which triangle a point lies in, and where, by buckets of a regular grid."""

import numpy as np

# Rounding of barycentric coordinates on an edge; points this far out count as on it.
_SLACK = 1e-9


def locate(
    nodes: np.ndarray, triangles: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The triangle of each point and its barycentric coordinates there.

    Args:
        nodes: `(n, 2)` coordinates.
        triangles: `(m, 3)` corners, none without area.
        points: `(p, 2)` coordinates.

    Returns:
        `(p,)` triangles, -1 outside of all, and `(p, 3)` coordinates, none negative.
    """
    corners = nodes[triangles]
    low, high = nodes.min(axis=0), nodes.max(axis=0)
    # About one triangle to a bucket; a point is then tested against a handful.
    buckets = max(1, int(np.sqrt(len(triangles))))
    width = (high - low) / buckets
    slack = _SLACK * (high - low)

    def bucket(x: np.ndarray) -> np.ndarray:
        return np.clip(((x - low) / width).astype(np.int64), 0, buckets - 1)

    first = bucket(corners.min(axis=1) - slack)
    last = bucket(corners.max(axis=1) + slack)
    owner, cell = _covered(first, last, buckets)
    order = np.argsort(cell, kind="stable")
    owner, cell = owner[order], cell[order]
    starts = np.searchsorted(cell, np.arange(buckets * buckets + 1))
    near = ((points >= low - slack) & (points <= high + slack)).all(axis=1)
    row, column = bucket(np.where(near[:, None], points, low)).T
    place = row * buckets + column
    counts = np.where(near, starts[place + 1] - starts[place], 0)
    return _best(corners, owner, starts[place], counts, points)


def _covered(first: np.ndarray, last: np.ndarray, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Every (triangle, bucket) whose boxes overlap."""
    spans = last - first + 1
    counts = spans[:, 0] * spans[:, 1]
    owner = np.repeat(np.arange(len(first)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    i, j = np.divmod(within, spans[owner, 1])
    return owner, (first[owner, 0] + i) * buckets + first[owner, 1] + j


def _best(
    corners: np.ndarray,
    owner: np.ndarray,
    start: np.ndarray,
    counts: np.ndarray,
    points: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Among the triangles listed for each point, the one it is deepest inside."""
    point = np.repeat(np.arange(len(points)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    candidate = owner[np.repeat(start, counts) + within]
    weights = _barycentric(corners[candidate], points[point])
    depth = weights.min(axis=1, initial=np.inf)
    # Sorted by point, then by depth: the last of each point is its best.
    order = np.lexsort((depth, point))
    last = np.flatnonzero(np.diff(point[order], append=len(points)))
    chosen = order[last]
    inside = chosen[depth[chosen] >= -_SLACK]
    triangle = np.full(len(points), -1)
    found = np.zeros((len(points), 3))
    triangle[point[inside]] = candidate[inside]
    clipped = np.maximum(weights[inside], 0.0)
    found[point[inside]] = clipped / clipped.sum(axis=1, keepdims=True)
    return triangle, found


def _barycentric(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    a, b, c = corners[:, 0] - points, corners[:, 1] - points, corners[:, 2] - points
    parts = np.stack([_cross(b, c), _cross(c, a), _cross(a, b)], axis=1)
    return parts / parts.sum(axis=1, keepdims=True)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
