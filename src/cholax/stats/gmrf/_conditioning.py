"""A field given linear observations: with noise a new precision, without it new constraints."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.core import Tracer

from cholax._core import options
from cholax._core.errors import ArgumentError, DtypeError, ShapeError, StructureError
from cholax.linalg import operands
from cholax.linalg.construct import from_dense, from_scipy
from cholax.linalg.matrix import SparseMatrix
from cholax.linalg.operations import congruence
from cholax.patterns import Pattern
from cholax.stats.constraints import Constraints, Rows, observed_null_space, stacked
from cholax.stats.gmrf._field import Field

_F = TypeVar("_F", bound=Field)


def condition(field: _F, A: Any, y: Any, noise: Any) -> _F:
    """The field given y = A x + noise."""
    where, dtype = "condition", field.precision.dtype
    shape = np.shape(A) if not isinstance(A, SparseMatrix) else A.shape
    if len(shape) != 2 or shape[1] != field.n:
        raise ShapeError(
            f"{where}: need a matrix of shape (m, {field.n}), got {shape}. One row per observation."
        )
    y = operands.vector(y, shape[0], dtype, f"{where}: y")
    if noise is None:
        return _exactly(field, A, y)
    null = observed_null_space(field.known_null, _on_host(A), noise)
    A = _sparse(A, dtype)
    noise = _precision(noise, shape[0], dtype)
    mean, precision = _posterior(field, A, y, noise, null)
    return type(field)(
        mean, precision, field.constraints, null_space=null, ordering=_ordering(field)
    )


def _ordering(field: Field) -> Any:
    return field.ordering if isinstance(field.ordering, str) else field.ordering.perm


def _exactly(field: _F, A: Any, y: jax.Array) -> _F:
    rows, e = Rows(A, "condition"), y
    old = field.constraints
    if old is not None:
        rows = stacked([old.rows, rows], "condition")
        e = jnp.concatenate([old.right_hand_side(y.dtype), y])
    return type(field)(
        field.location,
        field.precision,
        Constraints(rows, e),
        null_space=field.known_null,
        ordering=field.ordering,
    )


def _on_host(A: Any) -> Any:
    """A as a NumPy or SciPy matrix, None where it is traced. Conversions inside jit trace it."""
    if isinstance(A, SparseMatrix):
        return None if isinstance(A.values, Tracer) else A.to_scipy()
    return None if isinstance(A, Tracer) else np.asarray(A)


def _sparse(A: Any, dtype: Any) -> SparseMatrix:
    if isinstance(A, SparseMatrix):
        return A.as_general()
    if not isinstance(A, Tracer):
        A = np.asarray(A)
        if A.dtype != dtype:
            raise DtypeError(
                f"condition: A and the precision must have one dtype, got {A.dtype} and {dtype}. "
                "Convert one of them with .astype()."
            )
        return from_scipy(scipy.sparse.csc_array(A))
    A = operands.same_dtype(A, dtype, "condition: A")
    m, n = A.shape
    full = Pattern((m, n), m * np.arange(n + 1), np.tile(np.arange(m), n))
    return from_dense(A, pattern=full)


def _precision(noise: Any, m: int, dtype: Any) -> Any:
    where = "condition: noise"
    if isinstance(noise, SparseMatrix):
        if noise.shape != (m, m) or not noise.symmetric:
            raise StructureError(
                f"{where}: need a symmetric precision of shape ({m}, {m}), got {noise!r}."
            )
        return noise
    if operands.is_scalar(noise):
        precision = operands.repeated(operands.scalar(noise, dtype, where), m)
    else:
        precision = operands.vector(noise, m, dtype, where)
    if not isinstance(precision, Tracer) and not np.all(np.asarray(precision) >= 0):
        raise ArgumentError(
            f"{where}: precisions must not be negative or NaN, got {options.shown(noise)}. "
            "0 stands for no observation."
        )
    return precision


def _posterior(
    field: Field, A: SparseMatrix, y: jax.Array, noise: Any, null: Any
) -> tuple[jax.Array, SparseMatrix]:
    """Q' = Q + AᵀRA, and μ' = μ + d with Q'd = AᵀR(y − Aμ) under the constraints."""
    residual = y - A @ field.location
    if isinstance(noise, SparseMatrix):
        precision = field.precision + (A.T @ (noise @ A)).symmetrize()
        weighted = noise @ residual
    else:
        precision = field.precision + congruence(A, noise)
        weighted = jnp.where(noise == 0, 0, noise * jnp.where(noise == 0, 0, residual))
    shell = type(field)(
        field.location, precision, field.constraints, null_space=null, ordering=_ordering(field)
    )
    return _shifted(shell, A.T @ weighted), precision


@jax.jit
def _shifted(field: Field, b: jax.Array) -> jax.Array:
    """Argument of the minimum of ½(x − μ)ᵀQ(x − μ) − bᵀ(x − μ) under the field's constraints."""
    factor, location = field.factor(), field.location
    if factor.constraints is None:
        return location + factor.solve(b)
    return location + factor.solve_affine(b, -factor.constraints.residual(location))
