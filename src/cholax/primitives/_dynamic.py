"""Symbolic analysis at run time, for index arrays that are traced."""

from typing import Any

import jax
import jax.numpy as jnp

from cholax import _native
from cholax.primitives._structures import Ref


def symbolic(ref: Ref) -> tuple[Any, Any, Any]:
    """(L_indptr, L_indices, positions of A's entries in L's values) of a dynamic plan."""
    static = ref.static
    _native.register()
    results = (
        jax.ShapeDtypeStruct((static.n + 1,), jnp.int32),
        jax.ShapeDtypeStruct((static.size,), jnp.int32),
        jax.ShapeDtypeStruct((static.nnz,), jnp.int32),
    )
    call = jax.ffi.ffi_call("cholax_symbolic", results)
    l_indptr, l_indices, positions = call(
        *ref.operands, size=static.size, is_factor=static.is_factor
    )
    return l_indptr, l_indices, positions


def locate(l_indptr: Any, l_indices: Any, out_indptr: Any, out_indices: Any) -> Any:
    """Position of each entry of the out pattern among those of L; an error where one is absent."""
    _native.register()
    result = jax.ShapeDtypeStruct(out_indices.shape, jnp.int32)
    return jax.ffi.ffi_call("cholax_locate", result)(l_indptr, l_indices, out_indptr, out_indices)
