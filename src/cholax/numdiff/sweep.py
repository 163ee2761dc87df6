"""Many differences at once: chunks of directions or entries, each in a few compiled programs.

Placing the points and calling f is one program per function and shape. Reading the derivative off
the samples takes XLA a second to compile, so it is a program of its own, for columns padded to few
widths, and serves all functions.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax.numdiff.directional import Frame, Places, Samples, estimate_columns
from cholax.numdiff.estimate import Estimate
from cholax.numdiff.evaluate import Flat, Placing
from cholax.numdiff.rules import Rule

# Numbers in the points and results of one chunk: 64 MB in float64 where f needs them in memory. A
# chunk costs 10 ms by itself.
CHUNK = 2**23
# Widths grow by this factor up to so many columns, then by 2: a padded column costs less than the
# second that another width takes to compile.
GROWTH = 8
WIDE = 2**12


def in_chunks(run: Callable[[Any], Any], items: Any, size: int) -> Any:
    """`run` of chunks of at most `size` items, joined; `run` takes and gives leading axes.

    Eagerly a loop, all chunks being padded to one shape; inside a program `jax.lax.map`.
    """
    count = jax.tree.leaves(items)[0].shape[0]
    chunks = max(1, -(-count // max(1, size)))
    length = -(-count // chunks)
    places = np.minimum(np.arange(chunks * length), max(count - 1, 0)).reshape(chunks, length)
    if chunks == 1:
        return run(items)
    results = []
    for own in places:
        results.append(run(jax.tree.map(lambda leaf, own=own: leaf[own], items)))
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(results[-1])):
            stacked = jax.lax.map(run, jax.tree.map(lambda leaf: leaf[places], items))
            break
    else:
        stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *results)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], stacked)


def chunk_size(flat: Flat, rule: Rule, points: int) -> int:
    """How many items fit into the memory of a chunk."""
    each = len(rule.steps) * points * (flat.x.size + flat.size)
    return max(1, CHUNK // max(1, each))


def derivatives(
    flat: Flat, at: Frame, items: Any, rule: Rule, placing: Placing, origin: jax.Array
) -> tuple[Estimate, jax.Array]:
    """The derivative along every direction, `(items, m)` each, and the directions as placed."""

    def run(items: Any) -> tuple[Estimate, jax.Array]:
        places, results = flat.sample(at, items, rule, placing)
        columns = _columns(places, origin, results)
        estimate = estimate_columns(padded(columns), rule)
        shape = results.shape[0], results.shape[2]
        size = shape[0] * shape[1]
        return Estimate(*(part[:size].reshape(shape) for part in estimate)), places.d

    return in_chunks(run, items, chunk_size(flat, rule, rule.points))


@jax.jit
def _columns(places: Places, origin: jax.Array, results: jax.Array) -> Samples:
    """One column per direction and output."""
    count, _, m = results.shape
    inside = places.inside
    rows = results.reshape(*inside.shape, m)

    def spread(leaf: jax.Array) -> jax.Array:
        leaf = jnp.moveaxis(leaf, 0, -1)
        return jnp.repeat(leaf, m, axis=-1, total_repeat_length=count * m)

    return Samples(
        jnp.tile(origin, count),
        jnp.moveaxis(rows, 0, -2).reshape(*inside.shape[1:], count * m),
        spread(places.t),
        spread(inside),
        spread(places.sided),
        spread(places.away),
        spread(places.length),
    )


def padded(columns: Any) -> Any:
    """Arrays of columns (the last axis) as wide as the next width; as they are inside a program."""
    leaves = jax.tree.leaves(columns)
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return columns
    size = leaves[0].shape[-1]
    more = width(size) - size
    if more == 0:
        return columns
    return jax.tree.map(lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, more)]), columns)


def width(size: int) -> int:
    """The width that so many columns are padded to."""
    wide = 1
    while wide < size:
        wide *= GROWTH if wide < WIDE else 2
    return wide
