"""LU factorisation of a square matrix, what is solved with it, and its log-determinant.

x = A⁻¹ b:  dx = A⁻¹ (db − dA x), and the transpose in b is the solve with Aᵀ.
log|det A|:  d = Σ_ij (A⁻¹)_ji dA_ij over A's stored entries.

`lu_factor` makes caches only (arrays no rule reads), whose tangents are counted through the values;
so it has no derivative and is not one of the closed set.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.errors import UnsupportedError
from cholax.analysis import LUPlan
from cholax.primitives import _superlu
from cholax.primitives._define import Definition, Kind, Operand, define
from cholax.primitives._dependence import Links, Solve
from cholax.primitives._inner_product import inner_product
from cholax.primitives._matvec import matvec, outer_on_pattern
from cholax.primitives._specification import check_size
from cholax.primitives._structures import csc_of

# Columns of A⁻ᵀ found at a time.
BLOCK = 64
# The derivative of the log-determinant takes n solves: ten seconds at 10⁴, a minute here.
LARGEST_GRADIENT = 20_000


# --- the dense specification ----------------------------------------------------------------------


def _dense(plan: LUPlan, values: Any) -> Any:
    check_size(plan.n)
    p = plan.pattern
    return jnp.zeros(p.shape, values.dtype).at[p.rows, p.columns].add(values)


def _gauss_jordan(matrix: Any, b: Any) -> tuple[Any, Any, Any]:
    """A⁻¹ b, sign and log of |det A|, by elimination with row exchanges."""
    n = matrix.shape[0]

    def step(k: Any, state: Any) -> Any:
        m, sign, log = state
        size = jnp.where(jnp.arange(n) >= k, jnp.abs(m[:, k]), -1)
        p = jnp.argmax(size)
        m = m.at[jnp.array([k, p])].set(m[jnp.array([p, k])])
        pivot = m[k, k]
        row = m[k] / pivot
        m = (m - jnp.outer(m[:, k], row)).at[k].set(row)
        sign = sign * jnp.sign(pivot) * jnp.where(p == k, 1, -1)
        return m, sign, log + jnp.log(jnp.abs(pivot))

    one = jnp.ones((), matrix.dtype)
    start = (jnp.concatenate([matrix, b], axis=1), one, 0 * one)
    m, sign, log = jax.lax.fori_loop(0, n, step, start)
    return m[:, n:], sign, log


def _factor_specification(plan: LUPlan, values: Any, *, throw: bool) -> Any:
    del throw  # errors cannot be raised from a plain jax.numpy program; the status tells
    _, sign, log = _gauss_jordan(_dense(plan, values), jnp.zeros((plan.n, 0), values.dtype))
    good = jnp.isfinite(log) & jnp.all(jnp.isfinite(values))
    determinant = jnp.where(good, jnp.stack([sign, log]), jnp.nan)
    status = jnp.where(good, 0, _superlu.SINGULAR).astype(jnp.int32)
    # The other specifications read the values themselves.
    factor = jnp.zeros(plan.capacity, values.dtype)
    return factor, jnp.zeros(_superlu.index_size(plan), jnp.int32), determinant, status


def _solve_specification(
    plan: LUPlan, values: Any, factor: Any, index: Any, b: Any, *, transpose: bool
) -> Any:
    del factor, index
    matrix = _dense(plan, values)
    return _gauss_jordan(matrix.T if transpose else matrix, b)[0]


def _log_specification(plan: LUPlan, values: Any, factor: Any, index: Any, determinant: Any) -> Any:
    del factor, index, determinant
    return _gauss_jordan(_dense(plan, values), jnp.zeros((plan.n, 0), values.dtype))[2]


# --- rules ----------------------------------------------------------------------------------------


def _shift(ref: Any, tangent: Any, operands: Any, results: Any, *, transpose: bool) -> Any:
    del operands
    pattern = csc_of(ref.static.pattern)
    return -matvec(pattern, tangent, results[0], transpose=transpose)


def _log_tangent(ref: Any, tangent: Any, operands: Any, results: Any) -> Any:
    del results
    values, factor, index, _ = operands
    gradient = inverse_transposed(ref, values, factor, index)
    return inner_product(ref, gradient, tangent)


def inverse_transposed(ref: Any, values: Any, factor: Any, index: Any) -> Any:
    """A⁻ᵀ on A's pattern, the gradient of log|det A|, by solves with blocks of unit vectors."""
    plan = ref.static
    n, pattern = plan.n, csc_of(plan.pattern)
    if n > LARGEST_GRADIENT:
        raise UnsupportedError(
            f"slogdet: its derivative takes n solves, too many for n = {n} (limit "
            f"{LARGEST_GRADIENT}). For a symmetric positive definite matrix use "
            "cx.cholesky(A).log_det(), whose derivative costs about one factorisation."
        )

    def gradient_of(first: Any) -> Any:
        unit = first + jnp.arange(min(BLOCK, n)) == jnp.arange(n)[:, None]
        unit = unit.astype(values.dtype)
        columns = lu_solve(ref, values, factor, index, unit, transpose=True)
        return outer_on_pattern(pattern, columns, unit)

    if n <= BLOCK:
        return gradient_of(0)

    @jax.checkpoint  # keeps nothing n × n for the derivative of this
    def step(total: Any, first: Any) -> tuple[Any, None]:
        return total + gradient_of(first), None

    total, _ = jax.lax.scan(step, jnp.zeros_like(values), np.arange(0, n, BLOCK))
    return total


def _links(plan: LUPlan, params: Any) -> Links:
    """B = A[rows, columns], each of whose diagonal entries is stored where possible.

    The closure of B is then no more than the pattern that B⁻¹ has for some values, which that of A
    with its rows in another order need not be.
    """
    columns = np.repeat(np.arange(plan.n), np.diff(plan.indptr))
    if params["transpose"]:
        return Links(plan.n, columns, plan.indices, plan.columns, plan.rows)
    return Links(plan.n, plan.indices, columns, plan.rows, plan.columns)


# --- the primitives -------------------------------------------------------------------------------

_CACHES = (Operand("factor", Kind.CACHE, 1), Operand("index", Kind.CACHE, 1))

lu_factor = Definition(
    name="lu_factor",
    operands=(Operand("values", Kind.CACHE, 1),),
    results=lambda plan, values, *, throw: [
        ((plan.capacity,), None),
        ((_superlu.index_size(plan),), np.int32),
        ((2,), None),
        ((), np.int32),
    ],
    specification=_factor_specification,
    params=("throw",),
    host=_superlu.factor,
    kernel=False,
)

lu_solve = define(
    "lu_solve",
    operands=(Operand("values", Kind.SMOOTH, 1), *_CACHES, Operand("b", Kind.LINEAR, 2)),
    results=lambda plan, values, factor, index, b, *, transpose: [(b, None)],
    shifts={"values": ("b", _shift)},
    transposes={
        "b": lambda ref, ct, values, factor, index, *, transpose: lu_solve(
            ref, values, factor, index, ct, transpose=not transpose
        )
    },
    dependence=Solve(_links),
    specification=_solve_specification,
    params=("transpose",),
    host=_superlu.solve,
    kernel=False,
)

lu_log_determinant = define(
    "lu_log_determinant",
    operands=(
        Operand("values", Kind.SMOOTH, 1),
        *_CACHES,
        Operand("determinant", Kind.CACHE, 1),
    ),
    results=lambda plan, values, factor, index, determinant: [((), None)],
    tangents={"values": _log_tangent},
    specification=_log_specification,
    host=lambda plan, values, factor, index, determinant: (determinant[1],),
    kernel=False,
)
