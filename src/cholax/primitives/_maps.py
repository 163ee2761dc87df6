"""The index maps that belong to a plan: where A's entries and L's diagonal lie in the factor."""

from typing import Any

import numpy as np

from cholax.analysis import Plan
from cholax.primitives._dynamic import symbolic
from cholax.primitives._structures import (
    DynamicCsc,
    DynamicEntryMap,
    DynamicPlan,
    EntryMap,
    Ref,
    csc_of,
)


def _kept(plan: Plan, name: str, positions: Any) -> EntryMap:
    """An entry map made once per plan and living with it."""
    found = plan.__dict__.get(name)
    if found is None:
        found = EntryMap(np.asarray(positions()), plan.size)
        plan.__dict__[name] = found
    return found


def value_map(ref: Ref) -> Ref:
    """Positions of A's stored entries in the factor vector."""
    if isinstance(ref.static, DynamicPlan):
        _, _, positions = symbolic(ref)
        return Ref(DynamicEntryMap(ref.static.size, ref.static.nnz), (positions,))
    return Ref(_kept(ref.static, "_value_map", lambda: ref.static.value_position))


def diagonal_positions(plan: Plan) -> np.ndarray:
    """Positions of L_ii in the factor vector, i in permuted order."""
    layout = plan.layout
    first = layout.first_column
    height = np.diff(layout.row_ptr)
    supernode = np.repeat(np.arange(height.size), np.diff(first))
    inside = np.arange(plan.n) - first[supernode]
    return layout.panel_ptr[supernode] + inside * (height[supernode] + 1)


def diagonal_map(ref: Ref) -> Ref:
    """Positions of L's diagonal in the factor vector."""
    if isinstance(ref.static, DynamicPlan):
        indptr = symbolic(ref)[0]
        return Ref(DynamicEntryMap(ref.static.size, ref.static.n), (indptr[:-1],))
    plan = ref.static
    return Ref(_kept(plan, "_diagonal_map", lambda: diagonal_positions(plan)))


def matrix_pattern(ref: Ref) -> Ref:
    """The pattern of A, for products with it."""
    if isinstance(ref.static, DynamicPlan):
        n, nnz = ref.static.n, ref.static.nnz
        return Ref(DynamicCsc((n, n), nnz, symmetric=True), ref.operands)
    return Ref(csc_of(ref.static.pattern))
