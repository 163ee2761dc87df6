"""Jacobians by finite differences: dense, or coloured on a known sparsity pattern."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core.errors import SparsityError
from cholax._core.options import flag
from cholax.linalg import SparseMatrix
from cholax.numdiff.derivatives import dense_jacobian, finish, packed
from cholax.numdiff.engine import Difference, Options
from cholax.numdiff.rules import rule
from cholax.patterns import Pattern
from cholax.sparsediff.coloring import color_columns
from cholax.sparsediff.sparsity import as_pattern


def jacobian(
    f: Callable[..., Any],
    method: str = "adaptive",
    *,
    step: float | None = None,
    sparsity: Any = None,
    bounds: Any = None,
    scale: Any = None,
    with_error: bool = False,
    evaluate: str = "auto",
    result: Any = None,
    verify: bool = True,
) -> Difference:
    """Jacobian of f(x, *args) with respect to a pytree x.

    With a sparsity pattern, columns that share no row are perturbed together: a tridiagonal
    Jacobian takes three directions, whatever its size.

    Args:
        f: the function; its result may be any pytree of real floating arrays.
        method: as for `derivative`, whose other options hold as well.
        step: as for `derivative`.
        sparsity: a `Pattern`, `SparseMatrix`, SciPy matrix, BCOO or dense mask of shape (number of
            results, number of entries of x).
        bounds: as for `derivative`.
        scale: as for `derivative`.
        with_error: return `(value, error)`.
        evaluate: as for `derivative`.
        result: as for `derivative`.
        verify: compare the coloured Jacobian with one more difference along a random direction,
            which a missing entry of the pattern cannot pass.

    Returns:
        A callable `(x, *args)`. Its result nests as `jax.jacobian` does: the structure of f's
        result, of x's structure, of arrays; with `sparsity` one `SparseMatrix` of the flattened
        result by the flattened x.

    Raises:
        SparsityError: an entry outside the pattern shows (inside `jit`: all values are NaN).
        ShapeError: a pattern of another shape.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> jax.config.update("jax_enable_x64", True)
        >>> from cholax import numdiff
        >>> f = lambda x: jnp.stack([x[0] ** 2, x[0] * x[1], jnp.sin(x[2])])
        >>> numdiff.jacobian(f)(jnp.array([1.0, 2.0, 0.0])).round(9).tolist()
        [[2.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        >>> J = numdiff.jacobian(f, sparsity=[[1, 0, 0], [1, 1, 0], [0, 0, 1]])
        >>> J(jnp.array([1.0, 2.0, 0.0]))
        SparseMatrix(shape=(3, 3), nnz=4, dtype=float64)

    References:
        Curtis, Powell & Reid (1974), J. Inst. Maths Applics 13.
    """
    verify = flag(verify, "finite_difference.jacobian", "verify")
    options = Options(
        "finite_difference.jacobian",
        method,
        step=step,
        scale=scale,
        bounds=bounds,
        with_error=with_error,
        evaluate=evaluate,
        result=result,
    )
    if sparsity is None:
        return Difference(f, options, dense_jacobian, finish)
    compute = partial(_colored, sparsity=sparsity, verify=verify)
    return Difference(f, options, compute, _finish_colored)


def _colored(
    difference: Difference, x: Any, args: Any, *, sparsity: Any, verify: bool
) -> tuple[Any, jax.Array]:
    """The sparse Jacobian, and whether one more direction confirms it."""
    flat, at = difference.flat(x, args)
    size = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(flat.out))
    shape = (size, flat.x.size)
    pattern = as_pattern(sparsity, shape, symmetric=False, where=difference.options.where)
    coloring = color_columns(pattern)
    groups = coloring.column_colors
    seeds = (groups == np.arange(len(coloring))[:, None]).astype(at.x.dtype)
    verify = verify and flat.x.size > 0
    if verify:
        seeds = np.concatenate([seeds, _random_signs(flat.x.size, seeds.dtype)])
    estimate, steps = difference.along_seeds(flat, at, jnp.asarray(seeds))
    group = groups[pattern.columns]
    own = steps[group, pattern.columns]
    values = estimate.value[group, pattern.rows] / own
    errors = estimate.error[group, pattern.rows] / jnp.abs(own)
    confirmed = jnp.asarray(True)
    if verify:
        last = Along(*(leaf[-1] for leaf in (estimate.value, estimate.error, steps)))
        confirmed = _confirmed(difference, flat, at, pattern, values, errors, last)
    result = packed(difference, values, errors, lambda v: SparseMatrix(v, pattern))
    return result, confirmed


def _random_signs(size: int, dtype: Any) -> np.ndarray:
    return np.random.default_rng(size).choice([-1.0, 1.0], (1, size)).astype(dtype)


class Along(NamedTuple):
    """The derivative along one direction."""

    value: jax.Array
    error: jax.Array
    d: jax.Array


def _confirmed(
    difference: Difference,
    flat: Any,
    at: Any,
    pattern: Pattern,
    values: jax.Array,
    errors: jax.Array,
    other: Along,
) -> jax.Array:
    """Whether J·d agrees with the difference along another direction d."""
    d = other.d

    def by_row(entries: jax.Array) -> jax.Array:
        return jnp.zeros(pattern.shape[0], values.dtype).at[pattern.rows].add(entries)

    parts = values * d[pattern.columns]
    bars = by_row(errors * jnp.abs(d[pattern.columns])) + other.error
    # Fixed rules know no bars: allow rounding at their smallest step and one per cent.
    if difference.options.method not in ("adaptive", "complex"):
        smallest = rule(difference.options.method, flat.eps, difference.options.step).steps[-1]
        bars = 16 * flat.eps * jnp.abs(flat.on_points(at.x[None])[0]) / smallest
    size = by_row(jnp.abs(parts)) + jnp.abs(other.value)
    off = jnp.abs(by_row(parts) - other.value)
    # NaN and infinite bars say nothing; they are in the result for everyone to see.
    return ~jnp.any(off > 4 * bars + 0.01 * size)


def _finish_colored(difference: Difference, computed: Any, x: Any, args: Any) -> Any:
    result, confirmed = computed
    if isinstance(confirmed, Tracer):
        result = jax.tree.map(lambda v: jnp.where(confirmed, v, jnp.nan), result)
    elif not bool(confirmed):
        raise SparsityError(
            f"{difference.options.where}: the sparsity pattern must hold every non-zero entry, a "
            "difference along a random direction shows others. Correct the pattern, or pass "
            "verify=False to drop them knowingly."
        )
    return finish(difference, result, x, args)
