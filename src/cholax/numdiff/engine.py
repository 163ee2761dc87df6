"""What the public functions share: flatten, one derivative per direction, unflatten."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from cholax._core import options
from cholax._core.errors import ArgumentError
from cholax._core.foreign import refuse_foreign_tree
from cholax._core.jax_compat import boundary
from cholax.numdiff import evaluate as evaluation
from cholax.numdiff.complex_step import complex_derivatives
from cholax.numdiff.directional import Frame, frame, places_along, places_of_component
from cholax.numdiff.estimate import Estimate
from cholax.numdiff.rules import check_method, rule
from cholax.numdiff.sweep import derivatives
from cholax.sparsediff.captured import captured
from cholax.sparsediff.remembered import remembered


@dataclass(frozen=True)
class Options:
    """The keywords of the public functions; see `derivative`."""

    where: str
    method: str = "adaptive"
    step: float | None = None
    scale: Any = None
    bounds: Any = None
    with_error: bool = False
    evaluate: str = "auto"
    result: Any = None
    order: int = 1

    def __post_init__(self) -> None:
        where = self.where
        options.flag(self.with_error, where, "with_error")
        check_method(self.method, where, with_error=self.with_error, order=self.order)
        options.choice(self.evaluate, where, "evaluate", evaluation.EVALUATIONS)
        if self.step is not None:
            step = options.positive(self.step, where, "step")
            if isinstance(step, Tracer):
                raise ArgumentError(
                    f"{where}: step decides how the program looks and must be a plain number, got "
                    "a traced one. Use scale, which may be traced."
                )
            object.__setattr__(self, "step", step)
        options.shapes(self.result, where, "result")
        pair = self.bounds
        if pair is not None and not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise ArgumentError(
                f"{where}: bounds must be a pair (lower, upper), each None, one number or a pytree "
                f"like x, got {options.shown(pair)}."
            )


@dataclass(frozen=True, eq=False)
class Difference:
    """A callable (x, *args) ↦ derivative, eagerly or inside a program."""

    f: Callable[..., Any]
    options: Options
    compute: Callable[..., Any]
    """(difference, x, args) ↦ a result."""
    finish: Callable[..., Any] | None = None
    """Eager checks on the result of `compute`."""

    def __post_init__(self) -> None:
        options.function(self.f, self.options.where, "f")

    @property
    def calls(self) -> evaluation.Calls:
        """The compiled forms of f, kept while what it captures stays the same."""
        held = captured(self.f)
        if held is None:
            return evaluation.Calls(self.f)
        return remembered(("finite_difference", held), lambda: evaluation.Calls(self.f))

    @boundary
    def __call__(self, x: Any, *args: Any) -> Any:
        """The derivative with respect to x."""
        refuse_foreign_tree(x, f"{self.options.where}: x")
        x = jax.tree.map(jnp.asarray, x)
        result = self.compute(self, x, args)
        return result if self.finish is None else self.finish(self, result, x, args)

    def flat(self, x: Any, args: tuple[Any, ...]) -> tuple[evaluation.Flat, Frame]:
        """The flat function at x, and the frame of its differences."""
        o = self.options
        flat = evaluation.flatten(
            self.calls, x, args, evaluate=o.evaluate, result=o.result, where=o.where
        )
        at = frame(
            x,
            flat.x,
            flat.eps,
            scale=o.scale,
            step=o.step,
            bounds=o.bounds,
            adaptive=o.method in ("adaptive", "complex"),
            where=o.where,
        )
        return flat, at

    def along_components(self, flat: evaluation.Flat, at: Frame) -> tuple[Estimate, jax.Array]:
        """Derivative along every component of x, `(n, m)`, and the signs `(n,)` of its steps."""
        return self._sweep(flat, at, jnp.arange(at.x.size), places_of_component)

    def along_seeds(
        self, flat: evaluation.Flat, at: Frame, seeds: jax.Array
    ) -> tuple[Estimate, jax.Array]:
        """Derivative along every row of `seeds`, and the directions in fact taken."""
        return self._sweep(flat, at, seeds, places_along)

    def _sweep(
        self, flat: evaluation.Flat, at: Frame, items: jax.Array, placing: evaluation.Placing
    ) -> tuple[Estimate, jax.Array]:
        o = self.options
        if flat.x.size == 0:
            none = jnp.zeros((items.shape[0], flat.size), at.x.dtype)
            return Estimate(none, none), items.astype(at.x.dtype)
        if o.method == "complex":
            return complex_derivatives(flat, at, items, placing)
        origin = jnp.asarray(flat.on_points(at.x[None]))[0]
        return derivatives(flat, at, items, rule(o.method, flat.eps, o.step), placing, origin)


def nest(matrix: jax.Array, x: Any, out: Any) -> Any:
    """A flat (m, n) matrix as JAX nests Jacobians: the result's tree of x's tree of blocks."""
    x_leaves, x_tree = jax.tree.flatten(x)
    out_leaves, out_tree = jax.tree.flatten(out)
    blocks, row = [], 0
    for leaf in out_leaves:
        height, column, parts = _size(leaf), 0, []
        for part in x_leaves:
            block = matrix[row : row + height, column : column + _size(part)]
            parts.append(block.reshape(*jnp.shape(leaf), *jnp.shape(part)))
            column += _size(part)
        blocks.append(x_tree.unflatten(parts))
        row += height
    return out_tree.unflatten(blocks)


def _size(leaf: Any) -> int:
    size = 1
    for extent in jnp.shape(leaf):
        size *= extent
    return size
