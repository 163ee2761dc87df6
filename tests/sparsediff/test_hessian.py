"""Hessians against dense twins, in both modes, under all transforms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from cholax.sparsediff._hessian import hessian
from cholax.testing import check_coloring
from tests import tolerances as tol
from tests.sparsediff import problems


@pytest.mark.parametrize("name", problems.HESSIANS)
def test_hessian_is_the_dense_one(name):
    f, n = problems.HESSIANS[name]
    x = problems.point(n)
    H = hessian(f)
    A = H(x)
    assert A.symmetric
    tol.assert_close(A.to_dense(), jax.jit(jax.hessian(f))(x), tol.value(x.dtype))
    check_coloring(H.colors(x))


@pytest.mark.parametrize("name", ["energy", "mixed model"])
def test_substitution_gives_the_same_matrix(name):
    f, n = problems.HESSIANS[name]
    x = problems.point(n)
    H = hessian(f, mode="acyclic")
    tol.assert_close(H(x).to_dense(), jax.jit(jax.hessian(f))(x), tol.value(x.dtype))
    check_coloring(H.colors(x))


def test_acyclic_takes_fewer_products_and_solves_long_chains():
    n = 2000
    x = problems.point(n)
    H = hessian(problems.chain, mode="acyclic")
    assert len(H.colors(x)) == 2
    star = hessian(problems.chain)
    assert len(star.colors(x)) == 3
    tol.assert_close(H(x).values, star(x).values, tol.value(x.dtype))


def test_single_precision_stays_single():
    f, n = problems.HESSIANS["energy"]
    x = problems.point(n, np.float32)
    A = hessian(f)(x)
    assert A.dtype == np.float32
    tol.assert_close(A.to_dense(), jax.jit(jax.hessian(f))(x), tol.value(np.float32))


def test_expansion_gives_what_a_newton_step_needs():
    f, n = problems.HESSIANS["energy"]
    x = problems.point(n)
    H = hessian(f)
    value, gradient, A = H.expansion(x)
    tol.assert_close(value, f(x), tol.value(x.dtype))
    tol.assert_close(gradient, jax.grad(f)(x), tol.value(x.dtype))
    tol.assert_close(A.to_dense(), jax.jit(jax.hessian(f))(x), tol.value(x.dtype))
    tol.assert_close(H.value_and(x)[0], f(x), tol.value(x.dtype))


@pytest.mark.parametrize("mode", ["star", pytest.param("acyclic", marks=pytest.mark.slow)])
def test_sparse_third_derivatives(mode):
    f, n = problems.HESSIANS["chain"]
    x = problems.point(n)
    H = hessian(f, mode=mode)
    sparse = lambda x: H(x).to_dense()  # noqa: E731
    expected = jax.jit(jax.jacfwd(jax.hessian(f)))(x)
    for got in jax.jit(lambda x: (jax.jacfwd(sparse)(x), jax.jacrev(sparse)(x)))(x):
        tol.assert_close(got, expected, tol.gradient(x.dtype))


@pytest.mark.slow
def test_sparse_fourth_derivatives():
    f, n = problems.HESSIANS["chain"]
    x, weights = problems.point(n), jnp.arange(1.0, n * n + 1).reshape(n, n)
    H = hessian(f)
    got = jax.jit(jax.hessian(lambda x: jnp.sum(weights * H(x).to_dense())))(x)
    expected = jax.jit(jax.hessian(lambda x: jnp.sum(weights * jax.hessian(f)(x))))(x)
    tol.assert_close(got, expected, tol.gradient(x.dtype))


def test_under_vmap_over_points_and_parameters():
    def f(x, theta):
        return jnp.sum(jnp.exp(theta * x[1:] * x[:-1])) + theta**2 * x[0]

    H = hessian(f)
    X = jnp.stack([problems.point(5), -problems.point(5)])
    thetas = jnp.array([0.3, 1.1])
    got = jax.jit(jax.vmap(lambda x, t: H(x, t).to_dense()))(X, thetas)
    tol.assert_close(got, jax.jit(jax.vmap(jax.hessian(f)))(X, thetas), tol.value(X.dtype))


def test_log_determinant_of_a_hessian_differentiates():
    def f(x, theta):
        return (
            jnp.sum(jnp.cosh(x[1:] - x[:-1]) * theta) + jnp.sum(x**2) + jnp.sum(jnp.exp(theta * x))
        )

    x = problems.point(6)
    H = hessian(f)
    sparse = lambda t: cx.log_det(H(x, t))  # noqa: E731
    dense = lambda t: jnp.linalg.slogdet(jax.hessian(f)(x, t))[1]  # noqa: E731
    got = jax.jit(jax.value_and_grad(sparse))(0.7)
    expected = jax.jit(jax.value_and_grad(dense))(0.7)
    tol.assert_all_close(got, expected, tol.gradient(x.dtype))
    got = jax.jit(jax.hessian(sparse))(0.7)
    tol.assert_close(got, jax.jit(jax.hessian(dense))(0.7), tol.gradient(x.dtype))


def test_several_arguments_make_one_symmetric_matrix():
    def f(a, b):
        return jnp.sum(a**2) * b["s"] + jnp.sum(b["t"] ** 3) + a[0] * b["t"][1]

    a, b = problems.point(3), {"s": jnp.array(0.4), "t": problems.point(2)}
    A = hessian(f, argnums=(0, 1))(a, b)

    def twin(flat):
        return f(flat[:3], {"s": flat[3], "t": flat[4:]})

    flat = jnp.concatenate([a, b["s"][None], b["t"]])
    tol.assert_close(A.to_dense(), jax.jit(jax.hessian(twin))(flat), tol.value(a.dtype))


def test_auxiliary_data_comes_along():
    H = hessian(lambda x: (jnp.sum(x**4), x[0]), has_aux=True)
    x = problems.point(3)
    A, aux = H(x)
    tol.assert_close(A.to_dense(), jnp.diag(12 * x**2), tol.value(x.dtype))
    tol.assert_close(aux, x[0], tol.value(x.dtype))
    (value, aux), _ = H.value_and(x)
    tol.assert_close(value, jnp.sum(x**4), tol.value(x.dtype))
    assert len(H.expansion(x)[0]) == 2


@pytest.mark.parametrize("n", [0, 1])
def test_smallest_sizes(n):
    x = problems.point(n)
    A = hessian(lambda x: jnp.sum(x**3))(x)
    tol.assert_close(A.to_dense(), jnp.diag(6 * x), tol.value(x.dtype))


def test_vector_outputs_are_refused():
    with pytest.raises(cx.errors.ShapeError, match="scalar"):
        hessian(lambda x: x**2)(jnp.ones(3))
    with pytest.raises(cx.errors.ShapeError, match="scalar"):
        hessian(lambda x: (jnp.sum(x), 1.0))(jnp.ones(3))


def test_large_mixed_model_takes_seven_products():
    q = 5000
    group = np.arange(2 * q) % q
    design = np.sin(np.arange(10 * q)).reshape(2 * q, 5)

    def f(x):
        eta = design @ x[:5] + x[5 : 5 + q][group]
        return jnp.sum(jax.nn.softplus(eta)) + 0.5 * jnp.sum(x[5 : 5 + q] ** 2) * jnp.exp(
            -2 * x[-1]
        )

    H = hessian(f)
    x = jax.ShapeDtypeStruct((q + 6,), np.float64)
    zeros = jnp.zeros(x.shape)
    assert len(H.colors(zeros)) == 7
    assert 2 * H.pattern(zeros).nnz - (q + 6) == 65_026


@pytest.mark.parametrize("derivative", [cx.hessian, cx.jacobian])
def test_a_function_is_traced_once_for_pattern_program_and_check(derivative):
    traces = itertools.count()  # whose state is no part of what f captures

    def f(x, scale):
        next(traces)
        y = scale * x[1:] * x[:-1] ** 2
        return jnp.sum(y) if derivative is cx.hessian else y

    of = derivative(f)
    of(jnp.arange(1.0, 6.0), 2.0)
    of(jnp.arange(2.0, 7.0), 3.0)
    assert next(traces) == 1
