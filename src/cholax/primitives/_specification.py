"""Dense, obviously correct forms of what the kernels do.

The oracle in tests, as the backend "reference". Slow and O(n²) in memory, so they refuse large
matrices.

Only plain `jax.numpy` loops: batched `lax.linalg` calls side by side can deadlock on jaxlib 0.10.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.errors import UnsupportedError
from cholax.analysis import Plan

LARGEST = 1024


def check_size(n: int) -> None:
    """Refuse what the dense form cannot hold."""
    if n > LARGEST:
        raise UnsupportedError(
            f"cholax: n = {n} is too large for the dense reference (limit {LARGEST}), an oracle "
            'for tests. Leave cx.use_backend("reference").'
        )


def coordinates(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every place of the factor vector (padding has row < column)."""
    layout = plan.layout
    first, rows = layout.first_column, layout.rows
    row_ptr, panel_ptr = layout.row_ptr, layout.panel_ptr
    width, height = np.diff(first), np.diff(row_ptr)
    supernode = np.repeat(np.arange(width.size), width * height)
    inside = np.arange(plan.size) - panel_ptr[supernode]
    column = inside // height[supernode]
    return rows[row_ptr[supernode] + inside - column * height[supernode]], first[supernode] + column


def places(plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and positions of what a factor vector holds on and below the diagonal."""
    rows, columns = coordinates(plan)
    position = np.flatnonzero(rows >= columns)
    return rows[position], columns[position], position


def to_dense(plan: Plan, x: Any) -> Any:
    """Lower-triangular n x n matrix from a factor vector."""
    check_size(plan.n)
    rows, columns = coordinates(plan)
    x = jnp.where(rows >= columns, x, 0)
    return jnp.zeros((plan.n, plan.n), x.dtype).at[rows, columns].add(x)


def from_dense(plan: Plan, matrix: Any) -> Any:
    """The lower entries of a matrix on the filled pattern."""
    rows, columns = coordinates(plan)
    return jnp.where(rows >= columns, matrix[rows, columns], 0)


def symmetric_from_lower(lower: Any) -> Any:
    """Mirror a lower triangle."""
    return lower + jnp.tril(lower, -1).T


def half_lower(matrix: Any) -> Any:
    """Φ: the lower triangle with halved diagonal."""
    return jnp.tril(matrix) - 0.5 * jnp.diag(jnp.diag(matrix))


def lower_inverse(lower: Any) -> Any:
    """L⁻¹ by forward substitution."""
    n = lower.shape[0]

    def step(i: Any, inverse: Any) -> Any:
        row = (jnp.eye(n, dtype=lower.dtype)[i] - lower[i] @ inverse) / lower[i, i]
        return inverse.at[i].set(row)

    return jax.lax.fori_loop(0, n, step, jnp.zeros_like(lower))


def cholesky(matrix: Any) -> tuple[Any, Any]:
    """Right-looking elimination; also 1 + the first column with a bad pivot, or 0."""
    n = matrix.shape[0]

    def step(j: Any, state: Any) -> Any:
        rest, lower, bad = state
        pivot = rest[j, j]
        good = (pivot > 0) & jnp.isfinite(pivot)
        bad = jnp.where(~good & (bad == 0), j + 1, bad)
        column = jnp.where(jnp.arange(n) >= j, rest[:, j] / jnp.sqrt(pivot), 0)
        return rest - jnp.outer(column, column), lower.at[:, j].set(column), bad

    start = (matrix, jnp.zeros_like(matrix), jnp.zeros((), jnp.int32))
    _, lower, bad = jax.lax.fori_loop(0, n, step, start)
    return jnp.where(bad == 0, lower, jnp.nan), bad
