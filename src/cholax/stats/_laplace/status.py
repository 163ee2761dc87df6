"""`LaplaceStatus`: how the search for the mode ended, and what the Hessian is like there."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core.errors import ConvergenceError
from cholax._core.pickling import reduce_tuple
from cholax.implicit.status import (
    CONVERGED,
    MAX_ITERATIONS,
    NO_PROGRESS,
    NOT_A_MINIMUM,
    NOT_FINITE,
    RUNNING,
)

WRONG_SPARSITY = 8

REASONS = {
    CONVERGED: "converged",
    MAX_ITERATIONS: "the iterations ran out; raise max_iterations or start nearer, or the mode "
    "is at infinity (a separated response under a flat prior)",
    NO_PROGRESS: "no step raises log_joint although its gradient is not zero; it may have a kink, "
    "or its gradient may be wrong",
    NOT_FINITE: "log_joint or its gradient is not finite at the start; look for NaN in data and "
    "parameters, or start elsewhere",
    NOT_A_MINIMUM: "the Hessian of -log_joint is not positive definite at the stationary point "
    "(a saddle, or a direction that neither data nor prior inform); pivot names the row",
    WRONG_SPARSITY: "the sparsity given misses entries of the Hessian; leave it out to detect it",
}


class LaplaceStatus(NamedTuple):
    """How the search for the mode ended, per lane under `vmap`.

    Attributes:
        converged: whether everything in the result holds; where not, it is NaN.
        iterations: Newton iterations, each with a new Hessian.
        factorizations: Cholesky factorisations, those of shifted Hessians included.
        gradient_norm: largest entry of the gradient of log_joint at the last iterate (of its
            projection on the null space of the constraints).
        error: estimated error of the mode, largest over the entries, in units of their conditional
            standard deviation.
        definite: whether the Hessian of −log_joint is positive definite there, under
            the constraints.
        pivot: place in u of the first pivot that is not positive, or -1. Where `definite` is False
            and pivot is -1, the Hessian is singular up to rounding, or not definite under
            the constraints.
        code: the reason as an integer; `reason()` reads it.
    """

    converged: Any
    iterations: Any
    factorizations: Any
    gradient_norm: Any
    error: Any
    definite: Any
    pivot: Any
    code: Any

    __reduce__ = reduce_tuple

    def reason(self) -> str:
        """The reason in words; for a concrete status of one lane."""
        return REASONS[int(self.code)]


def raise_unless_converged(status: LaplaceStatus) -> None:
    """Raise `ConvergenceError` for a concrete status, at run time for a traced one."""
    parts = status.code, status.gradient_norm, status.pivot
    if any(isinstance(part, Tracer) for part in parts):
        jax.debug.callback(_check, *parts)
    else:
        _check(*parts)


def _check(code: Any, gradient_norm: Any, pivot: Any) -> None:
    codes, norms, pivots = np.ravel(code), np.ravel(gradient_norm), np.ravel(pivot)
    failed = np.flatnonzero(codes != CONVERGED)
    if failed.size:
        k = failed[0]
        lane = "" if codes.size == 1 else f" (lane {k} of {codes.size})"
        at = "" if pivots[k] < 0 else f" at pivot {int(pivots[k])}"
        raise ConvergenceError(
            f"laplace: need the mode of log_joint in u, got gradient norm {float(norms[k]):.3g}"
            f"{lane}: {REASONS[int(codes[k])]}{at}."
        )


def settle(code: jax.Array) -> jax.Array:
    """The final code: an iteration still running is one whose steps ran out."""
    return jnp.where(code == RUNNING, MAX_ITERATIONS, code).astype(jnp.int32)
