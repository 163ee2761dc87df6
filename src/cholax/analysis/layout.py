"""The arrays that say where the entries of L are."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class PlanLayout:
    """The arrays of a `Plan`: read-only views of what the kernels use.

    Supernode s owns the columns first_column[s] .. first_column[s+1]−1 and the rows
    rows[row_ptr[s] .. row_ptr[s+1]−1], in permuted labels, its own columns first. Its panel is the
    dense block of those, column by column, from panel_ptr[s] of the factor vector on.

    Attributes:
        perm: `(n,)` perm[i] is the old index at place i.
        iperm: `(n,)` its inverse.
        value_position: `(nnz,)` where each stored entry of A starts out in the factor vector.
        first_column: `(num_supernodes + 1,)`.
        row_ptr: `(num_supernodes + 1,)`.
        rows: row lists of all supernodes.
        panel_ptr: `(num_supernodes + 1,)`.
        parent: `(num_supernodes,)` parent in the supernodal tree, -1 at roots.
    """

    perm: np.ndarray
    iperm: np.ndarray
    value_position: np.ndarray
    first_column: np.ndarray
    row_ptr: np.ndarray
    rows: np.ndarray
    panel_ptr: np.ndarray
    parent: np.ndarray
