"""Matrix functions against SciPy, their derivatives against blocks, differences and each other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from cholax import matfun
from cholax.errors import ArgumentError, DtypeError, ShapeError
from tests import tolerances as tol

SCIPY = {
    "cosm": scipy.linalg.cosm,
    "expm": scipy.linalg.expm,
    "inv": np.linalg.inv,
    "logm": scipy.linalg.logm,
    "signm": scipy.linalg.signm,
    "sinm": scipy.linalg.sinm,
    "sqrtm": scipy.linalg.sqrtm,
}
# Compiling four orders of derivatives takes seconds each: these three by default.
NAMES = [
    name if name in ("expm", "inv", "sqrtm") else pytest.param(name, marks=pytest.mark.slow)
    for name in SCIPY
]
JORDAN = np.diag(np.full(4, 0.8)) + np.diag(np.ones(3), 1)


def matrices(n=4, seed=0):
    """A without eigenvalues on the negative axis, and two directions."""
    random = np.random.default_rng(seed)
    A = 0.4 * random.standard_normal((n, n)) + 1.5 * np.eye(n)
    return A, random.standard_normal((n, n)), random.standard_normal((n, n))


def block_derivative(name, A, E):
    n = len(A)
    return SCIPY[name](np.block([[A, E], [np.zeros_like(A), A]]))[:n, n:].real


@partial(jax.jit, static_argnums=0)
def everything(f, A, E, G):
    """Value, L(A, E), gradient of ⟨G, f⟩, and its derivative along E forward and reverse."""

    def gradient(A):
        return jax.grad(lambda A: jnp.sum(f(A) * G))(A)

    value, tangent = jax.jvp(f, (A,), (E,))
    first, forward = jax.jvp(gradient, (A,), (E,))
    reverse = jax.grad(lambda A: jnp.sum(gradient(A) * E))(A)
    return value, tangent, first, forward, reverse


@pytest.mark.parametrize("name", NAMES)
def test_values_and_all_derivatives(name):
    A, E, G = matrices()
    f, close = getattr(matfun, name), tol.gradient(A.dtype)
    value, tangent, gradient, forward, reverse = everything(f, A, E, G)
    tol.assert_close(value, SCIPY[name](A).real, close)
    tol.assert_close(tangent, block_derivative(name, A, E), close)
    # L(A, ·)* = L(Aᵀ, ·), and the second derivative in both orders of modes.
    tol.assert_close(gradient, block_derivative(name, A.T, G), close)
    tol.assert_close(forward, reverse, close)
    h = 1e-5
    ahead, behind = (block_derivative(name, (A + s * h * E).T, G) for s in (1, -1))
    tol.assert_close(forward, (ahead - behind) / (2 * h), 1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCIPY)
def test_value_and_adjoint_pair(name):
    A, E, G = matrices()
    f = getattr(matfun, name)

    @jax.jit
    def pair(A, E, G):
        value, pull = jax.vjp(f, A)
        return value, jnp.sum(matfun.frechet(f, A, E) * G), jnp.sum(pull(G)[0] * E)

    value, forward, reverse = pair(A, E, G)
    tol.assert_close(value, SCIPY[name](A).real, tol.gradient(A.dtype))
    tol.assert_close(forward, np.sum(block_derivative(name, A, E) * G), tol.gradient(A.dtype))
    tol.assert_close(reverse, forward, tol.gradient(A.dtype))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cosm", "expm", "inv", "logm", "sinm", "sqrtm"])
def test_defective_matrix(name):
    _, E, G = matrices()
    f, close = getattr(matfun, name), tol.gradient(E.dtype)
    value, tangent, gradient, forward, reverse = everything(f, JORDAN, E, G)
    # Entry (i, j) of f of a Jordan block is the Taylor coefficient of f of order j − i.
    scalar = {"expm": np.exp, "logm": np.log, "sqrtm": np.sqrt, "inv": np.reciprocal}
    if name in scalar:
        tol.assert_close(np.diagonal(value), np.full(4, scalar[name](0.8)), close)
    tol.assert_close(value @ JORDAN, JORDAN @ np.asarray(value), close)
    tol.assert_close(np.sum(tangent * G), np.sum(gradient * E), close)
    tol.assert_close(forward, reverse, close)


@pytest.mark.slow
def test_expm_and_logm_are_inverse_on_a_nonnormal_matrix():
    A = np.array([[1.0, 1e4], [0.0, 2.0]])
    tol.assert_close(matfun.logm(matfun.expm(A)), A, 1e-11)
    tol.assert_close(matfun.sqrtm(A) @ matfun.sqrtm(A), A, tol.value(A.dtype))


def test_nearly_singular_square_root_is_backward_stable():
    _, Q, _ = matrices(3)
    A = Q @ np.diag([1.0, 1e-6, 1e-12]) @ np.linalg.inv(Q)
    root = np.asarray(matfun.sqrtm(A))
    tol.assert_close(root @ root, A, 1e-12)


def test_expm_agrees_with_scipys_frechet():
    A, E, _ = matrices(5, seed=1)
    A = 5 * A
    tangent = matfun.frechet(matfun.expm, A, E)
    tol.assert_close(tangent, scipy.linalg.expm_frechet(A, E, compute_expm=False), 1e-11)


@pytest.mark.parametrize("name", ["logm", "sqrtm"])
def test_negative_eigenvalue_gives_nan(name):
    f = getattr(matfun, name)
    assert np.all(np.isnan(f(np.diag([1.0, -2.0]))))
    assert np.all(np.isnan(f(np.array([[-1.0, 3.0], [0.0, -2.0]]))))


@pytest.mark.slow
def test_rotation_has_real_root_and_logarithm():
    # Eigenvalues ±i: off the negative axis, complex, and on it would be a half turn.
    A = np.array([[0.0, -1.0], [1.0, 0.0]])
    tol.assert_close(matfun.logm(A), np.pi / 2 * A, tol.value(A.dtype))
    tol.assert_close(matfun.sqrtm(A), scipy.linalg.sqrtm(A), tol.value(A.dtype))


def test_sign_of_imaginary_eigenvalues_is_nan():
    assert np.all(np.isnan(matfun.signm(np.array([[0.0, -1.0], [1.0, 0.0]]))))


@pytest.mark.parametrize("name", NAMES)
def test_empty_and_single(name):
    f = getattr(matfun, name)
    assert f(np.zeros((0, 0))).shape == (0, 0)
    assert jax.jvp(f, (jnp.zeros((0, 0)),), (jnp.zeros((0, 0)),))[1].shape == (0, 0)
    value, slope = jax.jvp(f, (jnp.array([[0.7]]),), (jnp.array([[1.0]]),))
    tol.assert_close(value, SCIPY[name](np.array([[0.7]])).real, tol.value(value.dtype))
    tol.assert_close(slope, block_derivative(name, np.array([[0.7]]), np.eye(1)), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["expm", "signm"])
def test_float32_stays_float32(name):
    A, E, _ = (m.astype(np.float32) for m in matrices())
    value, tangent = jax.jvp(getattr(matfun, name), (A,), (E,))
    assert value.dtype == tangent.dtype == np.float32
    tol.assert_close(tangent, block_derivative(name, A, E), tol.gradient(np.float32))


@pytest.mark.slow
def test_vmap_of_gradient_over_matrices_and_directions():
    # expm has no batched factorisation but one solve, so this program is safe on every jaxlib.
    A, E, G = matrices(3)
    stack = jnp.stack([A, A.T, A @ A])
    gradient = jax.grad(lambda A, G: jnp.sum(matfun.expm(A) * G))
    got = jax.vmap(gradient, in_axes=(0, None))(stack, G)
    expected = [block_derivative("expm", np.asarray(M).T, G) for M in stack]
    tol.assert_close(got, np.stack(expected), tol.gradient(A.dtype))
    pushed = jax.vmap(lambda E: matfun.frechet(matfun.expm, A, E))(jnp.stack([E, G]))
    expected = [block_derivative("expm", A, M) for M in (E, G)]
    tol.assert_close(pushed, np.stack(expected), tol.gradient(A.dtype))


def test_any_function_gets_derivatives():
    cubic = matfun.matrix_function(lambda A: A @ A @ A - 2 * A)
    A, E, G = matrices()
    _, tangent, gradient, forward, reverse = everything(cubic, A, E, G)
    expected = E @ A @ A + A @ E @ A + A @ A @ E - 2 * E
    tol.assert_close(tangent, expected, tol.value(A.dtype))
    tol.assert_close(np.sum(gradient * E), np.sum(expected * G), tol.value(A.dtype))
    tol.assert_close(forward, reverse, tol.value(A.dtype))


def test_host_function_gets_derivatives():
    sinhm = matfun.matrix_function(scipy.linalg.sinhm, host=True)
    A, E, G = matrices()
    value, tangent, gradient, forward, reverse = everything(sinhm, A, E, G)
    n = len(A)
    block = scipy.linalg.sinhm(np.block([[A, E], [0 * A, A]]))
    tol.assert_close(value, block[:n, :n], tol.value(A.dtype))
    tol.assert_close(tangent, block[:n, n:], tol.value(A.dtype))
    tol.assert_close(np.sum(gradient * E), np.sum(block[:n, n:] * G), tol.value(A.dtype))
    tol.assert_close(forward, reverse, tol.value(A.dtype))


@pytest.mark.slow
def test_large_direction_does_not_spoil_the_block():
    A, E, _ = matrices()
    got = matfun.frechet(matfun.logm, A, 1e12 * E) / 1e12
    tol.assert_close(got, block_derivative("logm", A, E), tol.gradient(A.dtype))
    tol.assert_close(matfun.frechet(matfun.logm, A, 0 * E), 0 * E, 0.0)


def test_entrywise_function_is_refused():
    with pytest.raises(ArgumentError, match="commute"):
        matfun.matrix_function(jnp.exp)(matrices()[0])


def test_wrong_input_is_refused():
    with pytest.raises(ShapeError, match="square"):
        matfun.expm(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="vmap"):
        matfun.logm(np.zeros((2, 3, 3)))
    with pytest.raises(DtypeError, match="int64"):
        matfun.inv(np.eye(2, dtype=np.int64))
    with pytest.raises(ShapeError, match="one shape"):
        matfun.frechet(matfun.expm, np.eye(2), np.eye(3))
    with pytest.raises(DtypeError, match="one dtype"):
        matfun.frechet(matfun.expm, np.eye(2), np.eye(2, dtype=np.float32))
