"""Whether fixed effects separate the responses at the ends of their range from the others."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.optimize

from cholax.stats.likelihoods import LIKELIHOODS, Likelihood


def separating_direction(
    family: Likelihood, y: np.ndarray, X: np.ndarray, known: Mapping[str, Any]
) -> np.ndarray | None:
    """A direction δ of the fixed effects along which the likelihood rises for ever, or None.

    Rows at the lower end of their range must have xᵀδ ≤ 0, at the upper end ≥ 0, in between = 0,
    some strictly: a linear program.

    Args:
        family: the likelihood; those of integers with an end, as they are registered, can be
            separated.
        y: `(n,)` responses.
        X: `(n, p)`.
        known: parameters that come with the rows: trials of binomial responses.

    Example:
        >>> import numpy as np
        >>> from cholax.stats.likelihoods import bernoulli
        >>> from cholax.stats._lmm.separation import separating_direction
        >>> X = np.array([[1.0, -1.0], [1.0, -2.0], [1.0, 1.0]])
        >>> separating_direction(bernoulli, np.array([0.0, 0.0, 1.0]), X, {}) is not None
        True
        >>> y, X = np.array([0.0, 1.0, 0.0, 1.0]), X[[0, 0, 2, 2]]
        >>> separating_direction(bernoulli, y, X, {}) is None
        True

    Reference:
        Konis (2007), *Linear programming algorithms for detecting separated data*.
    """
    # In a model of one's own a larger η need not mean a larger response.
    if X.shape[1] == 0 or not family.support.integer or family.name not in LIKELIHOODS:
        return None
    lower, upper = family.support.bounds(**known)
    low, high = y == lower, y == upper
    between = ~(low | high)
    scale = np.maximum(np.max(np.abs(X), axis=0), 1e-300)
    signed = np.where(high, 1.0, -1.0)[:, None] * X / scale
    ends = signed[~between]
    if ends.shape[0] == 0:
        return None
    found = scipy.optimize.linprog(
        -ends.sum(axis=0),
        A_ub=-ends,
        b_ub=np.zeros(ends.shape[0]),
        A_eq=(X / scale)[between] if between.any() else None,
        b_eq=np.zeros(int(between.sum())) if between.any() else None,
        bounds=(-1.0, 1.0),
    )
    if not found.success or -found.fun <= 1e-7 * max(1.0, float(np.abs(ends).sum())):
        return None
    return np.asarray(found.x) / scale
