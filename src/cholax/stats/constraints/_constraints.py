"""`Constraints`: linear constraints A x = e that hold exactly, and products with their rows.

Products are along the last axis of their argument. Where rows are eliminated, x = A⁺e + B u, the
others are dense rows on u, and everything follows from both.
"""

from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.dtypes import check_values
from cholax._core.errors import DtypeError, ShapeError, StructureError
from cholax._core.pickling import Portable
from cholax.linalg.constants import constant
from cholax.stats.constraints._rows import Rows


@final
@jax.tree_util.register_pytree_node_class
class Constraints(Portable):
    """Linear constraints A x = e, k of them on n variables; a pytree whose only leaf is e.

    A is known on the host: it decides how matrices are factored, and its rank is checked. The
    right-hand side may be traced and differentiated.

    Thousands of rows are cheap where most of them form small groups with disjoint variables, as the
    constraints of space-time interactions do: give them as a sparse matrix. Such rows are
    eliminated, the others treated by a dense low-rank correction.

    Args:
        A: `(k, n)` array, SciPy matrix or `SparseMatrix` of full row rank; a vector is one row.
        e: `(k,)` right-hand side, zero when left out.

    Raises:
        ShapeError: A has more rows than columns, or e is not one number per row.
        StructureError: rows that depend on each other.
        UnsupportedError: A is traced.

    Example:
        >>> import cholax.stats as cs, numpy as np
        >>> sum_to_zero = cs.Constraints(np.ones(4))
        >>> sum_to_zero
        Constraints(k=1, n=4)
        >>> sum_to_zero.residual(np.array([1.0, 2.0, 3.0, -6.0])).tolist()
        [0.0]
    """

    __slots__ = ("e", "rows")

    def __init__(self, A: Any, e: Any = None) -> None:
        self.rows = A if isinstance(A, Rows) else Rows(A, "Constraints")
        self.e = None if e is None else _right_hand_side(e, self.rows.k)

    def tree_flatten(self) -> tuple[tuple[Any], Rows]:
        """Leaf: the right-hand side; static: the rows."""
        return (self.e,), self.rows

    @classmethod
    def tree_unflatten(cls, rows: Rows, leaves: Any) -> "Constraints":
        """Rebuild from leaves, which may be any objects."""
        self = object.__new__(cls)
        self.rows, (self.e,) = rows, leaves
        return self

    def __repr__(self) -> str:
        return f"Constraints(k={self.k}, n={self.n})"

    @property
    def A(self) -> np.ndarray:
        """`(k, n)` coefficients, dense, float64 and read-only; refused above a gibibyte."""
        return self.rows.matrix

    @property
    def k(self) -> int:
        """Number of constraints."""
        return self.rows.k

    @property
    def n(self) -> int:
        """Number of variables."""
        return self.rows.n

    def residual(self, x: Any) -> jax.Array:
        """A x − e, of shape `(..., k)` for x of shape `(..., n)`."""
        x = _vectors(x, self.n, "Constraints.residual")
        return times(self.rows, x) - self.right_hand_side(x.dtype)

    def project(self, x: Any) -> jax.Array:
        """The point of A x = e nearest to x: x + Aᵀ(AAᵀ)⁻¹(e − A x), of x's shape."""
        x = _vectors(x, self.n, "Constraints.project")
        return x - shortest(self.rows, self.residual(x))

    def coordinates(self, x: Any) -> jax.Array:
        """Orthonormal coordinates y = Zᵀx on A x = e, `(..., n − k)` for x of shape `(..., n)`.

        Z is the basis of the null space of A that `point` uses, the trailing columns of k
        Householder reflections; it is never formed.
        """
        x = _vectors(x, self.n, "Constraints.coordinates")
        return _coordinates(self.rows, x)

    def point(self, y: Any) -> jax.Array:
        """The point of A x = e with coordinates y: Aᵀ(AAᵀ)⁻¹e + Z y, of length-preserving Z.

        Example:
            >>> import cholax.stats as cs, numpy as np
            >>> total = cs.Constraints(np.ones(3), np.array([6.0]))
            >>> x = total.point(np.array([1.0, -2.0]))
            >>> round(float(x.sum()), 4), total.coordinates(x).round(4).tolist()
            (6.0, [1.0, -2.0])
        """
        y = _vectors(y, self.n - self.k, "Constraints.point")
        nearest = shortest(self.rows, self.right_hand_side(y.dtype))
        return nearest + _from_coordinates(self.rows, y)

    def magnitude(self, x: jax.Array) -> jax.Array:
        """|A| |x|, `(..., k)`: A x below a few rounding units of it is rounding error."""
        if self.rows.local is None:
            return jnp.abs(x) @ jnp.abs(constant(self.rows, "matrix", x.dtype)).T
        return self.rows.magnitudes.along(jnp.abs(x), transpose=True)

    def tangential(self, x: jax.Array) -> jax.Array:
        """The part of x in the null space of A, ZZᵀx: the point of A x = 0 nearest to x."""
        return x - shortest(self.rows, times(self.rows, x))

    def right_hand_side(self, dtype: Any) -> jax.Array:
        """The right-hand side e, zeros where it was left out; `DtypeError` rather than a cast."""
        if self.e is None:
            return jnp.zeros(self.k, dtype)
        if self.e.dtype != dtype:
            raise DtypeError(
                f"Constraints: e and the matrix must have one dtype, got {self.e.dtype} and "
                f"{np.dtype(dtype)}. Convert one of them with .astype()."
            )
        return self.e


def _vectors(x: Any, size: int, where: str) -> jax.Array:
    array = check_values(x, where)
    if array.ndim == 0 or array.shape[-1] != size:
        raise ShapeError(f"{where}: need an array of shape (..., {size}), got {array.shape}.")
    return array


def _right_hand_side(e: Any, k: int) -> jax.Array:
    array = check_values(e, "Constraints")
    if array.shape != (k,):
        raise ShapeError(
            f"Constraints: need a right-hand side of shape ({k},), got {array.shape}. "
            "One number per row of A."
        )
    return array


def as_constraints(constraints: Any, n: int, where: str) -> Constraints | None:
    """None for no constraints; an error unless they are `Constraints` on n variables."""
    if constraints is None:
        return None
    if not isinstance(constraints, Constraints):
        raise StructureError(
            f"{where}: constraints must be a Constraints object, got "
            f"{type(constraints).__name__}. Build one with cholax.stats.Constraints(A, e)."
        )
    if constraints.n != n:
        raise ShapeError(
            f"{where}: the constraints are on {constraints.n} variables, the matrix has {n}."
        )
    return constraints if constraints.k else None


def times(rows: Rows, x: jax.Array) -> jax.Array:
    """A x, `(..., k)` for x of shape `(..., n)`."""
    if rows.local is None:
        return x @ constant(rows, "matrix", x.dtype).T
    return rows.operator.along(x, transpose=True)


def shortest(rows: Rows, e: jax.Array) -> jax.Array:
    """A⁺e, the shortest solution of A x = e, `(..., n)` for e of shape `(..., k)`."""
    if rows.local is None:
        return e @ pseudo_inverse(rows, e.dtype).T
    start, left = particular(rows, e)
    return start + rows.local.basis.along(shortest(rows.rest, left))


def pseudo_inverse(rows: Rows, dtype: Any) -> jax.Array:
    """A⁺ of dense rows."""
    if rows.are_orthonormal:
        return constant(rows, "matrix", dtype).T
    return constant(rows, "pseudo_inverse", dtype)


def particular(rows: Rows, e: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The shortest solution of the rows that are eliminated, and what is left of e for the rest."""
    local = rows.local
    assert local is not None
    start = local.inverse.along(e[..., local.rows])
    left = (e - times(rows, start))[..., rows.rest_rows]
    return start, left @ jnp.asarray(rows.rest_scale.T, e.dtype)


def _coordinates(rows: Rows, x: jax.Array) -> jax.Array:
    """Zᵀx, Z an orthonormal basis of the null space of A."""
    if rows.local is not None:
        return _coordinates(rows.rest, rows.local.basis.along(x, transpose=True))
    Y, T = (jnp.asarray(part, x.dtype) for part in rows.reflectors)
    return (x - ((x @ Y) @ T) @ Y.T)[..., rows.k :]


def _from_coordinates(rows: Rows, y: jax.Array) -> jax.Array:
    """Z y."""
    if rows.local is not None:
        return rows.local.basis.along(_from_coordinates(rows.rest, y))
    Y, T = (jnp.asarray(part, y.dtype) for part in rows.reflectors)
    x = jnp.concatenate([jnp.zeros((*y.shape[:-1], rows.k), y.dtype), y], axis=-1)
    return x - ((x @ Y) @ T.T) @ Y.T
