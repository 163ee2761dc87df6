"""`Likelihood`: an elementwise log-density of responses given a linear predictor."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax._core.dtypes import check_values, read_array
from cholax._core.errors import ArgumentError, DtypeError, ShapeError
from cholax._core.foreign import refuse_foreign
from cholax._core.pickling import Remade
from cholax.stats.support import Support

Arrays = tuple[jax.Array, ...]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a likelihood: its name, where it lives, and its value when left out."""

    name: str
    support: Support
    default: float | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Likelihood(Remade):
    """Log-densities log p(y_i | η_i, parameters), all constants included.

    Responses that are missing (NaN) contribute exactly 0, with zero gradients. Responses outside
    the support give -inf, parameters outside theirs NaN: under `jit` nothing can be raised.
    Values and gradients in η are free of NaN for any finite η, gradients in the parameters where
    the value is finite. Integer responses are converted to the dtype of η; nothing else is.

    Attributes:
        name: of the family.
        link: what η is, as a formula.
        parameters: names, supports and defaults; scalars or one number per response.
        density: `density(y, eta, **parameters)` for responses inside the support.
        inside: `inside(y, **parameters)`, whether a response is in the support.
        neutral: a response inside every support, in the place of missing ones.
        unpack: from what the user passes as y to a tuple of arrays, NaN in the first one meaning
            missing; `density` and `inside` then take the tuple.
    """

    name: str
    link: str
    parameters: tuple[Parameter, ...]
    density: Callable[..., jax.Array]
    inside: Callable[..., jax.Array]
    neutral: Any = 1.0
    unpack: Callable[[Any], tuple[Any, ...]] | None = None

    def __repr__(self) -> str:
        names = ", ".join(p.name for p in self.parameters)
        return f"Likelihood({self.name}, {self.link}, parameters=({names}))"

    def log_prob(self, y: Any, eta: ArrayLike, **parameters: ArrayLike) -> jax.Array:
        """Log-density of every response.

        Args:
            y: `(n,)` responses, NaN where missing; or what the family takes instead.
            eta: `(n,)` linear predictor, float32 or float64.
            **parameters: by name; scalars or `(n,)`.

        Returns:
            `(n,)` log-densities of eta's dtype.

        Raises:
            ArgumentError: a parameter that is unknown or lacks.
            DtypeError: floating arrays of different dtypes.
            ShapeError: shapes that differ; scalars go with any shape.
        """
        refuse_foreign(eta, f"{self.name}.log_prob: eta")
        eta = check_values(jnp.asarray(eta), f"{self.name}.log_prob: eta")
        values = self._parameters(parameters, eta.dtype)
        parts = (y,) if self.unpack is None else self.unpack(y)
        parts = tuple(self._array(part, eta.dtype, "y") for part in parts)
        shape = self._shape(eta, parts, values)
        missing = jnp.broadcast_to(jnp.isnan(parts[0]), shape)
        neutral = (self.neutral,) if self.unpack is None else self.neutral
        eta = jnp.where(missing, 0.0, eta)
        for p in self.parameters:
            filled = values[p.name]
            if filled.ndim:
                # A covariate may be missing together with the response.
                filled = jnp.where(missing, p.support.forward(jnp.zeros_like(filled)), filled)
            values[p.name] = p.support.guard(filled)
        parts = _replace(missing, parts, neutral)
        valid = self.inside(self._packed(parts), **values)
        # The density is evaluated at a point inside: a NaN in the branch not taken would still
        # reach the gradient.
        parts = _replace(~valid, parts, neutral)
        density = self.density(self._packed(parts), eta, **values)
        return jnp.where(missing, 0.0, jnp.where(valid, density, -jnp.inf))

    def _packed(self, parts: Arrays) -> Any:
        return parts[0] if self.unpack is None else parts

    def _parameters(self, given: dict[str, Any], dtype: Any) -> dict[str, jax.Array]:
        known = {p.name: p.default for p in self.parameters}
        unknown = sorted(set(given) - set(known))
        lacking = sorted(n for n, default in known.items() if default is None and n not in given)
        if unknown or lacking:
            raise ArgumentError(
                f"{self.name}.log_prob: takes the parameters ({', '.join(known)}), got "
                f"({', '.join(sorted(given))}). "
                + (f"Unknown: {', '.join(unknown)}. " if unknown else "")
                + (f"Lacking: {', '.join(lacking)}." if lacking else "")
            )
        return {n: self._array(given.get(n, d), dtype, n) for n, d in known.items()}

    def _array(self, x: Any, dtype: Any, what: str) -> jax.Array:
        x = x if isinstance(x, float) else read_array(x, f"{self.name}.log_prob: {what}")
        kind = getattr(x, "dtype", None)
        # numpy.float64 is a Python float, and adapts like one.
        if kind is None or isinstance(x, float) or np.dtype(kind).kind in "iub":
            return jnp.asarray(x, dtype)
        array = jnp.asarray(x)
        if array.dtype != dtype:
            raise DtypeError(
                f"{self.name}.log_prob: {what} must have the dtype of eta, {np.dtype(dtype)}, got "
                f"{array.dtype}. Convert one of them with .astype()."
            )
        return array

    def _shape(
        self, eta: jax.Array, parts: Arrays, parameters: dict[str, jax.Array]
    ) -> tuple[int, ...]:
        shapes = {"eta": eta.shape, "y": np.broadcast_shapes(*(part.shape for part in parts))}
        shapes |= {name: x.shape for name, x in parameters.items()}
        different = {shape for shape in shapes.values() if shape}
        # Shapes (n,) and (n, 1) would broadcast to n² densities without a word.
        if len(different) > 1:
            got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ShapeError(
                f"{self.name}.log_prob: arrays must have one shape, scalars apart, got {got}. "
                "Reshape them, or use jax.vmap."
            )
        return next(iter(different), ())


def _replace(where: jax.Array, parts: Arrays, neutral: tuple[float, ...]) -> Arrays:
    return tuple(jnp.where(where, fill, part) for fill, part in zip(neutral, parts, strict=True))


def any_real(y: jax.Array, **_: jax.Array) -> jax.Array:
    """Support of all finite numbers."""
    return jnp.isfinite(y)


def any_count(y: jax.Array, **_: jax.Array) -> jax.Array:
    """Support of 0, 1, 2, ..."""
    return (y >= 0) & jnp.isfinite(y) & (jnp.floor(y) == y)
