"""The one door to JAX's extension interfaces (`jax.extend`, `jax.interpreters`).

Everything here exists from JAX 0.10 to 0.12; tests/dev/test_jax_compat.py pins what we rely on.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

__all__ = ["Primitive", "ad", "batching", "ir", "mlir", "unify_varying_axes", "user_context"]

ir = mlir.ir
user_context = jax.make_user_context


def unify_varying_axes(arrays: Sequence[Any]) -> list[Any]:
    """Make all arrays vary over the union of their mesh axes, as `shard_map` requires."""
    varying = [jax.typeof(x).manual_axis_type.varying for x in arrays]
    union = frozenset().union(*varying)
    if all(axes == union for axes in varying):
        return list(arrays)
    return [
        x if axes == union else jax.lax.pcast(x, tuple(union - axes), to="varying")
        for x, axes in zip(arrays, varying, strict=True)
    ]
