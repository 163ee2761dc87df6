"""Exponential, cosine and sine: Padé with scaling and squaring, differentiated by JAX forward.

Forward-mode through the algorithm costs a tenth of the block identity (36 against 412 ms at
n = 300); the transpose is the same at Aᵀ.
"""

import jax
import jax.numpy as jnp

from cholax.matfun.function import MatrixFunction

Array = jax.Array
# 2³² ‖A‖: beyond JAX's default of 16 squarings the result would be NaN.
_MOST_SQUARINGS = 32


def _expm(A: Array) -> Array:
    return jax.scipy.linalg.expm(A, max_squarings=_MOST_SQUARINGS)


def _rotation(A: Array) -> Array:
    """exp(iA) = cos A + i sin A for real A."""
    return jax.scipy.linalg.expm(1j * A, max_squarings=_MOST_SQUARINGS)


def _cosm(A: Array) -> Array:
    return _rotation(A).real


def _sinm(A: Array) -> Array:
    R = _rotation(A)
    # Beyond the most squarings JAX gives NaN + 0i.
    return jnp.where(jnp.isnan(R.real), jnp.nan, R.imag)


def _forward(f):  # noqa: ANN001, ANN202
    return lambda A, E: jax.jvp(f, (A,), (E,))[1]


expm = MatrixFunction(_expm, "expm", _forward(_expm))
cosm = MatrixFunction(_cosm, "cosm", _forward(_cosm))
sinm = MatrixFunction(_sinm, "sinm", _forward(_sinm))


def _inverse(A: Array) -> Array:
    return jnp.linalg.inv(A)


def _inverse_derivative(A: Array, E: Array) -> Array:
    C = inv(A)
    return -C @ E @ C


inv = MatrixFunction(_inverse, "inv", _inverse_derivative)
