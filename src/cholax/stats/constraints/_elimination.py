"""`Elimination`: constraints on small disjoint groups of variables, solved once and for all.

Let the rows A_g of group g touch its s variables only. Its solutions are A_g⁺e + B_g u with B_g an
orthonormal basis, s × (s − k), of the null space of A_g. With the identity on variables that no row
touches, all of these make up a sparse B with orthonormal columns, and x = A⁺e + B u turns

    constrained in x: Q, A          into, free in u: BᵀQB

exactly. BᵀQB is sparse where Q is: a dense block for each pair of groups that Q couples. Log
determinants under the constraints stay the same, covariances are BΣBᵀ, draws B u.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.sparse as sp

from cholax._core.errors import SparsityError, StructureError, UnsupportedError
from cholax._core.options import shown
from cholax.analysis import Plan, analyze
from cholax.linalg.cholesky import plan_for
from cholax.linalg.factor_maps import FILLED
from cholax.ordering import Given, resolve
from cholax.patterns import Pattern, algebra
from cholax.patterns.cache import memoise
from cholax.primitives import EntryMap
from cholax.stats.constraints._blocks import Blocks, Grouped, Shape, Stack

# Fewer rows than this are treated by a dense low-rank correction, which is then as fast.
MANY = 64
# Most variables of one group, whose block of the eliminated matrix is dense.
LARGEST_GROUP = 256
# More different sizes of groups than this are padded to powers of two: each pair is one product.
_SHAPES = 6
# Patterns whose blocks are kept with an elimination.
_KEPT = 8

Group = tuple[np.ndarray, np.ndarray]


def local_groups(A: Any) -> list[Group]:
    """Groups of rows with few variables in all, no variable in two of them; none if not many.

    Rows are taken by their number of variables, the shortest first. One whose variables lie in
    several groups joins them, unless that would be too large a group: it is left over.

    Args:
        A: `(k, n)` array or SciPy matrix.

    Returns:
        Pairs (variables, rows) of sorted index arrays; empty for fewer than `MANY` rows in all.
    """
    k, n = A.shape
    if k < MANY:
        return []
    A = sp.csr_array(A, copy=True)
    A.sum_duplicates()
    A.eliminate_zeros()
    counts = np.diff(A.indptr)
    if np.sum((counts > 0) & (counts <= LARGEST_GROUP)) < MANY:
        return []
    group_of = np.full(n, -1, np.int64)
    variables: list[np.ndarray | None] = []
    rows: list[list[int]] = []
    for row in np.argsort(counts, kind="stable"):
        if not counts[row]:
            continue
        if counts[row] > LARGEST_GROUP:
            break
        own = A.indices[A.indptr[row] : A.indptr[row + 1]]
        touched = group_of[own]
        joined = np.unique(touched[touched >= 0])
        fresh = own[touched < 0]
        members = [variables[g] for g in joined]
        if fresh.size + sum(len(v) for v in members if v is not None) > LARGEST_GROUP:
            continue
        if joined.size:
            target = int(joined[0])
        else:
            target = len(rows)
            variables.append(None)
            rows.append([])
        rows[target].append(int(row))
        if not fresh.size and joined.size == 1:
            continue
        merged = np.concatenate([*(v for v in members if v is not None), fresh])
        group_of[merged] = target
        variables[target] = merged
        for other in joined[1:]:
            rows[target] += rows[other]
            variables[other], rows[other] = None, []
    found = [
        (np.sort(v), np.array(sorted(r)))
        for v, r in zip(variables, rows, strict=True)
        if v is not None
    ]
    return found if sum(len(r) for _, r in found) >= MANY else []


class Elimination:
    """The groups' null spaces and inverses, and the products with them.

    Args:
        A: `(k, n)` CSR matrix of all rows.
        groups: from `local_groups`.
        tolerance: smallest singular value, relative to the largest, of independent rows.

    Attributes:
        n: number of variables.
        size: number of coordinates u.
        rows: numbers of the rows eliminated.
        lost: number of rows that depend on others of their group; has to be zero.
        shapes: groups of one shape, in the order in which groups are numbered.
        group_of: `(n,)` the group of each variable.
        place_of: `(n,)` its place in the group.
        variable_of: `(size,)` a variable of the group of each coordinate.
    """

    def __init__(self, A: Any, groups: list[Group], tolerance: float) -> None:
        n = self.n = A.shape[1]
        self.lost = 0
        self._blocks: OrderedDict[bytes, Blocks] = OrderedDict()
        self.shapes: list[Shape] = []
        self.group_of = np.full(n, -1, np.int32)
        self.place_of = np.zeros(n, np.int32)
        self.size, self.rows = 0, np.zeros(0, np.int64)
        self._bases: list[Any] = []
        self._spans: list[Stack] = []
        self._inverses: list[Stack] = []
        self._count = 0
        inner: list[tuple[int, int, np.ndarray]] = []
        for (s, k), members in _by_shape(groups).items():
            variables = np.array([groups[g][0] for g in members])
            rows = np.array([groups[g][1] for g in members])
            dense = _dense(A, rows, variables)
            inner.append((s, k, variables))
            self._solve(dense, variables, rows, tolerance)
        self._number(inner)

    def _solve(self, A: Any, variables: Any, rows: Any, tolerance: float) -> None:
        """Bases and inverses of groups of one shape; shared where their rows are the same."""
        if np.array_equal(A, np.broadcast_to(A[:1], A.shape)):
            A = A[:1]
        g, k, _ = A.shape
        lengths = np.linalg.norm(A, axis=2)
        scaled = np.swapaxes(A / lengths[:, :, None], 1, 2)
        orthogonal, triangle = np.linalg.qr(scaled, mode="complete")
        triangle = triangle[:, :k]
        singular = np.linalg.svd(triangle, compute_uv=False)
        ranks = np.sum(singular >= tolerance * singular[:, :1], axis=1)
        if np.min(ranks) < k:
            self.lost += int(np.sum(k - ranks)) * (len(rows) if g == 1 else 1)
            triangle = np.broadcast_to(np.eye(k), triangle.shape)
        span, basis = orthogonal[:, :, :k], orthogonal[:, :, k:]
        solved = np.linalg.solve(np.swapaxes(triangle, 1, 2), np.eye(k)[None])
        inverse = span @ solved / lengths[:, None, :]
        self.rows = np.concatenate([self.rows, rows.ravel()])
        self._spans.append(Stack(variables, span))
        self._inverses.append(Stack(variables, inverse))
        self._bases.append(basis)

    def _number(self, inner: list[tuple[int, int, np.ndarray]]) -> None:
        """Number groups and coordinates, variables that no row touches as groups of their own."""
        bases = self._bases
        padded = len(inner) > _SHAPES
        by_size: dict[tuple[int, int], list[int]] = {}
        for i, (s, k, _) in enumerate(inner):
            width = 1 << (s - 1).bit_length()
            by_size.setdefault((width, width) if padded else (s, s - k), []).append(i)
        placed = []
        for (height, width), which in by_size.items():
            stacks, columns = [], []
            for i in which:
                _, _, variables = inner[i]
                g, s = variables.shape
                r = bases[i].shape[2]
                own = self.size + np.arange(g * r).reshape(g, r)
                self._join(variables)
                self.size += g * r
                placed.append(Stack(variables, bases[i]))
                columns.append(np.pad(own, ((0, 0), (0, width - r)), constant_values=-1))
                pad = (0, 0), (0, height - s), (0, width - r)
                whole = len(which) == 1
                basis = bases[i] if whole else np.broadcast_to(bases[i], (g, s, r))
                stacks.append(np.pad(basis, pad))
            basis = stacks[0] if len(stacks) == 1 else np.concatenate(stacks)
            self.shapes.append(Shape(np.concatenate(columns), height, basis))
        untouched = np.flatnonzero(self.group_of < 0)
        if untouched.size:
            own = self.size + np.arange(untouched.size)[:, None]
            self._join(untouched[:, None])
            self.size += untouched.size
            placed.append(Stack(untouched[:, None], np.ones((1, 1, 1))))
            self.shapes.append(Shape(own, 1, None))
        self._bases = placed

    def _join(self, variables: np.ndarray) -> None:
        g, s = variables.shape
        self.group_of[variables] = self._count + np.arange(g, dtype=np.int32)[:, None]
        self.place_of[variables] = np.arange(s, dtype=np.int32)
        self._count += g

    @cached_property
    def basis(self) -> Grouped:
        """B, `(n, size)`, of orthonormal columns."""
        return Grouped(self.n, self._bases)

    def span(self) -> Any:
        """`(n, len(rows))` orthonormal basis of the span of the rows, SciPy CSC."""
        return Grouped(self.n, self._spans).matrix()

    @cached_property
    def inverse(self) -> Grouped:
        """A⁺ of the rows eliminated, `(n, len(rows))`."""
        return Grouped(self.n, self._inverses)

    @cached_property
    def variable_of(self) -> np.ndarray:
        """`(size,)` a variable that each coordinate moves."""
        first = [np.repeat(s.variables[:, 0], s.blocks.shape[2]) for s in self._bases]
        return np.concatenate([np.zeros(0, int), *first])

    @cached_property
    def groups(self) -> np.ndarray:
        """`(size,)` the group of each coordinate."""
        return self.group_of[self.variable_of]

    def coordinates_of(self, variables: Sequence[int]) -> tuple[int, ...]:
        """All coordinates of the groups of some variables, sorted."""
        here = np.isin(self.groups, self.group_of[list(variables)])
        return tuple(int(i) for i in np.flatnonzero(here))

    def restrict(self, b: jax.Array) -> jax.Array:
        """Bᵀb, b of shape `(n,)` or `(n, c)`."""
        return self.basis(b, transpose=True)

    def lift(self, u: jax.Array) -> jax.Array:
        """B u, u of shape `(size,)` or `(size, c)`."""
        return self.basis(u)

    def blocks(self, pattern: Pattern) -> Blocks:
        """The blocks of a symmetric pattern, remembered for the last few."""
        key = pattern.fingerprint
        found = self._blocks.pop(key, None) or Blocks(
            self.shapes, self.group_of, self.place_of, self.size, pattern
        )
        self._blocks[key] = found
        while len(self._blocks) > _KEPT:
            self._blocks.popitem(last=False)
        return found

    def plan(self, pattern: Pattern, ordering: Any, where: str) -> Plan:
        """The plan for BᵀQB, Q on a pattern, ordered by groups.

        All coordinates of a group have the same neighbours, so an order of the groups is as good as
        one of the coordinates, and found in a fraction of the time.
        """
        blocks = self.blocks(pattern)
        if isinstance(ordering, Plan):
            if ordering.pattern == blocks.inner:
                return ordering
            ordering = plan_for(pattern, ordering, where).perm
        strategy = resolve(ordering)
        if isinstance(strategy, Given):  # groups in the order in which their variables first appear
            _, first = np.unique(self.group_of[strategy.order(pattern)], return_index=True)
            groups = np.argsort(first)
        else:
            groups = analyze(blocks.quotient, strategy).perm
        rank = np.empty(groups.size, np.int64)
        rank[groups] = np.arange(groups.size)
        return analyze(blocks.inner, np.argsort(rank[self.groups], kind="stable"))

    def covering(self, pattern: Any, own: Pattern, plan: Plan) -> "Covering":
        """A pattern of results BΣBᵀ, checked against the plan of what is left.

        Args:
            pattern: None for the matrix's own; or any pattern.
            own: the pattern of the matrix.
            plan: of the matrix on what is left.

        Raises:
            StructureError: entries that the selected inverse does not give.
            UnsupportedError: the filled pattern.
        """
        pattern = own if pattern is None else getattr(pattern, "pattern", pattern)
        if isinstance(pattern, str) and pattern == FILLED:
            raise UnsupportedError(
                'selected_inverse: pattern="filled" is not known where constraints are eliminated. '
                "Pass None or a pattern."
            )
        if not isinstance(pattern, Pattern):
            raise StructureError(
                f"selected_inverse: pattern must be None or a Pattern, got {shown(pattern)}. "
                "Build one with cx.Pattern(shape, indptr, indices)."
            )
        if pattern.shape != own.shape:
            raise StructureError(
                f"selected_inverse: need a pattern of shape {own.shape}, got {pattern.shape}."
            )
        covering = _covering(pattern)
        inner = self.blocks(covering.symmetric).inner
        missing = np.flatnonzero(np.asarray(plan.locate(inner)) < 0)
        if missing.size:
            k = missing[0]
            i, j = self.variable_of[[inner.rows[k], inner.columns[k]]]
            raise SparsityError(
                "selected_inverse: the pattern must lie inside the filled pattern of L + Lᵀ, but "
                f"entry ({i}, {j}) does not. Solve for that column of the inverse, or add the "
                "entry to A's pattern with a zero value."
            )
        return covering


class Covering(NamedTuple):
    """A pattern asked for, a symmetric one that covers it, and where its entries lie there."""

    pattern: Pattern
    symmetric: Pattern
    source: EntryMap


def _by_shape(groups: list[Group]) -> dict[tuple[int, int], list[int]]:
    found: dict[tuple[int, int], list[int]] = {}
    for g, (variables, rows) in enumerate(groups):
        found.setdefault((len(variables), len(rows)), []).append(g)
    return dict(sorted(found.items()))


def _dense(A: Any, rows: np.ndarray, variables: np.ndarray) -> np.ndarray:
    """`(g, k, s)` the rows of each group on its variables."""
    g, k = rows.shape
    s = variables.shape[1]
    place = np.zeros(A.shape[1], np.int64)
    place[variables] = np.arange(s)
    picked = A[rows.ravel()]
    out = np.zeros((g * k, s))
    owner = np.repeat(np.arange(g * k), np.diff(picked.indptr))
    out[owner, place[picked.indices]] = picked.data
    return out.reshape(g, k, s)


@memoise
def _covering(pattern: Pattern) -> Covering:
    if pattern.symmetric:
        same = EntryMap(np.arange(pattern.nnz), pattern.nnz)
        return Covering(pattern, pattern, same)
    symmetric, _, _ = algebra.fold(pattern)
    both, source = algebra.expand(symmetric)
    # Both are sorted by column, then row.
    n = pattern.shape[0]
    keys = both.columns.astype(np.int64) * n + both.rows
    wanted = pattern.columns.astype(np.int64) * n + pattern.rows
    return Covering(
        pattern, symmetric, EntryMap(source[np.searchsorted(keys, wanted)], symmetric.nnz)
    )


@memoise
def diagonal_pattern(n: int) -> Pattern:
    """The pattern of a diagonal matrix."""
    return Pattern((n, n), np.arange(n + 1), np.arange(n), symmetric=True)
