"""What a likelihood says of its response: where it lives, and its distribution given η."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class ResponseSupport:
    """The values a response can have: numbers, or integers, between two ends.

    Attributes:
        lower: the lower end.
        upper: the upper end; the name of a parameter where it is one (`"trials"`).
        integer: whole numbers alone.
        open: the ends do not belong to it. Infinite ends never do.

    Example:
        >>> from cholax.stats import likelihoods
        >>> likelihoods.binomial.support.contains([2.0, 2.5, 4.0], trials=3.0).tolist()
        [True, False, False]
        >>> likelihoods.gamma.support.bounds()
        (0.0, inf)
    """

    lower: float = -float("inf")
    upper: float | str = float("inf")
    integer: bool = False
    open: bool = False

    def bounds(self, **parameters: Any) -> tuple[Any, Any]:
        """The two ends, given the parameters of the likelihood."""
        upper = parameters[self.upper] if isinstance(self.upper, str) else self.upper
        return self.lower, upper

    def contains(self, y: Any, **parameters: Any) -> jax.Array:
        """Whether each response can occur; never NaN, infinities, ends that are no integers."""
        y = jnp.asarray(y)
        lower, upper = self.bounds(**parameters)
        inside = ((y > lower) & (y < upper)) if self.open else ((y >= lower) & (y <= upper))
        inside &= jnp.isfinite(y)
        if self.integer:
            inside &= jnp.floor(y) == y
            if isinstance(self.upper, str):
                inside &= (jnp.floor(upper) == upper) & jnp.isfinite(upper)
        return inside


class Distribution(NamedTuple):
    """The response given η, as elementwise JAX functions; None where the model cannot say.

    Attributes:
        mean: `mean(eta, **parameters)`, E y.
        variance: `variance(eta, **parameters)`, Var y.
        sample: `sample(key, eta, **parameters)`, of eta's shape and dtype.
        cdf: `cdf(y, eta, **parameters)`, P(Y <= y), for y inside the support.
    """

    mean: Callable[..., jax.Array] | None = None
    variance: Callable[..., jax.Array] | None = None
    sample: Callable[..., jax.Array] | None = None
    cdf: Callable[..., jax.Array] | None = None


UNKNOWN = Distribution()
REALS = ResponseSupport()
POSITIVES = ResponseSupport(0.0, open=True)
COUNTS = ResponseSupport(0.0, integer=True)
