"""A covariance matrix as what turns white noise into draws."""

import numpy as np


def covariance_root(V: np.ndarray) -> np.ndarray:
    """A matrix whose product with its transpose is V, of any rank; NaN for NaN."""
    if not np.all(np.isfinite(V)):
        return np.full_like(V, np.nan)
    d = np.sqrt(np.diagonal(V))
    units = np.where(d > 0, d, 1.0)
    values, vectors = np.linalg.eigh(V / np.outer(units, units))
    return units[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
