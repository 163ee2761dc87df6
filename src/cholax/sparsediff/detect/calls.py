"""Primitives that run another jaxpr once: jit, checkpoint, custom rules, branches."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from cholax._core.jax_compat import custom_backward, sparse_implementation
from cholax.sparsediff.detect.interpreter import (
    Interpreter,
    control_rules,
    tangent_rules,
    unknown_results,
    words,
)
from cholax.sparsediff.detect.rows import Rows, apply_pairs, entries, split_keys, union
from cholax.sparsediff.detect.solves import join_flat, split_flat
from cholax.sparsediff.detect.values import Known, Value, integer_bounds, join

CALLS = words("""
jit pjit closed_call core_call call remat remat2 checkpoint custom_jvp_call custom_vjp_call
custom_vjp_call_jaxpr custom_vmap_call composite linear_call eval_jaxpr
""")
_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr", "callee", "call")


def _call(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
    for key in _BODIES:
        if key in eqn.params:
            return interpreter.run_closed(eqn.params[key], values)
    return interpreter.unknown(eqn, eqn.primitive.name, values)


def _cond(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
    index, *operands = values
    branches = eqn.params["branches"]
    low, high = (int(np.clip(b, 0, len(branches) - 1)) for b in integer_bounds(index))
    results = [interpreter.run_closed(b, operands) for b in branches[low : high + 1]]
    joined = [join(list(v)) for v in zip(*results, strict=True)]
    if isinstance(index, Rows):
        extra = union([index])
        joined = [
            union([v if isinstance(v, Rows) else Rows(v.shape), extra.broadcast(v.shape)])
            for v in joined
        ]
    return joined


def _custom_lin(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
    """The tangent of a `custom_vjp` function: the transpose of its backward function.

    The backward function is linear in the cotangent, so it is interpreted as it is. (Its own
    derivative would not do: a rule may call its function again, and that would never end.)
    """
    count = eqn.params["num_res"]
    tangents = [
        v
        for v, var in zip(values[count:], eqn.invars[count:], strict=True)
        if var.aval.dtype != jax.dtypes.float0
    ]
    shapes = [tuple(v.aval.shape) for v in eqn.outvars]
    floating = [k for k, v in enumerate(eqn.outvars) if v.aval.dtype != jax.dtypes.float0]
    backward, residuals = _trace_backward(eqn, values[:count], floating)
    base = interpreter.columns
    with interpreter.seeds([shapes[k] for k in floating]) as seeds:
        size = interpreter.columns - base
        found = interpreter.run_closed(backward, [*residuals, *seeds])
    total = _transposed(found, tangents, base, size)
    parts = dict(zip(floating, split_flat(total, [shapes[k] for k in floating]), strict=True))
    return [parts.get(k, Rows(shape)) for k, shape in enumerate(shapes)]


def _trace_backward(
    eqn: Any, residuals: Sequence[Value], floating: Sequence[int]
) -> tuple[Any, list[Value]]:
    """The jaxpr of the backward function, and its residuals; known ones stay concrete in it."""
    results = [v.aval for v in eqn.outvars]
    wanted = [v.aval for v in eqn.invars[len(residuals) :]]
    open_ = [k for k, r in enumerate(residuals) if not isinstance(r, Known)]
    concrete = [_concrete(r.value) if isinstance(r, Known) else None for r in residuals]

    def backward(given: Any, cotangents: Any) -> Any:
        res = list(concrete)
        for k, value in zip(open_, given, strict=True):
            res[k] = value
        cts: list[Any] = [np.zeros(a.shape, jax.dtypes.float0) for a in results]
        for k, ct in zip(floating, cotangents, strict=True):
            cts[k] = ct
        found = custom_backward(eqn.params, res, cts)
        return [
            jax.numpy.zeros(a.shape, a.dtype) if ct is None else ct
            for ct, a in zip(found, wanted, strict=True)
            if a.dtype != jax.dtypes.float0
        ]

    given = [_like(eqn.invars[k].aval) for k in open_]
    cotangents = [_like(results[k]) for k in floating]
    jaxpr = jax.make_jaxpr(backward)(given, cotangents)
    return jaxpr, [residuals[k] for k in open_]


def _concrete(value: Any) -> Any:
    """A residual as the rule would see it: flags as Python booleans, arrays as JAX arrays."""
    if isinstance(value, np.ndarray) and value.dtype == bool and value.ndim == 0:
        return bool(value)
    return jax.numpy.asarray(value)


def _like(aval: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype)


def _transposed(found: Sequence[Value], tangents: Sequence[Value], base: int, size: int) -> Rows:
    """Σ over inputs of (pattern of the backward function)ᵀ times the input's pattern."""
    if not found:
        return Rows((size,))
    into, out = split_keys(entries(join_flat(found)))
    return apply_pairs(join_flat(tangents), out - base, into, (size,))


def _sparse(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
    """A product with BCOO or BCSR, through its implementation by gathers and scatters."""
    implementation = sparse_implementation(eqn.primitive.name)
    if implementation is None:
        if any(isinstance(v, Rows) for v in values):
            return interpreter.unknown(eqn, eqn.primitive.name, values)
        return unknown_results(eqn)
    avals = [_like(v.aval) for v in eqn.invars]
    jaxpr = jax.make_jaxpr(lambda *args: implementation(*args, **eqn.params))(*avals)
    return interpreter.run_closed(jaxpr, values)


for _name in CALLS:
    control_rules[_name] = _call
control_rules["cond"] = _cond
control_rules["platform_index"] = lambda _interpreter, eqn, _values: unknown_results(eqn)
tangent_rules["custom_lin"] = _custom_lin
for _name in words("""
bcoo_dot_general bcoo_dot_general_sampled bcoo_extract bcoo_fromdense bcoo_sort_indices
bcoo_spdot_general bcoo_sum_duplicates bcoo_todense bcoo_transpose bcsr_dot_general bcsr_extract
bcsr_fromdense bcsr_todense coo_matvec coo_matmat coo_todense csr_matvec csr_matmat csr_todense
"""):
    control_rules[_name] = _sparse
