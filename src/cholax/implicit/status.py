"""`Status`: how an iteration ended. A failed one gives NaN; nothing non-converged stays silent."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core import options
from cholax._core.errors import ConvergenceError
from cholax._core.pickling import reduce_tuple

RUNNING = -1
CONVERGED = 0
MAX_ITERATIONS = 1
SINGULAR = 2
NO_PROGRESS = 3
NOT_FINITE = 4
NO_BRACKET = 5
NOT_A_MINIMUM = 6
NOT_ELEMENTWISE = 7
POLE = 8

REASONS = {
    CONVERGED: "converged",
    MAX_ITERATIONS: "the iterations ran out; raise max_iterations, loosen tolerance or start "
    "nearer",
    SINGULAR: "the Jacobian is singular (of minimize: the Hessian indefinite) at an iterate; start "
    "elsewhere",
    NO_PROGRESS: "the last steps made no progress and more will not help; start elsewhere, choose "
    "another method or damping, or there may be no solution",
    NOT_FINITE: "the function is not finite at the start or where the iteration went",
    NO_BRACKET: "the function has one sign at both ends, or an end is not finite; widen the "
    "interval until the signs differ",
    NOT_A_MINIMUM: "a stationary point with an indefinite or singular Hessian (a saddle); start "
    "elsewhere",
    NOT_ELEMENTWISE: "an entry of the result depends on another entry of z; for coupled equations "
    "use cx.root",
    POLE: "the sign changes at a pole, where the function grows without bound, and not at a root; "
    "take another interval",
}


class Status(NamedTuple):
    """How an iteration ended, per lane under `vmap`.

    Attributes:
        converged: whether the solution is one; where not, the value returned is NaN.
        iterations: iterations made (for Newton methods: factorisations).
        residual: largest |F| at the solution (|z − f(z)| of a fixed point, |∇f| of a minimum).
        error: estimate of the error of the solution: the last correction, or half the bracket.
        code: the reason as an integer; `reason()` reads it.
    """

    converged: Any
    iterations: Any
    residual: Any
    error: Any
    code: Any

    __reduce__ = reduce_tuple

    def reason(self) -> str:
        """The reason in words; for a concrete status of one lane.

        Example:
            >>> import cholax.implicit as ci
            >>> _, status = ci.root(lambda z: z * z - 2.0, 1.0, has_status=True)
            >>> status.reason()
            'converged'
        """
        return REASONS[int(self.code)]


def make_status(code: jax.Array, iterations: Any, residual: jax.Array, error: jax.Array) -> Status:
    """A status from a code; an iteration still running is one whose steps ran out."""
    code = jnp.where(code == RUNNING, MAX_ITERATIONS, code).astype(jnp.int32)
    return Status(code == CONVERGED, jnp.asarray(iterations, jnp.int32), residual, error, code)


def checked_limits(
    tolerance: Any, max_iterations: Any, where: str, has_status: Any, throw: Any
) -> tuple[Any, Any]:
    """`tolerance` and `max_iterations` (None where left out), after a check of all options."""
    options.flag(has_status, where, "has_status")
    options.flag(throw, where, "throw")
    remedy = "Leave it out for the default."
    tolerance = None if tolerance is None else options.tolerance(tolerance, where, remedy=remedy)
    if max_iterations is not None:
        max_iterations = options.count(
            max_iterations, where, "max_iterations", least=1, remedy=remedy
        )
    return tolerance, max_iterations


def conclude(value: Any, status: Status, where: str, has_status: bool, throw: bool) -> Any:
    """What a solver returns; with `throw`, an exception where it did not converge."""
    if throw:
        _raise_unless(status, where)
    return (value, status) if has_status else value


def _raise_unless(status: Status, where: str) -> None:
    check = _checker(where)
    if isinstance(status.code, Tracer):
        jax.debug.callback(check, status.code, status.residual)
    else:
        check(status.code, status.residual)


def _checker(where: str) -> Callable[..., None]:
    def check(code: Any, residual: Any) -> None:
        codes, residuals = np.ravel(code), np.ravel(residual)
        failed = np.flatnonzero(codes != CONVERGED)
        if failed.size:
            k = failed[0]
            member = "" if codes.size == 1 else f" (lane {k} of {codes.size})"
            raise ConvergenceError(
                f"{where}: need a converged iteration, got largest residual "
                f"{float(residuals[k]):.3g}{member}: {REASONS[int(codes[k])]}."
            )

    return check
