"""Matrix functions of non-normal, singular and borderline matrices against exact values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from cholax import matfun
from cholax.errors import ArgumentError
from tests import tolerances as tol

ROTATION = np.array([[0.0, -1.0], [1.0, 0.0]])
PATH = np.diag([1.0, 2.0, 2.0, 1.0]) - np.eye(4, k=1) - np.eye(4, k=-1)
LOW_RANK = np.random.default_rng(3).standard_normal((5, 2))


def orthogonal(n):
    return np.linalg.qr(np.random.default_rng(n).standard_normal((n, n)))[0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("c", [1e2, 1e6, 1e10, 1e15])
def test_logarithm_of_a_nonnormal_matrix_is_exact_entry_by_entry(c, dtype):
    A = np.array([[2.0, c], [0.0, 3.0]], dtype)
    expected = np.array([[np.log(2), float(A[0, 1]) * np.log(1.5)], [0, np.log(3)]])
    np.testing.assert_allclose(matfun.logm(A), expected, rtol=8 * np.finfo(dtype).eps)
    np.testing.assert_allclose(matfun.logm(A.T), expected.T, rtol=8 * np.finfo(dtype).eps)


def test_trace_of_the_logarithm_is_the_logarithm_of_the_determinant():
    A = np.array([[2.0, 1e8, 1e8], [0.0, 3.0, 1e8], [0.0, 0.0, 5.0]])
    tol.assert_close(jnp.trace(matfun.logm(A)), np.log(30.0), tol.value(A.dtype))


SINGULAR = {
    "zeros": np.zeros((3, 3)),
    "ones": np.ones((4, 4)),
    "path": PATH,
    "low rank": LOW_RANK @ LOW_RANK.T,
    "oblique projection": np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_singular_matrix_has_its_root(name):
    A = SINGULAR[name]
    root = np.asarray(matfun.sqrtm(A))
    tol.assert_close(root @ root, A, tol.value(A.dtype))


def test_nilpotent_matrix_has_no_root():
    assert np.all(np.isnan(matfun.sqrtm(np.array([[0.0, 1.0], [0.0, 0.0]]))))


AXIS = {
    "mixed": scipy.linalg.block_diag(3.0, -2.0, ROTATION, 0.0),
    "Jordan": np.block([[ROTATION, np.eye(2)], [np.zeros((2, 2)), ROTATION]]),
    "large": scipy.linalg.block_diag(np.diag(np.linspace(1, 3, 64)), ROTATION),
}


@pytest.mark.parametrize("name", AXIS)
def test_sign_is_nan_for_eigenvalues_on_the_imaginary_axis(name):
    Q = orthogonal(len(AXIS[name]))
    assert np.all(np.isnan(matfun.signm(AXIS[name])))
    assert np.all(np.isnan(matfun.signm(Q @ AXIS[name] @ Q.T)))


def test_sign_beside_the_imaginary_axis_is_right():
    Q = orthogonal(5)
    A = Q @ scipy.linalg.block_diag(3.0, -2.0, ROTATION + 1e-3 * np.eye(2), 0.5) @ Q.T
    expected = Q @ np.diag([1.0, -1.0, 1.0, 1.0, 1.0]) @ Q.T
    tol.assert_close(matfun.signm(A), expected, tol.value(A.dtype))


def test_sine_beyond_the_most_squarings_is_nan():
    # A rotation by 1e15, of which no digit is left; [[2, 1e15], [0, 3]] needs no squaring.
    assert np.any(np.isnan(matfun.sinm(1e15 * ROTATION)))


@pytest.mark.parametrize("norm", ["abc", np.nan, np.inf, -1.0, 1j, [1.0, 2.0], True])
def test_norm_without_sense_is_refused(norm):
    with pytest.raises(ArgumentError, match="norm must be"):
        matfun.expm_multiply(lambda y: y, jnp.ones(2), norm=norm)


@pytest.mark.parametrize("steps", [-1, 0, 1.5, "abc", True, np.nan])
def test_most_steps_without_sense_are_refused(steps):
    with pytest.raises(ArgumentError, match="max_steps"):
        matfun.expm_multiply(lambda y: y, jnp.ones(2), norm=1.0, max_steps=steps)


@pytest.mark.slow
@pytest.mark.parametrize("c", [1e2, 1e6])
def test_gradient_of_the_trace_of_a_nonnormal_logarithm_is_the_inverse(c):
    A = np.array([[2.0, c], [0.0, 3.0]])
    gradient = jax.grad(lambda A: jnp.trace(matfun.logm(A)))(A)
    tol.assert_close(gradient, np.linalg.inv(A).T, tol.gradient(A.dtype))
