"""`Grid`: a regular grid in one to three dimensions."""

from collections.abc import Sequence
from functools import reduce
from typing import Any, final

import numpy as np
import scipy.sparse as sp

from cholax._core.errors import ArgumentError, ShapeError
from cholax.linalg import SparseMatrix
from cholax.stats.mesh.elements import FiniteElements
from cholax.stats.mesh.projector import check_points, outside, projection


@final
class Grid:
    """A regular grid of nodes, the last coordinate running fastest.

    Its elements are products of linear ones in each coordinate with lumped masses, so the
    stiffness is the (2d + 1)-point difference stencil, on squares that of triangles.

    Args:
        shape: number of nodes in each of one to three coordinates, at least 2.
        spacing: distance of neighbours, one number or one per coordinate.
        origin: coordinates of the first node, 0 when left out.

    Raises:
        ArgumentError: fewer than 2 nodes, or a spacing that is not positive.
        ShapeError: not one to three coordinates.

    Example:
        >>> from cholax.stats import Grid
        >>> grid = Grid((3, 2), spacing=0.5)
        >>> grid.nodes[:3].tolist()
        [[0.0, 0.0], [0.0, 0.5], [0.5, 0.0]]
        >>> float(grid.finite_elements().mass.sum())
        0.5
    """

    __slots__ = ("origin", "shape", "spacing")

    def __init__(
        self,
        shape: Sequence[int],
        *,
        spacing: float | Sequence[float] = 1.0,
        origin: Sequence[float] | None = None,
    ) -> None:
        self.shape = tuple(int(size) for size in shape)
        d = len(self.shape)
        if d not in (1, 2, 3):
            raise ShapeError(f"Grid: need 1 to 3 coordinates, got shape {self.shape}.")
        self.spacing = np.broadcast_to(np.asarray(spacing, float), (d,))
        self.origin = np.broadcast_to(np.asarray(0.0 if origin is None else origin, float), (d,))
        if min(self.shape) < 2 or not (self.spacing > 0).all():
            raise ArgumentError(
                f"Grid: need at least 2 nodes in each coordinate and positive spacing, got shape "
                f"{self.shape} and spacing {self.spacing.tolist()}."
            )

    def __repr__(self) -> str:
        return f"Grid(shape={self.shape}, spacing={self.spacing.tolist()})"

    @property
    def n(self) -> int:
        """Number of nodes."""
        return int(np.prod(self.shape))

    @property
    def nodes(self) -> np.ndarray:
        """`(n, d)` coordinates."""
        axes = [
            start + step * np.arange(size)
            for start, step, size in zip(self.origin, self.spacing, self.shape, strict=True)
        ]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(self.n, -1)

    def finite_elements(self) -> FiniteElements:
        """Mass and stiffness: Kronecker products of those in one coordinate."""
        lines = [_line(size, h) for size, h in zip(self.shape, self.spacing, strict=True)]
        mass = reduce(np.kron, [m for m, _ in lines])
        stiffness: Any = 0
        for k in range(len(lines)):
            factors = [G if i == k else sp.diags_array(m) for i, (m, G) in enumerate(lines)]
            stiffness = stiffness + reduce(sp.kron, factors)
        return FiniteElements(mass, sp.csc_array(stiffness), len(self.shape))

    def projector(self, points: Any, *, dtype: Any = None) -> SparseMatrix:
        """Multilinear interpolation at points: A x, `(m, n)`.

        Args:
            points: `(m, d)` coordinates; `(m,)` in one dimension.
            dtype: of the matrix, JAX's default when left out.

        Raises:
            ArgumentError: a point outside the grid, naming the first.
        """
        points = check_points(points, len(self.shape), "Grid.projector")
        cells = (points - self.origin) / self.spacing
        last = np.array(self.shape) - 1
        slack = 1e-9 * last
        wrong = ((cells < -slack) | (cells > last + slack)).any(axis=1)
        if wrong.any():
            raise outside(points, wrong, "Grid.projector")
        low = np.clip(np.floor(cells).astype(int), 0, last - 1)
        t = np.clip(cells - low, 0.0, 1.0)
        columns, weights = [], []
        for corner in np.ndindex(*(2,) * len(self.shape)):
            columns.append(np.ravel_multi_index(tuple((low + corner).T), self.shape))
            weights.append(np.prod(np.where(corner, t, 1.0 - t), axis=1))
        return projection(np.stack(columns, 1), np.stack(weights, 1), self.n, dtype)


def _line(n: int, h: float) -> tuple[np.ndarray, Any]:
    mass = np.full(n, h)
    mass[[0, -1]] = h / 2
    D = sp.eye_array(n - 1, n, k=1) - sp.eye_array(n - 1, n)
    return mass, (D.T @ D) / h
