"""Products of a coefficient with the tangent: dot_general, with the coefficient's known zeros."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cholax.sparsediff.detect.elementwise import out_shape
from cholax.sparsediff.detect.interpreter import Interpreter, fact_rules, tangent_rules
from cholax.sparsediff.detect.reductions import sum_axes
from cholax.sparsediff.detect.rows import Rows, apply_pairs, check_size, union
from cholax.sparsediff.detect.values import Coefficient, Value, zero_mask

# Above this the zeros of a product of coefficients are not worth computing.
MOST_PRODUCTS = 1 << 24


def _canonical(
    array: np.ndarray, batch: Sequence[int], contract: Sequence[int]
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Bring to three axes, batch × contracted × free, and the free sizes."""
    free = [a for a in range(array.ndim) if a not in batch and a not in contract]
    sizes = [int(np.prod([array.shape[a] for a in axes])) for axes in (batch, contract, free)]
    moved = array.transpose([*batch, *contract, *free])
    return moved.reshape(sizes), tuple(array.shape[a] for a in free)


def _product(
    rows: Rows, zero: np.ndarray | None, other_free: int, batch: int, contracted: int, free: int
) -> Rows:
    """Rows of shape (batch, contracted, free) times a coefficient (batch, contracted, other)."""
    shape = (batch, other_free, free)
    if zero is None:
        total = sum_axes(rows, [1])
        return total.map(lambda index: np.broadcast_to(index[:, None, :], shape))
    b, k, o = np.nonzero(~zero)
    check_size(b.size * free)
    columns = np.arange(free)
    source = ((b * contracted + k) * free)[:, None] + columns
    out = ((b * other_free + o) * free)[:, None] + columns
    return apply_pairs(rows, out, source, shape)


def _dot_general(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    contracts, batches = eqn.params["dimension_numbers"]
    shape = out_shape(eqn)
    parts = [Rows(shape)]
    for side in (0, 1):
        rows, other = values[side], values[1 - side]
        if not isinstance(rows, Rows):
            continue
        frees, sizes = [], None
        for value, which in ((rows, side), (other, 1 - side)):
            template = np.broadcast_to(np.int8(0), value.shape)
            sizes, free = _canonical(template, batches[which], contracts[which])
            frees.append(free)
        assert sizes is not None
        batch, contracted, other_free = sizes.shape
        zero = zero_mask(other)
        if zero is not None:
            zero = np.broadcast_to(zero, other.shape)
            zero = _canonical(zero, batches[1 - side], contracts[1 - side])[0]
        three = rows.map(lambda i, s=side: _canonical(i, batches[s], contracts[s])[0])
        free = int(np.prod(frees[0]))
        result = _product(three, zero, other_free, batch, contracted, free)
        parts.append(result.map(_restore(rows, batches[side], frees, swap=side == 0)))
    return [union(parts)]


def _restore(rows: Rows, batch: Sequence[int], frees: Sequence[Any], *, swap: bool) -> Any:
    """From (batch, other, free) to the order of the result: batch, left free, right free."""
    sizes = tuple(rows.shape[a] for a in batch)
    own, other = frees

    def move(index: np.ndarray) -> np.ndarray:
        if swap:
            return index.transpose(0, 2, 1).reshape(sizes + own + other)
        return index.reshape(sizes + other + own)

    return move


def _dot_facts(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    shape = out_shape(eqn)
    zeros = [zero_mask(v) for v in values]
    if all(z is None for z in zeros):
        return [Coefficient(shape)]
    contracts, batches = eqn.params["dimension_numbers"]
    arrays, frees = [], []
    for side, value in enumerate(values):
        zero = zeros[side]
        nonzero = (
            np.ones(value.shape, bool) if zero is None else ~np.broadcast_to(zero, value.shape)
        )
        three, free = _canonical(nonzero, batches[side], contracts[side])
        arrays.append(three.astype(np.float32))
        frees.append(free)
    b, k, left = arrays[0].shape
    if b * k * left * arrays[1].shape[2] > MOST_PRODUCTS:
        return [Coefficient(shape)]
    product = np.matmul(arrays[0].transpose(0, 2, 1), arrays[1]) > 0
    return [Coefficient(shape, ~product.reshape(shape))]


tangent_rules["dot_general"] = _dot_general
fact_rules["dot_general"] = _dot_facts
