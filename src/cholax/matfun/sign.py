"""The matrix sign function by Newton's iteration with scaling."""

import jax
import jax.numpy as jnp

from cholax._core.norms import max_norm, one_norm
from cholax.matfun.function import MatrixFunction

Array = jax.Array
_MOST_STEPS = 100
_CANDIDATES = 6


@jax.jit
def _signm(A: Array) -> Array:
    """X ← (μX + (μX)⁻¹)/2 until it stands still; μ = (‖X⁻¹‖/‖X‖)^½ at first.

    NaN where it does not converge: an eigenvalue on the imaginary axis. (Higham 2008, ch. 5.)
    """
    n = A.shape[0]
    tolerance = 10 * n * jnp.finfo(A.dtype).eps

    def going(state: tuple[Array, Array, Array]) -> Array:
        X, change, count = state
        size = one_norm(X)
        return (count < _MOST_STEPS) & jnp.isfinite(size) & (change > tolerance * size)

    def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        X, change, count = state
        Y = jnp.linalg.inv(X)
        scale = jnp.sqrt(jnp.linalg.norm(Y) / jnp.linalg.norm(X))
        # Scaling speeds up the start and disturbs the quadratic end.
        scale = jnp.where(change < 0.01 * one_norm(X), 1, scale)
        new = (scale * X + Y / scale) / 2
        return new, one_norm(new - X), count + 1

    start = (A, jnp.asarray(jnp.inf, A.dtype), jnp.zeros((), jnp.int32))
    X, change, _ = jax.lax.while_loop(going, step, start)
    converged = change <= jnp.sqrt(tolerance) * one_norm(X)
    return jnp.where(converged & ~_on_axis(A), X, jnp.nan)


def _on_axis(A: Array) -> Array:
    """Whether rounding of A can bring an eigenvalue onto the imaginary axis.

    Newton's iteration does not tell: rounding throws such an eigenvalue to either side. It is
    λ = iω of a matrix next to A if the smallest singular value of A − iωI is rounding. A defective
    one is computed far from where it is (eps^(1/3) for a block of three), so ω is taken from all
    eigenvalues that near to the axis; a non-normal A has small singular values away from them.
    """
    n, eps = A.shape[0], jnp.finfo(A.dtype).eps
    eigenvalues = jnp.linalg.eigvals(A)
    distance = jnp.abs(eigenvalues.real)
    nearest = jnp.argsort(distance)[: min(n, _CANDIDATES)]
    near = distance[nearest] <= 10 * eps ** (1 / 3) * max_norm(eigenvalues)
    identity = jnp.eye(n, dtype=eigenvalues.dtype)

    def rounding(frequency: Array) -> Array:
        values = jnp.linalg.svd(A - 1j * frequency * identity, compute_uv=False)
        return values[-1] <= 10 * n * eps * jnp.linalg.norm(A)

    return jnp.any(near & jax.lax.map(rounding, eigenvalues.imag[nearest]))


signm = MatrixFunction(_signm, "signm")
