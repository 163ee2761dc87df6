"""Functions of our own sparse matrices: products, solves, log-determinants, factors."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

import cholax as cx
from tests.sparsediff.detect.cases._case import Family

case = Family()
RECTANGLE = sp.random_array((4, 6), density=0.4, rng=np.random.default_rng(0)).tocsc()
GENERAL = cx.from_scipy(RECTANGLE)
CHAIN = cx.from_scipy(
    sp.diags_array([-1.0, 4.0, -1.0], offsets=[-1, 0, 1], shape=(3, 3)).tocsc(), symmetric=True
)
TWO_CHAINS = cx.block_diag([CHAIN, CHAIN.add_diagonal(jnp.ones(3))])
H = {"hessian": True}


@case(6)
def sparse_product(x):
    return GENERAL @ x


@case(4)
def sparse_product_transposed(x):
    return GENERAL.T @ x


@case(12)
def sparse_product_of_columns(x):
    return (GENERAL @ x.reshape(6, 2)).ravel()


@case(6)
def symmetric_product(x):
    return TWO_CHAINS @ x**2


@case(9)
def values_and_vector_vary(x):
    return cx.SparseMatrix(x[:5], CHAIN.pattern) @ x[5:8] * x[8]


@case(6)
def diagonal_and_scaling(x):
    scaled = TWO_CHAINS.scale_rows(x).scale_columns(x[::-1])
    return jnp.concatenate([scaled.diagonal(), scaled.values])


@case(6)
def entries_of_a_sum(x):
    return TWO_CHAINS.add_diagonal(x).values ** 2


@case(6)
def congruence_values(x):
    return cx.congruence(GENERAL, x[:4]).values


@case(6)
def solve_two_components(x):
    return cx.solve(TWO_CHAINS, x)


@case(6)
def solve_with_varying_diagonal(x):
    return cx.solve(TWO_CHAINS.add_diagonal(x**2), jnp.ones(6))


@case(6)
def vmapped_solve(x):
    a = CHAIN
    return jax.vmap(lambda b: cx.solve(a, b))(x.reshape(2, 3)).ravel()


@case(6)
def inverse_diagonal(x):
    return cx.inverse_diagonal(TWO_CHAINS.add_diagonal(x**2 + 0.1))


@case(6, nnz=36)
def half_solve(x):
    return cx.cholesky(TWO_CHAINS, ordering="natural").half_solve(x)


@case(3, nnz=15)
def factor_entries(x):
    return cx.cholesky(CHAIN.add_diagonal(x**2), ordering="natural").lower().values


@case(6, **H)
def log_determinant(x):
    return cx.log_det(TWO_CHAINS.add_diagonal(x**2))


@case(6, **H)
def quadratic_form(x):
    return cx.quadratic_form(TWO_CHAINS, x)


@case(6, **H)
def quadratic_form_of_the_inverse(x):
    return jnp.dot(x, cx.solve(TWO_CHAINS, x))


@case(6, **H)
def laplace_objective(x):
    a = TWO_CHAINS.add_diagonal(jnp.exp(0.1 * x))
    return 0.5 * cx.log_det(a) + cx.quadratic_form(TWO_CHAINS, x)


@case(3, **H)
def selected_inverse_energy(x):
    return jnp.sum(cx.selected_inverse(CHAIN.add_diagonal(x**2)).values ** 2)
