"""Derivatives of `lu`'s results in values and right-hand side, against dense JAX."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from cholax.errors import UnsupportedError
from cholax.linalg.lu import lu
from tests.linalg.twins import assert_close, tol

# Everything runs once: compiling less thoroughly saves half of the time.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

N = 7
RNG = np.random.default_rng(11)
DENSE = RNG.standard_normal((N, N)) * (RNG.random((N, N)) < 0.35)
DENSE[np.arange(N), RNG.permutation(N)] += 3.0
A = cx.from_dense(DENSE)
SYMMETRIC = cx.from_dense(DENSE + DENSE.T, symmetric=True)
B = RNG.standard_normal((N, 2))
U, V = ((RNG.standard_normal(A.nnz), RNG.standard_normal(B.shape)) for _ in range(2))


def sparse(v, b, pattern=A.pattern):
    """Every result, in one scalar that depends on both arguments in a curved way."""
    F = lu(cx.SparseMatrix(v, pattern))
    x, y = F.solve(b), F.solve(b[:, 0], transpose=True)
    return jnp.sum(jnp.sin(x)) + jnp.sum(y**2) * F.slogdet()[1]


def twin(v, b, pattern=A.pattern):
    D = jnp.zeros(pattern.shape, v.dtype).at[pattern.rows, pattern.columns].set(v)
    if pattern.symmetric:
        D = D + jnp.tril(D, -1).T
    x, y = jnp.linalg.solve(D, b), jnp.linalg.solve(D.T, b[:, 0])
    return jnp.sum(jnp.sin(x)) + jnp.sum(y**2) * jnp.linalg.slogdet(D)[1]


def along(f, direction):
    return lambda *point: jax.jvp(f, point, direction)[1]


def gradient(f):
    return jax.grad(f, (0, 1))


def product(f, direction):
    return lambda *point: sum(
        jnp.vdot(g, u) for g, u in zip(gradient(f)(*point), direction, strict=True)
    )


TRANSFORMS = {
    "value": lambda f: f,
    "jvp": lambda f: along(f, U),
    "grad": gradient,
    "forward_over_reverse": lambda f: along(gradient(f), U),
    "reverse_over_reverse": lambda f: gradient(product(f, U)),
    "forward_over_forward": lambda f: along(along(f, U), V),
    "reverse_over_forward": lambda f: gradient(along(f, U)),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_derivatives_match_the_dense_twin(transform):
    run = TRANSFORMS[transform]
    got = quick(run(sparse))(A.values, B)
    assert_close(got, quick(run(twin))(A.values, B), tol.second("float64"))


@pytest.mark.slow
@pytest.mark.parametrize("transform", ["grad", "forward_over_reverse"])
def test_third_order_matches_the_dense_twin(transform):
    run = lambda f: along(TRANSFORMS[transform](f), V)  # noqa: E731
    got = quick(run(sparse))(A.values, B)
    assert_close(got, quick(run(twin))(A.values, B), tol.third)


@pytest.mark.slow
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("transform", ["jvp", "grad"])
def test_vmap_of_derivatives_and_gradient_of_vmap(transform, axes):
    many = A.values * jnp.array([[1.0], [0.9], [1.2]]), B * jnp.array([[[1.0]], [[0.5]], [[2.0]]])
    point = [m if axis == 0 else x for m, x, axis in zip(many, (A.values, B), axes, strict=True)]
    both = []
    for f in (sparse, twin):
        mapped = jax.vmap(f, axes)
        if transform == "jvp":
            run = jax.vmap(along(f, U), axes)
        else:
            run = gradient(lambda *x, mapped=mapped: jnp.sum(jnp.cos(mapped(*x))))
        both.append(quick(run)(*point))
    assert_close(*both, tol.gradient("float64"))


def test_gradient_of_symmetric_storage_counts_both_triangles():
    f, g = (partial(h, pattern=SYMMETRIC.pattern) for h in (sparse, twin))
    got = quick(gradient(f))(SYMMETRIC.values, B)
    assert_close(got, quick(gradient(g))(SYMMETRIC.values, B), tol.gradient("float64"))


def test_gradient_matches_central_differences():
    h = 1e-6
    step = h * U[0]
    f = quick(sparse)
    slope = (f(A.values + step, B) - f(A.values - step, B)) / (2 * h)
    got = jnp.vdot(quick(jax.grad(sparse))(A.values, B), U[0])
    assert_close(got, slope, tol.finite_difference)


def test_float32_gradient():
    got = quick(gradient(sparse))(A.values.astype(np.float32), B.astype(np.float32))
    assert all(x.dtype == np.float32 for x in got)
    assert_close(got, quick(gradient(twin))(A.values, B), 10 * tol.gradient("float32"))


def test_gradient_of_the_sign_is_zero():
    sign = lambda v: lu(cx.SparseMatrix(v, A.pattern)).slogdet()[0]  # noqa: E731
    assert not np.any(jax.grad(sign)(A.values))


def test_log_determinant_in_more_than_one_block():
    """More columns than are solved for at a time, the last block not full."""
    n = 150
    rng = np.random.default_rng(2)
    rows, columns = rng.integers(0, n, (2, 300))
    diagonal = np.arange(n)
    values = np.concatenate([rng.standard_normal(300), rng.uniform(2, 4, n)])
    M = cx.from_coo(values, np.r_[rows, diagonal], np.r_[columns, diagonal], (n, n))
    log = lambda v: lu(cx.SparseMatrix(v, M.pattern)).slogdet()[1]  # noqa: E731
    got = quick(jax.grad(log))(M.values)
    inverse = np.linalg.inv(M.to_dense())
    assert_close(got, inverse[M.pattern.columns, M.pattern.rows], tol.gradient("float64"))


def test_gradient_of_a_huge_log_determinant_is_refused():
    n = 20_001
    M = cx.eye(n).as_general()
    log = lambda v: lu(cx.SparseMatrix(v, M.pattern)).slogdet()[1]  # noqa: E731
    assert float(log(2 * M.values)) == pytest.approx(n * np.log(2))
    with pytest.raises(UnsupportedError, match="n solves"):
        jax.grad(log)(M.values)


def test_gradient_where_the_matrix_is_singular_is_nan():
    got = quick(jax.grad(sparse))(0 * A.values, B)
    assert np.all(np.isnan(got))
