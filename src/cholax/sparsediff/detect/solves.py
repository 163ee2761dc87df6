"""Linear solves: the solution depends on the right-hand side through the closure of the matrix."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from cholax.sparsediff.detect.interpreter import Interpreter, tangent_rules
from cholax.sparsediff.detect.reach import closure, spread
from cholax.sparsediff.detect.rows import Rows, entries, split_keys
from cholax.sparsediff.detect.structural import combine
from cholax.sparsediff.detect.values import Value, zero_mask


def _custom_linear_solve(
    interpreter: Interpreter, eqn: Any, values: Sequence[Value]
) -> Sequence[Value]:
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    constants, b = values[: lengths.matvec], values[sum(lengths) :]
    if any(isinstance(v, Rows) for v in values[: sum(lengths)]):
        return interpreter.unknown(eqn, "custom_linear_solve", values)
    links = matrix_closure(interpreter, jaxprs.matvec, constants, [v.shape for v in b])
    total = join_flat(b)
    return split_flat(spread(total, links), [v.shape for v in b])


def _linear_solve(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
    """The solve of an implicit function, with the product it is given by."""
    *residuals, b = values
    if any(isinstance(v, Rows) for v in residuals) or not isinstance(b, Rows):
        return interpreter.unknown(eqn, "cholax_linear_solve", values)
    product = eqn.params["solver"].product
    avals = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
    jaxpr = jax.make_jaxpr(lambda *operands: product(operands[:-1], operands[-1]))(*avals)
    links = matrix_closure(interpreter, jaxpr, residuals, [b.shape])
    return split_flat(spread(join_flat([b]), links), [b.shape])


def matrix_closure(
    interpreter: Interpreter, matvec: Any, constants: Sequence[Value], shapes: Sequence[Any]
) -> Any:
    """The closure of a matrix given by the jaxpr of its product with a vector."""
    base = interpreter.columns
    with interpreter.seeds(shapes) as seeds:
        size = interpreter.columns - base
        products = interpreter.run_closed(matvec, [*constants, *seeds])
    rows, columns = split_keys(entries(join_flat(products)))
    return closure(size, rows, columns - base)


def join_flat(values: Sequence[Value]) -> Rows:
    """All elements of several arrays in one vector."""
    flat = [v.map(lambda index: index.reshape(-1)) if isinstance(v, Rows) else v for v in values]
    size = sum(int(np.prod(v.shape, dtype=np.int64)) for v in values)
    return combine(lambda arrays: np.concatenate([a.reshape(-1) for a in arrays]), flat, (size,))


def split_flat(rows: Rows, shapes: Sequence[tuple[int, ...]]) -> list[Value]:
    """The inverse of `join_flat`."""
    out: list[Value] = []
    start = 0
    for shape in shapes:
        stop = start + int(np.prod(shape, dtype=np.int64))
        out.append(rows.map(lambda index, a=start, b=stop, s=shape: index[a:b].reshape(s)))
        start = stop
    return out


def _triangular_solve(
    interpreter: Interpreter, eqn: Any, values: Sequence[Value]
) -> Sequence[Value]:
    a, b = values
    if isinstance(a, Rows) or not isinstance(b, Rows):
        return interpreter.unknown(eqn, "triangular_solve", values)
    params = eqn.params
    n = a.shape[-1]
    nonzero = _members(a, n)
    nonzero = np.tril(nonzero) if params["lower"] else np.triu(nonzero)
    if params["transpose_a"] == params["left_side"]:  # x A = b is Aᵀ xᵀ = bᵀ
        nonzero = nonzero.transpose(0, 2, 1)
    axis = -2 if params["left_side"] else -1
    if len(nonzero) == 1:
        return [_spread_along(b, axis, closure(n, *np.nonzero(nonzero[0])))]
    member, row, column = np.nonzero(nonzero)
    links = closure(len(nonzero) * n, member * n + row, member * n + column)
    return [_spread_members(b, axis, links, len(nonzero) * n)]


def _members(a: Value, n: int) -> np.ndarray:
    """Entries that may be nonzero, for each matrix of a batch, or once if that is the same."""
    zero = zero_mask(a)
    if zero is None:
        return np.ones((1, n, n), bool)
    nonzero = ~np.broadcast_to(zero, a.shape).reshape(-1, n, n)
    return nonzero[:1] if bool((nonzero == nonzero[:1]).all()) else nonzero


def _spread_members(rows: Rows, axis: int, links: Any, nodes: int) -> Rows:
    """Spread along an axis whose graph differs over the leading (batch) axes."""
    swapped = rows.map(lambda index: np.moveaxis(index, axis, -2))
    flat = swapped.map(lambda index: index.reshape(nodes, -1))
    shape = swapped.shape
    return spread(flat, links).map(lambda i: np.moveaxis(i.reshape(shape), -2, axis))


def _spread_along(rows: Rows, axis: int, links: Any) -> Rows:
    moved = rows.map(lambda index: np.moveaxis(index, axis, 0))
    return spread(moved, links).map(lambda index: np.moveaxis(index, 0, axis))


def _tridiagonal_solve(
    interpreter: Interpreter, eqn: Any, values: Sequence[Value]
) -> Sequence[Value]:
    below, diagonal, above, b = values
    if any(isinstance(v, Rows) for v in (below, diagonal, above)) or not isinstance(b, Rows):
        return interpreter.unknown(eqn, "tridiagonal_solve", values)
    n = diagonal.shape[-1]
    line = np.arange(n)
    rows, columns = [], []
    for value, shift in ((below, -1), (above, 1)):
        zero = zero_mask(value)
        used = np.ones(n, bool) if zero is None else ~zero.reshape(-1, n).all(axis=0)
        kept = line[used & (line + shift >= 0) & (line + shift < n)]
        rows.append(kept)
        columns.append(kept + shift)
    links = closure(n, np.concatenate(rows), np.concatenate(columns))
    return [_spread_along(b, -2 if len(b.shape) > len(diagonal.shape) else -1, links)]


tangent_rules["cholax_linear_solve"] = _linear_solve
tangent_rules["custom_linear_solve"] = _custom_linear_solve
tangent_rules["triangular_solve"] = _triangular_solve
tangent_rules["tridiagonal_solve"] = _tridiagonal_solve
