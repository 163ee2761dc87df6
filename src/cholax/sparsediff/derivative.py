"""What Jacobians and Hessians share: preparing a call once, evaluating, verifying, remembering."""

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core import options
from cholax._core.jax_compat import boundary
from cholax._core.pickling import Portable
from cholax.linalg import SparseMatrix
from cholax.patterns import Pattern
from cholax.sparsediff import verify
from cholax.sparsediff.captured import captured
from cholax.sparsediff.coloring.result import Coloring
from cholax.sparsediff.compress import Reader
from cholax.sparsediff.flatten import Call, Leaves, bind, positions
from cholax.sparsediff.programs import Footprint, footprint
from cholax.sparsediff.sparsity import as_pattern

# Products are made side by side as long as their intermediate results fit a core's cache: on 10⁵
# unknowns of a finite-element residual 31 ms one by one, 92 ms all at once.
CHUNK_BYTES = 2**20
# Input structures remembered by one derivative object.
REMEMBERED = 32
# Calls after which a function that keeps giving NaN somewhere counts as verified elsewhere.
PARTIAL_CHECKS = 3

Flat = Callable[..., tuple[Any, tuple[Any, Any]]]


@dataclass(eq=False)
class Prepared:
    """All that is static about a call: pattern, colouring and the program made of them."""

    pattern: Pattern
    coloring: Coloring
    outputs: Leaves
    evaluate: Callable[..., Any]
    compare: Callable[..., Any]
    run: Callable[..., Any] = field(init=False)
    run_comparison: Callable[..., Any] = field(init=False)
    verified: bool = False
    partial_checks: int = 0

    def __post_init__(self) -> None:
        self.run = jax.jit(self.evaluate)
        self.run_comparison = jax.jit(self.compare)


class SparseDerivative(Portable, ABC):
    """A function that returns sparse derivatives of another one.

    Pattern, colouring and compiled program are remembered per structure of the arguments (shapes,
    dtypes, static arguments, values of concrete integer arrays), together with what `f` captures:
    closures, globals it names, attributes of its object. When any of these changes, detection runs
    anew. What `f` reads from elsewhere, or from inside objects of foreign classes without
    attributes, is read once, as `jax.jit` does. Nothing is remembered of a function that closes
    over a tracer. The memory lives and dies with this object.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        argnums: int | Sequence[int],
        *,
        mode: str,
        sparsity: Any,
        verify: bool,
        chunk_size: int | None,
        has_aux: bool,
    ) -> None:
        where = self._where
        self._f = options.function(f, where, "f")
        self._argnums = positions(argnums, where)
        self._mode = options.choice(mode, where, "mode", self._modes)
        self._sparsity = sparsity
        self._verify = options.flag(verify, where, "verify")
        if chunk_size is not None:
            chunk_size = options.count(chunk_size, where, "chunk_size", least=1)
        self._chunk_size = chunk_size
        self._has_aux = options.flag(has_aux, where, "has_aux")
        self._made_again()

    def _made_again(self) -> None:
        self._lock = threading.Lock()
        self._memory: OrderedDict[Hashable, Any] = OrderedDict()

    _transient = ("_lock", "_memory")
    _where: str
    _modes: tuple[str, ...]

    # --- what the two kinds of derivatives fill in

    @abstractmethod
    def _flat(self, call: Call) -> Flat:
        """`flat(x, data) -> (flat output, (out, aux))`, checked."""

    @abstractmethod
    def _detected(self, function: Callable[[Any], Any], x: jax.ShapeDtypeStruct) -> Pattern:
        """The pattern of the derivative of a flat function."""

    @abstractmethod
    def _shape(self, n: int, m: int) -> tuple[int, int]:
        """Shape of the derivative."""

    @abstractmethod
    def _coloring(self, pattern: Pattern, program: Footprint) -> Coloring:
        """The colouring for this mode."""

    @abstractmethod
    def _evaluate(self, flat: Flat, reader: Reader, x: Any, data: Any) -> tuple[Any, Any]:
        """The values, and what else came for free."""

    @abstractmethod
    def _product(self, flat: Flat, coloring: Coloring, x: Any, data: Any) -> Any:
        """(whether transposed, the linear map v -> J v or Jᵀ v), independent of `_evaluate`."""

    @abstractmethod
    def _row(self, flat: Flat, x: Any, data: Any, i: int) -> np.ndarray | None:
        """Row i of the derivative in full, or None when that cannot be had."""

    # --- public

    @boundary
    def pattern(self, *args: Any, **kwargs: Any) -> Pattern:
        """The sparsity pattern for arguments of this structure.

        Args:
            *args: the arguments of a call; of the differentiated ones only shapes matter.
            **kwargs: keyword arguments of `f`.

        Returns:
            A `Pattern`.
        """
        return self._bound(*args, **kwargs)[2]

    @boundary
    def colors(self, *args: Any, **kwargs: Any) -> Coloring:
        """The colouring for arguments of this structure.

        Args:
            *args: the arguments of a call.
            **kwargs: keyword arguments of `f`.

        Returns:
            A `Coloring`; `len()` of it is the number of products that one evaluation takes.
        """
        return self._prepare(*args, **kwargs)[1].coloring

    @boundary
    def unravel(
        self, *args: Any, **kwargs: Any
    ) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
        """Functions that turn flat vectors back into pytrees.

        Args:
            *args: the arguments of a call.
            **kwargs: keyword arguments of `f`.

        Returns:
            `(unravel_input, unravel_output)`: for vectors along the columns of the matrix and
            along its rows.
        """
        call, prepared, _ = self._prepare(*args, **kwargs)
        return call.inputs.unravel, prepared.outputs.unravel

    # --- one call

    def _call(self, *args: Any, **kwargs: Any) -> tuple[SparseMatrix, Any]:
        call, prepared, remembered = self._prepare(*args, **kwargs)
        # Inline when f closes over a tracer: a compiled program must not hold it.
        run = prepared.run if remembered else prepared.evaluate
        values, extra = run(call.x, call.data)
        if self._verify and not prepared.verified:
            if isinstance(values, Tracer):
                values = _checked_in_program(prepared, call, values)
            else:
                self._check(call, prepared, values)
        return SparseMatrix(values, prepared.pattern), extra

    def _prepare(self, *args: Any, **kwargs: Any) -> tuple[Call, Prepared, bool]:
        call, key, pattern = self._bound(*args, **kwargs)
        prepared_key = None if key is None else (*key, pattern)
        prepared = self._remembered(prepared_key, lambda: self._prepared_for(call, pattern))
        return call, prepared, key is not None

    def _bound(
        self, *args: Any, **kwargs: Any
    ) -> tuple[Call, tuple[Hashable, Hashable] | None, Pattern]:
        """The call, its key (None when f closes over a tracer), and its pattern."""
        where = self._where
        call = bind(self._f, self._argnums, args, kwargs, has_aux=self._has_aux, where=where)
        held = captured(self._f)
        key = None if held is None else (call.key, held)
        pattern_key = None if key is None else (*key, call.known)
        return call, key, self._remembered(pattern_key, lambda: self._pattern_of(call))

    def _remembered(self, key: Hashable | None, make: Callable[[], Any]) -> Any:
        if key is None:
            return make()
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        made = make()
        with self._lock:
            made = self._memory.setdefault(key, made)
            while len(self._memory) > REMEMBERED:
                self._memory.popitem(last=False)
        return made

    def _traced_once(self, call: Call) -> Any:
        """The flat function, which all programs that are made for this call trace together, once.

        A trace of a model takes seconds of Python where it unrolls loops. Inlined, it leaves no
        mark in the programs.
        """
        if not call.traced:
            call.traced.append(jax.jit(self._flat(call), inline=True))
        return call.traced[0]

    def _pattern_of(self, call: Call) -> Pattern:
        flat, x = self._traced_once(call), jax.ShapeDtypeStruct(call.x.shape, call.x.dtype)
        if self._sparsity is not None:
            m = jax.eval_shape(flat, x, call.data)[0].size
            shape = self._shape(x.size, m)
            symmetric = shape[0] == shape[1] and self._symmetric
            return as_pattern(self._sparsity, shape, symmetric=symmetric, where=self._where)
        known = call.known_mask()
        if any(known):
            flat = flat.__wrapped__  # whose arithmetic with known integers runs at once
        found: list[Pattern] = []

        # Tracers stand for data whose values may change; only what is known is seen as such.
        def detect(unknown: Sequence[Any]) -> None:
            rest = iter(unknown)
            data = tuple(
                leaf if is_known else next(rest)
                for leaf, is_known in zip(call.data, known, strict=True)
            )
            found.append(self._detected(lambda x: flat(x, data)[0], x))

        unknown = [leaf for leaf, is_known in zip(call.data, known, strict=True) if not is_known]
        if unknown:
            jax.eval_shape(detect, unknown)
        else:
            detect([])
        return found[0]

    _symmetric = False

    def _prepared_for(self, call: Call, pattern: Pattern) -> Prepared:
        flat = self._traced_once(call)
        program = footprint(flat, call.x, call.data)
        coloring = self._coloring(pattern, program)
        most = self._chunk_size or max(1, CHUNK_BYTES // max(1, program.largest))
        reader = Reader(pattern, coloring, (most, most))

        def evaluate(x: Any, data: Any) -> tuple[Any, Any]:
            return self._evaluate(flat, reader, x, data)

        def compare(x: Any, data: Any, values: Any) -> tuple[Any, Any]:
            transpose, product = self._product(flat, coloring, x, data)
            return verify.discrepancy(product, values, pattern, transpose=transpose)

        outputs = Leaves(program.tree, program.shapes)
        return Prepared(pattern, coloring, outputs, evaluate, compare)

    def _check(self, call: Call, prepared: Prepared, values: jax.Array) -> None:
        gap, scale = prepared.run_comparison(call.x, call.data, values)
        worst, complete = verify.suspects(gap, scale)
        for i in worst.tolist():
            found, size = float(gap[i]), float(scale[i])
            by_columns = prepared.coloring.kind == "row"
            row = None if by_columns else self._row(self._traced_once(call), call.x, call.data, i)
            if row is not None and np.isfinite(row).all():
                verify.examine(row, np.asarray(values), prepared.pattern, i, found, self._where)
            elif found > verify.coarse(values.dtype) * size:
                line = f"{'column' if by_columns else 'row'} {i} times a random vector"
                verify.refuse(
                    self._where, f"{line} is off by {found:.3g}, at a scale of {size:.3g}"
                )
        prepared.partial_checks += 1
        prepared.verified = complete or prepared.partial_checks >= PARTIAL_CHECKS


def _checked_in_program(prepared: Prepared, call: Call, values: jax.Array) -> jax.Array:
    x, data = jax.tree.map(jax.lax.stop_gradient, (call.x, call.data))
    gap, scale = prepared.compare(x, data, jax.lax.stop_gradient(values))
    return verify.poisoned(values, gap, scale)


def unit(size: int, i: int, dtype: Any) -> jax.Array:
    """The i-th unit vector."""
    return jnp.zeros(size, dtype).at[i].set(1)
