"""Symbolic work on the plane: orderings of what an elimination leaves, patterns of results."""

from typing import Any, NamedTuple

import numpy as np

from cholax._core.errors import StructureError, UnsupportedError
from cholax._core.options import shown
from cholax.analysis import Plan, analyze
from cholax.linalg.factor_maps import FILLED
from cholax.ordering import Given, Ordering, resolve
from cholax.patterns import Pattern, algebra
from cholax.patterns.cache import memoise
from cholax.primitives import EntryMap
from cholax.stats.constraints.blocks import Blocks
from cholax.stats.constraints.elimination import Elimination


class Covering(NamedTuple):
    """A pattern asked for, a symmetric one that covers it, and where its entries lie there."""

    pattern: Pattern
    symmetric: Pattern
    source: EntryMap


def plan_on_plane(pattern: Pattern, local: Elimination | None, ordering: Any) -> Plan:
    """The plan for a matrix on the plane, ordered by groups where some are eliminated.

    All coordinates of a group have the same neighbours, so an order of the groups is as good as one
    of the coordinates, and found in a fraction of the time.
    """
    if local is None:
        return _plan(pattern, ordering)
    blocks = local.blocks(pattern)
    if isinstance(ordering, Plan):
        if ordering.pattern == blocks.inner:
            return ordering
        ordering = _plan(pattern, ordering).perm
    groups = _order(blocks, local, resolve(ordering))
    rank = np.empty(groups.size, np.int64)
    rank[groups] = np.arange(groups.size)
    return analyze(blocks.inner, np.argsort(rank[local.groups], kind="stable"))


def _plan(pattern: Pattern, ordering: Any) -> Plan:
    """`ordering` itself when it is a plan of the pattern, else analyzed or remembered."""
    if not isinstance(ordering, Plan):
        return analyze(pattern, ordering)
    if ordering.pattern != pattern:
        raise StructureError(
            f"constrained_cholesky: the plan was made for another pattern ({ordering.pattern!r}) "
            f"than the matrix has ({pattern!r}). Call cx.analyze again."
        )
    return ordering


def _order(blocks: Blocks, local: Elimination, strategy: Ordering) -> np.ndarray:
    """An order of the groups: of their graph, or as their variables first appear in one given."""
    if not isinstance(strategy, Given):
        return analyze(blocks.quotient, strategy).perm
    _, first = np.unique(local.group_of[strategy.order(blocks.outer)], return_index=True)
    return np.argsort(first)


def covering(pattern: Any, own: Pattern, local: Elimination, plan: Plan) -> Covering:
    """A pattern of results where rows are eliminated, checked against the plan of what is left.

    Args:
        pattern: None for the matrix's own; or any pattern.
        own: the pattern of the matrix.
        local: the elimination.
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
    found = _covering(pattern)
    missing = outside(found.symmetric, local, plan)
    if missing is not None:
        raise StructureError(
            "selected_inverse: the pattern must lie inside the filled pattern of L + Lᵀ, but "
            f"entry {missing} does not. Solve for that column of the inverse, or add the entry to "
            "A's pattern with a zero value."
        )
    return found


def outside(pattern: Pattern, local: Elimination | None, plan: Plan) -> tuple[int, int] | None:
    """Variables (one of each group where there are any) of an entry that is not in the inverse."""
    inner = pattern if local is None else local.blocks(pattern).inner
    missing = np.flatnonzero(np.asarray(plan.locate(inner)) < 0)
    if not missing.size:
        return None
    i, j = inner.rows[missing[0]], inner.columns[missing[0]]
    if local is not None:
        i, j = local.variable_of[[i, j]]
    return int(i), int(j)


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
