"""SymPy expressions as JAX functions whose derivative rules are SymPy's."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from cholax._core.dtypes import check_values
from cholax._core.errors import ArgumentError, DtypeError
from cholax.symbolic.differentiate import differentiate
from cholax.symbolic.evaluate import evaluate


def _import_sympy() -> Any:
    try:
        import sympy
    except ImportError as error:
        raise ImportError(
            "cholax.symbolic needs SymPy, which is not installed. "
            "Install it with: pip install cholax[symbolic]"
        ) from error
    return sympy


def primitive(expr: Any, args: Sequence[Any]) -> Callable[..., Any]:
    """Make a JAX function of a SymPy expression, differentiated by SymPy.

    Common subexpressions are computed once, among all results and, in a derivative, among all
    partial derivatives. A derivative is again such a function, so every order exists, forward and
    reverse, under `jit` and `vmap`. Symbols are taken as real.

    Args:
        expr: a SymPy expression, a list or tuple of them, or a SymPy matrix.
        args: the symbols, in the order of the function's arguments.

    Returns:
        A function of as many float32 or float64 arrays (Python numbers adapt), elementwise with
        broadcasting. A list gives a tuple of arrays; a matrix gives one array whose last two axes
        are the matrix's.

    Raises:
        ArgumentError: a symbol in the expression that is no argument.
        ImportError: SymPy is not installed.
        UnsupportedError: a function that JAX does not have, or SymPy cannot differentiate; when it
            is first computed or differentiated.

    Example:
        >>> import jax, sympy
        >>> from cholax.symbolic import primitive
        >>> x, y = sympy.symbols("x y")
        >>> f = primitive(sympy.sin(x) * y, [x, y])
        >>> [round(float(g), 4) for g in jax.grad(f, argnums=(0, 1))(2.0, 3.0)]
        [-1.2484, 0.9093]
    """
    sympy = _import_sympy()
    symbols = [sympy.sympify(a) for a in args]
    if not all(s.is_Symbol for s in symbols) or len(set(symbols)) != len(symbols):
        raise ArgumentError(
            f"symbolic.primitive: args must be different symbols, got {list(args)}. "
            'Make them with sympy.symbols("x y").'
        )
    is_matrix = isinstance(expr, sympy.MatrixBase)
    is_list = isinstance(expr, (list, tuple))
    listed = list(expr) if is_matrix or is_list else [expr]
    # Real symbols: SymPy then knows that the derivative of |x| is sign x.
    real = {s: s if s.is_real else sympy.Dummy(s.name, real=True) for s in symbols}
    expressions = [sympy.sympify(e).xreplace(real) for e in listed]
    free = set().union(*[e.free_symbols for e in expressions]) - set(real.values())
    if free:
        raise ArgumentError(
            f"symbolic.primitive: every symbol must be an argument, got {sorted(map(str, free))} "
            "besides. Add them to args or substitute numbers."
        )
    bundle = _Bundle(sympy, expressions, [real[s] for s in symbols])
    shape = expr.shape if is_matrix else None
    return _Function(bundle, shape, is_list, (expr, tuple(args)))


class _Function:
    """What `primitive` returns."""

    def __init__(
        self, bundle: "_Bundle", shape: tuple[int, int] | None, is_list: bool, made_of: Any
    ) -> None:
        self._bundle, self._shape, self._is_list, self._made_of = bundle, shape, is_list, made_of
        self.__name__ = "symbolic_primitive"
        self.__doc__ = f"{', '.join(map(str, bundle.expressions))} of {bundle.symbols}"

    def __call__(self, *args: Any) -> Any:
        arrays = _common(args, len(self._bundle.symbols))
        results = self._bundle(*arrays)
        if self._shape is not None:
            batch = jnp.shape(results[0]) if results else ()
            stacked = jnp.stack(results, axis=-1) if results else jnp.zeros((*batch, 0))
            return stacked.reshape(*batch, *self._shape)
        return tuple(results) if self._is_list else results[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return primitive, self._made_of


def _common(args: Sequence[Any], count: int) -> list[jax.Array]:
    """The arguments as arrays of one dtype and shape."""
    where = "symbolic.primitive"
    if len(args) != count:
        raise ArgumentError(f"{where}: need {count} arguments, got {len(args)}. One per symbol.")
    weak = [isinstance(a, int | float) and not isinstance(a, np.generic) for a in args]
    arrays = [a if w else check_values(a, where) for a, w in zip(args, weak, strict=True)]
    strong = [a for a, w in zip(arrays, weak, strict=True) if not w]
    # Arrays that JAX made from Python numbers are weak as well (grad of a float argument).
    kept = [a for a in strong if not a.weak_type] or strong
    dtypes = {a.dtype for a in kept}
    if len(dtypes) > 1:
        raise DtypeError(
            f"{where}: all arguments must have one dtype, got {sorted(map(str, dtypes))}. "
            "Convert them explicitly with .astype()."
        )
    dtype = dtypes.pop() if dtypes else jnp.result_type(float)
    return list(jnp.broadcast_arrays(*[jnp.asarray(a, dtype) for a in arrays]))


class _Bundle:
    """Several expressions of the same symbols, computed together; arrays of one shape."""

    def __init__(self, sympy: Any, expressions: list[Any], symbols: list[Any]) -> None:
        self.sympy = sympy
        self.expressions = expressions
        self.symbols = symbols
        self._partials: dict[tuple[int, ...], _Bundle] = {}
        self._function = jax.custom_jvp(self._values)
        self._function.defjvp(self._tangent, symbolic_zeros=True)

    def __call__(self, *arrays: jax.Array) -> list[jax.Array]:
        return self._function(*arrays)

    def _values(self, *arrays: jax.Array) -> list[jax.Array]:
        values = dict(zip(self.symbols, arrays, strict=True))
        like = arrays[0] if arrays else jnp.zeros(())
        computed = evaluate(self.sympy, self.expressions, values)
        return [jnp.broadcast_to(jnp.asarray(v, like.dtype), like.shape) for v in computed]

    def partials(self, moving: tuple[int, ...]) -> "_Bundle":
        """All partial derivatives with respect to some of the symbols, result by result."""
        if moving not in self._partials:
            parts = [
                differentiate(self.sympy, e, self.symbols[k])
                for e in self.expressions
                for k in moving
            ]
            self._partials[moving] = _Bundle(self.sympy, parts, self.symbols)
        return self._partials[moving]

    def _tangent(self, primals: Any, tangents: Any) -> Any:
        """Σ ∂fᵣ/∂xₖ dxₖ over the arguments that move, for every result r."""
        results = self(*primals)
        moving = tuple(k for k, t in enumerate(tangents) if not isinstance(t, SymbolicZero))
        partials = iter(self.partials(moving)(*primals))
        changes = []
        for result in results:
            change = jnp.zeros_like(result)
            for k in moving:
                change = change + next(partials) * tangents[k]
            changes.append(change)
        return results, changes
