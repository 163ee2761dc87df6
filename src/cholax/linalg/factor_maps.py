"""Where entries of A⁻¹ and of L live in a plan's factor vector."""

from typing import Any

import numpy as np

from cholax._core.errors import SparsityError, StructureError
from cholax._core.options import shown
from cholax.analysis import Plan
from cholax.patterns import Pattern
from cholax.patterns.build import from_coo
from cholax.primitives import EntryMap, Ref, diagonal_map

FILLED = "filled"


def inverse_map(plan: Plan, pattern: Pattern | str | None) -> tuple[Pattern, EntryMap]:
    """The pattern asked for, and the map that reads A⁻¹ on it from the weighted selected inverse.

    The weighted form counts off-diagonal entries twice, so they are halved here.
    """
    target = _target(plan, pattern)
    cache = plan.__dict__.setdefault("_inverse_maps", {})
    if target not in cache:
        positions = np.asarray(plan.locate(target))
        missing = np.flatnonzero(positions < 0)
        if missing.size:
            k = missing[0]
            raise SparsityError(
                "selected_inverse: the pattern must lie inside the filled pattern of L + Lᵀ, but "
                f"entry ({target.rows[k]}, {target.columns[k]}) does not. Solve for that column "
                "of the inverse, or add the entry to A's pattern with a zero value."
            )
        weights = np.where(target.rows == target.columns, 1.0, 0.5)
        cache[target] = EntryMap(positions, plan.size, weights)
    return target, cache[target]


def inverse_diagonal_map(plan: Plan) -> EntryMap:
    """Where diag(A⁻¹), in A's labels, lies in the weighted selected inverse."""
    found = plan.__dict__.get("_inverse_diagonal_map")
    if found is None:
        found = EntryMap(diagonal_map(Ref(plan)).static.positions[plan.iperm], plan.size)
        plan.__dict__["_inverse_diagonal_map"] = found
    return found


def _target(plan: Plan, pattern: Any) -> Pattern:
    if pattern is None:
        return plan.pattern
    if isinstance(pattern, str) and pattern == FILLED:
        return filled_pattern(plan)
    pattern = getattr(pattern, "pattern", pattern)  # a matrix stands for its pattern
    if not isinstance(pattern, Pattern):
        raise StructureError(
            f'selected_inverse: pattern must be None, "filled" or a Pattern, got {shown(pattern)}. '
            "Build one with cx.Pattern(shape, indptr, indices)."
        )
    if pattern.shape != (plan.n, plan.n):
        raise StructureError(
            f"selected_inverse: need a pattern of shape ({plan.n}, {plan.n}), got {pattern.shape}."
        )
    return pattern


def filled_pattern(plan: Plan) -> Pattern:
    """The pattern of L + Lᵀ in A's labels, lower triangle."""
    found = plan.__dict__.get("_filled_pattern")
    if found is None:
        lower, _ = plan.lower_pattern()
        a, b = plan.perm[lower.rows], plan.perm[lower.columns]
        rows, columns = np.maximum(a, b), np.minimum(a, b)
        general, _ = from_coo(rows, columns, (plan.n, plan.n))
        found = Pattern(general.shape, general.indptr, general.indices, symmetric=True)
        plan.__dict__["_filled_pattern"] = found
    return found


def lower_map(plan: Plan) -> tuple[Pattern, EntryMap]:
    """L's exact pattern in permuted labels, and its entries' places in the factor vector."""
    found = plan.__dict__.get("_lower_map")
    if found is None:
        pattern, positions = plan.lower_pattern()
        found = pattern, EntryMap(positions, plan.size)
        plan.__dict__["_lower_map"] = found
    return found
