"""Linear solvers of a Newton step: what evaluates, factors and solves with the Jacobian."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from cholax import primitives
from cholax._core import options
from cholax._core.errors import StructureError
from cholax._core.norms import max_norm
from cholax.implicit.dense import inverse
from cholax.linalg.cholesky import cholesky
from cholax.linalg.factor import Factor
from cholax.linalg.lu import lu
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import algebra
from cholax.primitives import EntryMap
from cholax.sparsediff._jacobian import jacobian

# Up to here a dense inverse costs less than finding a pattern.
DENSE_LIMIT = 32
# Mirrored entries computed by different operations agree to a few units of rounding.
SYMMETRY = 1e3
# A pivot L_ii² of this many roundings of a_ii carries no information.
LOST = 8.0

Residual = Callable[..., jax.Array]


class LinearSolver(Protocol):
    """What Newton's method asks of a Jacobian."""

    def matrix(self, z: jax.Array, theta: Sequence[Any]) -> Any:
        """Evaluate F_z."""
        ...

    def factor(self, matrix: Any) -> tuple[Any, jax.Array]:
        """Factor it: a cache, and whether that succeeded."""
        ...

    def solve(self, cache: Any, b: jax.Array, transpose: bool) -> jax.Array:
        """F_z⁻¹ b or F_z⁻ᵀ b."""
        ...

    def magnitude(self, matrix: Any, z: jax.Array) -> jax.Array:
        """|F_z| |z|, which times the rounding unit is the noise of F."""
        ...


@dataclass(frozen=True)
class Dense:
    """A dense inverse; with refinement as accurate as elimination, and products only."""

    residual: Residual

    def matrix(self, z: jax.Array, theta: Sequence[Any]) -> jax.Array:
        """F_z by forward mode, all columns at once."""
        return jax.jacfwd(self.residual)(z, *theta)

    def factor(self, matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The inverse."""
        cache = inverse(matrix)
        return cache, jnp.all(jnp.isfinite(cache))

    def solve(self, cache: jax.Array, b: jax.Array, transpose: bool) -> jax.Array:
        """One product."""
        return (cache.T if transpose else cache) @ b

    def magnitude(self, matrix: jax.Array, z: jax.Array) -> jax.Array:
        """|F_z| |z|."""
        return jnp.abs(matrix) @ jnp.abs(z)


@dataclass(frozen=True)
class _Sparse:
    """Evaluation of a sparse Jacobian on its detected or given pattern."""

    jacobian: Callable[..., SparseMatrix]

    def matrix(self, z: jax.Array, theta: Sequence[Any]) -> SparseMatrix:
        """F_z in as many products as the pattern has colours."""
        return self.jacobian(z, *theta)

    def magnitude(self, matrix: SparseMatrix, z: jax.Array) -> jax.Array:
        """|F_z| |z|."""
        return SparseMatrix(jnp.abs(matrix.values), matrix.pattern) @ jnp.abs(z)


class SparseLU(_Sparse):
    """LU of any square pattern."""

    def factor(self, matrix: SparseMatrix) -> tuple[Any, jax.Array]:
        """One LU."""
        factor = lu(matrix)
        return factor, factor.ok

    def solve(self, cache: Any, b: jax.Array, transpose: bool) -> jax.Array:
        """Triangular solves."""
        return cache.solve(b, transpose=transpose)


class SparseCholesky(_Sparse):
    """Cholesky of a symmetric Jacobian that is definite, of either sign."""

    def factor(self, matrix: SparseMatrix) -> tuple[Any, jax.Array]:
        """One Cholesky of ±F_z; fails where the values are not symmetric."""
        sign = _sign(matrix)
        factor = cholesky(matrix.symmetrize() * sign)
        return (factor, sign), is_definite(factor) & is_symmetric(matrix)

    def solve(self, cache: Any, b: jax.Array, transpose: bool) -> jax.Array:
        """Triangular solves; symmetric, so both directions are one."""
        del transpose
        factor, sign = cache
        return sign * factor.solve(b)


class SparseAuto(_Sparse):
    """Cholesky where the values are symmetric and definite, LU where they are not."""

    def factor(self, matrix: SparseMatrix) -> tuple[Any, jax.Array]:
        """Decided in the program: nonsymmetric values never meet a Cholesky factorisation."""
        by_cholesky, by_lu = SparseCholesky(self.jacobian), SparseLU(self.jacobian)
        empty = jax.tree.map(
            lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(by_cholesky.factor, matrix)
        )
        first, definite = lax.cond(
            is_symmetric(matrix), by_cholesky.factor, lambda _: empty, matrix
        )
        blank = jax.tree.map(
            lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(by_lu.factor, matrix)
        )
        second, ok = lax.cond(definite, lambda _: blank, by_lu.factor, matrix)
        return (definite, first, second), definite | ok

    def solve(self, cache: Any, b: jax.Array, transpose: bool) -> jax.Array:
        """With whichever factor exists."""
        definite, first, second = cache
        by_cholesky, by_lu = SparseCholesky(self.jacobian), SparseLU(self.jacobian)
        return lax.cond(
            definite,
            lambda b: by_cholesky.solve(first, b, transpose),
            lambda b: by_lu.solve(second, b, transpose),
            b,
        )


def from_factor(solver: LinearSolver) -> Any:
    """Solves with the factor that Newton's method left, as the derivative wants them."""

    def precondition(cache: Any, b: jax.Array, transpose: bool, apply: Any) -> jax.Array:
        del apply
        return solver.solve(cache, b, transpose)

    return precondition


def is_definite(factor: Factor) -> jax.Array:
    """Whether a Cholesky factor is that of a definite matrix, not of a singular one by rounding.

    The last pivot of [[2, 2], [2, 2]] may come out as 4e-16, and solutions are then noise.
    """
    rounding = LOST * jnp.finfo(factor.A.dtype).eps * jnp.abs(factor.A.diagonal())
    return factor.ok & jnp.all(factor.pivots() > rounding)


def is_symmetric(matrix: SparseMatrix) -> jax.Array:
    """Whether mirrored entries agree at rounding level."""
    pattern, source = algebra.transpose(matrix.pattern)
    if pattern != matrix.pattern:
        return jnp.array(False)
    values = matrix.values
    mirrored = primitives.gather(EntryMap(source, pattern.nnz), values)
    limit = SYMMETRY * jnp.finfo(values.dtype).eps * max_norm(values)
    return max_norm(values - mirrored) <= limit


def _sign(matrix: SparseMatrix) -> jax.Array:
    # -Δ is definite, Δ is after a change of sign: both orientations of a residual are common.
    trace = jnp.sum(matrix.diagonal())
    return jnp.where(trace < 0, -1.0, 1.0).astype(matrix.dtype)


def choose(
    residual: Residual, z: jax.Array, theta: Sequence[Any], solver: str, sparsity: Any, where: str
) -> LinearSolver:
    """The linear solver a name stands for, with the sparsity pattern found or taken."""
    options.choice(solver, where, "linear_solver", ("auto", "cholesky", "lu", "dense"))
    if solver == "dense" or (solver == "auto" and sparsity is None and z.size <= DENSE_LIMIT):
        return Dense(residual)
    # No check in the program that the pattern misses nothing: an incomplete Jacobian slows Newton's
    # method down, and derivatives are refined against products with the exact one, or NaN.
    J = jacobian(residual, sparsity=sparsity, verify=False)
    pattern = J.pattern(z, *theta)
    mirrored = algebra.transpose(pattern)[0] == pattern
    if solver == "cholesky" and not mirrored:
        raise StructureError(
            f"{where}: Cholesky needs a Jacobian of symmetric pattern, got one that is not. "
            'Use linear_solver="lu" or leave it to "auto".'
        )
    kinds = {"lu": SparseLU, "cholesky": SparseCholesky}
    return kinds.get(solver, SparseAuto if mirrored else SparseLU)(J)
