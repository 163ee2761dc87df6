"""Operands to the host, the operation there, results back: any platform, at the price of copies.

The compiled program calls Python back. What runs is the C++ kernel, on the whole batch at once and
with threads of its own, or the `host` function of a primitive that has no kernel, once for every
batch member. Neither may call JAX, which could wait for the thread that runs them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from cholax import _native
from cholax._core.errors import CholaxError, UnsupportedError
from cholax._core.failures import from_program
from cholax._core.jax_compat import mlir
from cholax.primitives._adjoint import keep_zeros
from cholax.primitives._backends._backend import Backend
from cholax.primitives._declaration import Declaration, batch_shape
from cholax.primitives._structures import native_structure


def _lower(d: Declaration, ctx: Any, *args: Any, static: Any, adjoint: bool, **params: Any) -> Any:
    if ctx.module_context.lowering_parameters.for_export:
        raise UnsupportedError(f"{d.name}: {_no_export(d)}")
    count = len(args) - len(d.operands)
    shapes = [(x.shape, x.dtype) for x in ctx.avals_out]
    if d.host is None:
        kept = [*range(count), *(count + k for k in d.given_to_kernel)]
        call = partial(_run_kernel, d, static, count, params, adjoint, shapes)
    else:
        kept = list(range(len(args)))
        call = partial(_run_function, d, static, params, adjoint, shapes)
    return emit_callback(ctx, call, args, kept)


def emit_callback(ctx: Any, call: Callable[..., Any], args: Sequence[Any], kept: list[int]) -> Any:
    """Call back with NumPy arrays of the arguments kept.

    Not `jax.pure_callback`: it hands over JAX arrays, and reading a large one inside the callback
    deadlocks when the program holds the threads that would copy it.
    """
    avals = [ctx.avals_in[i] for i in kept]
    results, _, _ = mlir.emit_python_callback(
        ctx.replace(avals_in=avals),
        call,
        None,
        [args[i] for i in kept],
        avals,
        ctx.avals_out,
        has_side_effect=False,
    )
    return results


def _no_export(d: Declaration) -> str:
    why = "runs on the host of the process that compiles it, and cannot be exported."
    if d.host is not None:
        return f"{why} For a symmetric positive definite matrix use cx.cholesky, which can."
    return f'{why} Programs for the CPU can: export for that, without cx.use_backend("host").'


# --- kernels --------------------------------------------------------------------------------------


def _run_kernel(
    d: Declaration, static: Any, count: int, params: Any, adjoint: bool, shapes: Any, *args: Any
) -> Any:
    """The results of the C++ kernel for the whole batch."""
    indices, operands = args[:count], [np.asarray(x, order="C") for x in args[count:]]
    results = [np.empty(shape, dtype) for shape, dtype in shapes]
    flags = {name: value for name, value in params.items() if isinstance(value, bool)}
    lists = {name: list(value) for name, value in params.items() if name not in flags}
    structure = native_structure(static, indices)
    linear = d.linear_bits if adjoint else 0
    try:
        _native.lib().call(d.name, structure, operands, results, flags, lists, linear)
    except RuntimeError as error:
        raise from_program(str(error)) or error from None
    return results


# --- Python functions -----------------------------------------------------------------------------


def _run_function(
    d: Declaration, static: Any, params: Any, adjoint: bool, shapes: Any, *args: Any
) -> Any:
    """The results of the host function, called once for every batch member."""
    host = partial(_call_adjoint if adjoint else _call, d, static, params)
    operands = [(op, np.asarray(x)) for op, x in zip(d.operands, args, strict=True)]
    batches = [batch_shape(op, x.shape) for op, x in operands if x.ndim > op.rank]
    if not batches:
        return host(*(x for _, x in operands))
    results = [np.empty(shape, dtype) for shape, dtype in shapes]
    for member in np.ndindex(batches[0]):
        mine = (x[member] if x.ndim > op.rank else x for op, x in operands)
        try:
            found = host(*mine)
        except CholaxError as error:
            place = member[0] if len(member) == 1 else member
            raise type(error)(f"{error} It is batch member {place}.") from None
        for out, result in zip(results, found, strict=True):
            out[member] = result
    return results


def _call(d: Declaration, static: Any, params: Any, *operands: Any) -> Any:
    """The results for one batch member."""
    assert d.host is not None
    _native.count_host_call(d.name)
    return d.host(static, *operands, **params)


def _call_adjoint(d: Declaration, static: Any, params: Any, *operands: Any) -> Any:
    def only_result(*operands: Any) -> Any:
        return _call(d, static, params, *operands)[0]

    core = [op.rank for op in d.operands]
    ((shape, _),) = d.results(static, *(x.shape for x in operands), **params)
    return [keep_zeros(np, only_result, operands, core, d.deciding, len(shape))]


HOST = Backend("host", None, serves=lambda d: d.kernel or d.host is not None, lower=_lower)
