"""check_derivatives accepts correct rules, refuses wrong ones, and says when it cannot tell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax.errors import ArgumentError
from cholax.testing import InconclusiveError, WrongDerivativeError, check_derivatives

CORRECT = {
    "float32 cube": (lambda x: x**3, np.float32(100)),
    "float32 sin 1000x": (lambda x: jnp.sin(1000 * x), np.float32(0.3)),
    "bfloat16 sin": (jnp.sin, jnp.bfloat16(0.7)),
    "float32 log": (jnp.log, np.float32(1e-5)),
    "float64 log": (jnp.log, 1e-5),
    "sin 1e4 x": (lambda x: jnp.sin(1e4 * x), 0.3),
}


@pytest.mark.parametrize("name", CORRECT)
def test_no_false_alarm(name):
    f, x = CORRECT[name]
    check_derivatives(f, [x])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CORRECT if name.startswith(("float32", "bf"))])
def test_no_false_alarm_in_single_precision(name):
    f, x = CORRECT[name]
    x = x if name.startswith("bf") else np.float32(x)
    with jax.enable_x64(False):
        check_derivatives(f, [x], order=1)


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_frequency_beyond_single_precision_is_inconclusive_and_not_wrong(factor):
    f = scaled_rule(lambda x: jnp.sin(1e6 * x), lambda x: 1e6 * jnp.cos(1e6 * x), factor)
    for x in (0.3, 0.55, 1.3, 2.3):
        with jax.enable_x64(False), pytest.raises(InconclusiveError, match="cannot tell"):
            check_derivatives(f, [np.float32(x)], order=1)


@pytest.mark.slow
def test_frequency_that_single_precision_resolves_is_told():
    f, x = CORRECT["sin 1e4 x"]
    wrong = scaled_rule(f, lambda x: 1.3e4 * jnp.cos(1e4 * x), 1)
    with jax.enable_x64(False):
        check_derivatives(f, [np.float32(x)], order=1)
        with pytest.raises(WrongDerivativeError):
            check_derivatives(wrong, [np.float32(x)], order=1)


def scaled_rule(f, df, factor):
    wrong = jax.custom_jvp(f)
    wrong.defjvp(lambda x, t: (wrong(x[0]), factor * df(x[0]) * t[0]))
    return wrong


@pytest.mark.parametrize("factor", [1 + 2e-6, 0.0, -1.0])
@pytest.mark.parametrize("size", [1.0, 1e-6, 1e8])
def test_wrong_rule_is_caught_at_every_scale(factor, size):
    f = scaled_rule(lambda x: size * jnp.sin(x), lambda x: size * jnp.cos(x), factor)
    with pytest.raises(WrongDerivativeError):
        check_derivatives(f, [0.7], order=1)


def reverse_only(bad_leaf):
    """A product with a rule for reverse mode, wrong by a thousandth in one leaf."""

    @jax.custom_vjp
    def f(p):
        return jnp.sum(p["a"] ** 2) * p["b"]

    def backward(p, g):
        a, b = 2 * p["a"] * p["b"] * g, jnp.sum(p["a"] ** 2) * g
        return ({"a": a * (1.001 if bad_leaf == "a" else 1), "b": b * (bad_leaf == "b" or 1)},)

    def backward_wrong_b(p, g):
        a, b = 2 * p["a"] * p["b"] * g, jnp.sum(p["a"] ** 2) * g
        return ({"a": a, "b": 1.001 * b},)

    f.defvjp(lambda p: (f(p), p), backward_wrong_b if bad_leaf == "b" else backward)
    return f


P = {"a": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array(1.5)}


@pytest.mark.parametrize("leaf", [pytest.param("a", marks=pytest.mark.slow), "b"])
def test_failing_leaf_is_named(leaf):
    with pytest.raises(WrongDerivativeError, match=rf"args\[0\]\['{leaf}'\]"):
        check_derivatives(reverse_only(leaf), [P], modes=["vjp"])


@pytest.mark.slow
def test_custom_vjp_alone_passes_in_reverse_modes():
    check_derivatives(reverse_only(None), [P], modes=["vjp", "vjp_of_vjp"])


def test_wrong_second_derivative_is_caught_at_order_two_only():
    slope = scaled_rule(jnp.cos, lambda x: -jnp.sin(x), 1.01)
    f = jax.custom_jvp(jnp.sin)
    f.defjvp(lambda x, t: (f(x[0]), slope(x[0]) * t[0]))
    check_derivatives(f, [0.7], order=1)
    with pytest.raises(WrongDerivativeError, match="jvp_of_vjp"):
        check_derivatives(f, [0.7])


def test_wrong_transpose_is_caught():
    right, wrong = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [3.0, 4.5]])

    def solve(matvec, b):
        del matvec
        return right @ b

    def f(b):
        return jax.lax.custom_linear_solve(
            lambda x: np.linalg.inv(right) @ x, b, solve, transpose_solve=lambda _, c: wrong.T @ c
        )

    with pytest.raises(WrongDerivativeError, match="vjp"):
        check_derivatives(f, [jnp.array([1.0, 2.0])], order=1)


@pytest.mark.slow
def test_several_arguments_and_integers():
    f = lambda A, b, k: {"x": jnp.sin(A @ b) ** k, "k": k}  # noqa: E731
    A = jnp.array([[2.0, 1.0], [0.5, 3.0]])
    report = check_derivatives(f, [A, jnp.array([1.0, 2.0]), 3])
    leaves = {c.leaf for c in report.comparisons}
    assert leaves == {"args[0]", "args[1]"}
    assert report.worst.error >= 0


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (jnp.abs, 0.0),
        (lambda x: 1e8 + 1e-9 * jnp.sin(x), 0.7),
        (lambda x: x * jnp.nan, 0.7),
        (lambda x: jnp.sin(x.astype(jnp.bfloat16)).astype(x.dtype), 0.7),
    ],
)
def test_what_cannot_be_told_is_no_pass(f, x):
    with pytest.raises(InconclusiveError, match="cannot tell"):
        check_derivatives(f, [x], order=1)


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: jnp.sum(x**2), jnp.zeros(2)),
        (lambda x: jnp.sum(0 * x) + 3.0, jnp.ones(2)),
        (jax.nn.relu, jnp.array([-1.0, 2.0])),
    ],
)
def test_zero_derivatives_pass(f, x):
    check_derivatives(f, [x])


def test_bounds_keep_inside_the_domain():
    f = lambda x: jnp.sqrt(x) ** 3  # noqa: E731
    check_derivatives(f, [jnp.array([0.5, 0.1])], order=1, bounds=(0.0, None))


def test_bad_options_are_refused():
    with pytest.raises(ArgumentError, match="modes"):
        check_derivatives(jnp.sin, [0.3], modes=["forward"])
    with pytest.raises(ArgumentError, match="order"):
        check_derivatives(jnp.sin, [0.3], order=3)
    with pytest.raises(ArgumentError, match="floating-point leaf"):
        check_derivatives(lambda k: k, [3])
