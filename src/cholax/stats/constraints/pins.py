"""Pins: diagonal entries of a singular matrix that are raised to factor it, and taken back."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cholax import primitives
from cholax._core.errors import ArgumentError
from cholax._core.norms import max_norm, smallest
from cholax.linalg.factor import Factor
from cholax.linalg.matrix import SparseMatrix
from cholax.stats.constraints.held import LARGE, constant
from cholax.stats.constraints.null_space import check_pinned
from cholax.stats.constraints.rows import Rows


def checked_pins(pins: Any, n: int, where: str) -> tuple[int, ...]:
    """Pins as the user gives them: distinct variables, sorted."""
    chosen = sorted(int(pin) for pin in pins)
    if any(not 0 <= pin < n for pin in chosen) or len(set(chosen)) < len(chosen):
        raise ArgumentError(
            f"{where}: pins must be distinct variables between 0 and {n - 1}, got {list(pins)}. "
            "Leave pins out to have them chosen."
        )
    return tuple(chosen)


def choose_pins(
    pins: tuple[int, ...] | None, rows: Rows | None, null: Rows | None, where: str
) -> tuple[int, ...]:
    """The pins asked for, checked; else those of the null space; else those of the constraints."""
    if pins is None:
        if null is not None:
            return null.pins
        return () if rows is None else rows.pins
    if null is not None:
        check_pinned(null, pins, where)
    return pins


def pinned(Q: SparseMatrix, pins: tuple[int, ...]) -> SparseMatrix:
    """Q + EΓEᵀ, the matrix that is factored."""
    if not pins:
        return Q
    where = jnp.asarray(Q.pattern.diagonal_positions[list(pins)])
    return SparseMatrix(Q.values.at[where].add(pin_weights(Q, pins)), Q.pattern)


def pin_weights(Q: SparseMatrix, pins: tuple[int, ...]) -> jax.Array:
    """Γ, of the size of Q's diagonal at the pins; constants, as no result depends on them."""
    diagonal = lax.stop_gradient(Q.diagonal())
    largest = max_norm(diagonal)
    largest = jnp.where(largest > 0, largest, 1)
    own = diagonal[jnp.asarray(pins, int)]
    # An isolated node of an intrinsic field has a zero diagonal, an indefinite matrix a negative
    # one.
    own_is_positive = own > jnp.finfo(Q.dtype).eps * largest
    return jnp.where(own_is_positive, own, largest - jnp.minimum(own, 0))


def border(rows: Rows | None, pins: tuple[int, ...], n: int, dtype: Any) -> jax.Array:
    """G = [Aᵀ E], a constant."""
    k = 0 if rows is None else rows.k
    if n * (k + len(pins)) < LARGE:
        A = np.zeros((0, n)) if rows is None else rows.matrix
        E = np.zeros((len(pins), n))
        E[np.arange(len(pins)), list(pins)] = 1.0
        return jnp.asarray(np.concatenate([A, E]).T, dtype)
    E = (np.array(pins, np.int32) == jnp.arange(n, dtype=np.int32)[:, None]).astype(dtype)
    return E if rows is None else jnp.concatenate([constant(rows, "matrix", dtype).T, E], axis=1)


def solve_border(
    factor: Factor,
    G: jax.Array,
    pins: tuple[int, ...],
    weights: jax.Array,
    null: Rows | None,
) -> jax.Array:
    """P G; with a known null space V, P E = V(EᵀV)⁻¹Γ⁻¹ exactly.

    The solve is then of the residual of that value: zero, and with the right derivatives of every
    order, in all directions of Q.
    """
    if null is None or len(pins) != null.k:
        return factor.solve(G)
    k = G.shape[1] - len(pins)
    known = interpolant(null, pins, G.dtype) / weights
    residual = G[:, k:] - factor.A @ known
    right = jnp.concatenate([G[:, :k], residual - lax.stop_gradient(residual)], axis=1)
    return factor.solve(right).at[:, k:].add(known)


def interpolant(null: Rows, pins: tuple[int, ...], dtype: Any) -> jax.Array:
    """`(n, k)` basis of the null space that is the identity at the pins."""
    at = list(pins)
    small, one = np.linalg.inv(null.basis[at]), np.eye(null.k)
    if null.basis.size < LARGE:
        columns = null.basis @ small
        columns[at] = one
        return jnp.asarray(columns, dtype)
    # One large constant serves for this and for `maps_to_zero`.
    columns = constant(null, "basis", dtype) @ jnp.asarray(small, dtype)
    return columns.at[np.array(at)].set(jnp.asarray(one, dtype))


def maps_to_zero(Q: SparseMatrix, null: Rows) -> jax.Array:
    """Whether Q V = 0, to half of the digits."""
    values = lax.stop_gradient(Q.values)
    product = SparseMatrix(values, Q.pattern) @ constant(null, "basis", Q.dtype)
    size = max_norm(values)
    half = jnp.sqrt(jnp.finfo(Q.dtype).eps)
    return max_norm(product) <= half * size


def relative_pivot(factor: Factor) -> jax.Array:
    """The smallest L_ii² relative to the diagonal entry it was left of."""
    if factor.n == 0:
        return jnp.asarray(jnp.inf, factor.A.dtype)
    (A, panels, _), plan = factor.tree_flatten()
    diagonal_map = primitives.diagonal_map(primitives.Ref(plan))
    roots = primitives.gather(diagonal_map, lax.stop_gradient(panels))
    permuted = primitives.EntryMap(plan.pattern.diagonal_positions[plan.perm], plan.pattern.nnz)
    return smallest(roots**2 / primitives.gather(permuted, lax.stop_gradient(A.values)))


def rounding_of_pivots(n: int, dtype: Any) -> float:
    """Size, relative to its diagonal entry, below which a pivot is rounding error.

    Cholesky of singular lattices of 10², 10³, 10⁴, 10⁵ nodes leaves positive last pivots of up to
    26, 106, 129, 2160 spacings of the format where it does not fail, about 7√n.
    """
    return max(64.0, 16.0 * math.sqrt(n)) * float(jnp.finfo(dtype).eps)
