"""How closely results must agree, by what they are; never a bare number in a test."""

from typing import Any

import numpy as np

_VALUE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-11}
_GRADIENT = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-9}


def value(dtype: Any) -> float:
    """Results computed by the same formula in another order of summation."""
    return _VALUE[np.dtype(dtype)]


def gradient(dtype: Any) -> float:
    """Derivatives of any order, and everything compared with a dense twin."""
    return _GRADIENT[np.dtype(dtype)]


def assert_close(got: Any, expected: Any, tolerance: float, scale: float = 1.0) -> None:
    """Largest difference within `tolerance` times the largest magnitude (at least `scale`)."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    if got.size == 0:
        return
    scale = max(scale, float(np.max(np.abs(expected))))
    error = float(np.max(np.abs(got.astype(np.float64) - expected)))
    assert error <= tolerance * scale, f"error {error:.3g} at scale {scale:.3g}, {tolerance=}"


def assert_all_close(got: Any, expected: Any, tolerance: float) -> None:
    """`assert_close` over two sequences of arrays."""
    for one, other in zip(got, expected, strict=True):
        assert_close(one, other, tolerance)
