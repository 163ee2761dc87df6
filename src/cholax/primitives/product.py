"""z = x ∘ y, entry by entry; bilinear. For rules that multiply by what a factor gave.

A factor that failed is NaN; unlike the product of `jax.numpy`, this one has an adjoint that is zero
where the cotangent is.
"""

from typing import Any

from cholax.primitives._define import Kind, Operand, define


def _specification(structure: Any, x: Any, y: Any) -> Any:
    del structure
    return x * y


product = define(
    "product",
    operands=(Operand("x", Kind.LINEAR, 1), Operand("y", Kind.LINEAR, 1)),
    results=lambda structure, x, y: [(x, None)],
    transposes={
        "x": lambda ref, ct, y: product(ref, ct, y),
        "y": lambda ref, ct, x: product(ref, ct, x),
    },
    specification=_specification,
    native=False,
)
