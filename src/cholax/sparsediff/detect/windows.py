"""Windowed reductions, pooling and convolutions: for each place in the window, one moved copy."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cholax.sparsediff.detect.elementwise import out_shape
from cholax.sparsediff.detect.interpreter import Interpreter, tangent_rules, words
from cholax.sparsediff.detect.rows import Rows, apply_pairs, union, union_many
from cholax.sparsediff.detect.values import Value, zero_mask


def _line(
    size: int, out: int, offset: int, stride: int, low: int, base: int, dilation: int
) -> np.ndarray:
    """For each output place, the operand index that window place `offset` reads, or -1."""
    place = np.arange(out) * stride + offset * dilation - low
    index = place // base
    inside = (place % base == 0) & (place >= 0) & (index < size)
    return np.where(inside, index, -1)


def _reads(params: Any, shape: Sequence[int], out: Sequence[int]) -> Iterator[np.ndarray]:
    """For each place in the window, the flat operand position that each output element reads."""
    window = params["window_dimensions"]
    strides, padding = params["window_strides"], params["padding"]
    base = params.get("base_dilation") or (1,) * len(window)
    dilation = params.get("window_dilation") or (1,) * len(window)
    for offset in np.ndindex(*window):
        lines = [
            _line(size, o, k, s, low, b, d)
            for size, o, k, s, (low, _), b, d in zip(
                shape, out, offset, strides, padding, base, dilation, strict=True
            )
        ]
        yield _flat(lines, shape)


def _flat(lines: Sequence[np.ndarray], shape: Sequence[int]) -> np.ndarray:
    position = np.zeros((), np.int64)
    absent = np.zeros((), bool)
    for axis, (line, size) in enumerate(zip(lines, shape, strict=True)):
        line = line.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        position = position * size + line
        absent = absent | (line < 0)
    return np.where(absent, -1, position)


def _reduce_window(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    out = out_shape(eqn)
    results: list[Value] = []
    operands = [v for v in values[: len(eqn.outvars)] if isinstance(v, Rows)]
    for rows in operands:
        reads = _reads(eqn.params, rows.shape, out)
        results.append(union_many(rows.take(p) for p in reads))
    total = union([Rows(out), *[r for r in results if isinstance(r, Rows)]])
    return [total] * len(eqn.outvars)


def _select_and_gather_add(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    parts = [v for v in values if isinstance(v, Rows)]
    rows = union(parts)
    reads = _reads(eqn.params, rows.shape, out_shape(eqn))
    return [union_many(rows.take(p) for p in reads)]


def _select_and_scatter_add(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    source, operand = values[:2]
    shape = out_shape(eqn)
    parts = [Rows(shape)]
    if isinstance(source, Rows):
        for position in _reads(eqn.params, shape, source.shape):
            kept = np.flatnonzero(position >= 0)
            parts.append(apply_pairs(source, position.reshape(-1)[kept], kept, shape))
    if isinstance(operand, Rows):
        parts.append(operand)
    return [union_many(parts)]


# --- convolution ----------------------------------------------------------------------------------


def _convolution(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    shape = out_shape(eqn)
    lhs, rhs = values
    parts = [Rows(shape)]
    for out, left, right in _products(eqn, lhs.shape, rhs.shape, shape):
        for rows, at, other, where in ((lhs, left, rhs, right), (rhs, right, lhs, left)):
            if isinstance(rows, Rows):
                zero = zero_mask(other)
                keep = slice(None) if zero is None else ~zero.reshape(-1)[where]
                taken = np.full(int(np.prod(shape)), -1, np.int64)
                taken[out[keep]] = at[keep]
                parts.append(rows.take(taken.reshape(shape)))
    return [union_many(parts)]


def _products(
    eqn: Any, lhs: Sequence[int], rhs: Sequence[int], shape: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The products that a convolution sums, in batches that reach each output element once.

    Yields flat positions of output, left and right operand.
    """
    params, numbers = eqn.params, eqn.params["dimension_numbers"]
    lhs_spec, rhs_spec, out_spec = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
    feature_groups, batch_groups = params["feature_group_count"], params["batch_group_count"]
    inputs = rhs[rhs_spec[1]]
    place = np.indices(shape).reshape(len(shape), -1)
    batch, feature = place[out_spec[0]], place[out_spec[1]]
    features = shape[out_spec[1]]
    group = feature // (features // feature_groups) if feature_groups > 1 else 0
    lhs_batch = batch
    if batch_groups > 1:
        per_group = lhs[lhs_spec[0]] // batch_groups
        lhs_batch = feature // (features // batch_groups) * per_group + batch
    for channel in range(inputs):
        for offset in np.ndindex(*[rhs[d] for d in rhs_spec[2:]]):
            at = np.empty((len(lhs), place.shape[1]), np.int64)
            at[lhs_spec[0]], at[lhs_spec[1]] = lhs_batch, group * inputs + channel
            inside = np.ones(place.shape[1], bool)
            for k, (d, o) in enumerate(zip(lhs_spec[2:], out_spec[2:], strict=True)):
                line = _line(
                    lhs[d],
                    shape[o],
                    offset[k],
                    params["window_strides"][k],
                    params["padding"][k][0],
                    params["lhs_dilation"][k],
                    params["rhs_dilation"][k],
                )
                at[d] = line[place[o]]
                inside &= at[d] >= 0
            out = np.flatnonzero(inside)
            kernel = [0] * len(rhs)
            kernel[rhs_spec[1]] = channel
            for k, d in enumerate(rhs_spec[2:]):
                kernel[d] = offset[k]
            right = np.ravel_multi_index(tuple(kernel), tuple(rhs))
            step = int(np.prod(rhs[rhs_spec[0] + 1 :], dtype=np.int64))
            left = np.ravel_multi_index(tuple(at[:, out]), tuple(lhs))
            yield out, np.asarray(left), int(right) + feature[out] * step


for _name in words("reduce_window_sum reduce_window_max reduce_window_min reduce_window"):
    tangent_rules[_name] = _reduce_window
tangent_rules["select_and_gather_add"] = _select_and_gather_add
tangent_rules["select_and_scatter_add"] = _select_and_scatter_add
tangent_rules["conv_general_dilated"] = _convolution
