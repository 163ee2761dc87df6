"""Square root and logarithm, through the complex Schur form.

Both are principal: real for a real matrix without eigenvalues on the closed negative real axis; the
root also where eigenvalues are 0 without a nilpotent part. For any other matrix the result is NaN
(its principal value is not real, or does not exist).
"""

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.linear_map import linear_map
from cholax._core.norms import all_finite, max_norm
from cholax.matfun.function import MatrixFunction
from cholax.matfun.growth import log2_growth
from cholax.matfun.triangular import (
    log_near_diagonal,
    oriented,
    schur,
    sqrt_upper,
    sylvester_upper,
)

Array = jax.Array

# Padé degree of log(1 + X), and the α(X) up to which it is exact to double precision
# (Al-Mohy & Higham 2012, table 2.1: 0.264 for degree 7).
_DEGREE, _RADIUS, _PAIRS = 8, 0.25, 4
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
    bad = bad | ~all_finite(F)
    return jnp.where(bad, jnp.nan, (Q @ F @ Q.conj().T).real)


@jax.jit
def _sqrtm(A: Array) -> Array:
    return jax.lax.cond(jnp.all(A == A.T), _sqrt_symmetric, _sqrt_by_schur, A)


def _sqrt_symmetric(A: Array) -> Array:
    """V √w Vᵀ; eigenvalues that are 0 up to rounding are 0."""
    w, V = jnp.linalg.eigh(A)
    rounding = A.shape[0] * jnp.finfo(A.dtype).eps * max_norm(w)
    # Those of a diagonal matrix carry no rounding, and 1e-20 beside 1 has its own root.
    diagonal = jnp.all(jnp.diag(jnp.diagonal(A)) == A)
    rounding = jnp.where(diagonal, 0, rounding)
    root = jnp.sqrt(jnp.where(w <= rounding, 0, w))
    bad = jnp.any(w < -rounding) | ~all_finite(A)
    root = (V * root) @ V.T
    return jnp.where(bad, jnp.nan, (root + root.T) / 2)


def _sqrt_by_schur(A: Array) -> Array:
    T, Q = schur(A)
    t = jnp.diagonal(T)
    rounding = 10 * A.shape[0] * jnp.finfo(A.dtype).eps * max_norm(T)
    # Zero up to rounding, on the wrong side of it. On the right side it has a root as it is.
    zero = (jnp.abs(t) <= rounding) & ~((t.imag == 0) & (t.real > 0))
    exact = jnp.all(jnp.tril(A, -1) == 0)
    T = T - jnp.diag(jnp.where(zero & ~exact, t, 0))
    return _real(Q, sqrt_upper(T), _bad_eigenvalues(T, allow_zero=True))


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


sqrtm = MatrixFunction(oriented(_sqrtm), "sqrtm", _sqrtm_derivative)


@jax.jit
def _logm(A: Array) -> Array:
    """2ᵏ log(A^(1/2ᵏ)) with k such that the root is near I; Padé by Gauss–Legendre quadrature.

    log(I + X) = ∫₀¹ X (I + sX)⁻¹ ds, and the m-point rule is the [m/m] Padé approximant. The
    diagonal of X = A^(1/2ᵏ) − I cancels, so it is computed as expm1(2⁻ᵏ log t), and the result's
    diagonal and superdiagonal directly. (Al-Mohy & Higham 2012.)
    """
    T, Q = schur(A)
    identity = jnp.eye(T.shape[0], dtype=T.dtype)
    bad = _bad_eigenvalues(T, allow_zero=False) | ~all_finite(T)
    T = jnp.where(bad, identity, T)
    logs = jnp.log(jnp.diagonal(T))

    def minus_one(root: Array, count: Array) -> Array:
        scaled = jnp.ldexp(logs.real, -count) + 1j * jnp.ldexp(logs.imag, -count)
        return root - jnp.diag(jnp.diagonal(root)) + jnp.diag(jnp.expm1(scaled))

    def far(state: tuple[Array, Array]) -> Array:
        growth = log2_growth(minus_one(*state), _PAIRS)
        return (growth > np.log2(_RADIUS)) & (state[1] < _MOST_ROOTS)

    def halve(state: tuple[Array, Array]) -> tuple[Array, Array]:
        return sqrt_upper(state[0]), state[1] + 1

    root, count = jax.lax.while_loop(far, halve, (T, jnp.zeros((), jnp.int32)))
    X = minus_one(root, count)
    nodes, weights = np.polynomial.legendre.leggauss(_DEGREE)
    total = jnp.zeros_like(X)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        total += weight * jax.scipy.linalg.solve_triangular(identity + node * X, X, lower=False)
    F = jnp.ldexp(total.real, count) + 1j * jnp.ldexp(total.imag, count)
    return _real(Q, log_near_diagonal(F, T), bad)


logm = MatrixFunction(oriented(_logm), "logm")
