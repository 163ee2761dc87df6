"""`FitStatus` of mixed models: how the search for their parameters ended."""

from dataclasses import dataclass

CONVERGED = 0
MAX_ITERATIONS = 1
NO_PROGRESS = 2
NOT_FINITE = 3
NOT_A_MINIMUM = 4
AT_INFINITY = 5
NOT_IDENTIFIED = 6
SEPARATED = 7

REASONS = {
    CONVERGED: "converged",
    MAX_ITERATIONS: "the iterations ran out; raise max_iterations or start nearer, with theta0",
    NO_PROGRESS: "a further step would gain {decrease:.1e}, but none lowers the criterion: the "
    "search stalled",
    NOT_FINITE: "the criterion, or its Hessian at the end, is not finite; look for extreme values "
    "in the data",
    NOT_A_MINIMUM: "the search ended at a saddle point, or the criterion falls along a direction "
    "without curvature",
    AT_INFINITY: "the criterion still falls where a standard deviation is many orders of magnitude "
    "above the unit: there is no finite estimate, as where random effects fit the response exactly",
    NOT_IDENTIFIED: "the covariances of {detail} are not determined by the data: other values fit "
    "as well. Leave out one of the terms that overlap",
    SEPARATED: "the response is separated by {detail}: the likelihood rises for ever along them, "
    "and no finite estimate exists",
}


@dataclass(frozen=True)
class FitStatus:
    """How a fit ended.

    Attributes:
        converged: at a minimum of the criterion.
        code: the reason as an integer; `reason()` reads it.
        iterations: evaluations of the criterion with its gradient.
        singular: some random effects have no variance, or are combinations of others.
        hessians: exact Hessians.
        gradient_norm: largest entry of the gradient there, in scaled parameters.
        decrease: ½ gᵀH⁻¹g: what another Newton step would gain in the criterion.
        detail: the terms or effects that the reason is about.
    """

    converged: bool
    code: int
    iterations: int
    singular: bool
    hessians: int
    gradient_norm: float
    decrease: float
    detail: str = ""

    def reason(self) -> str:
        """The reason in words."""
        return REASONS[self.code].format(decrease=self.decrease, detail=self.detail)
