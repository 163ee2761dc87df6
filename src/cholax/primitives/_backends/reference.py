"""The dense specification in `jax.numpy`: the oracle of the tests, on every platform."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from cholax._core.errors import UnsupportedError
from cholax._core.jax_compat import mlir
from cholax.primitives._adjoint import keep_zeros
from cholax.primitives._backends._backend import Backend
from cholax.primitives._declaration import Declaration


def lower_function(
    function: Callable[..., Any],
    d: Declaration,
    ctx: Any,
    *args: Any,
    static: Any,
    adjoint: bool,
    **params: Any,
) -> Any:
    """Lower a `jax.numpy` function `(structure, *operands, **params)` of one batch member."""

    def run(*arrays: Any) -> Any:
        ref, operands = d.split(static, arrays)
        if ref.operands and d.kernel:  # without a kernel, nothing depends on the structure
            raise UnsupportedError(
                f"{d.name}: the backend in use needs concrete index arrays, got traced ones. Leave "
                'cx.use_backend, or use "native" or "host".'
            )
        batched = [x.ndim > op.rank for op, x in zip(d.operands, operands, strict=True)]
        call = partial(function, static, **params)
        depth = max(x.ndim - op.rank for op, x in zip(d.operands, operands, strict=True))
        for _ in range(depth):
            call = jax.vmap(call, in_axes=tuple(0 if b else None for b in batched))
        if adjoint:
            core, rank = [op.rank for op in d.operands], len(ctx.avals_out[0].shape) - depth
            return [keep_zeros(jnp, call, operands, core, d.deciding, rank)]
        results = call(*operands)
        return list(results) if isinstance(results, (list, tuple)) else [results]

    return mlir.lower_fun(run, multiple_results=True)(ctx, *args)


def _lower(d: Declaration, ctx: Any, *args: Any, **params: Any) -> Any:
    return lower_function(d.specification, d, ctx, *args, **params)


REFERENCE = Backend("reference", None, serves=lambda d: True, lower=_lower)
