"""Finite-difference precision matrices on regular grids."""

import scipy.sparse as sp


def _path(n: int) -> sp.sparray:
    """Laplacian of a path with n nodes."""
    degree = [1.0, *[2.0] * (n - 2), 1.0] if n > 1 else [0.0]
    return sp.diags_array([[-1.0] * (n - 1), degree, [-1.0] * (n - 1)], offsets=[-1, 0, 1])


def _laplacian2d(n: int) -> sp.sparray:
    one, eye = _path(n), sp.eye_array(n)
    return sp.kron(one, eye) + sp.kron(eye, one)


def grid2d(n: int) -> sp.csc_array:
    """5-point Laplacian of an n x n grid plus the identity."""
    return sp.csc_array(_laplacian2d(n) + sp.eye_array(n * n))


def matern2d(n: int, kappa2: float = 0.1) -> sp.csc_array:
    """Matérn precision with alpha = 2: (kappa² I + Laplacian)², a 13-point stencil."""
    operator = kappa2 * sp.eye_array(n * n) + _laplacian2d(n)
    return sp.csc_array(operator @ operator)


def grid3d(n: int) -> sp.csc_array:
    """7-point Laplacian of an n x n x n grid plus the identity."""
    one, eye = _path(n), sp.eye_array(n)
    laplacian = (
        sp.kron(sp.kron(one, eye), eye)
        + sp.kron(sp.kron(eye, one), eye)
        + sp.kron(sp.kron(eye, eye), one)
    )
    return sp.csc_array(laplacian + sp.eye_array(n**3))


def autoregression(n: int, rho: float = 0.7) -> sp.sparray:
    """Precision of a stationary AR(1) process of n steps."""
    diagonal = [1.0, *[1.0 + rho * rho] * (n - 2), 1.0]
    off = [-rho] * (n - 1)
    return sp.diags_array([off, diagonal, off], offsets=[-1, 0, 1]) / (1.0 - rho * rho)


def spacetime(steps: int, n: int) -> sp.csc_array:
    """AR(1) in time ⊗ 5-point grid in space, the precision of a separable space-time field."""
    return sp.csc_array(sp.kron(autoregression(steps), grid2d(n)))
