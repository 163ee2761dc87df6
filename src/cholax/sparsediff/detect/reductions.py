"""Sums along axes, cumulative and windowed sums, and other maps that are dense along an axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cholax.sparsediff.detect.elementwise import out_shape
from cholax.sparsediff.detect.interpreter import Interpreter, tangent_rules, words
from cholax.sparsediff.detect.rows import (
    MOST_TERMS,
    Base,
    Rows,
    check_size,
    entries,
    make_keys,
    of_base,
    scatter_rows,
    split_keys,
    union,
)
from cholax.sparsediff.detect.values import Value


def sum_axes(rows: Rows, axes: Sequence[int], *, keepdims: bool = False) -> Rows:
    """Union along axes: a few slices side by side if the axes are short, else one merge."""
    axes = tuple(axis % len(rows.shape) for axis in axes)
    kept = [size for axis, size in enumerate(rows.shape) if axis not in axes]
    shape = (
        tuple(1 if axis in axes else size for axis, size in enumerate(rows.shape))
        if keepdims
        else tuple(kept)
    )
    if not axes:
        return rows
    reduced = [rows.shape[axis] for axis in axes]
    count = int(np.prod(reduced, dtype=np.int64))
    if count == 0 or not rows.terms:
        return Rows(shape)
    rows = _without_repetition(rows, axes)
    reduced = [rows.shape[axis] for axis in axes]
    count = int(np.prod(reduced, dtype=np.int64))
    if count * len(rows.terms) <= MOST_TERMS:
        return union([_slice(rows, axes, at, shape) for at in np.ndindex(*reduced)])
    line = np.arange(int(np.prod(kept, dtype=np.int64)), dtype=np.int32).reshape(
        [1 if axis in axes else size for axis, size in enumerate(rows.shape)]
    )
    return scatter_rows(rows, np.broadcast_to(line, rows.shape), shape)


def _without_repetition(rows: Rows, axes: tuple[int, ...]) -> Rows:
    """One slice of those reduced axes along which nothing changes."""
    cut = tuple(
        slice(0, 1)
        if axis in axes and not any(t.index.strides[axis] for t in rows.terms)
        else slice(None)
        for axis in range(len(rows.shape))
    )
    return rows.map(lambda index: index[cut])


def _slice(rows: Rows, axes: tuple[int, ...], at: tuple[int, ...], shape: tuple[int, ...]) -> Rows:
    place: list[Any] = [slice(None)] * len(rows.shape)
    for axis, k in zip(axes, at, strict=True):
        place[axis] = k
    return rows.map(lambda index: np.asarray(index[tuple(place)]).reshape(shape))


def dense_along(rows: Rows, axes: Sequence[int], shape: tuple[int, ...]) -> Rows:
    """Every element depends on all along the axes; `shape` may differ from the operand's there."""
    return sum_axes(rows, axes, keepdims=True).broadcast(shape)


def _reduce(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    (rows,) = values
    assert isinstance(rows, Rows)
    return [sum_axes(rows, eqn.params["axes"])]


def _generic_reduce(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    axes, shape = eqn.params["dimensions"], out_shape(eqn)
    parts = [sum_axes(v, axes) if v.shape != shape else v for v in values if isinstance(v, Rows)]
    total = union([p.broadcast(shape) for p in parts])
    return [total] * len(eqn.outvars)


def _argument(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    return _reduce(_, eqn, values)


def _cumulative(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    (rows,) = values
    assert isinstance(rows, Rows)
    axis, reverse = eqn.params["axis"], eqn.params["reverse"]
    length = rows.shape[axis]
    others = rows.shape[:axis] + rows.shape[axis + 1 :]
    if not rows.terms or not rows.size:
        return [Rows(rows.shape)]
    moved = rows.map(lambda index: np.moveaxis(index, axis, -1))
    if reverse:
        moved = moved.map(lambda index: index[..., ::-1])
    result = of_base(_running(moved, length), (*others, length))
    if reverse:
        result = result.map(lambda index: index[..., ::-1])
    return [result.map(lambda index: np.moveaxis(index, -1, axis))]


def _running(rows: Rows, length: int) -> Base:
    """Running union along the last axis: column c joins at its first place and stays."""
    place, column = split_keys(entries(rows))
    line, first = place // length, place % length
    order = np.argsort(make_keys(line, column), kind="stable")
    line, column, first = line[order], column[order], first[order]
    new = np.ones(line.size, bool)
    new[1:] = (line[1:] != line[:-1]) | (column[1:] != column[:-1])
    line, column, first = line[new], column[new], first[new]
    count = length - first
    check_size(int(count.sum()))
    start = np.repeat(np.cumsum(count) - count, count)
    target = np.repeat(line * length + first, count) + np.arange(int(count.sum())) - start
    keys = np.sort(make_keys(target, np.repeat(column, count)))
    rows_, columns = split_keys(keys)
    counts = np.bincount(rows_, minlength=rows.size)
    return Base(np.concatenate([[0], np.cumsum(counts)]), columns.astype(np.int32))


def _sort(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    axis, shape = eqn.params["dimension"], out_shape(eqn)
    keys = values[: eqn.params["num_keys"]]
    # Only a sort of tangents themselves comes here; AD sorts indices and gathers.
    order = [v for v in keys if isinstance(v, Rows)]
    out: list[Value] = []
    for value in values:
        parts = [*order, value] if isinstance(value, Rows) else order
        out.append(dense_along(union(parts), [axis], shape) if parts else value)
    return out


def _fft(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    (rows,) = values
    assert isinstance(rows, Rows)
    count = len(eqn.params["fft_lengths"])
    return [dense_along(rows, range(-count, 0), out_shape(eqn))]


for _name in words("reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or reduce_xor"):
    tangent_rules[_name] = _reduce
tangent_rules["argmax"] = tangent_rules["argmin"] = _argument
tangent_rules["reduce"] = _generic_reduce
for _name in ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"):
    tangent_rules[_name] = _cumulative
tangent_rules["sort"] = _sort
tangent_rules["fft"] = _fft
