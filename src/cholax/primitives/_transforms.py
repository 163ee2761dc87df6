"""The jvp, transpose and batching rules of every primitive, made from its declaration.

Adjoints: in a batch member whose factorisation failed the factor is NaN, and 0 × NaN is NaN. What
is bound while a primitive is transposed (and in derivatives of that) is therefore *adjoint*: zero
wherever a linear operand is zero, whatever the others hold. A member that `jnp.where` discards then
leaves the gradients of what the members share alone; cotangents other than zero still give NaN.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from cholax._core.errors import UnsupportedError
from cholax._core.jax_compat import ad
from cholax.primitives._adjoint import adjoint_calls
from cholax.primitives._declaration import Declaration, Kind, Operand, batch_shape
from cholax.primitives._structures import Ref

_UNDIFFERENTIATED = (Kind.CACHE, Kind.ORDER)


def jvp(d: Declaration, primals: Any, tangents: Any, *, adjoint: bool, **params: Any) -> Any:
    """Results and their tangents."""
    with adjoint_calls(adjoint):
        return _tangents(d, primals, tangents, adjoint=adjoint, **params)


def _tangents(
    d: Declaration,
    primals: Any,
    tangents: Any,
    *,
    static: Any,
    backend: str,
    adjoint: bool,
    **params: Any,
) -> Any:
    ref, operands = d.split(static, primals)
    common = {"static": static, "backend": backend, "adjoint": adjoint}
    bind = partial(d.primitive.bind, *ref.operands, **common, **params)
    results = bind(*operands)
    tangents = _shift(d, ref, tangents[len(ref.operands) :], operands, results, params)
    totals: list[Any] = [None] * len(results)
    for i, (op, tangent) in enumerate(zip(d.operands, tangents, strict=True)):
        if type(tangent) is ad.Zero or op.kind in _UNDIFFERENTIATED or op.name in d.shifts:
            continue
        if op.kind is Kind.LINEAR:
            parts = bind(*operands[:i], tangent, *operands[i + 1 :])
        else:
            parts = d.tangents[op.name](ref, tangent, operands, results, **params)
            parts = list(parts) if isinstance(parts, (list, tuple)) else [parts]
        for k, part in enumerate(parts):
            if part is not None:
                part = jnp.broadcast_to(part, results[k].shape)
                totals[k] = part if totals[k] is None else totals[k] + part
    zeros = [
        ad.Zero(jax.typeof(r).to_tangent_aval()) if total is None else total
        for r, total in zip(results, totals, strict=True)
    ]
    return results, zeros


def _shift(
    d: Declaration, ref: Ref, tangents: Sequence[Any], operands: Any, results: Any, params: Any
) -> list[Any]:
    """The tangents, with those declared as shifts added to the linear operands they shift."""
    out = list(tangents)
    for name, (target, rule) in d.shifts.items():
        tangent, k = tangents[d.place(name)], d.place(target)
        if type(tangent) is not ad.Zero:
            shift = rule(ref, tangent, operands, results, **params)
            out[k] = shift if type(out[k]) is ad.Zero else out[k] + shift
    return out


def transpose(
    d: Declaration,
    cotangents: Any,
    *args: Any,
    static: Any,
    backend: str,
    adjoint: bool,
    **params: Any,
) -> Any:
    """Cotangents of the linear operands."""
    del adjoint
    ref, operands = d.split(static, args)
    out: list[Any] = [None] * len(args)
    (cotangent,) = cotangents
    for i, op in enumerate(d.operands):
        operand = operands[i]
        if not ad.is_undefined_primal(operand):
            continue
        position = len(ref.operands) + i
        if type(cotangent) is ad.Zero:
            out[position] = ad.Zero(operand.aval)
            continue
        others = [x for k, x in enumerate(operands) if k != i]
        other_operands = [o for k, o in enumerate(d.operands) if k != i]
        if operand.aval.ndim == op.rank:
            cotangent, others = _fold_batch(other_operands, cotangent, others)
        with adjoint_calls(True):
            result = d.transposes[op.name](ref, cotangent, *others, **params)
        surplus = result.ndim - operand.aval.ndim  # the operand was shared over the batch
        out[position] = result.sum(axis=tuple(range(surplus))) if surplus else result
    return out


def _fold_batch(ops: Sequence[Operand], cotangent: Any, others: list[Any]) -> Any:
    """Turn a batch that will be summed into extra columns, where every array has columns.

    Σ_b of an outer product over a batch is one outer product with more columns: this avoids one
    factor-sized result per batch member.
    """
    depths = {x.ndim - op.rank for op, x in zip(ops, others, strict=True)}
    foldable = len(depths) == 1 and depths != {0} and all(op.rank == 2 for op in ops)
    if not foldable or cotangent.ndim - depths.pop() != 2:
        return cotangent, others

    def columns(x: Any) -> Any:
        x = x.reshape(-1, *x.shape[-2:])
        return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)

    return columns(cotangent), [columns(x) for x in others]


# --- batching -------------------------------------------------------------------------------------


def batch(d: Declaration, args: Any, dims: Any, *, static: Any, **params: Any) -> Any:
    """The results under one more level of `vmap`, whose dimension comes first."""
    ref, operands = d.split(static, args)
    count = len(ref.operands)
    if any(dim is not None for dim in dims[:count]):
        raise UnsupportedError(
            f"{d.name}: vmap over index arrays is not supported (every batch member must have one "
            "pattern). Pass in_axes=None for them and map over the values only."
        )
    dims = dims[count:]
    size = next(x.shape[i] for x, i in zip(operands, dims, strict=True) if i is not None)
    old: tuple[int, ...] = ()
    for op, x, dim in zip(d.operands, operands, dims, strict=True):
        shape = x.shape if dim is None else x.shape[:dim] + x.shape[dim + 1 :]
        old = old or batch_shape(op, shape)
    moved = [
        _add_batch_dimension(op, x, dim, size, old)
        for op, x, dim in zip(d.operands, operands, dims, strict=True)
    ]
    results = d.primitive.bind(*ref.operands, *moved, static=static, **params)
    return results, [0] * len(results)


def _add_batch_dimension(op: Operand, x: Any, dim: int | None, size: int, old: Any) -> Any:
    """Bring `x` to batch shape (size, *old), or leave it shared where no batch touches it."""
    if dim is None:
        if x.ndim == op.rank:
            return x
        return jnp.broadcast_to(x, (size, *x.shape))
    x = jnp.moveaxis(x, dim, 0)
    if x.ndim == op.rank + 1 and old:
        x = x.reshape(size, *([1] * len(old)), *x.shape[1:])
        x = jnp.broadcast_to(x, (size, *old, *x.shape[1 + len(old) :]))
    return x
