"""Hessians of sums of small functions, against the dense Hessian of the sum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from cholax.patterns import algebra
from cholax.sparsediff._hessian import hessian
from cholax.sparsediff.separable import separable_hessian
from tests import tolerances as tol
from tests.sparsediff import problems

TRIANGLES = np.array([[4, 0, 2], [1, 4, 5], [6, 2, 0], [3, 3, 1], [5, 6, 4]])
AREA = np.array([0.3, 1.2, -0.7, 2.0, 0.9])


def phi(x, area):
    return area["a"] * jnp.exp(x[0] * x[1]) + jnp.sin(x[2] - 2 * x[0]) ** 2


def total(x, area):
    return jnp.sum(jax.vmap(phi)(x[TRIANGLES], area))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_the_dense_hessian(dtype):
    x, area = problems.point(8, dtype), {"a": jnp.asarray(AREA, dtype)}
    H = separable_hessian(phi, TRIANGLES)
    value, gradient, A = jax.jit(H.expansion)(x, area)
    assert A.symmetric
    assert A.dtype == dtype
    tol.assert_close(A.to_dense(), jax.jit(jax.hessian(total))(x, area), tol.value(dtype))
    tol.assert_close(gradient, jax.jit(jax.grad(total))(x, area), tol.value(dtype))
    tol.assert_close(value, jax.jit(total)(x, area), tol.value(dtype))
    again, B = jax.jit(H.value_and)(x, area)
    tol.assert_all_close((again, B.values), (value, A.values), tol.value(dtype))


def test_pattern_holds_what_detection_finds():
    x, area = problems.point(7), {"a": jnp.asarray(AREA)}
    detected = hessian(total).pattern(x, area)
    pattern = separable_hessian(phi, TRIANGLES).pattern(x)
    assert detected.nnz < pattern.nnz  # phi does not couple its second and third argument
    assert algebra.union(pattern, detected)[0] == pattern


def test_differentiates_and_batches():
    x, area = problems.point(7), {"a": jnp.asarray(AREA)}
    H = separable_hessian(phi, TRIANGLES)
    sparse = lambda x, area: H(x, area).to_dense()  # noqa: E731
    dense = jax.hessian(total)
    expected = jax.jit(jax.jacfwd(dense, (0, 1)))(x, area)
    for derivative in (jax.jacfwd, jax.jacrev):
        got = jax.jit(derivative(sparse, (0, 1)))(x, area)
        tol.assert_all_close(jax.tree.leaves(got), jax.tree.leaves(expected), tol.gradient(x.dtype))
    X = jnp.stack([x, 0.5 * x])
    got = jax.jit(jax.vmap(sparse, (0, None)))(X, area)
    expected = jax.jit(jax.vmap(dense, (0, None)))(X, area)
    tol.assert_close(got, expected, tol.value(x.dtype))


def test_no_elements_and_no_unknowns():
    empty = separable_hessian(lambda x: jnp.sum(x**2), np.zeros((0, 2), int))
    assert empty(jnp.ones(3)).to_dense().tolist() == np.zeros((3, 3)).tolist()
    assert empty(jnp.ones(0)).shape == (0, 0)


def test_bad_index_maps_are_refused():
    f = lambda x: jnp.sum(x**2)  # noqa: E731
    with pytest.raises(cx.errors.ShapeError, match="matrix"):
        separable_hessian(f, np.arange(3))
    with pytest.raises(cx.errors.PatternError, match="negative"):
        separable_hessian(f, [[0, -1]])
    with pytest.raises(cx.errors.PatternError, match="below"):
        separable_hessian(f, [[0, 3]])(jnp.ones(3))
    with pytest.raises(cx.errors.PatternError, match="traced"):
        jax.jit(lambda i: separable_hessian(f, i)(jnp.ones(3)))(jnp.array([[0, 1]]))
    with pytest.raises(cx.errors.ShapeError, match="vector"):
        separable_hessian(f, [[0, 1]])(jnp.ones((3, 2)))
