"""Constants of intrinsic precisions, on the host and in double precision, by sparse Cholesky.

For symmetric positive semi-definite R with orthonormal null space V and fixing variables E (columns
of the identity with EᵀV invertible), R_E = R + γEEᵀ is positive definite, and exactly

    log |R|* = log |R_E| - k log γ - 2 log |det EᵀV|,      R⁺ = C R_E⁻¹ C with C = I - VVᵀ,

because R_E⁻¹ is a generalised inverse: R_E (I - V(EᵀV)⁻¹Eᵀ) = R, so R R_E⁻¹ R = R. This is
`constrained_cholesky` under Vᵀx = 0 for numbers: there is no program to compile, which would take a
second for each new graph.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from cholax._core.errors import StructureError
from cholax.linalg.cholesky import cholesky
from cholax.linalg.construct import from_scipy
from cholax.stats.constraints._rows import Rows


class Intrinsic(NamedTuple):
    """What the density and the scaling of an intrinsic field need."""

    log_det: float
    """log |R|*, the generalised determinant: the logarithm of the product of the non-zero
    eigenvalues."""
    variances: np.ndarray
    """`(n,)` diagonal of the pseudo-inverse."""


def intrinsic(R: Any, null_space: np.ndarray, *, where: str) -> Intrinsic:
    """Generalised determinant and marginal variances of N(0, R⁺).

    Args:
        R: `(n, n)` SciPy sparse matrix, symmetric positive semi-definite.
        null_space: `(n, k)` orthonormal basis of its null space.
        where: name of the caller, for the messages.

    Raises:
        StructureError: R has another null space, or is not positive semi-definite.
    """
    R, V = sp.csc_array(R, dtype=float), np.asarray(null_space, float)
    size = float(np.max(np.abs(R.data), initial=0.0)) or 1.0
    residual = float(np.max(np.abs(R @ V), initial=0.0))
    if residual > 1e-9 * size:
        raise StructureError(
            f"{where}: the precision must map its null space to zero, got a residual of "
            f"{residual:.3g}. Pass a basis of the null space."
        )
    fixing = list(Rows.orthonormal_of(V.T).pivots)
    gamma = float(R.diagonal().mean()) or 1.0
    added = sp.csc_array((np.full(len(fixing), gamma), (fixing, fixing)), shape=R.shape)
    log_det, diagonal, solved = _factor(R + added, V)
    if not np.isfinite(log_det):
        raise StructureError(
            f"{where}: the precision must be positive semi-definite with a null space of dimension "
            f"{V.shape[1]}, got a pivot that is not positive. Check weights and structure."
        )
    _, at_fixing = np.linalg.slogdet(V[fixing]) if fixing else (1.0, 0.0)
    log_det -= len(fixing) * np.log(gamma) + 2.0 * at_fixing
    centred = diagonal - 2.0 * np.sum(V * solved, axis=1) + np.sum((V @ (V.T @ solved)) * V, axis=1)
    return Intrinsic(float(log_det), centred)


def _factor(Q: Any, b: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Log |Q|, the diagonal of Q⁻¹ and Q⁻¹b: constants of a model, so double whatever the mode."""
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        factor = cholesky(from_scipy(sp.csc_array(Q), symmetric=True))
        solved = np.asarray(factor.solve(jnp.asarray(b))) if b.size else np.zeros_like(b)
        return float(factor.log_det()), np.asarray(factor.inverse_diagonal()), solved
