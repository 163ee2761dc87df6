"""Constraints on parts of u, put where those parts lie in u as one flat vector."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from cholax._core.errors import ArgumentError
from cholax.stats.constraints import Constraints, as_constraints, widened


def place(constraints: Any, start: Any) -> Constraints | None:
    """Constraints on all of u, from `Constraints` on it or from a mapping by parts of it.

    Args:
        constraints: `Constraints` on u as one flat vector, None, or a mapping from keys of u to
            constraints on that part as one flat vector; None for a part without.
        start: u itself.

    Raises:
        ArgumentError: a mapping where u is none, or keys that u does not have.
    """
    size = sum(leaf.size for leaf in jax.tree.leaves(start))
    if not isinstance(constraints, Mapping):
        return as_constraints(constraints, size, "laplace")
    if not isinstance(start, Mapping):
        raise ArgumentError(
            "laplace: constraints by parts need u to be a dictionary, got "
            f"{type(start).__name__}. Pass Constraints on u as one flat vector."
        )
    unknown = sorted(str(key) for key in constraints if key not in start)
    if unknown:
        raise ArgumentError(
            f"laplace: u has no part called {', '.join(unknown)}; it has "
            f"{', '.join(sorted(str(key) for key in start))}."
        )
    where = _slices(start)
    parts = {}
    for key, given in constraints.items():
        length = where[key].stop - where[key].start
        if (made := as_constraints(given, length, f"laplace: {key}")) is not None:
            parts[key] = made
    return _joined(parts, where, size) if parts else None


def _slices(start: Mapping[Any, Any]) -> dict[Any, slice]:
    """Where the part under each key lies: leaves in the order in which u is made flat."""
    found: dict[Any, slice] = {key: slice(0, 0) for key in start}
    end = 0
    for path, leaf in jax.tree_util.tree_flatten_with_path(start)[0]:
        key = path[0].key
        first = end if found[key].stop == 0 else found[key].start
        end += leaf.size
        found[key] = slice(first, end)
    return found


def _joined(parts: Mapping[Any, Constraints], where: Mapping[Any, slice], size: int) -> Constraints:
    blocks, right = [], []
    for key, given in parts.items():
        here = where[key]
        blocks.append(widened(given.rows, here.start, size - here.stop))
        right.append(given.e)
    many = any(sp.issparse(block) for block in blocks)
    A = sp.vstack(blocks) if many else np.concatenate(blocks)
    if all(e is None for e in right):
        return Constraints(A)
    dtype = jnp.result_type(*(e for e in right if e is not None))
    filled = [
        jnp.zeros(block.shape[0], dtype) if e is None else e
        for block, e in zip(blocks, right, strict=True)
    ]
    return Constraints(A, jnp.concatenate(filled))
