"""s = ⟨x, y⟩ and its transpose z = s y: for rules that multiply by what a factor gave.

A factor that failed is NaN. Unlike the products of `jax.numpy`, these have adjoints that are zero
where the cotangent is.
"""

import jax.numpy as jnp

from cholax.primitives._define import Kind, Operand, define
from cholax.primitives._dependence import Scaled, Total

inner_product = define(
    "inner_product",
    operands=(Operand("x", Kind.LINEAR, 1), Operand("y", Kind.LINEAR, 1)),
    results=lambda structure, x, y: [((), None)],
    transposes={
        "x": lambda ref, ct, y: scale(ref, ct, y),
        "y": lambda ref, ct, x: scale(ref, ct, x),
    },
    dependence=Total(),
    specification=lambda structure, x, y: jnp.sum(x * y),
    kernel=False,
)

# Only the number decides on zero: a look at all of y would be a pass over it.
scale = define(
    "scale",
    operands=(Operand("s", Kind.LINEAR, 0), Operand("y", Kind.LINEAR, 1, decides=False)),
    results=lambda structure, s, y: [(y, None)],
    transposes={
        "s": lambda ref, ct, y: inner_product(ref, ct, y),
        "y": lambda ref, ct, s: scale(ref, s, ct),
    },
    dependence=Scaled(by="s"),
    specification=lambda structure, s, y: s * y,
    kernel=False,
)
