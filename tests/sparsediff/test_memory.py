"""What is remembered between calls, and what makes it void."""

import functools
import gc
import importlib
import itertools
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax.sparsediff import captured as captured_module
from cholax.sparsediff._hessian import hessian
from cholax.sparsediff._jacobian import jacobian
from cholax.sparsediff.captured import captured
from tests import tolerances as tol
from tests.sparsediff import problems

OFFSET = np.array([1, 2, 0])


@pytest.fixture
def detections(monkeypatch) -> list[int]:
    """One entry per detection."""
    calls: list[int] = []
    # The package has a function of the module's name.
    module = importlib.import_module("cholax.sparsediff._jacobian")
    detect = module.jacobian_pattern

    def counted(f, x):
        calls.append(x.size)
        return detect(f, x)

    monkeypatch.setattr(module, "jacobian_pattern", counted)
    return calls


def test_equal_structures_are_detected_once(detections):
    J = jacobian(problems.stencil)
    x = problems.point(6)
    for _ in range(3):
        J(x)
    J(2 * x)
    jax.jit(J)(x)
    J.pattern(x), J.colors(x)
    assert detections == [6]
    J(problems.point(7))
    assert detections == [6, 7]


def test_equal_calls_compile_once():
    traces = itertools.count()  # no captured data: a list would be, and change with every trace

    def f(x, theta):
        next(traces)
        return theta * x**2

    J = jacobian(f)
    x = problems.point(4)
    J(x, 2.0)
    before = next(traces)
    tol.assert_close(J(x, 3.0).values, 6 * x, tol.value(x.dtype))
    tol.assert_close(J(2 * x, 3.0).values, 12 * x, tol.value(x.dtype))
    assert next(traces) == before + 1


def test_floating_arguments_do_not_decide_patterns(detections):
    J = jacobian(lambda x, a: a * x[::-1] + x)
    x = problems.point(4)
    J(x, jnp.zeros(4))
    got = J(x, jnp.ones(4)).to_dense()
    tol.assert_close(got, jnp.eye(4) + jnp.eye(4)[::-1], tol.value(x.dtype))
    assert len(detections) == 1


def test_concrete_index_arguments_decide_patterns(detections):
    def f(x, index):
        return x[index] ** 2

    J = jacobian(f)
    x = problems.point(5)
    for index in (np.array([0, 3]), jnp.array([4, 4])):
        A = J(x, index)
        assert A.nnz == 2
        tol.assert_close(A.to_dense(), jax.jacobian(f)(x, index), tol.value(x.dtype))
    assert len(detections) == 2
    traced = jax.jit(lambda x, index: J(x, index).to_dense())(x, jnp.array([1, 2]))
    tol.assert_close(traced, jax.jacobian(f)(x, jnp.array([1, 2])), tol.value(x.dtype))


def test_static_arguments_decide_patterns():
    def f(x, how, shift):
        return jnp.roll(x, shift) ** 2 if how == "roll" else x**2

    J = jacobian(f)
    x = problems.point(3)
    for args in (("roll", 1), ("roll", 2), ("plain", 1)):
        tol.assert_close(J(x, *args).to_dense(), jax.jacobian(f)(x, *args), tol.value(x.dtype))


# --- captured data


def test_a_changed_closure_is_noticed():
    index = np.array([0, 1])
    J = jacobian(lambda x: x[index] ** 2)
    x = problems.point(4)
    assert J.pattern(x).columns.tolist() == [0, 1]
    index = np.array([2, 3])
    assert J.pattern(x).columns.tolist() == [2, 3]
    tol.assert_close(J(x).to_dense(), jax.jacobian(lambda x: x[index] ** 2)(x), tol.value(x.dtype))
    index[0] = 0  # in place
    tol.assert_close(J(x).to_dense(), jax.jacobian(lambda x: x[index] ** 2)(x), tol.value(x.dtype))


def test_a_changed_global_is_noticed(monkeypatch):
    def f(x):
        return x[OFFSET] ** 2

    J = jacobian(f)
    x = problems.point(3)
    J(x)
    monkeypatch.setitem(globals(), "OFFSET", np.array([0, 1, 2]))
    tol.assert_close(J(x).to_dense(), jnp.diag(2 * x), tol.value(x.dtype))


class Model:
    def __init__(self, index):
        self.index = index

    def residual(self, x):
        return x[self.index] ** 2


def test_a_changed_attribute_is_noticed():
    model = Model(np.array([1, 0]))
    J = jacobian(model.residual)
    x = problems.point(2)
    J(x)
    model.index = np.array([0, 1])
    tol.assert_close(J(x).to_dense(), jnp.diag(2 * x), tol.value(x.dtype))


def test_functions_called_by_the_function_count():
    scale = [1.0]

    def inner(x):
        return scale[0] * x

    J = jacobian(functools.partial(lambda g, x: g(x), inner))
    x = problems.point(2)
    J(x)
    scale[0] = 3.0
    tol.assert_close(J(x).to_dense(), 3 * jnp.eye(2), tol.value(x.dtype))


def test_equal_captures_have_equal_keys():
    make = lambda a: lambda x: a * x  # noqa: E731
    f = make(np.arange(3.0))
    assert captured(f) == captured(f)
    assert hash(captured(f)) == hash(captured(f))
    assert captured(make(np.arange(3.0))) == captured(make(np.arange(3.0)))
    assert captured(make(np.arange(3.0))) != captured(make(np.arange(4.0)))
    assert captured(make(1)) != captured(make(True))


def test_captured_tracers_have_no_key():
    keys = []

    def outer(theta):
        keys.append(captured(lambda x: x * theta))
        keys.append(captured({"nested": [theta]}))
        return theta

    jax.jit(outer)(1.0)
    assert keys == [None, None]


def test_recursive_functions_have_keys(monkeypatch):
    def f(x, n):
        return x if n == 0 else f(x, n - 1)

    assert captured(f) == captured(f)
    monkeypatch.setattr(captured_module, "MOST_NODES", 1)
    assert captured(f) == captured(f)


def test_the_memory_dies_with_the_object():
    big = np.arange(5)
    alive = weakref.ref(big)
    J = jacobian(functools.partial(lambda a, x: x * a, big))
    J(problems.point(5))
    del J, big
    jax.clear_caches()
    gc.collect()
    assert alive() is None


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr("cholax.sparsediff.derivative.REMEMBERED", 4)
    H = hessian(lambda x: jnp.sum(x**2))
    for n in range(1, 8):
        H.pattern(jnp.ones(n))
    assert len(H._memory) <= 4
