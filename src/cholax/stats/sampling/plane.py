"""`Plane`: orthonormal coordinates on the plane A x = e."""

from functools import cached_property
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from cholax.stats.constraints import Constraints


@final
class Plane:
    """Orthonormal coordinates z of the points of the plane A x = e, of dimension n − k.

    x = x₀ + H (z, 0): x₀ is the point of the plane nearest to the origin and H one block reflection
    that takes k chosen unit vectors E to the span of A's rows, so that it takes the others to a
    basis of the null space of A. With V an orthonormal basis of the rows and EᵀV = UP its polar
    decomposition, H = I − W (I + P)⁻¹ Wᵀ with W = V + EU. Nothing of size n × n is formed, and the
    volume element is 1, so a density on the plane is one of z.

    Args:
        constraints: `Constraints` with a concrete right-hand side.

    Example:
        >>> import cholax.stats as cs, jax.numpy as jnp
        >>> plane = Plane(cs.Constraints(jnp.ones(3)))
        >>> x = plane.point(jnp.array([1.0, 2.0]))
        >>> bool(abs(x.sum()) < 1e-5), plane.coordinates(x).round(4).tolist()
        (True, [1.0, 2.0])

    Reference:
        Schreiber & Parlett, *Block reflectors: theory and computation* (1988).
    """

    def __init__(self, constraints: Constraints) -> None:
        self.n, self.k = constraints.n, constraints.k
        e = np.zeros(self.k) if constraints.e is None else np.asarray(constraints.e)
        self.origin = constraints.rows.pseudo_inverse @ e
        self._rows = constraints.rows

    @cached_property
    def free(self) -> np.ndarray:
        """`(n − k,)` the entries of (z, 0) that hold z."""
        return np.setdiff1d(np.arange(self.n), self._rows.pins)

    @cached_property
    def order(self) -> np.ndarray:
        """`(n,)` where each entry comes from in z followed by k zeros."""
        order = np.empty(self.n, np.int64)
        order[np.concatenate([self.free, np.asarray(self._rows.pins, int)])] = np.arange(self.n)
        return order

    @cached_property
    def reflector(self) -> tuple[np.ndarray, np.ndarray]:
        """`(n, k)` matrices W and W (I + P)⁻¹."""
        V, pins = self._rows.basis, list(self._rows.pins)
        U, P = scipy.linalg.polar(V[pins])
        W = V.copy()
        W[pins] += U
        return W, W @ np.linalg.inv(np.eye(self.k) + P)

    def _reflect(self, y: jax.Array) -> jax.Array:
        W, scaled = (jnp.asarray(part, y.dtype) for part in self.reflector)
        return y - (y @ W) @ scaled.T

    def point(self, z: Any) -> jax.Array:
        """The points x of coordinates z, of shape `(..., n)` for `(..., n − k)`."""
        z = jnp.asarray(z)
        padded = jnp.concatenate([z, jnp.zeros((*z.shape[:-1], self.k), z.dtype)], axis=-1)
        return jnp.asarray(self.origin, z.dtype) + self._reflect(padded[..., self.order])

    def coordinates(self, x: Any) -> jax.Array:
        """The coordinates of the point of the plane nearest to x."""
        x = jnp.asarray(x)
        return self._reflect(x - jnp.asarray(self.origin, x.dtype))[..., self.free]
