"""A SymPy expression becomes a JAX function with SymPy's derivative rules."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import jax.scipy.special as special
import numpy as np
import pytest

from cholax.errors import ArgumentError, DtypeError, UnsupportedError
from cholax.symbolic import primitive
from cholax.symbolic.table import FUNCTIONS
from tests import tolerances as tol

sympy = pytest.importorskip("sympy")
x, y, z = sympy.symbols("x y z")
POINT = (0.7, 1.9)

TWINS = {
    "product": (sympy.sin(x) * y, lambda x, y: jnp.sin(x) * y),
    "shared": (
        sympy.exp(-(x**2)) * sympy.log(y) + sympy.sqrt(x * y) / (1 + x * y),
        lambda x, y: jnp.exp(-(x**2)) * jnp.log(y) + jnp.sqrt(x * y) / (1 + x * y),
    ),
    "nonsmooth": (
        sympy.Abs(x) * sympy.tanh(y) + sympy.Max(x, y) ** 3,
        lambda x, y: jnp.abs(x) * jnp.tanh(y) + jnp.maximum(x, y) ** 3,
    ),
    "special": (
        sympy.gamma(x) * sympy.erf(y) + sympy.loggamma(x + y),
        lambda x, y: special.gamma(x) * special.erf(y) + special.gammaln(x + y),
    ),
    "powers": (
        x**y + sympy.atan2(x, y) + (x - 2) ** -3 + sympy.pi * y ** sympy.Rational(2, 3),
        lambda x, y: x**y + jnp.arctan2(x, y) + (x - 2) ** -3 + jnp.pi * y ** (2 / 3),
    ),
    "piecewise": (
        sympy.Piecewise((x**2 * y, x < 1), (2 * x - y, True)),
        lambda x, y: jnp.where(x < 1, x**2 * y, 2 * x - y),
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_values_and_derivatives_agree_with_jax(name):
    expression, twin = TWINS[name]
    f = primitive(expression, [x, y])
    close = tol.gradient(np.float64)

    # Value, gradient, forward over reverse, and reverse over reverse.
    @partial(jax.jit, static_argnums=0)
    def everything(g, *point):
        gradient = jax.grad(g, (0, 1))
        twice = jax.grad(lambda *p: sum(gradient(*p)), (0, 1))
        hessian = jnp.array(jax.hessian(g, (0, 1))(*point))
        return g(*point), jnp.array(gradient(*point)), hessian, jnp.array(twice(*point))

    got, expected = everything(f, *POINT), everything(twin, *POINT)
    tol.assert_all_close(got, expected, close)


def test_slides_example():
    f = primitive(sympy.sin(x) * y, [x, y])
    assert float(f(2.0, 3.0)) == pytest.approx(2.7278922, abs=1e-7)
    assert float(jax.grad(f)(2.0, 3.0)) == pytest.approx(-1.2484405, abs=1e-7)


def test_third_derivative_in_mixed_modes():
    f = primitive(x**5 * y, [x, y])
    third = jax.jit(jax.jacfwd(jax.grad(jax.grad(f)), 1))(1.5, 2.0)
    assert float(third) == pytest.approx(20 * 1.5**3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_preserved_and_arguments_broadcast(dtype):
    f = primitive(sympy.sin(x) / 3 + sympy.pi * y, [x, y])
    a, b = jnp.arange(3, dtype=dtype)[:, None], jnp.arange(4, dtype=dtype)
    value = jax.jit(f)(a, b)
    assert value.dtype == dtype
    tol.assert_close(value, np.sin(a) / 3 + np.pi * np.asarray(b), tol.value(dtype))
    gradient = jax.grad(lambda a: jnp.sum(f(a, b)))(a)
    assert gradient.dtype == dtype
    tol.assert_close(gradient, 4 * np.cos(a) / 3, tol.value(dtype))


def test_vmap_of_gradient_equals_elementwise():
    f = primitive(sympy.cos(x * y), [x, y])
    a, b = jnp.linspace(0, 1, 5), jnp.linspace(2, 3, 5)
    got = jax.jit(jax.vmap(jax.grad(f, 1)))(a, b)
    tol.assert_close(got, -a * jnp.sin(a * b), tol.gradient(a.dtype))


def test_list_and_matrix_results():
    one, two = primitive([x, y**2], [x, y])(1.0, 3.0)
    assert (float(one), float(two)) == (1.0, 9.0)
    matrix = primitive(sympy.Matrix([[x, y, 1], [x * y, 0, x]]), [x, y])
    assert matrix(jnp.arange(5.0), 2.0).shape == (5, 2, 3)
    jacobian = jax.jacobian(matrix)(3.0, 2.0)
    np.testing.assert_array_equal(jacobian, [[1, 0, 0], [2, 0, 1]])


def test_common_subexpressions_are_computed_once():
    part = sympy.log(1 + sympy.sin(x))
    f = primitive([part * y, part**2, part + x], [x, y])
    program = str(jax.make_jaxpr(lambda a, b: jax.jvp(f, (a, b), (a, b)))(1.0, 2.0))
    # Once among the values, once more (XLA merges the two) among all partial derivatives.
    assert program.count("= log ") <= 2


def test_point_branch_has_the_limits_derivatives():
    sinc = primitive(sympy.Piecewise((sympy.sin(x) / x, sympy.Ne(x, 0)), (1, True)), [x])
    first, second = jax.jit(jax.grad(sinc)), jax.jit(jax.grad(jax.grad(sinc)))
    assert (float(sinc(0.0)), float(first(0.0))) == (1.0, 0.0)
    assert float(second(0.0)) == pytest.approx(-1 / 3)
    assert float(second(1.0)) == pytest.approx(2 * np.cos(1) * -1 + np.sin(1))


def test_jump_at_a_point_has_no_derivative():
    f = primitive(sympy.Piecewise((x**2, sympy.Ne(x, 0)), (5, True)), [x])
    assert np.isnan(jax.grad(f)(0.0))
    assert float(jax.grad(f)(2.0)) == 4.0


def test_branch_outside_its_domain_does_not_spoil_the_gradient():
    f = primitive(sympy.Piecewise((sympy.sqrt(x), x > 0), (0, True)), [x])
    assert float(jax.grad(f)(-1.0)) == 0.0
    assert float(jax.grad(f)(4.0)) == 0.25


def test_no_branch_gives_nan():
    assert np.isnan(primitive(sympy.Piecewise((x, x > 0)), [x])(-1.0))


@pytest.mark.parametrize("expression", [sympy.zeta(x), sympy.Function("foo")(x), sympy.I * x])
def test_unsupported_expressions_are_refused_by_name(expression):
    with pytest.raises(UnsupportedError, match=r"zeta|foo|I"):
        primitive(expression, [x])(1.5)


def test_function_without_symbolic_derivative_is_refused():
    f = primitive(sympy.floor(x), [x])
    assert float(f(1.5)) == 1.0
    with pytest.raises(UnsupportedError):
        jax.grad(f)(1.5)


def test_wrong_arguments_are_refused():
    with pytest.raises(ArgumentError, match="z"):
        primitive(x * z, [x])
    with pytest.raises(ArgumentError, match="different symbols"):
        primitive(x, [x, x])
    with pytest.raises(ArgumentError, match="need 2 arguments"):
        primitive(x * y, [x, y])(1.0)
    with pytest.raises(DtypeError, match="one dtype"):
        primitive(x * y, [x, y])(np.float32(1), np.float64(1))
    with pytest.raises(DtypeError, match="int"):
        primitive(x, [x])(np.arange(3))


# Functions of one real argument, at a point in everyone's domain (acosh and coth elsewhere).
ONE_ARGUMENT = sorted(
    set(FUNCTIONS)
    - {"And", "DiracDelta", "Equality", "GreaterThan", "Heaviside", "ITE", "LessThan", "Max", "Min"}
    - {"Mod", "Not", "Or", "StrictGreaterThan", "StrictLessThan", "Unequality", "Xor", "atan2"}
    - {"beta", "polygamma"}
)


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_table_agrees_with_sympys_numbers(name):
    at = 1.3 if name == "acosh" else 0.4
    function = getattr(sympy, name)
    got = float(primitive(function(x), [x])(at))
    assert got == pytest.approx(float(function(sympy.Float(at, 30)).evalf(20)), rel=1e-6)


def test_import_does_not_need_sympy():
    code = (
        "import sys; sys.modules['sympy'] = None\n"
        "import cholax.symbolic\n"
        "try: cholax.symbolic.primitive(1, [])\n"
        "except ImportError as e: assert 'cholax[symbolic]' in str(e)\n"
        "else: raise SystemExit('no error')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
