"""x = L⁻¹ b or L⁻ᵀ b in permuted labels, and the bilinear pair its derivative needs.

dx = L⁻¹ (db − dL x).   `factor_matvec`: L x or Lᵀ x;  `factor_outer`: lower(u vᵀ) on the pattern.
`permute`: P x or Pᵀ x.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from cholax.analysis import Plan
from cholax.primitives import _specification as dense
from cholax.primitives._define import Kind, Operand, define
from cholax.primitives._dependence import Entries, Links, Pairs, Solve


def _shift(ref: Any, tangent: Any, operands: Any, results: Any, *, transpose: bool) -> Any:
    del operands
    return -factor_matvec(ref, tangent, results[0], transpose=transpose)


def _solve_specification(plan: Plan, factor: Any, b: Any, *, transpose: bool) -> Any:
    inverse = dense.lower_inverse(dense.to_dense(plan, factor))
    return (inverse.T if transpose else inverse) @ b


def _matvec_specification(plan: Plan, factor: Any, x: Any, *, transpose: bool) -> Any:
    lower = dense.to_dense(plan, factor)
    return (lower.T if transpose else lower) @ x


def _outer_specification(plan: Plan, u: Any, v: Any) -> Any:
    return dense.from_dense(plan, u @ v.T)


def _permute_specification(plan: Plan, x: Any, *, transpose: bool) -> Any:
    return x[jnp.asarray(plan.iperm if transpose else plan.perm)]


def _matvec_transpose_in_factor(ref: Any, ct: Any, x: Any, *, transpose: bool) -> Any:
    return factor_outer(ref, x, ct) if transpose else factor_outer(ref, ct, x)


def _links(plan: Plan, params: Any) -> Links:
    rows, columns, _ = dense.places(plan)
    return Links(plan.n, *((columns, rows) if params["transpose"] else (rows, columns)))


def _matvec_pairs(plan: Plan, name: str, params: Any) -> Pairs:
    rows, columns, position = dense.places(plan)
    if params["transpose"]:
        rows, columns = columns, rows
    return rows, position if name == "factor" else columns


def _outer_pairs(plan: Plan, name: str, params: Any) -> Pairs:
    del params
    rows, columns, position = dense.places(plan)
    return position, rows if name == "u" else columns


def _permute_pairs(plan: Plan, name: str, params: Any) -> Pairs:
    del name
    return np.arange(plan.n), plan.iperm if params["transpose"] else plan.perm


triangular_solve = define(
    "triangular_solve",
    operands=(Operand("factor", Kind.SMOOTH, 1), Operand("b", Kind.LINEAR, 2)),
    results=lambda plan, factor, b, *, transpose: [(b, None)],
    shifts={"factor": ("b", _shift)},
    transposes={
        "b": lambda ref, ct, factor, *, transpose: triangular_solve(
            ref, factor, ct, transpose=not transpose
        )
    },
    dependence=Solve(_links),
    specification=_solve_specification,
    params=("transpose",),
)

factor_matvec = define(
    "factor_matvec",
    operands=(Operand("factor", Kind.LINEAR, 1), Operand("x", Kind.LINEAR, 2)),
    results=lambda plan, factor, x, *, transpose: [(x, None)],
    transposes={
        "factor": _matvec_transpose_in_factor,
        "x": lambda ref, ct, factor, *, transpose: factor_matvec(
            ref, factor, ct, transpose=not transpose
        ),
    },
    dependence=Entries(_matvec_pairs),
    specification=_matvec_specification,
    params=("transpose",),
)

factor_outer = define(
    "factor_outer",
    operands=(Operand("u", Kind.LINEAR, 2), Operand("v", Kind.LINEAR, 2)),
    results=lambda plan, u, v: [((plan.size,), None)],
    transposes={
        "u": lambda ref, ct, v: factor_matvec(ref, ct, v, transpose=False),
        "v": lambda ref, ct, u: factor_matvec(ref, ct, u, transpose=True),
    },
    dependence=Entries(_outer_pairs),
    specification=_outer_specification,
)

permute = define(
    "permute",
    operands=(Operand("x", Kind.LINEAR, 2),),
    results=lambda plan, x, *, transpose: [(x, None)],
    transposes={"x": lambda ref, ct, *, transpose: permute(ref, ct, transpose=not transpose)},
    dependence=Entries(_permute_pairs),
    specification=_permute_specification,
    params=("transpose",),
)
