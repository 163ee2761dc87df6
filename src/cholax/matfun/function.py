"""Matrix functions and their Fréchet derivatives by the block identity.

    f([[A, E], [0, A]]) = [[f(A), L(A, E)], [0, f(A)]],      L(A, E) = d/dt f(A + tE) at t = 0,

and for real f the adjoint of L(A, ·) in the trace inner product is L(Aᵀ, ·). So L is one linear
call with a known transpose, and nesting the identity gives every further derivative.
"""

import importlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from cholax._core import options
from cholax._core.dtypes import check_values
from cholax._core.errors import ArgumentError, DtypeError, ShapeError
from cholax._core.jax_compat import boundary
from cholax._core.linear_map import linear_map
from cholax.matfun.triangular import lower_triangular, turned
from cholax.sparsediff.captured import captured
from cholax.sparsediff.remembered import remembered

Array = jax.Array
# Marks what `matrix_function` returns, which has its rule already.
_OWN = "cholax_matrix_function"


class MatrixFunction:
    """A differentiable function of one square matrix; made by `matrix_function`.

    Args:
        value: A ↦ f(A), never called for the empty matrix.
        name: for messages.
        derivative: (A, E) ↦ L(A, E) where something cheaper than the block identity is known. It
            must be differentiable in A by JAX.
    """

    def __init__(
        self,
        value: Callable[[Array], Array],
        name: str,
        derivative: Callable[[Array, Array], Array] | None = None,
    ) -> None:
        function = jax.custom_jvp(lambda A: value(A) if A.size else A)
        rule = derivative or _by_blocks(function)

        def apply(residuals: tuple[Array, ...], E: Array) -> Array:
            return rule(residuals[0], E) if E.size else E

        def transpose(residuals: tuple[Array, ...], G: Array) -> Array:
            # L(Aᵀ, G) = L(A, Gᵀ)ᵀ, and A may be triangular: its own Schur form.
            return rule(residuals[0], G.T).T if G.size else G

        @function.defjvp
        def _tangent(primals: Any, tangents: Any) -> tuple[Array, Array]:
            (A,), (E,) = primals, tangents
            return function(A), linear_map(apply, transpose, (A,), E)

        self.name = name
        self._function = function
        self._made_of = value, name, derivative

    def __reduce__(self) -> tuple[Any, ...]:
        value, name, _ = self._made_of
        module = getattr(value, "__module__", None)
        home = sys.modules.get(module) if module else None
        if getattr(home, name, None) is self:  # one of ours, by its name
            return _named, (module, name)
        return MatrixFunction, self._made_of

    def __call__(self, A: ArrayLike) -> Array:
        """f(A) for a square float32 or float64 matrix; stacks by `jax.vmap`."""
        return self._function(square(A, self.name))

    def __repr__(self) -> str:
        return f"matrix_function({self.name})"


def _named(module: str, name: str) -> MatrixFunction:
    return getattr(importlib.import_module(module), name)


def square(A: ArrayLike, where: str) -> Array:
    """A as a float32 or float64 square matrix, or raise."""
    matrix = check_values(A, where)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(
            f"{where}: need a square matrix, got shape {matrix.shape}. Use jax.vmap over a stack."
        )
    return matrix


def _by_blocks(function: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    def derivative(A: Array, E: Array) -> Array:
        n = A.shape[0]
        # The blocks of an upper triangular A are upper triangular, those of a lower one are not.
        lower = lower_triangular(A)
        A, E = turned(lower, A), turned(lower, E)
        # A large E spoils the blocks' accuracy; L is linear in it, so its size is free.
        size = jax.lax.stop_gradient(jnp.linalg.norm(E))
        want = jax.lax.stop_gradient(jnp.linalg.norm(A))
        factor = jnp.where((size > 0) & (want > 0), want / jnp.where(size > 0, size, 1), 1)
        factor = jnp.where(factor > 0, factor, 1)
        blocks = function(jnp.block([[A, factor * E], [jnp.zeros_like(A), A]]))
        return turned(lower, blocks[:n, n:] / factor)

    return derivative


def matrix_function(f: Callable[..., Any], *, host: bool = False) -> Callable[[ArrayLike], Array]:
    """Make a matrix function differentiable to any order, forward and reverse.

    f must be a function of matrices in the sense of its power series (it commutes with A and
    f(XAX⁻¹) = X f(A) X⁻¹), real for real A, and defined at [[A, E], [0, A]]; it need not be
    differentiable by JAX. A concrete A with A f(A) ≠ f(A) A raises.

    Args:
        f: a JAX function of one square matrix, not closing over traced values.
        host: f is NumPy or SciPy code: it is called through `jax.pure_callback`.

    Returns:
        A function of one float32 or float64 matrix.

    Raises:
        ArgumentError: f does not commute with A, as when it works entry by entry.

    Example:
        >>> import cholax, jax, jax.numpy as jnp, scipy.linalg
        >>> jax.config.update("jax_enable_x64", True)
        >>> from cholax.matfun import matrix_function
        >>> sinhm = matrix_function(scipy.linalg.sinhm, host=True)
        >>> A = jnp.array([[1.0, 2.0], [0.0, 1.0]])
        >>> gradient = jax.grad(lambda A: sinhm(A)[0, 1])(A)
        >>> [round(float(entry), 4) for entry in gradient.ravel()]
        [1.1752, 1.5431, 1.0287, 1.1752]

    References:
        Mathias (1996), SIAM J. Matrix Anal. Appl. 17; Higham (2008), Functions of Matrices, ch. 3.
    """
    options.function(f, "matrix_function", "f")
    host = options.flag(host, "matrix_function", "host")
    name = getattr(f, "__name__", type(f).__name__)
    inner = MatrixFunction(_through_host(f, name) if host else f, name)

    return _Checked(f, host, inner)


class _Checked:
    """What `matrix_function` returns: the function, whose results are looked at."""

    def __init__(self, f: Callable[..., Any], host: bool, inner: MatrixFunction) -> None:
        self._made_of = f, host
        self._inner = inner
        self.__name__ = inner.name
        setattr(self, _OWN, True)

    def __call__(self, A: ArrayLike) -> Array:
        value, name = self._inner(A), self._inner.name
        if value.shape != np.shape(A):
            raise ShapeError(
                f"matrix_function({name}): need a result of shape {np.shape(A)}, got "
                f"{value.shape}. f must take a matrix to a matrix."
            )
        _check_commutes(A, value, name)
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        f, host = self._made_of
        return partial(matrix_function, host=host), (f,)


def _through_host(f: Callable[..., Any], name: str) -> Callable[[Array], Array]:
    def call(A: Array) -> Array:
        def on_host(matrix: Any) -> np.ndarray:
            result = np.asarray(f(np.asarray(matrix)))
            if np.iscomplexobj(result):
                raise DtypeError(
                    f"matrix_function({name}): need a real result, got a complex one. "
                    "Functions must be real for the given matrix."
                )
            return result.astype(A.dtype)

        shape = jax.ShapeDtypeStruct(A.shape, A.dtype)
        return jax.pure_callback(on_host, shape, A, vmap_method="sequential")

    return call


def _check_commutes(A: ArrayLike, value: Array, name: str) -> None:
    if isinstance(value, Tracer) or isinstance(A, Tracer):
        return
    a, v = np.asarray(A, np.float64), np.asarray(value, np.float64)
    if not (np.all(np.isfinite(v)) and np.all(np.isfinite(a))):
        return
    gap, size = np.linalg.norm(a @ v - v @ a), np.linalg.norm(a) * np.linalg.norm(v)
    if gap > 100 * float(np.finfo(value.dtype).eps) ** 0.5 * size:
        raise ArgumentError(
            f"matrix_function({name}): f(A) must commute with A, got a difference of "
            f"{gap / size:.1g} (relative). Entrywise functions need no rule: JAX has theirs."
        )


def _kept(f: Callable[[Array], Array]) -> Callable[[ArrayLike], Array]:
    """The function with its rule, made once, so that its compiled derivatives are found again."""
    options.function(f, "frechet", "f")

    def make() -> MatrixFunction:
        return MatrixFunction(f, getattr(f, "__name__", "f"))

    held = captured(f)
    return make() if held is None else remembered(("frechet", held), make)


@boundary
def frechet(f: Callable[[Array], Array], A: ArrayLike, E: ArrayLike) -> Array:
    """L(A, E), the derivative of a matrix function at A in the direction E.

    Args:
        f: one of ours (`expm`, `logm`, …), of `matrix_function`, or any other JAX function of one
            matrix that is a function in the sense of `matrix_function`.
        A: `(n, n)` float32 or float64.
        E: the same.

    Returns:
        `(n, n)` matrix, differentiable in A and E.

    Raises:
        DtypeError: A and E of different dtypes.
        ShapeError: A and E of different shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax.matfun import expm, frechet
        >>> A, E = jnp.zeros((2, 2)), jnp.array([[1.0, 2.0], [3.0, 4.0]])
        >>> [round(float(entry), 3) for entry in frechet(expm, A, E).ravel()]
        [1.0, 2.0, 3.0, 4.0]
    """
    matrix, direction = square(A, "frechet"), square(E, "frechet")
    if matrix.shape != direction.shape:
        raise ShapeError(
            f"frechet: A and E must have one shape, got {matrix.shape} and {direction.shape}. "
            "E is a direction in the space of A."
        )
    if matrix.dtype != direction.dtype:
        raise DtypeError(
            f"frechet: A and E must have one dtype, got {matrix.dtype} and {direction.dtype}. "
            "Convert one of them with .astype()."
        )
    known = isinstance(f, MatrixFunction) or getattr(f, _OWN, False)
    function = f if known else _kept(f)
    return jax.jvp(function, (matrix,), (direction,))[1]
