"""Rearrangements: reshapes, slices, concatenation, padding, broadcasting, contractions."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax import lax
from jax.experimental import sparse

from tests.sparsediff.detect.cases._case import Family

case = Family()
RNG = np.random.default_rng(0)
MATRIX = np.where(RNG.random((4, 6)) < 0.4, RNG.standard_normal((4, 6)), 0.0)

BCOO = sparse.BCOO.fromdense(jnp.asarray(MATRIX))
BCSR = sparse.BCSR.fromdense(jnp.asarray(MATRIX))


@case(6)
def differences(x):
    return jnp.diff(x) / jnp.arange(1.0, 6.0)


@case(6)
def second_differences(x):
    return jnp.diff(x, n=2)


@case(6)
def roll_and_flip(x):
    return jnp.roll(x, 2) * jnp.flip(x)


@case(6)
def transpose_reshape(x):
    return (x.reshape(2, 3).T * jnp.arange(6.0).reshape(3, 2)).ravel()


@case(6)
def strided_slices(x):
    return x[::2] * x[1::2] - x[::-2]


@case(6)
def concatenate_parts(x):
    return jnp.concatenate([x[3:], jnp.ones(2), x[:1] * x[5:], jnp.zeros(1)])


@case(5)
def stack_tile_repeat(x):
    return jnp.concatenate(
        [jnp.stack([x, x[::-1]], 1).ravel(), jnp.tile(x[:2], 3), jnp.repeat(x, 2)]
    )


@case(6)
def split_and_swap(x):
    a, b, c = jnp.split(x, [1, 4])
    return jnp.concatenate([c, b * a, a])


@case(5)
def padding_every_kind(x):
    return lax.pad(x, 0.0, [(2, -1, 1)]) + jnp.pad(x, (1, 5), mode="edge")[:10]


@case(5)
def padding_with_a_variable(x):
    return lax.pad(x[:2], x[4], [(1, 2, 1)])


@case(6)
def outer_product(x):
    return jnp.outer(x[:2], x[2:]).ravel()


@case(6)
def broadcasting(x):
    return (x[:2, None] * x[None, 2:] + x[0]).ravel()


@case(6)
def dense_constant_matvec(x):
    return MATRIX @ x


@case(6)
def matrix_both_sides(x):
    return (MATRIX[:, :3] @ x.reshape(3, 2) @ MATRIX[:2]).ravel()


@case(6)
def quadratic_forms(x):
    return jnp.einsum("i,ij,j->i", x[:4], MATRIX, x)


@case(8)
def batched_product(x):
    a = x.reshape(2, 2, 2)
    b = np.array([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 3.0], [0.0, 0.0]]])
    return jnp.einsum("bij,bjk->bki", a, b).ravel()


@case(8)
def product_of_variables(x):
    return (x[:4].reshape(2, 2) @ x[4:].reshape(2, 2)).ravel()


@case(6)
def diagonal_coefficient(x):
    return jnp.diag(x[:3]) @ x[3:] + jnp.tril(jnp.outer(x[:3], x[:3])) @ x[:3]


@case(5)
def trace_and_diagonal(x):
    square = jnp.outer(x, jnp.arange(5.0))
    return jnp.concatenate([jnp.diagonal(square, 1), jnp.trace(square)[None]])


@case(6)
def kronecker(x):
    return jnp.kron(x[:2], x[2:])


@case(5)
def convolution_same(x):
    return jnp.convolve(x, np.array([1.0, -2.0, 1.0]), mode="same")


@case(7)
def convolution_with_variable_kernel(x):
    return jnp.convolve(x[:4], x[4:], mode="full")


@case(16)
def convolution_strided_dilated(x):
    image = x.reshape(1, 1, 4, 4)
    kernel = np.array([[1.0, 0.0], [2.0, 3.0]]).reshape(1, 1, 2, 2)
    out = lax.conv_general_dilated(
        image, kernel, (2, 1), [(1, 0), (0, 1)], lhs_dilation=(1, 2), rhs_dilation=(2, 1)
    )
    return out.ravel()


@case(16)
def convolution_in_groups(x):
    image = x.reshape(1, 4, 4)
    kernel = RNG_KERNEL
    out = lax.conv_general_dilated(image, kernel, (1,), "SAME", feature_group_count=2)
    return out.ravel()


RNG_KERNEL = np.random.default_rng(1).standard_normal((4, 2, 3))


@case(12)
def convolution_in_batch_groups(x):
    image = x.reshape(2, 2, 3)
    kernel = np.random.default_rng(2).standard_normal((4, 2, 2))
    return lax.conv_general_dilated(image, kernel, (1,), "VALID", batch_group_count=2).ravel()


@case(12)
def convolution_channels_last(x):
    image = x.reshape(1, 3, 2, 2)
    kernel = np.random.default_rng(3).standard_normal((2, 1, 2, 3))
    dims = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=dims).ravel()


@case(6)
def sparse_matvec_bcoo(x):
    return BCOO @ x


@case(6)
def sparse_matvec_bcsr(x):
    return BCSR @ x


@case(4)
def sparse_matvec_transposed(x):
    return x @ BCOO


@case(6)
def sparse_values_vary(x):
    indices = jnp.array([[0, 1], [2, 0], [2, 2], [1, 1], [0, 0], [1, 2]])
    matrix = sparse.BCOO((x, indices), shape=(3, 3))
    return matrix @ jnp.arange(3.0)


@case(6)
def sparse_to_dense(x):
    indices = jnp.array([[0, 1], [2, 0], [2, 2], [1, 1], [0, 0], [1, 2]])
    return sparse.BCOO((x, indices), shape=(3, 3)).todense().ravel()


@case(6)
def scipy_matrix_by_gather(x):
    a = sp.csr_array(MATRIX)
    rows = np.repeat(np.arange(4), np.diff(a.indptr))
    return jax.ops.segment_sum(a.data * x[a.indices], rows, 4)


@case(6)
def vmapped_pairs(x):
    return jax.vmap(lambda a, b: a * b - a)(x, jnp.roll(x, -1))


@case(8)
def vmapped_matrix(x):
    return jax.vmap(lambda row: row[1:] * row[0])(x.reshape(2, 4)).ravel()


@case(6)
def meshgrid_stencil(x):
    u = jnp.pad(x.reshape(2, 3), 1)
    out = 4 * u[1:-1, 1:-1] - u[:-2, 1:-1] - u[2:, 1:-1] - u[1:-1, :-2] - u[1:-1, 2:]
    return out.ravel()


@case(5)
def vandermonde(x):
    return jnp.vander(x, 3).ravel()


@case(5)
def polynomial_of_coefficients(x):
    return jnp.polyval(x, jnp.array([0.5, -2.0]))


@case(6)
def cross_product(x):
    return jnp.cross(x[:3], x[3:])


@case(6)
def interpolation_of_values(x):
    return jnp.interp(jnp.array([0.5, 2.2, 4.9]), jnp.arange(6.0), x)


@case(6)
def moveaxis_and_rot(x):
    return jnp.rot90(jnp.moveaxis(x.reshape(1, 2, 3), 0, 2)[..., 0]).ravel()


@case(4)
def many_terms(x):
    y = x
    for k in range(1, 40):
        y = y + jnp.sin(k * jnp.roll(x, k % 2))
    return y
