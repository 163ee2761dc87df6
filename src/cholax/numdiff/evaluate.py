"""Calling the user's function: flat vectors in and out, on many points at once.

A function that JAX can trace is vmapped (or looped over); any other runs on the host, eagerly by a
Python loop and inside a program through `jax.pure_callback`.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree

from cholax._core.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError
from cholax.numdiff.blocks import in_blocks

EVALUATIONS = ("auto", "vmap", "sequential", "host")

# Numbers in the points and results that are in memory at once: 64 MB in float64. On a CPU they stay
# in its caches instead, which makes exp and polynomials four times as fast, sin 1.6 times.
BLOCK = 2**23
BLOCK_ON_CPU = 2**19

# places(at, item, rule) -> a NamedTuple whose `points` end in the axis of x.
Placing = Callable[[Any, Any, Any], Any]


class Flat(NamedTuple):
    """A function between flat vectors."""

    x: jax.Array
    on_points: Callable[[jax.Array], Any]
    """`(p, n)` points to `(p, m)` results."""
    sample: Callable[..., Any]
    """`(at, items, rule, placing)` to what `placing` says of every item, without the points, and
    the results there, `(items, points of each, m)`. With a fifth argument only so many items count:
    on the host f is not called for the others."""
    out: Any
    """Shapes and dtypes of the result."""
    kept: int
    """Numbers that stay in memory for every point."""

    @property
    def size(self) -> int:
        """Number of results m."""
        return _flat_size(self.out)[1]

    @property
    def eps(self) -> float:
        """Relative spacing of the coarser of the formats of x and of f(x)."""
        dtypes = [self.x.dtype, *(leaf.dtype for leaf in jax.tree.leaves(self.out))]
        return max(float(jnp.finfo(dtype).eps) for dtype in dtypes)


def check_floating(tree: Any, where: str) -> None:
    """Raise `DtypeError` unless all leaves are real floating arrays of one dtype."""
    dtypes = {jnp.result_type(leaf) for leaf in jax.tree.leaves(tree)}
    wrong = [d for d in dtypes if not jnp.issubdtype(d, jnp.floating)]
    if wrong:
        raise DtypeError(
            f"{where}: need real floating-point leaves, got {', '.join(sorted(map(str, wrong)))}. "
            "Differentiate with respect to the floating ones only."
        )
    if len(dtypes) > 1:
        raise DtypeError(
            f"{where}: all leaves must share one dtype, got "
            f"{', '.join(sorted(map(str, dtypes)))}. Convert them explicitly with .astype()."
        )


def result_of(f: Callable[..., Any], x: Any, args: tuple[Any, ...], where: str) -> Any:
    """Abstract result of f when JAX can trace it, else None."""
    try:
        return jax.eval_shape(f, x, *args)
    except (
        jax.errors.TracerArrayConversionError,
        jax.errors.ConcretizationTypeError,
        jax.errors.TracerIntegerConversionError,
    ):
        return None
    except TypeError as error:
        # math.sin and compiled functions refuse tracers by a TypeError of their own.
        if "Tracer" in str(error) or "must be real number" in str(error):
            return None
        raise TypeError(f"{where}: the function cannot be called: {error}") from error


class Calls:
    """The ways to call f; compiled once, whatever the number of differences taken."""

    def __init__(self, f: Callable[..., Any]) -> None:
        def single(point: jax.Array, x: Any, args: Any) -> jax.Array:
            return ravel_pytree(f(unraveler(x)(point), *args))[0]

        def looped(points: jax.Array, x: Any, args: Any) -> jax.Array:
            return jax.lax.map(lambda point: single(point, x, args), points)

        vmapped = jax.vmap(single, in_axes=(0, None, None))

        def sampled(
            *,
            at: Any,
            items: Any,
            x: Any,
            args: Any,
            rule: Any,
            placing: Placing,
            one_by_one: bool,
            size: int,
            block: int,
        ) -> Any:
            # In one program with f: where f is elementwise the points are never written out.
            def run(items: Any) -> Any:
                places, points = _placed(at, items, rule, placing)
                results = (looped if one_by_one else vmapped)(points, x, args)
                return places, _by_item(results, items)

            one = jax.tree.map(lambda leaf: leaf[0], items)
            points = jax.eval_shape(lambda item: placing(at, item, rule), one).points
            numbers = points.size // max(1, at.x.size) * (at.x.size + size)
            return in_blocks(run, items, block // max(1, numbers))

        self.original = f
        # Not jit(f): on a NumPy ufunc that crashes jaxlib 0.10.
        self.f = jax.jit(lambda x, *args: f(x, *args))
        self.vmapped = jax.jit(vmapped)
        self.looped = jax.jit(looped)
        static = ("rule", "placing", "one_by_one", "size", "block")
        self.sampled = jax.jit(sampled, static_argnames=static)


def _placed(at: Any, items: Any, rule: Any, placing: Placing) -> tuple[Any, jax.Array]:
    """What is known of every item, and all points in rows."""
    places = jax.vmap(lambda item: placing(at, item, rule))(items)
    size = places.points.shape[-1]
    points = places.points.reshape(places.points[..., :1].size if size else 0, size)
    return places._replace(points=None), points


placed_by_jax = jax.jit(_placed, static_argnames=("rule", "placing"))


def _by_item(results: Any, items: Any) -> Any:
    count = jax.tree.leaves(items)[0].shape[0]
    return results.reshape(count, results.shape[0] // count, results.shape[1])


def flatten(
    calls: Calls,
    x: Any,
    args: tuple[Any, ...],
    *,
    evaluate: str,
    result: Any,
    where: str,
) -> Flat:
    """Turn f(x, *args) into a function of flat points.

    Args:
        calls: the user's function.
        x: its differentiated argument, a pytree.
        args: the others.
        evaluate: one of `EVALUATIONS`.
        result: shapes of a host function's result, needed where it cannot be called to see them.
        where: name for messages.
    """
    if evaluate not in EVALUATIONS:
        raise ArgumentError(
            f"{where}: evaluate must be one of {', '.join(EVALUATIONS)}, got {evaluate!r}. "
            'Use "auto".'
        )
    check_floating(x, where)
    out = None if evaluate == "host" else result_of(calls.f, x, args, where)
    if out is None and evaluate in ("vmap", "sequential"):
        raise UnsupportedError(
            f'{where}: evaluate="{evaluate}" needs a function that JAX can trace, this one needs '
            'concrete values. Use evaluate="host".'
        )
    if out is not None:
        check_floating(out, f"{where}: result")
        one_by_one = evaluate == "sequential"
        on_points = calls.looped if one_by_one else calls.vmapped

        def sample(at: Any, items: Any, rule: Any, placing: Placing, *_: int) -> Any:
            return calls.sampled(
                at=at,
                items=items,
                x=x,
                args=args,
                rule=rule,
                placing=placing,
                one_by_one=one_by_one,
                size=size,
                block=BLOCK_ON_CPU if jax.default_backend() == "cpu" else BLOCK,
            )

        size = _flat_size(out)[1]
        flat_x = ravel_pytree(x)[0]
        return Flat(flat_x, lambda points: on_points(points, x, args), sample, out, size)
    concrete = not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((x, args)))
    flat_x, unravel = ravel_pytree(x)[0], unraveler(x)
    host_f = _on_host(calls.original)
    if concrete and result is None:
        result = jax.tree.map(_abstract, host_f(unravel(np.asarray(flat_x)), args))
    if result is None:
        raise ArgumentError(
            f"{where}: the result of a host function inside a program is unknown. "
            "Pass result=jax.ShapeDtypeStruct(shape, dtype), or a pytree of them."
        )
    check_floating(result, f"{where}: result")
    on_points = _looped(host_f, unravel, result, where)
    if not concrete:
        on_points = _called_back(on_points, result)

    def sample_on_host(
        at: Any, items: Any, rule: Any, placing: Placing, needed: int | None = None
    ) -> Any:
        places, points = placed_by_jax(at, items, rule, placing)
        if needed is None:
            return places, _by_item(jnp.asarray(on_points(points, args)), items)
        count = jax.tree.leaves(items)[0].shape[0]
        used = points.shape[0] // count * needed
        counted: Any = np.asarray(points)[:used]
        results = on_points(counted, args)
        results = np.pad(results, [(0, points.shape[0] - used), (0, 0)])
        return places, _by_item(jnp.asarray(results), items)

    kept = flat_x.size + _flat_size(result)[1]
    return Flat(flat_x, lambda points: on_points(points, args), sample_on_host, result, kept)


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    array = np.asarray(leaf)
    return jax.ShapeDtypeStruct(array.shape, jnp.result_type(array))


def unraveler(x: Any) -> Callable[[Any], Any]:
    """Flat vector to a pytree like x, keeping the vector's dtype (complex steps need that).

    Slices only: on NumPy arrays no JAX runs, whose computations inside a callback can deadlock.
    """
    leaves, treedef = jax.tree.flatten(x)
    shapes = [np.shape(leaf) for leaf in leaves]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])

    def unravel(point: Any) -> Any:
        parts = [point[a:b] for a, b in itertools.pairwise(ends)]
        return treedef.unflatten([p.reshape(s) for p, s in zip(parts, shapes, strict=True)])

    return unravel


def _on_host(f: Any) -> Callable[[Any, Any], Any]:
    return lambda x, args: f(x, *jax.tree.map(np.asarray, args))


def _looped(f: Any, unravel: Any, result: Any, where: str) -> Callable[[Any, Any], np.ndarray]:
    dtype, size = _flat_size(result)

    def on_points(points: Any, args: Any) -> np.ndarray:
        points = np.array(points)
        complex_step = np.iscomplexobj(points)
        rows = np.empty((len(points), size), np.result_type(dtype, 1j) if complex_step else dtype)
        for row, point in zip(rows, points, strict=True):
            leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(f(unravel(point), args))]
            flat = np.concatenate(leaves) if leaves else np.zeros(0)
            if flat.size != size:
                raise ShapeError(
                    f"{where}: need a result of {size} numbers at every point, got {flat.size}. "
                    "The shape must not depend on x; result= must promise the right one."
                )
            row[:] = flat
        return rows

    return on_points


def _flat_size(result: Any) -> tuple[Any, int]:
    leaves = jax.tree.leaves(result)
    dtype = jnp.result_type(*leaves) if leaves else jnp.result_type(float)
    return dtype, sum(int(np.prod(leaf.shape)) for leaf in leaves)


def _called_back(on_points: Any, result: Any) -> Callable[[jax.Array, Any], jax.Array]:
    dtype, size = _flat_size(result)

    def call(points: jax.Array, args: Any) -> jax.Array:
        complex_step = jnp.iscomplexobj(points)
        out = jnp.result_type(dtype, jnp.complex64) if complex_step else dtype
        shape = jax.ShapeDtypeStruct((points.shape[0], size), out)
        return jax.pure_callback(on_points, shape, points, args, vmap_method="sequential")

    return call
