"""Functions whose leading digits cancel: f moves in stairs far higher than eps·|f|."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx

# f, f', range of x, and the share of points whose error may exceed two bars: the noise of a
# difference of few stairs is seen by its first changes alone.
CANCELLING = {
    "exp(x) - 1": (lambda x: jnp.exp(x) - 1, np.exp, (1e-13, 1e-6), 0.02),
    "1 - cos(x)": (lambda x: 1 - jnp.cos(x), np.sin, (1e-8, 1e-5), 0.04),
    "1 - logistic(x)": (
        lambda x: 1 - 1 / (1 + jnp.exp(-x)),
        lambda x: -np.exp(-x) / (1 + np.exp(-x)) ** 2,
        (20.0, 32.0),
        0.04,
    ),
    "log(1 + exp(-x))": (
        lambda x: jnp.log(1 + jnp.exp(-x)),
        lambda x: -np.exp(-x) / (1 + np.exp(-x)),
        (20.0, 32.0),
        0.05,
    ),
    "single precision inside": (
        lambda x: jnp.sin(x.astype(jnp.float32)).astype(jnp.float64),
        np.cos,
        (0.1, 3.0),
        0.04,
    ),
    "rounded decimals": (lambda x: jnp.round(x * 1e6) / 1e6, np.ones_like, (0.1, 3.0), 0.04),
}
FLAT = {
    "ReLU": (lambda x: jnp.maximum(x, 0.0), (-9.0, -0.1)),
    "dead zone": (lambda x: jnp.sign(x) * jnp.maximum(jnp.abs(x) - 8.0, 0.0), (-7.0, 7.0)),
    "clip": (lambda x: jnp.clip(x, -3.0, -1.0), (0.0, 5.0)),
}


def points(low, high, count):
    if low > 0 and high / low > 100:
        return np.geomspace(low, high, count) * (1 + 0.01 * np.sin(np.arange(count)))
    return np.linspace(low, high, count) + 1e-3 * np.sin(np.arange(count))


@pytest.mark.parametrize("name", CANCELLING)
def test_bars_hold_where_digits_cancel(name):
    f, slope, (low, high), share = CANCELLING[name]
    x = points(low, high, 200)
    run = jax.jit(jax.vmap(cx.finite_difference.derivative(f, with_error=True)))
    value, bar = (np.asarray(part) for part in run(jnp.asarray(x)))
    outside = np.abs(value - slope(x)) > 2 * bar
    assert outside.mean() <= share, x[outside]
    assert np.isnan(value).mean() <= 0.04


@pytest.mark.parametrize(
    ("name", "curvature", "share"),
    [
        ("exp(x) - 1", np.exp, 0.01),
        ("1 - cos(x)", np.cos, 0.01),
        # Second differences of stairs are exactly 0 more often than not.
        ("log(1 + exp(-x))", lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2, 0.06),
        ("single precision inside", lambda x: -np.sin(x), 0.08),
    ],
)
def test_bars_of_second_derivatives_hold_where_digits_cancel(name, curvature, share):
    f, _, (low, high), _ = CANCELLING[name]
    x = points(low, high, 200)
    run = jax.jit(jax.vmap(cx.finite_difference.hessian(f, with_error=True)))
    value, bar = (np.asarray(part) for part in run(jnp.asarray(x)))
    outside = np.abs(value - curvature(x)) > 2 * bar
    assert outside.mean() <= share, x[outside]
    assert np.isnan(value).mean() <= 0.04


@pytest.mark.parametrize("name", FLAT)
def test_flat_parts_are_no_stairs(name):
    """Also at numbers of few digits, where every sample is a multiple of a large power of two."""
    f, (low, high) = FLAT[name]
    x = np.concatenate([points(low, high, 100), np.arange(np.ceil(low) + 0.5, high, 0.5)])
    run = jax.jit(jax.vmap(cx.finite_difference.derivative(f, with_error=True)))
    value, bar = run(jnp.asarray(x))
    np.testing.assert_array_equal(value, 0.0)
    assert np.max(bar) < 1e-9


def test_far_tails_of_the_logistic_function_are_not_flat():
    def f(x):
        return jnp.sum(1 - 1 / (1 + jnp.exp(-x)))

    x = jnp.array([30.0, 1.0, 25.0])
    np.testing.assert_allclose(cx.finite_difference.gradient(f)(x), jax.grad(f)(x), rtol=0.03)
