"""Checking a compressed derivative against one directional derivative.

For a pattern that misses no entry, M v = J v for every v. A random v makes it unlikely that missing
entries cancel, so one product finds them, at the cost of one more colour.

Two tolerances. A concrete result is compared tightly, to a few √ε of the row's magnitude, and a
suspect row is then computed in full, which tells missing entries from rounding in f and names them.
Under a transform nobody can be told. There rows must differ by ε^¼ of their magnitude, which
rounding alone does only where hardly a digit is right, and the whole result becomes NaN.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.errors import SparsityError
from cholax.linalg import SparseMatrix
from cholax.patterns import Pattern, algebra

SUSPECT_ROWS = 3


def probe(size: int, dtype: np.dtype) -> jax.Array:
    """Numbers of magnitude 0.5 to 1.5 and both signs, hashed from their places in the program."""
    h = jax.lax.iota(np.uint32, size) * np.uint32(0x9E3779B1) + np.uint32(0x7F4A7C15)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = (h ^ (h >> shift)) * np.uint32(factor)
    h ^= h >> 16
    magnitude = 0.5 + (h >> 8).astype(dtype) / np.asarray(2**24, dtype)
    return jnp.where(h & 1 == 1, magnitude, -magnitude)


def discrepancy(
    product: Callable[[jax.Array], jax.Array],
    values: jax.Array,
    pattern: Pattern,
    *,
    transpose: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """|J v - M v| by row, and |J v| + |M||v|, its scale; with Jᵀ and Mᵀ, by column."""
    v = probe(pattern.shape[0 if transpose else 1], values.dtype)
    M, magnitude = SparseMatrix(values, pattern), SparseMatrix(jnp.abs(values), pattern)
    true = product(v)
    if transpose:
        return jnp.abs(true - v @ M), jnp.abs(true) + jnp.abs(v) @ magnitude
    return jnp.abs(true - M @ v), jnp.abs(true) + magnitude @ jnp.abs(v)


def poisoned(values: jax.Array, gap: jax.Array, scale: jax.Array) -> jax.Array:
    """The values, or NaN everywhere when a row is off by more than ε^¼ of its scale."""
    wrong = jnp.any(jax.lax.stop_gradient(gap > coarse(values.dtype) * scale))
    return jnp.where(wrong, jnp.asarray(jnp.nan, values.dtype), values)


def coarse(dtype: np.dtype) -> float:
    """Relative difference that rounding alone does not make: ε^¼."""
    return float(np.finfo(dtype).eps) ** 0.25


def suspects(gap: Any, scale: Any) -> tuple[np.ndarray, bool]:
    """Lines that differ by more than rounding, worst first; and whether all could be compared."""
    gap, scale = np.asarray(gap), np.asarray(scale)
    tolerance = 4 * float(np.finfo(gap.dtype).eps) ** 0.5
    finite = np.isfinite(gap) & np.isfinite(scale)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(finite & (gap > tolerance * scale), gap / scale, 0.0)
    worst = np.argsort(-relative, kind="stable")[:SUSPECT_ROWS]
    return worst[relative[worst] > 0], bool(finite.all())


def examine(
    row: np.ndarray, values: np.ndarray, pattern: Pattern, i: int, gap: float, where: str
) -> None:
    """Raise `SparsityError` when row i of the derivative explains the gap found in it."""
    values = np.where(np.isfinite(values), values, 0.0)
    full, source = algebra.expand(pattern)
    stored = np.zeros(row.size, row.dtype)
    inside = np.zeros(row.size, bool)
    entries = np.flatnonzero(full.rows == i)
    inside[full.columns[entries]] = True
    stored[full.columns[entries]] = values[source[entries]]
    weight = np.abs(np.asarray(probe(row.size, row.dtype)))
    missed = np.where(inside, 0.0, np.abs(row))
    if (missed * weight).sum() >= 0.25 * gap:
        j, count = int(np.argmax(missed)), np.count_nonzero(missed)
        refuse(where, f"entry ({i}, {j}) is {row[j]:.6g} and not in it, one of {count} in this row")
    # Stored entries carry the rounding of f: they count as wrong as in a traced call.
    wrong = np.abs(np.where(inside, row - stored, 0.0))
    large = max(np.abs(row).max(), np.abs(stored).max())
    if (wrong * weight).sum() >= 0.25 * gap and wrong.max() > coarse(row.dtype) * large:
        j = int(np.argmax(wrong))
        reason = "another line misses an entry, or the function is not pure"
        refuse(where, f"entry ({i}, {j}) is {row[j]:.6g}, and {stored[j]:.6g} was found: {reason}")


def refuse(where: str, what: str) -> NoReturn:
    """Raise `SparsityError` saying what was found and what to do."""
    raise SparsityError(
        f"{where}: the sparsity pattern does not hold the derivative: {what}. Pass a `sparsity` "
        "that contains every entry that can be non-zero; if the pattern was detected, this is a "
        "defect of cholax, please report it. verify=False switches this check off."
    )
