"""`LaplaceResult`: the log-marginal and the Gaussian approximation behind it."""

from collections.abc import Sequence
from typing import Any, final

import jax
import jax.numpy as jnp

from cholax._core.pickling import Portable
from cholax.sparsediff.flatten import Leaves
from cholax.stats._laplace.status import LaplaceStatus


@final
@jax.tree_util.register_pytree_node_class
class LaplaceResult(Portable):
    """Laplace approximation at one θ: u given θ and the data is about N(û, H⁻¹).

    A pytree, so it passes through `jit` and `vmap`; every array in it differentiates in θ.

    Attributes:
        log_marginal: log ∫ exp(log_joint(u, θ)) du, approximately.
        factor: factor of H = −∂²log_joint/∂u² at the mode, over u as one flat vector: a `Factor`,
            or a `ConstrainedFactor` under constraints.
        status: how the search for the mode ended; where it failed all else is NaN.

    Example:
        >>> import jax, jax.numpy as jnp, cholax.stats as cs
        >>> model = cs.laplace(lambda u, t: -2.0 * jnp.sum((u["a"] - t) ** 2), {"a": jnp.zeros(2)})
        >>> result = model(1.0)
        >>> result.status.reason(), result.mode["a"].tolist(), result.variance()["a"].tolist()
        ('converged', [1.0, 1.0], [0.25, 0.25])
        >>> result.sample(jax.random.key(0), (5,))["a"].shape
        (5, 2)
    """

    __slots__ = ("_flat", "_structure", "factor", "log_marginal", "status")

    def __init__(
        self,
        log_marginal: jax.Array,
        flat_mode: jax.Array,
        factor: Any,
        status: LaplaceStatus,
        structure: tuple[Any, Any],
    ) -> None:
        self.log_marginal = log_marginal
        self._flat = flat_mode
        self.factor = factor
        self.status = status
        self._structure = structure

    def tree_flatten(self) -> tuple[Any, Any]:
        """Leaves: all arrays; static: the structure of u."""
        return (self.log_marginal, self._flat, self.factor, self.status), self._structure

    @classmethod
    def tree_unflatten(cls, structure: Any, leaves: Any) -> "LaplaceResult":
        """Rebuild from leaves, which may be any objects."""
        value, mode, factor, status = leaves
        return cls(value, mode, factor, status, structure)

    def __repr__(self) -> str:
        return f"LaplaceResult(log_marginal={self.log_marginal}, n={self.leaves.size})"

    @property
    def leaves(self) -> Leaves:
        """How a flat vector over u becomes a pytree of u's structure."""
        return Leaves(*self._structure)

    @property
    def mode(self) -> Any:
        """û, the mode of u given θ, of u's structure."""
        return self.unravel(self._flat)

    @property
    def flat_mode(self) -> jax.Array:
        """û as the flat vector that the factor refers to."""
        return self._flat

    def variance(self) -> Any:
        """Variances of u given θ, diag(H⁻¹), of u's structure; one selected inverse."""
        return self.unravel(self.factor.inverse_diagonal())

    def sample(self, key: jax.Array, shape: int | Sequence[int] = ()) -> Any:
        """Draws of u given θ from N(û, H⁻¹), of u's structure with `shape` in front.

        Args:
            key: a JAX random key.
            shape: shape of the stack of draws.
        """
        draws = self._flat + self.factor.sample(key, shape)
        return self.unravel(draws)

    def unravel(self, flat: jax.Array) -> Any:
        """A flat vector over u as a pytree of u's structure; a stack of vectors as a stack."""
        batch = jnp.ndim(flat) - 1  # under vmap's output the result is a stack
        unravel = self.leaves.unravel
        for _ in range(batch):
            unravel = jax.vmap(unravel)
        return unravel(flat)
