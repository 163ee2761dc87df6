"""`GMRF`: a Gaussian Markov random field, by its sparse precision."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from cholax._core import options
from cholax._core.errors import ShapeError
from cholax._core.pickling import reduce_tuple
from cholax.linalg import operands
from cholax.linalg.matrix import SparseMatrix
from cholax.linalg.operations import quadratic_form
from cholax.patterns import Pattern
from cholax.stats.gmrf import _conditioning, _divergence
from cholax.stats.gmrf._field import Field, mean_with

# A Python number: one of NumPy would turn float32 into float64.
_LOG_2PI = math.log(2 * math.pi)


class Moments(NamedTuple):
    """Means and variances of linear combinations, `(m,)` each."""

    mean: jax.Array
    variance: jax.Array

    __reduce__ = reduce_tuple


@final
@jax.tree_util.register_pytree_node_class
class GMRF(Field):
    """A Gaussian Markov random field: x ~ N(μ, Q⁻¹), Q sparse, conditioned on A x = e.

    Write the support of the field as B x = const. With full-rank Q, B = A. An intrinsic field, with
    singular Q and null space V, has a density that does not change along the part W of V on which
    the constraints vanish (W = V without constraints): there B = [A; Wᵀ], Wᵀx being held at Wᵀμ by
    everything but the density. With k rows in B, Z an orthonormal basis of its null space, and
    m = E x,

        log p(x) = −(n − k)/2 log 2π + ½ log|ZᵀQZ| − ½ (x − m)ᵀQ(x − m)
        m        = the point of the support that minimizes ½(x − μ)ᵀQ(x − μ); μ where μ is on it
        Cov x    = Z(ZᵀQZ)⁻¹Zᵀ                   (the pseudo-inverse of Q for B = Vᵀ)

    This is the density with respect to the length, area, ... of the support (R-INLA's convention).
    For full-rank Q it equals log N(x; μ, Q⁻¹) − log N(e; Aμ, AQ⁻¹Aᵀ) − ½ log|AAᵀ|; for an
    intrinsic field, log|ZᵀQZ| is the log of the product of Q's non-zero eigenvalues, its
    generalised determinant. The support has
    one constraint and the null space one vector per connected component of a graph: nothing is
    averaged over islands. Constraints and determinants are exact; nothing is added to Q.

    A pytree of mean, precision values and right-hand sides e; everything else is static. All
    methods jit, vmap and differentiate with respect to them, to any order, marginal variances
    included. Inside one jit the methods share one factorisation.

    Args:
        mean: μ, `(n,)` or a number for all.
        precision: Q, a symmetric `SparseMatrix`, positive definite under the constraints.
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

    __slots__ = ()

    def log_prob(self, x: ArrayLike) -> jax.Array:
        """The log density at points of the support.

        Off the support, where a constrained field has none, the same formula is its extension, so
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
        """Differential entropy on the support: (n − k)/2 (1 + log 2π) − ½ log|ZᵀQZ|.

        Example:
            >>> import cholax as cx, cholax.stats as cs
            >>> round(float(cs.GMRF(0.0, cx.eye(2)).entropy()), 6)
            2.837877
        """
        return 0.5 * (self.rank * (1 + _LOG_2PI) - self.log_det())

    def sample(self, key: jax.Array, shape: int | Sequence[int] = ()) -> jax.Array:
        """Draw; differentiable in mean, precision and e (a reparametrized draw).

        An intrinsic field is drawn on its support, with Wᵀx = Wᵀμ.

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
        return _sample(self, key, options.sizes(shape, "sample"))

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
        if pattern is not None:
            pattern = operands.pattern_of(pattern, "covariance_on_pattern")
            if pattern.shape != (self.n, self.n):
                raise ShapeError(
                    f"covariance_on_pattern: need a pattern of shape ({self.n}, {self.n}), got "
                    f"{pattern.shape}."
                )
        return _covariance(self, pattern)

    def linear_combination(self, B: Any) -> Moments:
        """Means and variances of the linear combinations B x; `Factor.combination_variance`.

        Args:
            B: `(m, n)` `SparseMatrix` or array.

        Returns:
            `Moments(mean, variance)`, each `(m,)`.

        Example:
            >>> import cholax as cx, cholax.stats as cs, jax.numpy as jnp
            >>> cs.GMRF(1.0, cx.eye(2)).linear_combination(jnp.array([[1.0, 2.0]]))
            Moments(mean=Array([3.], ...), variance=Array([5.], ...))
        """
        if not isinstance(B, SparseMatrix):
            B = operands.same_dtype(B, self.precision.dtype, "linear_combination")
        return _linear_combination(self, B)

    def kl(self, other: "GMRF") -> jax.Array:
        """Kullback–Leibler divergence KL(self ‖ other) on their common support.

        ½ (tr(Q₂Σ₁) − (n − k) + (m₁ − m₂)ᵀQ₂(m₁ − m₂) + log|ZᵀQ₁Z| − log|ZᵀQ₂Z|); infinite where
        the two right-hand sides e differ.

        Raises:
            StructureError: the supports, or the improper directions, are different ones.

        Example:
            >>> import cholax as cx, cholax.stats as cs
            >>> p, q = cs.GMRF(0.0, cx.eye(2)), cs.GMRF(1.0, cx.eye(2))
            >>> float(p.kl(q))
            1.0
        """
        return _divergence.kl(self, other)

    def condition(self, A: Any, y: ArrayLike, noise: Any = None) -> "GMRF":
        """The field given observations y = A x + ε, ε ~ N(0, R⁻¹).

        Q' = Q + AᵀRA,  Q'(μ' − μ) = AᵀR(y − Aμ) under the constraints, which stay. Without noise
        the observations become constraints.

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
        return _conditioning.condition(self, A, y, noise)

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


@partial(jax.jit, static_argnums=1)
def _covariance(field: GMRF, pattern: Pattern | None) -> SparseMatrix:
    factor = field.factor()
    if pattern is not None:
        factor = factor.holding(pattern)
    return factor.selected_inverse(pattern)


@jax.jit
def _linear_combination(field: GMRF, B: Any) -> Moments:
    variance = field.factor().combination_variance(B)
    return Moments(B @ field.mean, variance)
