"""The action of the exponential, exp(tA) b, for a sparse A or a matrix-vector product.

Scaled Taylor polynomials (Al-Mohy & Higham 2011): with s steps of h = t/s,

    y ← e^(hμ) Σ_j (h(A − μI))ʲ y / j!,        s = ⌈‖t(A − μI)‖₁ / θ⌉,   μ = trace(A)/n.

Only products with A, each differentiable to any order in A and y, so the whole is, in reverse mode
too: a scan over at most `max_steps` steps, of which those beyond s are skipped.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from cholax._core import options
from cholax._core.dtypes import check_same_dtype, check_values
from cholax._core.errors import ArgumentError, ShapeError, StructureError, UnsupportedError
from cholax._core.foreign import refuse_foreign
from cholax._core.jax_compat import boundary
from cholax._core.norms import max_norm
from cholax.linalg import SparseMatrix
from cholax.sparsediff.remembered import solved

Array = jax.Array
# Taylor degree and the ‖hA‖₁ up to which its backward error is below rounding (their table 3.1).
_DEGREE = {"float32": (20, 3.6), "float64": (30, 3.5)}
_TRACED_STEPS = 64


@boundary
def expm_multiply(
    A: SparseMatrix | Callable[[Array], Array],
    b: ArrayLike,
    t: ArrayLike = 1.0,
    *,
    norm: ArrayLike | None = None,
    max_steps: int | None = None,
) -> Array:
    """exp(tA) b without forming exp(tA).

    Accurate to about 1e-13 relative to ‖exp(|tA|)‖ ‖b‖ in float64, 1e-5 in float32: as accurate as
    the matrix allows by its norm; a strongly damping nonsymmetric A loses digits.
    Differentiable in the values of A, b and t, to any order. The number of products with A is about
    30 ⌈‖t(A − μI)‖₁/3.5⌉ in float64.

    Args:
        A: a square `SparseMatrix`, or a linear function y ↦ A y of `(n,)` arrays (derivatives in
            what it closes over included).
        b: `(n,)` or `(n, k)`; `(n,)` for a function.
        t: scalar.
        norm: a bound of ‖A‖ (any operator norm), needed for a function.
        max_steps: most steps s. By default what concrete values need, and 64 inside a program
            (‖t(A − μI)‖₁ up to 224). The result is NaN where more would be needed.

    Returns:
        Array of b's shape.

    Raises:
        ArgumentError: a function without `norm`; a norm or max_steps without sense.
        DtypeError: dtypes that differ.
        ShapeError: b does not fit.
        StructureError: A is not square.

    Example:
        >>> import cholax as cx, jax, jax.numpy as jnp
        >>> from cholax.matfun import expm_multiply
        >>> A = cx.from_dense(jnp.array([[0.0, 1.0], [-1.0, 0.0]]))
        >>> expm_multiply(A, jnp.array([1.0, 0.0]), jnp.pi / 2).round(4).tolist()
        [0.0, -1.0]

    References:
        Al-Mohy & Higham (2011), SIAM J. Sci. Comput. 33.
    """
    where = "expm_multiply"
    start = check_values(b, where)
    refuse_foreign(t, f"{where}: t")
    if np.shape(t) != () or jnp.issubdtype(jnp.result_type(t), jnp.complexfloating):
        raise ArgumentError(
            f"{where}: t must be one real number, got {options.shown(t)}. "
            "Use jax.vmap over several times."
        )
    time = jnp.asarray(t, start.dtype)
    if isinstance(A, SparseMatrix):
        product, shift, bound = _of_matrix(A, start)
    elif not callable(A):
        raise UnsupportedError(
            f"{where}: A must be a SparseMatrix or a function y ↦ A y, got {options.shown(A)}. "
            "Convert with cx.from_scipy or cx.from_dense."
        )
    elif norm is None:
        raise ArgumentError(
            f"{where}: a matrix-vector product needs norm=, a bound of the norm of A, got none. "
            "Pass a SparseMatrix to have it computed."
        )
    else:
        bound = _bound(norm, where).astype(start.dtype)
        product, shift = A, jnp.zeros((), start.dtype)
    size = jax.lax.stop_gradient(jnp.abs(time) * bound)
    degree, radius = _DEGREE[start.dtype.name]
    steps = jnp.maximum(1, jnp.ceil(size / radius))
    most = _most_steps(steps, max_steps, where)
    if isinstance(A, SparseMatrix):
        return _march_matrix(A, start, time, shift, steps, most, degree)

    def march(product: Callable[[Array], Array], start: Array, args: Any) -> Array:
        _check_product(product, start, where)
        time, shift, steps = args
        return _march(product, start, time, shift, steps, most, degree)

    return solved(march, product, start, (time, shift, steps), (where, most, degree))


def _check_product(product: Callable[[Array], Array], start: Array, where: str) -> None:
    out = jax.eval_shape(product, start)
    shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(out)]
    if shapes != [(start.shape, start.dtype)]:
        got = ", ".join(f"{dtype} {shape}" for shape, dtype in shapes) or "nothing"
        raise ShapeError(
            f"{where}: the product with A must be like b, {start.dtype} {start.shape}, got {got}. "
            "A is square and real."
        )


@partial(jax.jit, static_argnames=("most", "degree"))
def _march_matrix(
    A: SparseMatrix, start: Array, t: Array, shift: Array, steps: Array, most: int, degree: int
) -> Array:
    """With a matrix for the product: one program for all of one pattern, also in eager calls."""
    return _march(lambda y: A @ y - shift * y, start, t, shift, steps, most, degree)


def _of_matrix(A: SparseMatrix, b: Array) -> tuple[Callable[[Array], Array], Array, Array]:
    """The product with A − μI, μ, and ‖A − μI‖₁."""
    if A.shape[0] != A.shape[1]:
        raise StructureError(
            f"expm_multiply: A must be square, got {A.shape[0]}×{A.shape[1]}. Pad it with zeros."
        )
    if b.ndim not in (1, 2) or b.shape[0] != A.shape[0]:
        raise ShapeError(
            f"expm_multiply: b must have {A.shape[0]} rows, got shape {b.shape}. "
            "Columns are right-hand sides."
        )
    check_same_dtype("expm_multiply", A=A.values, b=b)
    n = A.shape[0]
    mean = jax.lax.stop_gradient(jnp.sum(A.diagonal()) / max(n, 1))
    shifted = jax.lax.stop_gradient(A.add_diagonal(-mean).as_general())
    columns = np.asarray(shifted.pattern.columns)
    sums = jnp.zeros(n, A.dtype).at[columns].add(jnp.abs(shifted.values))
    return lambda y: A @ y - mean * y, mean, max_norm(sums)


def _bound(norm: Any, where: str) -> Array:
    """A given bound of ‖A‖, or raise."""
    message = (
        f"{where}: norm must be one real number ≥ 0, got {norm!r}. It is a bound of the norm of A."
    )
    try:
        bound = jnp.asarray(norm)
    except (TypeError, ValueError) as error:
        raise ArgumentError(message) from error
    if bound.shape != () or bound.dtype == bool or jnp.iscomplexobj(bound):
        raise ArgumentError(message)
    if not isinstance(bound, Tracer) and not (np.isfinite(float(bound)) and float(bound) >= 0):
        raise ArgumentError(message)
    return bound


def _most_steps(steps: Array, max_steps: int | None, where: str) -> int:
    if max_steps is not None:
        whole = isinstance(max_steps, int | np.integer) and not isinstance(max_steps, bool)
        if not whole or max_steps < 1:
            raise ArgumentError(
                f"{where}: max_steps must be an integer of at least 1, got {max_steps!r}. Omit it."
            )
        return int(max_steps)
    if isinstance(steps, Tracer) or not np.isfinite(float(steps)):
        return _TRACED_STEPS
    # A power of two: programs are compiled for few different numbers.
    return 1 << (int(steps) - 1).bit_length()


def _march(
    product: Callable[[Array], Array],
    start: Array,
    t: Array,
    shift: Array,
    steps: Array,
    most: int,
    degree: int,
) -> Array:
    h = t / steps
    grow = jnp.exp(h * shift)

    # Keeping one y per step, not one per product, for reverse mode.
    @jax.checkpoint
    def taylor(y: Array) -> Array:
        def add(carry: tuple[Array, Array], j: Array) -> tuple[tuple[Array, Array], None]:
            term, total = carry
            term = product(term) * (h / j)
            return (term, total + term), None

        degrees = jnp.arange(1, degree + 1).astype(y.dtype)
        return grow * jax.lax.scan(add, (y, y), degrees)[0][1]

    def step(y: Array, k: Any) -> tuple[Array, None]:
        return jax.lax.cond(k < steps, taylor, lambda y: y, y), None

    result = jax.lax.scan(step, start, jnp.arange(most).astype(start.dtype))[0]
    return jnp.where(steps <= most, result, jnp.nan)
