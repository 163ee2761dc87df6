"""S(L)[X] = lower(X Lᵀ + L Xᵀ) on the filled pattern, and its transpose T(L)[W] = (W + Wᵀ) L.

S is bilinear and symmetric: S(L)[X] = S(X)[L]. So ⟨V, T(L)[W]⟩ = ⟨S(L)[V], W⟩ = ⟨L, T(V)[W]⟩.
"""

from typing import Any

from cholax.analysis import Plan
from cholax.primitives import _specification as dense
from cholax.primitives._define import Kind, Operand, define
from cholax.primitives._dependence import Components


def _specification(plan: Plan, factor: Any, x: Any) -> Any:
    product = dense.to_dense(plan, x) @ dense.to_dense(plan, factor).T
    return dense.from_dense(plan, product + product.T)


def _transpose_specification(plan: Plan, factor: Any, w: Any) -> Any:
    lower = dense.to_dense(plan, w)
    return dense.from_dense(plan, (lower + lower.T) @ dense.to_dense(plan, factor))


def _same(plan: Plan, *shapes: Any) -> Any:
    return [((plan.size,), None)]


symmetric_product = define(
    "symmetric_product",
    operands=(Operand("factor", Kind.LINEAR, 1), Operand("x", Kind.LINEAR, 1)),
    results=_same,
    transposes={
        "factor": lambda ref, ct, x: symmetric_product_transpose(ref, x, ct),
        "x": lambda ref, ct, factor: symmetric_product_transpose(ref, factor, ct),
    },
    dependence=Components(),
    specification=_specification,
)

symmetric_product_transpose = define(
    "symmetric_product_transpose",
    operands=(Operand("factor", Kind.LINEAR, 1), Operand("w", Kind.LINEAR, 1)),
    results=_same,
    transposes={
        "factor": lambda ref, ct, w: symmetric_product_transpose(ref, ct, w),
        "w": lambda ref, ct, factor: symmetric_product(ref, factor, ct),
    },
    dependence=Components(),
    specification=_transpose_specification,
)
