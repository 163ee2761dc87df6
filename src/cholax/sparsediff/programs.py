"""What a function's program looks like before it is differentiated."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from cholax._core.jax_compat import open_jaxpr


@dataclass(frozen=True)
class Footprint:
    """Facts read off a traced function.

    Attributes:
        tree: structure of the output.
        shapes: shapes of its leaves.
        largest: bytes of the largest intermediate result.
        primitives: names of all primitives, inner ones included.
    """

    tree: Any
    shapes: tuple[tuple[int, ...], ...]
    largest: int
    primitives: frozenset[str]


def footprint(flat: Any, x: Any, data: Any) -> Footprint:
    """Trace `flat(x, data) -> (flat output, (out, aux))` and look at its program."""
    closed, result = jax.make_jaxpr(flat, return_shape=True)(x, data)
    leaves, tree = jax.tree.flatten(result[1][0])
    largest, names = x.size * x.dtype.itemsize, set()
    for eqn in _equations(open_jaxpr(closed)[0]):
        names.add(eqn.primitive.name)
        largest = max([largest, *(_bytes(v.aval) for v in eqn.outvars)])
    return Footprint(tree, tuple(leaf.shape for leaf in leaves), largest, frozenset(names))


def _equations(jaxpr: Any) -> Iterator[Any]:
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = open_jaxpr(inner)[0]
                if hasattr(inner, "eqns"):
                    yield from _equations(inner)


def _bytes(aval: Any) -> int:
    itemsize = getattr(getattr(aval, "dtype", None), "itemsize", 1)
    return int(np.prod(getattr(aval, "shape", ()), dtype=np.int64)) * itemsize
