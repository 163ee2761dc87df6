"""x = A⁻¹ b.   dx = A⁻¹ (db − dA x); the transpose in b is the same operation.

The factor is a cache: its tangent is counted through the values.
"""

from typing import Any

from cholax.analysis import Plan
from cholax.patterns import algebra
from cholax.primitives import _specification as dense
from cholax.primitives._define import Kind, Operand, define
from cholax.primitives._dependence import Links, Solve
from cholax.primitives._maps import matrix_pattern
from cholax.primitives._matvec import matvec


def _shift(ref: Any, tangent: Any, operands: Any, results: Any) -> Any:
    del operands
    return -matvec(matrix_pattern(ref), tangent, results[0], transpose=False)


def _specification(plan: Plan, values: Any, factor: Any, b: Any) -> Any:
    del values
    inverse = dense.lower_inverse(dense.to_dense(plan, factor))
    return (inverse.T @ (inverse @ b[plan.perm]))[plan.iperm]


def _links(plan: Plan, params: Any) -> Links:
    del params
    full, _ = algebra.expand(plan.pattern)
    return Links(plan.n, full.rows, full.columns)


solve = define(
    "solve",
    operands=(
        Operand("values", Kind.SMOOTH, 1, native=False),
        Operand("factor", Kind.CACHE, 1),
        Operand("b", Kind.LINEAR, 2),
    ),
    results=lambda plan, values, factor, b: [(b, None)],
    shifts={"values": ("b", _shift)},
    transposes={"b": lambda ref, ct, values, factor: solve(ref, values, factor, ct)},
    dependence=Solve(_links),
    specification=_specification,
)
