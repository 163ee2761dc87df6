"""Exponential, cosine and sine of non-normal matrices against mpmath, entry by entry."""

import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg

from cholax import matfun
from cholax.matfun.squaring import exponential
from tests import tolerances as tol

# Each takes a second to compile, for each size and format.
SLOW = pytest.mark.slow
NAMES = ("expm", *(pytest.param(name, marks=SLOW) for name in ("cosm", "sinm")))


def exact(name, A):
    """f(A) of the matrix as it is stored, rounded once."""
    with mpmath.workdps(300):
        value = getattr(mpmath, name)(mpmath.matrix(np.asarray(A, np.float64).tolist()))
        entries = [[float(mpmath.re(value[i, j])) for j in range(len(A))] for i in range(len(A))]
    return np.array(entries)


def nonnormal(n, c, dtype=np.float64):
    random = np.random.default_rng(n)
    upper = np.triu(c * random.standard_normal((n, n)), 1)
    return (upper + np.diag(random.uniform(-3, 3, n))).astype(dtype)


def magnitudes(name, A):
    """What rounding is relative to: |exp A|, or |exp iA|, whose real part may cancel."""
    if name == "expm":
        return np.abs(exact(name, A))
    return np.hypot(exact("cosm", A), exact("sinm", A))


def assert_entries_close(got, expected, count, sizes=None):
    """Within `count` roundings of each entry, or of a given size for each."""
    got, sizes = np.asarray(got), np.abs(expected) if sizes is None else sizes
    error = np.abs(got.astype(np.float64) - expected)
    worst = np.max(error - count * float(np.finfo(got.dtype).eps) * sizes)
    assert worst <= 0, f"{got} against {expected}"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("c", [1.0, 1e3, 1e6, 1e10, 1e15])
@pytest.mark.parametrize("name", ["expm", "cosm", "sinm"])
def test_pair_of_eigenvalues_is_exact_entry_by_entry(name, c, dtype):
    A = np.array([[2.0, c], [0.0, 3.0]], dtype)
    expected = exact(name, A)
    assert_entries_close(getattr(matfun, name)(A), expected, 4)
    assert_entries_close(getattr(matfun, name)(A.T), expected.T, 4)


@pytest.mark.parametrize("n", [4, pytest.param(10, marks=SLOW)])
@pytest.mark.parametrize("c", [1e3, 1e6, 1e10])
@pytest.mark.parametrize("name", NAMES)
def test_triangular_matrix_is_exact_entry_by_entry(name, c, n):
    A = nonnormal(n, c)
    assert_entries_close(getattr(matfun, name)(A), exact(name, A), 100, magnitudes(name, A))


@pytest.mark.parametrize(
    ("n", "c"), [(4, 1e3), (4, 1e6), (4, 1e10), pytest.param(10, 1e3, marks=SLOW)]
)
@pytest.mark.parametrize("name", NAMES)
def test_triangular_matrix_in_single_precision(name, n, c):
    A = nonnormal(n, c, np.float32)
    assert_entries_close(getattr(matfun, name)(A), exact(name, A), 100, magnitudes(name, A))


@pytest.mark.parametrize("name", NAMES)
def test_quasi_triangular_matrix_has_exact_blocks(name):
    A = nonnormal(6, 1e6)
    # Rotation by √6, then an unbalanced one by 1.
    A[:2, :2] = [[0.5, 3.0], [-2.0, 0.5]]
    A[3:5, 3:5] = [[-1.0, 1e6], [-1e-6, -1.0]]
    got, expected = np.asarray(getattr(matfun, name)(A)), exact(name, A)
    for block in (slice(0, 2), slice(3, 5)):
        assert_entries_close(got[block, block], expected[block, block], 8)
    tol.assert_close(got / np.abs(expected).max(), expected / np.abs(expected).max(), 1e-14)


PAIRS = {
    "nearly diagonal": [[0.0, 1e-30], [1e-30, -100.0]],
    "turned": [[-100.0, 1e-30], [1e-30, 0.0]],
    "real eigenvalues": [[1.0, 2.0], [3.0, -40.0]],
    "one eigenvalue": [[2.0, 1.0], [-1.0, 0.0]],
    "no difference": [[1.0, 1e5], [0.0, 1.0]],
    "rotation": [[0.0, -20.0], [20.0, 0.0]],
}


@pytest.mark.parametrize("pair", PAIRS)
def test_closed_form_of_two_by_two(pair):
    A = np.array(PAIRS[pair])
    expected = exact("expm", A)
    np.testing.assert_allclose(matfun.expm(A), expected, rtol=1e-14, atol=1e-300)
    for name in ("cosm", "sinm"):
        tol.assert_close(getattr(matfun, name)(A), exact(name, A), 1e-14)


def test_permuted_triangular_matrix_is_scaled_by_its_growth():
    # Nothing of it is replaced. Scaled by its norm, the worst permutation has an error of 1e-6.
    A = nonnormal(4, 1e3)
    expected = exact("expm", A)
    for order in itertools.permutations(range(4)):
        chosen = np.ix_(order, order)
        sizes = np.where(expected == 0, np.inf, np.abs(expected))[chosen]
        error = np.abs(np.asarray(matfun.expm(A[chosen])) - expected[chosen])
        assert np.max(error / sizes) < 1e-9


@SLOW
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["expm", "cosm", "sinm"])
def test_normal_matrices_are_what_they_were(name, dtype):
    B = np.random.default_rng(1).standard_normal((6, 6))
    for A in (2 * (B + B.T), 2 * (B - B.T), np.diag(B[0])):
        A = A.astype(dtype)
        tol.assert_close(getattr(matfun, name)(A), exact(name, A), tol.value(dtype))


def test_determinant_of_the_exponential_is_the_exponential_of_the_trace():
    A = nonnormal(10, 1e10)
    E = np.asarray(matfun.expm(A))
    np.testing.assert_allclose(np.prod(np.diagonal(E)), np.exp(np.trace(A)), rtol=1e-13)
    full = np.random.default_rng(2).standard_normal((5, 5))
    got = np.linalg.det(np.asarray(matfun.expm(full)))
    np.testing.assert_allclose(got, np.exp(np.trace(full)), rtol=1e-12)


@pytest.mark.parametrize("c", [1.0, 1e3, 1e6, 1e10])
def test_gradient_of_the_trace_is_the_transposed_exponential(c):
    A = nonnormal(4, c)
    gradient = jax.grad(lambda A: jnp.trace(matfun.expm(A)))(A)
    assert_entries_close(gradient, exact("expm", A).T, 100)


TRIANGLES = pytest.mark.parametrize(
    "A", [nonnormal(3, 1.0), nonnormal(3, 1.0).T], ids=["upper", "lower"]
)


@TRIANGLES
def test_derivative_at_a_triangular_matrix_leaves_the_triangle(A):
    E = np.random.default_rng(3).standard_normal((3, 3))
    tangent = matfun.frechet(matfun.expm, A, E)
    tol.assert_close(tangent, scipy.linalg.expm_frechet(A, E, compute_expm=False), 1e-12)


@SLOW
@TRIANGLES
def test_higher_derivatives_at_a_triangular_matrix(A):
    E, G = np.random.default_rng(3).standard_normal((2, 3, 3))
    # The third derivative along E: the corner of the blocks [[A, E, ·, ·], …] times 3!.
    blocks = scipy.linalg.expm(np.kron(np.eye(4), A) + np.kron(np.eye(4, k=1), E))[:3, 9:]

    def along(f, times):
        return f if not times else along(lambda t: jax.jvp(f, (t,), (1.0,))[1], times - 1)

    third = along(lambda t: matfun.expm(A + t * E), 3)(0.0)
    tol.assert_close(third, 6 * blocks, 1e-12)
    gradient = jax.grad(lambda A: jnp.sum(matfun.frechet(matfun.expm, A, E) * G))(A)
    second = jax.jvp(lambda A: jax.grad(lambda A: jnp.sum(matfun.expm(A) * G))(A), (A,), (E,))[1]
    tol.assert_close(gradient, second, 1e-12)


@SLOW
def test_stack_of_unlike_matrices():
    stack = np.stack([nonnormal(3, 1e10), nonnormal(3, 1.0).T, np.zeros((3, 3))])
    got = jax.vmap(matfun.expm)(stack)
    for value, A in zip(got, stack, strict=True):
        assert_entries_close(value, exact("expm", A), 100)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_matrix_gives_nan(bad):
    A = np.array([[1.0, bad, 0.0], [0.5, 2.0, 1.0], [0.25, 1.0, 1.0]])
    assert np.all(np.isnan(matfun.expm(A)))


def test_complex_matrix_agrees_with_scipy():
    random = np.random.default_rng(4)
    A = random.standard_normal((4, 4)) + 1j * random.standard_normal((4, 4))
    np.testing.assert_allclose(exponential(jnp.asarray(A)), scipy.linalg.expm(A), rtol=1e-11)
