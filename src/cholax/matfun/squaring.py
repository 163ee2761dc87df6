"""The exponential by scaling and squaring, for real and complex matrices.

    exp A = r(2⁻ˢA)^(2ˢ),      r the [m/m] Padé approximant,

s from the growth of the powers of A, not from its norm, so that a non-normal A is not scaled more
than it needs. Of a (quasi-)triangular A the entries next to the diagonal are known in closed form;
they replace those of every square, whose errors would double each time. `jax.scipy.linalg.expm`
scales by the norm: of [[2, 1e10], [0, 3]] it keeps 7 digits, and none in float32.

References:
    Al-Mohy & Higham (2009), SIAM J. Matrix Anal. Appl. 31; Higham (2008), Functions of Matrices,
    eq. 10.42.
"""

from math import comb, factorial, log2
from typing import Any

import jax
import jax.numpy as jnp

from cholax.matfun.growth import log2_growth_of_even, log2_norm_of_magnitudes, product
from cholax.matfun.triangular import Band, band_of, isolated_blocks, with_band

Array = jax.Array

# Beyond, the result is NaN: rounding of A alone would move a normal one by 2⁴⁰ eps.
MOST_SQUARINGS = 40
# By precision: degree m; the growth up to which r is exact (their table 3.1, 4.25 for m = 13 so
# that the denominator stays well conditioned); the powers p with p (p − 1) ≤ m.
_DEGREES = {"float32": (7, 3.92, 3), "float64": (13, 4.25, 4)}


@jax.jit
def exponential(A: Array) -> Array:
    """The exponential of a real or complex matrix, upper triangular if it is triangular.

    Forward-mode derivatives are those of the algorithm: what replaces an entry equals it.
    """
    fixed = jax.lax.stop_gradient(A)
    degree, radius, pairs = _DEGREES[jnp.finfo(A.dtype).dtype.name]
    count = _squarings(fixed, degree, radius, pairs)
    known = jnp.all(jnp.tril(fixed, -2) == 0) & isolated_blocks(fixed)
    # Of all scalings at once: the program has them once, not in each of its two places.
    bands = _exponential_bands(band_of(fixed))

    def replace(X: Array, halvings: Array) -> Array:
        exact = Band(*(part[halvings] for part in bands))
        return _replaced(X, with_band(jax.lax.stop_gradient(X), exact), known)

    def square(X: Array, k: Any) -> tuple[Array, None]:
        def once(X: Array) -> Array:
            return replace(product(X, X), count - 1 - k)

        return jax.lax.cond(k < count, once, lambda X: X, X), None

    start = replace(_pade(_power_of_two(-count, A) * A, degree), count)
    result = jax.lax.scan(square, start, jnp.arange(MOST_SQUARINGS))[0]
    bad = jnp.asarray(jnp.nan, A.dtype) + (1j * jnp.nan if jnp.iscomplexobj(A) else 0)
    return jnp.where(count <= MOST_SQUARINGS, result, bad)


def _squarings(A: Array, degree: int, radius: float, pairs: int) -> Array:
    """Their algorithm 6.1 for s, whose second bound guards against cancellation in r."""
    growth = log2_growth_of_even(A, pairs) - log2(radius)
    # ‖c |A|²ᵐ⁺¹‖ ≤ u ‖A‖ for the first coefficient c left out of the backward error.
    order = 2 * degree + 1
    unit = jnp.finfo(A.dtype).eps / 2
    coefficient = -log2(comb(2 * degree, degree) * factorial(order)) - jnp.log2(unit)
    powers = log2_norm_of_magnitudes(A, order) - log2_norm_of_magnitudes(A, 1)
    guard = (coefficient + powers) / (2 * degree)
    needed = jnp.ceil(jnp.maximum(growth, guard))
    # NaN for the zero matrix, which needs none, and for NaN, which stays NaN.
    count = jnp.where(needed > 0, jnp.minimum(needed, MOST_SQUARINGS + 1), 0)
    return count.astype(jnp.int32)


def _pade(X: Array, degree: int) -> Array:
    """r(X) = q(X)⁻¹ p(X),  p = V + U and q = V − U,  U odd and V even in X."""
    # Divided by the first of them, rounded to a power of two: no entry of X overflows early.
    scale = 2.0 ** -int(log2(factorial(2 * degree) // factorial(degree)))
    b = [
        scale * factorial(2 * degree - j) / (factorial(degree - j) * factorial(j))
        for j in range(degree + 1)
    ]
    identity = jnp.eye(X.shape[0], dtype=X.dtype)
    X2 = product(X, X)
    X4 = product(X2, X2)
    X6 = product(X4, X2)
    U = b[7] * X6 + b[5] * X4 + b[3] * X2 + b[1] * identity
    V = b[6] * X6 + b[4] * X4 + b[2] * X2 + b[0] * identity
    if degree == 13:
        U += product(X6, b[13] * X6 + b[11] * X4 + b[9] * X2)
        V += product(X6, b[12] * X6 + b[10] * X4 + b[8] * X2)
    U = product(X, U)
    return jnp.linalg.solve(V - U, V + U)


def _exponential_bands(band: Band) -> Band:
    """exp(2⁻ᵏ A) next to the diagonal, of a quasi-triangular A; a row for each k.

    Of [[a, b], [c, d]] with δ = (a + d)/2, h = (a − d)/2 and μ = (h² + bc)^(1/2), Re μ ≥ 0:

        e^δ (cosh μ I + sinh μ/μ [[h, b], [c, −h]]),      e^δ sinh μ/μ = e^(δ+μ) (1 − e^(−2μ))/(2μ).
    """
    scales = _power_of_two(-jnp.arange(MOST_SQUARINGS + 1), band.diagonal)[:, None]
    diagonal, above, below = (scales * part.astype(_complex(part)) for part in band)
    a, d = diagonal[:, :-1], diagonal[:, 1:]
    half = (a - d) / 2
    root = jnp.where(below == 0, half, jnp.sqrt(half**2 + above * below))
    root = jnp.where(root.real < 0, -root, root)
    nonzero = jnp.where(root == 0, 1, root)
    # Of a triangular block δ + μ is one of the eigenvalues, without rounding.
    top = jnp.where(a.real >= d.real, a, d)
    top = jnp.where(below == 0, jnp.where(half == 0, a, top), (a + d) / 2 + root)
    size, decay = jnp.exp(top), jnp.exp(-2 * root)
    slope = size * jnp.where(root == 0, 1, -jnp.expm1(-2 * root) / (2 * nonzero))
    mean = size * (1 + decay) / 2
    # With real eigenvalues one of the two differences cancels; −h + μ is bc/(h + μ).
    coupling = above * below
    real = (half.imag == 0) & (coupling.imag == 0) & (coupling.real > 0)
    sign = jnp.where(half.real < 0, -1, 1)
    far = jnp.where(real, root + sign * half, 1)
    large, small = far / (2 * nonzero), coupling / (2 * nonzero * far)
    larger = size * (large + small * decay)
    smaller = size * (small + large * decay)
    first = jnp.where(real, jnp.where(sign > 0, larger, smaller), mean + half * slope)
    second = jnp.where(real, jnp.where(sign > 0, smaller, larger), mean - half * slope)
    block = below != 0
    upper, lower = (jnp.pad(block, ((0, 0), side)) for side in ((0, 1), (1, 0)))
    first, second = jnp.pad(first, ((0, 0), (0, 1))), jnp.pad(second, ((0, 0), (1, 0)))
    own = jnp.where(upper, first, jnp.where(lower, second, jnp.exp(diagonal)))
    exact = Band(own, above * slope, below * slope)
    if jnp.iscomplexobj(band.diagonal):
        return exact
    return Band(*(part.real for part in exact))


@jax.custom_jvp
def _replaced(X: Array, exact: Array, known: Array) -> Array:
    """`exact` where it is known, with the derivative of X, which it equals but for rounding."""
    return jnp.where(known, exact, X)


@_replaced.defjvp
def _replaced_tangent(primals: Any, tangents: Any) -> tuple[Array, Array]:
    return _replaced(*primals), tangents[0]


def _power_of_two(exponent: Array, like: Array) -> Array:
    real = jnp.finfo(like.dtype).dtype
    return jnp.ldexp(jnp.ones((), real), exponent)


def _complex(x: Array) -> Any:
    return jnp.result_type(x.dtype, jnp.complex64)
