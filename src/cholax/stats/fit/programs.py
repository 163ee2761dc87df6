"""What is compiled for a fit: objective, gradient, Hessian and derivatives of the mode in θ."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree

from cholax._core.pickling import Portable
from cholax.patterns import Pattern
from cholax.sparsediff.captured import captured
from cholax.stats._laplace import LaplaceModel
from cholax.stats.fit._optimize import Point

LogPrior = Callable[[Any], Any] | None


class Programs:
    """Compiled functions of one model and prior; kept with the model, so that fits share them."""

    def __init__(self, model: LaplaceModel, log_prior: LogPrior) -> None:
        self._model = model
        self._log_prior = log_prior
        self.value_and_gradient = jax.jit(self._value_and_gradient, static_argnums=3)
        self.curvature = jax.jit(self._curvature, static_argnums=3)

    def _objective(self, theta: Any, start: Any, data: Any, static: "Static") -> Any:
        # The factor in the result is not used: compiling drops it.
        args = static.merge(data)
        result = self._model.with_pattern(static.pattern, theta, *args, u0=start)
        value = result.log_marginal
        if self._log_prior is not None:
            value = value + self._log_prior(theta)
        return value, result

    def _value_and_gradient(self, theta: Any, start: Any, data: Any, static: "Static") -> Any:
        f = jax.value_and_grad(self._objective, has_aux=True)
        (value, result), slope = f(theta, start, data, static)
        return value, ravel_pytree(slope)[0], result.mode, result.status

    def _curvature(self, theta: Any, start: Any, data: Any, static: "Static") -> Any:
        """The Hessian, dû/dθ with a row per parameter, and the whole result; one program."""
        flat, unravel = ravel_pytree(theta)

        def slopes(flat: jax.Array) -> Any:
            def objective(x: jax.Array) -> Any:
                return self._objective(unravel(x), start, data, static)

            slope, result = jax.grad(objective, has_aux=True)(flat)
            return (slope, result.flat_mode), result

        _, product, result = jax.linearize(slopes, flat, has_aux=True)
        # One product at a time: a batch would hold a factor per parameter.
        H, S = lax.map(product, jnp.eye(flat.size, dtype=flat.dtype))
        return 0.5 * (H + H.T), S, result


def programs(model: LaplaceModel, log_prior: LogPrior) -> Programs:
    """The compiled functions, made once per model and prior."""
    kept = model.__dict__.setdefault("_fit_programs", {})
    return kept.setdefault(log_prior, Programs(model, log_prior))


@dataclass(frozen=True)
class Static:
    """What a compiled program depends on besides arrays.

    Attributes:
        tree: structure of the further arguments.
        fixed: those that are not arrays, by place.
        pattern: of the Hessian, found with the index arrays as they are.
        held: what `log_joint` closes over.
    """

    tree: Any
    fixed: tuple[tuple[int, Hashable], ...]
    pattern: Pattern
    held: Hashable

    def merge(self, data: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments."""
        held = dict(self.fixed)
        rest = iter(data)
        leaves = [held[k] if k in held else next(rest) for k in range(self.tree.num_leaves)]
        return jax.tree.unflatten(self.tree, leaves)


def split(model: LaplaceModel, theta: Any, args: Sequence[Any]) -> tuple[list[Any], Static]:
    """Arrays and floats among the arguments on the one hand, everything else on the other."""
    leaves, tree = jax.tree.flatten(tuple(args))

    def is_data(leaf: Any) -> bool:
        return isinstance(leaf, jax.Array | np.ndarray | np.generic | float)

    data = [leaf for leaf in leaves if is_data(leaf)]
    fixed = tuple((k, x) for k, x in enumerate(leaves) if not is_data(x))
    return data, Static(tree, fixed, model.pattern(theta, *args), captured(model.log_joint))


class Evaluator(Portable):
    """−objective of a flat θ for the optimiser; starts every search at the last accepted mode."""

    def __init__(
        self, model: LaplaceModel, log_prior: LogPrior, theta: Any, args: Sequence[Any], start: Any
    ) -> None:
        self._made_of = model, log_prior, theta, tuple(args)
        self._made_again()
        self.mode = start
        self.status: Any = None
        self._last: Any = None
        self._found: Any = start

    _transient = ("_programs", "_data", "_static", "unravel")

    def _made_again(self) -> None:
        model, log_prior, theta, args = self._made_of
        self._programs = programs(model, log_prior)
        self._data, self._static = split(model, theta, args)
        flat, self.unravel = ravel_pytree(theta)
        self.size = flat.size
        self.dtype = flat.dtype

    def theta(self, x: np.ndarray) -> Any:
        """A flat θ as the user's pytree."""
        return self.unravel(jnp.asarray(x, self.dtype))

    def __call__(self, x: np.ndarray) -> Point:
        """Value and gradient of −objective."""
        run = self._programs.value_and_gradient
        value, slope, found, status = run(self.theta(x), self.mode, self._data, self._static)
        if bool(status.converged):
            self._found = found
        self.status = status
        return Point(np.asarray(x, float), -float(value), -np.asarray(slope, float))

    def curvature(self, x: np.ndarray) -> Any:
        """Hessian of the objective, dû/dθ as `(size, n)`, and the `LaplaceResult`.

        The last ones are remembered.
        """
        if self._last is not None and np.array_equal(self._last[0], x):
            return self._last[1]
        H, S, result = self._programs.curvature(self.theta(x), self.mode, self._data, self._static)
        self._last = np.array(x), (np.asarray(H, float), np.asarray(S, float), result)
        return self._last[1]

    def hessian(self, x: np.ndarray) -> np.ndarray:
        """Hessian of −objective."""
        return -self.curvature(x)[0]

    def accept(self, point: Point) -> None:
        """Later searches for the mode start where this one ended."""
        del point
        self.mode = self._found
