"""check_derivatives lets no wrong rule pass, however small the number it is wrong in."""

import jax
import jax.numpy as jnp
import jax.scipy.special as special
import numpy as np
import pytest
from jax.custom_batching import custom_vmap

from cholax.errors import ArgumentError
from cholax.testing import InconclusiveError, WrongDerivativeError, check_derivatives

FACTORS = (0.0, 1.5, 1000.0, -1.0, 1.001)
SIZES = 10.0 ** np.linspace(-300, 300, 13)


def with_rule(f, rule):
    g = jax.custom_jvp(f)
    g.defjvp(lambda x, t: (g(x[0]), rule(x[0], t[0])))
    return g


def normal(x):
    return jnp.exp(-(x**2) / 2)


SMALL = {
    "exp -200": (jnp.exp, jnp.exp, -200.0),
    "exp -300": (jnp.exp, jnp.exp, -300.0),
    "exp -700": (jnp.exp, jnp.exp, -700.0),
    "normal 15": (normal, lambda x: -x * normal(x), 15.0),
    "normal 30": (normal, lambda x: -x * normal(x), 30.0),
    "1e-300 sin": (lambda x: 1e-300 * jnp.sin(x), lambda x: 1e-300 * jnp.cos(x), 0.7),
    "1e300 sin": (lambda x: 1e300 * jnp.sin(x), lambda x: 1e300 * jnp.cos(x), 0.7),
}


SOME = [name if "00" in name else pytest.param(name, marks=pytest.mark.slow) for name in SMALL]


@pytest.mark.parametrize("name", SOME)
def test_right_rule_passes_where_f_is_tiny_or_huge(name):
    f, df, x = SMALL[name]
    check_derivatives(with_rule(f, lambda x, t: df(x) * t), [x], order=1)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(
    "name",
    [name if "exp" in name else pytest.param(name, marks=pytest.mark.slow) for name in SMALL],
)
def test_wrong_rule_is_called_wrong_where_f_is_tiny_or_huge(name, factor):
    f, df, x = SMALL[name]
    with pytest.raises(WrongDerivativeError):
        check_derivatives(with_rule(f, lambda x, t: factor * df(x) * t), [x], order=1)


def scaled_sines(weights):
    rule = lambda x, t: weights * SIZES * jnp.cos(x) * t  # noqa: E731
    return with_rule(lambda x: SIZES * jnp.sin(x), rule)


@pytest.mark.parametrize("modes", [("jvp",), ("vjp",)])
@pytest.mark.parametrize("entry", [12, *(pytest.param(k, marks=pytest.mark.slow) for k in (0, 5))])
@pytest.mark.parametrize("x", [0.7, np.linspace(0.3, 0.9, 13)], ids=["one x", "x per entry"])
def test_every_entry_is_held_to_its_own_size(x, entry, modes):
    check_derivatives(scaled_sines(np.ones(13)), [x], order=1, modes=modes)
    for factor in (0.0, 1.001):
        weights = np.ones(13)
        weights[entry] = factor
        # Beside 1e300 an entry 1 may be what is left of a sum: jvp alone cannot tell.
        either = (WrongDerivativeError, InconclusiveError)
        with pytest.raises(WrongDerivativeError if "vjp" in modes or entry == 12 else either):
            check_derivatives(scaled_sines(weights), [x], order=1, modes=modes)


def test_second_derivative_of_every_entry_passes():
    check_derivatives(lambda x: SIZES * jnp.sin(x), [np.linspace(0.3, 0.9, 13)])


def rule_wrong_under_vmap():
    @custom_vmap
    def slope(x):
        return jnp.cos(x)

    slope.def_vmap(lambda size, batched, x: (1.5 * jnp.cos(x), True))
    return slope


def test_rule_wrong_only_under_vmap_is_caught():
    slope = rule_wrong_under_vmap()
    with pytest.raises(WrongDerivativeError, match="jvp under vmap"):
        check_derivatives(with_rule(jnp.sin, lambda x, t: slope(x) * t), [0.7], order=1)
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (slope(x) * g,))
    with pytest.raises(WrongDerivativeError, match="vjp under vmap"):
        check_derivatives(f, [0.7], modes=["vjp"])


@pytest.mark.parametrize(
    "factor", [1.5, *(pytest.param(k, marks=pytest.mark.slow) for k in (0.0, 1000.0, -1.0))]
)
def test_rule_wrong_only_in_float32_is_caught(factor):
    def rule(x, t):
        return jnp.cos(x) * t * (factor if x.dtype == jnp.float32 else 1.0)

    with pytest.raises(WrongDerivativeError):
        check_derivatives(with_rule(jnp.sin, rule), [np.float32(0.7)], order=1)


@pytest.mark.parametrize("part", ["imag", pytest.param("real", marks=pytest.mark.slow)])
def test_rule_wrong_in_one_part_of_a_complex_number_is_caught(part):
    def square(weight_real, weight_imag):
        def rule(z, t):
            slope = 2 * z * t
            return jax.lax.complex(weight_real * slope.real, weight_imag * slope.imag)

        return with_rule(lambda z: z * z, rule)

    check_derivatives(square(1.0, 1.0), [0.7 + 0.2j])
    weights = (1.5, 1.0) if part == "real" else (1.0, 1.5)
    with pytest.raises(WrongDerivativeError, match=part):
        check_derivatives(square(*weights), [0.7 + 0.2j], order=1)


def test_rule_of_nan_is_wrong():
    with pytest.raises(WrongDerivativeError, match="nan"):
        check_derivatives(with_rule(jnp.sin, lambda x, t: jnp.nan * x * t), [0.7], order=1)


@pytest.mark.parametrize("x", [5.0, pytest.param(18.0, marks=pytest.mark.slow)])
def test_zero_rule_for_a_tiny_derivative_does_not_pass(x):
    flat = with_rule(jnp.tanh, lambda x, t: 0 * t)
    with pytest.raises(InconclusiveError if x > 10 else WrongDerivativeError):
        check_derivatives(flat, [x], order=1)


NEAR = (1e-3, 1e-6, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("gap", NEAR)
def test_kink_or_jump_beside_the_point_is_no_false_alarm(gap):
    jump = lambda x: jnp.where(x > 0.7 + gap, 5 + x, jnp.sin(x))  # noqa: E731
    for f, x in ((jnp.abs, gap), (jax.nn.relu, -gap), (jump, 0.7)):
        try:
            check_derivatives(f, [x], order=1)
        except InconclusiveError:
            assert f is jump
    # A wrong rule does not pass there either.
    wrong = with_rule(jump, lambda x, t: 1.001 * jnp.cos(x) * t)
    with pytest.raises((WrongDerivativeError, InconclusiveError)):
        check_derivatives(wrong, [0.7], order=1)


def test_kink_at_an_even_point_is_no_derivative_of_zero():
    with pytest.raises(InconclusiveError):
        check_derivatives(with_rule(jnp.abs, lambda x, t: 0 * t), [0.0], order=1)


def test_cosine_at_its_top_and_structural_zeros_pass():
    check_derivatives(lambda x: jnp.cos(x - 0.3), [0.3])
    check_derivatives(lambda p: {"a": p["x"] ** 2, "b": jnp.zeros(3) + 0 * p["x"]}, [{"x": 2.0}])


SMOOTH = [jnp.sin, jnp.exp, jnp.log, jnp.tanh, jnp.sqrt, jnp.log1p, jnp.expm1, jnp.arctan]
SMOOTH += [special.erf, special.erfc, special.gammaln, special.digamma, special.ndtr, special.i0e]
SMOOTH += [special.i1e, special.log_ndtr, special.xlogy, jnp.cbrt, jnp.sinh, jnp.arcsinh]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("f", SMOOTH, ids=lambda f: getattr(f, "__name__", "f"))
def test_right_rules_pass_at_usual_points_in_every_size(f, size):
    g = (lambda x: size * f(x, 2.0)) if f is special.xlogy else (lambda x: size * f(x))
    for x in (0.1, 0.7, 3.0, np.array([0.2, 2.0, 3.0])):
        check_derivatives(g, [x], order=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "f",
    [
        lambda x: (1e8 + x) ** 2 - 1e16,
        lambda x: 1e6 + jnp.sin(x),
        lambda x: 1e3 * jnp.sum(jnp.cos(x * jnp.arange(1, 100))),
        lambda x: jax.nn.softmax(jnp.array([x, 2 * x, -30.0 * x])),
    ],
)
def test_sums_that_cancel_are_no_false_alarm(f):
    check_derivatives(f, [0.7])


def test_result_without_floating_numbers_is_refused():
    with pytest.raises(ArgumentError, match="floating-point result"):
        check_derivatives(lambda x: jnp.int32(3), [0.7])


def test_an_entry_that_never_changes_is_constant_though_large_steps_leave_the_domain():
    def f(rho):
        inside = jnp.where(jnp.abs(rho) < 1, 1.0, jnp.nan)
        return inside * jnp.stack([2.0 + 0.0 * rho, rho, jnp.sqrt(1 - rho * rho)])

    check_derivatives(f, [0.7])
