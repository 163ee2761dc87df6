"""What can be said of coefficients: where they are surely 0, between which integers they lie.

Zeros make masks exact (`mask * sin(x)`); bounds make data-dependent indices no looser than they
are (`x[argmax(x)]`, an `argsort` within each row, `clip(i, 0, 3)`).
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from cholax.sparsediff.detect.elementwise import out_shape
from cholax.sparsediff.detect.interpreter import Interpreter, fact_rules, words
from cholax.sparsediff.detect.values import (
    UNBOUNDED,
    Coefficient,
    Value,
    integer_bounds,
    zero_mask,
)

# f(0) = 0, whatever else is unknown.
KEEP_ZERO = words("""
abs asin asinh atan atanh cbrt ceil conj convert_element_type copy copy_p erf expm1 floor imag log1p
name neg real reduce_precision round sign sin sinh sqrt square stop_gradient tan tanh
""")
# Zero where both operands are.
BOTH_ZERO = words("add add_any sub max min complex")
# Integer-valued where the operand is, with the same bounds.
SAME_BOUNDS = words("convert_element_type copy copy_p stop_gradient name reduce_precision")

Interval = tuple[np.ndarray, np.ndarray]


def _mask(value: Value, shape: tuple[int, ...]) -> np.ndarray:
    zero = zero_mask(value)
    return np.broadcast_to(np.False_ if zero is None else zero, shape)


def _zero(name: str, values: Sequence[Value], shape: tuple[int, ...]) -> np.ndarray | None:
    if all(zero_mask(v) is None for v in values):
        return None
    if name in KEEP_ZERO:
        return _mask(values[0], shape)
    if name in BOTH_ZERO:
        return _mask(values[0], shape) & _mask(values[1], shape)
    if name in ("mul", "and"):
        return _mask(values[0], shape) | _mask(values[1], shape)
    if name in ("div", "rem"):
        return _mask(values[0], shape)
    return None


# --- intervals ------------------------------------------------------------------------------------


def _add(a: Interval, b: Interval) -> Interval:
    return a[0] + b[0], a[1] + b[1]


def _sub(a: Interval, b: Interval) -> Interval:
    return a[0] - b[1], a[1] - b[0]


def _mul(a: Interval, b: Interval) -> Interval:
    corners = [x * y for x in a for y in b]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def _finite(function: Callable[[Interval, Interval], Interval | None]) -> Any:
    """Arithmetic on intervals some of which are unbounded: then so is the result."""

    def bounded(a: Interval, b: Interval) -> Interval | None:
        found = function(a, b)
        if found is None:
            return None
        finite = reduce(np.logical_and, [abs(x) < UNBOUNDED for x in (*a, *b)])
        return np.where(finite, found[0], -UNBOUNDED), np.where(finite, found[1], UNBOUNDED)

    return bounded


def _max(a: Interval, b: Interval) -> Interval:
    return np.maximum(a[0], b[0]), np.maximum(a[1], b[1])


def _min(a: Interval, b: Interval) -> Interval:
    return np.minimum(a[0], b[0]), np.minimum(a[1], b[1])


def _truth(surely: np.ndarray, never: np.ndarray) -> Interval:
    return surely.astype(np.int64), (~never).astype(np.int64)


def _lt(a: Interval, b: Interval) -> Interval:
    return _truth(a[1] < b[0], a[0] >= b[1])


def _le(a: Interval, b: Interval) -> Interval:
    return _truth(a[1] <= b[0], a[0] > b[1])


def _eq(a: Interval, b: Interval) -> Interval:
    same = (a[0] == a[1]) & (b[0] == b[1]) & (a[0] == b[0])
    return _truth(same, (a[1] < b[0]) | (a[0] > b[1]))


def _opposite(a: Interval) -> Interval:
    return 1 - a[1], 1 - a[0]


def _div(a: Interval, b: Interval) -> Interval | None:
    if not (b[0] > 0).all():
        return None
    corners = [np.trunc(x / y).astype(np.int64) for x in a for y in b]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def _rem(a: Interval, b: Interval) -> Interval | None:
    if not (b[0] > 0).all():
        return None
    most = b[1] - 1
    low = np.where(a[0] >= 0, 0, np.maximum(a[0], -most))
    high = np.where(a[1] <= 0, 0, np.minimum(a[1], most))
    inside = (a[0] >= 0) & (a[1] < b[0])  # the remainder is the dividend itself
    return np.where(inside, a[0], low), np.where(inside, a[1], high)


BINARY: dict[str, Callable[[Interval, Interval], Interval | None]] = {
    "add": _finite(_add),
    "sub": _finite(_sub),
    "mul": _finite(_mul),
    "max": _max,
    "min": _min,
    "lt": _lt,
    "le": _le,
    "gt": lambda a, b: _lt(b, a),
    "ge": lambda a, b: _le(b, a),
    "eq": _eq,
    "ne": lambda a, b: _opposite(_eq(a, b)),
    "div": _finite(_div),
    "rem": _rem,
}


def _bounds(eqn: Any, name: str, values: Sequence[Value], shape: tuple[int, ...]) -> Any:
    dtype = np.dtype(eqn.outvars[0].aval.dtype)
    operands = [np.dtype(v.aval.dtype).kind in "biu" for v in eqn.invars]
    if dtype.kind not in "biu":
        return None
    pairs = [integer_bounds(v) for v in values] if all(operands) else []
    found: Interval | None = None
    if name in BINARY and pairs:
        found = BINARY[name](*pairs)
    elif name in SAME_BOUNDS and pairs:
        found = pairs[0]
        if dtype.kind == "b" and eqn.invars[0].aval.dtype.kind != "b":
            found = None
    elif name in ("neg", "sign", "abs") and pairs:
        (low, high) = pairs[0]
        if name == "neg":
            found = -high, -low
        elif name == "sign":
            found = np.sign(low), np.sign(high)
        else:
            found = (
                np.where((low < 0) & (high > 0), 0, np.minimum(abs(low), abs(high))),
                (np.maximum(abs(low), abs(high))),
            )
    elif name == "clamp" and pairs:
        found = _min(_max(pairs[0], pairs[1]), pairs[2])
    elif name in ("and", "or", "xor", "not") and dtype.kind == "b":
        found = _logical(name, pairs)
    if dtype.kind == "b":
        found = found or (np.zeros((), np.int64), np.ones((), np.int64))
        found = np.maximum(found[0], 0), np.minimum(found[1], 1)
    if found is None:
        return None
    return _representable(found, dtype, shape, wraps=name not in ("max", "min", "clamp"))


def _logical(name: str, pairs: Sequence[Interval]) -> Interval:
    if name == "not":
        return _opposite(pairs[0])
    if name == "and":
        return _min(*pairs)
    if name == "or":
        return _max(*pairs)
    return _opposite(_eq(*pairs))


def _representable(
    found: Interval, dtype: Any, shape: tuple[int, ...], *, wraps: bool = True
) -> Interval | None:
    """The interval clipped to the range we keep; none where the type may have wrapped around."""
    low, high = found
    if dtype.kind != "b" and wraps:
        limits = np.iinfo(dtype)
        wrapped = (low < int(limits.min)) | (high > int(limits.max))
        low, high = np.where(wrapped, -UNBOUNDED, low), np.where(wrapped, UNBOUNDED, high)
    low, high = np.maximum(low, -UNBOUNDED), np.minimum(high, UNBOUNDED)
    if np.all(low == -UNBOUNDED) and np.all(high == UNBOUNDED):
        return None
    return np.broadcast_to(low, shape), np.broadcast_to(high, shape)


# --- rules ----------------------------------------------------------------------------------------


def _elementwise(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    name, shape = eqn.primitive.name, out_shape(eqn)
    return [Coefficient(shape, _zero(name, values, shape), _bounds(eqn, name, values, shape))]


def _select(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    which, *cases = values
    shape = out_shape(eqn)
    low, high = integer_bounds(which)
    never = [np.broadcast_to((low > k) | (high < k), shape) for k in range(len(cases))]
    zero = None
    if any(zero_mask(c) is not None for c in cases):
        zero = np.logical_and.reduce(
            [_mask(c, shape) | out for c, out in zip(cases, never, strict=True)]
        )
    bounds = None
    if np.dtype(eqn.outvars[0].aval.dtype).kind in "biu":
        pairs = [integer_bounds(c) for c in cases]
        top, bottom = np.int64(1 << 40), np.int64(-(1 << 40))
        low = np.minimum.reduce([np.where(n, top, p[0]) for n, p in zip(never, pairs, strict=True)])
        high = np.maximum.reduce(
            [np.where(n, bottom, p[1]) for n, p in zip(never, pairs, strict=True)]
        )
        bounds = low, high
    return [Coefficient(shape, zero, bounds)]


def _integer_pow(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    zero = zero_mask(values[0]) if eqn.params["y"] > 0 else None
    return [Coefficient(out_shape(eqn), zero)]


def _arg_extremum(_: Interpreter, eqn: Any, _values: Sequence[Value]) -> list[Value]:
    (axis,), shape = eqn.params["axes"], out_shape(eqn)
    most = eqn.invars[0].aval.shape[axis] - 1
    return [
        Coefficient(
            shape, None, (np.broadcast_to(np.int64(0), shape), np.broadcast_to(most, shape))
        )
    ]


def _sort(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    """A sorted array holds what the operand holds along that axis."""
    axis = eqn.params["dimension"]
    out: list[Value] = []
    for value, var in zip(values, eqn.outvars, strict=True):
        shape = tuple(var.aval.shape)
        if np.dtype(var.aval.dtype).kind not in "biu" or not value.shape[axis]:
            out.append(Coefficient(shape))
            continue
        low, high = integer_bounds(value)
        low, high = low.min(axis, keepdims=True), high.max(axis, keepdims=True)
        out.append(Coefficient(shape, None, tuple(np.broadcast_to(b, shape) for b in (low, high))))  # type: ignore[arg-type]
    return out


def _top_k(_: Interpreter, eqn: Any, _values: Sequence[Value]) -> list[Value]:
    axis = eqn.params.get("axis", -1)
    most = eqn.invars[0].aval.shape[axis] - 1
    shape = out_shape(eqn, 1)
    bounds = np.broadcast_to(np.int64(0), shape), np.broadcast_to(np.int64(most), shape)
    return [Coefficient(out_shape(eqn)), Coefficient(shape, None, bounds)]


def _extremum(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    axes, shape = tuple(eqn.params["axes"]), out_shape(eqn)
    low, high = integer_bounds(values[0])
    if np.dtype(eqn.outvars[0].aval.dtype).kind not in "biu" or 0 in low.shape:
        return [Coefficient(shape)]
    pick = np.max if eqn.primitive.name in ("reduce_max", "reduce_or") else np.min
    return [Coefficient(shape, None, (pick(low, axis=axes), pick(high, axis=axes)))]


def _reduce_sum(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    axes, zero, shape = tuple(eqn.params["axes"]), zero_mask(values[0]), out_shape(eqn)
    bounds = None
    if np.dtype(eqn.outvars[0].aval.dtype).kind in "iu":
        pair = integer_bounds(values[0])
        if all(bool((abs(b) < UNBOUNDED).all()) for b in pair):
            low, high = (np.sum(b, axis=axes) for b in pair)
            bounds = _representable((low, high), np.dtype(eqn.outvars[0].aval.dtype), shape)
    return [Coefficient(shape, None if zero is None else np.asarray(zero.all(axis=axes)), bounds)]


def _cholesky(_: Interpreter, eqn: Any, _values: Sequence[Value]) -> list[Value]:
    shape = out_shape(eqn)
    above = np.triu(np.ones(shape[-2:], bool), 1)
    return [Coefficient(shape, np.broadcast_to(above, shape))]


for _name in {*KEEP_ZERO, *BOTH_ZERO, *SAME_BOUNDS, *BINARY, "and", "or", "xor", "not", "clamp"}:
    fact_rules[_name] = _elementwise
fact_rules["is_finite"] = _elementwise
fact_rules["select_n"] = _select
fact_rules["integer_pow"] = _integer_pow
fact_rules["argmax"] = _arg_extremum
fact_rules["argmin"] = _arg_extremum
fact_rules["sort"] = _sort
fact_rules["top_k"] = _top_k
fact_rules["reduce_sum"] = _reduce_sum
fact_rules["cholesky"] = _cholesky
for _name in ("reduce_max", "reduce_min", "reduce_or", "reduce_and"):
    fact_rules[_name] = _extremum
