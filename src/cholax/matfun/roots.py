"""Square root and logarithm, through the complex Schur form.

Both are principal: real for a real matrix without eigenvalues on the closed negative real axis.
For any other matrix the result is NaN (its principal value is not real, or does not exist).
"""

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.linear_map import linear_map
from cholax._core.norms import max_norm, one_norm
from cholax.matfun.function import MatrixFunction
from cholax.matfun.triangular import schur, sqrt_upper, sylvester_upper

Array = jax.Array

# Padé degree of log(1 + X), and up to which ‖X‖₁ it is exact to double precision
# (Al-Mohy & Higham 2012, table 2.1: 0.264 for degree 7).
_DEGREE, _RADIUS = 8, 0.25
_MOST_ROOTS = 100


def _bad_eigenvalues(T: Array, allow_zero: bool) -> Array:
    """Whether a diagonal entry lies on the negative real axis, up to rounding."""
    t = jnp.diagonal(T)
    eps = jnp.finfo(t.dtype).eps
    near = jnp.abs(t.imag) <= 10 * eps * t.shape[0] * max_norm(t)
    below = t.real < 0 if allow_zero else t.real <= 0
    return jnp.any(near & below & ~((t == 0) & allow_zero))


def _real(Q: Array, F: Array, bad: Array) -> Array:
    # NaN in one piece, not through arithmetic: 0 * NaN in a gradient would spoil other results.
    return jnp.where(bad, jnp.nan, (Q @ F @ Q.conj().T).real)


@jax.jit
def _sqrtm(A: Array) -> Array:
    T, Q = schur(A)
    bad = _bad_eigenvalues(T, allow_zero=True)
    # Exact zero eigenvalues of a diagonal T divide 0 by 0 in the recursion.
    return _real(Q, sqrt_upper(T), bad)


@jax.custom_jvp
def _sylvester(X: Array, C: Array) -> Array:
    """Y with X Y + Y X = C."""
    T, Q = schur(X)
    Y = sylvester_upper(T, Q.conj().T @ C.astype(T.dtype) @ Q)
    return (Q @ Y @ Q.conj().T).real


@_sylvester.defjvp
def _sylvester_tangent(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """D Y = S(X)[dC − dX Y − Y dX]."""
    (X, C), (dX, dC) = primals, tangents
    Y = _sylvester(X, C)
    return Y, linear_map(_apply_sylvester, _apply_transposed, (X,), dC - dX @ Y - Y @ dX)


def _apply_sylvester(residuals: tuple[Array, ...], C: Array) -> Array:
    return _sylvester(residuals[0], C)


def _apply_transposed(residuals: tuple[Array, ...], C: Array) -> Array:
    return _sylvester(residuals[0].T, C)


def _sqrtm_derivative(A: Array, E: Array) -> Array:
    return _sylvester(sqrtm(A), E)


sqrtm = MatrixFunction(_sqrtm, "sqrtm", _sqrtm_derivative)


@jax.jit
def _logm(A: Array) -> Array:
    """2ᵏ log(A^(1/2ᵏ)) with k such that the root is near I; Padé by Gauss–Legendre quadrature.

    log(I + X) = ∫₀¹ X (I + sX)⁻¹ ds, and the m-point rule is the [m/m] Padé approximant.
    """
    T, Q = schur(A)
    identity = jnp.eye(T.shape[0], dtype=T.dtype)
    bad = _bad_eigenvalues(T, allow_zero=False)

    def far(state: tuple[Array, Array]) -> Array:
        root, count = state
        off = one_norm(root - identity)
        return (off > _RADIUS) & (count < _MOST_ROOTS)

    def halve(state: tuple[Array, Array]) -> tuple[Array, Array]:
        return sqrt_upper(state[0]), state[1] + 1

    start = (jnp.where(bad, identity, T), jnp.zeros((), jnp.int32))
    root, count = jax.lax.while_loop(far, halve, start)
    X = root - identity
    nodes, weights = np.polynomial.legendre.leggauss(_DEGREE)
    total = jnp.zeros_like(X)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        total += weight * jax.scipy.linalg.solve_triangular(identity + node * X, X, lower=False)
    return _real(Q, jnp.ldexp(total.real, count) + 1j * jnp.ldexp(total.imag, count), bad)


logm = MatrixFunction(_logm, "logm")
