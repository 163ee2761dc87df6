"""All methods on pytrees, Jacobians, Hessians, sparsity, bounds, black boxes and bad input."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import cholax as cx
from cholax.errors import ArgumentError, DtypeError, ShapeError, SparsityError, UnsupportedError
from cholax.numdiff import derivative, gradient, hessian, jacobian
from cholax.numdiff.rules import METHODS
from tests import tolerances as tol

ACCURACY = {
    "forward": 1e-6,
    "central": 1e-8,
    "five_point": 1e-10,
    "complex": 1e-13,
    "richardson": 1e-10,
    "adaptive": 1e-10,
}
POINT = {"a": jnp.array([0.3, 1.2, -2.0]), "b": jnp.array(0.7)}


def scalar(p):
    return jnp.sum(jnp.sin(p["a"]) * p["b"]) + jnp.exp(p["b"]) * p["a"][0] ** 2


def assert_trees_close(got, expected, tolerance):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    tol.assert_all_close(jax.tree.leaves(got), jax.tree.leaves(expected), tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_gradient_of_a_pytree(method):
    assert_trees_close(gradient(scalar, method)(POINT), jax.grad(scalar)(POINT), ACCURACY[method])


def test_five_point_has_the_right_sign():
    assert float(derivative(jnp.exp, "five_point")(0.0)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "method",
    [
        "central",
        *(
            pytest.param(m, marks=pytest.mark.slow)
            for m in ("adaptive", "forward", "five_point", "richardson")
        ),
    ],
)
def test_hessian_of_a_pytree(method):
    got = hessian(scalar, method)(POINT)
    tolerance = {"forward": 1e-4, "central": 1e-6}.get(method, 1e-9)
    assert_trees_close(got, jax.hessian(scalar)(POINT), tolerance)


@pytest.mark.slow
def test_hessian_error_bars_hold_the_truth():
    value, error = hessian(scalar, with_error=True)(POINT)
    truth = jax.hessian(scalar)(POINT)
    for v, e, t in zip(*map(jax.tree.leaves, (value, error, truth)), strict=True):
        assert np.all(np.abs(v - t) <= 4 * e + 1e-14)


def vector(x):
    return {"u": jnp.stack([x["a"] * x["b"], jnp.cos(x["a"])]), "s": x["b"] ** 2}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["central", "adaptive"])
def test_jacobian_nests_as_jax_does(method):
    got = jacobian(vector, method)(POINT)
    assert_trees_close(got, jax.jacobian(vector)(POINT), ACCURACY[method])


def test_further_arguments_are_fixed_and_differentiable():
    f = lambda x, k: jnp.sin(k * x)  # noqa: E731
    assert float(derivative(f)(0.5, 2.0)) == pytest.approx(2 * math.cos(1))
    mixed = jax.grad(lambda k: derivative(f, "central")(0.5, k))(2.0)
    assert float(mixed) == pytest.approx(math.cos(1) - math.sin(1), abs=1e-6)


def test_same_inside_jit_and_vmap():
    x = jnp.linspace(-1, 2, 4)
    d = derivative(jnp.sin)
    expected = jnp.stack([d(v) for v in x])
    tol.assert_close(jax.jit(jax.vmap(d))(x), expected, 1e-11)
    tol.assert_close(jax.vmap(derivative(jnp.sin, evaluate="sequential"))(x), expected, 1e-11)


# Sparsity


def tridiagonal(x):
    left, right = jnp.concatenate([x[:1] * 0, x[:-1]]), jnp.concatenate([x[1:], x[:1] * 0])
    return x**2 * 3 - right + jnp.sin(left * x)


def given(kind, n):
    mask = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= 1
    matrix = scipy.sparse.csr_array(mask.astype(float))
    return {
        "mask": lambda: mask,
        "scipy": lambda: matrix,
        "SparseMatrix": lambda: cx.from_scipy(matrix),
        "Pattern": lambda: cx.from_scipy(matrix).pattern,
        "symmetric Pattern": lambda: cx.from_scipy(matrix, symmetric=True).pattern,
        "BCOO": lambda: cx.from_scipy(matrix).to_bcoo(),
    }[kind]()


@pytest.mark.parametrize(
    "kind", ["mask", "scipy", "SparseMatrix", "Pattern", "symmetric Pattern", "BCOO"]
)
def test_coloured_jacobian_equals_dense(kind):
    x = jnp.linspace(-2, 3, 9)
    J = jacobian(tridiagonal, "central", sparsity=given(kind, 9))(x)
    tol.assert_close(J.to_dense(), jax.jacobian(tridiagonal)(x), 1e-8)
    assert J.nnz == 25


def test_coloured_adaptive_jacobian_with_bars_inside_jit():
    x = jnp.linspace(-2, 3, 9)
    J, error = jax.jit(jacobian(tridiagonal, sparsity=given("mask", 9), with_error=True))(x)
    off = jnp.abs(J.to_dense() - jax.jacobian(tridiagonal)(x))
    assert bool(jnp.all(off <= 4 * error.to_dense() + 1e-14))


def test_coloured_jacobian_takes_few_evaluations():
    calls = []

    def counted(x):
        calls.append(x)
        return np.asarray(3 * x**2 - np.roll(x, 1))

    pattern = scipy.sparse.eye_array(50) + scipy.sparse.csr_array(np.roll(np.eye(50), 1, axis=0))
    jacobian(counted, "central", sparsity=pattern, evaluate="host")(jnp.arange(50.0))
    # f(x) to see the shape, f(x), f(x+h) and f(x−h) for two groups and one check, f(x) for its bar.
    assert len(calls) == 1 + 1 + 2 * 3 + 1


def test_missing_entry_is_refused_eagerly_and_nan_inside_jit():
    x = jnp.linspace(-2, 3, 9)
    J = jacobian(tridiagonal, "central", sparsity=scipy.sparse.eye_array(9))
    with pytest.raises(SparsityError, match="every non-zero"):
        J(x)
    assert np.all(np.isnan(jax.jit(J)(x).values))
    trusting = jacobian(tridiagonal, "central", sparsity=scipy.sparse.eye_array(9), verify=False)
    assert np.all(np.isfinite(trusting(x).values))


def test_rectangular_sparse_jacobian():
    f = lambda x: jnp.stack([x[0] * x[1], x[2] ** 2])  # noqa: E731
    J = jacobian(f, "central", sparsity=[[1, 1, 0], [0, 0, 1]])(jnp.array([2.0, 3.0, 4.0]))
    tol.assert_close(J.to_dense(), [[3.0, 2.0, 0.0], [0.0, 0.0, 8.0]], 1e-8)


@pytest.mark.slow
def test_sparse_hessian_is_symmetric_storage():
    f = lambda x: jnp.sum(jnp.sin(x[1:] * x[:-1])) + jnp.sum(x**3)  # noqa: E731
    x = jnp.linspace(0.1, 1, 5)
    H = hessian(f, sparsity=given("mask", 5))(x)
    assert H.symmetric
    tol.assert_close(H.to_dense(), jax.hessian(f)(x), 1e-9)


# Bounds, scale and steps


def inside(x):
    """exp on [0, 1], NaN elsewhere, and a test failure where it is evaluated elsewhere."""
    assert np.all((x >= 0) & (x <= 1)), x
    return np.exp(x)


@pytest.mark.parametrize("x", [0.0, 1e-9, 1e-4, 0.5, 1.0])
@pytest.mark.parametrize("method", ["forward", "central", "five_point", "richardson", "adaptive"])
def test_bounds_are_kept_and_accuracy_stays(method, x):
    got = derivative(inside, method, bounds=(0.0, 1.0), evaluate="host")(x)
    assert float(got) == pytest.approx(math.exp(x), rel={"forward": 1e-6}.get(method, 1e-8))


@pytest.mark.slow
def test_bounds_per_leaf_with_only_one_side():
    f = lambda p: jnp.sum(jnp.sqrt(p["a"]) ** 3) + p["b"] ** 2  # noqa: E731
    p = {"a": jnp.array([0.0, 1.0]), "b": jnp.array(-3.0)}
    lower = {"a": 0.0, "b": -jnp.inf}
    value, error = gradient(f, bounds=(lower, None), with_error=True)(p)
    truth = {"a": jnp.array([0.0, 1.5]), "b": jnp.array(-6.0)}
    for v, e, t in zip(*map(jax.tree.leaves, (value, error, truth)), strict=True):
        assert np.all(np.abs(v - t) <= 4 * e)


@pytest.mark.slow
def test_hessian_at_a_bound():
    f = lambda x: inside(x[0]) * inside(x[1]) ** 2  # noqa: E731
    value, error = hessian(f, bounds=(0.0, 1.0), evaluate="host", with_error=True)(
        jnp.array([0.0, 1.0])
    )
    truth = math.e**2 * np.array([[1, 2], [2, 4]])
    assert np.all(np.abs(value - truth) <= 4 * error)
    assert np.all(error <= 1e-5)


def test_step_is_taken_as_given_and_scaled():
    moves = []

    def f(x):
        moves.append(float(x))
        return np.asarray(x) ** 2

    derivative(f, "forward", step=0.25, evaluate="host")(8.0)
    assert max(moves) == 8.25
    derivative(f, "forward", step=0.25, scale=100.0, evaluate="host")(8.0)
    assert max(moves) == 33.0


# Complex step


@pytest.mark.parametrize(
    "f",
    [
        jax.nn.softplus,
        lambda x: jnp.sqrt(x * jnp.conj(x)) + 0 * x,
        lambda x: jnp.real(x) ** 2 + 0 * x,
    ],
)
def test_complex_step_refuses_what_is_not_holomorphic(f):
    with pytest.raises(ArgumentError, match="not holomorphic"):
        derivative(f, "complex")(0.3)
    assert np.isnan(jax.jit(derivative(f, "complex"))(0.3))


@pytest.mark.parametrize("f", [jnp.abs, jax.scipy.special.gammaln])
def test_complex_step_refuses_what_takes_no_complex_numbers(f):
    with pytest.raises(UnsupportedError, match="complex"):
        derivative(f, "complex")(0.3)


@pytest.mark.parametrize(("f", "x"), [(jnp.log, 1e-6), (lambda x: jnp.sin(1000 * x), 0.3)])
def test_complex_step_is_exact_where_it_is_confirmed(f, x):
    assert float(derivative(f, "complex")(x)) == pytest.approx(float(jax.grad(f)(x)), rel=1e-12)


# Black boxes


def test_black_boxes_work_eagerly_and_through_callbacks():
    assert float(derivative(math.sin)(0.3)) == pytest.approx(math.cos(0.3))
    assert float(derivative(lambda x: x if x > 0 else -x)(-2.0)) == pytest.approx(-1.0)
    out = jax.ShapeDtypeStruct((), np.float64)
    d = derivative(np.sin, evaluate="host", result=out)
    x = jnp.array([0.3, 0.4])
    tol.assert_close(jax.jit(jax.vmap(d))(x), np.cos(x), 1e-11)


def test_black_box_inside_a_program_needs_its_result():
    with pytest.raises(ArgumentError, match="result="):
        jax.jit(derivative(np.sin, evaluate="host"))(0.3)


# Edges


def test_empty_arguments_and_results():
    nothing = jnp.zeros(0)
    assert gradient(jnp.sum)(nothing).shape == (0,)
    assert hessian(jnp.sum)(nothing).shape == (0, 0)
    assert jacobian(lambda x: x[:0])(jnp.ones(3)).shape == (0, 3)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("method", "with_error"), [("central", False), ("adaptive", False), ("adaptive", True)]
)
def test_sparse_hessian_of_no_variables(method, compiled, with_error):
    second = hessian(jnp.sum, method, sparsity=np.zeros((0, 0)), with_error=with_error)
    found = (jax.jit(second) if compiled else second)(jnp.zeros(0))
    for H in found if with_error else (found,):
        assert isinstance(H, cx.SparseMatrix)
        assert H.symmetric
        assert H.to_dense().shape == (0, 0)
        assert H.dtype == jnp.zeros(0).dtype
    with pytest.raises(ShapeError, match="0×0, got 1×1"):
        hessian(jnp.sum, method, sparsity=np.ones((1, 1)))(jnp.zeros(0))


def test_bad_input_is_refused():
    with pytest.raises(ArgumentError, match="method must be"):
        derivative(jnp.sin, "backward")
    with pytest.raises(ArgumentError, match="no error estimate"):
        derivative(jnp.sin, "central", with_error=True)
    with pytest.raises(ArgumentError, match="evaluate must be"):
        derivative(jnp.sin, evaluate="fast")(0.3)
    with pytest.raises(ShapeError, match="one scalar"):
        derivative(jnp.sin)(jnp.ones(2))
    with pytest.raises(ShapeError, match="one scalar"):
        gradient(jnp.sin)(jnp.ones(2))
    with pytest.raises(DtypeError, match="int64"):
        derivative(jnp.sin)(3)
    with pytest.raises(DtypeError, match="one dtype"):
        gradient(lambda p: p[0] + p[1])([jnp.float32(1), jnp.float64(1)])
    with pytest.raises(ShapeError, match="2×2"):
        jacobian(jnp.sin, sparsity=np.eye(3))(jnp.ones(2))
    with pytest.raises(UnsupportedError, match="host"):
        derivative(math.sin, evaluate="vmap")(0.3)
