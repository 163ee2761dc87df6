"""Hessians by finite differences of the function itself."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from cholax._core.norms import largest, max_norm, smallest
from cholax.linalg import SparseMatrix
from cholax.numdiff.blocks import in_chunks
from cholax.numdiff.derivatives import packed, require_scalar
from cholax.numdiff.directional import Frame, fixed, ladder_of, prepare, representable, unexplained
from cholax.numdiff.engine import Difference, Options, nest
from cholax.numdiff.estimate import (
    Estimate,
    Ladder,
    last_bit,
    noise,
    rescaled,
    saturated,
    select,
    unit,
)
from cholax.numdiff.evaluate import Flat
from cholax.numdiff.rules import Rule, rule
from cholax.numdiff.sweep import chunk_size, padded
from cholax.sparsediff.sparsity import as_pattern


def hessian(
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
) -> Difference:
    """Hessian of a scalar f(x, *args) with respect to a pytree x, from values of f.

    Entry (i, j) comes from (f(x+a+b) − f(x+a−b) − f(x−a+b) + f(x−a−b)) / 4hᵢhⱼ with a = hᵢeᵢ and
    b = hⱼeⱼ, by the same ladder of steps as `derivative` (57 evaluations in float64). Where a
    gradient is at hand, `jacobian(gradient)` is far more accurate, and with `sparsity` far cheaper.

    Args:
        f: the function.
        method: as for `derivative`, without `"complex"`.
        step: as for `derivative`.
        sparsity: as for `jacobian`; only these entries are computed, and no check is made that the
            others vanish.
        bounds: as for `derivative`.
        scale: as for `derivative`.
        with_error: return `(value, error)`.
        evaluate: as for `derivative`.
        result: as for `derivative`.

    Returns:
        A callable `(x, *args)`. Its result nests as `jax.hessian` does; with `sparsity` it is a
        symmetric `SparseMatrix` over the flattened x.

    Raises:
        ShapeError: the result of f is not a scalar, or the pattern has another shape.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> jax.config.update("jax_enable_x64", True)
        >>> from cholax import numdiff
        >>> f = lambda x: x[0] ** 2 * x[1]
        >>> numdiff.hessian(f)(jnp.array([1.0, 3.0])).round(6).tolist()
        [[6.0, 2.0], [2.0, 0.0]]
    """
    options = Options(
        "finite_difference.hessian",
        method,
        step=step,
        scale=scale,
        bounds=bounds,
        with_error=with_error,
        evaluate=evaluate,
        result=result,
        order=2,
    )
    return Difference(f, options, partial(_hessian, sparsity=sparsity))


def _hessian(difference: Difference, x: Any, args: Any, *, sparsity: Any) -> Any:
    flat, at = difference.flat(x, args)
    require_scalar(flat.out, difference.options.where)
    n = flat.x.size
    if sparsity is not None:
        where = difference.options.where
        pattern = as_pattern(sparsity, (n, n), symmetric=True, where=where)
        i, j = pattern.rows, pattern.columns
    else:
        pattern, (i, j) = None, np.tril_indices(n)
    chosen = rule(difference.options.method, flat.eps, difference.options.step, order=2)
    pairs = (jnp.asarray(i, jnp.int32), jnp.asarray(j, jnp.int32))
    value, error = _entries(flat, at, chosen, pairs) if n else (at.x, at.x)
    if pattern is not None:
        return packed(difference, value, error, lambda v: SparseMatrix(v, pattern))
    return packed(difference, value, error, partial(_filled, i=i, j=j, x=x))


def _filled(entries: jax.Array, *, i: np.ndarray, j: np.ndarray, x: Any) -> Any:
    """The full matrix of a lower triangle, nested as x by x."""
    n = ravel_pytree(x)[0].size
    matrix = jnp.zeros((n, n), entries.dtype).at[i, j].set(entries).at[j, i].set(entries)
    rows = [nest(matrix[k : k + 1], x, jnp.zeros(())) for k in range(n)]
    leaves, treedef = jax.tree.flatten(x)
    blocks, start = [], 0
    for leaf in leaves:
        shape = jnp.shape(leaf)
        own = rows[start : start + int(np.prod(shape))]
        start += len(own)
        if own:
            stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *own)
        else:
            stacked = jax.tree.map(lambda part: jnp.zeros((0, *jnp.shape(part))), x)
        blocks.append(jax.tree.map(lambda b, s=shape: b.reshape(*s, *b.shape[1:]), stacked))
    return treedef.unflatten(blocks)


class _Stencil(NamedTuple):
    """First differences along one component: places in units of h and their weights."""

    places: jax.Array
    weights: jax.Array


def _stencil(sided: jax.Array, points: int, bounded: bool, dtype: Any) -> _Stencil:
    if points == 1:
        return _Stencil(jnp.array([0, 1], dtype), jnp.array([-1, 1], dtype))
    if not bounded:
        return _Stencil(jnp.array([1, -1], dtype), jnp.array([0.5, -0.5], dtype))
    return _Stencil(
        jnp.where(sided, jnp.array([1, 2, 0], dtype), jnp.array([1, -1, 0], dtype)),
        jnp.where(sided, jnp.array([2, -0.5, -1.5], dtype), jnp.array([0.5, -0.5, 0], dtype)),
    )


def _entries(
    flat: Flat, at: Frame, chosen: Rule, pairs: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Entries of the Hessian and their error bars."""
    origin = jnp.asarray(flat.on_points(at.x[None]))[0]

    def run(pairs: Any) -> tuple[jax.Array, jax.Array]:
        places, results = flat.sample(at, pairs, chosen, _places)
        estimate = _estimate(padded(_columns(places, origin, results)), chosen)
        count = results.shape[0]
        return estimate.value[:count], estimate.error[:count]

    bounded = at.lower is not None or at.upper is not None
    points = 4 if chosen.points == 1 or not bounded else 9
    return in_chunks(run, pairs, chunk_size(flat, chosen, points))


class _Places(NamedTuple):
    """Where f is sampled for one entry, and with which weights."""

    points: jax.Array
    """`(K, a, b, n)`."""
    inside: jax.Array
    weights: jax.Array
    """`(a, b)`."""
    t: jax.Array
    sided: jax.Array
    away: jax.Array
    own: jax.Array
    """`(2,)` the steps of both components in units of t."""


def _places(at: Frame, pair: tuple[jax.Array, jax.Array], chosen: Rule) -> _Places:
    i, j = pair
    index = jnp.arange(at.x.size)
    both = jnp.maximum(index == i, index == j).astype(at.x.dtype)
    steps = prepare(at, both, chosen)
    bounded = at.lower is not None or at.upper is not None
    stencil = _stencil(steps.sided, chosen.points, bounded, at.x.dtype)
    t = ladder_of(at, both > 0, chosen) * steps.shrink / (2 if bounded else 1)
    d = steps.d if chosen.adaptive else representable(at.x, steps.d, t[-1])
    a = stencil.places[:, None, None] * jnp.where(index == i, d, 0)
    b = stencil.places[None, :, None] * jnp.where(index == j, d, 0)
    points = at.x + t[:, None, None, None] * (a + b)
    weights = stencil.weights[:, None] * stencil.weights
    inside = jnp.ones(points.shape[:-1], bool)
    if chosen.adaptive:
        inside &= (_moved(at.x[i], t * d[i]) & _moved(at.x[j], t * d[j]))[:, None, None]
    for bound, sign in ((at.lower, 1), (at.upper, -1)):
        if bound is not None:
            inside &= jnp.all((sign * (points - bound) >= 0) | (points == at.x), axis=-1)
    points = jnp.where((inside & (weights != 0))[..., None], points, at.x)
    away = max_norm(jnp.where(d != 0, jnp.abs(at.x) / jnp.where(d != 0, jnp.abs(d), 1), 0))
    own = jnp.stack([d[i], d[j]])
    return _Places(points, inside | (weights == 0), weights, t, steps.sided, away, own)


def _moved(x: jax.Array, h: jax.Array) -> jax.Array:
    """Whether rounding leaves something of the step on both sides."""
    return (x + h != x) & (x - h != x)


class _Columns(NamedTuple):
    """Samples of f with one column per entry."""

    origin: jax.Array
    f: jax.Array
    """`(K, a, b, m)`."""
    inside: jax.Array
    weights: jax.Array
    t: jax.Array
    sided: jax.Array
    away: jax.Array
    own: jax.Array


@jax.jit
def _columns(places: _Places, origin: jax.Array, results: jax.Array) -> _Columns:
    count, inside = results.shape[0], jnp.moveaxis(places.inside, 0, -1)
    last = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), places._replace(points=None))
    return _Columns(
        jnp.broadcast_to(origin, (count,)),
        jnp.moveaxis(results[..., 0], 0, -1).reshape(inside.shape),
        inside,
        last.weights,
        last.t,
        last.sided,
        last.away,
        last.own,
    )


@partial(jax.jit, static_argnames="chosen")
def _estimate(given: _Columns, chosen: Rule) -> Estimate:
    samples, scale = _assemble(given)
    exponents = tuple(
        jnp.where(given.sided, 2 + stage, 2 + 2 * stage) for stage in range(chosen.stages)
    )
    if not chosen.adaptive:
        found = fixed(samples.base, samples.valid, chosen, exponents)
    else:
        eta = noise(samples, given.t, chosen.eps, given.away)
        found = select(
            samples,
            given.t,
            ratio=chosen.ratio,
            exponents=exponents,
            eps=chosen.eps,
            eta=eta,
            amplification=jnp.sum(jnp.abs(given.weights), axis=(0, 1)) / given.t**2,
        )
        # Unlike a ladder for slopes this one ends far above the spacing of x: there is no bound.
        unknown = saturated(samples, chosen.eps)
        found = Estimate(
            jnp.where(unknown, jnp.nan, found.value), jnp.where(unknown, jnp.inf, found.error)
        )
    # One factor after the other: their product, or one of them with the unit, may overflow.
    i, j = jnp.abs(given.own)
    sign = jnp.sign(given.own[0]) * jnp.sign(given.own[1])
    found = found._replace(value=sign * found.value / i, error=found.error / i)
    return rescaled(found, scale, j)


def _assemble(given: _Columns) -> tuple[Ladder, jax.Array]:
    """The ladder, and the unit of its columns."""
    origin, f, t, weights = given.origin, given.f, given.t, given.weights
    steps, a, b, m = f.shape
    valid = jnp.all(given.inside & jnp.isfinite(f), axis=(1, 2))
    scale = unit(origin, f.reshape(steps, a * b, m), valid)
    origin, f = origin / scale, f / scale
    valid &= jnp.all(jnp.isfinite(f), axis=(1, 2))
    f = jnp.where(valid[:, None, None], f, jnp.where(jnp.isfinite(origin), origin, 0))
    second = jnp.sum(weights * (f - origin), axis=(1, 2))
    near, far = f[:, 0, 0], f[:, 1, 1]
    ratio = 4.0 if steps < 2 else t[0] / t[1]
    tiny = jnp.finfo(origin.dtype).tiny
    ladder = Ladder(
        origin=origin,
        spread=max_norm(f - origin, (1, 2)),
        magnitude=jnp.maximum(jnp.abs(origin), max_norm(f, (1, 2))),
        base=second / t**2,
        odd=near - far,
        even=near + far - 2 * origin,
        residue=unexplained(second, ratio**2) / largest(weights, (0, 1)) / 2,
        valid=valid,
        least=jnp.minimum(jnp.abs(origin), smallest(jnp.abs(f), (1, 2))),
        underflow=jnp.maximum(tiny, tiny / scale),
        grain=jnp.minimum(last_bit(origin), smallest(last_bit(f), (0, 1, 2))),
    )
    return ladder, scale
