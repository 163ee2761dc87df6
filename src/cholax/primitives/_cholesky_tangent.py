"""C(L)[W] = S(L)⁻¹ W, the forward derivative of Cholesky, and its transpose Ct(L)[X].

Differentiating S(L)[y] = W: dC = C(L)[dW − S(dL)[y]], and likewise dCt = Ct(L)[dX − T(dL)[y]].
Literature: Smith (1995); Murray (2016), arXiv:1602.07527.
"""

from typing import Any

from cholax.analysis import Plan
from cholax.primitives import _specification as dense
from cholax.primitives._define import Kind, Operand, define
from cholax.primitives._dependence import Components
from cholax.primitives._symmetric_product import symmetric_product, symmetric_product_transpose


def _tangent_in_factor(ref: Any, tangent: Any, operands: Any, results: Any) -> Any:
    return -cholesky_tangent(ref, operands[0], symmetric_product(ref, tangent, results[0]))


def _cotangent_in_factor(ref: Any, tangent: Any, operands: Any, results: Any) -> Any:
    product = symmetric_product_transpose(ref, tangent, results[0])
    return -cholesky_cotangent(ref, operands[0], product)


def _tangent_specification(plan: Plan, factor: Any, w: Any) -> Any:
    lower = dense.to_dense(plan, factor)
    inverse = dense.lower_inverse(lower)
    middle = inverse @ dense.symmetric_from_lower(dense.to_dense(plan, w)) @ inverse.T
    return dense.from_dense(plan, lower @ dense.half_lower(middle))


def _cotangent_specification(plan: Plan, factor: Any, x: Any) -> Any:
    lower = dense.to_dense(plan, factor)
    inverse = dense.lower_inverse(lower)
    middle = dense.half_lower(lower.T @ dense.to_dense(plan, x))
    outer = inverse.T @ middle @ inverse
    return dense.from_dense(plan, dense.half_lower(outer + outer.T))


def _same(plan: Plan, *shapes: Any) -> Any:
    return [((plan.size,), None)]


cholesky_tangent = define(
    "cholesky_tangent",
    operands=(Operand("factor", Kind.SMOOTH, 1), Operand("w", Kind.LINEAR, 1)),
    results=_same,
    tangents={"factor": _tangent_in_factor},
    transposes={"w": lambda ref, ct, factor: cholesky_cotangent(ref, factor, ct)},
    dependence=Components(),
    overwrites="w",
    specification=_tangent_specification,
)

cholesky_cotangent = define(
    "cholesky_cotangent",
    operands=(Operand("factor", Kind.SMOOTH, 1), Operand("x", Kind.LINEAR, 1)),
    results=_same,
    tangents={"factor": _cotangent_in_factor},
    transposes={"x": lambda ref, ct, factor: cholesky_tangent(ref, factor, ct)},
    dependence=Components(),
    overwrites="x",
    specification=_cotangent_specification,
)
