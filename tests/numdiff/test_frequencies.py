"""Frequencies that the format hardly resolves, and steps that rounding takes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx

POINTS = np.linspace(0.3, 2.3, 9, dtype=np.float32)


def single(name, f, x, **options):
    with jax.enable_x64(False):
        value, error = getattr(cx.finite_difference, name)(f, with_error=True, **options)(x)
        return float(value), float(error)


@pytest.mark.parametrize("frequency", [1e3, 1e4, 1e5, 1e6, 1e7])
@pytest.mark.parametrize("x", POINTS)
def test_bars_hold_in_single_precision(frequency, x):
    value, error = single("derivative", lambda x: jnp.sin(frequency * x), x)
    # What f computes: the product is rounded before the sine.
    product = float(np.float32(frequency) * x)
    blur = frequency * (1 - np.cos(2.0**-23 * product))
    assert not abs(value - frequency * np.cos(product)) > 2 * error + blur
    if frequency <= 1e4:
        assert error < 0.05 * frequency


@pytest.mark.parametrize("frequency", [1e5, 1e6, 1e7])
@pytest.mark.parametrize("x", POINTS[::2])
def test_bars_of_second_derivatives_hold_in_single_precision(frequency, x):
    value, error = single("hessian", lambda x: jnp.sin(frequency * x), x)
    true = -(frequency**2) * np.sin(float(np.float32(frequency) * x))
    assert not abs(value - true) > 2 * error


@pytest.mark.parametrize("scale", [2.0**-6, 2.0**-12, 1e-9])
def test_steps_below_the_spacing_of_x_say_nothing(scale):
    f = lambda x: jnp.sin(1e6 * x)  # noqa: E731
    value, error = single("derivative", f, POINTS[3], scale=scale)
    assert not abs(value - 1e6 * np.cos(float(np.float32(1e6) * POINTS[3]))) > 2 * error


@pytest.mark.parametrize("name", ["derivative", "hessian"])
@pytest.mark.parametrize("scale", [1e-20, 1e-300])
def test_where_no_step_moves_x_there_is_no_number(name, scale):
    value, error = getattr(cx.finite_difference, name)(
        jnp.sin, scale=jnp.float64(scale), with_error=True
    )(1.7)
    assert np.isnan(value)
    assert np.isinf(error)


def test_noise_in_one_sample_of_six_is_noise():
    # In float64 log_ndtr is off by 250 spacings there, at some points.
    f = jax.scipy.special.log_ndtr
    points = np.linspace(2.9, 3.1, 50)
    value, error = jax.vmap(cx.finite_difference.derivative(f, with_error=True))(points)
    true = jax.vmap(jax.grad(f))(points)
    assert np.all(np.abs(value - true) <= 2 * error)
    assert np.median(error) < 1e-12
    assert np.all(error < 0.01 * true)
