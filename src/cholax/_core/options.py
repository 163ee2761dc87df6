"""Checks of options: tolerances, counts, choices and flags, with one wording for all messages.

Each returns the option as a plain Python value, or raises `ArgumentError` as "where: name must be
…, got …." and what to do.
"""

import operator
from collections.abc import Collection
from typing import Any

import numpy as np
from jax.core import Tracer

from cholax._core.errors import ArgumentError


def tolerance(value: Any, where: str, name: str = "tol", *, remedy: str = "") -> Any:
    """A finite real number >= 0 as a float; traced ones, whose value is unknown, pass as they are.

    Example:
        >>> tolerance(1, "root")
        1.0
        >>> tolerance(float("nan"), "root")
        Traceback (most recent call last):
            ...
        cholax._core.errors.ArgumentError: root: tol must be a finite number >= 0, got nan.
    """
    number = _real(value)
    if isinstance(number, Tracer) or (number is not None and 0 <= number < np.inf):
        return number
    raise _refused(where, name, "a finite number >= 0", value, remedy)


def positive(value: Any, where: str, name: str, *, remedy: str = "") -> Any:
    """A finite real number > 0 as a float; traced ones, whose value is unknown, pass as they are.

    Example:
        >>> positive(0.0, "constraints", "scale")
        Traceback (most recent call last):
            ...
        cholax._core.errors.ArgumentError: constraints: scale must be a finite number > 0, got 0.0.
    """
    number = _real(value)
    if isinstance(number, Tracer) or (number is not None and 0 < number < np.inf):
        return number
    raise _refused(where, name, "a finite number > 0", value, remedy)


def count(value: Any, where: str, name: str, *, least: int = 0, remedy: str = "") -> int:
    """An integer of at least `least` as an int; NumPy's integers are integers, bools are not.

    Example:
        >>> import numpy as np
        >>> count(np.int32(3), "root", "max_steps")
        3
        >>> count(-1, "root", "max_steps")
        Traceback (most recent call last):
            ...
        cholax._core.errors.ArgumentError: root: max_steps must be an integer >= 0, got -1.
    """
    number = _integer(value)
    if number is None or number < least:
        raise _refused(where, name, f"an integer >= {least}", value, remedy)
    return number


def choice(value: Any, where: str, name: str, allowed: Collection[str], *, remedy: str = "") -> str:
    """One of a few strings.

    Example:
        >>> choice("qr", "root", "linear_solver", ("lu", "dense"))
        Traceback (most recent call last):
            ...
        cholax._core.errors.ArgumentError: root: linear_solver must be "lu" or "dense", got 'qr'.
    """
    if isinstance(value, str) and value in allowed:
        return value
    *first, last = [f'"{x}"' for x in allowed]
    wanted = f"{', '.join(first)} or {last}" if first else last
    raise _refused(where, name, wanted, value, remedy)


def flag(value: Any, where: str, name: str, *, remedy: str = "") -> bool:
    """True or False, Python's or NumPy's.

    Example:
        >>> flag("no", "root", "throw")
        Traceback (most recent call last):
            ...
        cholax._core.errors.ArgumentError: root: throw must be True or False, got 'no'.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise _refused(where, name, "True or False", value, remedy)


def shown(value: Any, limit: int = 60) -> str:
    """A value as messages show it: short, and traced ones by their type only."""
    if isinstance(value, Tracer):
        return f"a traced value of type {value.aval.str_short()}"
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else f"an object of type {type(value).__name__}"


def _refused(where: str, name: str, wanted: str, value: Any, remedy: str) -> ArgumentError:
    message = f"{where}: {name} must be {wanted}, got {shown(value)}."
    return ArgumentError(f"{message} {remedy}".rstrip())


def _real(value: Any) -> Any:
    """The number as a float, a traced scalar as it is, None for what is no real number."""
    if isinstance(value, bool | np.bool_ | str | bytes) or getattr(value, "shape", ()) != ():
        return None
    if np.dtype(getattr(value, "dtype", float)).kind not in "fiuV":  # V: bfloat16 and alike
        return None
    if isinstance(value, Tracer):
        return value
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _integer(value: Any) -> int | None:
    if isinstance(value, bool | np.bool_ | Tracer):
        return None
    if np.dtype(getattr(value, "dtype", int)).kind not in "iu":
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
