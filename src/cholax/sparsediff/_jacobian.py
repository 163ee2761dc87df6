"""`jacobian`: sparse Jacobians by coloured forward and reverse products."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from cholax._core.jax_compat import boundary
from cholax.linalg import SparseMatrix
from cholax.patterns import Pattern
from cholax.sparsediff.coloring.bidirectional import bidirectional_bound, color_bidirectional
from cholax.sparsediff.coloring.columns import color_columns, color_rows
from cholax.sparsediff.coloring.result import Coloring
from cholax.sparsediff.compress import Reader
from cholax.sparsediff.derivative import Flat, SparseDerivative, unit
from cholax.sparsediff.detect import jacobian_pattern
from cholax.sparsediff.flatten import Call, flat_output
from cholax.sparsediff.programs import Footprint

# A reverse product in forward ones. Transposed gathers are scatters, which XLA runs one by one.
REVERSE_COST = 1.5


def jacobian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    mode: str = "auto",
    sparsity: Any = None,
    verify: bool = True,
    chunk_size: int | None = None,
    has_aux: bool = False,
) -> "Jacobian":
    """The Jacobian of `f` as a sparse matrix, a function of the arguments of `f`.

    The sparsity pattern is detected from the program of `f`, its columns (rows, or some of each)
    are coloured so that those of one colour do not meet, and J is read off one product per colour:
    J s in forward mode, Jᵀw in reverse mode. Pattern and colouring are made when a structure of
    arguments is first seen, at trace time under `jit`; evaluation is traced, so it jits, vmaps and
    differentiates again, in all arguments and to any order.

    Arguments and results may be pytrees of float32 or of float64 arrays; the matrix is over their
    leaves, flat, one after the other (`J.unravel` gives the way back). Of the other arguments,
    integer arrays that are concrete are taken as known (index arrays decide patterns), as is what
    `f` closes over; floating-point arrays are not: the pattern holds for all their values.

    Args:
        f: function of arrays, pure as `jax.jit` demands.
        argnums: the positional argument to differentiate, or several: their columns side by side.
        mode: `"forward"`, `"reverse"`, `"bidirectional"`, or `"auto"`, the cheapest of them.
        sparsity: the pattern, instead of detection: a `Pattern`, a `SparseMatrix`, a SciPy or
            BCOO matrix or a dense mask. It may hold more than is needed, never less.
        verify: compare the first result of each pattern with one directional derivative, and raise
            `SparsityError` where they differ. A call under `jit`, `vmap` or `grad` has no concrete
            result and cannot raise: unless the pattern was verified by a concrete call before, the
            comparison becomes part of the program, one more product each time, and makes the
            result NaN where it fails.
        chunk_size: products made side by side. By default, as many as fit the cache.
        has_aux: `f` returns `(output, auxiliary data)`.

    Returns:
        `J`, with `J(x, *args)`, a `SparseMatrix` (with `has_aux`, a pair with the auxiliary
        data); `J.value_and(x, *args)`; `J.pattern`, `J.colors` and `J.unravel` of the same
        arguments.

    Raises:
        ArgumentError: an unknown mode, or argnums that no argument has.
        SparsityError: on a call, when the pattern misses an entry.
        DtypeError: on a call, for arrays that are not all float32 or all float64.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> J = cx.jacobian(lambda x: x[1:] ** 2 - x[:-1])
        >>> J(jnp.array([1.0, 2.0, 3.0])).to_dense().tolist()
        [[-1.0, 4.0, 0.0], [0.0, -1.0, 6.0]]
        >>> len(J.colors(jnp.ones(1000)))
        2

    Reference:
        Gebremedhin, Manne & Pothen, *What color is your Jacobian?*, SIAM Review 47 (2005).
    """
    return Jacobian(
        f,
        argnums,
        mode=mode,
        sparsity=sparsity,
        verify=verify,
        chunk_size=chunk_size,
        has_aux=has_aux,
    )


class Jacobian(SparseDerivative):
    """What `jacobian` returns."""

    _where = "jacobian"
    _modes = ("auto", "forward", "reverse", "bidirectional")

    @boundary
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The Jacobian; with `has_aux`, a pair with the auxiliary data."""
        matrix, (_, aux) = self._call(*args, **kwargs)
        return (matrix, aux) if self._has_aux else matrix

    @boundary
    def value_and(self, *args: Any, **kwargs: Any) -> tuple[Any, SparseMatrix]:
        """The value of `f` and the Jacobian; with `has_aux`, `((value, aux), J)`.

        Args:
            *args: the arguments of `f`.
            **kwargs: keyword arguments of `f`.

        Returns:
            Both, the value at no extra cost.
        """
        matrix, (out, aux) = self._call(*args, **kwargs)
        return ((out, aux) if self._has_aux else out), matrix

    def _flat(self, call: Call) -> Flat:
        return flat_output(call.function, call.x.dtype, self._where)

    def _detected(self, function: Callable[[Any], Any], x: jax.ShapeDtypeStruct) -> Pattern:
        return jacobian_pattern(function, x)

    def _shape(self, n: int, m: int) -> tuple[int, int]:
        return m, n

    def _coloring(self, pattern: Pattern, program: Footprint) -> Coloring:
        match self._mode:
            case "forward":
                return color_columns(pattern)
            case "reverse":
                return color_rows(pattern)
            case "bidirectional":
                return color_bidirectional(pattern, reverse_cost=REVERSE_COST)
        # One direction only is defined for some functions.
        if "while" in program.primitives:
            return color_columns(pattern)
        if any(name.startswith("custom_vjp") for name in program.primitives):
            return color_rows(pattern)
        return cheapest(pattern)

    def _evaluate(self, flat: Flat, reader: Reader, x: Any, data: Any) -> tuple[Any, Any]:
        def function(x: Any) -> Any:
            return flat(x, data)

        if reader.forward.count == 0 and reader.reverse.count:
            _, pullback, extra = jax.vjp(function, x, has_aux=True)
            return reader(None, lambda w: pullback(w)[0], x.dtype), extra
        _, push, extra = jax.linearize(function, x, has_aux=True)
        pull = jax.linear_transpose(push, x) if reader.reverse.count else None
        return reader(push, pull and (lambda w: pull(w)[0]), x.dtype), extra

    def _product(self, flat: Flat, coloring: Coloring, x: Any, data: Any) -> Any:
        def function(x: Any) -> Any:
            return flat(x, data)[0]

        if coloring.kind == "row":
            return True, lambda w: jax.vjp(function, x)[1](w)[0]
        return False, lambda v: jax.jvp(function, (x,), (v,))[1]

    def _row(self, flat: Flat, x: Any, data: Any, i: int) -> np.ndarray | None:
        try:
            y, pullback = jax.vjp(lambda x: flat(x, data)[0], x)
        except (TypeError, ValueError, NotImplementedError):
            return None  # a function without reverse mode
        return np.asarray(pullback(unit(y.size, i, y.dtype))[0])


def cheapest(pattern: Pattern) -> Coloring:
    """The colouring with least cost among forward, reverse and bidirectional ones."""
    longest = int(np.bincount(pattern.rows, minlength=1).max())
    tallest = int(np.diff(pattern.indptr).max(initial=0))
    choices: list[tuple[float, Callable[[], Coloring]]] = [
        (float(longest), lambda: color_columns(pattern)),
        (REVERSE_COST * tallest, lambda: color_rows(pattern)),
        (
            bidirectional_bound(pattern, REVERSE_COST),
            lambda: color_bidirectional(pattern, reverse_cost=REVERSE_COST),
        ),
    ]
    best, least = None, np.inf
    for bound, make in sorted(choices, key=lambda choice: choice[0]):
        if bound >= least:
            break
        found = make()
        cost = found.num_column_colors + REVERSE_COST * found.num_row_colors
        if cost < least:
            best, least = found, cost
    assert best is not None
    return best
