"""The blog's matrix and the functions of the raw layer, each with its dense twin in plain JAX."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

import cholax as cx
from tests.linalg.twins import dense_log_det

SIZES = (10, 15)
TOL = {"float64": 1e-11, "float32": 2e-5}
TOL_PARTIAL_INVERSE = {"float64": 1e-13, "float32": 2e-5}
DTYPES = ("float64", "float32")


def make_matrix(m):
    """`indices, indptr, values` of the lower triangle, as the blog makes them."""
    one_d = sp.diags_array([[-1.0] * (m - 1), [2.0] * m, [-1.0] * (m - 1)], offsets=[-1, 0, 1])
    lower = sp.csc_array(sp.tril(sp.kronsum(one_d, one_d) + sp.eye_array(m * m)))
    lower.sort_indices()
    return lower.indices, lower.indptr, lower.data


class Case:
    """One matrix, its factor's pattern, and random tangents and right-hand sides."""

    def __init__(self, m):
        self.m, self.n = m, m * m
        self.indices, self.indptr, self.x = make_matrix(m)
        self.columns = np.repeat(np.arange(self.n), np.diff(self.indptr))
        self.L_indices, self.L_indptr, self.L_x = (
            np.asarray(a) for a in cx.csc.sparse_cholesky(self.indices, self.indptr, self.x)
        )
        self.L_columns = np.repeat(np.arange(self.n), np.diff(self.L_indptr))
        rng = np.random.default_rng(m)
        self.b, self.db = rng.standard_normal((2, self.n))
        self.dx, self.cotangent = 0.1 * rng.standard_normal((2, self.x.size))
        self.dL = 0.1 * rng.standard_normal(self.L_x.size)
        self.L_cotangent = rng.standard_normal(self.L_x.size)

    @property
    def structure(self):
        return self.indices, self.indptr

    @property
    def L_structure(self):
        return self.L_indices, self.L_indptr

    def dense(self, x):
        lower = jnp.zeros((self.n, self.n), x.dtype).at[self.indices, self.columns].set(x)
        return lower + jnp.tril(lower, -1).T

    def dense_L(self, x):
        return jnp.zeros((self.n, self.n), x.dtype).at[self.L_indices, self.L_columns].set(x)


@cache
def case(m):
    return Case(m)


def traced(function, *, structures, **static):
    """`function` with its leading index arrays as arguments of jit, so that they are traced."""
    compiled = jax.jit(partial(function, **static))
    return lambda *values: compiled(*structures, *values)


def concrete(function, *, structures, **static):
    return jax.jit(lambda *values: function(*structures, *values, **static))


# --- the functions and their dense twins: (sparse, dense, arguments, tangents, tolerance) --------


def triangular(c, wrap, *, transpose):
    sparse = wrap(cx.csc.sparse_triangular_solve, structures=c.L_structure, transpose=transpose)

    def dense(L_x, b):
        L = c.dense_L(L_x)
        return jax.scipy.linalg.solve_triangular(L, b, lower=True, trans=int(transpose))

    return sparse, dense, (c.L_x, c.b), (c.dL, c.db), TOL


def cholesky(c, wrap, *, L_nse=None):
    def values_of(indices, indptr, x):
        return cx.csc.sparse_cholesky(indices, indptr, x, L_nse=L_nse)[2]

    def dense(x):
        return jnp.linalg.cholesky(c.dense(x))[c.L_indices, c.L_columns]

    return wrap(values_of, structures=c.structure), dense, (c.x,), (c.dx,), TOL


def solve(c, wrap, *, L_nse=None):
    sparse = wrap(cx.csc.sparse_solve, structures=c.structure, L_nse=L_nse)

    def dense(x, b):
        return jnp.linalg.solve(c.dense(x), b)

    return sparse, dense, (c.x, c.b), (c.dx, c.db), TOL


def log_det(c, wrap, *, L_nse=None):
    sparse = wrap(cx.csc.sparse_log_det, structures=c.structure, L_nse=L_nse)
    return sparse, lambda x: dense_log_det(c.dense(x)), (c.x,), (c.dx,), TOL


def partial_inverse(c, wrap, *, onto):
    out = c.L_structure if onto == "L" else c.structure
    columns = c.L_columns if onto == "L" else c.columns

    def inverse(indices, indptr, out_indices, out_indptr, L_x):
        return cx.csc.sparse_partial_inverse(indices, indptr, L_x, out_indices, out_indptr)

    def dense(L_x):
        L_inverse = jnp.linalg.inv(c.dense_L(L_x))
        return (L_inverse.T @ L_inverse)[out[0], columns]

    sparse = wrap(inverse, structures=(*c.L_structure, *out))
    return sparse, dense, (c.L_x,), (c.dL,), TOL_PARTIAL_INVERSE


FUNCTIONS = {
    "triangular_solve": partial(triangular, transpose=False),
    "triangular_solve_transposed": partial(triangular, transpose=True),
    "cholesky": cholesky,
    "solve": solve,
    "log_det": log_det,
    "partial_inverse_on_L": partial(partial_inverse, onto="L"),
    "partial_inverse_on_A": partial(partial_inverse, onto="A"),
}
NEEDS_SIZE = ("cholesky", "solve", "log_det")


def build(name, m, indices):
    make = FUNCTIONS[name]
    if indices == "concrete":
        return make(case(m), concrete)
    if name in NEEDS_SIZE:
        make = partial(make, L_nse=case(m).L_x.size)
    return make(case(m), traced)
