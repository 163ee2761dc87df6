"""`Prior`: a density on the natural scale of a parameter, and on the unconstrained one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core import options
from cholax._core.dtypes import SUPPORTED
from cholax._core.errors import ArgumentError, DtypeError, UnsupportedError
from cholax._core.foreign import refuse_foreign
from cholax._core.pickling import Remade
from cholax.stats.support import Support

Sampler = Callable[[jax.Array, tuple[int, ...]], Any]


@dataclass(frozen=True, eq=False, repr=False)
class Prior(Remade):
    """A normalised log-density of a parameter on its natural scale.

    Outside the support the log-density is -inf. The density is with respect to the parameter
    itself: for a parameter that a sampler moves on all of ℝᵈ, use `unconstrained`, which adds the
    logarithm of the Jacobian.

    Attributes:
        name: of the family, with its arguments.
        scale: what the density is a density of, for instance "precision" or "sd".
        support: where the parameter lives, with the bijection from ℝᵈ.
        density: log-density at points of the support.
        sampler: `sampler(key, shape)`, or `None`.
    """

    name: str
    scale: str
    support: Support
    density: Callable[[Any], jax.Array]
    sampler: Sampler | None = None

    def __repr__(self) -> str:
        return f"Prior({self.name} on the {self.scale})"

    def log_prob(self, x: Any) -> jax.Array:
        """Log-density at x on the natural scale.

        Args:
            x: the parameter: a scalar, or an array for the density of each of its entries; a tuple
                or a matrix where the prior is joint.

        Returns:
            Log-densities of x's dtype, one per entry or one for a joint prior.
        """
        x = jax.tree.map(lambda part: _floating(part, self.name), x)
        inside = self.support.contains(x)
        # A NaN at points outside would reach the gradient through the branch not taken.
        spare = self.support.forward(jax.tree.map(jnp.zeros_like, self._like(x)))
        safe = jax.tree.map(lambda part, fill: jnp.where(inside, part, fill), x, spare)
        dtype = jax.tree.leaves(x)[0].dtype
        return jnp.where(inside, self.density(safe), -jnp.inf).astype(dtype)

    def _like(self, x: Any) -> Any:
        """Something of the shape of the unconstrained parameter."""
        return jax.eval_shape(self.support.inverse, x)

    def sample(self, key: jax.Array, shape: Sequence[int] = ()) -> Any:
        """Draw on the natural scale.

        Args:
            key: a JAX random key.
            shape: leading shape of the draws.

        Raises:
            UnsupportedError: the family has no sampler.
        """
        if self.sampler is None:
            raise UnsupportedError(f"{self.name}: has no sampler. Sample its density instead.")
        return self.sampler(key, tuple(shape))

    def unconstrained(self) -> "UnconstrainedPrior":
        """The same prior as a density of z, x = forward(z)."""
        return UnconstrainedPrior(self)


@dataclass(frozen=True, eq=False)
class UnconstrainedPrior:
    """A prior on the unconstrained scale: log π(forward(z)) + log |∂forward/∂z|."""

    prior: Prior

    def log_prob(self, z: Any) -> jax.Array:
        """Log-density of z, the Jacobian included."""
        z = jax.tree.map(lambda part: _floating(part, self.prior.name), z)
        return self.prior.log_prob(self.forward(z)) + self.log_jacobian(z)

    def forward(self, z: Any) -> Any:
        """The parameter on its natural scale."""
        return self.prior.support.forward(z)

    def inverse(self, x: Any) -> Any:
        """The unconstrained value of a parameter."""
        return self.prior.support.inverse(x)

    def log_jacobian(self, z: Any) -> jax.Array:
        """Log |∂forward/∂z|."""
        return self.prior.support.log_jacobian(z)


def _floating(x: Any, where: str) -> jax.Array:
    """Python numbers in JAX's default format; arrays as they are, float32 or float64."""
    refuse_foreign(x, where)
    kind = getattr(x, "dtype", None)
    if kind is None or isinstance(x, float):
        return jnp.asarray(x, float)
    if np.dtype(kind).name not in SUPPORTED:
        raise DtypeError(
            f"{where}: need float32 or float64, got {np.dtype(kind).name}. Convert with .astype()."
        )
    return jnp.asarray(x)


def check_positive(where: str, **values: Any) -> None:
    """Raise `ArgumentError` for a concrete number that is not positive and finite."""
    for name, value in values.items():
        options.positive(value, where, name)


def check_probability(where: str, **values: Any) -> None:
    """Raise `ArgumentError` for a concrete number that is not strictly between 0 and 1."""
    for name, value in values.items():
        number = options.tolerance(value, where, name)
        if not isinstance(number, Tracer) and not 0 < number < 1:
            raise ArgumentError(f"{where}: {name} must lie between 0 and 1, got {value}.")
