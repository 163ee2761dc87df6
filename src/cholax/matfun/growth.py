"""How fast the powers of a matrix grow: what decides how far the argument of a series is scaled.

A non-normal X may have ‖X‖ far above ‖Xᵖ‖^(1/p); scaled by ‖X‖, its Padé approximant needs
squarings (or square roots) that lose the digits they were meant to keep. (Al-Mohy & Higham 2009.)
"""

from itertools import pairwise

import jax
import jax.numpy as jnp

from cholax._core.norms import one_norm, smallest

Array = jax.Array


def log2_growth(X: Array, pairs: int) -> Array:
    """log₂ α(X),  α(X) = min over p = 1 … pairs of max(‖Xᵖ‖^(1/p), ‖Xᵖ⁺¹‖^(1/(p+1))), 1-norms.

    −∞ where the powers vanish. Each power is kept apart from its size: none over- or underflows.
    """
    first, unit = _split(X)
    power, total, sizes = first, unit, [unit]
    for k in range(2, pairs + 2):
        power, more = _split(product(power, first))
        total = total + unit + more
        sizes.append(total / k)
    return smallest(jnp.stack([jnp.maximum(one, two) for one, two in pairwise(sizes)]))


def log2_growth_of_even(X: Array, pairs: int) -> Array:
    """log₂ α(X²)^(1/2): what X can do to an even series."""
    first, unit = _split(X)
    return unit + log2_growth(product(first, first), pairs) / 2


def log2_norm_of_magnitudes(X: Array, power: int) -> Array:
    """log₂ of ‖|X|ᵖ‖₁, the entries of X taken by magnitude; p products with a vector."""
    matrix, unit = _split(jnp.abs(X))

    def multiply(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        row, total = state
        row, more = _split(product(row, matrix))
        return row, total + more + unit

    row = jnp.ones((1, X.shape[0]), matrix.dtype)
    return jax.lax.fori_loop(0, power, multiply, (row, jnp.zeros_like(unit)))[1]


def _split(X: Array) -> tuple[Array, Array]:
    """X / ‖X‖₁ and log₂ ‖X‖₁."""
    norm = one_norm(X)
    return X / jnp.where(norm > 0, norm, 1), jnp.log2(norm)


def product(A: Array, B: Array) -> Array:
    """A B in the full precision of the format on every platform."""
    return jnp.matmul(A, B, precision=jax.lax.Precision.HIGHEST)
