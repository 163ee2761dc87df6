"""Sums, extrema, cumulative and windowed operations, transforms along an axis."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.sparsediff.detect.cases._case import Family

case = Family()


@case(12)
def row_and_column_sums(x):
    y = x.reshape(3, 4)
    return jnp.concatenate([y.sum(0), y.mean(1)])


@case(12)
def norms_of_rows(x):
    return jnp.linalg.norm(x.reshape(3, 4), axis=1)


@case(6, positive=True)
def products(x):
    return jnp.prod(x.reshape(2, 3), axis=1)


@case(6)
def softmax(x):
    return jax.nn.softmax(x)


@case(8)
def log_sum_exp_of_rows(x):
    return jax.nn.logsumexp(x.reshape(2, 4), axis=1)


@case(8, points=30)
def maximum_of_rows(x):
    return x.reshape(2, 4).max(axis=1)


@case(6)
def standardized(x):
    return (x - x.mean()) / x.std()


@case(6)
def cumulative_sum(x):
    return jnp.cumsum(x**2)


@case(6)
def cumulative_sum_reversed(x):
    return lax.cumsum(x, reverse=True)


@case(8)
def cumulative_sum_along_rows(x):
    return jnp.cumsum(x.reshape(2, 4), axis=1).ravel()


@case(6, positive=True)
def cumulative_product(x):
    return jnp.cumprod(x)


@case(6, nnz=21)
def cumulative_maximum(x):
    return lax.cummax(x)


@case(6)
def cumulative_log_sum_exp(x):
    return lax.cumlogsumexp(x)


@case(5)
def associative_scan(x):
    return lax.associative_scan(jnp.multiply, x + 3)


@case(7)
def window_sum(x):
    return lax.reduce_window(x, 0.0, lax.add, (3,), (2,), "VALID")


@case(6)
def window_sum_dilated(x):
    return lax.reduce_window(
        x, 0.0, lax.add, (2,), (1,), ((1, 1),), base_dilation=(2,), window_dilation=(3,)
    )


@case(6, points=30)
def window_maximum(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (2,), (1,), "VALID")


@case(16, points=60)
def pooling(x):
    pooled = lax.reduce_window(x.reshape(4, 4), -jnp.inf, lax.max, (2, 2), (2, 2), "VALID")
    return pooled.ravel()


@case(6)
def average_pooling(x):
    pooled = lax.reduce_window(x.reshape(2, 3), 0.0, lax.add, (1, 2), (1, 1), "SAME")
    return pooled.ravel() / 2


@case(5, nnz=25)
def real_fourier(x):
    z = jnp.fft.rfft(x)
    return jnp.concatenate([z.real, z.imag[1:]])


@case(8, nnz=32)
def fourier_of_rows(x):
    return jnp.abs(jnp.fft.fft(x.reshape(2, 4), axis=1)).ravel()


@case(6, nnz=36)
def fourier_round_trip(x):
    return jnp.fft.irfft(jnp.fft.rfft(x) * 1.0, 6)


@case(6)
def variance_and_covariance(x):
    return jnp.cov(x.reshape(2, 3)).ravel()


@case(6)
def weighted_histogram(x):
    return jnp.zeros(3).at[np.array([0, 1, 1, 2, 2, 0])].add(x * jnp.arange(6.0))


@case(6)
def trapezoid(x):
    return jnp.trapezoid(x.reshape(2, 3), axis=1)


@case(6)
def argument_extrema(x):
    return x[:2] * (1 + jnp.argmax(x) + jnp.argmin(x))


@case(6)
def generic_reduction(x):
    return lax.reduce(x.reshape(2, 3), 1.0, lax.mul, (1,))


@case(6)
def moving_average_of_padded(x):
    return jnp.convolve(jnp.pad(x, 1, mode="wrap"), np.ones(3) / 3, mode="valid")
