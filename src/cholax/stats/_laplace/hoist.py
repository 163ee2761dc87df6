"""A function of (u, θ) split into what depends on u and what does not.

A Newton iteration over u evaluates f(·, θ) many times. Its terms in θ alone, log|Q(θ)| first of
all, cost a factorisation each and never change: they are computed once, before the loop, and so
are matrices built from θ. XLA does not move such calls out of a `while` by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax.core import Tracer

from cholax._core.jax_compat import Literal, open_jaxpr

# Calls that only group equations.
_INLINED = ("jit", "pjit", "closed_call", "core_call")


class _Slot(NamedTuple):
    """A value that depends on u, by its place on the tape."""

    place: int


class _Given(NamedTuple):
    """A value that does not, by its place among the residuals."""

    place: int


@dataclass(frozen=True, eq=False)
class _Step:
    """One recorded equation: inputs are slots, givens or constants."""

    equation: Any
    inputs: tuple[Any, ...]
    outputs: tuple[_Slot, ...]


class Core:
    """The part of f that depends on u: `core(u, *residuals)`, equal to f(u, θ)."""

    # No __dict__: caches that look into functions then count it by identity.
    __slots__ = ("__weakref__", "_count", "_result", "_steps")

    def __init__(self, steps: Sequence[_Step], count: int, result: Any) -> None:
        self._steps = tuple(steps)
        self._count = count
        self._result = result

    def __call__(self, u: Any, *residuals: Any) -> Any:
        """f(u, θ) from the parts of it that depend on θ alone, computed before (`residuals`)."""
        values: list[Any] = [None] * self._count
        values[0] = u

        def read(ref: Any) -> Any:
            match ref:
                case _Slot(place):
                    return values[place]
                case _Given(place):
                    return residuals[place]
                case _:
                    return ref

        for step in self._steps:
            made = _bind(step.equation, [read(ref) for ref in step.inputs])
            for slot, value in zip(step.outputs, made, strict=True):
                values[slot.place] = value
        return read(self._result)


def hoist(
    function: Callable[..., Any], u: jax.Array, theta: Sequence[Any]
) -> tuple[Core, list[Any]]:
    """Trace `function(u, *theta)` and evaluate all of it that does not depend on u.

    Args:
        function: returns one array.
        u: only its shape and dtype matter.
        theta: arrays. Tracers that the function closes over count among them.

    Returns:
        `core` and the residuals, so that `core(u, *residuals)` is `function(u, *theta)`, in value
        and derivatives of any order. `core` holds no tracer.
    """
    jaxpr, consts = open_jaxpr(jax.make_jaxpr(function)(u, *theta))
    tape = _Tape()
    (result,) = tape.run(jaxpr, consts, [_Slot(0), *theta])
    result = tape.reference(result)
    return Core(tape.steps, tape.count, result), tape.residuals


class _Tape:
    def __init__(self) -> None:
        self.steps: list[_Step] = []
        self.count = 1
        self.residuals: list[Any] = []
        self._places: dict[int, _Given] = {}

    def run(self, jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        """Evaluate what is known and record the rest; the values or slots of the results."""
        env: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        env.update(zip(jaxpr.invars, args, strict=True))

        def read(atom: Any) -> Any:
            return atom.val if isinstance(atom, Literal) else env[atom]

        for eqn in jaxpr.eqns:
            inputs = [read(atom) for atom in eqn.invars]
            env.update(zip(eqn.outvars, self._apply(eqn, inputs), strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _apply(self, eqn: Any, inputs: list[Any]) -> Sequence[Any]:
        depends = any(isinstance(x, _Slot) for x in inputs)
        if not depends and not eqn.effects:
            return _bind(eqn, inputs)
        if eqn.primitive.name in _INLINED:
            inner, consts = open_jaxpr(eqn.params.get("jaxpr", eqn.params.get("call_jaxpr")))
            return self.run(inner, consts, inputs)
        outputs = tuple(_Slot(self.count + k) for k in range(len(eqn.outvars)))
        self.count += len(outputs)
        refs = tuple(self.reference(x) for x in inputs)
        self.steps.append(_Step(eqn, refs, outputs))
        return outputs

    def reference(self, x: Any) -> Any:
        """What the tape writes for a value: tracers become residuals, constants stay."""
        if not isinstance(x, Tracer):
            return x
        if id(x) not in self._places:
            self._places[id(x)] = _Given(len(self.residuals))
            self.residuals.append(x)
        return self._places[id(x)]


def _bind(eqn: Any, inputs: Sequence[Any]) -> Sequence[Any]:
    primitive = eqn.primitive
    with eqn.ctx.manager:
        made = primitive.bind(*inputs, **primitive.get_bind_params(eqn.params))
    return made if primitive.multiple_results else [made]
