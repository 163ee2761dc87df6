"""scan and while_loop: step by step where that is affordable, else a sound fixed point.

Step by step, loop counters and everything computed from them are known, so indices are exact. The
fixed point takes the loop's body as a linear map of its carried tangents and closes it
transitively: one pass, whatever the number of iterations.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cholax._core.jax_compat import open_jaxpr, scan_layout
from cholax.sparsediff.detect.interpreter import (
    Interpreter,
    constant,
    control_rules,
    fold,
    needed_part,
    unknown_results,
)
from cholax.sparsediff.detect.reach import closure, spread
from cholax.sparsediff.detect.reductions import sum_axes
from cholax.sparsediff.detect.rows import (
    Base,
    Rows,
    entries,
    make_keys,
    of_base,
    split_keys,
    union,
)
from cholax.sparsediff.detect.sequences import short_memory
from cholax.sparsediff.detect.solves import join_flat, split_flat
from cholax.sparsediff.detect.structural import combine
from cholax.sparsediff.detect.values import Coefficient, Known, Value, join

# Loops of fewer steps on known values are run by the interpreter: cheaper than to compile them.
SHORT_LOOP = 16
# Above this a scan without a counter is first tried all at once: it is the faster way by far.
LONG_LOOP = 2000
Body = Callable[[Sequence[Value]], list[Value]]


def _scan(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
    params = eqn.params
    num_consts, num_carry = scan_layout(params)
    jaxpr, length = params["jaxpr"], params["length"]
    if not any(isinstance(v, Rows) for v in values):
        folded = _fold(eqn, values) if length > SHORT_LOOP else None
        return _scan_facts(interpreter, eqn, values) if folded is None else folded
    consts, carry = values[:num_consts], list(values[num_consts : num_consts + num_carry])
    xs = values[num_consts + num_carry :]
    if length == 0:
        stacked: list[Value] = [Rows(tuple(v.aval.shape)) for v in eqn.outvars[num_carry:]]
        return [*carry, *stacked]

    def body(carried: Sequence[Value], inputs: Sequence[Value]) -> list[Value]:
        return interpreter.run_closed(jaxpr, [*consts, *carried, *inputs])

    affordable = cost(jaxpr) * length <= interpreter.budget
    if not affordable or (length > LONG_LOOP and not _counts(carry)):
        parts = (consts, carry, xs)
        found = short_memory(interpreter, jaxpr, parts, length, reverse=params["reverse"])
        if found is not None:
            return found
    if affordable:
        return _unrolled(body, carry, xs, _order(params))
    return _collapsed(interpreter, body, carry, xs, length)


def _counts(carry: Sequence[Value]) -> bool:
    """Whether known integers are carried, which only a loop run step by step can follow."""
    return any(isinstance(v, Known) and v.bounds is not None for v in carry)


def _order(params: Any) -> range:
    steps = range(params["length"])
    return steps[::-1] if params["reverse"] else steps


def _scan_facts(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
    """A scan that does not meet the tangent: only its integers and booleans matter, as indices."""
    params = eqn.params
    num_consts, num_carry = scan_layout(params)
    inner, constants = open_jaxpr(params["jaxpr"])
    wanted = [np.dtype(v.aval.dtype).kind in "biu" for v in inner.outvars]
    part, used = needed_part(interpreter.program(inner), wanted)
    used = used[len(constants) :]
    while any(u and not w for u, w in zip(used[num_consts:], wanted[:num_carry], strict=False)):
        carried = [u or w for u, w in zip(used[num_consts:], wanted[:num_carry], strict=False)]
        wanted = carried + wanted[num_carry:]
        part, used = needed_part(interpreter.program(inner), wanted)
        used = used[len(constants) :]
    steps = params["length"]
    if not part.steps or not steps or len(part.steps) * steps > interpreter.budget:
        return unknown_results(eqn)
    leading = [*map(constant, constants), *values[:num_consts]]

    def body(carried: Sequence[Value], inputs: Sequence[Value]) -> list[Value]:
        return interpreter.run_program(part, [*leading, *carried, *inputs])

    carry = list(values[num_consts : num_consts + num_carry])
    return _unrolled(body, carry, values[num_consts + num_carry :], _order(params))


def _fold(eqn: Any, values: Sequence[Value]) -> list[Value] | None:
    if not all(isinstance(v, Known) for v in values):
        return None
    return fold(eqn, eqn.primitive.name, values)


def _unrolled(
    body: Callable[[Sequence[Value], Sequence[Value]], list[Value]],
    carry: list[Value],
    xs: Sequence[Value],
    order: range,
) -> list[Value]:
    count = len(carry)
    outputs: list[list[Value]] = []
    for step in order:
        results = body(carry, [element(x, step) for x in xs])
        carry = results[:count]
        outputs.append(results[count:])
    if order.step < 0:
        outputs.reverse()
    return [*carry, *(stack(list(column)) for column in zip(*outputs, strict=True))]


def element(value: Value, k: int) -> Value:
    """value[k]."""
    if isinstance(value, Known):
        return Known(value.value[k])
    if isinstance(value, Rows):
        return value.map(lambda index: np.asarray(index[k]))
    zero = None if value.zero is None else np.asarray(value.zero[k])
    bounds = None
    if value.bounds is not None:
        bounds = np.asarray(value.bounds[0][k]), np.asarray(value.bounds[1][k])
    return Coefficient(value.shape[1:], zero, bounds)


def stack(values: list[Value]) -> Value:
    """Values of successive steps as one array."""
    shape = (len(values), *values[0].shape)
    if any(isinstance(v, Rows) for v in values):
        return combine(lambda arrays: np.stack(arrays), values, shape)
    if all(isinstance(v, Known) and isinstance(v.value, np.ndarray) for v in values):
        return Known(np.stack([v.value for v in values if isinstance(v, Known)]))
    facts = [v for v in values if not isinstance(v, Rows)]
    zero = bounds = None
    if any(v.zero is not None for v in facts):
        zero = np.stack([np.zeros(v.shape, bool) if v.zero is None else v.zero for v in facts])
    pairs = [v.bounds for v in facts]
    if all(p is not None for p in pairs):
        bounds = tuple(np.stack([p[side] for p in pairs if p is not None]) for side in (0, 1))
    return Coefficient(shape, zero, bounds)  # type: ignore[arg-type]


def any_element(value: Value) -> Value:
    """What holds of value[k] for every k."""
    if isinstance(value, Rows):
        return sum_axes(value, [0])
    zero = None if value.zero is None else np.asarray(value.zero.all(axis=0))
    bounds = value.bounds
    if bounds is not None and value.shape[0]:
        bounds = np.asarray(bounds[0].min(axis=0)), np.asarray(bounds[1].max(axis=0))
    return Coefficient(value.shape[1:], zero, bounds)


def _collapsed(
    interpreter: Interpreter,
    body: Callable[[Sequence[Value], Sequence[Value]], list[Value]],
    carry: list[Value],
    xs: Sequence[Value],
    length: int,
) -> list[Value]:
    """All steps at once: each may read any slice, each output slice may come from any step."""
    inputs = [any_element(x) for x in xs]
    count = len(carry)
    carry = fixed_point(interpreter, lambda c: body(c, inputs)[:count], carry)
    results = body(carry, inputs)
    stacked = [
        v.broadcast((length, *v.shape)) if isinstance(v, Rows) else Coefficient((length, *v.shape))
        for v in results[count:]
    ]
    return [*carry, *stacked]


# --- while ----------------------------------------------------------------------------------------


def _while(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
    params = eqn.params
    first, second = params["cond_nconsts"], params["body_nconsts"]
    cond_consts, body_consts = values[:first], values[first : first + second]
    carry = list(values[first + second :])
    if not any(isinstance(v, Rows) for v in values):
        folded = _fold(eqn, values)
        return unknown_results(eqn) if folded is None else folded

    def body(carried: Sequence[Value]) -> list[Value]:
        return interpreter.run_closed(params["body_jaxpr"], [*body_consts, *carried])

    while interpreter.budget > 0:
        (go,) = interpreter.run_closed(params["cond_jaxpr"], [*cond_consts, *carry])
        if not isinstance(go, Known):
            break
        if not go.value.any():
            return carry
        after = body(carry)
        # A batched condition: members that are done keep their values.
        carry = after if go.value.all() else _choose(go.value, after, carry)
    return fixed_point(interpreter, body, carry)


def _choose(which: np.ndarray, new: list[Value], old: list[Value]) -> list[Value]:
    """Member by member the new or the old values."""
    out: list[Value] = []
    for after, before in zip(new, old, strict=True):
        mask = which.reshape(which.shape + (1,) * (len(after.shape) - which.ndim))
        if isinstance(after, Rows) or isinstance(before, Rows):
            parts = [Rows(after.shape)]
            for value, drop in ((after, ~mask), (before, mask)):
                if isinstance(value, Rows):
                    parts.append(value.drop(np.broadcast_to(drop, value.shape)))
            out.append(union(parts))
        elif isinstance(after, Known) and isinstance(before, Known):
            out.append(Known(np.where(mask, after.value, before.value)))
        else:
            out.append(join([after, before]))
    return out


def fixed_point(interpreter: Interpreter, body: Body, carry: list[Value]) -> list[Value]:
    """What holds of the carried values after any number of iterations, from none on.

    First which of them are coefficients and which depend on the tangent: each can change its kind
    a few times only. Then the body, linear in the carried tangents z, is z ← M z + b: all iterates
    lie in closure(M) (z₀ ∪ b).
    """
    state = list(carry)
    base = interpreter.columns
    with interpreter.seeds([v.shape for v in carry]) as places:
        size = interpreter.columns - base
        while True:
            seeds = [p if isinstance(v, Rows) else v for v, p in zip(state, places, strict=True)]
            results = body(seeds)
            widened = [_widen(old, new) for old, new in zip(state, results, strict=True)]
            if all(new is old for old, new in zip(state, widened, strict=True)):
                break
            state = widened
    if not any(isinstance(v, Rows) for v in state):
        return state
    closed = split_flat(_closed(carry, results, base, size), [v.shape for v in carry])
    return [after if isinstance(v, Rows) else v for v, after in zip(state, closed, strict=True)]


def _widen(old: Value, new: Value) -> Value:
    """The old value if it still holds; what holds of both, forgetting facts at the second try."""
    if isinstance(old, Rows):
        return old
    if isinstance(new, Rows):
        return new
    joined = join([old, new])
    if joined is old or not isinstance(joined, Coefficient):
        return old
    if isinstance(old, Known):
        return joined
    same = _same(old.zero, joined.zero) and _same_pair(old.bounds, joined.bounds)
    return old if same else Coefficient(old.shape)


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return (a is None) == (b is None) and (a is None or bool(np.array_equal(a, b)))  # type: ignore[arg-type]


def _same_pair(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return _same(a[0], b[0]) and _same(a[1], b[1])


def _closed(carry: list[Value], results: list[Value], base: int, size: int) -> Rows:
    rows, columns = split_keys(entries(join_flat(results)))
    inner = columns >= base
    links = closure(size, rows[inner], columns[inner] - base)
    keys = make_keys(rows[~inner], columns[~inner])
    counts = np.bincount(rows[~inner], minlength=size)
    _, outer = split_keys(keys)
    added = of_base(Base(np.concatenate([[0], np.cumsum(counts)]), outer.astype(np.int32)), (size,))
    return spread(union([join_flat(carry), added]), links)


# --- cost -----------------------------------------------------------------------------------------


def cost(jaxpr: Any) -> int:
    """Equations interpreted in one run, loops counted by their length."""
    inner, _ = open_jaxpr(jaxpr)
    total = 0
    for eqn in inner.eqns:
        nested = [v for p in eqn.params.values() for v in (p if isinstance(p, tuple) else (p,))]
        bodies = sum(cost(v) for v in nested if hasattr(v, "eqns"))
        total += 1 + bodies * eqn.params.get("length", 1 if eqn.primitive.name != "while" else 8)
    return total


control_rules["scan"] = _scan
control_rules["while"] = _while
