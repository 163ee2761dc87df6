"""What a function holds besides its arguments, as a key: two equal keys mean the same function.

Detected patterns are remembered per derivative object. A function may close over arrays, or read
globals, that change between two calls; then what was remembered no longer holds. So the key covers
closures, default arguments, `functools.partial`, the object of a bound method, and the globals that
the function's code names, containers and attributes included. NumPy arrays count by content, JAX
arrays (immutable) and objects that cannot be looked into by identity.
"""

import functools
import hashlib
import types
from collections.abc import Hashable, Iterator
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

# Nodes looked at before the rest counts by identity.
MOST_NODES = 2000
# Content of larger NumPy arrays is not read on every call (1 GB/s); they count by identity.
LARGEST_ARRAY = 2**26
_LIBRARY = __name__.split(".")[0]


class TracedCaptureError(Exception):
    """The function closes over a tracer: nothing about it may outlive this call."""


class ByIdentity:
    """Hashes and compares an object by identity, and keeps it alive so that no other takes its."""

    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item

    def __hash__(self) -> int:
        return id(self.item)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and other.item is self.item


def captured(function: Any) -> Hashable | None:
    """The key of what `function` captures; None when that includes a tracer."""
    try:
        return _Walk(_package(function)).key(function)
    except TracedCaptureError:
        return None


class _Walk:
    def __init__(self, root: str) -> None:
        self._root = root
        self._seen: dict[int, int] = {}

    def key(self, item: Any) -> Hashable:
        if isinstance(item, Tracer):
            raise TracedCaptureError
        if isinstance(item, ByIdentity):
            return item
        if item is None or isinstance(item, bool | int | float | complex | str | bytes):
            return type(item), repr(item) if isinstance(item, float | complex) else item
        if isinstance(item, np.ndarray | np.generic):
            return _array_key(np.asarray(item), item)
        if isinstance(item, jax.Array | type | types.ModuleType | types.BuiltinFunctionType):
            return ByIdentity(item)
        if id(item) in self._seen:
            return "seen", self._seen[id(item)]
        if len(self._seen) >= MOST_NODES:
            return ByIdentity(item)
        self._seen[id(item)] = len(self._seen)
        parts = self._parts(item)
        return ByIdentity(item) if parts is None else tuple(map(self.key, parts))

    def _parts(self, item: Any) -> Iterator[Any] | None:
        """What an object is made of; None when it cannot be looked into."""
        match item:
            case tuple() | list():
                return iter([type(item).__name__, *item])
            case dict():
                return iter(["dict", *item.keys(), *item.values()])
            case functools.partial():
                return iter([item.func, item.args, item.keywords])
            case types.MethodType():
                return iter([item.__func__, item.__self__])
            case types.FunctionType():
                return self._function_parts(item)
            case _:
                return self._object_parts(item)

    def _function_parts(self, function: types.FunctionType) -> Iterator[Any]:
        cells = [_cell(cell) for cell in function.__closure__ or ()]
        held = function.__globals__
        # Library code does not change, and its globals lead everywhere.
        own = _package(function) == self._root
        names = sorted(_names(function.__code__)) if own else []
        named = [held[name] for name in names if name in held]
        defaults = [function.__defaults__, function.__kwdefaults__]
        return iter([ByIdentity(function.__code__), *defaults, *cells, *named])

    def _object_parts(self, item: Any) -> Iterator[Any] | None:
        wrapped = getattr(item, "__wrapped__", None)  # jax.jit, jax.custom_jvp
        if callable(wrapped):
            return iter([ByIdentity(item), wrapped])
        held = getattr(item, "__dict__", None)
        if held is None:
            leaves = jax.tree.leaves(item)
            return None if len(leaves) == 1 and leaves[0] is item else iter([type(item), *leaves])
        if _package(type(item)) == _LIBRARY:
            held = {name: value for name, value in held.items() if _given(item, name, value)}
        return iter([ByIdentity(item), *held.keys(), *held.values()])


def _given(item: Any, name: str, value: Any) -> bool:
    """Whether this part of one of our own objects can change what it computes.

    They are immutable but for what they remember of earlier calls, which must not make them
    another object. Functions and arrays are the user's.
    """
    remembered = isinstance(getattr(type(item), name, None), functools.cached_property)
    return not remembered and (callable(value) or isinstance(value, np.ndarray))


def _package(function: Any) -> str:
    """The package a function comes from, seen through `partial` and decorators."""
    inner = function
    while inner is not None:
        function = inner
        partial = isinstance(function, functools.partial)
        inner = function.func if partial else getattr(function, "__wrapped__", None)
    return str(getattr(function, "__module__", None)).split(".")[0]


def _array_key(array: np.ndarray, item: Any) -> Hashable:
    if array.nbytes > LARGEST_ARRAY or array.dtype.hasobject:
        return ByIdentity(item)
    digest = hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).digest()
    return array.shape, array.dtype.str, digest


def array_key(array: Any) -> Hashable:
    """Shape, dtype and content of a concrete array."""
    return _array_key(np.asarray(array), array)


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return "empty cell"


def _names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names
