"""A linear map given by a function and the function of its transpose.

`linear_map(apply, transpose, residuals, x)` is apply(residuals, x), linear in x. Its tangent in x
and its transpose are calls of the same kind, its tangent in the residuals is that of `apply`, so
derivatives of every order exist although `apply` may be a loop that JAX cannot transpose.
(`jax.custom_derivatives.linear_call` has no batching rule and no tangent in the residuals.)
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from cholax._core.jax_compat import Primitive, ad, batching, mlir

_linear_map = Primitive("cholax_linear_map")


def linear_map(
    apply: Callable[..., jax.Array],
    transpose: Callable[..., jax.Array],
    residuals: tuple[jax.Array, ...],
    x: jax.Array,
) -> jax.Array:
    """apply(residuals, x), with `transpose(residuals, y)` as the transpose in x.

    Neither function may close over traced values.
    """
    return _linear_map.bind(*residuals, x, apply=apply, transpose=transpose)


def _run(*operands: Any, apply: Any, transpose: Any) -> Any:
    del transpose
    return apply(operands[:-1], operands[-1])


def _compiled(*operands: Any, apply: Any, transpose: Any) -> Any:
    return jax.jit(_run, static_argnames=("apply", "transpose"))(
        *operands, apply=apply, transpose=transpose
    )


def _abstract(*operands: Any, apply: Any, transpose: Any) -> Any:
    del transpose
    specs = [jax.ShapeDtypeStruct(o.shape, o.dtype) for o in operands]
    out = jax.eval_shape(lambda *args: apply(args[:-1], args[-1]), *specs)
    return operands[-1].update(shape=out.shape, dtype=out.dtype, weak_type=False)


def _jvp(primals: Any, tangents: Any, *, apply: Any, transpose: Any) -> Any:
    residuals, x = tuple(primals[:-1]), primals[-1]
    out = linear_map(apply, transpose, residuals, x)
    parts = []
    if not isinstance(tangents[-1], ad.Zero):
        parts.append(linear_map(apply, transpose, residuals, tangents[-1]))
    moving = [k for k, t in enumerate(tangents[:-1]) if not isinstance(t, ad.Zero)]
    if moving:

        def of_moving(*values: Any) -> Any:
            merged = list(residuals)
            for k, value in zip(moving, values, strict=True):
                merged[k] = value
            return apply(tuple(merged), x)

        values = tuple(residuals[k] for k in moving)
        parts.append(jax.jvp(of_moving, values, tuple(tangents[k] for k in moving))[1])
    return out, sum(parts[1:], parts[0])


def _transpose(ct: Any, *operands: Any, apply: Any, transpose: Any) -> Any:
    none = [None] * (len(operands) - 1)
    if isinstance(ct, ad.Zero):
        return [*none, ct]
    return [*none, linear_map(transpose, apply, tuple(operands[:-1]), ct)]


def _batch(operands: Any, dims: Any, *, apply: Any, transpose: Any) -> Any:
    *residuals, x = operands
    *axes, last = dims
    if last is None:
        size = next(r.shape[d] for r, d in zip(residuals, axes, strict=True) if d is not None)
        x, last = jnp.broadcast_to(x, (size, *x.shape)), 0
    x = jnp.moveaxis(x, last, 0)
    moved = tuple(
        r if d is None else jnp.moveaxis(r, d, 0) for r, d in zip(residuals, axes, strict=True)
    )
    mapped = tuple(None if d is None else 0 for d in axes)
    return linear_map(_vmapped(apply, mapped), _vmapped(transpose, mapped), moved, x), 0


class _vmapped:
    """`jax.vmap` of a map; equal for equal arguments, so that compiled programs are found again."""

    def __init__(self, apply: Any, mapped: tuple[int | None, ...]) -> None:
        self.key = (apply, mapped)
        self.call = jax.vmap(apply, in_axes=(mapped, 0))

    def __call__(self, residuals: Any, x: Any) -> Any:
        return self.call(residuals, x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _vmapped) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


_linear_map.def_impl(_compiled)
_linear_map.def_abstract_eval(_abstract)
ad.primitive_jvps[_linear_map] = _jvp
ad.primitive_transposes[_linear_map] = _transpose
batching.primitive_batchers[_linear_map] = _batch
mlir.register_lowering(_linear_map, mlir.lower_fun(partial(_run), multiple_results=False))
