"""Symbolic analysis at run time, for index arrays that are traced.

Two primitives of index arrays alone: no derivative, no batch. They run where the kernels do.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from cholax import _native
from cholax._core.errors import UnsupportedError
from cholax._core.jax_compat import Primitive, batching, mlir
from cholax.primitives._backends import chosen
from cholax.primitives._backends.host import emit_callback
from cholax.primitives._define import compile_only
from cholax.primitives._structures import Ref, flat_attribute


def symbolic(ref: Ref) -> tuple[Any, Any, Any]:
    """(L_indptr, L_indices, positions of A's entries in L's values) of a dynamic plan."""
    static = ref.static
    lengths = (static.n + 1, static.size, static.nnz)
    params = {"size": static.size, "is_factor": static.is_factor}
    l_indptr, l_indices, positions = _bind(_symbolic, ref.operands, lengths, params)
    return l_indptr, l_indices, positions


def locate(l_indptr: Any, l_indices: Any, out_indptr: Any, out_indices: Any) -> Any:
    """Position of each entry of the out pattern among those of L; an error where one is absent."""
    arrays = l_indptr, l_indices, out_indptr, out_indices
    (positions,) = _bind(_locate, arrays, out_indices.shape, {})
    return positions


def _bind(primitive: Primitive, arrays: Sequence[Any], lengths: Any, params: Any) -> Any:
    backend = "host" if chosen.value == "host" else "auto"
    return primitive.bind(*arrays, lengths=tuple(lengths), backend=backend, **params)


def _index_primitive(
    name: str, host: Callable[..., Sequence[np.ndarray]], params: tuple[str, ...]
) -> Primitive:
    primitive = Primitive(f"cholax_{name}")
    primitive.multiple_results = True
    compile_only(primitive, ("lengths", "backend", *params))
    primitive.def_abstract_eval(_abstract_eval)
    batching.primitive_batchers[primitive] = partial(_batch, name)
    for platform in (None, "cpu"):
        rule = partial(_lower, name, host, platform)
        mlir.register_lowering(primitive, rule, platform=platform)
    return primitive


def _abstract_eval(*avals: Any, lengths: tuple[int, ...], **params: Any) -> Any:
    del params
    return [avals[0].update(shape=(length,), dtype=np.dtype(np.int32)) for length in lengths]


def _batch(name: str, *args: Any, **params: Any) -> Any:
    del args, params
    raise UnsupportedError(
        f"{name}: vmap over index arrays is not supported (every batch member must have one "
        "pattern). Pass in_axes=None for them and map over the values only."
    )


def _lower(
    name: str,
    host: Callable[..., Sequence[np.ndarray]],
    platform: str | None,
    ctx: Any,
    *args: Any,
    lengths: tuple[int, ...],
    backend: str,
    **params: Any,
) -> Any:
    del lengths
    if platform == "cpu" and backend != "host":
        _native.register()
        config = {key: flat_attribute(value) for key, value in params.items()}
        rule = jax.ffi.ffi_lowering(_native.target_name(name), backend_config=config)
        return rule(ctx, *args)
    if ctx.module_context.lowering_parameters.for_export:
        raise UnsupportedError(
            f"{name}: programs with traced index arrays can be exported for the CPU only."
        )
    return emit_callback(ctx, partial(host, **params), args, list(range(len(args))))


def _symbolic_on_host(
    indptr: np.ndarray, indices: np.ndarray, *, size: int, is_factor: bool
) -> Sequence[np.ndarray]:
    lib = _native.lib()
    return lib.traced_symbolic(lib.traced_plan(indptr, indices, size, is_factor))


def _locate_on_host(*arrays: np.ndarray) -> Sequence[np.ndarray]:
    return (_native.lib().traced_locate(*arrays),)


_symbolic = _index_primitive("symbolic", _symbolic_on_host, ("size", "is_factor"))
_locate = _index_primitive("locate", _locate_on_host, ())
