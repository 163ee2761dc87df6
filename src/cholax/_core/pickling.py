"""Pickling and copying: arrays travel as NumPy arrays, caches and native objects stay behind.

A pickled JAX array of float64 is read as float32, without a word, where 64-bit types are disabled.
So no class leaves its arrays to JAX: they are packed here and checked when they are read.
"""

import functools
import importlib
import sys
from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any, ClassVar, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core.errors import DtypeError

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Packed:
    """A JAX array on its way."""

    __slots__ = ("array", "key")

    def __init__(self, array: np.ndarray, key: str | None) -> None:
        self.array = array
        self.key = key

    def __reduce__(self) -> tuple[Any, ...]:
        return Packed, (self.array, self.key)

    def unpack(self) -> jax.Array:
        """The array again; raises where JAX would change its dtype."""
        if self.key is not None:
            return jax.random.wrap_key_data(jnp.asarray(self.array), impl=self.key)
        if jax.dtypes.canonicalize_dtype(self.array.dtype) != self.array.dtype:
            raise DtypeError(
                f"unpickling: got {self.array.dtype.name} values while JAX has 64-bit types "
                'disabled. Enable them with jax.config.update("jax_enable_x64", True) before '
                "reading, or write float32 values."
            )
        return jnp.asarray(self.array)


class PackedTree:
    """A tree structure on its way: JAX pickles none that has registered classes."""

    __slots__ = ("skeleton",)

    def __init__(self, skeleton: Any) -> None:
        self.skeleton = skeleton

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedTree, (self.skeleton,)

    def unpack(self) -> Any:
        """The structure again."""
        return jax.tree.structure(self.skeleton)


class Named:
    """A function of a module on its way: `jit`, `custom_jvp` and `vmap` ones do not pickle.

    Pickle looks the function inside up by its name and finds the wrapped one instead.
    """

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return Named, (self.module, self.name)

    def unpack(self) -> Any:
        """The function again."""
        return functools.reduce(getattr, self.name.split("."), importlib.import_module(self.module))


def _named(x: Any) -> Named | None:
    """What to pickle in the place of a wrapped function that its module has under its name.

    Those of the main program are left to cloudpickle, which sends them as a whole: another process
    has another main program.
    """
    module, name = getattr(x, "__module__", None), getattr(x, "__qualname__", None)
    if not hasattr(x, "__wrapped__") or not isinstance(name, str) or module == "__main__":
        return None
    found = sys.modules.get(module) if isinstance(module, str) else None
    for part in name.split("."):
        found = getattr(found, part, None)
    return Named(module, name) if isinstance(module, str) and found is x else None


def pack(x: Any) -> Any:
    """`x` with the arrays in it packed, inside tuples, lists and dictionaries as well."""
    if isinstance(x, Tracer):
        return x
    if isinstance(x, jax.tree_util.PyTreeDef):
        return PackedTree(jax.tree.unflatten(x, range(x.num_leaves)))
    if callable(x) and (named := _named(x)) is not None:
        return named
    if isinstance(x, jax.Array):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return Packed(np.asarray(jax.random.key_data(x)), str(jax.random.key_impl(x)))
        return Packed(np.asarray(x), None)
    return _inside(pack, x)


def unpack(x: Any) -> Any:
    """The inverse of `pack`."""
    return x.unpack() if isinstance(x, Packed | PackedTree | Named) else _inside(unpack, x)


def _inside(change: Callable[[Any], Any], x: Any) -> Any:
    if type(x) in (tuple, list):
        return type(x)(map(change, x))
    if type(x) is dict:
        return {key: change(value) for key, value in x.items()}
    return x


class Portable:
    """Pickles and copies what it holds, except for what can be made again.

    May: `_transient`, names of attributes to leave behind, and `_made_again`, which sets them.
    """

    __slots__ = ()

    _transient: ClassVar[tuple[str, ...]] = ()

    def __getstate__(self) -> dict[str, Any]:
        state = dict(getattr(self, "__dict__", {}))
        for kind in type(self).__mro__:
            slots = vars(kind).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name != "__weakref__" and hasattr(self, name):
                    state[name] = getattr(self, name)
        return {name: pack(value) for name, value in state.items() if not self._left(name)}

    def _left(self, name: str) -> bool:
        caches = isinstance(getattr(type(self), name, None), cached_property)
        return caches or name in self._transient

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, unpack(value))
        self._made_again()

    def _made_again(self) -> None:
        """Set what was left behind."""


def reduce_tuple(self: Any) -> tuple[Any, ...]:
    """`__reduce__` of a named tuple that holds arrays."""
    return _tuple, (type(self), pack(tuple(self)))


def _tuple(kind: Any, parts: tuple[Any, ...]) -> Any:
    return kind(*unpack(parts))


class Remade:
    """Pickles as the call that made it, where `recipe` noted one: such objects hold functions.

    They do not change, so that copies are the object itself.
    """

    def __reduce__(self) -> Any:
        made = vars(self).get("_recipe")
        if made is None:
            return _restored, (type(self), pack(_fields(self)))
        module, name, args, kwargs = made
        return _remake, (module, name, pack(args), pack(kwargs))

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


def _fields(self: Any) -> dict[str, Any]:
    cached = {n for n in vars(self) if isinstance(getattr(type(self), n, None), cached_property)}
    return {name: value for name, value in vars(self).items() if name not in cached}


def _restored(kind: Any, fields: dict[str, Any]) -> Any:
    self = object.__new__(kind)
    for name, value in unpack(fields).items():
        object.__setattr__(self, name, value)
    return self


def _remake(module: str, name: str, args: Any, kwargs: Any) -> Any:
    return getattr(importlib.import_module(module), name)(*unpack(args), **unpack(kwargs))


def recipe(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Note the call with the `Remade` object that it returns."""

    @wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        made = function(*args, **kwargs)
        if isinstance(made, Remade):
            call = (function.__module__, function.__qualname__, args, kwargs)
            object.__setattr__(made, "_recipe", call)
        return made

    return run
