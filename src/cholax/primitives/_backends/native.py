"""The C++ kernels inside the compiled program, through XLA's FFI."""

from typing import Any

import jax

from cholax import _native
from cholax.primitives._backends._backend import Backend
from cholax.primitives._declaration import Declaration
from cholax.primitives._structures import flat_attribute, structure_attributes


def _lower(d: Declaration, ctx: Any, *args: Any, static: Any, adjoint: bool, **params: Any) -> Any:
    _native.register()
    count = len(args) - len(d.operands)
    kept = [*range(count), *(count + k for k in d.given_to_kernel)]
    portable = ctx.module_context.lowering_parameters.for_export
    config = structure_attributes(static, portable=portable)
    config |= {name: flat_attribute(value) for name, value in params.items()}
    if adjoint:
        config["linear"] = flat_attribute(d.linear_bits)
    target = _native.target_name(d.name, dynamic=count > 0)
    avals = [ctx.avals_in[i] for i in kept]
    aliases = {}
    if d.overwrites is not None and params.get("in_place", True):
        k = kept.index(count + d.place(d.overwrites))
        if avals[k].shape == ctx.avals_out[0].shape:
            aliases = {k: 0}
    rule = jax.ffi.ffi_lowering(target, backend_config=config, operand_output_aliases=aliases)
    return rule(ctx.replace(avals_in=avals), *(args[i] for i in kept))


NATIVE = Backend("native", ("cpu",), serves=lambda d: d.kernel, lower=_lower)
