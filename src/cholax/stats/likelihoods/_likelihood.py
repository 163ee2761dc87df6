"""`Likelihood`: the distribution of responses given a linear predictor, elementwise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax._core.dtypes import check_values, read_array
from cholax._core.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError
from cholax._core.foreign import refuse_foreign
from cholax._core.pickling import Remade
from cholax.stats.likelihoods._response import REALS, UNKNOWN, Distribution, ResponseSupport
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

    `mean`, `variance`, `cdf` and `sample` are those of the response given η: of the time of the
    event itself for survival times, whatever its censoring. All are elementwise JAX functions of
    arrays of one shape, scalars apart, and give NaN for parameters outside their support.

    Attributes:
        name: of the family.
        link: what η is, as a formula.
        parameters: names, supports and defaults; scalars or one number per response.
        density: `density(y, eta, **parameters)` for responses inside the support.
        support: of the response: `support.contains(y, **parameters)`, `support.bounds(...)`.
        distribution: the functions behind the methods, None where they are not known.
        neutral: a response inside every support, in the place of missing ones.
        unpack: from what the user passes as y to a tuple of arrays, NaN in the first one meaning
            missing; `density` and `support.contains` then take the tuple.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from cholax.stats.likelihoods import poisson
        >>> eta = jnp.log(jnp.array([1.0, 4.0]))
        >>> poisson.mean(eta, exposure=2.0).tolist(), poisson.cdf(0.0, eta).round(3).tolist()
        ([2.0, 8.0], [0.368, 0.018])
        >>> keys = jax.random.split(jax.random.key(0), 5)
        >>> draws = jax.vmap(lambda key: poisson.sample(key, eta))(keys)
        >>> draws.shape, poisson.support.contains(draws).all().item()
        ((5, 2), True)
    """

    name: str
    link: str
    parameters: tuple[Parameter, ...]
    density: Callable[..., jax.Array]
    support: ResponseSupport = REALS
    distribution: Distribution = UNKNOWN
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
        where = f"{self.name}.log_prob"
        eta, values = self._arrays(where, eta, parameters)
        parts = (y,) if self.unpack is None else self.unpack(y)
        parts = tuple(_array(part, eta.dtype, f"{where}: y") for part in parts)
        shape = _common_shape(where, eta, values, parts)
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
        valid = self.support.contains(self._packed(parts), **values)
        # The density is evaluated at a point inside: a NaN in the branch not taken would still
        # reach the gradient.
        parts = _replace(~valid, parts, neutral)
        density = self.density(self._packed(parts), eta, **values)
        return jnp.where(missing, 0.0, jnp.where(valid, density, -jnp.inf))

    def mean(self, eta: ArrayLike, **parameters: ArrayLike) -> jax.Array:
        """E(y_i | η_i) of every response.

        Args:
            eta: `(n,)` linear predictor, float32 or float64.
            **parameters: by name; scalars or `(n,)`.

        Returns:
            `(n,)` of eta's dtype; NaN where there is no mean, infinite where it overflows.

        Raises:
            UnsupportedError: a likelihood of which only the density is known.
        """
        return self._of_eta("mean", self.distribution.mean, eta, parameters)

    def variance(self, eta: ArrayLike, **parameters: ArrayLike) -> jax.Array:
        """Var(y_i | η_i) of every response; arguments as for `mean`."""
        return self._of_eta("variance", self.distribution.variance, eta, parameters)

    def sample(self, key: jax.Array, eta: ArrayLike, **parameters: ArrayLike) -> jax.Array:
        """One response for every linear predictor.

        Draws of continuous responses are differentiable in η and the parameters, those of counts
        have derivative zero. Counts whose variance exceeds 1e10 (1e5 in float32) are normal draws
        with the right skewness, rounded.

        Args:
            key: a JAX random key; for many draws split it and use `jax.vmap`.
            eta: `(n,)` linear predictor.
            **parameters: by name; scalars or `(n,)`.

        Returns:
            `(n,)` of eta's dtype.
        """
        return self._of_eta("sample", self.distribution.sample, eta, parameters, key)

    def cdf(self, y: ArrayLike, eta: ArrayLike, **parameters: ArrayLike) -> jax.Array:
        """P(Y_i <= y_i | η_i) of every response, for any real y_i, infinities included.

        Args:
            y: `(n,)` values; NaN gives NaN. Of survival likelihoods times, without censoring.
            eta: `(n,)` linear predictor.
            **parameters: by name; scalars or `(n,)`.

        Returns:
            `(n,)` of eta's dtype, accurate to about 1e-11 in float64 and 1e-6 in float32 where
            the arguments are exact; differentiable to any order.
        """
        where = f"{self.name}.cdf"
        function = self._known("cdf", self.distribution.cdf)
        eta, values = self._arrays(where, eta, parameters)
        if isinstance(y, tuple):
            raise ArgumentError(
                f"{where}: y must be an array of times, got {type(y).__name__}. Pass y.lower; "
                "given that entry was reached, the probability is (F(t) - F(entry))/(1 - F(entry))."
            )
        y = _array(y, eta.dtype, f"{where}: y")
        shape = _common_shape(where, eta, values, (y,))
        eta, y = jnp.broadcast_to(eta, shape), jnp.broadcast_to(y, shape)
        values = {p.name: p.support.guard(values[p.name]) for p in self.parameters}
        at = jnp.floor(y) if self.support.integer else y
        lower, upper = self.support.bounds(**values)
        below = ((at <= lower) if self.support.open else (at < lower)) | jnp.isneginf(at)
        above = at >= upper
        # Inside for the function's sake: a NaN in the branch not taken would reach the gradient.
        neutral = self.neutral if self.unpack is None else self.neutral[0]
        inner = function(jnp.where(below | above | jnp.isnan(at), neutral, at), eta, **values)
        total = jnp.where(below, 0.0, jnp.where(above, 1.0, jnp.clip(inner, 0.0, 1.0)))
        unknown = sum((jnp.isnan(x) for x in values.values()), jnp.isnan(y) | jnp.isnan(eta))
        return jnp.where(unknown, jnp.nan, total)

    def _of_eta(
        self,
        what: str,
        function: Callable[..., jax.Array] | None,
        eta: ArrayLike,
        parameters: dict[str, Any],
        *key: jax.Array,
    ) -> jax.Array:
        where = f"{self.name}.{what}"
        function = self._known(what, function)
        eta, values = self._arrays(where, eta, parameters)
        shape = _common_shape(where, eta, values)
        guarded = {
            p.name: jnp.broadcast_to(p.support.guard(values[p.name]), shape)
            for p in self.parameters
        }
        return function(*key, jnp.broadcast_to(eta, shape), **guarded)

    def _known(self, what: str, function: Callable[..., jax.Array] | None) -> Callable[..., Any]:
        if function is None:
            raise UnsupportedError(
                f"{self.name}.{what}: need a likelihood that knows its {what}, got one made from "
                f"its log-density alone. Give {what}= to likelihoods.elementwise."
            )
        return function

    def _packed(self, parts: Arrays) -> Any:
        return parts[0] if self.unpack is None else parts

    def _arrays(
        self, where: str, eta: ArrayLike, given: dict[str, Any]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Eta and all parameters as arrays of one dtype."""
        refuse_foreign(eta, f"{where}: eta")
        eta = check_values(jnp.asarray(eta), f"{where}: eta")
        known = {p.name: p.default for p in self.parameters}
        unknown = sorted(set(given) - set(known))
        lacking = sorted(n for n, default in known.items() if default is None and n not in given)
        if unknown or lacking:
            raise ArgumentError(
                f"{where}: takes the parameters ({', '.join(known)}), got "
                f"({', '.join(sorted(given))}). "
                + (f"Unknown: {', '.join(unknown)}. " if unknown else "")
                + (f"Lacking: {', '.join(lacking)}." if lacking else "")
            )
        return eta, {
            n: _array(given.get(n, d), eta.dtype, f"{where}: {n}") for n, d in known.items()
        }


def _array(x: Any, dtype: Any, what: str) -> jax.Array:
    x = x if isinstance(x, float) else read_array(x, what)
    kind = getattr(x, "dtype", None)
    # numpy.float64 is a Python float, and adapts like one.
    if kind is None or isinstance(x, float) or np.dtype(kind).kind in "iub":
        return jnp.asarray(x, dtype)
    array = jnp.asarray(x)
    if array.dtype != dtype:
        raise DtypeError(
            f"{what} must have the dtype of eta, {np.dtype(dtype)}, got {array.dtype}. Convert one "
            "of them with .astype()."
        )
    return array


def _common_shape(
    where: str, eta: jax.Array, parameters: dict[str, jax.Array], parts: Arrays = ()
) -> tuple[int, ...]:
    shapes = {"eta": eta.shape}
    if parts:
        shapes["y"] = np.broadcast_shapes(*(part.shape for part in parts))
    shapes |= {name: x.shape for name, x in parameters.items()}
    different = {shape for shape in shapes.values() if shape}
    # Shapes (n,) and (n, 1) would broadcast to n² densities without a word.
    if len(different) > 1:
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ShapeError(
            f"{where}: arrays must have one shape, scalars apart, got {got}. Reshape them, or use "
            "jax.vmap."
        )
    return next(iter(different), ())


def _replace(where: jax.Array, parts: Arrays, neutral: tuple[float, ...]) -> Arrays:
    return tuple(jnp.where(where, fill, part) for fill, part in zip(neutral, parts, strict=True))
