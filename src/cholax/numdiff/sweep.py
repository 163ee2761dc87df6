"""Many differences at once: chunks of directions or entries, each in a few compiled programs.

Placing the points and calling f is one program per function and shape. Reading the derivative off
the samples takes XLA a second to compile, so it is a program of its own, for columns padded to few
widths, and serves all functions.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax.numdiff.blocks import in_chunks, taken
from cholax.numdiff.directional import Frame, Places, Samples, estimate_columns
from cholax.numdiff.estimate import Estimate
from cholax.numdiff.evaluate import Flat, Placing
from cholax.numdiff.rules import Rule, first_part, second_part
from cholax.numdiff.screen import screened

# Numbers in the results of one chunk, and in its points where a host function needs them: 64 MB in
# float64. A chunk costs 10 ms by itself.
CHUNK = 2**23
# Widths grow by this factor up to so many columns, then by 2: a padded column costs less than the
# second that another width takes to compile.
GROWTH = 8
WIDE = 2**12
# Directions that a first look leaves open go on in so many batches at most, all of one shape.
BATCHES = 8


def chunk_size(flat: Flat, rule: Rule, points: int) -> int:
    """How many items fit into the memory of a chunk."""
    each = len(rule.steps) * points * flat.kept
    return max(1, CHUNK // max(1, each))


def derivatives(
    flat: Flat, at: Frame, items: Any, rule: Rule, placing: Placing, origin: jax.Array
) -> tuple[Estimate, jax.Array]:
    """The derivative along every direction, `(items, m)` each, and the directions as placed.

    A ladder is sampled in two parts, the second one only where the first leaves a column open.
    Inside a program, where that would depend on values, it is sampled as a whole.
    """
    traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((at, items, origin)))
    first = None if traced else first_part(rule)

    def run(items: Any) -> tuple[Estimate, jax.Array]:
        places, results = flat.sample(at, items, first or rule, placing)
        columns = padded(columns_of(places, origin, results))
        count, _, m = results.shape
        if first is None:
            return _by_item(estimate_columns(columns, rule), count, m), places.d
        estimate, settled = screened(columns, first)
        estimate = _by_item(estimate, count, m)
        settled = np.asarray(settled)[: count * m].reshape(count, m)
        for batch, used in _batches(np.flatnonzero(~settled.all(axis=1)), count):
            own, rest = taken(items, batch), second_part(rule, first)
            _, more = flat.sample(at, own, rest, placing, used)
            columns = _completed(at, own, origin, results, batch, more, rule, placing)
            better = estimate_columns(padded(columns), rule)
            estimate = _replaced(estimate, batch, _by_item(better, len(batch), m))
        return estimate, places.d

    return in_chunks(run, items, chunk_size(flat, rule, rule.points))


def _by_item(estimate: Estimate, count: int, m: int) -> Estimate:
    return Estimate(*(part[: count * m].reshape(count, m) for part in estimate))


def _batches(opened: np.ndarray, count: int) -> list[tuple[np.ndarray, int]]:
    """Equal batches of the items left open, the last one padded, and how many of each count."""
    size = max(1, -(-count // BATCHES))
    parts = [opened[start : start + size] for start in range(0, len(opened), size)]
    return [(np.pad(part, (0, size - len(part)), mode="edge"), len(part)) for part in parts]


@partial(jax.jit, static_argnames=("rule", "placing"))
def _completed(
    at: Frame,
    items: Any,
    origin: jax.Array,
    results: jax.Array,
    batch: jax.Array,
    more: jax.Array,
    rule: Rule,
    placing: Placing,
) -> Samples:
    """Columns of the whole ladder for a batch of items, from both parts of the samples."""
    first = first_part(rule)
    assert first is not None
    order = np.argsort((*(first.rows or ()), *(second_part(rule, first).rows or ())))
    _, _, m = results.shape
    halves = (part.reshape(len(batch), -1, rule.points, m) for part in (results[batch], more))
    rows = jnp.concatenate(list(halves), axis=1)[:, order].reshape(len(batch), -1, m)
    places = jax.vmap(lambda item: placing(at, item, rule))(items)
    return columns_of(places._replace(points=None), origin, rows)


@jax.jit
def _replaced(estimate: Estimate, batch: jax.Array, better: Estimate) -> Estimate:
    return jax.tree.map(lambda old, new: old.at[batch].set(new), estimate, better)


@jax.jit
def columns_of(places: Places, origin: jax.Array, results: jax.Array) -> Samples:
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
