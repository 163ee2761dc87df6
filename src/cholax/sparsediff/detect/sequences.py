"""Long scans with a short memory: all steps at once, iterated until nothing changes.

The body, mapped over the steps, gives every output slice and carried value from the carried values
that enter; these are the carried values of the step before. Starting from no dependence and
iterating, what a recurrence of memory d carries is found after d + 1 rounds, whatever its length.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from cholax._core.jax_compat import close_jaxpr, jaxpr_as_fun
from cholax.sparsediff.detect.interpreter import Interpreter
from cholax.sparsediff.detect.rows import Rows, entries
from cholax.sparsediff.detect.structural import combine
from cholax.sparsediff.detect.values import Coefficient, Value

# Rounds before a recurrence counts as one of long memory.
MOST_ROUNDS = 8


def short_memory(
    interpreter: Interpreter,
    jaxpr: Any,
    parts: tuple[Sequence[Value], Sequence[Value], Sequence[Value]],
    length: int,
    *,
    reverse: bool,
) -> list[Value] | None:
    """Results of a scan of `length` steps over (constants, carry, inputs); None if memory is long.

    Carried values that do not depend on the tangent are taken to be unknown.
    """
    consts, carry, xs = parts
    body = _mapped(jaxpr, len(consts), len(carry) + len(xs), length)
    if body is None:
        return None
    count = len(carry)
    entering = [_shifted(init, None, length, reverse) for init in carry]
    for _ in range(MOST_ROUNDS):
        results = interpreter.run_closed(body, [*consts, *entering, *xs])
        after = [
            _shifted(init, out if isinstance(out, Rows) else None, length, reverse)
            for init, out in zip(carry, results[:count], strict=True)
        ]
        if all(_same(a, b) for a, b in zip(entering, after, strict=True)):
            last = 0 if reverse else length - 1
            return [*(_at(v, last) for v in results[:count]), *results[count:]]
        entering = after
    return None


def _mapped(jaxpr: Any, shared: int, mapped: int, length: int) -> Any:
    """The jaxpr of the body over all steps; None where it cannot be vectorised."""
    closed = close_jaxpr(jaxpr)
    axes = [None] * shared + [0] * mapped
    args = [
        jax.ShapeDtypeStruct(aval.shape if axis is None else (length, *aval.shape), aval.dtype)
        for aval, axis in zip(closed.in_avals, axes, strict=True)
    ]
    try:
        return jax.make_jaxpr(jax.vmap(jaxpr_as_fun(closed), in_axes=axes))(*args)
    except Exception:  # a primitive without a batching rule: the caller has another way
        return None


def _shifted(init: Value, out: Rows | None, length: int, reverse: bool) -> Value:
    """What enters each step: the initial value, then what left the step before."""
    shape = (length, *init.shape)
    if not isinstance(init, Rows) and out is None:
        return Coefficient(shape)
    left = Rows(shape) if out is None else out

    def move(arrays: list[np.ndarray]) -> np.ndarray:
        first, rest = arrays
        ends = [rest[1:], first[None]] if reverse else [first[None], rest[:-1]]
        return np.concatenate(ends)

    return combine(move, [init, left], shape)


def _same(a: Value, b: Value) -> bool:
    if not isinstance(a, Rows) or not isinstance(b, Rows):
        return not isinstance(a, Rows) and not isinstance(b, Rows)
    return np.array_equal(entries(a), entries(b))


def _at(value: Value, step: int) -> Value:
    if isinstance(value, Rows):
        return value.map(lambda index: np.asarray(index[step]))
    return Coefficient(value.shape[1:])
