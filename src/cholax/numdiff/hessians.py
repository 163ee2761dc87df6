"""Hessians by finite differences of the function itself."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from cholax.linalg import SparseMatrix
from cholax.numdiff.derivatives import packed, require_scalar
from cholax.numdiff.directional import Frame, Steps, fixed, prepare, unexplained
from cholax.numdiff.engine import Difference, Options, map_over, nest
from cholax.numdiff.estimate import Estimate, Ladder, noise, select
from cholax.numdiff.rules import Rule, rule
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
    if n == 0 and sparsity is None:
        none = np.zeros(0, int)
        return packed(difference, at.x, at.x, partial(_filled, i=none, j=none, x=x))
    if sparsity is not None:
        where = difference.options.where
        pattern = as_pattern(sparsity, (n, n), symmetric=True, where=where)
        i, j = pattern.rows, pattern.columns
    else:
        pattern, (i, j) = None, np.tril_indices(n)
    chosen = rule(difference.options.method, flat.eps, difference.options.step, order=2)
    pairs = (jnp.asarray(i, jnp.int32), jnp.asarray(j, jnp.int32))
    value, error = map_over(lambda pair: _entry(flat.on_points, at, chosen, *pair), pairs)
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


def _entry(
    on_points: Callable[[jax.Array], jax.Array], at: Frame, chosen: Rule, i: Any, j: Any
) -> tuple[jax.Array, jax.Array]:
    """One entry of the Hessian and its error bar."""
    places = _places(at, chosen, i, j)
    n = at.x.size
    flat = jnp.concatenate([at.x[None], places.points.reshape(places.points[..., 0].size, n)])
    return _estimate(jnp.asarray(on_points(flat)), at, chosen, places, i, j)


class _Places(NamedTuple):
    """Where f is sampled for one entry, and with which weights."""

    points: jax.Array
    inside: jax.Array
    weights: jax.Array
    t: jax.Array
    steps: Steps


@partial(jax.jit, static_argnames="chosen")
def _places(at: Frame, chosen: Rule, i: Any, j: Any) -> _Places:
    index = jnp.arange(at.x.size)
    both = jnp.maximum(index == i, index == j).astype(at.x.dtype)
    steps = prepare(at, both, chosen)
    bounded = at.lower is not None or at.upper is not None
    stencil = _stencil(steps.sided, chosen.points, bounded, at.x.dtype)
    t = jnp.asarray(chosen.steps, at.x.dtype) * steps.shrink / (2 if bounded else 1)
    a = stencil.places[:, None, None] * jnp.where(index == i, steps.d, 0)
    b = stencil.places[None, :, None] * jnp.where(index == j, steps.d, 0)
    points = at.x + t[:, None, None, None] * (a + b)
    weights = stencil.weights[:, None] * stencil.weights
    inside = jnp.ones(points.shape[:-1], bool)
    for bound, sign in ((at.lower, 1), (at.upper, -1)):
        if bound is not None:
            inside &= jnp.all((sign * (points - bound) >= 0) | (points == at.x), axis=-1)
    points = jnp.where((inside & (weights != 0))[..., None], points, at.x)
    return _Places(points, inside | (weights == 0), weights, t, steps)


@partial(jax.jit, static_argnames="chosen")
def _estimate(
    results: jax.Array, at: Frame, chosen: Rule, places: _Places, i: Any, j: Any
) -> tuple[jax.Array, jax.Array]:
    samples = _assemble(results, places)
    steps = places.steps
    own = steps.d[i] * steps.d[j]
    exponents = tuple(
        jnp.where(steps.sided, 2 + stage, 2 + 2 * stage) for stage in range(chosen.stages)
    )
    if not chosen.adaptive:
        estimate = fixed(samples.base, samples.valid, chosen, exponents)
    else:
        estimate = _adaptive(samples, places, at, chosen, exponents)
    return estimate.value[0] / own, estimate.error[0] / jnp.abs(own)


def _adaptive(
    samples: Ladder, places: _Places, at: Frame, chosen: Rule, exponents: Any
) -> Estimate:
    d = places.steps.d
    away = jnp.where(d != 0, jnp.abs(at.x) / jnp.where(d != 0, jnp.abs(d), 1), 0)
    eta = noise(samples, places.t, chosen.eps, jnp.max(away, initial=0))
    return select(
        samples,
        places.t,
        ratio=chosen.ratio,
        exponents=exponents,
        eta=eta,
        amplification=jnp.sum(jnp.abs(places.weights)) / places.t**2,
    )


def _assemble(results: jax.Array, places: _Places) -> Ladder:
    origin, f = results[0], results[1:].reshape(places.points.shape[:-1])
    t, weights = places.t, places.weights
    valid = jnp.all(places.inside & jnp.isfinite(f), axis=(1, 2))[:, None]
    f = jnp.where(valid[..., None], f, jnp.where(jnp.isfinite(origin), origin, 0))
    second = jnp.sum(weights * (f - origin), axis=(1, 2))[:, None]
    near, far = f[:, 0, 0, None], f[:, 1, 1, None]
    ratio = 4.0 if t.shape[0] < 2 else t[0] / t[1]
    return Ladder(
        origin=origin,
        spread=jnp.max(jnp.abs(f - origin), axis=(1, 2))[:, None],
        magnitude=jnp.maximum(jnp.abs(origin), jnp.max(jnp.abs(f), axis=(1, 2))[:, None]),
        base=second / t[:, None] ** 2,
        odd=near - far,
        even=near + far - 2 * origin,
        residue=unexplained(second, ratio**2) / jnp.max(weights) / 2,
        valid=valid,
    )
