"""`Mesh`: a triangulation of a part of the plane."""

from functools import cached_property
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from cholax._core.errors import ArgumentError, PatternError, ShapeError
from cholax.linalg import SparseMatrix
from cholax.stats.mesh.elements import FiniteElements
from cholax.stats.mesh.locate import locate
from cholax.stats.mesh.projector import check_points, outside, projection


@final
class Mesh:
    """Triangles in the plane, given by their corners.

    Args:
        nodes: `(n, 2)` coordinates.
        triangles: `(m, 3)` node numbers of the corners, in either orientation.

    Raises:
        ArgumentError: a triangle without area, or a node in no triangle.
        PatternError: corners out of range, a triangle listed twice, or three at one edge.
        ShapeError: arrays of another shape.

    Example:
        >>> from cholax.stats import Mesh
        >>> mesh = Mesh([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [[0, 1, 2], [1, 3, 2]])
        >>> mesh
        Mesh(nodes=4, triangles=2)
        >>> mesh.projector([[0.25, 0.25]]).to_dense().tolist()
        [[0.5, 0.25, 0.25, 0.0]]
    """

    def __init__(self, nodes: ArrayLike, triangles: ArrayLike) -> None:
        self.nodes = check_points(nodes, 2, "Mesh: nodes")
        corners = np.asarray(triangles)
        if corners.ndim != 2 or corners.shape[1] != 3 or corners.dtype.kind not in "iu":
            raise ShapeError(
                f"Mesh: triangles must be (m, 3) integers, got {corners.dtype} {corners.shape}."
            )
        if corners.size and (corners.min() < 0 or corners.max() >= len(self.nodes)):
            raise PatternError(
                f"Mesh: corners must lie between 0 and {len(self.nodes) - 1}, got "
                f"{corners.min()} to {corners.max()}."
            )
        self.triangles = corners.astype(np.int64)
        _check_overlap(self.triangles)
        self.areas = 0.5 * np.abs(_cross(*self._edges[:2]))
        size = np.max(np.sum(np.stack(self._edges) ** 2, axis=2), axis=0, initial=0.0)
        flat = np.flatnonzero(self.areas <= 1e-12 * size)
        if flat.size:
            raise ArgumentError(
                f"Mesh: triangle {flat[0]} has no area. Remove it, and merge nodes that coincide."
            )
        lonely = np.setdiff1d(np.arange(len(self.nodes)), self.triangles)
        if lonely.size:
            raise ArgumentError(f"Mesh: node {lonely[0]} belongs to no triangle. Remove it.")

    def __repr__(self) -> str:
        return f"Mesh(nodes={self.n}, triangles={len(self.triangles)})"

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.nodes)

    @cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per triangle the edge opposite to each corner."""
        a, b, c = (self.nodes[self.triangles[:, k]] for k in range(3))
        return c - b, a - c, b - a

    @property
    def edge_lengths(self) -> np.ndarray:
        """`(m, 3)` lengths of the edges opposite to each corner."""
        return np.stack([np.hypot(*edge.T) for edge in self._edges], axis=1)

    @property
    def minimum_angle(self) -> float:
        """Smallest angle of all triangles, in degrees."""
        a, b, c = np.sort(self.edge_lengths, axis=1).T
        cosine = np.clip((b**2 + c**2 - a**2) / (2.0 * b * c), -1.0, 1.0)
        return float(np.degrees(np.arccos(cosine.max(initial=-1.0))))

    def finite_elements(self) -> FiniteElements:
        """Mass and stiffness of continuous, piecewise linear functions.

        On a triangle of area T with the edges e_i opposite to its corners: ∫ ψ_i = T/3 and
        ∫ ∇ψ_i · ∇ψ_j = e_i · e_j / (4T).
        """
        n, T = self.n, self.triangles
        mass = np.bincount(T.ravel(), np.repeat(self.areas / 3.0, 3), n)
        edges = np.stack(self._edges, axis=1)
        local = np.einsum("mid,mjd->mij", edges, edges) / (4.0 * self.areas)[:, None, None]
        rows, columns = np.repeat(T, 3, axis=1).ravel(), np.tile(T, 3).ravel()
        stiffness = sp.coo_array((local.ravel(), (rows, columns)), shape=(n, n))
        return FiniteElements(mass, sp.csc_array(stiffness), 2)

    def contains(self, points: ArrayLike) -> np.ndarray:
        """Which of the points `(m, 2)` lie in a triangle: `(m,)` booleans, edges included."""
        points = check_points(points, 2, "Mesh.contains")
        return locate(self.nodes, self.triangles, points)[0] >= 0

    def projector(self, points: ArrayLike, *, dtype: Any = None) -> SparseMatrix:
        """Linear interpolation at points: A x, `(m, n)`, barycentric coordinates in its rows.

        Args:
            points: `(m, 2)` coordinates.
            dtype: of the matrix, JAX's default when left out.

        Raises:
            ArgumentError: a point outside the mesh or in a hole of it, naming the first; see
                `contains`.
        """
        points = check_points(points, 2, "Mesh.projector")
        triangle, weights = locate(self.nodes, self.triangles, points)
        if (triangle < 0).any():
            raise outside(points, triangle < 0, "Mesh.projector")
        return projection(self.triangles[triangle], weights, self.n, dtype)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _check_overlap(triangles: np.ndarray) -> None:
    """Triangles on top of each other would count their area twice."""
    corners = np.sort(triangles, axis=1)
    _, first, copies = np.unique(corners, axis=0, return_index=True, return_counts=True)
    if np.any(copies > 1):
        again = triangles[first[np.argmax(copies > 1)]].tolist()
        raise PatternError(f"Mesh: the triangle {again} is listed twice. Remove its copy.")
    edges, count = np.unique(
        np.concatenate([corners[:, [0, 1]], corners[:, [0, 2]], corners[:, [1, 2]]]),
        axis=0,
        return_counts=True,
    )
    if np.any(count > 2):
        k = int(np.argmax(count > 2))
        raise PatternError(
            f"Mesh: {count[k]} triangles meet at the edge {edges[k].tolist()}, where two are the "
            "most without an overlap. Remove the others."
        )
