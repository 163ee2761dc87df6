"""The one door to JAX's extension interfaces (`jax.extend`, `jax.interpreters`).

Everything here exists from JAX 0.10 to 0.12; tests/dev/test_jax_compat.py pins what we rely on.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
from jax._src import traceback_util
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Literal, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir, partial_eval

__all__ = [
    "Literal",
    "Primitive",
    "ad",
    "batching",
    "boundary",
    "close_jaxpr",
    "custom_backward",
    "eliminate_dead_code",
    "ir",
    "jaxpr_as_fun",
    "mlir",
    "open_jaxpr",
    "scan_layout",
    "sparse_implementation",
    "split_closure",
    "unify_varying_axes",
    "user_context",
]

ir = mlir.ir
user_context = jax.make_user_context


F = TypeVar("F", bound=Callable[..., Any])
# Tracebacks then leave out our frames as they leave out JAX's own: what a user reads is their code.
traceback_util.register_exclusion(str(Path(__file__).parents[1]))


def boundary(function: F) -> F:
    """A public function that calls a user's: errors in that one show the user's frames only.

    JAX_TRACEBACK_FILTERING=off shows all, as it does for JAX.
    """
    return traceback_util.api_boundary(function)


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


def split_closure(function: Callable[..., Any], *args: Any) -> tuple[Callable[..., Any], list[Any]]:
    """Trace once; return `run(consts, *args)` and the traced values the function closed over.

    Concrete constants stay inside, so that what is static (index arrays) is seen as static.
    """
    closed = jax.make_jaxpr(function)(*args)
    places = [k for k, x in enumerate(closed.consts) if isinstance(x, Tracer)]
    captured = [closed.consts[k] for k in places]
    # What `run` closes over holds no tracer, so that it may be remembered.
    fixed = [None if k in places else x for k, x in enumerate(closed.consts)]
    jaxpr = closed.jaxpr

    def run(consts: Sequence[Any], *args: Any) -> Any:
        merged = list(fixed)
        for place, const in zip(places, consts, strict=True):
            merged[place] = const
        return jaxpr_as_fun(ClosedJaxpr(jaxpr, merged))(*args)

    return run, captured


# --- reading jaxprs -------------------------------------------------------------------------------


def open_jaxpr(jaxpr: Any) -> tuple[Any, Sequence[Any]]:
    """A jaxpr and the values of its constants, of a closed or an open one (from 0.12 on: one type).

    The constants belong to `constvars`, which come before `invars`.
    """
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    return inner, list(getattr(jaxpr, "consts", ()))


def close_jaxpr(jaxpr: Any) -> Any:
    """A closed jaxpr of one that is closed already, or open without constants."""
    closed = hasattr(jaxpr, "jaxpr") or hasattr(jaxpr, "consts")
    return jaxpr if closed else ClosedJaxpr(jaxpr, ())


def eliminate_dead_code(jaxpr: Any, used_outputs: Sequence[bool]) -> tuple[Any, Sequence[Any]]:
    """A closed jaxpr without what no used output needs, opened; all its inputs stay."""
    inner, consts = open_jaxpr(jaxpr)
    reduced, _ = partial_eval.dce_jaxpr(inner, list(used_outputs), True)
    return reduced, getattr(reduced, "consts", consts)


def scan_layout(params: Any) -> tuple[int, int]:
    """How many constants and carried values a scan has."""
    if "num_carry" in params:
        return params["num_consts"], params["num_carry"]
    constants, carry, _ = params["ft_in"].unpack()
    return len(list(constants)), len(list(carry))


def custom_backward(params: Any, residuals: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
    """Run the backward function of a linearised `custom_vjp` call.

    Returns one cotangent per tangent operand of the call, None where the function gives zero.
    """
    result = params["bwd"].call_wrapped(*residuals, *cotangents)
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], (list, tuple)):
        result = result[0]  # from 0.12 on with logs
    kept = [ct for ct, zero in zip(result, params["in_zeros"], strict=True) if not zero]
    symbolic = (ad.Zero, jax.custom_derivatives.SymbolicZero)
    return [None if isinstance(ct, symbolic) else ct for ct in kept]


def sparse_implementation(name: str) -> Any:
    """The `jax.numpy` function behind a primitive of `jax.experimental.sparse`, or None."""
    for module in ("bcoo", "bcsr", "coo", "csr"):
        if name.startswith(module):
            found = importlib.import_module(f"jax.experimental.sparse.{module}")
            return getattr(found, f"_{name}_impl", None)
    return None
