"""exp(tA) b against SciPy, and its derivatives against the dense exponential."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

import cholax as cx
from cholax.errors import ArgumentError, DtypeError, ShapeError, StructureError
from cholax.matfun import expm_multiply
from tests import tolerances as tol


def problem(n=7, seed=0):
    random = np.random.default_rng(seed)
    Q = scipy.sparse.random_array((n, n), density=0.4, rng=random, format="csc")
    Q = (Q + scipy.sparse.diags_array(random.standard_normal(n))).tocsc()
    return cx.from_scipy(Q), random.standard_normal(n), random.standard_normal(n)


def dense(A, b, t):
    return jax.scipy.linalg.expm(t * A.to_dense()) @ b


def test_value_agrees_with_scipy():
    A, b, _ = problem()
    B = np.stack([b, 2 * b + 1], axis=1)
    for t in (0.0, -1.3, 7.0):
        exact = scipy.linalg.expm(t * np.asarray(A.to_dense())) @ B
        tol.assert_close(expm_multiply(A, B, t), exact, tol.value(b.dtype))


def test_all_derivatives_agree_with_the_dense_exponential():
    A, b, w = problem()

    def results(action):
        def loss(values, b, t):
            return jnp.sum(w * action(cx.SparseMatrix(values, A.pattern), b, t) ** 2)

        point = (A.values, jnp.asarray(b), jnp.asarray(0.7))
        moves = (A.values**2 + 1, jnp.cos(jnp.asarray(b)), jnp.asarray(1.0))

        @jax.jit
        def everything(point, moves):
            gradient = jax.grad(loss, (0, 1, 2))
            first, forward = jax.jvp(gradient, point, moves)
            tangent = jax.jvp(loss, point, moves)[1]
            return tangent, *first, *forward

        return everything(point, moves)

    limited = lambda A, b, t: expm_multiply(A, b, t, max_steps=4)  # noqa: E731
    tol.assert_all_close(results(limited), results(dense), tol.gradient(b.dtype))


@pytest.mark.slow
def test_symmetric_half_storage_counts_both_entries():
    Q = scipy.sparse.diags_array([[1.0, 2.0], [3.0, 4.0, 5.0], [1.0, 2.0]], offsets=[-1, 0, 1])
    A, b = cx.from_scipy(Q.tocsc(), symmetric=True), jnp.arange(3.0)

    def loss(values, action):
        return jnp.sum(action(cx.SparseMatrix(values, A.pattern), b, 0.2) ** 3)

    short = lambda A, b, t: expm_multiply(A, b, t, max_steps=1)  # noqa: E731
    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    got, expected = (gradient(A.values, f) for f in (short, dense))
    tol.assert_close(got, expected, tol.gradient(b.dtype))


def test_stiff_heat_equation_in_many_steps():
    n = 60
    off = np.ones(n - 1)
    Q = scipy.sparse.diags_array([off, np.full(n, -2.0), off], offsets=[-1, 0, 1]) * n
    b = np.sin(np.arange(n))
    exact = scipy.linalg.expm(Q.toarray()) @ b
    tol.assert_close(expm_multiply(cx.from_scipy(Q.tocsc()), b), exact, 1e-12)


def test_too_many_steps_inside_a_program_give_nan():
    A, b, _ = problem()
    compiled = jax.jit(lambda t: expm_multiply(A, b, t, max_steps=2))
    assert np.all(np.isfinite(compiled(0.5)))
    assert np.all(np.isnan(compiled(100.0)))


@pytest.mark.slow
def test_function_with_a_norm_is_differentiable_in_what_it_closes_over():
    b = jnp.arange(1.0, 4.0)

    def value(k):
        return expm_multiply(lambda y: k * jnp.roll(y, 1), b, 1.0, norm=1.0, max_steps=1)

    def exact(k):
        return jax.scipy.linalg.expm(k * jnp.roll(jnp.eye(3), 1, axis=0)) @ b

    tol.assert_close(value(0.9), exact(0.9), tol.value(b.dtype))
    got, expected = (jax.jit(jax.jacrev(f))(0.9) for f in (value, exact))
    tol.assert_close(got, expected, tol.gradient(b.dtype))


@pytest.mark.slow
def test_vmap_over_times_and_vectors():
    A, b, w = problem()
    times, vectors = jnp.array([0.1, 0.5, 2.0]), jnp.stack([b, w, b + w])
    got = jax.vmap(lambda b, t: expm_multiply(A, b, t, max_steps=8))(vectors, times)
    tol.assert_close(got, jnp.stack([dense(A, v, t) for v, t in zip(vectors, times, strict=True)]),
                     tol.value(b.dtype))  # fmt: skip


@pytest.mark.slow
def test_float32_and_empty():
    A, b, _ = problem()
    single = expm_multiply(A.astype("float32"), b.astype(np.float32), 0.5)
    assert single.dtype == np.float32
    tol.assert_close(single, dense(A, b, 0.5), tol.gradient(np.float32))
    assert expm_multiply(cx.eye(0, dtype="float64"), np.zeros(0)).shape == (0,)


def test_wrong_input_is_refused():
    A, b, _ = problem()
    with pytest.raises(ArgumentError, match="norm="):
        expm_multiply(lambda y: y, b)
    with pytest.raises(ShapeError, match="7 rows"):
        expm_multiply(A, b[:3])
    with pytest.raises(DtypeError, match="one dtype"):
        expm_multiply(A, b.astype(np.float32))
    with pytest.raises(StructureError, match="square"):
        expm_multiply(cx.from_dense(np.ones((2, 3))), np.ones(3))
    with pytest.raises(ArgumentError, match="max_steps"):
        expm_multiply(A, b, max_steps=0)
