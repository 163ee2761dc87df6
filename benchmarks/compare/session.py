"""`Session`, what every engine offers: one problem under one ordering, operation by operation."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from problems import Problem

# Every operation an engine may have; reports keep this order.
OPERATIONS = (
    "one_call",
    "factor",
    "log_det",
    "solve1",
    "solve32",
    "selected_inverse",
    "log_det_of_values",
    "value_and_gradient",
    "hessian_vector",
    "cholesky_tangent",
    "cholesky_cotangent",
    "symmetric_product",
    "symmetric_product_transpose",
    "dispatch",
)
# These begin with a factorisation of their own; the others use the one made last.
FROM_VALUES = (
    "factor",
    "log_det_of_values",
    "value_and_gradient",
    "hessian_vector",
    "one_call",
    "dispatch",
)


class Skipped(Exception):  # a configuration that adds nothing, not an error
    """This engine has nothing of its own to show here; the message says why."""


class Session(ABC):  # hooks that most engines need not fill
    """One matrix inside one engine.

    Must: `analyze`, `prepare`, the operations it names. Each operation is a method without
    arguments that leaves its result in the session. May: the results that are compared between
    engines (`solution`, `value`, `inverse_diagonal`, `gradient_dot_values`, `defects`).

    Attributes:
        operations: those of `OPERATIONS` that this engine has.
        batched: one call does all members of a batch.
    """

    operations: ClassVar[tuple[str, ...]] = ()
    batched: ClassVar[bool] = False

    def __init__(self, problem: Problem, ordering: str) -> None:
        self.problem = problem
        self.ordering = ordering
        random = np.random.default_rng(1)
        self.b = np.asfortranarray(random.standard_normal((problem.n, 32)))

    def forget(self) -> None:  # noqa: B027  # may
        """Drop what an earlier analysis left, so that the next one starts afresh; not timed."""

    @abstractmethod
    def analyze(self) -> None:
        """Order and analyze the pattern; timed, called once or a few times."""

    def facts(self) -> dict[str, Any]:
        """What the analysis found: `nnz_factor`, `flops` (Σ columns²) where the engine says."""
        return {}

    @abstractmethod
    def prepare(self, values: np.ndarray) -> None:
        """Take new values, in the order of the problem's matrix, into the engine's own arrays."""

    def before(self, operation: str) -> None:  # noqa: B027  # may
        """Whatever an operation needs that is not part of its time."""

    def value(self) -> float | None:
        """Log-determinant found last."""
        return None

    def solution(self) -> np.ndarray | None:
        """`(n, k)` solution found last, of the first k columns of `b`."""
        return None

    def inverse_diagonal(self) -> np.ndarray | None:
        """`(n,)` diagonal of the inverse, from the selected inverse found last."""
        return None

    def gradient_dot_values(self) -> float | None:
        """⟨d log|A| / dA, A⟩ from the gradient found last; it is n in exact arithmetic."""
        return None

    def defects(self) -> dict[str, float]:
        """Relative errors in identities of the engine's own; zero in exact arithmetic."""
        return {}

    def close(self) -> None:  # noqa: B027  # may
        """Free memory."""
