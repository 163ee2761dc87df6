"""The log-density of a Gaussian Markov random field as a PyTensor graph, constraints included."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor.graph.basic import Constant

from cholax.integrations.pytensor._untyped import pt
from cholax.integrations.pytensor.latent import JaxFunction
from cholax.integrations.pytensor.matrix import as_symmetric
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern
from cholax.stats.constraints import Constraints, Rows, as_constraints, constrained_cholesky


def gmrf_log_density(
    x: Any, mean: Any, precision: Any, constraints: Constraints | None = None
) -> Any:
    """Log-density of N(mean, precision⁻¹), given A x = e where there are constraints.

    Without constraints −n/2 log 2π + ½ log|Q| − ½ (x − μ)ᵀQ(x − μ). With k constraints the density
    is that on A x = e, in n − k orthonormal coordinates, of the Gaussian conditioned on it:
    −(n−k)/2 log 2π + ½ log|ZᵀQZ| − ½ (x − μ*)ᵀQ(x − μ*), Z an orthonormal basis of the null space
    of A and μ* the conditional mean. Q may then be singular, as long as ZᵀQZ is not. Elsewhere
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
    rows, dtype = constraints.rows, Q.values.type.dtype
    e = np.zeros(rows.k) if constraints.e is None else np.asarray(constraints.e)
    moves = not _satisfies(mean, rows, e)
    function = JaxFunction(_Restricted(Q.pattern, rows, Q.ordering, moves))
    log_det, *energy = function(Q.values, return_list=True)
    if moves:
        level = pt.broadcast_to(mean, (Q.n,)) if mean.type.ndim == 0 else mean
        off = e.astype(dtype) - pt.dot(level, rows.matrix.T.astype(dtype))
        exponent = exponent + 0.5 * (pt.dot(off, energy[0]) * off).sum(axis=-1)
    density = exponent + 0.5 * log_det - 0.5 * (Q.n - rows.k) * np.log(2 * np.pi)
    return pt.switch(_on(x, rows, e, dtype), density, -np.inf)


@dataclass(frozen=True)
class _Restricted:
    """Values of Q ↦ log|ZᵀQZ| and, where it `moves` the mean, K: what `constrained_cholesky` gives.

    With r = e − Aμ, conditioning moves the mean by D r, D the minimizers of ½xᵀQx with A x = e for
    unit vectors e, and (μ − μ*)ᵀQ(μ − μ*) = rᵀKr with K = DᵀQD.
    """

    pattern: Pattern
    rows: Rows
    ordering: Any
    moves: bool

    def __call__(self, values: Any) -> tuple[Any, ...]:
        Q = SparseMatrix(values, self.pattern)
        factor = constrained_cholesky(Q, Constraints(self.rows), ordering=self.ordering)
        if not self.moves:
            return (factor.log_det(),)
        zero, units = jnp.zeros(Q.n, Q.dtype), jnp.eye(self.rows.k, dtype=Q.dtype)
        D = jax.vmap(lambda e: factor.solve_affine(zero, e))(units)
        return factor.log_det(), D @ (Q @ D.T)


def _on(x: Any, rows: Rows, e: np.ndarray, dtype: str) -> Any:
    """Whether A x = e up to the rounding of a transform."""
    A = rows.matrix.astype(dtype)
    off = pt.abs(pt.dot(x, A.T) - e.astype(dtype))
    size = pt.dot(pt.abs(x), np.abs(A).T) + np.abs(e) + 1
    return pt.all(off <= np.sqrt(np.finfo(dtype).eps) * size, axis=-1)


def _satisfies(mean: Any, rows: Rows, e: np.ndarray) -> bool:
    """Whether the mean is a constant known to satisfy the constraints."""
    if not isinstance(mean, Constant):
        return False
    return bool(np.allclose(np.broadcast_to(mean.data, (rows.n,)) @ rows.matrix.T, e))
