"""Families of symmetric patterns, problems made from them, and Hypothesis strategies for both."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from cholax.analysis import Plan, analyze
from cholax.patterns import Pattern
from cholax.primitives import _specification as dense

Edges = tuple[np.ndarray, np.ndarray]


# --- families: edges between n nodes -------------------------------------------------------------


def _diagonal(n: int, rng: np.random.Generator) -> Edges:
    return np.zeros(0, int), np.zeros(0, int)


def _arrow(n: int, rng: np.random.Generator) -> Edges:
    heads = np.arange(min(n, rng.integers(1, 4)))
    return np.repeat(heads, n), np.tile(np.arange(n), heads.size)


def _tree(n: int, rng: np.random.Generator) -> Edges:
    children = np.arange(1, n)
    return children, rng.integers(0, children) if n > 1 else children


def _banded(n: int, rng: np.random.Generator) -> Edges:
    offsets = np.arange(1, rng.integers(2, 6))
    i = np.concatenate([np.arange(n)[offset:] for offset in offsets])
    j = np.concatenate([np.arange(n)[: max(n - offset, 0)] for offset in offsets])
    return i, j


def _grid(n: int, dimensions: int) -> Edges:
    """The first n nodes of a lattice, in lexicographic order."""
    side = max(int(np.ceil(n ** (1 / dimensions))), 1)
    node = np.arange(side**dimensions).reshape((side,) * dimensions)
    pairs = [
        (np.delete(node, 0, axis).ravel(), np.delete(node, -1, axis).ravel())
        for axis in range(dimensions)
    ]
    i, j = (np.concatenate(x) for x in zip(*pairs, strict=True))
    kept = (i < n) & (j < n)
    return i[kept], j[kept]


def _grid_2d(n: int, rng: np.random.Generator) -> Edges:
    return _grid(n, 2)


def _grid_3d(n: int, rng: np.random.Generator) -> Edges:
    return _grid(n, 3)


def _disconnected(n: int, rng: np.random.Generator) -> Edges:
    """A tree, a band, a grid and isolated nodes, side by side."""
    sizes = np.diff(np.sort(np.concatenate([[0, n], rng.integers(0, n + 1, 3)])))
    parts = [
        family(int(size), rng)
        for family, size in zip((_tree, _banded, _grid_2d, _diagonal), sizes, strict=True)
    ]
    shift = np.concatenate([[0], np.cumsum(sizes)])
    i = np.concatenate([part[0] + s for part, s in zip(parts, shift, strict=False)])
    j = np.concatenate([part[1] + s for part, s in zip(parts, shift, strict=False)])
    return i, j


def _dense_blocks(n: int, rng: np.random.Generator) -> Edges:
    """Cliques in a row, neighbours sharing one node."""
    width = int(rng.integers(3, 12))
    i, j = np.indices((n, n)).reshape(2, -1)
    same = (i // width == j // width) | ((i // width == (j + 1) // width) & (i % width == 0))
    return i[same], j[same]


def _random(n: int, rng: np.random.Generator) -> Edges:
    count = int(1.5 * n)
    return rng.integers(0, n, count), rng.integers(0, n, count)


FAMILIES: dict[str, Callable[[int, np.random.Generator], Edges]] = {
    "diagonal": _diagonal,
    "arrow": _arrow,
    "tree": _tree,
    "banded": _banded,
    "grid_2d": _grid_2d,
    "grid_3d": _grid_3d,
    "disconnected": _disconnected,
    "dense_blocks": _dense_blocks,
    "random": _random,
}


# --- problems ------------------------------------------------------------------------------------


def pattern_from_mask(mask: np.ndarray, *, symmetric: bool) -> Pattern:
    """The pattern of a boolean matrix (of its lower triangle where symmetric)."""
    columns, rows = np.nonzero((np.tril(mask) if symmetric else mask).T)
    indptr = np.searchsorted(columns, np.arange(mask.shape[1] + 1))
    return Pattern(mask.shape, indptr, rows, symmetric=symmetric)


class Problem(NamedTuple):
    """A symmetric positive definite matrix with its plan; equal requests give equal problems."""

    family: str
    n: int
    ordering: str
    supernodal: bool
    seed: int

    @property
    def rng(self) -> np.random.Generator:
        """A fresh generator: what is drawn depends on the problem only."""
        return np.random.default_rng(self.seed)

    @property
    def pattern(self) -> Pattern:
        """The family's pattern with its nodes relabelled at random."""
        rng = self.rng
        label = rng.permutation(self.n)
        i, j = FAMILIES[self.family](self.n, rng)
        mask = np.eye(self.n, dtype=bool)
        mask[label[i], label[j]] = mask[label[j], label[i]] = True
        return pattern_from_mask(mask, symmetric=True)

    @property
    def plan(self) -> Plan:
        """The pattern's plan; `shuffled` is a random permutation."""
        shuffled = self.ordering == "shuffled"
        ordering = self.rng.permutation(self.n) if shuffled else self.ordering
        return analyze(self.pattern, ordering, supernodal=self.supernodal)

    def values(self) -> np.ndarray:
        """Stored entries; diagonal dominance with room for entries that change by a tenth."""
        pattern, rng = self.pattern, self.rng
        values = rng.uniform(-1, 1, pattern.nnz)
        off = pattern.rows != pattern.columns
        sums = np.zeros(self.n)
        for index in (pattern.rows, pattern.columns):
            np.add.at(sums, index[off], np.abs(values[off]))
        values[~off] = 1.3 * sums[pattern.rows[~off]] + rng.uniform(0.5, 1.5, self.n)
        return values

    def matrix(self) -> np.ndarray:
        """The dense matrix."""
        lower = np.zeros((self.n, self.n))
        lower[self.pattern.rows, self.pattern.columns] = self.values()
        return lower + np.tril(lower, -1).T

    def factor(self, plan: Plan) -> np.ndarray:
        """The factor vector, by dense LAPACK."""
        lower = np.linalg.cholesky(self.matrix()[np.ix_(plan.perm, plan.perm)])
        rows, columns = dense.coordinates(plan)
        return np.where(rows >= columns, lower[rows, columns], 0)


def general_pattern(problem: Problem) -> Pattern:
    """A rectangular pattern, about three entries a column, some rows and columns empty."""
    shape = (problem.n + 2, problem.n // 2 + 1)
    return pattern_from_mask(problem.rng.random(shape) < 3 / shape[0], symmetric=False)


def support(plan: Plan) -> np.ndarray:
    """Which places of the factor vector are entries; the others are padding and hold zeros."""
    rows, columns = dense.coordinates(plan)
    return rows >= columns


SIZES = st.one_of(st.integers(1, 9), st.integers(10, 60), st.integers(61, 200))


@st.composite
def problems(draw: Any, sizes: st.SearchStrategy[int] = SIZES) -> Problem:
    """Family, size, ordering, width of supernodes and seed."""
    return Problem(
        draw(st.sampled_from(sorted(FAMILIES))),
        draw(sizes),
        draw(st.sampled_from(["auto", "natural", "shuffled"])),
        draw(st.booleans()),
        draw(st.integers(0, 999)),
    )
