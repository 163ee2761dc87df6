"""cholax's own primitives: each is linear in the operands that can carry a tangent.

Entry maps, products and permutations are exact. Solves spread over what the matrix connects. The
derivatives of the factorisation itself (C, Ct, S, T) couple the entries of one connected component,
as second derivatives of log|A| do. Which of these a primitive is, it declares itself
(`cholax.primitives._dependence`); here is what that means for the rows of a pattern.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, assert_never

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from cholax._core.linear_map import is_marker
from cholax.analysis import Plan
from cholax.primitives import Definition, Kind, registry
from cholax.primitives._dependence import (
    Components,
    Dependence,
    Entries,
    Links,
    Scaled,
    Solve,
    Total,
)
from cholax.primitives._specification import places
from cholax.sparsediff.detect.interpreter import (
    Interpreter,
    implementation,
    tangent_rules,
    unknown_results,
)
from cholax.sparsediff.detect.reach import closure, spread
from cholax.sparsediff.detect.rows import Rows, apply_pairs, union
from cholax.sparsediff.detect.structural import combine
from cholax.sparsediff.detect.values import Value

# Operands that are linear, or whose value means nothing.
LINEAR = {Kind.LINEAR, Kind.ORDER}


def moved(
    dependence: Dependence, static: Any, params: Any, rows: Rows, op: Any, core: tuple[int, ...]
) -> Rows:
    """Rows of the result, core shape `core`, of those of one operand without batch."""
    match dependence:
        case Entries(pairs):
            return _by_pairs(rows, *pairs(static, op.name, params), op.rank, core)
        case Solve(links):
            return _by_reach(rows, links(static, params))
        case Components():
            return _by_component(rows, static, core)
        case Total():
            every = np.arange(rows.size)
            return apply_pairs(rows, np.zeros_like(every), every, core)
        case Scaled(by):
            every = np.arange(int(np.prod(core)))
            return apply_pairs(rows, every, np.zeros_like(every), core) if op.name == by else rows
    assert_never(dependence)


def _by_pairs(
    rows: Rows, out: np.ndarray, into: np.ndarray, rank: int, core: tuple[int, ...]
) -> Rows:
    """Where the operand or the result has columns, a pair stands for all of them."""
    source = np.arange(rows.size).reshape(rows.shape)
    target = np.arange(int(np.prod(core))).reshape(core)
    columns = core[1] if len(core) == 2 else rows.shape[1] if rank == 2 else 1
    of = source[into].reshape(out.size, -1)
    to = target[out].reshape(out.size, -1)
    shape = (out.size, columns)
    return apply_pairs(rows, np.broadcast_to(to, shape), np.broadcast_to(of, shape), core)


def _by_reach(rows: Rows, links: Links) -> Rows:
    """Solves: a row of the solution depends on what it reaches."""
    given, found = links.given, links.found
    along = rows if given is None else rows.map(lambda index: index[given])
    out = spread(along, closure(links.n, links.rows, links.columns))
    return out if found is None else out.map(lambda index: index[np.argsort(found)])


def _by_component(rows: Rows, plan: Plan, core: tuple[int, ...]) -> Rows:
    """Maps of factor vectors: an entry depends on all entries of its connected component."""
    below, columns, position = places(plan)
    graph = sp.csr_array((np.ones(below.size, np.int8), (below, columns)), (plan.n,) * 2)
    count, group = connected_components(graph, directed=False)
    members = group[columns]
    line = np.arange(count)
    grouped = apply_pairs(rows, members, position, (count,))
    return apply_pairs(grouped, position, line[members], core)


def _rule(definition: Definition) -> Any:
    dependence, ops = definition.dependence, definition.operands

    def rule(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
        static = eqn.params["static"]
        params = {name: eqn.params[name] for name in definition.params}
        leading = len(values) - len(ops)
        kinds = {
            op.kind for op, v in zip(ops, values[leading:], strict=True) if isinstance(v, Rows)
        }
        if kinds <= {Kind.ORDER} and not leading:
            return unknown_results(eqn)
        if dependence is None or leading or len(eqn.outvars) != 1 or kinds - LINEAR:
            # Index arrays that are traced, or a tangent where AD puts none.
            return interpreter.unknown(eqn, eqn.primitive.name, values)
        shape = tuple(eqn.outvars[0].aval.shape)
        ((core, _),) = definition.results(
            static, *map(_core, definition.operands, values), **params
        )
        parts = [Rows(shape)]
        for op, value in zip(definition.operands, values, strict=True):
            if isinstance(value, Rows):
                move = partial(moved, dependence, static, params)
                parts.append(_batched(move, value, op, tuple(core), shape))
        return [union(parts)]

    return rule


def _core(op: Any, value: Value) -> tuple[int, ...]:
    return tuple(value.shape[len(value.shape) - op.rank :])


def _batched(
    move: Callable[[Rows, Any, Any], Rows],
    rows: Rows,
    op: Any,
    core: tuple[int, ...],
    shape: tuple[int, ...],
) -> Rows:
    """Apply a map of core arrays to each member of a batch; one that is shared serves all."""
    depth = len(rows.shape) - op.rank
    if depth == 0:
        return move(rows, op, core).broadcast(shape)
    flat = rows.map(lambda index: index.reshape(-1, *rows.shape[depth:]))
    members = [move(flat.map(lambda index, k=k: index[k]), op, core) for k in range(flat.shape[0])]
    stacked = combine(lambda arrays: np.stack(arrays), members, (len(members), *core))
    return stacked.map(lambda index: index.reshape(shape))


def _linear_map(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
    """What the function does that the map is given by; a marker of failures carries nothing."""
    if is_marker(eqn.params["apply"]):
        return [Rows(tuple(v.aval.shape)) for v in eqn.outvars]
    jaxpr = implementation(eqn)
    if jaxpr is None:
        return interpreter.unknown(eqn, eqn.primitive.name, values)
    return interpreter.run_closed(jaxpr, values)


tangent_rules["cholax_linear_map"] = _linear_map
for _name, _definition in registry.items():
    tangent_rules[f"cholax_{_name}"] = _rule(_definition)
