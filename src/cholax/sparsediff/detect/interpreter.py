"""The interpreter: runs a jaxpr of a tangent program on `Known`, `Coefficient` and `Rows` values.

What depends on no input is folded by executing it. What depends on x alone is a coefficient, so
only primitives that meet the tangent need a rule. Rules live in tables, one module per family.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from cholax._core.errors import PatternError, UnknownPrimitiveWarning
from cholax._core.jax_compat import Literal, open_jaxpr
from cholax.sparsediff.detect.rows import Rows, dense_row, filled, identity
from cholax.sparsediff.detect.values import Coefficient, Known, Value

Rule = Callable[["Interpreter", Any, Sequence[Value]], Sequence[Value]]

# Called whatever the operands are: they run other jaxprs, or pass values through.
control_rules: dict[str, Rule] = {}
# Called when an operand is linear in the tangent.
tangent_rules: dict[str, Rule] = {}
# Called when no operand is, and not all are known: what can be said of the result.
fact_rules: dict[str, Rule] = {}
# NumPy forms of primitives on known arrays; JAX evaluates the others, at the price of a compilation
# for each shape.
folds: dict[str, Callable[[Any, Sequence[np.ndarray]], Any]] = {}

# Folding stops above these sizes; the result is then an unknown coefficient.
LARGEST_FOLD = 50_000_000
LARGEST_PRODUCT = 2_000_000_000
# Equations interpreted before loops stop being unrolled: about 10 µs each.
UNROLL_BUDGET = 400_000
LARGEST_COLUMN = (1 << 31) - 1


def words(text: str) -> list[str]:
    """The names in a text."""
    return text.split()


class Step(NamedTuple):
    """One equation with its operands and results resolved to register numbers."""

    eqn: Any
    name: str
    operands: tuple[int | Value, ...]
    results: tuple[int, ...]
    dead: tuple[int, ...]


class Program(NamedTuple):
    """A jaxpr prepared for repeated interpretation."""

    jaxpr: Any
    registers: int
    inputs: tuple[int, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Any, ...]
    """Register numbers, or values."""


class Interpreter:
    """Interprets jaxprs; holds what is shared between nested ones: prepared programs and budget.

    Register contents belong to one call of `run`, so nothing leaks between two uses of one jaxpr.
    """

    def __init__(self, columns: int = 0) -> None:
        self.budget = UNROLL_BUDGET
        self.columns = columns
        self.programs: dict[int, Program] = {}
        self.warned: set[str] = set()

    def run_closed(self, jaxpr: Any, args: Sequence[Value]) -> list[Value]:
        """Run a jaxpr, closed or open, with the constants it carries."""
        inner, consts = open_jaxpr(jaxpr)
        return self.run(inner, [*map(constant, consts), *args])

    def run(self, jaxpr: Any, args: Sequence[Value]) -> list[Value]:
        """Run an open jaxpr on the values of its constants and inputs."""
        return self.run_program(self.program(jaxpr), args)

    def run_program(self, program: Program, args: Sequence[Value]) -> list[Value]:
        """Run a prepared jaxpr."""
        registers: list[Any] = [None] * program.registers
        for register, value in zip(program.inputs, args, strict=True):
            registers[register] = value
        self.budget -= len(program.steps)
        for eqn, name, operands, results, dead in program.steps:
            values = [registers[o] if isinstance(o, int) else o for o in operands]
            found = self.apply(eqn, name, values)
            for register, value in zip(results, found, strict=True):
                registers[register] = value
            for register in dead:
                registers[register] = None
        return [registers[o] if isinstance(o, int) else o for o in program.outputs]

    def apply(self, eqn: Any, name: str, values: Sequence[Value]) -> Sequence[Value]:
        """Interpret one equation."""
        rule = control_rules.get(name)
        if rule is not None:
            return rule(self, eqn, values)
        tangent = known = False
        for value in values:
            tangent = tangent or isinstance(value, Rows)
            known = known or not isinstance(value, Known)
        if tangent:
            rule = tangent_rules.get(name)
            return rule(self, eqn, values) if rule else self.unknown(eqn, name, values)
        if not known:
            folded = fold(eqn, name, values)
            if folded is not None:
                return folded
        rule = fact_rules.get(name)
        return rule(self, eqn, values) if rule else unknown_results(eqn)

    def unknown(self, eqn: Any, name: str, values: Sequence[Value]) -> list[Value]:
        """Interpret what implements the primitive, if that can be traced; else it is dense."""
        jaxpr = implementation(eqn)
        if jaxpr is not None:
            return self.run_closed(jaxpr, values)
        if name not in self.warned:
            self.warned.add(name)
            warnings.warn(
                f"detect: no rule for the primitive {name!r}; everything it returns is taken to "
                "depend on everything it is given. Give the pattern by hand if that is too much.",
                UnknownPrimitiveWarning,
                stacklevel=2,
            )
        return everything(eqn, values)

    @contextmanager
    def seeds(self, shapes: Sequence[tuple[int, ...]]) -> Iterator[list[Rows]]:
        """Arrays that depend on nothing but themselves, on columns nobody else uses."""
        base = self.columns
        starts = base + np.cumsum([0, *(int(np.prod(s, dtype=np.int64)) for s in shapes)])
        if starts[-1] >= LARGEST_COLUMN:
            raise PatternError(
                f"detect: more than {LARGEST_COLUMN} inputs and loop variables are not supported."
            )
        self.columns = int(starts[-1])
        try:
            yield [identity(s, int(k)) for s, k in zip(shapes, starts[:-1], strict=True)]
        finally:
            self.columns = base

    def program(self, jaxpr: Any) -> Program:
        """The prepared form of a jaxpr, made once."""
        found = self.programs.get(id(jaxpr))
        if found is None:
            found = _prepare(jaxpr)
            self.programs[id(jaxpr)] = found  # holds the jaxpr, so its id stays its own
        return found


def _prepare(jaxpr: Any) -> Program:
    numbers: dict[Any, int] = {}

    def number(var: Any) -> int:
        return numbers.setdefault(var, len(numbers))

    def operand(atom: Any) -> int | Value:
        return constant(atom.val) if isinstance(atom, Literal) else number(atom)

    inputs = tuple(number(v) for v in [*jaxpr.constvars, *jaxpr.invars])
    rows = [
        (eqn, tuple(map(operand, eqn.invars)), tuple(map(number, eqn.outvars)))
        for eqn in jaxpr.eqns
    ]
    outputs = tuple(map(operand, jaxpr.outvars))
    needed = {o for o in outputs if isinstance(o, int)}
    steps: list[Step] = []
    for eqn, operands, results in reversed(rows):
        touched = {o for o in operands if isinstance(o, int)} | set(results)
        dead = tuple(touched - needed)
        needed |= touched
        steps.append(Step(eqn, eqn.primitive.name, operands, results, dead))
    return Program(jaxpr, len(numbers), inputs, tuple(reversed(steps)), outputs)


def needed_part(program: Program, wanted: Sequence[bool]) -> tuple[Program, list[bool]]:
    """The part of a program that some results need, and which inputs that part reads.

    The other results become coefficients of which nothing is known.
    """
    outputs = program.outputs
    needed = {o for o, w in zip(outputs, wanted, strict=True) if w and isinstance(o, int)}
    steps = []
    for step in reversed(program.steps):
        if needed.intersection(step.results):
            needed.update(o for o in step.operands if isinstance(o, int))
            steps.append(step)
    shapes = [tuple(getattr(v.aval, "shape", ())) for v in program.jaxpr.outvars]
    kept = tuple(
        o if w else Coefficient(s) for o, w, s in zip(outputs, wanted, shapes, strict=True)
    )
    part = program._replace(steps=tuple(reversed(steps)), outputs=kept)
    return part, [register in needed for register in program.inputs]


def implementation(eqn: Any) -> Any:
    """The jaxpr of a primitive that is evaluated by a Python function, as libraries define them.

    None for primitives that are compiled as they are, JAX's own among them.
    """
    try:
        args = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
        run = partial(eqn.primitive.impl, **eqn.params)
        jaxpr = jax.make_jaxpr(lambda *a: run(*a))(*args)
    except Exception:  # whatever it needs, it cannot be traced
        return None
    return None if _uses(jaxpr, eqn.primitive) else jaxpr


def _uses(jaxpr: Any, primitive: Any) -> bool:
    inner, _ = open_jaxpr(jaxpr)
    return any(
        eqn.primitive is primitive
        or any(_uses(p, primitive) for p in eqn.params.values() if hasattr(p, "eqns"))
        for eqn in inner.eqns
    )


# --- values ---------------------------------------------------------------------------------------


def constant(value: Any) -> Value:
    """A constant of a jaxpr: known, unless it is a tracer of a surrounding transformation."""
    if isinstance(value, Tracer):
        return Coefficient(tuple(value.shape))
    return Known(as_numpy(value))


def as_numpy(value: Any) -> Any:
    """A NumPy array, except for types NumPy does not have (random keys)."""
    dtype = getattr(value, "dtype", None)
    if dtype is not None and jax.numpy.issubdtype(dtype, jax.dtypes.extended):
        return value
    return np.asarray(value)


def unknown_results(eqn: Any) -> list[Value]:
    """Coefficients without facts."""
    return [Coefficient(tuple(getattr(v.aval, "shape", ()))) for v in eqn.outvars]


def everything(eqn: Any, values: Sequence[Value]) -> list[Value]:
    """Results that depend on everything the operands depend on."""
    base = dense_row([v for v in values if isinstance(v, Rows)])
    return [filled(base, tuple(v.aval.shape)) for v in eqn.outvars]


# --- folding --------------------------------------------------------------------------------------

_NOT_EXECUTED = {"ffi_call", "pure_callback", "io_callback", "debug_callback", "shard_map"}


def fold(eqn: Any, name: str, values: Sequence[Value]) -> list[Value] | None:
    """Execute an equation on known values; None where that is impossible or too much work."""
    arrays = [v.value for v in values if isinstance(v, Known)]
    numpy_form = folds.get(name)
    if numpy_form is not None and all(isinstance(a, np.ndarray) for a in arrays):
        with np.errstate(all="ignore"):
            result = numpy_form(eqn.params, arrays)
        if result is not None:
            return _fitting(eqn, result if isinstance(result, list) else [result])
    if eqn.effects or name in _NOT_EXECUTED or _too_large(eqn, name):
        return None
    try:
        results = eqn.primitive.bind(*arrays, **eqn.params)
    except Exception:  # some primitives exist only inside compiled programs
        return None
    results = results if eqn.primitive.multiple_results else [results]
    return [Known(as_numpy(r)) for r in results]


def _fitting(eqn: Any, results: list[Any]) -> list[Value]:
    return [
        Known(np.asarray(r, dtype=v.aval.dtype)) for r, v in zip(results, eqn.outvars, strict=True)
    ]


def _too_large(eqn: Any, name: str) -> bool:
    size = sum(int(np.prod(v.aval.shape)) for v in eqn.outvars)
    if name in ("dot_general", "conv_general_dilated"):
        inputs = [int(np.prod(v.aval.shape)) for v in eqn.invars]
        # Elements of the result times the contracted size: sqrt(a · b · out) for a matrix product.
        return float(inputs[0]) * inputs[1] * max(size, 1) > float(LARGEST_PRODUCT) ** 2
    return size > LARGEST_FOLD
