"""The log-density of a Gaussian Markov random field as a PyTensor graph, constraints included."""

from typing import Any

import numpy as np
from pytensor.gradient import disconnected_grad
from pytensor.graph.basic import Constant
from pytensor.tensor.slinalg import cholesky as dense_cholesky

from cholax.integrations.pytensor._untyped import pt
from cholax.integrations.pytensor.matrix import SymmetricMatrix, as_symmetric
from cholax.stats.constraints import Constraints, as_constraints


def gmrf_log_density(
    x: Any, mean: Any, precision: Any, constraints: Constraints | None = None
) -> Any:
    """Log-density of N(mean, precision⁻¹), given A x = e where there are constraints.

    Without constraints −n/2 log 2π + ½ log|Q| − ½ (x − μ)ᵀQ(x − μ). With k constraints the density
    is that on the plane, in n − k orthonormal coordinates, of the Gaussian conditioned on A x = e:
    −(n−k)/2 log 2π + ½ log|ZᵀQZ| − ½ (x − μ*)ᵀQ(x − μ*), Z an orthonormal basis of the null space
    of A and μ* the conditional mean. Q may then be singular, as long as ZᵀQZ is not. Off the plane
    it is −∞; where the precision is not positive definite, NaN.

    Args:
        x: tensor of shape `(..., n)`.
        mean: tensor that broadcasts to x.
        precision: what `as_symmetric` takes.
        constraints: a `cholax.stats.Constraints` with a concrete right-hand side.

    Returns:
        Tensor of shape `(...)`.

    Example:
        >>> import numpy as np, pytensor.tensor as pt
        >>> from cholax.integrations.pytensor import gmrf_log_density
        >>> x = pt.vector("x")
        >>> density = gmrf_log_density(x, 0.0, np.eye(3))
        >>> density.type.ndim, pt.grad(density, x).type.ndim
        (0, 1)
    """
    Q = as_symmetric(precision)
    x, mean = pt.as_tensor_variable(x), pt.as_tensor_variable(mean)
    constraints = as_constraints(constraints, Q.n, "gmrf_log_density")
    exponent = -0.5 * Q.quadratic_form(x - mean)
    if constraints is None:
        return exponent + 0.5 * Q.log_det() - 0.5 * Q.n * np.log(2 * np.pi)
    plane = _Plane(Q, constraints)
    if not plane.contains_constant(mean):
        exponent = exponent + 0.5 * plane.distance(mean)
    constant = 0.5 * (Q.n - constraints.k) * np.log(2 * np.pi)
    density = exponent + 0.5 * plane.log_det() - constant
    return pt.switch(plane.contains(x), density, -np.inf)


class _Plane:
    """What `cholax.stats.constrained_cholesky` computes, as a PyTensor graph.

    With pins E of weights Γ, P = (Q + EΓEᵀ)⁻¹ and G = [Aᵀ E], S = GᵀPG − diag(0, Γ⁻¹).
    """

    def __init__(self, Q: SymmetricMatrix, constraints: Constraints) -> None:
        self.k, self.rows = constraints.k, constraints.rows
        dtype = self.dtype = Q.values.type.dtype
        self.e = np.zeros(self.k) if constraints.e is None else np.asarray(constraints.e)
        pins = list(self.rows.pivots)
        places = Q.pattern.diagonal_positions
        # No result depends on the weights.
        diagonal: Any = disconnected_grad(pt.abs(Q.values[places]))
        own, largest = diagonal[pins], diagonal.max()
        self.weights = pt.switch(own > np.finfo(dtype).eps * largest, own, largest)
        values = pt.inc_subtensor(Q.values[places[pins]], self.weights)
        self.pinned = SymmetricMatrix(values, Q.pattern, ordering=Q.ordering)
        G = np.concatenate([self.rows.matrix, np.eye(Q.n)[pins]]).T.astype(dtype)
        self.A = self.rows.matrix.astype(dtype)
        corner = pt.concatenate([pt.zeros(self.k, dtype=dtype), 1 / self.weights])
        self.S = pt.dot(G.T, self.pinned.solve(G)) - pt.diag(corner)

    def log_det(self) -> Any:
        """log|ZᵀQZ|, from the signs S has where it exists: k positive, then k negative pivots."""
        k, S = self.k, 0.5 * (self.S + self.S.T)
        top, off = S[:k, :k], S[:k, k:]
        below = pt.dot(off.T, pt.linalg.solve(top, off, assume_a="sym")) - S[k:, k:]
        small = _log_det(top) + _log_det(0.5 * (below + below.T)) + pt.log(self.weights).sum()
        return self.pinned.log_det() + small - self.rows.log_gram

    def distance(self, mean: Any) -> Any:
        """(μ − μ*)ᵀQ(μ − μ*): what conditioning moves the mean by."""
        if mean.type.ndim == 0:
            mean = pt.broadcast_to(mean, (self.rows.n,))
        off = self.e.astype(self.dtype) - pt.dot(mean, self.A.T)
        r = pt.concatenate([off, pt.zeros_like(off)], axis=-1).reshape((-1, 2 * self.k))
        squares = (r * pt.linalg.solve(self.S, r.T).T).sum(axis=-1)
        return squares.reshape(mean.shape[:-1], ndim=mean.type.ndim - 1)

    def contains(self, x: Any) -> Any:
        """Whether A x = e up to the rounding of a transform."""
        off = pt.abs(pt.dot(x, self.A.T) - self.e.astype(self.dtype))
        size = pt.dot(pt.abs(x), np.abs(self.A).T) + np.abs(self.e) + 1
        tolerance = np.sqrt(np.finfo(self.dtype).eps)
        return pt.all(off <= tolerance * size, axis=-1)

    def contains_constant(self, mean: Any) -> bool:
        """Whether the mean is a constant known to lie on the plane."""
        if not isinstance(mean, Constant):
            return False
        on = np.broadcast_to(mean.data, (self.rows.n,)) @ self.rows.matrix.T
        return bool(np.allclose(on, self.e))


def _log_det(M: Any) -> Any:
    """log|M| of a small dense matrix, NaN where it is not positive definite."""
    return 2 * pt.log(pt.diagonal(dense_cholesky(M, lower=True))).sum()
