"""What a case file gives: a primitive with operands, as a function, and as its dense twin."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from cholax.analysis import Plan
from cholax.primitives import Definition, Kind, registry
from tests.contract import patterns


class Variable(NamedTuple):
    """An operand, and where it may be nonzero (padding of a factor vector may not)."""

    value: np.ndarray
    support: np.ndarray

    def direction(self, rng: np.random.Generator) -> np.ndarray:
        """A random tangent."""
        return rng.standard_normal(self.value.shape) * self.support

    def nearby(self, rng: np.random.Generator, *batch: int) -> np.ndarray:
        """A batch of operands as valid as this one: SPD stays SPD, a factor stays a factor."""
        return self.value * rng.uniform(0.9, 1.1, (*batch, *self.value.shape))


def free(value: np.ndarray) -> Variable:
    """An operand any entry of which may be anything."""
    value = np.asarray(value).astype(np.float32).astype(np.float64)
    return Variable(value, np.ones(value.shape, bool))


def factor(problem: patterns.Problem, plan: Plan) -> Variable:
    """A genuine Cholesky factor."""
    return free(problem.factor(plan))._replace(support=patterns.support(plan))


def factor_like(problem: patterns.Problem, plan: Plan) -> Variable:
    """Any values on the filled pattern."""
    kept = patterns.support(plan)
    return free(problem.rng.standard_normal(kept.size) * kept)._replace(support=kept)


def columns(problem: patterns.Problem, rows: int, shift: int = 0) -> Variable:
    """One to four columns; `shift` makes a second operand differ from the first."""
    rng = np.random.default_rng(problem.seed + shift)
    return free(rng.standard_normal((rows, 1 + problem.seed % 4)))


def _cholesky(plan: Plan, values: Any) -> tuple[Any, ...]:
    return (registry["cholesky"](plan, values, throw=False)[0],)


def _cholesky_twin(plan: Plan, values: Any) -> tuple[Any, ...]:
    return (registry["cholesky"].specification(plan, values, throw=False)[0],)


@dataclass(frozen=True, eq=False)
class Setting:
    """A primitive with its structure, operands and static parameters."""

    name: str
    structure: Any
    operands: tuple[Variable, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    on_factor: bool = False
    """The result is a factor vector."""
    caches: Callable[..., tuple[Any, ...]] = _cholesky
    """What the operands of kind cache are computed by, from the structure and the values."""
    twin_caches: Callable[..., tuple[Any, ...]] = _cholesky_twin
    """The same in plain `jax.numpy`."""

    @property
    def definition(self) -> Definition:
        """The primitive."""
        return registry[self.name]

    @property
    def point(self) -> tuple[Variable, ...]:
        """What differentiates: not a cache, which is computed from the values, nor an order."""
        kinds = [op.kind for op in self.definition.operands]
        pairs = zip(self.operands, kinds, strict=True)
        return tuple(x for x, kind in pairs if kind not in (Kind.CACHE, Kind.ORDER))

    @property
    def result_supports(self) -> list[np.ndarray]:
        """Where each floating-point result may be nonzero."""
        if self.on_factor:
            return [patterns.support(self.structure)]
        shapes = (x.value.shape for x in self.operands)
        declared = self.definition.results(self.structure, *shapes, **self.params)
        return [np.ones(shape, bool) for shape, dtype in declared if dtype is None]

    @property
    def arguments(self) -> list[np.ndarray]:
        """All operands, caches computed and in their own dtypes."""
        complete = self._complete(self.caches, tuple(x.value for x in self.point))
        return [np.asarray(x) for x in complete]

    def apply(self, *operands: Any) -> tuple[Any, ...]:
        """The primitive of all its operands."""
        return _floats(self.definition(self.structure, *operands, **self.params))

    def specification(self, *operands: Any) -> tuple[Any, ...]:
        """Its dense twin, in plain `jax.numpy`: none of our derivative rules."""
        return _floats(self.definition.specification(self.structure, *operands, **self.params))

    def function(self, *point: Any) -> tuple[Any, ...]:
        """The primitive of what differentiates."""
        return self.apply(*self._complete(self.caches, point))

    def twin(self, *point: Any) -> tuple[Any, ...]:
        """The dense twin of `function`, differentiated by JAX itself."""
        return self.specification(*self._complete(self.twin_caches, point))

    def _complete(self, caches: Callable[..., Any], point: tuple[Any, ...]) -> list[Any]:
        given, kinds = iter(point), [op.kind for op in self.definition.operands]
        made = iter(caches(self.structure, point[0]) if Kind.CACHE in kinds else ())
        order = iter([np.zeros((), point[0].dtype)] if Kind.ORDER in kinds else ())
        source = {Kind.CACHE: made, Kind.ORDER: order}
        return [next(source.get(kind, given)) for kind in kinds]


def _floats(results: Any) -> tuple[Any, ...]:
    results = results if isinstance(results, (list, tuple)) else (results,)
    return tuple(x for x in results if np.issubdtype(x.dtype, np.floating))
