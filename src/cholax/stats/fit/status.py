"""`FitStatus`: how the search for the best parameters ended."""

from dataclasses import dataclass
from typing import Any

import numpy as np

CONVERGED = 0
MAX_ITERATIONS = 1
NO_PROGRESS = 2
NOT_FINITE = 3
NOT_A_MAXIMUM = 4
AT_INFINITY = 5

REASONS = {
    CONVERGED: "converged",
    MAX_ITERATIONS: "the iterations ran out; raise max_iterations or start nearer",
    NO_PROGRESS: "no step raises the objective although its gradient is not zero; it may have a "
    "kink, or the inner mode may jump",
    NOT_FINITE: "there is no approximation at the start; status.laplace says why",
    NOT_A_MAXIMUM: "the Hessian at the stationary point is not negative definite: some combination "
    "of parameters is not identified, or it is a saddle",
    AT_INFINITY: "the objective still rises, towards a limit, as the parameters marked in "
    "`boundary` go to infinity (a variance of zero, a separated response); it is within rounding "
    "of that limit",
}


@dataclass(frozen=True)
class FitStatus:
    """How the search ended.

    Attributes:
        converged: whether the parameters are a strict maximum, found to rounding.
        code: the reason as an integer; `reason()` reads it.
        iterations: of the search, polishing Newton steps included.
        evaluations: of objective and gradient.
        gradient_norm: largest entry of the gradient of the objective at the end.
        error: estimated distance to the maximum in standard errors, √(gᵀ(−H)⁻¹g).
        boundary: boolean per parameter, flat: it runs off to infinity.
        laplace: `LaplaceStatus` of the last approximation.
    """

    converged: bool
    code: int
    iterations: int
    evaluations: int
    gradient_norm: float
    error: float
    boundary: np.ndarray
    laplace: Any

    def reason(self) -> str:
        """The reason in words."""
        return REASONS[self.code]
