"""Checks of options: tolerances, counts, choices and flags, with one wording for all messages.

Each returns the option as a plain Python value, or raises `ArgumentError` as "where: name must be
…, got …." and what to do.
"""

import operator
from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core.errors import ArgumentError, ShapeError

# What messages show by value.
_PLAIN = (bool, int, float, complex, str, bytes, list, tuple, np.generic, np.ndarray, jax.Array)


def tolerance(
    value: Any, where: str, name: str = "tolerance", *, infinite: bool = False, remedy: str = ""
) -> Any:
    """A finite real number >= 0 as a float; traced ones, whose value is unknown, pass as they are.

    With `infinite` infinity will do, which switches the test off.

    Example:
        >>> tolerance(1, "root")
        1.0
        >>> tolerance(float("nan"), "root")
        Traceback (most recent call last):
            ...
        cholax._core.errors.ArgumentError: root: tolerance must be a finite number >= 0, got nan.
    """
    number = _real(value)
    if isinstance(number, Tracer) or (number is not None and 0 <= number < np.inf):
        return number
    if infinite and number == np.inf:
        return number
    wanted = "a number >= 0" if infinite else "a finite number >= 0"
    raise _refused(where, name, wanted, value, remedy)


def positive(value: Any, where: str, name: str, *, remedy: str = "") -> Any:
    """A finite real number > 0 as a float; traced ones, whose value is unknown, pass as they are.

    Example:
        >>> positive(0.0, "constraints", "scale")
        Traceback (most recent call last):
            ...
        cholax._core.errors.ArgumentError: constraints: scale must be positive and finite, got 0.0.
    """
    number = _real(value)
    if isinstance(number, Tracer) or (number is not None and 0 < number < np.inf):
        return number
    raise _refused(where, name, "positive and finite", value, remedy)


def count(value: Any, where: str, name: str, *, least: int = 0, remedy: str = "") -> int:
    """An integer of at least `least` as an int; NumPy's integers are integers, bools are not.

    Example:
        >>> import numpy as np
        >>> count(np.int32(3), "root", "max_iterations")
        3
        >>> count(-1, "root", "max_iterations")
        Traceback (most recent call last):
            ...
        cholax._core.errors.ArgumentError: root: max_iterations must be an integer >= 0, got -1.
    """
    number = _integer(value)
    if number is None or number < least:
        wanted = "a positive integer" if least == 1 else f"an integer >= {least}"
        raise _refused(where, name, wanted, value, remedy)
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
    """True or False, Python's or NumPy's, or the integers 1 and 0.

    Example:
        >>> flag("no", "root", "throw")
        Traceback (most recent call last):
            ...
        cholax._core.errors.ArgumentError: root: throw must be True or False, got 'no'.
    """
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise _refused(where, name, "True or False", value, remedy)


def fraction(value: Any, where: str, name: str = "level") -> float:
    """A number between 0 and 1, both excluded: a coverage, a probability.

    Example:
        >>> fraction(0.95, "confint")
        0.95
        >>> fraction(95, "confint")
        Traceback (most recent call last):
            ...
        cholax._core.errors.ArgumentError: confint: level must be between 0 and 1, got 95.
    """
    number = _real(value)
    if number is None or isinstance(number, Tracer) or not 0 < number < 1:
        raise _refused(where, name, "between 0 and 1", value, "")
    return number


def vector(
    value: Any, where: str, name: str, shape: tuple[int, ...], *, remedy: str = ""
) -> np.ndarray:
    """Finite real numbers of a shape as a float64 array; nested lists will do.

    Example:
        >>> vector([1, 2], "lmm", "start", (2,)).tolist()
        [1.0, 2.0]
        >>> vector([float("nan")], "lmm", "start", (1,))
        Traceback (most recent call last):
            ...
        cholax._core.errors.ArgumentError: lmm: start must be finite numbers, got [nan].
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:  # ragged, traced
        raise _refused(where, name, f"numbers of shape {shape}", value, remedy) from error
    if array.dtype.kind not in "fiu":
        raise _refused(where, name, "real numbers", value, remedy)
    if array.shape != shape:
        message = f"{where}: {name} must have shape {shape}, got {array.shape}."
        raise ArgumentError(f"{message} {remedy}".rstrip())
    array = array.astype(np.float64)
    if not np.all(np.isfinite(array)):
        raise _refused(where, name, "finite numbers", value, remedy)
    return array


def texts(value: Any, where: str, name: str) -> tuple[str, ...]:
    """One text or several, such as names of parameters, as a tuple.

    Example:
        >>> texts("x", "confint", "parameters"), texts(["x", "z"], "confint", "parameters")
        (('x',), ('x', 'z'))
    """
    given = (value,) if isinstance(value, str) else value
    listed = isinstance(given, list | tuple | set | frozenset)
    if not listed or not all(isinstance(x, str) for x in given):
        raise _refused(where, name, "a text or several", value, "")
    return tuple(given)


def progress(value: Any, where: str) -> Any:
    """True, False or a function; None is False.

    Example:
        >>> progress(None, "lmm"), progress(print, "lmm") is print
        (False, True)
    """
    if value is None or isinstance(value, bool | np.bool_):
        return bool(value)
    if callable(value):
        return value
    raise _refused(where, "progress", "True, False or a function", value, "")


def function(value: Any, where: str, name: str = "the function") -> Any:
    """A callable.

    Example:
        >>> function(3, "hessian", "f")
        Traceback (most recent call last):
            ...
        cholax._core.errors.ArgumentError: hessian: f must be a function, got 3.
    """
    if callable(value):
        return value
    raise _refused(where, name, "a function", value, "")


def random_key(value: Any, where: str) -> Any:
    """A random key of JAX, new style or old, or a stack of them."""
    dtype: Any = getattr(value, "dtype", None)
    if isinstance(value, jax.Array | np.ndarray) and (
        jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == np.uint32
    ):
        return value
    remedy = "Make one with jax.random.key(seed)."
    raise _refused(where, "key", "a random key of JAX", value, remedy)


def sizes(value: Any, where: str, name: str = "shape") -> tuple[int, ...]:
    """The shape of a stack: one integer >= 0 or several.

    Example:
        >>> sizes(3, "sample"), sizes((2, 0), "sample")
        ((3,), (2, 0))
    """
    given = [value] if _integer(value) is not None else value
    plain = isinstance(given, list | tuple)
    found = tuple(_integer(size) for size in given) if plain else (None,)
    if any(size is None or size < 0 for size in found):
        if any(size is not None and size < 0 for size in found):
            raise ShapeError(f"{where}: sizes must not be negative, got {name} {found}.")
        raise _refused(where, name, "an integer >= 0 or a tuple of them", value, "")
    return tuple(size for size in found if size is not None)


def shapes(value: Any, where: str, name: str) -> Any:
    """A pytree of arrays or of `jax.ShapeDtypeStruct`.

    Example:
        >>> import jax, numpy as np
        >>> given = jax.ShapeDtypeStruct((2,), np.float64)
        >>> shapes(given, "jacobian", "result") is given
        True
    """
    for leaf in jax.tree.leaves(value):
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            wanted = "a jax.ShapeDtypeStruct, an array, or a pytree of them"
            raise _refused(where, name, wanted, leaf, "")
    return value


def shown(value: Any, limit: int = 60) -> str:
    """A value as messages show it: short, and traced ones by their type only."""
    if isinstance(value, Tracer):
        return f"a traced value of type {value.aval.str_short()}"
    plain = value is None or isinstance(value, _PLAIN)
    text = " ".join(repr(value).split()) if plain else ""
    return text if 0 < len(text) <= limit else f"an object of type {type(value).__name__}"


def _refused(where: str, name: str, wanted: str, value: Any, remedy: str) -> ArgumentError:
    message = f"{where}: {name} must be {wanted}, got {shown(value)}."
    return ArgumentError(f"{message} {remedy}".rstrip())


def _real(value: Any) -> Any:
    """The number as a float, a traced scalar as it is, None for what is no real number."""
    if isinstance(value, bool | np.bool_ | str | bytes) or getattr(value, "shape", ()) != ():
        return None
    if not _is_of_kind(value, float, "fiuV"):  # V: bfloat16 and alike
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
    if not _is_of_kind(value, int, "iu"):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _is_of_kind(value: Any, plain: type, kinds: str) -> bool:
    dtype = getattr(value, "dtype", np.dtype(plain))
    return isinstance(dtype, np.dtype) and dtype.kind in kinds
