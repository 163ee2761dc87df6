"""Where f changes by many orders on the ladder, or its numbers are near the ends of the format."""

import math

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import cholax as cx
from cholax.numdiff import derivative, gradient, hessian

mpmath.mp.dps = 50
# Bars that the true error may take: the bound that the docstring of `derivative` states.
COVER = 4.0


def normal(x):
    return np.exp(-x * x / 2)


def slope_of_normal(x):
    return -x * mpmath.exp(-(x**2) / 2)


CASES = {
    **{f"exp at {x}": (np.exp, x, mpmath.exp) for x in (-700.0, -300.0, -100.0, 705.0, 709.0)},
    **{f"normal at {x}": (normal, x, slope_of_normal) for x in (8.0, 10.0, 12.0, 30.0)},
    **{
        f"{c} sin at {x}": (lambda x, c=c: c * np.sin(x), x, lambda x, c=c: c * mpmath.cos(x))
        for c in (1e-300, 1e300, 1e308)
        for x in (0.7, 100.0)
    },
    "gamma at 170.5": (math.gamma, 170.5, lambda x: mpmath.gamma(x) * mpmath.digamma(x)),
    "exp at 1e-20": (np.exp, 1e-20, mpmath.exp),
    "log at 1e-300": (np.log, 1e-300, lambda x: 1 / x),
    "log at 1e300": (np.log, 1e300, lambda x: 1 / x),
    "sqrt at 1e300": (np.sqrt, 1e300, lambda x: 1 / (2 * mpmath.sqrt(x))),
    "1/x at 1e153": (lambda x: 1 / x, 1e153, lambda x: -1 / x**2),
    "power at 1e-3": (lambda x: x**20, 1e-3, lambda x: 20 * x**19),
}


def on_host(f):
    def call(x):
        with np.errstate(all="ignore"):
            try:
                return np.float64(f(float(x)))
            except OverflowError:
                return np.float64(np.nan)

    return call


@pytest.mark.parametrize("name", CASES)
def test_no_worse_than_a_central_difference_and_honest(name):
    f, x, exact = CASES[name]
    truth = exact(mpmath.mpf(x))
    value, error = derivative(on_host(f), evaluate="host", with_error=True)(x)
    off = abs(mpmath.mpf(float(value)) - truth)
    h = 2.0**-17 * max(1.0, 2.0 ** math.floor(math.log2(abs(x))))
    with np.errstate(all="ignore"):
        central = (on_host(f)(x + h) - on_host(f)(x - h)) / (2 * h)
    central = abs(mpmath.mpf(float(central)) - truth) if np.isfinite(central) else mpmath.inf
    assert off <= 10 * max(central, 1e-13 * abs(truth))
    assert off <= COVER * mpmath.mpf(float(error)) + 1e-15 * abs(truth)
    assert float(error) <= 1e-6 * abs(truth) + np.finfo(np.float64).tiny


@pytest.mark.parametrize("c", [1e-308, 1e-310])
def test_numbers_below_the_format_leave_a_bar(c):
    value, error = derivative(lambda x: c * jnp.sin(x), with_error=True)(0.7)
    assert abs(float(value) - c * math.cos(0.7)) <= COVER * float(error)
    assert float(error) > 0


def test_every_output_has_its_own_unit():
    c = jnp.array([1e-300, 1e-100, 1.0, 1e100, 1e300])
    value, error = derivative(lambda x: c * jnp.sin(x), with_error=True)(0.7)
    np.testing.assert_allclose(value, c * math.cos(0.7), rtol=1e-11)
    assert bool(jnp.all(error <= 1e-10 * c + jnp.finfo(float).tiny))


def test_hessian_far_out():
    def f(x):
        return jnp.exp(-(x @ x) / 2)

    x = jnp.array([8.0, 1.0])
    value = hessian(f)(x)
    truth = (np.outer(x, x) - np.eye(2)) * float(f(x))
    assert np.abs(value - truth).max() <= 1e-5 * np.abs(truth).max()


@pytest.mark.parametrize("f", [jnp.sin, jnp.arctan])
@pytest.mark.parametrize("step", [1e12, 1e6, 1.0, 1e-8])
def test_steps_of_another_scale_do_not_promise_what_they_cannot_see(f, step):
    value, error = derivative(f, step=step, with_error=True)(0.7)
    truth = float(cx.finite_difference.derivative(f)(0.7))
    assert not np.isfinite(value) or abs(float(value) - truth) <= COVER * float(error)


@pytest.mark.parametrize("method", ["forward", "central"])
def test_given_step_is_taken_as_the_format_has_it(method):
    # What is added to x counts, not the decimal 1.49e-8: f(x) = x shows the difference.
    assert float(derivative(lambda x: x, method, step=1.49e-8)(1.3)) == 1.0


BAD = {
    "step": (0, 0.0, -1.0, math.nan, math.inf, 1j, "big", [1.0]),
    "evaluate": ("gpu", 3),
    "bounds": (1.0, (0.0,), (1.0, 0.0), (1.0, 2.0), (math.nan, None), ("a", "b")),
    "scale": (0.0, -1.0, math.nan, math.inf, 1j, "x"),
    "with_error": ("yes", 2),
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in BAD.items() for v in values])
def test_options_without_sense_are_refused(name, value):
    with pytest.raises(cx.errors.ArgumentError, match=r"finite_difference\.derivative: "):
        derivative(jnp.sin, **{name: value})(0.5)


def test_many_inputs_take_few_programs_and_none_the_second_time():
    from tests.implicit.test_programs import compilations

    def f(x):
        return jnp.sum(jnp.sin(x) * x)

    x = jnp.linspace(0.0, 1.0, 600)
    central, adaptive = gradient(f, "central"), gradient(f)
    exact = jnp.cos(x) * x + jnp.sin(x)
    assert float(jnp.abs(central(x) - exact).max()) <= 1e-7
    assert float(jnp.abs(adaptive(x) - exact).max()) <= 1e-9
    other = x + 0.1
    with compilations() as compiled:
        central(other)
        adaptive(other)
    assert compiled == []


def test_chunks_join_to_the_whole(monkeypatch):
    from cholax.numdiff import sweep

    def f(x):
        return jnp.stack([x @ x, jnp.sum(x**3)])

    x = jnp.arange(1.0, 8.0)
    whole = cx.finite_difference.jacobian(f, "central")(x)
    # Two inputs at a time, and two entries of the Hessian.
    monkeypatch.setattr(sweep, "CHUNK", 8)
    parts = cx.finite_difference.jacobian(f, "central")(x)
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_allclose(whole, np.stack([2 * x, 3 * x**2]), rtol=1e-8)
    h = cx.finite_difference.hessian(lambda x: f(x)[1], "central")(x)
    np.testing.assert_allclose(h, np.diag(6 * x), atol=1e-4)
