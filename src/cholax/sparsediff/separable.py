"""`separable_hessian`: Hessians of sums of small functions, element by element."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax import primitives
from cholax._core import options
from cholax._core.dtypes import check_values
from cholax._core.errors import PatternError, ShapeError
from cholax._core.jax_compat import boundary
from cholax._core.pickling import Portable
from cholax.linalg import SparseMatrix
from cholax.patterns import Pattern
from cholax.patterns.indexing import canonical
from cholax.patterns.pattern import check_static
from cholax.primitives import EntryMap
from cholax.sparsediff.captured import captured


def separable_hessian(phi: Callable[..., Any], index_map: ArrayLike) -> "SeparableHessian":
    """The Hessian of f(x) = Σₑ φ(x[index_map[e]], *params[e]), a symmetric sparse matrix.

    What finite elements and factor graphs are made of. Each element's small Hessian is computed by
    `vmap` and added into place: nothing is detected or coloured, and no product with the whole
    Hessian is made.

    Args:
        phi: function of the element's values `(k,)` and its parameters, returning a scalar.
        index_map: `(elements, k)` concrete integers, the places in x of each element's values. An
            element may name a place twice.

    Returns:
        `H`, with `H(x, *params)`, a symmetric `SparseMatrix`; `H.value_and(x, *params)`;
        `H.expansion(x, *params)`: value, gradient and Hessian; `H.pattern(x)`. Parameters are
        pytrees of arrays with one row per element.

    Raises:
        PatternError: indices that are traced, negative, or (on a call) beyond the end of x.
        ShapeError: an index map that is not a matrix, an x that is not a vector.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> edges = jnp.array([[0, 1], [1, 2]])
        >>> H = cx.separable_hessian(lambda x, k: 0.5 * k * (x[1] - x[0]) ** 2, edges)
        >>> H(jnp.zeros(3), jnp.array([1.0, 10.0])).to_dense().tolist()
        [[1.0, -1.0, 0.0], [-1.0, 11.0, -10.0], [0.0, -10.0, 10.0]]
    """
    return SeparableHessian(phi, index_map)


class SeparableHessian(Portable):
    """What `separable_hessian` returns."""

    def __init__(self, phi: Callable[..., Any], index_map: ArrayLike) -> None:
        where = "separable_hessian: index_map"
        self._phi = options.function(phi, "separable_hessian", "phi")
        self._index = check_static(index_map, where)
        if self._index.ndim != 2:
            raise ShapeError(
                f"{where} must be a matrix, one row per element, got shape {self._index.shape}."
            )
        if self._index.size and self._index.min() < 0:
            raise PatternError(
                f"{where} must not be negative, got {self._index.min()}. Count from the front."
            )
        # Index pairs of the lower triangle of an element's Hessian.
        self._pairs = np.tril_indices(self._index.shape[1])
        self._made_again()

    _transient = ("_assembled", "_programs")

    def _made_again(self) -> None:
        self._assembled: dict[int, tuple[Pattern, EntryMap]] = {}
        # What φ holds besides its arguments is static: a φ that changed is another program.
        self._programs = {
            part: jax.jit(function, static_argnums=0)
            for part, function in (("H", self._hessian), ("f", self._value), ("fgH", self._all))
        }

    @boundary
    def __call__(self, x: ArrayLike, *params: Any) -> SparseMatrix:
        """The Hessian at x."""
        return self._run("H", x, params)

    @boundary
    def value_and(self, x: ArrayLike, *params: Any) -> tuple[jax.Array, SparseMatrix]:
        """The value f(x) and the Hessian.

        Args:
            x: `(n,)`.
            *params: the elements' parameters.

        Returns:
            Both.
        """
        return self._run("f", x, params), self(x, *params)

    @boundary
    def expansion(self, x: ArrayLike, *params: Any) -> tuple[jax.Array, jax.Array, SparseMatrix]:
        """The Taylor expansion to second order, what a Newton step needs.

        Args:
            x: `(n,)`.
            *params: the elements' parameters.

        Returns:
            Value, gradient and Hessian.
        """
        return self._run("fgH", x, params)

    def pattern(self, x: ArrayLike) -> Pattern:
        """The pattern for a vector of this length.

        Args:
            x: `(n,)`.

        Returns:
            A symmetric `Pattern`.
        """
        return self._assembly(self._vector(x).size)[0]

    def _vector(self, x: ArrayLike) -> jax.Array:
        array = check_values(x, "separable_hessian: x")
        if array.ndim != 1:
            raise ShapeError(
                f"separable_hessian: x must be a vector, got shape {array.shape}. Ravel it, and "
                "let index_map count its entries."
            )
        return array

    def _run(self, part: str, x: ArrayLike, params: tuple[Any, ...]) -> Any:
        """One compiled program; run as it is where φ holds a tracer, which none may outlive."""
        x = self._vector(x)
        self._assembly(x.size)
        held, program = captured(self._phi), cast("Any", self._programs[part])
        run = program if held is not None else program.__wrapped__
        return run(held, x, *params)

    def _hessian(self, held: Any, x: jax.Array, *params: Any) -> SparseMatrix:
        del held
        pattern, positions = self._assembly(x.size)
        small = jax.vmap(jax.hessian(self._phi))(x[self._index], *params)
        entries = small[:, *self._pairs].ravel()
        return SparseMatrix(primitives.scatter(positions, entries), pattern)

    def _value(self, held: Any, x: jax.Array, *params: Any) -> jax.Array:
        del held
        return jnp.sum(jax.vmap(self._phi)(x[self._index], *params))

    def _all(self, held: Any, x: jax.Array, *params: Any) -> tuple[Any, Any, SparseMatrix]:
        value, slope = jax.value_and_grad(self._value, argnums=1)(held, x, *params)
        return value, slope, self._hessian(held, x, *params)

    def _assembly(self, n: int) -> tuple[Pattern, EntryMap]:
        if n not in self._assembled:
            self._assembled[n] = self._assemble(n)
        return self._assembled[n]

    def _assemble(self, n: int) -> tuple[Pattern, EntryMap]:
        if self._index.max(initial=-1) >= n:
            raise PatternError(
                f"separable_hessian: index_map must lie below the length of x, {n}, got "
                f"{self._index.max()}."
            )
        a, b = (self._index[:, pair].ravel() for pair in self._pairs)
        diagonal = np.arange(n, dtype=np.int32)
        rows = np.concatenate([np.maximum(a, b), diagonal])
        columns = np.concatenate([np.minimum(a, b), diagonal])
        pattern, positions = canonical(rows, columns, (n, n), symmetric=True)
        # A place named twice: both h_ab and h_ba fall on the diagonal.
        off = np.tile(self._pairs[0] != self._pairs[1], self._index.shape[0])
        twice = off & (a == b)
        weights = np.where(twice, 2.0, 1.0) if twice.any() else None
        return pattern, EntryMap(positions[: a.size], pattern.nnz, weights)
