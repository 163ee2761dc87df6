"""Short cuts: one call from a matrix to a solve, a log-determinant or entries of its inverse.

Inside one `jit` XLA merges the factorisations of short cuts on the same matrix. With `throw=True`
each raises what `checked` raises, instead of giving NaN.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.core import Tracer
from jax.typing import ArrayLike

from cholax._core.errors import StructureError
from cholax.analysis import LUPlan, Plan
from cholax.linalg import operands
from cholax.linalg.checked import checked
from cholax.linalg.cholesky import cholesky, plan_for
from cholax.linalg.factor_maps import inverse_map
from cholax.linalg.lu import lu, lu_plan_for
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern


@partial(jax.jit, static_argnames="plan")
def _log_det(A: SparseMatrix, plan: Plan) -> jax.Array:
    return cholesky(A, ordering=plan).log_det()


@partial(jax.jit, static_argnames="plan")
def _solve(A: SparseMatrix, b: jax.Array, plan: Plan) -> jax.Array:
    return cholesky(A, ordering=plan).solve(b)


@partial(jax.jit, static_argnames="plan")
def _solve_general(A: SparseMatrix, b: jax.Array, plan: LUPlan) -> jax.Array:
    return lu(A, ordering=plan).solve(b)


@partial(jax.jit, static_argnames=("plan", "pattern"))
def _selected_inverse(A: SparseMatrix, plan: Plan, pattern: Any) -> SparseMatrix:
    return cholesky(A, ordering=plan).selected_inverse(pattern)


@partial(jax.jit, static_argnames="plan")
def _inverse_diagonal(A: SparseMatrix, plan: Plan) -> jax.Array:
    return cholesky(A, ordering=plan).inverse_diagonal()


def _run(program: Callable[..., Any], throw: bool) -> Callable[..., Any]:
    return checked(program) if throw else program


def _symmetric(A: Any, where: str) -> None:
    if isinstance(A, SparseMatrix) and A.symmetric:
        return
    if not isinstance(A, SparseMatrix):
        raise StructureError(
            f"{where}: need a symmetric SparseMatrix, got {type(A).__name__}. "
            f"{operands.conversion(A, ', symmetric=True')}"
        )
    raise StructureError(
        f"{where}: need a symmetric SparseMatrix, got {A!r}. Build it with symmetric=True; "
        "for general matrices there are cx.lu and cx.solve."
    )


def solve(
    A: SparseMatrix, b: ArrayLike, *, ordering: Any = "auto", throw: bool = False
) -> jax.Array:
    """Solve A x = b, by A's structure: `cholesky(A).solve(b)` or `lu(A).solve(b)`.

    A symmetric matrix is taken to be positive definite, a general one need only be regular; x is
    NaN where that does not hold, or an exception with `throw=True`. For a symmetric indefinite
    matrix use `lu(A)`.

    Raises:
        StructureError: A is not square.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> cx.solve(4.0 * cx.eye(2), jnp.ones(2)).tolist()
        [0.25, 0.25]
        >>> A = cx.from_dense(jnp.array([[0.0, 2.0], [1.0, 1.0]]))
        >>> cx.solve(A, jnp.array([2.0, 3.0])).tolist()
        [2.0, 1.0]
    """
    if not isinstance(A, SparseMatrix):
        raise StructureError(
            f"solve: need a cholax SparseMatrix, got {type(A).__name__}. {operands.conversion(A)} "
            "With symmetric=True it is solved by Cholesky, else by LU."
        )
    if not A.symmetric:
        if not isinstance(A.values, Tracer):  # more room, where these values need it
            return lu(A, ordering=ordering, throw=throw).solve(b)
        plan = lu_plan_for(A, ordering)
        return _run(_solve_general, throw)(A, operands.same_dtype(b, A.dtype, "solve"), plan)
    b = operands.same_dtype(b, A.dtype, "solve")
    return _run(_solve, throw)(A, b, plan_for(A.pattern, ordering))


def log_det(A: SparseMatrix, *, ordering: Any = "auto", throw: bool = False) -> jax.Array:
    """log|A| for symmetric positive definite A: `cholesky(A).log_det()`; NaN where A is not.

    With `throw=True` an exception instead, JAX's run-time error inside `jit`.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> round(float(cx.log_det(2.0 * cx.eye(3))), 5)
        2.07944
    """
    _symmetric(A, "log_det")
    return _run(_log_det, throw)(A, plan_for(A.pattern, ordering))


def selected_inverse(
    A: SparseMatrix,
    pattern: Pattern | str | None = None,
    *,
    ordering: Any = "auto",
    throw: bool = False,
) -> SparseMatrix:
    """Entries of A⁻¹ on a pattern: `cholesky(A).selected_inverse(pattern)`.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> A = cx.from_dense(jnp.array([[2.0, 1.0], [1.0, 2.0]]), symmetric=True)
        >>> cx.selected_inverse(A).to_dense().round(4).tolist()
        [[0.66..., -0.33...], [-0.33..., 0.66...]]
    """
    _symmetric(A, "selected_inverse")
    plan = plan_for(A.pattern, ordering)
    if not isinstance(pattern, str | None):
        pattern = inverse_map(plan, pattern)[0]
    return _run(_selected_inverse, throw)(A, plan, pattern)


def inverse_diagonal(A: SparseMatrix, *, ordering: Any = "auto", throw: bool = False) -> jax.Array:
    """diag(A⁻¹): `cholesky(A).inverse_diagonal()`.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> cx.inverse_diagonal(4.0 * cx.eye(2)).tolist()
        [0.25, 0.25]
    """
    _symmetric(A, "inverse_diagonal")
    return _run(_inverse_diagonal, throw)(A, plan_for(A.pattern, ordering))
