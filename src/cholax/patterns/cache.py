"""A bounded memory of results that depend on patterns only, so that eager loops stay cheap."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from cholax.patterns.pattern import Pattern

P = ParamSpec("P")
R = TypeVar("R")

MAX_ENTRIES = 256
MAX_BYTES = 256 * 2**20

_lock = threading.Lock()
_results: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()


def memoise(function: Callable[P, R]) -> Callable[P, R]:
    """Remember `function(*args)` for patterns, tuples of patterns, integers, booleans and bytes.

    Patterns are remembered by fingerprint, so the memory does not keep the arguments (nor the plans
    that hang on them) alive. Arrays in a result become read-only, as every caller shares them.
    """
    name = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def remembered(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs:
            raise TypeError(f"{name} takes positional arguments only")
        key = (name, *(_key(arg) for arg in args))
        with _lock:
            if key in _results:
                _results.move_to_end(key)
                return _results[key][0]
        # Outside the lock: two threads may do the same work once, none waits for a long product.
        result = function(*args, **kwargs)
        _store(key, result)
        return result

    return remembered


def clear() -> None:
    """Forget everything."""
    with _lock:
        _results.clear()


def usage() -> tuple[int, int]:
    """Number of remembered results and the bytes they hold, plans made from them included."""
    with _lock:
        return len(_results), _bytes_held()


def _store(key: tuple[Any, ...], result: Any) -> None:
    size = _freeze(result)
    with _lock:
        if key in _results:
            return
        _results[key] = (result, size)
        # The newest result always stays, whatever its size: a loop over one large product needs it.
        while len(_results) > 1 and (len(_results) > MAX_ENTRIES or _bytes_held() > MAX_BYTES):
            _results.popitem(last=False)


def _bytes_held() -> int:
    # Plans are added to remembered patterns later, so this is counted anew.
    return sum(size + _plan_bytes(result) for result, size in _results.values())


def _plan_bytes(result: Any) -> int:
    if isinstance(result, tuple):
        return sum(_plan_bytes(item) for item in result)
    return sum(p.nbytes for p in result.plans()) if isinstance(result, Pattern) else 0


def _key(arg: Any) -> Any:
    if isinstance(arg, Pattern):
        return arg.fingerprint
    if isinstance(arg, tuple):
        return tuple(_key(item) for item in arg)
    return arg


def _freeze(result: Any) -> int:
    if isinstance(result, np.ndarray):
        result.flags.writeable = False
        return result.nbytes
    if isinstance(result, tuple):
        return sum(_freeze(item) for item in result)
    if isinstance(result, Pattern):
        return result.nbytes
    # Structures of the primitives: arrays, and tuples of arrays, among their attributes.
    parts = vars(result).values() if hasattr(result, "__dict__") else ()
    return sum(_freeze(part) for part in parts if isinstance(part, np.ndarray | tuple))
