"""`GMRF`: a Gaussian Markov random field, by its sparse precision."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax._core import options
from cholax._core.errors import ShapeError, StructureError
from cholax._core.pickling import Portable
from cholax.linalg import operands
from cholax.linalg.cholesky import plan_for
from cholax.linalg.matrix import SparseMatrix
from cholax.linalg.operations import quadratic_form
from cholax.ordering import resolve
from cholax.patterns import Pattern
from cholax.stats.constraints import ConstrainedFactor, Constraints
from cholax.stats.constraints.constraints import as_constraints
from cholax.stats.constraints.rows import Rows
from cholax.stats.constraints.sampling import sample_shape
from cholax.stats.gmrf import conditioning, divergence, moments
from cholax.stats.gmrf.plane import EMPTY, factor_on_plane, plane_of, plane_rows, read_null_space

# A Python number: one of NumPy would turn float32 into float64.
_LOG_2PI = math.log(2 * math.pi)


@final
@jax.tree_util.register_pytree_node_class
class GMRF(Portable):
    """A Gaussian Markov random field: x ~ N(μ, Q⁻¹), Q sparse, conditioned on A x = e.

    Write the plane of the field as B x = const. With full-rank Q, B = A. An intrinsic field, with
    singular Q and null space V, has a density that does not change along the part W of V on which
    the constraints vanish (W = V without constraints): there B = [A; Wᵀ], Wᵀx being held at Wᵀμ by
    everything but the density. With k rows in B, Z an orthonormal basis of its null space, and
    m = E x,

        log p(x) = −(n − k)/2 log 2π + ½ log|ZᵀQZ| − ½ (x − m)ᵀQ(x − m)
        m        = the point of the plane that minimizes ½(x − μ)ᵀQ(x − μ); μ where μ is on it
        Cov x    = Z(ZᵀQZ)⁻¹Zᵀ                   (the pseudo-inverse of Q for B = Vᵀ)

    This is the density with respect to the length, area, ... of the plane (R-INLA's convention).
    For full-rank Q it equals log N(x; μ, Q⁻¹) − log N(e; Aμ, AQ⁻¹Aᵀ) − ½ log|AAᵀ|; for an
    intrinsic field, log|ZᵀQZ| is the log of the product of Q's non-zero eigenvalues. The plane has
    one constraint and the null space one vector per connected component of a graph: nothing is
    averaged over islands. Constraints and determinants are exact; nothing is added to Q.

    A pytree of mean, precision values and right-hand sides e; everything else is static. All
    methods jit, vmap and differentiate with respect to them, to any order, marginal variances
    included. Inside one jit the methods share one factorisation.

    Args:
        mean: μ, `(n,)` or a number for all.
        precision: Q, a symmetric `SparseMatrix`, positive definite on the plane.
        constraints: A x = e.
        null_space: `(n, k')` basis V of the null space of an intrinsic precision, an array or a
            SciPy matrix; a basis of no vectors, `(n, 0)`, states that Q is positive definite. When
            left out, Q may be singular in directions that the constraints exclude.
        log_det: log|ZᵀQZ| where it is known in closed form, so that the density needs no
            factorisation; taken as it is.
        ordering: as for `cholax.cholesky`.

    Attributes:
        precision: Q.
        constraints: A x = e, or None.
        known_null: the null space as `Rows`, "empty", or None for unknown.
        ordering: as given, an array of it as a `Plan`.

    Raises:
        DtypeError: mean, precision and e differ in dtype.
        ShapeError: they differ in size.
        StructureError: Q is not symmetric by construction, or Q V is not zero.

    Example:
        >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
        >>> path = cx.diags([jnp.array([1.0, 2.0, 1.0]), -jnp.ones(2)], [0, -1], symmetric=True)
        >>> walk = cs.GMRF(0.0, path, null_space=jnp.ones((3, 1)))
        >>> walk.rank
        2
        >>> round(float(walk.log_prob(jnp.array([1.0, 2.0, 2.0]))), 4)
        -1.7886
        >>> walk.marginal_variance().round(4).tolist()
        [0.5556, 0.2222, 0.5556]

    Reference:
        Rue & Held, *Gaussian Markov Random Fields* (2005).
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
        self.ordering = ordering if named else plan_for(precision, ordering)

    def tree_flatten(self) -> tuple[Any, Any]:
        """Leaves: mean, precision, right-hand sides; static: null space and ordering."""
        leaves = self._location, self.precision, self.constraints, self._known_log_det
        return leaves, (self.known_null, self.ordering)

    @classmethod
    def tree_unflatten(cls, static: Any, leaves: Any) -> "GMRF":
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
        """Dimension n − k of the plane: the number of random directions."""
        rows, _ = self.plane_rows
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
        """`(n,)` the parameter μ; the mean is its nearest point on the plane, measured by Q."""
        if self._location is None:
            return jnp.zeros(self.n, self.precision.dtype)
        return self._location

    @property
    def plane(self) -> Constraints | None:
        """The equations B x = (e, Wᵀμ) that means, variances and draws satisfy."""
        return plane_of(self.constraints, self.known_null, self._location, self.precision.dtype)

    @property
    def plane_rows(self) -> tuple[Rows | None, Rows | None]:
        """Rows of B and, among them, those of the improper directions Wᵀ; static."""
        rows = None if self.constraints is None else self.constraints.rows
        return plane_rows(rows, self.known_null)

    def factor(self) -> ConstrainedFactor:
        """Factor the precision on the plane; `factor().ok` says whether it is definite there.

        Example:
            >>> import cholax as cx, cholax.stats as cs
            >>> bool(cs.GMRF(0.0, 4.0 * cx.eye(2)).factor().ok)
            True
        """
        return factor_on_plane(self.precision, self.plane, self.known_null, self.ordering)

    @property
    def mean(self) -> jax.Array:
        """`(n,)` E x = μ + the Q-shortest step onto the plane.

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

    def log_prob(self, x: ArrayLike) -> jax.Array:
        """The log density at points of the plane.

        Off the plane, where a constrained field has none, the same formula is its extension, so
        that derivatives exist in every direction; `constraints.residual(x)` tells.

        Args:
            x: `(..., n)`.

        Returns:
            `(...)` log densities.

        Raises:
            ShapeError: the last axis of x is not n long.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
            >>> round(float(cs.GMRF(0.0, cx.eye(2)).log_prob(jnp.zeros(2))), 6)
            -1.837877
        """
        x = operands.same_dtype(x, self.precision.dtype, "GMRF.log_prob")
        if x.ndim == 0 or x.shape[-1] != self.n:
            raise ShapeError(f"GMRF.log_prob: need points of shape (..., {self.n}), got {x.shape}.")
        return _log_prob(self, x)

    def entropy(self) -> jax.Array:
        """Differential entropy on the plane: (n − k)/2 (1 + log 2π) − ½ log|ZᵀQZ|.

        Example:
            >>> import cholax as cx, cholax.stats as cs
            >>> round(float(cs.GMRF(0.0, cx.eye(2)).entropy()), 6)
            2.837877
        """
        return 0.5 * (self.rank * (1 + _LOG_2PI) - self.log_det())

    def sample(self, key: jax.Array, shape: int | Sequence[int] = ()) -> jax.Array:
        """Draw; differentiable in mean, precision and e (a reparametrized draw).

        An intrinsic field is drawn on its plane, with Wᵀx = Wᵀμ.

        Args:
            key: a JAX random key.
            shape: shape of the stack of draws.

        Returns:
            `(*shape, n)` draws.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax
            >>> cs.GMRF(0.0, cx.eye(2)).sample(jax.random.key(0), (5,)).shape
            (5, 2)
        """
        options.random_key(key, "GMRF.sample")
        return _sample(self, key, sample_shape(shape))

    def marginal_variance(self) -> jax.Array:
        """`(n,)` variances: the diagonal of Z(ZᵀQZ)⁻¹Zᵀ, by the Takahashi recursions.

        Example:
            >>> import cholax as cx, cholax.stats as cs
            >>> cs.GMRF(0.0, 4.0 * cx.eye(2)).marginal_variance().tolist()
            [0.25, 0.25]
        """
        return _variance(self)

    def covariance_on_pattern(self, pattern: Pattern | None = None) -> SparseMatrix:
        """Entries of the covariance on a sparsity pattern.

        Args:
            pattern: Q's own when left out; any other is added to Q's pattern where the factor
                would not give it anyway.

        Returns:
            The covariances, as a matrix on the pattern.

        Example:
            >>> import cholax as cx, cholax.stats as cs
            >>> cs.GMRF(0.0, 4.0 * cx.eye(2)).covariance_on_pattern().values.tolist()
            [0.25, 0.25]
        """
        return moments.covariance_on_pattern(self, pattern)

    def linear_combination(self, B: Any) -> moments.Moments:
        """Means and variances of the linear combinations B x, without their covariances.

        A sparse B whose rows couple few variables goes through selected inverses (a million rows
        cost little more than one), any other through one solve per row.

        Args:
            B: `(m, n)` `SparseMatrix` or array.

        Returns:
            `Moments(mean, variance)`, each `(m,)`.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
            >>> cs.GMRF(1.0, cx.eye(2)).linear_combination(jnp.array([[1.0, 2.0]]))
            Moments(mean=Array([3.], ...), variance=Array([5.], ...))
        """
        return moments.linear_combination(self, B)

    def kl(self, other: "GMRF") -> jax.Array:
        """Kullback–Leibler divergence KL(self ‖ other) on their common plane.

        ½ (tr(Q₂Σ₁) − (n − k) + (m₁ − m₂)ᵀQ₂(m₁ − m₂) + log|ZᵀQ₁Z| − log|ZᵀQ₂Z|); infinite where
        the two right-hand sides e differ.

        Raises:
            StructureError: the planes, or the improper directions, are different ones.

        Example:
            >>> import cholax as cx, cholax.stats as cs
            >>> p, q = cs.GMRF(0.0, cx.eye(2)), cs.GMRF(1.0, cx.eye(2))
            >>> float(p.kl(q))
            1.0
        """
        return divergence.kl(self, other)

    def condition(self, A: Any, y: ArrayLike, noise: Any = None) -> "GMRF":
        """The field given observations y = A x + ε, ε ~ N(0, R⁻¹).

        Q' = Q + AᵀRA,  Q'(μ' − μ) = AᵀR(y − Aμ) on the plane; constraints stay. Without noise the
        observations become constraints.

        Args:
            A: `(m, n)` `SparseMatrix` or array; an array's zeros are left out where it is known.
            y: `(m,)` observations.
            noise: precision R of the noise: a number, `(m,)` (0 where nothing was observed,
                whatever y is there) or a symmetric `SparseMatrix`. None for exact observations, of
                which A has to be known on the host and of full row rank with the constraints.

        Returns:
            A `GMRF`. It is proper in directions of an intrinsic field that A sees.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
            >>> field, A = cs.GMRF(0.0, cx.eye(2)), jnp.array([[1.0, 0.0]])
            >>> field.condition(A, jnp.array([2.0]), 1.0).mean.round(6).tolist()
            [1.0, 0.0]
        """
        return conditioning.condition(self, A, y, noise)

    def sample_conditional(
        self,
        key: jax.Array,
        A: Any,
        y: ArrayLike,
        noise: Any = None,
        *,
        shape: int | Sequence[int] = (),
    ) -> jax.Array:
        """Draw given observations y of A x: `condition(A, y, noise).sample(key, shape)`.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax, jax.numpy as jnp
            >>> field, A = cs.GMRF(0.0, cx.eye(2)), jnp.array([[1.0, 1.0]])
            >>> x = field.sample_conditional(jax.random.key(0), A, jnp.array([3.0]))
            >>> round(float(x.sum()), 5)
            3.0
        """
        return self.condition(A, y, noise).sample(key, shape)


def _read_mean(mean: ArrayLike, precision: SparseMatrix) -> jax.Array | None:
    """μ as an array, or None for a zero known while tracing."""
    if isinstance(mean, int | float) and mean == 0:
        return None
    dtype, n = precision.dtype, precision.n
    if operands.is_scalar(mean):
        return operands.repeated(operands.scalar(mean, dtype, "GMRF: mean"), n)
    return operands.vector(mean, n, dtype, "GMRF: mean")


def mean_with(field: GMRF, factor: ConstrainedFactor) -> jax.Array:
    """The mean from a factorisation at hand."""
    if not field.mean_may_differ:
        return field.location
    plane, location = factor.constraints, field.location
    assert plane is not None
    return location + factor.solve_affine(jnp.zeros_like(location), -plane.residual(location))


@jax.jit
def _mean(field: GMRF) -> jax.Array:
    return mean_with(field, field.factor())


@jax.jit
def _log_det(field: GMRF) -> jax.Array:
    return field.factor().log_det()


@jax.jit
def _log_prob(field: GMRF, x: jax.Array) -> jax.Array:
    r, Q = x - field.mean, field.precision
    if r.ndim == 1:
        form = quadratic_form(Q, r)
    else:
        flat = r.reshape(-1, field.n)
        form = jnp.sum(flat * (Q @ flat.T).T, axis=1).reshape(r.shape[:-1])
    return 0.5 * (field.log_det() - form - field.rank * _LOG_2PI)


@partial(jax.jit, static_argnums=2)
def _sample(field: GMRF, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    factor = field.factor()
    return mean_with(field, factor) + factor.sample(key, shape)


@jax.jit
def _variance(field: GMRF) -> jax.Array:
    return field.factor().inverse_diagonal()
