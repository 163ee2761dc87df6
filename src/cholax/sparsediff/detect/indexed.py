"""Gather, scatter and dynamic slices, in every mode, with known, bounded and unknown indices."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cholax.sparsediff.detect.boxes import (
    Boxes,
    gather_numbers,
    read,
    scatter_numbers,
    slice_boxes,
    window_boxes,
    write,
)
from cholax.sparsediff.detect.elementwise import out_shape
from cholax.sparsediff.detect.interpreter import (
    Interpreter,
    fact_rules,
    folds,
    tangent_rules,
)
from cholax.sparsediff.detect.rows import Rows, union
from cholax.sparsediff.detect.structural import combine
from cholax.sparsediff.detect.values import (
    Coefficient,
    Known,
    Value,
    integer_bounds,
    zero_mask,
)

Bounds = tuple[np.ndarray, np.ndarray]


def _gather_boxes(params: Any, shape: Sequence[int], out: Sequence[int], bounds: Bounds) -> Boxes:
    numbers = gather_numbers(params["dimension_numbers"])
    drops = params["mode"].name == "FILL_OR_DROP"
    # Where a window may fall outside, no result element reads more than the window does.
    return window_boxes(shape, out, bounds, numbers, drops=drops)


def _scatter_boxes(params: Any, shape: Sequence[int], upd: Sequence[int], bounds: Bounds) -> Boxes:
    numbers = scatter_numbers(params["dimension_numbers"])
    drops = params["mode"].name != "CLIP"
    return window_boxes(shape, upd, bounds, numbers, drops=drops)


def _gather(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    operand, indices = values
    if not isinstance(operand, Rows) or isinstance(indices, Rows):
        # An index made of the tangent: no derivative rule does that.
        return interpreter.unknown(eqn, eqn.primitive.name, values)
    bounds = integer_bounds(indices)
    return [read(operand, _gather_boxes(eqn.params, operand.shape, out_shape(eqn), bounds))]


def _scatter(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    operand, indices, updates = values
    if isinstance(indices, Rows):
        return interpreter.unknown(eqn, eqn.primitive.name, values)
    shape = out_shape(eqn)
    boxes = _scatter_boxes(eqn.params, shape, updates.shape, integer_bounds(indices))
    parts = [Rows(shape)]
    if isinstance(operand, Rows):
        parts.append(_kept(eqn, operand, updates, boxes))
    if isinstance(updates, Rows):
        parts.append(write(updates, boxes))
    return [union(parts)]


def _kept(eqn: Any, operand: Rows, updates: Value, boxes: Boxes) -> Rows:
    """What a scatter leaves of its operand: a set overwrites, a product with 0 removes."""
    name = eqn.primitive.name
    if name == "scatter":
        gone = boxes
    elif name == "scatter-mul" and zero_mask(updates) is not None:
        zero = zero_mask(updates)
        absent = ~zero if boxes.absent is None else boxes.absent | ~zero  # type: ignore[operator]
        gone = Boxes(boxes.shape, boxes.elements, boxes.low, boxes.high, absent, boxes.certain)
    else:
        return operand
    if not gone.exact or not gone.certain or 0 in gone.elements:
        return operand
    written = np.zeros(operand.size + 1, bool)
    written[gone.positions.reshape(-1)] = True
    return operand.drop(written[:-1].reshape(operand.shape))


def _dynamic_slice(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    operand, *starts = values
    if not isinstance(operand, Rows) or any(isinstance(s, Rows) for s in starts):
        return interpreter.unknown(eqn, eqn.primitive.name, values)
    window = eqn.params["slice_sizes"]
    corner = _corner(operand.shape, window, starts)
    if corner is not None:
        return [operand.map(lambda index: index[corner])]
    bounds = [integer_bounds(s) for s in starts[: len(window)]]
    return [read(operand, slice_boxes(operand.shape, window, bounds))]


def _dynamic_update_slice(
    interpreter: Interpreter, eqn: Any, values: Sequence[Value]
) -> list[Value]:
    operand, update, *starts = values
    if any(isinstance(s, Rows) for s in starts):
        return interpreter.unknown(eqn, eqn.primitive.name, values)
    shape = out_shape(eqn)
    corner = _corner(shape, update.shape, starts)
    if corner is not None:

        def move(arrays: list[np.ndarray]) -> np.ndarray:
            out = arrays[0].copy()
            out[corner] = arrays[1]
            return out

        return [combine(move, [operand, update], shape)]
    boxes = slice_boxes(shape, update.shape, [integer_bounds(s) for s in starts])
    parts = [Rows(shape)]
    if isinstance(operand, Rows):
        parts.append(operand)
    if isinstance(update, Rows):
        parts.append(write(update, boxes))
    return [union(parts)]


def _corner(
    shape: Sequence[int], window: Sequence[int], starts: Sequence[Value]
) -> tuple[slice, ...] | None:
    """The window as slices when its start is known."""
    slices = []
    for size, length, start in zip(shape, window, starts, strict=True):
        low, high = integer_bounds(start)
        first = min(max(int(low), 0), size - length)
        if first != min(max(int(high), 0), size - length):
            return None
        slices.append(slice(first, first + length))
    return tuple(slices)


# --- facts ----------------------------------------------------------------------------------------


def _gather_facts(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    operand, indices = values
    out = out_shape(eqn)
    boxes = _gather_boxes(eqn.params, operand.shape, out, integer_bounds(indices))
    sure = boxes.certain and boxes.absent is None
    return [_read_facts(eqn, operand, boxes if sure else None)]


def _dynamic_slice_facts(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    operand, *starts = values
    window = eqn.params["slice_sizes"]
    bounds = [integer_bounds(s) for s in starts[: len(window)]]
    return [_read_facts(eqn, operand, slice_boxes(operand.shape, window, bounds))]


def _read_facts(eqn: Any, operand: Value, boxes: Boxes | None) -> Value:
    """Facts of elements read from known places; the hull of all where the place is not known."""
    out = out_shape(eqn)
    if boxes is None or isinstance(operand, Rows) or 0 in operand.shape:
        return Coefficient(out)
    zero, bounds = operand.zero, operand.bounds
    if boxes.exact:
        positions = boxes.positions
        zero = None if zero is None else zero.reshape(-1)[positions]
        pair = None if bounds is None else tuple(b.reshape(-1)[positions] for b in bounds)
        return Coefficient(out, zero, pair)  # type: ignore[arg-type]
    zero = None
    if bounds is not None:
        low, high = np.int64(bounds[0].min()), np.int64(bounds[1].max())
        bounds = np.broadcast_to(low, out), np.broadcast_to(high, out)
    return Coefficient(out, zero, bounds)


def _update_facts(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    """A scattered coefficient is 0 where the operand is and no nonzero update can land."""
    operand, updates = values[0], values[-1]
    indices = values[1]
    shape = out_shape(eqn)
    if eqn.primitive.name == "dynamic_update_slice":
        updates, starts = values[1], values[2:]
        boxes = slice_boxes(shape, updates.shape, [integer_bounds(s) for s in starts])
    else:
        boxes = _scatter_boxes(eqn.params, shape, updates.shape, integer_bounds(indices))
    zero = zero_mask(operand)
    if zero is None or not boxes.exact or isinstance(updates, Rows) or 0 in boxes.elements:
        return [Coefficient(shape)]
    touched = np.zeros(zero.size + 1, bool)
    nonzero = True if updates.zero is None else ~updates.zero.reshape(-1)
    np.logical_or.at(touched, boxes.positions.reshape(-1), nonzero)
    return [Coefficient(shape, zero & ~touched[:-1].reshape(shape))]


# --- folding --------------------------------------------------------------------------------------


def _fold_gather(params: Any, arrays: Sequence[np.ndarray]) -> Any:
    operand, indices = arrays
    bounds = Known(indices).bounds
    numbers = params["dimension_numbers"]
    if bounds is None or operand.size == 0:
        return None
    sizes = [
        size
        for d, size in enumerate(params["slice_sizes"])
        if d not in numbers.collapsed_slice_dims and d not in numbers.operand_batching_dims
    ]
    rank = indices.ndim - 1 + len(sizes)
    window, batch = iter(sizes), iter(indices.shape[:-1])
    out = [next(window) if a in numbers.offset_dims else next(batch) for a in range(rank)]
    boxes = _gather_boxes(params, operand.shape, out, bounds)
    if boxes.absent is not None:
        return None  # the fill value is JAX's business
    return operand.reshape(-1)[boxes.positions]


def _fold_scatter(params: Any, arrays: Sequence[np.ndarray]) -> Any:
    operand, indices, updates = arrays
    bounds = Known(indices).bounds
    if bounds is None:
        return None
    boxes = _scatter_boxes(params, operand.shape, updates.shape, bounds)
    flat = np.append(operand.reshape(-1), operand.dtype.type(0))
    target = np.broadcast_to(boxes.positions, updates.shape).reshape(-1)
    if params["update_jaxpr"] is None:
        flat[target] = updates.reshape(-1)
    else:
        np.add.at(flat, target, updates.reshape(-1))
    return flat[:-1].reshape(operand.shape)


def _fold_dynamic_slice(params: Any, arrays: Sequence[np.ndarray]) -> Any:
    operand, *starts = arrays
    corner = _corner(operand.shape, params["slice_sizes"], [Known(s) for s in starts])
    return None if corner is None else operand[corner]


def _fold_dynamic_update_slice(_params: Any, arrays: Sequence[np.ndarray]) -> Any:
    operand, update, *starts = arrays
    corner = _corner(operand.shape, update.shape, [Known(s) for s in starts])
    if corner is None:
        return None
    out = operand.copy()
    out[corner] = update
    return out


tangent_rules["gather"] = _gather
tangent_rules["dynamic_slice"] = _dynamic_slice
tangent_rules["dynamic_update_slice"] = _dynamic_update_slice
fact_rules["gather"] = _gather_facts
fact_rules["dynamic_slice"] = _dynamic_slice_facts
for _name in ("scatter", "scatter-add", "scatter-sub", "scatter-mul", "scatter-min", "scatter-max"):
    tangent_rules[_name] = _scatter
for _name in ("scatter", "scatter-add", "dynamic_update_slice"):
    fact_rules[_name] = _update_facts
folds["gather"] = _fold_gather
folds["scatter"] = _fold_scatter
folds["scatter-add"] = _fold_scatter
folds["dynamic_slice"] = _fold_dynamic_slice
folds["dynamic_update_slice"] = _fold_dynamic_update_slice
