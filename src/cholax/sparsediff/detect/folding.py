"""NumPy forms of common primitives on known values: no compilation, as JAX's own would need.

Integers behave as in XLA: quotients truncate, remainders have the sign of the dividend.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cholax.sparsediff.detect.interpreter import folds


def _binary(function: Any) -> Any:
    return lambda _params, arrays: function(arrays[0], arrays[1])


def _unary(function: Any) -> Any:
    return lambda _params, arrays: function(arrays[0])


def _div(_params: Any, arrays: Sequence[np.ndarray]) -> Any:
    a, b = arrays
    if a.dtype.kind not in "iu":
        return a / b
    if not np.all(b):
        return None  # left to XLA
    return np.asarray((a - np.fmod(a, b)) // b, a.dtype)


def _rem(_params: Any, arrays: Sequence[np.ndarray]) -> Any:
    a, b = arrays
    if a.dtype.kind in "iu" and not np.all(b):
        return None
    return np.fmod(a, b)


def _not(_params: Any, arrays: Sequence[np.ndarray]) -> Any:
    return np.invert(arrays[0])


def _select(_params: Any, arrays: Sequence[np.ndarray]) -> Any:
    which, *cases = arrays
    if len(cases) == 2:
        return np.where(which != 0, cases[1], cases[0])
    return np.choose(np.broadcast_to(which, cases[0].shape), cases)


def _convert(params: Any, arrays: Sequence[np.ndarray]) -> Any:
    (x,), dtype = arrays, params["new_dtype"]
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        return None
    if x.dtype.kind in "biu" and dtype.kind in "biufc":
        return x.astype(bool) if dtype.kind == "b" else x.astype(dtype)
    if x.dtype.kind == "f" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        inside = np.isfinite(x) & (x > limits.min) & (x < limits.max)
        return x.astype(dtype) if bool(np.all(inside)) else None
    if x.dtype.kind in "fc" and dtype.kind in "fc" and not (x.dtype.kind == "c" != dtype.kind):
        return x.astype(dtype)
    return None


def _iota(params: Any, arrays: Sequence[np.ndarray]) -> Any:
    shape, axis = params["shape"], params["dimension"]
    if arrays or not all(isinstance(size, int) for size in shape):
        return None
    line = np.arange(shape[axis]).astype(params["dtype"])
    return np.broadcast_to(line.reshape([-1 if d == axis else 1 for d in range(len(shape))]), shape)


def _integer_pow(params: Any, arrays: Sequence[np.ndarray]) -> Any:
    return arrays[0] ** params["y"] if params["y"] >= 0 else None


def _reduction(function: Any) -> Any:
    def reduce(params: Any, arrays: Sequence[np.ndarray]) -> Any:
        x = arrays[0]
        empty = any(x.shape[axis] == 0 for axis in params["axes"])
        if empty and function not in (np.sum, np.prod, np.any, np.all):
            return None
        return np.asarray(function(x, axis=tuple(params["axes"]))).astype(x.dtype)

    return reduce


def _clamp(_params: Any, arrays: Sequence[np.ndarray]) -> Any:
    low, x, high = arrays
    return np.minimum(np.maximum(x, low), high)


def _cumsum(params: Any, arrays: Sequence[np.ndarray]) -> Any:
    x, axis = arrays[0], params["axis"]
    if params["reverse"]:
        return np.flip(np.cumsum(np.flip(x, axis), axis, dtype=x.dtype), axis)
    return np.cumsum(x, axis, dtype=x.dtype)


for _name, _function in {
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}.items():
    folds[_name] = _binary(_function)
for _name, _function in {
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "square": np.square,
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "real": np.real,
    "imag": np.imag,
    "conj": np.conj,
    "is_finite": np.isfinite,
    "copy": np.asarray,
    "copy_p": np.asarray,
    "stop_gradient": np.asarray,
}.items():
    folds[_name] = _unary(_function)
for _name, _function in {
    "reduce_sum": np.sum,
    "reduce_prod": np.prod,
    "reduce_max": np.max,
    "reduce_min": np.min,
}.items():
    folds[_name] = _reduction(_function)
folds["div"] = _div
folds["rem"] = _rem
folds["not"] = _not
folds["select_n"] = _select
folds["convert_element_type"] = _convert
folds["iota"] = _iota
folds["integer_pow"] = _integer_pow
folds["clamp"] = _clamp
folds["cumsum"] = _cumsum
