"""The numbers on the lecture slides on differentiation, from explicit inputs.

The slides drew their inputs with a random generator that has changed since; `econ622.json` holds
the numbers drawn. Printed ones are in single precision.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax.implicit import bisect, root
from tests.tolerances import assert_close, gradient, value

CASE = json.loads((Path(__file__).parent / "data" / "econ622.json").read_text())
SLIDES = CASE["slides"]
INPUTS = CASE["explicit_inputs_so_no_PRNG_needed(False)"]
EXACT = {name: float(digits) for name, digits in CASE["root_exact_50digits"].items()}
# Last digit of a printed float32 of order one.
PRINTED = 2e-7

FEATURES = jnp.array(
    [[0.52, 1.12, 0.77], [0.88, -1.08, 0.15], [0.52, 0.06, -1.30], [0.74, -2.49, 1.39]]
)
TARGETS = jnp.array([True, True, False, True])


def predict(W, b):
    """Logistic regression."""
    return jax.nn.sigmoid(FEATURES @ W + b)


@pytest.fixture
def weights():
    return jnp.array(INPUTS["W"]), jnp.array(INPUTS["b"])


def test_first_derivatives():
    def f(x):
        return x**3 + 2 * x**2 - 3 * x + 1

    assert_close(jax.grad(jnp.tanh)(2.0), SLIDES["grad(tanh)(2)"], PRINTED)
    assert_close(jax.grad(f)(1.0), SLIDES["grad(f)(1)"], value(np.float64))
    got = jax.value_and_grad(lambda x, y: x**2 + y)(2.0, 3.0)
    assert_close(jnp.stack(got), np.array(SLIDES["value_and_grad f3(2,3)"]), value(np.float64))


def test_jacobian_products_of_logistic_regression(weights):
    W, b = weights
    y, forward = jax.jvp(lambda W: predict(W, b), (W,), (jnp.array(INPUTS["v"]),))
    _, pull = jax.vjp(lambda W: predict(W, b), W)
    (reverse,) = pull(jnp.array(INPUTS["u"]))
    assert_close(y, np.array(SLIDES["jvp y"]), PRINTED)
    assert_close(forward, np.array(SLIDES["jvp u"]), PRINTED)
    assert_close(reverse, np.array(SLIDES["vjp"]), PRINTED)


def test_gradients_over_a_pytree_of_parameters(weights):
    W, b = weights

    def loss(parameters):
        p = predict(parameters["W"], parameters["b"])
        return -jnp.sum(jnp.log(jnp.where(TARGETS, p, 1 - p)))

    slope = jax.grad(loss)({"W": W, "b": b})
    assert_close(slope["W"], np.array(SLIDES["grad W"]), PRINTED)
    assert_close(slope["b"], SLIDES["grad b"], PRINTED)


def by_hand():
    @jax.custom_jvp
    def f(x, y):
        return jnp.sin(x) * y

    @f.defjvp
    def _(primals, tangents):
        (x, y), (dx, dy) = primals, tangents
        return f(x, y), jnp.cos(x) * dx * y + jnp.sin(x) * dy

    return f


def by_sympy():
    sympy = pytest.importorskip("sympy")
    from cholax import symbolic

    x, y = sympy.symbols("x y")
    return symbolic.primitive(sympy.sin(x) * y, [x, y])


@pytest.mark.parametrize("rule", [by_hand, by_sympy])
def test_custom_rule_of_sin_x_times_y(rule):
    f = rule()
    printed = SLIDES["custom f,y,ydot"]
    assert_close(f(2.0, 3.0), printed[0], PRINTED)
    y, dy = jax.jvp(f, (2.0, 3.0), (1.0, 0.0))
    assert_close(jnp.stack([y, dy]), np.array(printed[1:]), PRINTED)


def equation(x, factor):
    """The slides' implicit function: factor x³ − x − 2 = 0."""
    return factor * x**3 - x - 2


def bracketed(factor):
    return bisect(equation, -1.0, 2.0, factor)


def by_newton(factor):
    return root(equation, 1.5, factor)


@pytest.mark.parametrize("solve", [bracketed, by_newton])
def test_derivative_of_a_root_in_its_factor(solve):
    z, slope = jax.jit(jax.value_and_grad(solve))(2.0)
    assert_close(z, EXACT["root(2)"], value(np.float64))
    assert_close(slope, EXACT["d root/d factor"], gradient(np.float64))
    assert_close(slope, SLIDES["grad(root)(2.0)"], PRINTED)


@pytest.mark.parametrize("solve", [bracketed, by_newton])
def test_jacobian_of_the_root_mapped_over_factors_is_diagonal_and_not_zero(solve):
    """Tracing the mapped iteration instead of the equation gives zeros, silently."""
    factors = jnp.array([1.5, 2.0, 2.5, 1.95523])

    def mapped(factors):
        z = jax.vmap(solve)(factors)
        return z, z

    J, z = jax.jit(jax.jacrev(mapped, has_aux=True))(factors)
    assert_close(np.diag(J), np.array([-0.3327, -0.2214, -0.1616, -0.2286]), 1e-4)
    assert_close(J, np.diag(-(z**3) / (3 * factors * z**2 - 1)), gradient(np.float64))
