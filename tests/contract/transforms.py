"""The transforms of the contract, and what a dense twin says about each.

Everything is a derivative of one scalar, loss(x) = Σ c·sin(f(x)), whose derivatives of every order
are nontrivial also where f is linear. Twins compile slowly, so each setting has two: its gradient
by reverse mode, and D[u], D²[u, v], D³[u, v, w] by nested forward mode.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tests.contract.cases import CASES, FILES, Setting
from tests.contract.patterns import Problem

MEMBERS = 3
"""Size of the batches."""

SMALL = Problem("random", 14, "shuffled", supernodal=True, seed=6)
"""The pattern of all compiled tests: nine supernodes in a branching tree, added fill, padding."""


MAIN = [next(case for case in CASES if case.partition("-")[0] == name) for name in FILES]
"""One variant of each primitive."""


class Data(NamedTuple):
    """A point, three directions, weights of the loss, and a batch of points."""

    point: tuple[Any, ...]
    u: tuple[Any, ...]
    v: tuple[Any, ...]
    w: tuple[Any, ...]
    c: tuple[Any, ...]
    batch: tuple[Any, ...]


def draw(setting: Setting, dtype: Any) -> Data:
    """Data every entry of which float32 holds exactly, so that one twin serves both dtypes."""
    rng = np.random.default_rng(0)
    point = setting.point
    u, v, w = (tuple(x.direction(rng) for x in point) for _ in range(3))
    c = tuple(rng.standard_normal(kept.shape) * kept for kept in setting.result_supports)
    batch = tuple(x.nearby(rng, MEMBERS) for x in point)
    data = Data(tuple(x.value for x in point), u, v, w, c, batch)
    # In NumPy: eager conversions would compile once for every new shape.
    return jax.tree.map(lambda x: x.astype(np.float32).astype(dtype), data)


def inner(x: Any, y: Any) -> Any:
    """Sum of elementwise products over all arrays."""
    return sum(jnp.sum(a * b) for a, b in zip(x, y, strict=True))


Function = Callable[..., tuple[Any, ...]]


def loss(f: Function, c: Any) -> Callable[..., Any]:
    """The scalar whose derivatives are compared."""
    return lambda *x: inner(c, [jnp.sin(y) for y in f(*x)])


def gradient(scalar: Callable[..., Any]) -> Function:
    """Reverse mode in every argument."""
    return lambda *x: jax.grad(scalar, tuple(range(len(x))))(*x)


def along(f: Function, direction: Any) -> Function:
    """Forward mode: derivatives of the results in one direction."""
    return lambda *x: jax.jvp(f, x, direction)[1]


def _grad_grad(f: Function, d: Data) -> Any:
    first = gradient(loss(f, d.c))
    return gradient(lambda *x: inner(first(*x), d.v))(*d.point)


def _jvp_grad(f: Function, d: Data) -> Any:
    return along(gradient(loss(f, d.c)), d.v)(*d.point)


def _third(f: Function, d: Data) -> Any:
    second = along(gradient(loss(f, d.c)), d.v)
    return gradient(lambda *x: inner(second(*x), d.u))(*d.point)


TRANSFORMS: dict[str, Callable[[Function, Data], Any]] = {
    "value": lambda f, d: f(*d.point),
    "jvp": lambda f, d: along(f, d.u)(*d.point),
    "vjp": lambda f, d: gradient(loss(f, d.c))(*d.point),
    "vmap": lambda f, d: jax.vmap(f)(*d.batch),
    "vmap_grad": lambda f, d: jax.vmap(gradient(loss(f, d.c)))(*d.batch),
    "grad_grad": _grad_grad,
    "jvp_grad": _jvp_grad,
    "third": _third,
}


# --- dense twins ---------------------------------------------------------------------------------

# Twins run once: compiling them less thoroughly saves a third of the suite's time.
jit_once = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


class Twin:
    """Values and derivatives of a setting's dense twin at the points of its data."""

    def __init__(self, setting: Setting) -> None:
        self.data = draw(setting, np.float64)
        self._setting = setting

    @functools.cached_property
    def value_and_gradient(self) -> Callable[..., Any]:
        """(point, c) -> (results, gradient of the loss)."""
        twin = self._setting.twin

        @jit_once
        def run(point: Any, c: Any) -> Any:
            results, pull = jax.vjp(twin, *point)
            return results, pull(tuple(a * jnp.cos(y) for a, y in zip(c, results, strict=True)))

        return run

    @functools.cached_property
    def _forward(self) -> Any:
        """Directional derivatives: of the results in u; of the loss in u, v and u, v, w."""

        @jit_once
        def run(d: Data) -> Any:
            def both(*x: Any) -> Any:
                results = self._setting.twin(*x)
                return results, inner(d.c, [jnp.sin(y) for y in results])

            def first(*x: Any) -> Any:
                return jax.jvp(both, x, d.u)[1]

            def second(*x: Any) -> Any:
                (results, scalar), (_, second) = jax.jvp(first, x, d.v)
                return results, scalar, second

            (results, _, second), (_, _, third) = jax.jvp(second, d.point, d.w)
            return results, second, third

        return run(self.data)

    @property
    def tangents(self) -> Any:
        """Of the results, in direction u."""
        return self._forward[0]

    @property
    def second(self) -> Any:
        """D²[u, v] of the loss."""
        return self._forward[1]

    @property
    def third(self) -> Any:
        """D³[u, v, w] of the loss."""
        return self._forward[2]

    @functools.cached_property
    def _batch(self) -> Any:
        members = [tuple(x[i] for x in self.data.batch) for i in range(MEMBERS)]
        return [self.value_and_gradient(member, self.data.c) for member in members]

    def check(self, transform: str, got: Any, close: Callable[..., None]) -> None:
        """Compare what a transform gave with the twin; `close(got, expected, scale=...)`."""
        d = self.data
        match transform:
            case "grad_grad" | "jvp_grad":
                _check_scalar(got, d.u, self.second, close)
            case "third":
                _check_scalar(got, d.w, self.third, close)
            case _:
                for one, other in zip(got, self._expected(transform), strict=True):
                    close(one, other)

    def _expected(self, transform: str) -> Any:
        match transform:
            case "value" | "vjp":
                pair = self.value_and_gradient(self.data.point, self.data.c)
                return pair[0 if transform == "value" else 1]
            case "jvp":
                return self.tangents
            case "vmap" | "vmap_grad":
                rows = [member[0 if transform == "vmap" else 1] for member in self._batch]
                return [np.stack(x) for x in zip(*rows, strict=True)]
        raise ValueError(transform)


def _check_scalar(got: Any, direction: Any, expected: Any, close: Callable[..., None]) -> None:
    """A vector against what the twin knows: its product with one direction."""
    terms = [np.asarray(x, np.float64) * np.asarray(y) for x, y in zip(got, direction, strict=True)]
    size = sum(float(np.sum(np.abs(x))) for x in terms)
    close(sum(np.sum(x) for x in terms), expected, scale=max(size, 1.0))


@functools.cache
def small(name: str) -> tuple[Setting, Twin]:
    """The setting of the compiled tests, with its twin, once per process."""
    setting = CASES[name](SMALL)
    return setting, Twin(setting)
