"""Elementwise primitives: an element of the result depends on the same element of each operand.

Products and quotients drop what a coefficient known to be 0 multiplies; a select keeps the cases
its predicate can take.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cholax.sparsediff.detect.interpreter import Interpreter, control_rules, tangent_rules, words
from cholax.sparsediff.detect.rows import Rows, union
from cholax.sparsediff.detect.values import Value, integer_bounds, zero_mask

NAMES = words("""
abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp clz
complex conj convert_element_type copy copy_p cos cosh digamma eq eq_to erf erf_inv erfc exp exp2
expm1 floor ge gt igamma igamma_grad_a igammac imag integer_pow is_finite layout_constraint le le_to
lgamma log log1p log2 logistic lt lt_to max min mulhi name ne neg nextafter not one_minus_square or
polygamma polynomial population_count pow pvary random_gamma_grad real reduce_precision
regularized_incomplete_beta rem reshard round rsqrt sharding_constraint shift_left
shift_right_arithmetic shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh
vary_unreduced_cast vary_unreduced_cast_p reduced_vary_cast reduced_vary_cast_p xor zeta
with_memory_space_constraint relayout tie
""")


def out_shape(eqn: Any, k: int = 0) -> tuple[int, ...]:
    """Shape of a result."""
    return tuple(eqn.outvars[k].aval.shape)


def _elementwise(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    shape = out_shape(eqn)
    return [union([v.broadcast(shape) for v in values if isinstance(v, Rows)])]


def _mul(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    shape = out_shape(eqn)
    a, b = values
    parts = []
    for x, other in ((a, b), (b, a)):
        if isinstance(x, Rows):
            zero = zero_mask(other)
            x = x.broadcast(shape)
            parts.append(x if zero is None else x.drop(np.broadcast_to(zero, shape)))
    return [union(parts)]


def _div(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    shape = out_shape(eqn)
    numerator, denominator = values
    parts = [v.broadcast(shape) for v in (numerator, denominator) if isinstance(v, Rows)]
    zero = zero_mask(numerator)
    if isinstance(denominator, Rows) and zero is not None:
        parts = [parts[0].drop(np.broadcast_to(zero, shape))]
    return [union(parts)]


def _select(_: Interpreter, eqn: Any, values: Sequence[Value]) -> list[Value]:
    shape = out_shape(eqn)
    which, *cases = values
    low, high = integer_bounds(which)
    parts = [Rows(shape)]
    for k, case in enumerate(cases):
        if isinstance(case, Rows):
            never = np.broadcast_to((low > k) | (high < k), shape)
            parts.append(case.drop(never))
    if isinstance(which, Rows):  # a rule that branches on the tangent itself
        parts.append(which.broadcast(shape))
    return [union(parts)]


def _pass_through(_: Interpreter, _eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
    return values


def _bitcast(interpreter: Interpreter, eqn: Any, values: Sequence[Value]) -> Sequence[Value]:
    if out_shape(eqn) == values[0].shape:
        return _elementwise(interpreter, eqn, values)
    return interpreter.unknown(eqn, "bitcast_convert_type", values)


tangent_rules.update(dict.fromkeys(NAMES, _elementwise))
tangent_rules["mul"] = _mul
tangent_rules["div"] = _div
tangent_rules["select_n"] = _select
tangent_rules["bitcast_convert_type"] = _bitcast
for _name in ("optimization_barrier", "device_put", "pin", "unpin"):
    control_rules[_name] = _pass_through
