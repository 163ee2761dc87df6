"""Where a parameter lives, and the smooth bijection from all of ℝᵈ onto it."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax._core.errors import ArgumentError


class Support(ABC):
    """A set of parameter values x with a bijection x = forward(z), z unconstrained.

    Must: `contains`, `forward`, `inverse`, `log_jacobian`. May: `guard`.
    """

    @abstractmethod
    def contains(self, x: Any) -> jax.Array:
        """Traced truth, elementwise for scalars and one answer for a matrix or a pair."""

    @abstractmethod
    def forward(self, z: Any) -> Any:
        """From unconstrained z to the support."""

    @abstractmethod
    def inverse(self, x: Any) -> Any:
        """From the support to unconstrained z."""

    @abstractmethod
    def log_jacobian(self, z: Any) -> jax.Array:
        """Log |∂forward/∂z|, elementwise for scalars and one number for a matrix or a pair."""

    def guard(self, x: ArrayLike) -> jax.Array:
        """Replace what lies outside by NaN: under `jit` nothing can be raised."""
        x = jnp.asarray(x)
        return jnp.where(self.contains(x), x, jnp.nan)


@final
@dataclass(frozen=True)
class Real(Support):
    """All real numbers; the bijection is the identity."""

    def contains(self, x: Any) -> jax.Array:
        """Finite."""
        return jnp.isfinite(x)

    def forward(self, z: Any) -> Any:
        """The identity."""
        return z

    def inverse(self, x: Any) -> Any:
        """The identity."""
        return x

    def log_jacobian(self, z: Any) -> jax.Array:
        """Zero."""
        return jnp.zeros_like(jnp.asarray(z))


@final
@dataclass(frozen=True)
class Positive(Support):
    """Positive finite numbers, x = eᶻ."""

    def contains(self, x: Any) -> jax.Array:
        """0 < x < ∞."""
        return (jnp.asarray(x) > 0) & jnp.isfinite(x)

    def forward(self, z: Any) -> Any:
        """Exponential."""
        return jnp.exp(z)

    def inverse(self, x: Any) -> Any:
        """Logarithm."""
        return jnp.log(x)

    def log_jacobian(self, z: Any) -> jax.Array:
        """The identity: log eᶻ."""
        return jnp.asarray(z)


@final
@dataclass(frozen=True)
class Interval(Support):
    """Numbers between two ends, x = lower + (upper - lower) / (1 + e⁻ᶻ). The ends belong to it."""

    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite([self.lower, self.upper]).all() and self.lower < self.upper):
            raise ArgumentError(
                f"Interval: need finite lower < upper, got {self.lower} and {self.upper}. "
                "Use Positive() or Real() for unbounded supports."
            )

    def contains(self, x: Any) -> jax.Array:
        """Lower <= x <= upper."""
        x = jnp.asarray(x)
        return (x >= self.lower) & (x <= self.upper)

    def forward(self, z: Any) -> Any:
        """Scaled logistic function."""
        return self.lower + (self.upper - self.lower) * jax.nn.sigmoid(z)

    def inverse(self, x: Any) -> Any:
        """Scaled logit."""
        return jnp.log((x - self.lower) / (self.upper - x))

    def log_jacobian(self, z: Any) -> jax.Array:
        """Log of (upper - lower) s(z) s(-z), s the logistic function."""
        return math.log(self.upper - self.lower) + jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z)


@final
@dataclass(frozen=True)
class Pair(Support):
    """Tuples of parameters, each with its own support; z is the tuple of theirs."""

    parts: tuple[Support, ...]

    def contains(self, x: Any) -> jax.Array:
        """All parts are inside."""
        inside = [part.contains(value) for part, value in zip(self.parts, x, strict=True)]
        return jnp.all(jnp.stack(inside), axis=0)

    def forward(self, z: Any) -> Any:
        """Part by part."""
        return tuple(part.forward(value) for part, value in zip(self.parts, z, strict=True))

    def inverse(self, x: Any) -> Any:
        """Part by part."""
        return tuple(part.inverse(value) for part, value in zip(self.parts, x, strict=True))

    def log_jacobian(self, z: Any) -> jax.Array:
        """The sum over the parts."""
        terms = [part.log_jacobian(value) for part, value in zip(self.parts, z, strict=True)]
        return sum(terms[1:], start=terms[0])

    def guard(self, x: Any) -> Any:
        """Part by part."""
        return tuple(part.guard(value) for part, value in zip(self.parts, x, strict=True))


REAL, POSITIVE, UNIT = Real(), Positive(), Interval(0.0, 1.0)
