"""Dtype policy: values are float32 or float64 and are never cast silently; indices are integers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core.errors import DtypeError, PatternError, ShapeError
from cholax._core.foreign import refuse_foreign

SUPPORTED = ("float32", "float64")
_X64_REMEDY = (
    'Enable it with jax.config.update("jax_enable_x64", True) before any array is made, '
    "or pass float32 values."
)


def check_values(x: Any, where: str) -> jax.Array:
    """Return `x` as a JAX array of float32 or float64, or raise `DtypeError` naming its dtype."""
    x = read_array(x, where)
    dtype = np.dtype(x.dtype)
    if dtype.name not in SUPPORTED:
        raise DtypeError(
            f"{where}: values must be float32 or float64, got {dtype.name}. {_remedy(dtype)}"
        )
    if dtype == np.float64 and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise DtypeError(
            f"{where}: got float64 values while JAX has 64-bit types disabled. {_X64_REMEDY}"
        )
    return x if isinstance(x, jax.Array) else jnp.asarray(x)


def check_dtype(dtype: Any, where: str) -> np.dtype:
    """Return a dtype that values may have, given in any way NumPy understands, or raise."""
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError):
        raise DtypeError(
            f"{where}: dtype must be float32 or float64, got an object of type "
            f"{type(dtype).__name__}."
        ) from None
    check_values(np.empty(0, found), where)
    return found


def read_array(x: Any, where: str) -> Any:
    """An array as it is; lists, numbers and what else reads as one as an array; refuse the rest."""
    if isinstance(x, jax.Array):
        if jnp.issubdtype(x.dtype, jax.dtypes.extended):
            raise DtypeError(f"{where}: need an array of numbers, got {x.dtype}.")
        return x
    if type(x) is np.ndarray and x.dtype.kind in "fiub":
        return x
    refuse_foreign(x, where)
    try:
        return jnp.asarray(x) if hasattr(x, "__jax_array__") else np.asarray(x)
    except jax.errors.TracerArrayConversionError:
        return jnp.asarray(x)  # a list with traced entries
    except (TypeError, ValueError) as error:
        raise ShapeError(
            f"{where}: need an array of numbers, got a {type(x).__name__} that is none ({error}). "
            "Give all rows one length."
        ) from None


def _remedy(dtype: np.dtype) -> str:
    """What to do with values of another dtype."""
    if dtype.kind == "c":
        return (
            "Complex values are not supported: take .real explicitly where the imaginary part is "
            "zero, or solve the real system [[Re A, -Im A], [Im A, Re A]] of twice the size."
        )
    if dtype.itemsize < 4 and dtype.kind not in "iub":
        name = "float32"
    else:
        name = jax.dtypes.canonicalize_dtype(np.float64).name
    return f"Convert them explicitly, for instance with values.astype(numpy.{name})."


def check_same_dtype(where: str, **arrays: jax.Array) -> None:
    """Raise `DtypeError` unless all arrays share one dtype."""
    if len({a.dtype for a in arrays.values()}) > 1:
        got = ", ".join(f"{name} {a.dtype.name}" for name, a in arrays.items())
        raise DtypeError(
            f"{where}: all floating arrays must have one dtype, got {got}. "
            "Convert one of them explicitly with .astype()."
        )


def check_index_array(x: Any, where: str) -> np.ndarray:
    """Return concrete integer indices as int32; raise when they are no integers or do not fit."""
    x = read_array(x, where)
    if isinstance(x, Tracer):
        raise PatternError(
            f"{where}: indices decide the pattern and must be concrete, got a traced array. "
            "Compute them outside jit, or close over NumPy arrays instead of passing them in."
        )
    array = np.asarray(x)
    if array.size == 0:
        return array.astype(np.int32)
    if array.dtype.kind not in "iu":
        raise DtypeError(
            f"{where}: index arrays must hold integers, got {array.dtype.name}. "
            "Convert them explicitly with .astype(numpy.int32)."
        )
    limit = np.iinfo(np.int32).max
    low, high = int(array.min()), int(array.max())
    if high > limit or low < -limit:
        worst = high if high > limit else low
        raise PatternError(
            f"{where}: index {worst} does not fit in 32 bits (limit {limit}). "
            "Matrices of this size are not supported."
        )
    return array.astype(np.int32)
