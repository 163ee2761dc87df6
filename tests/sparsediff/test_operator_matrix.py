"""Matrices of linear maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from cholax.sparsediff.operator_matrix import linear_operator_matrix
from tests import tolerances as tol

K = np.array([[1.0, 0, 2, 0], [0, -3.0, 0, 0.5], [4.0, 0, 0, 0]])


def apply(x):
    return {"y": jnp.asarray(K, x["a"].dtype) @ jnp.concatenate([x["a"], x["b"].ravel()])}


X = {"a": jnp.zeros(3), "b": jnp.zeros((1, 1))}


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_dense_matrix(mode):
    tol.assert_close(linear_operator_matrix(apply, X, mode=mode), K, tol.value(np.float64))
    traced = jax.jit(lambda s: linear_operator_matrix(lambda x: s * x[1:], jnp.ones(3), mode=mode))
    tol.assert_close(traced(2.0), 2 * np.eye(2, 3, 1), tol.value(np.float64))


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("sparsity", ["detect", K, cx.from_dense(jnp.asarray(K)).pattern])
def test_sparse_matrix(mode, sparsity):
    A = linear_operator_matrix(apply, X, mode=mode, sparsity=sparsity)
    tol.assert_close(A.to_dense(), K, tol.value(np.float64))


def test_single_precision_stays_single():
    small = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, np.float32), X)
    assert linear_operator_matrix(apply, small, sparsity=K).dtype == np.float32


def test_large_dense_matrices_are_made_in_chunks(monkeypatch):
    monkeypatch.setattr("cholax.sparsediff.operator_matrix.CHUNK_BYTES", 64)
    got = linear_operator_matrix(jnp.cumsum, jnp.ones(7))
    tol.assert_close(got, np.tril(np.ones((7, 7))), tol.value(np.float64))


def test_forward_needs_no_derivative():
    def callback(x):
        return jax.pure_callback(np.cumsum, x, x, vmap_method="sequential")

    got = linear_operator_matrix(callback, jnp.ones(3))
    tol.assert_close(got, np.tril(np.ones((3, 3))), tol.value(np.float64))


def test_differentiates_in_what_the_map_closes_over():
    def trace(s):
        A = linear_operator_matrix(lambda x: s**2 * x[::-1], jnp.ones(4), sparsity="detect")
        return jnp.sum(A.values)

    tol.assert_close(jax.grad(trace)(3.0), 24.0, tol.gradient(np.float64))


def test_a_missing_entry_raises_or_gives_nan():
    mask = np.tril(np.ones((3, 3)))
    mask[2, 0] = 0
    with pytest.raises(cx.errors.SparsityError, match="row 2"):
        linear_operator_matrix(jnp.cumsum, jnp.ones(3), sparsity=mask)

    def traced(s):
        return linear_operator_matrix(lambda x: s * x[::-1], jnp.ones(3), sparsity=np.eye(3))

    assert np.isnan(jax.jit(traced)(1.0).values).all()


def test_bad_arguments_are_refused():
    with pytest.raises(cx.errors.ArgumentError, match="mode"):
        linear_operator_matrix(jnp.cumsum, jnp.ones(3), mode="both")
    with pytest.raises(cx.errors.DtypeError, match="float32 or float64"):
        linear_operator_matrix(lambda x: x, jnp.arange(3))


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_empty_maps(mode):
    assert linear_operator_matrix(lambda x: x, jnp.ones(0), mode=mode).shape == (0, 0)
    assert linear_operator_matrix(lambda x: x[:0], jnp.ones(3), mode=mode).shape == (0, 3)


@pytest.mark.parametrize("sparsity", [None, "detect", np.eye(4)], ids=["dense", "detect", "given"])
@pytest.mark.parametrize(
    "op", [lambda x: x**2, lambda x: x**3, lambda x: 2 * x + 1, jnp.abs, lambda x: 0 * x + 1],
    ids=["square", "cube", "affine", "sign", "constant"],
)  # fmt: skip
def test_maps_that_are_not_linear_are_refused(op, sparsity):
    with pytest.raises(cx.errors.ArgumentError, match=r"op must be linear.* use cx\.jacobian"):
        cx.linear_operator_matrix(op, jnp.ones(4), sparsity=sparsity)


def test_dense_matrices_of_maps_that_are_not_linear_are_nan_under_jit():
    fill = jax.jit(lambda c: cx.linear_operator_matrix(lambda x: c * x + (c - 1), jnp.ones(3)))
    np.testing.assert_array_equal(fill(1.0), np.eye(3))
    assert np.all(np.isnan(fill(2.0)))
    unchecked = cx.linear_operator_matrix(lambda x: x**2, jnp.ones(3), verify=False)
    np.testing.assert_array_equal(unchecked, np.eye(3))


def test_reverse_mode_of_maps_that_are_not_linear_is_refused():
    with pytest.raises(cx.errors.ArgumentError, match=r'mode="reverse" needs a linear op'):
        cx.linear_operator_matrix(lambda x: x**2, jnp.ones(4), mode="reverse")
