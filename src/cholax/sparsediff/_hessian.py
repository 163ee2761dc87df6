"""`hessian`: sparse Hessians by coloured Hessian-vector products."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from cholax._core.jax_compat import boundary
from cholax.linalg import SparseMatrix
from cholax.patterns import Pattern
from cholax.sparsediff.coloring.result import Coloring
from cholax.sparsediff.coloring.symmetric import color_acyclic, color_star
from cholax.sparsediff.compress import Reader
from cholax.sparsediff.derivative import Flat, SparseDerivative, unit
from cholax.sparsediff.detect import hessian_pattern
from cholax.sparsediff.flatten import Call, scalar_output
from cholax.sparsediff.programs import Footprint


def hessian(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    *,
    mode: str = "auto",
    sparsity: Any = None,
    verify: bool = True,
    chunk_size: int | None = None,
    has_aux: bool = False,
) -> "Hessian":
    """The Hessian of a scalar `f` as a symmetric sparse matrix, ready for `cx.cholesky`.

    As `jacobian`, from products H s, forward over reverse. Symmetry saves products: a star
    colouring needs 7 where a column colouring needs one per unknown, as in a mixed model with 5
    fixed effects, a variance and any number of groups.

    Args:
        f: function of arrays that returns one scalar, pure as `jax.jit` demands.
        argnums: the positional argument to differentiate, or several: one matrix over all of them.
        mode: `"star"`: entries are read off directly; `"acyclic"`: fewer products (4 for 8 on a
            triangle mesh), but entries are differences, and lose digits where their magnitudes
            vary widely along the trees of two colours; `"auto"`: `"star"`.
        sparsity: the pattern, instead of detection, as for `jacobian`. A general one stands for
            itself and its transpose; the diagonal is added.
        verify: compare the first result with one Hessian-vector product, as for `jacobian`.
        chunk_size: products made side by side. By default, as many as fit the cache.
        has_aux: `f` returns `(output, auxiliary data)`.

    Returns:
        `H`, with `H(x, *args)`, a symmetric `SparseMatrix` of the lower triangle (with `has_aux`,
        a pair with the auxiliary data); `H.value_and` and `H.expansion(x, *args)`; `H.pattern`,
        `H.colors` and `H.unravel` of the same arguments.

    Raises:
        ArgumentError: an unknown mode, or argnums that no argument has.
        ShapeError: on a call, when `f` does not return a scalar.
        SparsityError: on a call, when the pattern misses an entry.
        DtypeError: on a call, for arrays that are not all float32 or all float64.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> H = cx.hessian(lambda x: jnp.sum((x[1:] - x[:-1]) ** 2) + jnp.sum(x**2))
        >>> H(jnp.zeros(3)).to_dense().tolist()
        [[4.0, -2.0, 0.0], [-2.0, 6.0, -2.0], [0.0, -2.0, 4.0]]
        >>> cx.cholesky(H(jnp.zeros(3))).solve(jnp.array([4.0, -2.0, 0.0])).round(5).tolist()
        [1.0, 0.0, 0.0]

    Reference:
        Gebremedhin, Tarafdar, Manne & Pothen, SIAM J. Sci. Comput. 29 (2007).
    """
    return Hessian(
        f,
        argnums,
        mode=mode,
        sparsity=sparsity,
        verify=verify,
        chunk_size=chunk_size,
        has_aux=has_aux,
    )


class Hessian(SparseDerivative):
    """What `hessian` returns."""

    _where = "hessian"
    _modes = ("auto", "star", "acyclic")
    _symmetric = True

    @boundary
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The Hessian; with `has_aux`, a pair with the auxiliary data."""
        matrix, (_, _, aux) = self._call(*args, **kwargs)
        return (matrix, aux) if self._has_aux else matrix

    @boundary
    def value_and(self, *args: Any, **kwargs: Any) -> tuple[Any, SparseMatrix]:
        """The value of `f` and the Hessian; with `has_aux`, `((value, aux), H)`.

        Args:
            *args: the arguments of `f`.
            **kwargs: keyword arguments of `f`.

        Returns:
            Both.
        """
        matrix, (out, _, aux) = self._call(*args, **kwargs)
        return ((out, aux) if self._has_aux else out), matrix

    @boundary
    def expansion(self, *args: Any, **kwargs: Any) -> tuple[Any, jax.Array, SparseMatrix]:
        """The Taylor expansion to second order, what a Newton step needs.

        Args:
            *args: the arguments of `f`.
            **kwargs: keyword arguments of `f`.

        Returns:
            The value (with `has_aux`, a pair with the auxiliary data), the gradient as one flat
            vector, and the Hessian.
        """
        matrix, (out, gradient, aux) = self._call(*args, **kwargs)
        return ((out, aux) if self._has_aux else out), gradient, matrix

    def _flat(self, call: Call) -> Flat:
        return scalar_output(call.function, self._where)

    def _detected(self, function: Callable[[Any], Any], x: jax.ShapeDtypeStruct) -> Pattern:
        return hessian_pattern(function, x)

    def _shape(self, n: int, m: int) -> tuple[int, int]:
        del m
        return n, n

    def _coloring(self, pattern: Pattern, program: Footprint) -> Coloring:
        del program
        return color_acyclic(pattern) if self._mode == "acyclic" else color_star(pattern)

    def _evaluate(self, flat: Flat, reader: Reader, x: Any, data: Any) -> tuple[Any, Any]:
        def gradient(x: Any) -> Any:
            (_, (out, aux)), slope = jax.value_and_grad(
                lambda x: flat(x, data), has_aux=True
            )(x)  # fmt: skip
            return slope, (out, aux)

        slope, push, (out, aux) = jax.linearize(gradient, x, has_aux=True)
        return reader(push, None, x.dtype), (out, slope, aux)

    def _product(self, flat: Flat, coloring: Coloring, x: Any, data: Any) -> Any:
        del coloring
        gradient = jax.grad(lambda x: flat(x, data)[0])
        return False, lambda v: jax.jvp(gradient, (x,), (v,))[1]

    def _row(self, flat: Flat, x: Any, data: Any, i: int) -> np.ndarray | None:
        gradient = jax.grad(lambda x: flat(x, data)[0])
        return np.asarray(jax.jvp(gradient, (x,), (unit(x.size, i, x.dtype),))[1])
