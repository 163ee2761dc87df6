"""cholax's own primitives: each is linear in the operands that can carry a tangent.

Entry maps, products and permutations are exact. Solves spread over what the matrix connects. The
derivatives of the factorisation itself (C, Ct, S, T) couple the entries of one connected component,
as second derivatives of log|A| do. What has no entry in `DEPENDENCE` would be taken to be dense,
with a warning; a test of the registry sees to it that every primitive has one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from cholax._core.linear_map import is_marker
from cholax.analysis import LUPlan
from cholax.patterns import algebra
from cholax.primitives import EntryMap, Triples, registry
from cholax.primitives._define import Kind
from cholax.primitives._specification import coordinates
from cholax.primitives._structures import Csc, Plan
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

# Positions of results and of the operand that they depend on, and what groups entries instead.
Pairs = tuple[np.ndarray, np.ndarray]


def _gather(static: EntryMap, _name: str, _params: Any) -> Pairs:
    kept = static.positions >= 0
    if static.weights is not None:
        kept &= static.weights != 0
    return np.flatnonzero(kept), static.positions[kept]


def _scatter(static: EntryMap, name: str, params: Any) -> Pairs:
    out, into = _gather(static, name, params)
    return into, out


def _contract(static: Triples, name: str, params: Any) -> Pairs:
    left, right, out = (static.index[r] for r in params["roles"])
    return out, left if name == "a" else right


def _entries(static: Csc) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and value positions of all entries, mirrored ones included."""
    full, source = algebra.expand(static.pattern)
    return full.rows, full.columns, source


def _matvec(static: Csc, name: str, params: Any) -> Pairs:
    rows, columns, position = _entries(static)
    if params["transpose"]:
        rows, columns = columns, rows
    return rows, position if name == "values" else columns


def _outer_on_pattern(static: Csc, name: str, _params: Any) -> Pairs:
    rows, columns, position = _entries(static)
    return position, rows if name == "x" else columns


def _permute(static: Plan, _name: str, params: Any) -> Pairs:
    return np.arange(static.n), static.iperm if params["transpose"] else static.perm


def _places(static: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and positions of what a factor vector holds on and below the diagonal."""
    rows, columns = coordinates(static)
    position = np.flatnonzero(rows >= columns)
    return rows[position], columns[position], position


def _factor_matvec(static: Plan, name: str, params: Any) -> Pairs:
    rows, columns, position = _places(static)
    if params["transpose"]:
        rows, columns = columns, rows
    return rows, position if name == "factor" else columns


def _factor_outer(static: Plan, name: str, _params: Any) -> Pairs:
    rows, columns, position = _places(static)
    return position, rows if name == "u" else columns


PAIRS: dict[str, Callable[[Any, str, Any], Pairs]] = {
    "gather": _gather,
    "scatter": _scatter,
    "contract": _contract,
    "matvec": _matvec,
    "outer_on_pattern": _outer_on_pattern,
    "permute": _permute,
    "factor_matvec": _factor_matvec,
    "factor_outer": _factor_outer,
}


def _by_pairs(definition: Any, static: Any, params: Any) -> Callable[[Rows, Any, Any], Rows]:
    """The map of one operand: `(rows, operand, core shape of the result) -> rows`.

    Where the operand or the result has columns, a pair stands for all of them.
    """

    def run(rows: Rows, op: Any, core: tuple[int, ...]) -> Rows:
        out, into = PAIRS[definition.name](static, op.name, params)
        source = np.arange(rows.size).reshape(rows.shape)
        target = np.arange(int(np.prod(core))).reshape(core)
        columns = core[1] if len(core) == 2 else rows.shape[1] if op.rank == 2 else 1
        of = source[into].reshape(out.size, -1)
        to = target[out].reshape(out.size, -1)
        shape = (out.size, columns)
        return apply_pairs(rows, np.broadcast_to(to, shape), np.broadcast_to(of, shape), core)

    return run


def _by_closure(definition: Any, static: Any, params: Any) -> Callable[[Rows, Any, Any], Rows]:
    """Solves: a row of the solution depends on what it reaches."""

    def run(rows: Rows, _op: Any, _core: tuple[int, ...]) -> Rows:
        if definition.name == "lu_solve":
            return _through_matched(static, rows, params["transpose"])
        if definition.name == "solve":
            full, _ = algebra.expand(static.pattern)
            return spread(rows, closure(static.n, full.rows, full.columns))
        below, columns, _ = _places(static)
        if params["transpose"]:
            below, columns = columns, below
        return spread(rows, closure(static.n, below, columns))

    return run


def _through_matched(plan: LUPlan, rows: Rows, transpose: bool) -> Rows:
    """Solves with B = A[rows, columns], each of whose diagonal entries is stored where possible.

    The closure of B is then no more than the pattern that B⁻¹ has for some values, which that of A
    with its rows in another order need not be.
    """
    columns = np.repeat(np.arange(plan.n), np.diff(plan.indptr))
    edges, given, found = (plan.indices, columns), plan.rows, plan.columns
    if transpose:
        edges, given, found = edges[::-1], found, given
    along = rows.map(lambda index: index[given])
    return spread(along, closure(plan.n, *edges)).map(lambda index: index[np.argsort(found)])


def _by_component(_definition: Any, static: Any, _params: Any) -> Callable[[Rows, Any, Any], Rows]:
    """Maps of factor vectors: an entry depends on all entries of its connected component."""

    def run(rows: Rows, _op: Any, core: tuple[int, ...]) -> Rows:
        below, columns, position = _places(static)
        graph = sp.csr_array((np.ones(below.size, np.int8), (below, columns)), (static.n,) * 2)
        count, group = connected_components(graph, directed=False)
        members = group[columns]
        line = np.arange(count)
        grouped = apply_pairs(rows, members, position, (count,))
        return apply_pairs(grouped, position, line[members], core)

    return run


def _inner_product(_definition: Any, _static: Any, _params: Any) -> Callable[..., Rows]:
    """One number from all entries."""

    def run(rows: Rows, _op: Any, core: tuple[int, ...]) -> Rows:
        every = np.arange(rows.size)
        return apply_pairs(rows, np.zeros_like(every), every, core)

    return run


def _scale(_definition: Any, _static: Any, _params: Any) -> Callable[..., Rows]:
    """Every entry from the number and from its own."""

    def run(rows: Rows, op: Any, core: tuple[int, ...]) -> Rows:
        every = np.arange(int(np.prod(core)))
        return apply_pairs(rows, every, np.zeros_like(every), core) if op.name == "s" else rows

    return run


Family = Callable[[Any, Any, Any], Callable[[Rows, Any, Any], Rows]]

# How the result of each primitive depends on the operands it is linear in. None where there are no
# such operands: its derivative is made of other primitives, and no tangent reaches it.
DEPENDENCE: dict[str, Family | None] = {
    **dict.fromkeys(PAIRS, _by_pairs),
    **dict.fromkeys(("solve", "triangular_solve", "lu_solve"), _by_closure),
    "inner_product": _inner_product,
    "scale": _scale,
    "cholesky_tangent": _by_component,
    "cholesky_cotangent": _by_component,
    "symmetric_product": _by_component,
    "symmetric_product_transpose": _by_component,
    **dict.fromkeys(("cholesky", "log_determinant", "selected_inverse", "lu_log_determinant")),
}


def _rule(definition: Any) -> Any:
    family = DEPENDENCE.get(definition.name)
    ops = definition.operands

    def rule(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
        static = eqn.params["static"]
        params = {name: eqn.params[name] for name in definition.params}
        leading = len(values) - len(ops)
        moved = {
            op.kind for op, v in zip(ops, values[leading:], strict=True) if isinstance(v, Rows)
        }
        if moved <= {Kind.ORDER} and not leading:
            return unknown_results(eqn)
        if family is None or leading or len(eqn.outvars) != 1 or moved - LINEAR:
            # Index arrays that are traced, or a tangent where AD puts none.
            return interpreter.unknown(eqn, eqn.primitive.name, values)
        shape = tuple(eqn.outvars[0].aval.shape)
        ((core, _),) = definition.results(
            static, *map(_core, definition.operands, values), **params
        )
        parts = [Rows(shape)]
        for op, value in zip(definition.operands, values, strict=True):
            if isinstance(value, Rows):
                move = family(definition, static, params)
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
