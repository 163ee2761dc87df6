"""Gaussian Markov random fields as NumPyro distributions.

`GMRF` takes any sparse precision, with exact linear constraints; `CAR` has the arguments of
NumPyro's own and builds at any size. Needs the extra `cholax[numpyro]`.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax import lax
from numpyro.distributions import Distribution, biject_to, kl_divergence
from numpyro.distributions import constraints as supports
from numpyro.distributions.transforms import Transform
from numpyro.distributions.util import validate_sample

import cholax.stats as stats
from cholax._core.errors import ShapeError, StructureError
from cholax._core.foreign import refuse_foreign
from cholax.linalg.construct import from_scipy
from cholax.linalg.matrix import SparseMatrix
from cholax.stats.constraints import Constraints
from cholax.stats.latent.graph import Graph


class AffineSubspace(supports.Constraint):
    """The points with A x = e, up to rounding; unconstrained as orthonormal coordinates."""

    event_dim = 1

    def __init__(self, constraints: Constraints) -> None:
        self.constraints = constraints

    def __call__(self, x: Any) -> Any:
        """Whether each point satisfies all constraints."""
        rows = self.constraints.rows
        residual = jnp.abs(self.constraints.residual(x)) / jnp.asarray(rows.lengths, x.dtype)
        # Rounding of a sum of n terms, and of the right-hand side.
        e = jnp.abs(self.constraints.right_hand_side(x.dtype)) / jnp.asarray(rows.lengths, x.dtype)
        size = jnp.linalg.norm(x, axis=-1, keepdims=True) + e
        tolerance = 10 * np.sqrt(rows.n) * jnp.finfo(x.dtype).eps
        return jnp.all(residual <= tolerance * size, axis=-1)

    def feasible_like(self, prototype: Any) -> Any:
        """The shortest point of the subspace."""
        return self.constraints.project(jnp.zeros_like(prototype))

    def eq(self, other: object, static: bool = False) -> Any:
        """Whether two subspaces are given by the same rows and, unless static, right-hand sides."""
        if not isinstance(other, AffineSubspace) or self.constraints.rows != other.constraints.rows:
            return False
        e, other_e = self.constraints.e, other.constraints.e
        if e is None or other_e is None:
            return e is other_e
        return bool(np.array_equal(e, other_e)) if static else jnp.array_equal(e, other_e)

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        """Leaf: the constraints."""
        return (self.constraints,), None

    @classmethod
    def tree_unflatten(cls, aux_data: None, params: Any) -> "AffineSubspace":
        """Rebuild from leaves."""
        del aux_data
        self = object.__new__(cls)
        (self.constraints,) = params
        return self

    def __repr__(self) -> str:
        return f"AffineSubspace({self.constraints!r})"


class NullSpaceTransform(Transform):
    """Orthonormal coordinates to points of the subspace; a rotation, so its log-Jacobian is 0."""

    domain: Any = supports.real_vector

    def __init__(self, constraints: Constraints) -> None:
        self.constraints = constraints

    @property
    def codomain(self) -> Any:
        """The subspace."""
        return AffineSubspace(self.constraints)

    def __call__(self, x: Any) -> Any:
        """The point with coordinates x."""
        return self.constraints.point(x)

    def _inverse(self, y: Any) -> Any:
        return self.constraints.coordinates(y)

    def log_abs_det_jacobian(self, x: Any, y: Any, intermediates: Any = None) -> Any:
        """Zero: lengths on the subspace are lengths of coordinates."""
        del y, intermediates
        return jnp.zeros_like(x, shape=x.shape[:-1])

    def forward_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of points: k entries more."""
        return (*shape[:-1], shape[-1] + self.constraints.k)

    def inverse_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of coordinates: k entries fewer."""
        return (*shape[:-1], shape[-1] - self.constraints.k)

    def eq(self, other: object, static: bool = False) -> Any:
        """Whether both map to one subspace."""
        if not isinstance(other, NullSpaceTransform):
            return False
        return self.codomain.eq(other.codomain, static)

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        """Leaf: the constraints."""
        return (self.constraints,), None

    @classmethod
    def tree_unflatten(cls, aux_data: None, params: Any) -> "NullSpaceTransform":
        """Rebuild from leaves."""
        del aux_data
        self = object.__new__(cls)
        (self.constraints,) = params
        return self


@biject_to.register(AffineSubspace)
def _onto_subspace(support: AffineSubspace) -> NullSpaceTransform:
    return NullSpaceTransform(support.constraints)


class GMRF(Distribution):
    """A Gaussian Markov random field: x ~ N(loc, Q⁻¹) conditioned on A x = e, Q sparse.

    The density, its constants and its derivatives are those of `cholax.stats.GMRF`. With
    constraints the support is the affine subspace A x = e, which NumPyro samples in orthonormal
    coordinates.
    An intrinsic field without constraints is an improper prior on all of space.

    Args:
        loc: `(*batch, n)` mean, or a number.
        precision: symmetric `SparseMatrix`; as a batch, with values of shape `(*batch, nnz)`.
        constraints: `cholax.stats.Constraints`.
        null_space: `(n, k')` basis of the null space of an intrinsic precision.
        ordering: as for `cholax.cholesky`.
        validate_args: as for every NumPyro distribution.

    Raises:
        ShapeError: batch shapes, or sizes, that do not fit.
        StructureError: as `cholax.stats.GMRF`.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> from cholax.integrations.numpyro import GMRF
        >>> d = GMRF(0.0, 4.0 * cx.eye(3))
        >>> d.event_shape, d.variance.tolist()
        ((3,), [0.25, 0.25, 0.25])
    """

    arg_constraints: dict[str, Any] = {  # noqa: RUF012  # NumPyro's own declaration
        "loc": supports.real_vector,
        "precision": supports.dependent(is_discrete=False, event_dim=2),
    }
    reparametrized_params: list[str] = ["loc", "precision"]  # noqa: RUF012
    pytree_data_fields = ("loc", "precision", "constraints")
    pytree_aux_fields = ("null_space", "ordering")

    def __init__(
        self,
        loc: Any,
        precision: SparseMatrix,
        constraints: Constraints | None = None,
        *,
        null_space: Any = None,
        ordering: Any = "auto",
        validate_args: bool | None = None,
    ) -> None:
        n, static = _static_parts(precision, constraints, null_space, ordering)
        dtype = precision.dtype
        self.precision = precision
        self.constraints = constraints
        self.null_space, self.ordering = static
        refuse_foreign(loc, "GMRF: loc")
        loc = jnp.asarray(loc, dtype) if np.ndim(loc) == 0 else jnp.asarray(loc)
        if loc.dtype != dtype or (loc.ndim and loc.shape[-1] not in (1, n)):
            raise ShapeError(
                f"GMRF: need loc of shape (..., {n}) and dtype {dtype}, got {loc.shape} of "
                f"{loc.dtype}. One number per variable."
            )
        self.loc = jnp.broadcast_to(loc, (*loc.shape[:-1], n))
        super().__init__(self.batch_shape, (n,), validate_args=validate_args)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Batch dimensions of loc and of the precision's values, broadcast."""
        # Read off the leaves, so that a distribution returned by vmap knows its own.
        return lax.broadcast_shapes(self.loc.shape[:-1], self.precision.values.shape[:-1])

    @property
    def support(self) -> Any:
        """All vectors, or the affine subspace of the constraints."""
        if self.constraints is None:
            return supports.real_vector
        return AffineSubspace(self.constraints)

    @property
    def field(self) -> stats.GMRF:
        """The `cholax.stats.GMRF` of a distribution without batch dimensions."""
        if self.batch_shape:
            raise ShapeError(
                f"GMRF.field: this is a batch of fields, of shape {self.batch_shape}. "
                "Map over it with jax.vmap."
            )
        return self._field(self.loc, self.precision.values)

    def _field(self, loc: jax.Array, values: jax.Array) -> stats.GMRF:
        return stats.GMRF(
            loc,
            SparseMatrix(values, self.precision.pattern),
            self.constraints,
            null_space=self.null_space,
            ordering=self.ordering,
        )

    def _map(self, function: Callable[..., jax.Array], *others: jax.Array) -> jax.Array:
        """`function(field, *others)` over the batch; others carry all its dimensions first."""

        def single(loc: jax.Array, values: jax.Array, *others: jax.Array) -> jax.Array:
            return function(self._field(loc, values), *others)

        operands = [(self.loc, 1), (self.precision.values, 1)]
        batch = self.batch_shape
        operands += [(x, x.ndim - len(batch)) for x in others]
        arrays, events = zip(*operands, strict=True)
        return _over(batch, single, arrays, events)

    def sample(self, key: jax.Array | None, sample_shape: tuple[int, ...] = ()) -> jax.Array:
        """Draws, differentiable in loc and in the precision's values."""
        assert key is not None
        keys = jax.random.split(key, self.batch_shape) if self.batch_shape else key
        draws = self._map(lambda field, key: field.sample(key, sample_shape), keys)
        return _batch_last(draws, len(self.batch_shape), len(sample_shape))

    @validate_sample
    def log_prob(self, value: Any, intermediates: Any = None) -> jax.Array:
        """Log density, of shape `sample_shape + batch_shape`."""
        del intermediates
        value = jnp.asarray(value)
        batch = self.batch_shape
        if not batch:
            return self.field.log_prob(value)
        full = lax.broadcast_shapes(value.shape[:-1], batch)
        value = jnp.broadcast_to(value, (*full, value.shape[-1]))
        extra = len(full) - len(batch)
        axes = tuple(range(extra, len(full)))
        value = jnp.moveaxis(value, axes, tuple(range(len(batch))))
        density = self._map(lambda field, x: field.log_prob(x), value)
        return _batch_last(density, len(batch), extra)

    @property
    def mean(self) -> jax.Array:
        """Expectation: loc, or the nearest point of the support as the precision measures it."""
        return jnp.broadcast_to(self._map(lambda field: field.mean), self.shape())

    @property
    def variance(self) -> jax.Array:
        """Marginal variances, by selected inversion."""
        return jnp.broadcast_to(self._map(lambda field: field.marginal_variance()), self.shape())

    def entropy(self) -> jax.Array:
        """Differential entropy on the support."""
        return jnp.broadcast_to(self._map(lambda field: field.entropy()), self.batch_shape)

    @classmethod
    def infer_shapes(cls, loc: Any, precision: Any = (), **_: Any) -> Any:
        """Batch and event shape from those of the arguments."""
        return lax.broadcast_shapes(loc[:-1], precision[:-2]), loc[-1:]


@cast("Any", kl_divergence).register(GMRF, GMRF)
def _kl(p: GMRF, q: GMRF) -> jax.Array:
    return p.field.kl(q.field)


def CAR(
    loc: Any,
    correlation: Any,
    conditional_precision: Any,
    adj_matrix: Any,
    *,
    is_sparse: bool = True,
    ordering: Any = "auto",
    validate_args: bool | None = None,
) -> GMRF:
    """Conditional autoregression with precision τ(D − ρW), as NumPyro's `CAR`, at any size.

    D holds the row sums of W. NumPyro's own takes all eigenvalues of a dense matrix when it is
    traced; here log|D − ρW| comes from a sparse Cholesky factorisation and its gradient from a
    selected inverse.

    Args:
        loc: `(*batch, n)` mean, or a number.
        correlation: ρ, `batch`; the density is NaN where it leaves no positive definite precision.
        conditional_precision: τ > 0, `batch`.
        adj_matrix: symmetric `(n, n)` weights W, SciPy sparse or a NumPy array.
        is_sparse: taken for compatibility; the computation is sparse in any case.
        ordering: as for `cholax.cholesky`.
        validate_args: as for every NumPyro distribution.

    Returns:
        A `GMRF` distribution.

    Raises:
        ArgumentError: a weight that is not positive and finite.
        PatternError: an entry on the diagonal.
        StructureError: W is not symmetric, or has a row of zeros.

    Example:
        >>> import numpy as np, scipy.sparse as sp
        >>> from cholax.integrations.numpyro import CAR
        >>> ring = sp.csr_array(np.roll(np.eye(4), 1, axis=0) + np.roll(np.eye(4), -1, axis=0))
        >>> CAR(0.0, 0.5, 2.0, ring).precision.to_dense()[0].tolist()
        [4.0, -1.0, 0.0, -1.0]
    """
    del is_sparse
    dtype = _common_dtype(loc, correlation, conditional_precision)
    degrees, weights, pattern = _adjacency(adj_matrix, dtype)
    rho, tau = (jnp.asarray(x, dtype)[..., None] for x in (correlation, conditional_precision))
    values = tau * (degrees - rho * weights)
    loc = jnp.asarray(loc, dtype)
    if loc.ndim == 0:
        loc = jnp.broadcast_to(loc, (pattern.n,))
    return GMRF(loc, stacked(values, pattern), ordering=ordering, validate_args=validate_args)


def stacked(values: Any, pattern: Any) -> SparseMatrix:
    """A batch of matrices on one pattern, as vmap returns it: values of shape `(*batch, nnz)`.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> from cholax.integrations.numpyro import stacked
        >>> stacked(jnp.ones((5, 3)), cx.eye(3).pattern).values.shape
        (5, 3)
    """
    if values.shape[-1] != pattern.nnz:
        raise ShapeError(f"stacked: need values of shape (..., {pattern.nnz}), got {values.shape}.")
    single = SparseMatrix(jnp.zeros(pattern.nnz, values.dtype), pattern)
    return jax.tree.unflatten(jax.tree.structure(single), [values])


def _common_dtype(*parameters: Any) -> Any:
    """The dtype of those parameters that have one, JAX's default for Python numbers alone."""
    own = [x.dtype for x in parameters if hasattr(x, "dtype") and not getattr(x, "weak_type", 0)]
    floating = [dtype for dtype in own if jnp.issubdtype(dtype, jnp.floating)]
    return jnp.result_type(*floating) if floating else jnp.zeros((), float).dtype


def _adjacency(adj_matrix: Any, dtype: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Values of D and of W on the pattern of D − W, lower triangle."""
    dense = isinstance(adj_matrix, np.ndarray | jax.Array)
    if dense and np.ndim(adj_matrix) != 2:
        raise StructureError(
            f"CAR: the adjacency matrix must be square, got shape {np.shape(adj_matrix)}. One row "
            "and one column per site."
        )
    given = scipy.sparse.csr_array(np.asarray(adj_matrix)) if dense else adj_matrix
    W: Any = scipy.sparse.csc_array(Graph.of(given, "CAR").adjacency)
    degrees = np.asarray(W.sum(axis=1)).ravel()
    lonely = np.flatnonzero(np.diff(W.indptr) == 0)
    if lonely.size:
        raise StructureError(
            f"CAR: all sites must have neighbours, got none at site {lonely[0]}. Leave islands "
            "out, or build the precision that you mean for them and pass it to GMRF."
        )
    # A symmetric pattern stores the whole diagonal, here of D and of W.
    with jax.ensure_compile_time_eval():
        full = from_scipy(W.astype(dtype), symmetric=True)
        weights = np.asarray(full.values)
    pattern = full.pattern
    on_diagonal = pattern.rows == pattern.columns
    D = np.where(on_diagonal, degrees[pattern.columns], 0.0).astype(dtype)
    return D, weights, pattern


def _static_parts(
    precision: Any, constraints: Any, null_space: Any, ordering: Any
) -> tuple[int, tuple[Any, Any]]:
    """n, and what a single field makes of null space and ordering; raises on bad arguments."""
    if isinstance(precision, SparseMatrix) and jnp.ndim(precision.values) > 1:
        precision = jax.tree.map(lambda v: v.reshape(-1, v.shape[-1])[0], precision)
    field = stats.GMRF(0.0, precision, constraints, null_space=null_space, ordering=ordering)
    return field.n, field.tree_flatten()[1]


def _over(
    batch: tuple[int, ...],
    function: Callable[..., jax.Array],
    arrays: Sequence[jax.Array],
    events: Sequence[int],
) -> jax.Array:
    """Nested vmap over batch dimensions that each array has, has as 1, or lacks."""
    if not batch:
        return function(*arrays)
    axes, kept = [], []
    for array, event in zip(arrays, events, strict=True):
        missing = array.ndim - event < len(batch)
        if not missing and array.shape[0] == 1 != batch[0]:
            array, missing = array[0], True
        axes.append(None if missing else 0)
        kept.append(array)
    inner = jax.vmap(lambda *xs: _over(batch[1:], function, xs, events), in_axes=tuple(axes))
    return inner(*kept)


def _batch_last(x: jax.Array, batch: int, extra: int) -> jax.Array:
    """Move `extra` sample dimensions in front of the `batch` ones."""
    return jnp.moveaxis(x, tuple(range(batch)), tuple(range(extra, extra + batch)))
