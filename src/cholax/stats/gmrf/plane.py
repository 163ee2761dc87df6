"""The plane a Gaussian field lives on: its constraints, and the null space they leave improper."""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.core import Tracer

from cholax._core.errors import StructureError
from cholax.linalg.matrix import SparseMatrix
from cholax.stats.constraints import (
    ConstrainedFactor,
    Constraints,
    constrained_cholesky,
    products,
)
from cholax.stats.constraints.kernel import kernel, vectors_of
from cholax.stats.constraints.null_space import as_null_space, left_free
from cholax.stats.constraints.rows import RANK_TOLERANCE, Rows, stacked

# The null space of a precision known to be positive definite; None stands for unknown.
EMPTY = "empty"
NullSpace = Rows | str | None


def read_null_space(null_space: Any, precision: SparseMatrix, where: str) -> NullSpace:
    """A null space as the user gives it: None, a basis, or a basis of no vectors."""
    if null_space is None or isinstance(null_space, Rows):
        return null_space
    if isinstance(null_space, str) and null_space == EMPTY:  # of a field at hand
        return null_space
    rows = as_null_space(null_space, precision.n, where)
    if rows is None:
        return EMPTY
    if not isinstance(precision.values, Tracer):
        _check_product(precision, rows, where)
    return rows


def _check_product(Q: SparseMatrix, rows: Rows, where: str) -> None:
    product = Q.to_scipy() @ rows.orthonormal.astype(Q.dtype)
    entries = np.abs(product.data if sp.issparse(product) else product)
    largest = float(np.max(np.abs(np.asarray(Q.values)), initial=0))
    half = float(np.sqrt(np.finfo(Q.dtype).eps))
    if not np.max(entries, initial=0) <= half * largest:
        raise StructureError(
            f"{where}: the precision must map its null space to zero, got entries up to "
            f"{np.max(entries):.3g} in Q V (largest entry of Q: {largest:.3g}). "
            "The columns of null_space are the vectors v with Q v = 0."
        )


@lru_cache(maxsize=128)
def plane_rows(rows: Rows | None, null: NullSpace) -> tuple[Rows | None, Rows | None]:
    """All rows of the plane's equations, and the improper directions W among them.

    W spans the null vectors that satisfy the constraints. The density is constant along W, so W is
    held at the mean: a row of the plane, but no constraint.
    """
    free = left_free(null, rows) if isinstance(null, Rows) else None
    if free is None or rows is None:
        return (rows if free is None else free), free
    return stacked([rows, free], "GMRF"), free


def plane_of(
    constraints: Constraints | None, null: NullSpace, location: jax.Array | None, dtype: Any
) -> Constraints | None:
    """The equations of the plane: A x = e and Wᵀx = Wᵀμ."""
    rows, free = plane_rows(None if constraints is None else constraints.rows, null)
    if rows is None:
        return None
    e = constraints.e if constraints is not None else None
    if e is None and location is None:
        return Constraints(rows)
    parts = []
    if constraints is not None:
        parts.append(constraints.right_hand_side(dtype))
    if free is not None:
        held = jnp.zeros(free.k, dtype)
        parts.append(held if location is None else products.times(free, location))
    return Constraints(rows, jnp.concatenate(parts))


def observed_null_space(null: NullSpace, A: Any, noise: Any) -> NullSpace:
    """What is left of a null space when A x is observed with some noise precision.

    A is a NumPy or SciPy matrix, or None while it is traced: then the result is unknown.
    """
    if not isinstance(null, Rows):
        return null
    if A is None:
        return None
    known = not isinstance(noise, Tracer | SparseMatrix) and np.ndim(noise) == 1
    if null.local is not None:
        A = sp.csr_array(A)
        return _many_unobserved(null, A[np.flatnonzero(np.asarray(noise) > 0)] if known else A)
    seen = A @ null.basis
    if known:
        seen = seen[np.asarray(noise) > 0]
    # Rows of any number and rank, so this is not `left_free`.
    _, sizes, right = np.linalg.svd(np.linalg.qr(seen, mode="r") if len(seen) else seen)
    rank = int(np.sum(sizes > RANK_TOLERANCE * np.max(sizes, initial=0)))
    return Rows((null.basis @ right[rank:].T).T) if rank < null.k else EMPTY


def _many_unobserved(null: Rows, A: Any) -> NullSpace:
    left = kernel(A, vectors_of(null))
    if left is None:
        return None
    if left.number == 0:
        return EMPTY
    if left.number == null.k:
        return null
    return Rows(sp.hstack([left.local, sp.csc_array(left.others)]).T, "condition")


def factor_on_plane(
    precision: SparseMatrix, plane: Constraints | None, null: NullSpace, ordering: Any
) -> ConstrainedFactor:
    """Factor with the pins that a known null space needs: none for an empty one."""
    if isinstance(null, Rows):
        return constrained_cholesky(precision, plane, null_space=null, ordering=ordering)
    pins = () if null == EMPTY else None
    return constrained_cholesky(precision, plane, pins=pins, ordering=ordering)
