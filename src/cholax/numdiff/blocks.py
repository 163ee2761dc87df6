"""Many items in equal pieces, so that what is written for each fits into memory or the cache."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def in_chunks(run: Callable[[Any], Any], items: Any, size: int) -> Any:
    """`run` of chunks of at most `size` items, joined; `run` takes and gives leading axes.

    Eagerly a loop, all chunks being padded to one shape; inside a program `jax.lax.map`.
    """
    count = _count(items)
    places = _places(count, size)
    if len(places) == 1:
        return run(items)
    results = []
    for own in places:
        results.append(run(taken(items, own)))
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(results[-1])):
            return in_blocks(run, items, size)
    return _joined(jax.tree.map(lambda *parts: jnp.stack(parts), *results), count)


def in_blocks(run: Callable[[Any], Any], items: Any, size: int) -> Any:
    """The same inside a program, one block after the other."""
    count = _count(items)
    places = _places(count, size)
    if len(places) == 1:
        return run(items)
    return _joined(jax.lax.map(run, taken(items, places)), count)


def taken(items: Any, places: np.ndarray) -> Any:
    """The items at these places."""
    return jax.tree.map(lambda leaf: leaf[places], items)


def _count(items: Any) -> int:
    return jax.tree.leaves(items)[0].shape[0]


def _places(count: int, size: int) -> np.ndarray:
    """`(pieces, length)` which items are in which piece; the last one is repeated."""
    pieces = max(1, -(-count // max(1, size)))
    length = -(-count // pieces)
    return np.minimum(np.arange(pieces * length), max(count - 1, 0)).reshape(pieces, length)


def _joined(stacked: Any, count: int) -> Any:
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], stacked)
