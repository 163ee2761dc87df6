"""`Field`: the parameters of a Gaussian Markov random field, and what follows from them alone."""

from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax._core.errors import ShapeError, StructureError
from cholax._core.pickling import Portable
from cholax.linalg import operands
from cholax.linalg.cholesky import plan_for
from cholax.linalg.matrix import SparseMatrix
from cholax.ordering import resolve
from cholax.stats.constraints import (
    EMPTY,
    ConstrainedFactor,
    Constraints,
    Rows,
    as_constraints,
    constrained_cholesky,
    read_null_space,
    support_of,
    support_rows,
)


class Field(Portable):
    """Mean, precision, constraints and null space: support, factor, mean and determinant.

    `GMRF` is the field with all that is computed from it; arguments and attributes are described
    there. Conditioning and divergences are functions of fields.
    """

    __slots__ = (
        "_known_log_det",
        "_location",
        "constraints",
        "known_null",
        "ordering",
        "precision",
    )

    def __init__(
        self,
        mean: ArrayLike,
        precision: SparseMatrix,
        constraints: Constraints | None = None,
        *,
        null_space: Any = None,
        log_det: ArrayLike | None = None,
        ordering: Any = "auto",
    ) -> None:
        if not isinstance(precision, SparseMatrix) or not precision.symmetric:
            got = (
                repr(precision) if isinstance(precision, SparseMatrix) else type(precision).__name__
            )
            raise StructureError(
                f"GMRF: the precision must be a symmetric SparseMatrix, got {got}. "
                "Build it with symmetric=True, or call A.symmetrize()."
            )
        self.precision = precision
        self.constraints = as_constraints(constraints, precision.n, "GMRF")
        self._location = _read_mean(mean, precision)
        if self.constraints is not None:
            self.constraints.right_hand_side(precision.dtype)
        self.known_null = read_null_space(null_space, precision, "GMRF")
        if log_det is not None:
            given = operands.scalar(log_det, precision.dtype, "GMRF: log_det")
            if given.ndim:
                raise ShapeError(f"GMRF: log_det must be one number, got shape {given.shape}.")
        self._known_log_det = log_det
        named = isinstance(ordering, str)
        if named:
            resolve(ordering)  # raises where the name is unknown
        self.ordering = ordering if named else plan_for(precision.pattern, ordering, "GMRF")

    def tree_flatten(self) -> tuple[Any, Any]:
        """Leaves: mean, precision, right-hand sides; static: null space and ordering."""
        leaves = self._location, self.precision, self.constraints, self._known_log_det
        return leaves, (self.known_null, self.ordering)

    @classmethod
    def tree_unflatten(cls, static: Any, leaves: Any) -> Self:
        """Rebuild from leaves, which may be any objects."""
        self = object.__new__(cls)
        self._location, self.precision, self.constraints, self._known_log_det = leaves
        self.known_null, self.ordering = static
        return self

    def __repr__(self) -> str:
        return f"GMRF(n={self.n}, rank={self.rank}, dtype={getattr(self.precision, 'dtype', None)})"

    @property
    def n(self) -> int:
        """Number of variables."""
        return self.precision.pattern.n

    @property
    def rank(self) -> int:
        """Dimension n − k of the support: the number of random directions."""
        rows, _ = self.support_rows
        return self.n - (0 if rows is None else rows.k)

    @property
    def null_space(self) -> Any:
        """`(n, k')` orthonormal basis of Q's null space; None where it is not known.

        An array; a SciPy sparse array for hundreds of sparse vectors.
        """
        if isinstance(self.known_null, Rows):
            return self.known_null.orthonormal
        return np.zeros((self.n, 0)) if self.known_null == EMPTY else None

    @property
    def location(self) -> jax.Array:
        """`(n,)` the parameter μ; the mean is the support's nearest point, measured by Q."""
        if self._location is None:
            return jnp.zeros(self.n, self.precision.dtype)
        return self._location

    @property
    def support(self) -> Constraints | None:
        """The support {x : B x = (e, Wᵀμ)}: equations that means, variances and draws satisfy."""
        return support_of(self.constraints, self.known_null, self._location, self.precision.dtype)

    @property
    def support_rows(self) -> tuple[Rows | None, Rows | None]:
        """Rows of B and, among them, those of the improper directions Wᵀ; static."""
        rows = None if self.constraints is None else self.constraints.rows
        return support_rows(rows, self.known_null)

    def factor(self) -> ConstrainedFactor:
        """Factor the precision on the support; `factor().ok` says whether it is definite there.

        Example:
            >>> import cholax as cx, cholax.stats as cs
            >>> bool(cs.GMRF(0.0, 4.0 * cx.eye(2)).factor().ok)
            True
        """
        null, fixing = self.known_null, None
        if null == EMPTY:
            null, fixing = None, ()
        return constrained_cholesky(
            self.precision, self.support, fixing=fixing, null_space=null, ordering=self.ordering
        )

    @property
    def mean(self) -> jax.Array:
        """`(n,)` E x = μ + the Q-shortest step onto the support.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
            >>> total = cs.Constraints(jnp.ones(2), jnp.array([3.0]))
            >>> cs.GMRF(0.0, cx.eye(2), total).mean.round(6).tolist()
            [1.5, 1.5]
        """
        if not self.mean_may_differ:
            return self.location
        return _mean(self)

    @property
    def mean_may_differ(self) -> bool:
        """Whether the mean may differ from the location; static."""
        if self.constraints is None:
            return False
        return self._location is not None or self.constraints.e is not None

    def log_det(self) -> jax.Array:
        """log|ZᵀQZ|: log|Q| for full rank without constraints.

        For an intrinsic field it is the sum of the logs of Q's non-zero eigenvalues.

        Example:
            >>> import cholax as cx, cholax.stats as cs
            >>> round(float(cs.GMRF(0.0, 4.0 * cx.eye(3)).log_det()), 6)
            4.158883
        """
        if self._known_log_det is not None:
            return jnp.asarray(self._known_log_det, self.precision.dtype)
        return _log_det(self)


def _read_mean(mean: ArrayLike, precision: SparseMatrix) -> jax.Array | None:
    """μ as an array, or None for a zero known while tracing."""
    if isinstance(mean, int | float) and mean == 0:
        return None
    dtype, n = precision.dtype, precision.n
    if operands.is_scalar(mean):
        return operands.repeated(operands.scalar(mean, dtype, "GMRF: mean"), n)
    return operands.vector(mean, n, dtype, "GMRF: mean")


def mean_with(field: Field, factor: ConstrainedFactor) -> jax.Array:
    """The mean from a factorisation at hand."""
    if not field.mean_may_differ:
        return field.location
    constraints, location = factor.constraints, field.location
    assert constraints is not None
    shift = factor.solve_affine(jnp.zeros_like(location), -constraints.residual(location))
    return location + shift


@jax.jit
def _mean(field: Field) -> jax.Array:
    return mean_with(field, field.factor())


@jax.jit
def _log_det(field: Field) -> jax.Array:
    return field.factor().log_det()
