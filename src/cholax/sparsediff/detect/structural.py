"""Primitives that only move elements, as NumPy functions.

One function serves for values, known zeros, bounds and index arrays: a pattern moves as its index
arrays do.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cholax.sparsediff.detect.interpreter import Interpreter, fact_rules, folds, tangent_rules
from cholax.sparsediff.detect.rows import Base, Rows, Term, union
from cholax.sparsediff.detect.values import Coefficient, Value, integer_bounds, zero_mask

# (params, arrays) -> array or list of arrays
Move = Callable[[Any, Sequence[np.ndarray]], Any]


def _reshape(params: Any, arrays: Sequence[np.ndarray]) -> np.ndarray:
    (x,) = arrays
    if params.get("dimensions") is not None:
        x = x.transpose(params["dimensions"])
    return x.reshape(params["new_sizes"])


def _broadcast_in_dim(params: Any, arrays: Sequence[np.ndarray]) -> np.ndarray:
    x, shape = arrays[0], params["shape"]
    expanded = [1] * len(shape)
    for size, axis in zip(x.shape, params["broadcast_dimensions"], strict=True):
        expanded[axis] = size
    return np.broadcast_to(x.reshape(expanded), shape)


def _expand_dims(params: Any, arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.expand_dims(arrays[0], tuple(params["dimensions"]))


def _slice(params: Any, arrays: Sequence[np.ndarray]) -> np.ndarray:
    start, limit = params["start_indices"], params["limit_indices"]
    strides = params["strides"] or (1,) * len(start)
    return arrays[0][tuple(map(slice, start, limit, strides))]


def _pad(params: Any, arrays: Sequence[np.ndarray]) -> np.ndarray:
    x, fill = arrays
    config = params["padding_config"]
    dilated = [
        size + max(size - 1, 0) * inner for size, (_, _, inner) in zip(x.shape, config, strict=True)
    ]
    shape = [size + low + high for size, (low, high, _) in zip(dilated, config, strict=True)]
    out = np.empty(shape, x.dtype)
    out[...] = fill
    source, target = [], []
    for size, full, (low, _, inner) in zip(x.shape, shape, config, strict=True):
        place = low + np.arange(size) * (inner + 1)
        inside = np.flatnonzero((place >= 0) & (place < full))
        if not inside.size:
            return out
        first, last = inside[0], inside[-1]
        source.append(slice(first, last + 1))
        target.append(slice(place[first], place[last] + 1, inner + 1))
    out[tuple(target)] = x[tuple(source)]
    return out


def _split(params: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    ends = np.cumsum(params["sizes"])[:-1]
    return np.split(arrays[0], ends, axis=params["axis"])


def _unstack(params: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return list(np.moveaxis(arrays[0], params["axis"], 0))


MOVES: dict[str, Move] = {
    "reshape": _reshape,
    "broadcast_in_dim": _broadcast_in_dim,
    "broadcast_to": lambda params, arrays: np.broadcast_to(arrays[0], params["shape"]),
    "expand_dims": _expand_dims,
    "squeeze": lambda params, arrays: np.squeeze(arrays[0], tuple(params["dimensions"])),
    "transpose": lambda params, arrays: arrays[0].transpose(params["permutation"]),
    "rev": lambda params, arrays: np.flip(arrays[0], params["dimensions"]),
    "slice": _slice,
    "pad": _pad,
    "concatenate": lambda params, arrays: np.concatenate(arrays, axis=params["dimension"]),
    "stack": lambda params, arrays: np.stack(arrays, axis=params["axis"]),
    "tile": lambda params, arrays: np.tile(arrays[0], params["reps"]),
    "split": _split,
    "unstack": _unstack,
}
_MANY_RESULTS = {"split", "unstack"}


def _move_tangent(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    name, params = eqn.primitive.name, eqn.params
    move = MOVES[name]
    if name in _MANY_RESULTS:
        (rows,) = values
        assert isinstance(rows, Rows)
        return [
            rows.map(lambda index, k=k: move(params, [index])[k]) for k in range(len(eqn.outvars))
        ]
    if len(values) == 1:
        (rows,) = values
        assert isinstance(rows, Rows)
        return [rows.map(lambda index: move(params, [index]))]
    shape = tuple(eqn.outvars[0].aval.shape)
    return [combine(lambda arrays: move(params, arrays), values, shape)]


def combine(
    move: Callable[[list[np.ndarray]], np.ndarray],
    values: Sequence[Value],
    shape: tuple[int, ...],
) -> Rows:
    """Put several arrays together by a function that places each element of each at most once.

    Terms of different operands over one base make one term, so that a concatenation of k arrays
    of one term each has one term again.
    """
    operands = [(k, v) for k, v in enumerate(values) if isinstance(v, Rows)]
    # Tables of single elements differ in every operand: stack them rather than keep a term of each.
    operands = _share_bases(operands)
    nothing = [np.broadcast_to(np.int32(-1), v.shape) for v in values]
    bases: dict[int, tuple[Base | None, list[list[tuple[int, Term]]]]] = {}
    for k, rows in operands:
        seen: dict[int, int] = {}
        for term in rows.terms:
            base, slots = bases.setdefault(id(term.base), (term.base, []))
            slot = seen.get(id(base), 0)
            seen[id(base)] = slot + 1
            if slot == len(slots):
                slots.append([])
            slots[slot].append((k, term))
    parts = [Rows(shape)]
    for base, slots in bases.values():
        for slot in slots:
            arrays = list(nothing)
            for k, term in slot:
                arrays[k] = term.index
            index = move(arrays)
            partial = len(slot) < len(values) or any(term.partial for _, term in slot)
            parts.append(Rows(shape, (Term(base, index, partial),)))
    return union(parts)


def _share_bases(operands: list[tuple[int, Rows]]) -> list[tuple[int, Rows]]:
    """Give all operands one table where their own tables are many."""
    tables = {id(t.base): t.base for _, rows in operands for t in rows.terms if t.base}
    if len(tables) < 4:
        return operands
    first: dict[int, int] = {}
    pointers, indices, start, stored = [np.zeros(1, np.int64)], [], 0, 0
    for key, base in tables.items():
        first[key] = start
        pointers.append(base.indptr[1:] + stored)
        indices.append(base.indices)
        start += base.size
        stored += base.indices.size
    shared = Base(np.concatenate(pointers), np.concatenate(indices))

    def moved(term: Term) -> Term:
        if term.base is None:
            return term
        index = term.index + np.int32(first[id(term.base)])
        if term.partial:
            index = np.where(term.index < 0, np.int32(-1), index)
        return Term(shared, index, term.partial)

    return [(k, Rows(rows.shape, tuple(map(moved, rows.terms)))) for k, rows in operands]


def _move_facts(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    name, params = eqn.primitive.name, eqn.params
    move = MOVES[name]

    def many(arrays: list[np.ndarray]) -> list[np.ndarray]:
        result = move(params, arrays)
        return result if name in _MANY_RESULTS else [result]

    return move_facts(many, eqn, values)


def move_facts(
    move: Callable[[list[np.ndarray]], list[np.ndarray]], eqn: Any, values: Sequence[Value]
) -> list[Value]:
    """Known zeros and bounds of rearranged coefficients."""
    count = len(eqn.outvars)
    zeros: Sequence[Any] = [None] * count
    bounds: Sequence[Any] = [None] * count
    if any(zero_mask(v) is not None for v in values):
        zeros = move([_mask(v) for v in values])
    if np.dtype(eqn.outvars[0].aval.dtype).kind in "biu" and any(
        not isinstance(v, Rows) and v.bounds is not None for v in values
    ):
        pairs = [integer_bounds(v) for v in values]
        bounds = list(zip(move([p[0] for p in pairs]), move([p[1] for p in pairs]), strict=True))
    return [
        Coefficient(tuple(var.aval.shape), zero, pair)
        for var, zero, pair in zip(eqn.outvars, zeros, bounds, strict=True)
    ]


def _mask(value: Value) -> np.ndarray:
    zero = zero_mask(value)
    return np.broadcast_to(np.False_, value.shape) if zero is None else zero


for _name, _function in MOVES.items():
    folds[_name] = _function
    tangent_rules[_name] = _move_tangent
    fact_rules[_name] = _move_facts
