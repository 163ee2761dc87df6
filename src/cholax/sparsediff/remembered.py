"""One compiled program per function of the user, found again when it is passed again.

A solver called outside `jit` would be traced, and its loops compiled, on every call. What a program
depends on (the function with all it captures, the structure of its arguments, concrete integers
among them, the options) is its key; floating-point arguments, and whatever is traced, are its
inputs. Derivatives are those of the compiled program, so they are found again as well.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core import options
from cholax._core.foreign import refuse_foreign
from cholax.sparsediff.captured import array_key, captured
from cholax.sparsediff.flatten import StaticLeaf

# Programs kept; each holds what its function captures.
MOST_PROGRAMS = 64

_lock = threading.Lock()
_programs: OrderedDict[Hashable, Callable[..., Any]] = OrderedDict()


def solved(
    solve: Callable[[Callable[..., Any], Any, Sequence[Any]], Any],
    function: Callable[..., Any],
    start: Any,
    args: Sequence[Any],
    key: tuple[Any, ...],
) -> Any:
    """`solve(function, start, args)` as a compiled program that is kept.

    Args:
        solve: what to do; the arrays in `start` and the moving ones in `args` may be tracers. All
            it closes over is in the key.
        function: the user's function.
        start: a pytree of arrays.
        args: the other arguments, any pytrees.
        key: the solver's name, its options and whatever else decides the program.
    """
    where = key[0]
    options.function(function, where)
    for leaf in jax.tree.leaves(args):
        if not isinstance(leaf, str | bytes) and not callable(leaf):
            refuse_foreign(leaf, f"{where}: args")
    data, rebuild, static = split_arguments(args)
    held = captured(function)
    if held is None or any(isinstance(part, Tracer) for part in key):
        # A function that closes over a tracer belongs to this trace: nothing of it is kept.
        return solve(function, start, args)
    program = remembered(
        (key, held, static),
        lambda: jax.jit(lambda start, data: solve(function, start, rebuild(data))),
    )
    return program(start, data)


def split_arguments(
    args: Sequence[Any],
) -> tuple[list[Any], Callable[[Sequence[Any]], tuple[Any, ...]], Hashable]:
    """The leaves to differentiate or trace, how to put them back, and a key of all the others.

    Concrete integers and booleans stay outside: index arrays must look static to the detection.
    """
    leaves, tree = jax.tree.flatten(tuple(args))
    moving = tuple(_moves(x) for x in leaves)
    fixed = [x for m, x in zip(moving, leaves, strict=True) if not m]

    def rebuild(data: Sequence[Any]) -> tuple[Any, ...]:
        values, others = iter(data), iter(fixed)
        merged = [next(values if m else others) for m in moving]
        return jax.tree.unflatten(tree, merged)

    data = [x for m, x in zip(moving, leaves, strict=True) if m]
    return data, rebuild, (tree, moving, tuple(_static(x) for x in fixed))


def _moves(x: Any) -> bool:
    if isinstance(x, Tracer):
        return True
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.extended):
        return True  # random keys have no content that NumPy could read
    number = isinstance(x, float | complex) or hasattr(x, "dtype")
    return number and jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def _static(x: Any) -> Hashable:
    return array_key(x) if isinstance(x, np.ndarray | jax.Array) else StaticLeaf(x)


def remembered(key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make` made for an equal key; the keys hold all it depends on."""
    with _lock:
        if key not in _programs:
            _programs[key] = make()
        _programs.move_to_end(key)
        while len(_programs) > MOST_PROGRAMS:
            _programs.popitem(last=False)
        return _programs[key]
