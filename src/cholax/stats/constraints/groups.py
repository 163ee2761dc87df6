"""Which rows of sparse constraints can be eliminated: those that form small, disjoint groups."""

from typing import Any

import numpy as np
import scipy.sparse

# Fewer rows than this are treated by a dense low-rank correction, which is then as fast.
MANY = 64
# Most variables of one group, whose block of the eliminated matrix is dense.
LARGEST = 256

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
    A = scipy.sparse.csr_array(A, copy=True)
    A.sum_duplicates()
    A.eliminate_zeros()
    counts = np.diff(A.indptr)
    if np.sum((counts > 0) & (counts <= LARGEST)) < MANY:
        return []
    group_of = np.full(n, -1, np.int64)
    variables: list[np.ndarray | None] = []
    rows: list[list[int]] = []
    for row in np.argsort(counts, kind="stable"):
        if not counts[row]:
            continue
        if counts[row] > LARGEST:
            break
        own = A.indices[A.indptr[row] : A.indptr[row + 1]]
        touched = group_of[own]
        joined = np.unique(touched[touched >= 0])
        fresh = own[touched < 0]
        members = [variables[g] for g in joined]
        if fresh.size + sum(len(v) for v in members if v is not None) > LARGEST:
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
