"""cholax's own primitives: each is linear in the operands that can carry a tangent.

Entry maps, products and permutations are exact. Solves spread over what the matrix connects. The
derivatives of the factorisation itself (C, Ct, S, T) couple the entries of one connected component,
as second derivatives of log|A| do.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from cholax.patterns import algebra
from cholax.primitives import EntryMap, Triples, registry
from cholax.primitives._specification import coordinates
from cholax.primitives._structures import Csc, Plan
from cholax.sparsediff.detect.interpreter import Interpreter, everything, tangent_rules
from cholax.sparsediff.detect.reach import closure, spread
from cholax.sparsediff.detect.rows import Rows, apply_pairs, union
from cholax.sparsediff.detect.structural import combine
from cholax.sparsediff.detect.values import Value

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
        if definition.name == "solve":
            full, _ = algebra.expand(static.pattern)
            return spread(rows, closure(static.n, full.rows, full.columns))
        below, columns, _ = _places(static)
        if params["transpose"]:
            below, columns = columns, below
        return spread(rows, closure(static.n, below, columns))

    return run


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


_FAMILIES = dict.fromkeys(PAIRS, _by_pairs)
_FAMILIES |= dict.fromkeys(("solve", "triangular_solve"), _by_closure)
_FAMILIES |= dict.fromkeys(
    (
        "cholesky_tangent",
        "cholesky_cotangent",
        "symmetric_product",
        "symmetric_product_transpose",
    ),
    _by_component,
)


def _rule(definition: Any) -> Any:
    family = _FAMILIES.get(definition.name)
    names = [op.name for op in definition.operands]

    def rule(_interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
        static = eqn.params["static"]
        params = {name: eqn.params[name] for name in definition.params}
        leading = len(values) - len(names)
        if family is None or leading or len(eqn.outvars) != 1:
            # Index arrays that are traced, or a tangent where AD puts none: dense.
            return everything(eqn, values)
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


for _name, _definition in registry.items():
    tangent_rules[f"cholax_{_name}"] = _rule(_definition)
