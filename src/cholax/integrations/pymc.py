"""Gaussian Markov random fields as PyMC distributions.

`GMRF` works with PyMC's own samplers, its JAX ones (`nuts_sampler="numpyro"` or `"blackjax"`),
prior and posterior predictive draws. Several chains of PyMC's own sampler run in processes of their
own: ask for fresh ones, `pm.sample(..., mp_ctx="forkserver")`, as JAX does not survive a fork.
"""

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pymc.distributions.distribution import Continuous, _support_point
from pymc.distributions.transforms import _default_transform
from pymc.logprob.abstract import _logprob
from pymc.logprob.transforms import Transform
from pytensor.link.jax.dispatch.random import jax_sample_fn
from pytensor.tensor.random.op import RandomVariable

from cholax._core.dtypes import check_values
from cholax._core.errors import ShapeError
from cholax.integrations.pytensor import SymmetricMatrix, as_symmetric, gmrf_log_density
from cholax.integrations.pytensor._untyped import pt
from cholax.integrations.pytensor.ops import check_process
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern
from cholax.stats.constraints import Constraints, Rows, as_constraints, constrained_cholesky

__all__ = ["GMRF", "GMRFRV", "NullSpaceTransform"]


class GMRFRV(RandomVariable):
    """The random variable of a `GMRF`: mean and values of the precision are its parameters."""

    name = "GMRF"
    signature = "(n),(k)->(n)"
    _print_name = ("GMRF", "\\operatorname{GMRF}")
    __props__ = (*RandomVariable.__props__, "pattern", "ordering", "rows", "offset")

    def __init__(
        self,
        *,
        pattern: Pattern,
        ordering: Any = "auto",
        rows: Rows | None = None,
        offset: tuple[float, ...] = (),
        **options: Any,
    ) -> None:
        self.pattern = pattern
        self.ordering = ordering
        self.rows = rows
        self.offset = offset
        super().__init__(**options)

    @cached_property
    def constraints(self) -> Constraints | None:
        """The constraints, right-hand side included."""
        if self.rows is None:
            return None
        return Constraints(self.rows, np.asarray(self.offset, self.dtype))

    def rng_fn(self, rng: Any, mean: Any, values: Any, size: Any) -> np.ndarray:
        """Draws by JAX, with a key from NumPy's generator."""
        check_process()
        check_values(np.empty(0, values.dtype), "GMRF")
        shape = mean.shape[:-1] if size is None else tuple(size)
        key = jax.random.key(int(rng.integers(2**63)))
        return np.asarray(_draw(self, key, mean, values, shape))


def _one_precision(values: Any) -> Any:
    """The values without the axes of length one that PyTensor adds to match the mean's."""
    if any(size != 1 for size in getattr(values, "type", values).shape[:-1]):
        raise ShapeError(
            f"GMRF: need one precision for all draws, got values of shape {values.shape}. "
            "Make one variable for each of them."
        )
    return values[(0,) * (values.ndim - 1)]


def _sample(op: GMRFRV, key: Any, mean: Any, values: Any, shape: tuple[int, ...]) -> Any:
    """Mean, white noise through the factor, and the shift that meets A x = e."""
    entries = _one_precision(values)
    F = constrained_cholesky(
        SparseMatrix(entries, op.pattern), op.constraints, ordering=op.ordering
    )
    draws, constraints = mean + F.sample(key, shape), op.constraints
    if constraints is None:
        return draws

    def shift(one: Any) -> Any:
        return F.solve_affine(jnp.zeros_like(one), -constraints.residual(one))

    return draws + jnp.vectorize(shift, signature="(n)->(n)")(mean)


_draw = jax.jit(_sample, static_argnums=(0, 4))


@jax_sample_fn.register(GMRFRV)
def _jax_sample(op: GMRFRV, node: Any) -> Any:
    del node

    def sample(key: Any, size: Any, dtype: Any, mean: Any, values: Any) -> Any:
        del dtype
        return _sample(op, key, mean, values, mean.shape[:-1] if size is None else tuple(size))

    return sample


class GMRF(Continuous):
    """A Gaussian Markov random field N(μ, Q⁻¹), conditioned on A x = e where there are constraints.

    log π(x) = −n/2 log 2π + ½ log|Q| − ½ (x − μ)ᵀQ(x − μ), sparse, with the constraints' terms as
    in `cholax.integrations.pytensor.gmrf_log_density`. Constraints hold exactly: the sampler moves
    in n − k orthonormal coordinates of A x = e, and Q may be singular across it (ICAR with its
    sum to zero). A precision that is not positive definite has log-density NaN.

    Args:
        name: of the variable in the model.
        mu: mean, a scalar or `(n,)`.
        precision: a `SymmetricMatrix` of symbolic values, such as τ(D − ρW), or constants; see
            `cholax.integrations.pytensor.as_symmetric`.
        constraints: a `cholax.stats.Constraints`.
        **kwargs: `dims`, `observed`, `initval`, ... of any PyMC distribution.

    Example:
        >>> import numpy as np, pymc as pm, scipy.sparse as sp
        >>> from cholax.integrations.pymc import GMRF
        >>> from cholax.integrations.pytensor import as_symmetric
        >>> D, W = sp.eye_array(3), sp.csc_array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> with pm.Model() as model:
        ...     tau = pm.Gamma("tau", 2.0, 1.0)
        ...     x = GMRF("x", 0.0, tau * (as_symmetric(D) - 0.4 * as_symmetric(W)))
        >>> x.type.shape
        (3,)
    """

    rv_type = GMRFRV

    @classmethod
    def dist(  # pyright: ignore[reportIncompatibleMethodOverride]  # as every distribution's
        cls,
        mu: Any = 0.0,
        precision: Any = None,
        *,
        constraints: Constraints | None = None,
        **kwargs: Any,
    ) -> Any:
        """The distribution outside a model, as for any PyMC distribution."""
        Q = as_symmetric(precision)
        constraints = as_constraints(constraints, Q.n, "GMRF")
        rows, offset = None, ()
        if constraints is not None:
            rows = constraints.rows
            e = np.zeros(constraints.k) if constraints.e is None else np.asarray(constraints.e)
            offset = tuple(e.tolist())
        op = GMRFRV(
            pattern=Q.pattern,
            ordering=Q.ordering,
            rows=rows,
            offset=offset,
            dtype=Q.values.type.dtype,
        )
        return super().dist([_mean(mu, Q), Q.values], op=op, **kwargs)

    @classmethod
    def rv_op(cls, mean: Any, values: Any, *, op: GMRFRV, **kwargs: Any) -> Any:
        """Apply the random variable."""
        return op(mean, values, **kwargs)


def _mean(mu: Any, Q: SymmetricMatrix) -> Any:
    """A vector; of constants where the mean is one, seen to satisfy the constraints."""
    dtype = Q.values.type.dtype
    if isinstance(mu, int | float | np.ndarray):
        mu = np.broadcast_to(np.asarray(mu, dtype), (*np.shape(mu)[:-1], Q.n))
    mean = pt.as_tensor_variable(mu)
    if mean.type.dtype != dtype:
        mean = mean.astype(dtype)
    if mean.type.ndim == 0:
        return pt.broadcast_to(mean, (Q.n,))
    return pt.specify_shape(mean, (*mean.type.shape[:-1], Q.n))


class NullSpaceTransform(Transform):
    """`Constraints.coordinates` and `Constraints.point` as a transform, whose Jacobian is 1."""

    name = "null_space"
    ndim_supp = 1

    def __init__(self, constraints: Constraints) -> None:
        self.constraints = constraints

    def forward(self, value: Any, *inputs: Any) -> Any:
        """Coordinates of points."""
        del inputs
        Y, T = (part.astype(value.type.dtype) for part in self.constraints.rows.reflectors)
        return (value - pt.dot(pt.dot(value, Y @ T), Y.T))[..., self.constraints.k :]

    def backward(self, value: Any, *inputs: Any) -> Any:
        """Points of coordinates."""
        del inputs
        dtype, k = value.type.dtype, self.constraints.k
        Y, T = (part.astype(dtype) for part in self.constraints.rows.reflectors)
        origin = np.asarray(self.constraints.point(np.zeros(self.constraints.n - k, dtype)))
        zeros = pt.zeros((*(value.shape[i] for i in range(value.type.ndim - 1)), k), dtype=dtype)
        padded = pt.concatenate([zeros, value], axis=-1)
        return origin + padded - pt.dot(pt.dot(padded, Y @ T.T), Y.T)

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        """Zero."""
        del inputs
        return value.sum(axis=-1).zeros_like()


@_default_transform.register(GMRFRV)  # pyright: ignore[reportArgumentType]
def _transform_of(op: GMRFRV, rv: Any) -> NullSpaceTransform | None:
    del rv
    return None if op.constraints is None else NullSpaceTransform(op.constraints)


@_logprob.register(GMRFRV)
def _log_density(
    op: GMRFRV, values: Any, rng: Any, size: Any, mean: Any, entries: Any, **kwargs: Any
) -> Any:
    del rng, size, kwargs
    Q = SymmetricMatrix(_one_precision(entries), op.pattern, ordering=op.ordering)
    return gmrf_log_density(values[0], mean, Q, op.constraints)


@_support_point.register(GMRFRV)
def _start(op: GMRFRV, rv: Any, rng: Any, size: Any, mean: Any, entries: Any) -> Any:
    """The mean, or the point that satisfies the constraints nearest to it."""
    del rng, size, entries
    if op.constraints is not None:
        rows, e = op.constraints.rows, np.asarray(op.offset)
        off = pt.dot(mean, rows.matrix.T) - e
        mean = mean - pt.dot(off, rows.pseudo_inverse.T)
    return pt.full_like(rv, mean)
