"""The adaptive rule settles smooth functions from a part of its ladder, and nothing else."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from cholax.numdiff import derivative, gradient, jacobian, sweep
from cholax.numdiff import evaluate as evaluation

# Evaluations of the first look, and of the whole ladder, beside f(x) and the call that shows the
# shape of a host function.
FIRST, WHOLE, BESIDE = 18, 44, 2


def counted(f):
    def call(x):
        call.count += 1
        return f(x)

    call.count = 0
    return call


SMOOTH = {
    "exp": (np.exp, 0.3, math.exp(0.3)),
    "sin": (np.sin, 0.7, math.cos(0.7)),
    "logistic": (lambda x: 1 / (1 + np.exp(-x)), -0.4, 0.24026074574152914),
    "x sin x": (lambda x: x * np.sin(x), 0.9, math.sin(0.9) + 0.9 * math.cos(0.9)),
    "cubic": (lambda x: x**3 - 2 * x + 1, 1.1, 3 * 1.1**2 - 2),
    "linear, far out": (lambda x: 3 * x + 1, 1e6, 3.0),
    "exp, NaN at its largest step": (
        lambda x: np.exp(x) if x > 0 else np.nan,
        0.4,
        math.exp(0.4),
    ),
    "exp at a tiny x": (np.exp, 1e-12, math.exp(1e-12)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_a_smooth_function_takes_the_first_look_only(name):
    f, x, truth = SMOOTH[name]
    call = counted(f)
    value, error = derivative(call, evaluate="host", with_error=True)(x)
    assert call.count <= FIRST + BESIDE
    assert abs(float(value) - truth) <= float(error) + 1e-15 * abs(truth)
    assert float(error) <= 1e-12 * max(abs(truth), abs(f(x)))


@pytest.mark.parametrize("name", SMOOTH)
def test_what_is_settled_is_as_good_as_the_whole_ladder(name, monkeypatch):
    f, x, _ = SMOOTH[name]
    value, error = derivative(f, evaluate="host", with_error=True)(x)
    monkeypatch.setattr(sweep, "first_part", lambda rule: None)
    whole, bar = derivative(f, evaluate="host", with_error=True)(x)
    assert float(error) <= 2 * float(bar)
    assert abs(float(value) - float(whole)) <= float(error) + float(bar)


def test_single_precision_takes_fewer():
    call = counted(lambda x: np.float32(np.exp(x)))
    value = derivative(call, evaluate="host")(jnp.float32(0.3))
    assert call.count <= 14 + BESIDE
    assert float(value) == pytest.approx(math.exp(0.3), rel=1e-5)


def test_bounds_within_reach_of_the_largest_steps_leave_it_at_the_first_look():
    def exp(x):
        assert 0 <= x <= 1
        return np.exp(x)

    call = counted(exp)
    value, error = derivative(call, bounds=(0.0, 1.0), evaluate="host", with_error=True)(0.3)
    assert call.count <= FIRST + BESIDE
    assert abs(float(value) - math.exp(0.3)) <= float(error) <= 1e-12


def test_many_inputs_of_a_smooth_function_take_eighteen_evaluations_each():
    n = 10
    call = counted(lambda x: np.sum(x * np.sin(x)))
    x = np.linspace(0.1, 1.0, n)
    value = gradient(call, evaluate="host")(x)
    assert call.count <= FIRST * n + BESIDE
    np.testing.assert_allclose(value, np.sin(x) + x * np.cos(x), rtol=1e-10)


def test_only_inputs_left_open_go_on_to_the_whole_ladder():
    n, kinks = 10, np.array([1, 3, 7])
    # Half the jump of the slope is in their bars.
    slopes = np.array([1.0, 1e-3, 10.0])
    call = counted(lambda x: np.sum(np.exp(x)) + slopes @ np.abs(x[kinks]))
    x = np.linspace(0.1, 1.0, n)
    x[kinks] = 0.0
    _, error = gradient(call, evaluate="host", with_error=True)(x)
    assert call.count == FIRST * n + (WHOLE - FIRST) * kinks.size + BESIDE
    assert np.all(np.asarray(error)[kinks] >= slopes)
    assert float(np.delete(error, kinks).max()) <= 1e-10


NOT_SMOOTH = {
    "a high frequency": (lambda x: np.sin(1000 * x), 0.3, 1000 * math.cos(300)),
    "a small one": (lambda x: np.sin(x) + 1e-8 * np.sin(1e6 * x), 0.7, None),
    "another branch near": (lambda x: max(x, 0.0) ** 3 + np.exp(x), 1e-3, None),
    "a shorter format inside": (lambda x: float(np.sin(np.float32(x))), 0.7, math.cos(0.7)),
    "digits rounded away": (lambda x: np.round(np.sin(x) * 1e8) / 1e8, 0.7, math.cos(0.7)),
    **{
        f"a layer of width {d}": (
            lambda x, d=d: np.sin(x) + (x - 0.25) * np.exp(-(((x - 0.25) / d) ** 2)),
            0.25,
            math.cos(0.25) + 1,
        )
        for d in (1e-1, 1e-3, 1e-5, 1e-7, 1e-9)
    },
}


@pytest.mark.parametrize("name", NOT_SMOOTH)
def test_other_functions_take_the_whole_ladder(name):
    f, x, truth = NOT_SMOOTH[name]
    call = counted(f)
    value, error = derivative(call, evaluate="host", with_error=True)(x)
    assert call.count == WHOLE + BESIDE
    if truth is not None:
        assert abs(float(value) - truth) <= 4 * float(error)


@pytest.mark.parametrize("noise", [1e-14, 1e-11, 1e-6])
def test_bars_hold_under_noise_whether_settled_or_not(noise):
    random = np.random.default_rng(1)
    f = lambda x: np.exp(x) + noise * random.uniform(-1, 1)  # noqa: E731
    off, bars = [], []
    for x in np.linspace(0.1, 2, 40):
        value, error = derivative(f, evaluate="host", with_error=True)(x)
        off.append(abs(float(value) - math.exp(x)))
        bars.append(float(error))
    known = np.isfinite(bars)
    assert np.mean(known) >= 0.9
    assert np.all(np.array(off)[known] <= 4 * np.array(bars)[known])


def test_open_inputs_elsewhere_compile_nothing_new():
    from tests.implicit.test_programs import compilations

    g = gradient(lambda x: jnp.sum(jnp.abs(x) + jnp.exp(x)), with_error=True)
    x = np.linspace(0.2, 1.0, 10)
    one, others = np.where(np.arange(10) == 2, 0, x), np.where(np.arange(10) % 3 == 0, 0, x)
    g(one)
    with compilations() as compiled:
        _, error = g(others)
    assert compiled == []
    np.testing.assert_array_equal(np.asarray(error) >= 1, others == 0)


def test_blocks_join_to_the_whole(monkeypatch):
    def f(x):
        return jnp.stack([x @ x, jnp.sum(x**3)])

    x = jnp.arange(1.0, 8.0)
    whole = jacobian(f, "central")(x)
    # Two inputs at a time.
    monkeypatch.setattr(evaluation, "BLOCK", 2 * 2 * 9)
    monkeypatch.setattr(evaluation, "BLOCK_ON_CPU", 2 * 2 * 9)
    np.testing.assert_array_equal(jacobian(f, "central")(x), whole)
