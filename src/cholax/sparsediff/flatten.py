"""One call's arguments, split: what is differentiated as one flat vector, the rest by its kind.

Of the other arguments, arrays and floating-point numbers are *data*: they may change from call to
call, and detection treats floating-point ones as unknown, integer ones as known when concrete
(index arrays decide patterns). Everything else (Python integers, strings, functions) is *static*.
"""

import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core import options
from cholax._core.dtypes import check_values
from cholax._core.errors import ArgumentError, DtypeError, ShapeError
from cholax._core.foreign import refuse_foreign_tree
from cholax.sparsediff.captured import ByIdentity, array_key


@dataclass(frozen=True, eq=False)
class Leaves:
    """Leaves of a pytree in one flat vector: split by size, shape each piece, rebuild the tree."""

    tree: Any
    shapes: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Length of the flat vector."""
        return sum(self._sizes)

    @property
    def _sizes(self) -> list[int]:
        return [int(np.prod(shape)) for shape in self.shapes]

    def unravel(self, flat: Any) -> Any:
        """The pytree of a flat vector."""
        if len(self.shapes) == 1 and len(self.shapes[0]) == 1:
            return jax.tree.unflatten(self.tree, [flat])
        pieces = jnp.split(flat, np.cumsum(self._sizes)[:-1])
        shaped = [piece.reshape(s) for piece, s in zip(pieces, self.shapes, strict=True)]
        return jax.tree.unflatten(self.tree, shaped)


def ravel(leaves: Sequence[Any]) -> Any:
    """Leaves as one flat vector."""
    if len(leaves) == 1:
        return jnp.ravel(leaves[0])
    return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])


@dataclass(frozen=True, eq=False)
class Call:
    """The arguments of one call, and the function as one of flat vectors.

    Attributes:
        x: `(n,)` the differentiated arguments.
        data: the other arrays, in order.
        inputs: how x is unravelled.
        key: hash of all that is static: structures, shapes, dtypes, static arguments.
        known: hash of the concrete integer arrays among the data.
        function: `function(x, data) -> (flat output, (aux, output leaves))`.
        traced: what the derivative has made of it for this call, if anything.
    """

    x: Any
    data: tuple[Any, ...]
    inputs: Leaves
    key: Hashable
    known: Hashable
    function: Callable[..., Any]
    traced: list[Any] = field(default_factory=list)

    def known_mask(self) -> tuple[bool, ...]:
        """Which of the data are concrete integers, whose values detection may use."""
        return tuple(_is_known(leaf) for leaf in self.data)


def bind(
    f: Callable[..., Any],
    argnums: int | tuple[int, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    has_aux: bool,
    where: str,
) -> Call:
    """Split the arguments of one call."""
    numbers = _positions(argnums, len(args), where)
    picked = args[numbers[0]] if isinstance(argnums, int) else tuple(args[k] for k in numbers)
    refuse_foreign_tree(picked, f"{where}: differentiated arguments")
    leaves, tree = jax.tree.flatten(picked)
    leaves = _floating(leaves, f"{where}: differentiated arguments")
    inputs = Leaves(tree, tuple(leaf.shape for leaf in leaves))
    rest = ([None if k in numbers else arg for k, arg in enumerate(args)], kwargs)
    others, rest_tree = jax.tree.flatten(rest)
    is_data = [_is_data(leaf) for leaf in others]
    static = tuple(StaticLeaf(leaf) for leaf, data in zip(others, is_data, strict=True) if not data)
    data = tuple(leaf for leaf, data in zip(others, is_data, strict=True) if data)

    def function(x: Any, data: Sequence[Any]) -> tuple[Any, Any]:
        variable, fixed = iter(data), (item.item for item in static)
        merged = [next(variable) if is_variable else next(fixed) for is_variable in is_data]
        positional, keywords = jax.tree.unflatten(rest_tree, merged)
        given = inputs.unravel(x)
        given = (given,) if isinstance(argnums, int) else given
        for k, value in zip(numbers, given, strict=True):
            positional[k] = value
        result = f(*positional, **keywords)
        return _with_aux(result, where) if has_aux else (result, None)

    x = ravel(leaves)
    key = (numbers, tree, inputs.shapes, x.dtype, rest_tree, tuple(is_data), static)
    key = (*key, tuple(_aval_key(leaf) for leaf in data))
    known = tuple(array_key(leaf) if _is_known(leaf) else None for leaf in data)
    return Call(x, data, inputs, key, known, function)


def _with_aux(result: Any, where: str) -> tuple[Any, Any]:
    """The pair that a function with auxiliary data returns; an array of two rows is none."""
    if isinstance(result, tuple) and len(result) == 2:
        return result
    shapes = jax.tree.map(jnp.shape, result)
    raise ArgumentError(
        f"{where}: with has_aux=True the function must return a tuple (output, auxiliary data), "
        f"got {type(result).__name__} of shape {shapes}."
    )


def flat_output(
    function: Callable[..., Any], dtype: np.dtype, where: str
) -> Callable[..., tuple[Any, tuple[Any, Any]]]:
    """Turn `function(x, data) -> (out, aux)` into one that returns (flat out, (out, aux))."""

    def flat(x: Any, data: Sequence[Any]) -> tuple[Any, tuple[Any, Any]]:
        out, aux = function(x, data)
        leaves = _floating(jax.tree.leaves(out), f"{where}: outputs")
        if leaves[0].dtype != dtype:
            raise DtypeError(
                f"{where}: outputs and differentiated arguments must have one dtype, got "
                f"{leaves[0].dtype} and {dtype}. Convert one of them with .astype()."
            )
        return ravel(leaves), (out, aux)

    return flat


def scalar_output(
    function: Callable[..., Any], where: str
) -> Callable[..., tuple[Any, tuple[Any, Any]]]:
    """Turn `function(x, data) -> (out, aux)` into one that returns (out, (out, aux)), a scalar."""

    def scalar(x: Any, data: Sequence[Any]) -> tuple[Any, tuple[Any, Any]]:
        out, aux = function(x, data)
        leaves = jax.tree.leaves(out)
        if len(leaves) != 1 or jnp.shape(leaves[0]) != ():
            raise ShapeError(
                f"{where}: the function must return one scalar, got {jax.tree.map(jnp.shape, out)}."
                " For several outputs use jacobian; with extra ones, has_aux=True."
            )
        (out,) = _floating(leaves, f"{where}: output")
        if out.dtype != x.dtype:
            raise DtypeError(
                f"{where}: the output and the differentiated arguments must have one dtype, got "
                f"{out.dtype} and {x.dtype}. Convert one of them with .astype()."
            )
        return out, (out, aux)

    return scalar


def _floating(leaves: Sequence[Any], where: str) -> list[Any]:
    """Check that all leaves are floating-point arrays of one dtype; Python floats are converted."""
    if not leaves:
        raise ArgumentError(f"{where}: need at least one array, got none.")
    converted = [jnp.asarray(leaf) if type(leaf) is float else leaf for leaf in leaves]
    arrays = [check_values(leaf, where) for leaf in converted]
    names = sorted({str(array.dtype) for array in arrays})
    if len(names) > 1:
        raise DtypeError(
            f"{where}: all arrays must have one dtype, got {' and '.join(names)}. "
            "Convert them explicitly with .astype()."
        )
    return arrays


def positions(argnums: Any, where: str) -> int | tuple[int, ...]:
    """`argnums` as Python integers: one, or a tuple of different ones."""
    several = isinstance(argnums, list | tuple | range)
    for k in argnums if several else (argnums,):
        options.count(k, where, "argnums", least=-sys.maxsize, remedy="Pass (0, 1) for several.")
    return tuple(int(k) for k in argnums) if several else int(argnums)


def _positions(argnums: Any, count: int, where: str) -> tuple[int, ...]:
    asked = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    numbers = tuple(k + count if k < 0 else k for k in asked)
    if not numbers or len(set(numbers)) < len(numbers) or not all(0 <= k < count for k in numbers):
        raise ArgumentError(
            f"{where}: argnums must name different positional arguments, got {argnums!r} for "
            f"{count} of them. Pass differentiated arguments by position."
        )
    return numbers


def _is_data(leaf: Any) -> bool:
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype.kind in "biufc"
    return isinstance(leaf, jax.Array | float | complex)


def _is_known(leaf: Any) -> bool:
    if isinstance(leaf, Tracer) or not hasattr(leaf, "dtype"):
        return False
    return np.dtype(leaf.dtype).kind in "iub" if isinstance(leaf.dtype, np.dtype) else False


class StaticLeaf(ByIdentity):
    """A static argument: equal by value where it can be hashed, by identity otherwise."""

    __slots__ = ()

    def __hash__(self) -> int:
        try:
            return hash((type(self.item), self.item))
        except TypeError:
            return id(self.item)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StaticLeaf) or type(other.item) is not type(self.item):
            return False
        if other.item is self.item:
            return True
        try:
            hash(self.item)
        except TypeError:
            return False
        return bool(other.item == self.item)


def _aval_key(leaf: Any) -> Hashable:
    if isinstance(leaf, float | complex) and not isinstance(leaf, np.generic):
        return type(leaf)
    return np.shape(leaf), leaf.dtype, getattr(leaf, "weak_type", False)


__all__ = ["Call", "Leaves", "bind", "flat_output", "ravel", "scalar_output"]
