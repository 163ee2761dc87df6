"""Reachability: what the inverse of a matrix, or any power series in it, can couple.

A⁻¹ is a polynomial in A (Cayley–Hamilton), so its pattern lies in the transitive closure of A's:
row i holds the columns reachable from i. The same bounds the iterates of z ← M z + b.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from cholax.sparsediff.detect.rows import Rows, apply_pairs, scatter_rows

# Strong components beyond this are not told apart within one weak component.
MOST_COMPONENTS = 20_000


class Closure(NamedTuple):
    """Nodes fall into `groups` of equal reach; group `out[k]` reaches group `into[k]`."""

    group: np.ndarray
    groups: int
    out: np.ndarray
    into: np.ndarray


def closure(size: int, rows: np.ndarray, columns: np.ndarray) -> Closure:
    """Reflexive transitive closure of the edges row → column among `size` nodes."""
    ones = np.ones(rows.size, np.int8)
    graph = sp.csr_array((ones, (rows, columns)), shape=(size, size))
    count, group = connected_components(graph, directed=True, connection="strong")
    from_, to = group[rows], group[columns]
    between = from_ != to
    line = np.arange(count)
    if not between.any():
        return Closure(group, count, line, line)
    if count > MOST_COMPONENTS:
        count, group = connected_components(graph, directed=True, connection="weak")
        line = np.arange(count)
        return Closure(group, count, line, line)
    edges = np.unique(from_[between].astype(np.int64) * count + to[between])
    out, into = _acyclic_closure(count, edges // count, edges % count)
    return Closure(group, count, out, into)


def _acyclic_closure(count: int, out: np.ndarray, into: np.ndarray) -> tuple[Any, Any]:
    """Closure of an acyclic graph by bit sets, in topological order."""
    targets: list[list[int]] = [[] for _ in range(count)]
    sources: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for i, j in zip(out.tolist(), into.tolist(), strict=True):
        targets[i].append(j)
        sources[j].append(i)
        waiting[i] += 1
    reach = [1 << i for i in range(count)]
    ready = [i for i in range(count) if not waiting[i]]
    while ready:
        j = ready.pop()
        for target in targets[j]:
            reach[j] |= reach[target]
        for i in sources[j]:
            waiting[i] -= 1
            if not waiting[i]:
                ready.append(i)
    width = (count + 7) // 8
    starts, ends = [], []
    for i, bits in enumerate(reach):
        line = np.unpackbits(
            np.frombuffer(bits.to_bytes(width, "little"), np.uint8), bitorder="little"
        )
        found = np.flatnonzero(line)
        starts.append(np.full(found.size, i))
        ends.append(found)
    return np.concatenate(starts), np.concatenate(ends)


def spread(rows: Rows, links: Closure) -> Rows:
    """Along the first axis, each element depends on all that the ones it reaches depend on."""
    first, *rest = rows.shape
    if not rows.terms or not rows.size:
        return Rows(rows.shape)
    width = int(np.prod(rest, dtype=np.int64))
    flat = rows.map(lambda index: index.reshape(first, width))
    columns = np.arange(width)
    target = links.group[:, None].astype(np.int64) * width + columns
    grouped = scatter_rows(flat, target, (links.groups, width))
    if links.out.size != links.groups or not np.array_equal(links.out, links.into):
        out, into = (x[:, None].astype(np.int64) * width + columns for x in (links.out, links.into))
        grouped = apply_pairs(grouped, out, into, (links.groups, width))
    return grouped.take(target).map(lambda index: index.reshape(rows.shape))
