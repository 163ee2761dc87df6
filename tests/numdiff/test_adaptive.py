"""The adaptive derivative is accurate where fixed rules fail, and says how accurate it is."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax.numdiff import derivative
from tests import tolerances as tol

# f, x, f'(x), error of the best fixed rule (relative; forward √ε, central ∛ε, five-point ε^¼, ε^⅕).
TABLE = {
    "exp": (jnp.exp, 1.0, math.e, 6e-14),
    "sin 1000x": (lambda x: jnp.sin(1000 * x), 0.3, 1000 * math.cos(300), 6e-6),
    "cube at 1e6": (lambda x: x**3, 1e6, 3e12, 1e-13),
    "log at 1e-6": (jnp.log, 1e-6, 1e6, 7e-3),
    "sqrt at 1e-8": (jnp.sqrt, 1e-8, 5e3, 0.22),
    "small + 1e8": (
        lambda x: jnp.exp(-x) * jnp.cos(5 * x) + 1e8,
        2.0,
        0.4816822386878871,
        2e-6,
    ),
    "rational": (lambda x: x**3.5 / (1 + x), 0.7, 0.7447432243110412, 6e-14),
}
# The stated bound: true errors stay below this multiple of the estimate.
COVER = 4.0


@pytest.mark.parametrize("name", TABLE)
def test_within_ten_times_the_best_fixed_rule_and_never_silently_wrong(name):
    f, x, truth, best = TABLE[name]
    value, error = derivative(f, with_error=True)(x)
    off = abs(float(value) - truth)
    assert off <= 10 * best * abs(truth)
    assert off <= COVER * float(error)
    # And the bar is no empty promise.
    assert float(error) <= max(100 * best, 1e-9) * abs(truth)


def single(f):
    return lambda x: f(x.astype(jnp.float32)).astype(x.dtype)


HARD = {
    "sin 1e6 x": (lambda x: jnp.sin(1e6 * x), 0.3, 1e6 * math.cos(3e5)),
    "log at 1e-12": (jnp.log, 1e-12, 1e12),
    "sqrt at 1e-20": (jnp.sqrt, 1e-20, 5e9),
    "tan near its pole": (jnp.tan, 1.5707, 1 / math.cos(1.5707) ** 2),
    "narrow peak": (
        lambda x: jnp.exp(-(((x - 0.3) / 1e-6) ** 2)),
        0.3 + 5e-7,
        -1e6 * math.exp(-((5e-7 / 1e-6) ** 2)),
    ),
    "exp at 700": (jnp.exp, 700.0, math.exp(700.0)),
    "kink beside x": (jnp.abs, 1e-9, 1.0),
    "relu left of 0": (jax.nn.relu, -1e-3, 0.0),
    "square at 0": (jnp.square, 0.0, 0.0),
    "float32 inside": (single(jnp.sin), 0.7, math.cos(0.7)),
    "rounded to 8 digits": (lambda x: jnp.round(jnp.sin(x) * 1e8) / 1e8, 0.7, math.cos(0.7)),
    "lost in rounding": (lambda x: 1e8 + 1e-9 * jnp.sin(x), 0.7, 1e-9 * math.cos(0.7)),
}


@pytest.mark.parametrize("name", HARD)
def test_error_bar_holds_the_truth(name):
    f, x, truth = HARD[name]
    value, error = derivative(f, with_error=True)(x)
    # x itself is rounded: what the formula above gives at the decimal x differs by that much.
    slack = 1e-9 * abs(truth) if name == "narrow peak" else 1e-15 * abs(truth)
    assert abs(float(value) - truth) <= COVER * float(error) + slack
    assert float(error) <= 1e-4 * max(abs(truth), 1e-3)


@pytest.mark.parametrize("noise", [1e-4, 1e-8, 1e-12])
def test_noise_is_noticed(noise):
    random = np.random.default_rng(0)
    f = lambda x: np.sin(x) + noise * random.standard_normal()  # noqa: E731
    off, bars = [], []
    for x in np.linspace(0.1, 2, 10):
        value, error = derivative(f, evaluate="host", with_error=True)(x)
        off.append(abs(float(value) - math.cos(x)))
        bars.append(float(error))
    assert np.all(np.array(off) <= COVER * np.array(bars))
    assert np.median(bars) <= 1000 * noise


@pytest.mark.parametrize("f", [jnp.abs, jax.nn.relu, lambda x: jnp.abs(x) + jnp.sin(x)])
def test_kink_at_x_widens_the_bar_to_half_the_jump(f):
    _, error = derivative(f, with_error=True)(0.0)
    assert float(error) >= 0.5


def test_nan_says_that_nothing_is_known():
    value, error = derivative(lambda x: x * jnp.nan, with_error=True)(0.5)
    assert np.isnan(value)
    assert np.isposinf(error)


@pytest.mark.parametrize(
    ("dtype", "f", "x", "truth", "widest"),
    [
        (jnp.float32, lambda x: x**3, 100.0, 3e4, 1e-4),
        (jnp.float32, jnp.log, 1e-5, 1e5, 1e-2),
        pytest.param(
            *(jnp.float32, lambda x: jnp.sin(1000 * x), 0.3, -22.0966, 0.05),
            marks=pytest.mark.slow,
        ),
        (jnp.bfloat16, jnp.sin, 0.7, math.cos(0.7), 0.2),
    ],
)
def test_steps_follow_the_format(dtype, f, x, truth, widest):
    value, error = derivative(f, with_error=True)(jnp.asarray(x, dtype))
    # x rounded to bfloat16 moves the truth by half a unit in its last place.
    slack = float(jnp.finfo(dtype).eps) * abs(truth)
    assert value.dtype == dtype
    assert abs(float(value) - truth) <= COVER * float(error) + slack
    assert float(error) <= widest * abs(truth)


@pytest.mark.slow
def test_random_functions_are_covered():
    """Coefficients, frequencies and offsets over many orders; one program, 400 functions."""
    random = np.random.default_rng(7)
    size = 400
    c = jnp.asarray(random.standard_normal((size, 4)))
    w = jnp.asarray(10 ** random.uniform(-2, 4, size))
    offset = jnp.asarray(10 ** random.uniform(-6, 6, size) * random.choice([0, 1], size))
    x = jnp.asarray(10 ** random.uniform(-6, 3, size) * random.choice([-1, 1], size))

    def f(x, c, w, offset):
        y = w * x
        return c[0] * jnp.sin(y) + c[1] * jnp.arctan(y) + c[2] / (1 + y**2) + c[3] * x + offset

    value, error = jax.jit(jax.vmap(derivative(f, with_error=True)))(x, c, w, offset)
    truth = jax.vmap(jax.grad(f))(x, c, w, offset)
    # Autodiff itself is rounded.
    own = 1e-14 * (jnp.abs(c[:, 0] * w) + jnp.abs(c[:, 1] * w) + jnp.abs(c[:, 3]))
    assert bool(jnp.all(jnp.isfinite(error)))
    assert bool(jnp.all(jnp.abs(value - truth) <= COVER * error + own))
    plain = offset == 0
    assert float(jnp.median((error / jnp.abs(truth))[plain])) < 1e-9


def test_derivative_of_a_difference_is_finite():
    # A gradient through the chosen estimate, beside samples that are NaN.
    tol.assert_close(jax.jit(jax.grad(derivative(jnp.log)))(0.1), -100.0, 1e-6)
