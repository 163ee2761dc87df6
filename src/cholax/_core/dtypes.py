"""Dtype policy: values are float32 or float64 and are never cast silently; indices are integers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.errors import DtypeError, PatternError

SUPPORTED = ("float32", "float64")
_X64_REMEDY = (
    'Enable it with jax.config.update("jax_enable_x64", True) before any array is made, '
    "or pass float32 values."
)


def check_values(x: Any, where: str) -> jax.Array:
    """Return `x` as a JAX array of float32 or float64, or raise `DtypeError` naming its dtype."""
    dtype = np.dtype(x.dtype) if hasattr(x, "dtype") else np.asarray(x).dtype
    if dtype.name not in SUPPORTED:
        raise DtypeError(
            f"{where}: values must be float32 or float64, got {dtype.name}. "
            f"Convert them explicitly, for instance with values.astype(numpy.float64)."
        )
    if dtype == np.float64 and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise DtypeError(
            f"{where}: got float64 values while JAX has 64-bit types disabled. {_X64_REMEDY}"
        )
    return x if isinstance(x, jax.Array) else jnp.asarray(x)


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
