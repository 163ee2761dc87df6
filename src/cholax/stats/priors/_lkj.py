"""Priors of correlation matrices and of their Cholesky factors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from cholax._core.errors import ArgumentError
from cholax._core.pickling import recipe
from cholax.stats.correlation import CholeskyCorrelation, Correlation
from cholax.stats.priors._prior import Prior, check_positive


@recipe
def lkj(k: int, concentration: float = 1.0) -> Prior:
    """LKJ prior of a k×k correlation matrix, density proportional to |C|^(η - 1).

    With respect to the k(k - 1)/2 entries below the diagonal; uniform for η = 1.

    Args:
        k: order of the matrix, at least 2.
        concentration: η > 0; larger values draw C to the identity.

    Returns:
        A `Prior` of the matrix.

    Raises:
        ArgumentError: k below 2 or a concentration that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax.stats import priors
        >>> round(float(priors.lkj(2).log_prob(jnp.eye(2))), 4)  # uniform on (-1, 1)
        -0.6931

    Reference:
        Lewandowski, Kurowicka & Joe, "Generating random correlation matrices based on vines and
        extended onion method" (2009).
    """
    _check("lkj", k, concentration)

    def density(C: jax.Array) -> jax.Array:
        log_diagonal = jnp.log(jnp.diagonal(jnp.linalg.cholesky(C)))
        constant = _log_normalizer(k, concentration, C.dtype)
        return 2.0 * (concentration - 1.0) * jnp.sum(log_diagonal) - constant

    def sampler(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        L = _draw(key, shape, k, concentration)
        return L @ jnp.swapaxes(L, -1, -2)

    return Prior(f"lkj({k}, {concentration})", "correlation", Correlation(k), density, sampler)


@recipe
def lkj_cholesky(k: int, concentration: float = 1.0) -> Prior:
    """The prior of the lower Cholesky factor L of a matrix C = L Lᵀ with the prior `lkj`.

    With respect to the k(k - 1)/2 entries below the diagonal, density proportional to
    Π_j L_jj^(k - 1 - j + 2η - 2), j from 0.

    Args:
        k: order of the matrix, at least 2.
        concentration: η > 0.

    Returns:
        A `Prior` of the factor, as `iidkd` takes it.

    Raises:
        ArgumentError: k below 2 or a concentration that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax.stats import priors
        >>> prior = priors.lkj_cholesky(3, 2.0).unconstrained()
        >>> prior.forward(jnp.zeros(3)).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    _check("lkj_cholesky", k, concentration)

    def density(L: jax.Array) -> jax.Array:
        log_diagonal = jnp.log(jnp.diagonal(L))
        powers = k - 3 - jnp.arange(k, dtype=L.dtype) + 2.0 * concentration
        # The first entry is 1 whatever the matrix.
        constant = _log_normalizer(k, concentration, L.dtype)
        return jnp.sum(powers[1:] * log_diagonal[1:]) - constant

    def sampler(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return _draw(key, shape, k, concentration)

    name = f"lkj_cholesky({k}, {concentration})"
    return Prior(
        name, "Cholesky factor of the correlation", CholeskyCorrelation(k), density, sampler
    )


def _check(where: str, k: int, concentration: float) -> None:
    check_positive(where, concentration=concentration)
    if not k >= 2:
        raise ArgumentError(f"{where}: the order must be at least 2, got {k!r}.")


def _log_normalizer(k: int, concentration: float, dtype: np.dtype) -> jax.Array:
    """With i = 1..k-1, the sum of i/2 log π + log Γ(η + (k-1-i)/2) - log Γ(η + (k-1)/2)."""
    eta, i = jnp.asarray(concentration, dtype), jnp.arange(1, k, dtype=dtype)
    terms = 0.5 * i * math.log(math.pi) + gammaln(eta + 0.5 * (k - 1 - i))
    return jnp.sum(terms) - (k - 1) * gammaln(eta + 0.5 * (k - 1))


def _draw(key: jax.Array, shape: tuple[int, ...], k: int, concentration: float) -> jax.Array:
    """Independent canonical partial correlations, 2 Beta(b, b) - 1 with b = η + (k - 2 - j)/2."""
    _, columns = np.tril_indices(k, -1)
    b = concentration + 0.5 * (k - 2 - columns)
    p = 2.0 * jax.random.beta(key, b, b, (*shape, columns.size)) - 1.0
    forward = jnp.vectorize(CholeskyCorrelation(k).forward, signature="(m)->(k,k)")
    return forward(jnp.arctanh(p))
