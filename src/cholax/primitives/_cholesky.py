"""Cholesky factor of a sparse symmetric matrix: L Lᵀ = P A Pᵀ on the filled pattern.

dL = C(L)[dA], C as in `cholesky_tangent`; Ā = Ct(L)[L̄] follows by transposition.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from cholax.analysis import Plan
from cholax.primitives import _specification as dense
from cholax.primitives._cholesky_tangent import cholesky_tangent
from cholax.primitives._define import Kind, Operand, define
from cholax.primitives._maps import value_map
from cholax.primitives.entries import scatter


def _tangent(ref: Any, tangent: Any, operands: Any, results: Any, *, throw: bool) -> Any:
    del operands, throw
    return cholesky_tangent(ref, results[0], scatter(value_map(ref), tangent)), None


def _specification(plan: Plan, values: Any, *, throw: bool) -> Any:
    del throw  # errors cannot be raised from a plain jax.numpy program; the status tells
    scattered = jnp.zeros(plan.size, values.dtype).at[plan.value_position].add(values)
    lower = dense.to_dense(plan, scattered)
    factor, bad = dense.cholesky(dense.symmetric_from_lower(lower))
    original = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.asarray(plan.perm) + 1])
    full = jnp.full(plan.size, jnp.nan, values.dtype)
    return jnp.where(bad == 0, dense.from_dense(plan, factor), full), original[bad]


cholesky = define(
    "cholesky",
    operands=(Operand("values", Kind.SMOOTH, 1),),
    results=lambda plan, values, *, throw: [((plan.size,), None), ((), np.int32)],
    tangents={"values": _tangent},
    specification=_specification,
    params=("throw",),
)
