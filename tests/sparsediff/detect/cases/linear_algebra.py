"""Solves and factorisations."""

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jax import lax

from tests.sparsediff.detect.cases._case import Family

case = Family()
BLOCKS = np.array([[2.0, 1, 0, 0], [1, 3, 0, 0], [0, 0, 4, 1], [0, 0, 1, 2]])
LOWER = np.array([[2.0, 0, 0, 0], [1, 3, 0, 0], [0, 0, 4, 0], [0, 1, 0, 2]])


@case(4)
def solve_dense(x):
    return jnp.linalg.solve(np.diag([3.0, 4, 5, 6]) + 1, x)


@case(4)
def solve_block_diagonal(x):
    return jnp.linalg.solve(BLOCKS, x)


@case(4)
def solve_with_variable_matrix(x):
    return jnp.linalg.solve(jnp.eye(2) * 3 + x[:2, None] * x[None, :2], x[2:])


@case(8)
def solve_many_right_hand_sides(x):
    return jnp.linalg.solve(BLOCKS, x.reshape(4, 2)).ravel()


@case(4)
def inverse(x):
    return jnp.linalg.inv(jnp.eye(2) * 5 + x.reshape(2, 2)).ravel()


@case(4)
def triangular_lower(x):
    return jsl.solve_triangular(LOWER, x, lower=True)


@case(4)
def triangular_upper_transposed(x):
    return jsl.solve_triangular(LOWER, x, lower=True, trans=1)


@case(8)
def triangular_from_the_right(x):
    return lax.linalg.triangular_solve(LOWER, x.reshape(2, 4), lower=True).ravel()


@case(8)
def triangular_batched(x):
    a = jnp.stack([LOWER, LOWER + 0.5 * np.tril(np.eye(4)[::-1])])
    return lax.linalg.triangular_solve(a, x.reshape(2, 4, 1), left_side=True, lower=True).ravel()


@case(4)
def triangular_with_variable_matrix(x):
    a = jnp.tril(jnp.outer(x[:2], x[:2])) + 3 * jnp.eye(2)
    return jsl.solve_triangular(a, x[2:], lower=True)


@case(5)
def tridiagonal(x):
    low = jnp.array([0.0, 1, 1, 0, 1])
    return lax.linalg.tridiagonal_solve(low, jnp.full(5, 4.0), jnp.zeros(5), x[:, None]).ravel()


@case(4)
def cholesky_factor(x):
    return jnp.linalg.cholesky(jnp.diag(x**2) + jnp.ones((4, 4)) * 0.1)[jnp.tril_indices(4)]


@case(4)
def cholesky_solve(x):
    factor = jsl.cho_factor(BLOCKS, lower=True)
    return jsl.cho_solve(factor, x)


@case(4)
def log_determinant(x):
    return jnp.linalg.slogdet(jnp.diag(x + 3) + 0.1)[1][None]


@case(4)
def determinant(x):
    return jnp.linalg.det(jnp.eye(2) * 3 + x.reshape(2, 2))[None]


@case(4, exact=False)
def symmetric_eigenvalues(x):
    return jnp.linalg.eigvalsh(jnp.diag(x) + np.ones((4, 4)))


@case(4, exact=False)
def singular_values(x):
    return jnp.linalg.svd(jnp.outer(x, x) + BLOCKS, compute_uv=False)


@case(6, exact=False, slow=True)
def orthogonal_factor(x):
    q, r = jnp.linalg.qr(x.reshape(3, 2))
    return jnp.concatenate([q.ravel(), r.ravel()])


@case(4, nnz=64, slow=True)
def lu_factors(x):
    return jsl.lu(jnp.diag(x + 3) + np.ones((4, 4)))[2].ravel()


@case(4, exact=False, slow=True)
def eigenvalues(x):
    return jnp.real(jnp.linalg.eigvals(jnp.diag(x + jnp.arange(4.0) * 5)))


@case(4, exact=False, slow=True)
def matrix_exponential(x):
    return jsl.expm(x.reshape(2, 2)).ravel()


@case(4, exact=False, slow=True)
def pseudo_inverse(x):
    return jnp.linalg.pinv(x.reshape(2, 2) + 3 * jnp.eye(2)).ravel()


@case(4, exact=False, slow=True)
def least_squares(x):
    return jnp.linalg.lstsq(np.vander(np.arange(4.0), 2), x)[0]


@case(4, exact=False)
def schur_form(x):
    return jnp.abs(jnp.linalg.eigvalsh(jnp.diag(x) @ BLOCKS @ jnp.diag(x)))


@case(4)
def conjugate_gradients(x):
    return jax.scipy.sparse.linalg.cg(lambda v: BLOCKS @ v, x)[0]


@case(4)
def matrix_free_solve(x):
    def matvec(v):
        return 4 * v - jnp.concatenate([jnp.zeros(1), v[:-1]])

    return lax.custom_linear_solve(
        matvec, x, lambda mv, b: jsl.solve_triangular(jax.jacfwd(mv)(b), b, lower=True)
    )


@case(8)
def vmapped_solve(x):
    return jax.vmap(lambda b: jnp.linalg.solve(jnp.eye(2) * 3 + 1, b))(x.reshape(4, 2)).ravel()


@case(4)
def matrix_power(x):
    return jnp.linalg.matrix_power(jnp.diag(x), 3).ravel()
