"""log|A| = 2 Σ log L_ii.   d log|A| = ⟨w∘A⁻¹, dA⟩ over A's stored entries.

The factor is a cache: the derivative is that of the problem, one selected inverse.
"""

from typing import Any

import jax.numpy as jnp

from cholax.analysis import Plan
from cholax.primitives import _specification as dense
from cholax.primitives._define import Kind, Operand, define
from cholax.primitives._inner_product import inner_product
from cholax.primitives._maps import value_map
from cholax.primitives._selected_inverse import selected_inverse
from cholax.primitives.entries import gather


def _tangent(ref: Any, tangent: Any, operands: Any, results: Any) -> Any:
    gradient = gather(value_map(ref), selected_inverse(ref, operands[1], after=results[0]))
    return inner_product(ref, gradient, tangent)


def _specification(plan: Plan, values: Any, factor: Any) -> Any:
    del values
    return 2 * jnp.sum(jnp.log(jnp.diag(dense.to_dense(plan, factor))))


log_determinant = define(
    "log_determinant",
    operands=(
        Operand("values", Kind.SMOOTH, 1, native=False),
        Operand("factor", Kind.CACHE, 1),
    ),
    results=lambda plan, values, factor: [((), None)],
    tangents={"values": _tangent},
    specification=_specification,
)
