"""`Whitening`: coordinates in which a posterior is nearly white, by its precision at the mode."""

from collections.abc import Callable
from typing import Any, final

import jax
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from cholax._core import options
from cholax._core.dtypes import check_values
from cholax._core.errors import ShapeError, StructureError
from cholax._core.foreign import refuse_foreign_tree
from cholax.linalg.checked import checked
from cholax.linalg.cholesky import cholesky
from cholax.linalg.matrix import SparseMatrix


@final
class Whitening:
    """White coordinates z of x around a mode x̂ with precision Q: x = x̂ + Pᵀ L⁻ᵀ z, L Lᵀ = P Q Pᵀ.

    A density whose negative logarithm has Hessian Q at x̂ has Hessian I in z at 0. Either map costs
    one sparse substitution, and differentiates.

    Args:
        mode: x̂, an array or a pytree of arrays of one dtype.
        precision: symmetric `SparseMatrix` over the entries of the mode, in the order of
            `jax.flatten_util.ravel_pytree`.
        ordering: as for `cholax.cholesky`.

    Raises:
        NotPositiveDefiniteError: a concrete precision that is not; the mode is then no strict one.
        ShapeError: sizes that differ.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> white = Whitening(jnp.array([1.0, 2.0]), 4.0 * cx.eye(2))
        >>> white.point(jnp.ones(2)).tolist()
        [1.5, 2.5]
        >>> white.coordinates(jnp.array([1.5, 2.5])).tolist()
        [1.0, 1.0]

    Reference:
        Monnahan, Kristensen, Thorson & Carpenter, *Sparse NUTS* (2026), arXiv:2603.02437.
    """

    def __init__(self, mode: Any, precision: SparseMatrix, *, ordering: Any = "auto") -> None:
        refuse_foreign_tree(mode, "Whitening: mode")
        if not isinstance(precision, SparseMatrix):
            raise StructureError(
                f"Whitening: the precision must be a SparseMatrix, got {options.shown(precision)}. "
                "Build it with symmetric=True, or call A.symmetrize()."
            )
        self.mode, self._unravel = ravel_pytree(mode)
        check_values(self.mode, "Whitening: mode")
        if precision.n != self.mode.size:
            raise ShapeError(
                f"Whitening: need a precision of order {self.mode.size}, one row per entry of the "
                f"mode, got {precision.n}."
            )
        self.factor = cholesky(precision, ordering=ordering)
        if not isinstance(self.factor.status, Tracer):
            checked(self.factor)

    @property
    def n(self) -> int:
        """Number of coordinates."""
        return self.mode.size

    def point(self, z: jax.Array) -> Any:
        """The point x of coordinates z, of the mode's structure."""
        return self._unravel(self.mode + self.factor.half_solve_t(z))

    def coordinates(self, x: Any) -> jax.Array:
        """The coordinates z = Lᵀ P (x − x̂) of a point."""
        flat, _ = ravel_pytree(x)
        return self.factor.half_solve(self.factor.A @ (flat - self.mode))

    def log_density(self, log_density: Callable[[Any], jax.Array]) -> Callable[..., jax.Array]:
        """The density of z where x has the given one: log p(x(z)) − ½ log|Q|."""
        half = 0.5 * self.factor.log_det()

        def white(z: jax.Array) -> jax.Array:
            return log_density(self.point(z)) - half

        return white
