"""The simultaneous autoregression."""

from typing import Any

import jax
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg

from cholax._core.errors import ArgumentError
from cholax._core.pickling import recipe
from cholax.stats.latent._combination import combination
from cholax.stats.latent._model import Hyperparameter, LatentModel, with_precision
from cholax.stats.latent.graph import adjacency_of
from cholax.stats.support import Interval

# Up to here all eigenvalues of a dense matrix are quicker than the outer ones of a sparse one.
_DENSE = 200


@recipe
def sar(
    weights: Any, *, row_standardize: bool = False, bounds: tuple[float, float] | None = None
) -> LatentModel:
    """Simultaneous autoregression x = ρ W x + ε with ε ~ N(0, I/τ).

    Q = τ (I - ρW)ᵀ(I - ρW). W need not be symmetric: weights are often row-standardized. The
    interval of ρ around 0 on which I - ρW is regular ends at 1/λ, λ the extreme eigenvalues of W;
    for W neither symmetric nor with row or column sums 1 it is taken as ±1/max |λ|.
    Hyperparameters: `precision` τ > 0, or `sd`; with `rho` in that interval.

    Args:
        weights: square SciPy sparse matrix of any sign, zero diagonal; or spatial weights with an
            attribute `sparse`, or a `Graph`.
        row_standardize: divide each row by its sum first; rows of zeros stay.
        bounds: another interval of ρ.

    Returns:
        A `LatentModel`.

    Raises:
        ArgumentError: weights that are not finite, or entries on the diagonal.
        StructureError: a matrix that is not square, or another type.

    Example:
        >>> from cholax.stats import Graph, sar
        >>> model = sar(Graph.from_edges(3, [[0, 1], [1, 2]]), row_standardize=True)
        >>> model.precision(precision=1.0, rho=0.5).to_dense().tolist()
        [[1.0625, -0.75, 0.0625], [-0.75, 1.5, -0.75], [0.0625, -0.75, 1.0625]]

    Reference:
        Whittle, "On stationary processes in the plane" (1954).
    """
    W: Any = sp.csc_array(adjacency_of(getattr(weights, "adjacency", weights), "sar"), dtype=float)
    if not np.isfinite(W.data).all() or np.any(W.diagonal()):
        raise ArgumentError(
            "sar: weights must be finite with zeros on the diagonal. Check W.data and W.diagonal()."
        )
    if row_standardize:
        sums = np.asarray(W.sum(axis=1)).ravel()
        W = sp.csc_array(sp.diags_array(1.0 / np.where(sums == 0, 1.0, sums)) @ W)
    rho = Hyperparameter("rho", Interval(*(bounds or _bounds(W))))

    def coefficients(precision: jax.Array, rho: jax.Array) -> tuple[jax.Array, ...]:
        return precision, -precision * rho, precision * rho**2

    matrices = [sp.eye_array(W.shape[0]), W + W.T, W.T @ W]
    pattern, values = combination(matrices, coefficients)
    return LatentModel(
        "sar", pattern, with_precision(rho), values, null_space=np.zeros((W.shape[0], 0))
    )


def _bounds(W: Any) -> tuple[float, float]:
    """The interval of ρ, around 0, on which I - ρW is regular."""
    if W.nnz == 0:
        return -1.0, 1.0
    sums = [np.asarray(W.sum(axis=axis)).ravel() for axis in (0, 1)]
    if W.data.min() >= 0 and any(np.allclose(s[s != 0], 1.0, rtol=1e-12) for s in sums):
        return -1.0, 1.0
    if abs(W - W.T).max() == 0:
        low, high = _extremes(W)
        return 1.0 / low, 1.0 / high
    radius = _radius(W)
    # Nilpotent weights, of a directed graph without cycles: regular for every ρ.
    largest = 1.0 / radius if radius > 1e-8 * abs(W).max() else 1e8
    return -largest, largest


def _extremes(W: Any) -> tuple[float, float]:
    """Smallest and largest eigenvalue of a symmetric matrix; of both signs, as its trace is 0."""
    if W.shape[0] <= _DENSE:
        eigenvalues: Any = np.linalg.eigvalsh(W.toarray())
    else:
        eigenvalues = scipy.sparse.linalg.eigsh(W, 2, which="BE", return_eigenvectors=False)
    return float(eigenvalues.min()), float(eigenvalues.max())


def _radius(W: Any) -> float:
    if W.shape[0] <= _DENSE:
        return float(np.abs(np.linalg.eigvals(W.toarray())).max())
    start = np.ones(W.shape[0])
    found = scipy.sparse.linalg.eigs(W, 1, which="LM", v0=start, return_eigenvectors=False)
    return float(np.abs(found).max())
