"""Newton's method with sparse steps for optimistix, and through it for diffrax.

The Jacobian's pattern is detected, or given; each step evaluates it with one product per colour and
makes one sparse factorisation.
"""

from collections.abc import Callable
from typing import Any

import lineax as lx
import optimistix as optx

from cholax._core import options
from cholax._core.errors import ArgumentError
from cholax.integrations.lineax import LU
from cholax.patterns import Pattern

__all__ = ["SparseNewton"]


class SparseNewton(optx.Newton):
    """Newton's method for `optimistix.root_find` with a sparse Jacobian and sparse factors.

    Pass `adjoint=solver.adjoint()` to `root_find`, so that the implicit derivative is sparse too.
    For diffrax, `Kvaerno3(root_finder=with_stepsize_controller_tols(SparseNewton)())`, or keep its
    own root finder and give it the linear solver:
    `with_stepsize_controller_tols(VeryChord)(linear_solver=cholax.integrations.lineax.LU())`.

    Args:
        rtol: relative tolerance on the change of the iterate.
        atol: absolute tolerance on that change and on the residual.
        norm: as for `optimistix.Newton`.
        kappa: as for `optimistix.Newton`.
        linear_solver: what solves for the step; `LU(sparsity=sparsity)` when left out. For a
            symmetric definite Jacobian `Cholesky()`, with its tag given to `root_find`.
        cauchy_termination: as for `optimistix.Newton`.
        sparsity: the pattern of the Jacobian of the flattened residual; detected when left out.

    Example:
        >>> import optimistix as optx, jax.numpy as jnp
        >>> from cholax.integrations.optimistix import SparseNewton
        >>> def residual(y, c):
        ...     return y**3 + 4 * y - jnp.roll(y, 1) - c
        >>> solver = SparseNewton(rtol=1e-5, atol=1e-5)
        >>> y = optx.root_find(residual, solver, jnp.ones(4), 4.0, adjoint=solver.adjoint()).value
        >>> y.round(3).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        rtol: float,
        atol: float,
        norm: Callable[[Any], Any] = optx.max_norm,
        kappa: float = 1e-2,
        linear_solver: lx.AbstractLinearSolver | None = None,
        cauchy_termination: bool = True,
        *,
        sparsity: Pattern | None = None,
    ) -> None:
        where = "SparseNewton"
        # Diffrax leaves termination to kappa: its tolerances are infinite.
        self.rtol = options.tolerance(rtol, where, "rtol", infinite=True)
        self.atol = options.tolerance(atol, where, "atol", infinite=True)
        self.norm = options.function(norm, where, "norm")
        self.kappa = options.positive(kappa, where, "kappa")
        self.linear_solver = LU(sparsity=sparsity) if linear_solver is None else linear_solver
        if not isinstance(self.linear_solver, lx.AbstractLinearSolver):
            raise ArgumentError(
                f"{where}: linear_solver must be a solver of lineax, got "
                f"{options.shown(linear_solver)}. Those of cholax.integrations.lineax are sparse."
            )
        self.cauchy_termination = options.flag(cauchy_termination, where, "cauchy_termination")

    def adjoint(self) -> optx.ImplicitAdjoint:
        """The implicit function theorem with this solver's linear solver."""
        return optx.ImplicitAdjoint(linear_solver=self.linear_solver)
