"""A solver called again finds its compiled program, and only where it is the same program."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from tests import tolerances as tol

COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compilations() -> Iterator[list[str]]:
    """The programs that XLA compiles meanwhile."""
    seen: list[str] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event == COMPILED:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


SOLVERS: dict[str, Callable] = {
    "root": lambda a: cx.root(lambda z, a: z**3 + z - a, jnp.zeros(4), a),
    "fixed_point": lambda a: cx.fixed_point(lambda z, a: jnp.cos(a * z), jnp.ones(4), a),
    "minimize": lambda a: cx.minimize(lambda z, a: jnp.sum(z**4 + (z - a) ** 2), jnp.ones(4), a),
    "bisect": lambda a: cx.bisect(lambda z, a: z**3 + z - a, -9.0, 9.0, a),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_second_call_compiles_nothing(name: str) -> None:
    def value(a: jax.Array) -> jax.Array:
        return SOLVERS[name](a).sum()

    # Values that are arrays: a Python number and an array would be two programs.
    one, two = jnp.asarray(0.7), jnp.asarray(0.8)
    jax.value_and_grad(value)(one)
    value(one)
    with compilations() as counter:
        jax.make_jaxpr(jnp.sin)(1.0)
        jax.jit(lambda x: x + 2.0)(one)
    assert len(counter) == 1, "the listener must see compilations"
    with compilations() as compiled:
        value(two)
        jax.value_and_grad(value)(two)
    assert compiled == []


def test_changed_captures_and_static_arguments_make_another_program() -> None:
    shift = 1.0
    weights = np.array([1.0, 2.0])

    def F(z: jax.Array) -> jax.Array:
        return weights * z - shift

    before = cx.root(F, jnp.zeros(2))
    shift = 3.0
    weights[1] = 6.0
    after = cx.root(F, jnp.zeros(2))
    tol.assert_close(before, np.array([1.0, 0.5]), tol.value(np.float64))
    tol.assert_close(after, np.array([3.0, 0.5]), tol.value(np.float64))

    def picked(z: jax.Array, b: jax.Array, index: np.ndarray, power: int) -> jax.Array:
        return z - b[index] ** power

    b = jnp.array([2.0, 3.0, 5.0])
    for index, power in (([0, 1], 1), ([1, 2], 1), ([1, 2], 2)):
        z = cx.root(picked, jnp.zeros(2), b, np.array(index), power)
        tol.assert_close(z, np.asarray(b)[index] ** power, tol.value(np.float64))


def test_nothing_of_a_function_that_closes_over_a_tracer_is_kept() -> None:
    def solution(a: jax.Array) -> jax.Array:
        return cx.root(lambda z: z**3 + z - a, jnp.zeros(2)).sum()

    for a in (1.0, 2.0):
        z = np.roots([1.0, 0.0, 1.0, -a])
        z = float(z[np.abs(z.imag) < 1e-9].real[0])
        slope = float(jax.jit(jax.grad(solution))(a))
        assert abs(slope - 2 / (3 * z**2 + 1)) <= tol.gradient(np.float64)


def test_random_keys_are_arguments_as_any_other():
    def equation(z, args):
        shift, key = args
        return z**3 + z - shift - 0.1 * jax.random.normal(key, z.shape)

    def solved(shift, key):
        return cx.root(equation, jnp.zeros(3), (shift, key))

    keys = jax.random.split(jax.random.key(1), 2)
    z = jax.vmap(lambda key: solved(1.0, key))(keys)
    for k in range(2):
        np.testing.assert_allclose(solved(1.0, keys[k]), z[k], rtol=1e-15)
        np.testing.assert_allclose(equation(z[k], (1.0, keys[k])), 0.0, atol=1e-14)
    # dz/ds = 1/(3 z² + 1), d²z/ds² = −6 z/(3 z² + 1)³
    slope = 1 / (3 * z[0] ** 2 + 1)
    total = lambda shift: solved(shift, keys[0]).sum()  # noqa: E731
    np.testing.assert_allclose(jax.grad(total)(1.0), slope.sum(), rtol=1e-13)
    second = -6 * z[0] * slope**3
    np.testing.assert_allclose(jax.hessian(total)(1.0), second.sum(), rtol=1e-12)
    low = cx.bisect(equation, -5.0, 5.0, (1.0, keys[0]))
    np.testing.assert_allclose(equation(low, (1.0, keys[0])), 0.0, atol=1e-12)
