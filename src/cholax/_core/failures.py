"""Failed factorisations: their statuses by name, and the exception each turns into.

A failure is a status and NaN results. Who asks with `throw=True` or `checked` gets an exception,
made here for every factorisation, whether it was found in Python, in a kernel or in a callback of
a compiled program; the text of the message is what those have in common.
"""

import enum
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, Self, TypeVar

import numpy as np
from jax.core import Tracer

from cholax._core.errors import (
    CholaxError,
    FactorSizeError,
    NotPositiveDefiniteError,
    SingularMatrixError,
    StructureError,
)
from cholax._core.jax_compat import user_context
from cholax._core.pickling import Portable

_P = ParamSpec("_P")
_R = TypeVar("_R")

# Inside `checked`: every factorisation throws. Part of jit's cache keys.
throwing = user_context(False)


class LUStatus(enum.IntEnum):
    """What `LU.status` says."""

    OK = 0
    SINGULAR = 1
    NOT_FINITE = 2
    OUT_OF_ROOM = 3
    UNSTABLE = 4


class ConstrainedStatus(enum.IntEnum):
    """What `ConstrainedFactor.status` says."""

    OK = 0
    NOT_POSITIVE_DEFINITE = 1
    SINGULAR = 2
    WRONG_NULL_SPACE = 3
    NOT_DEFINITE_UNDER_CONSTRAINTS = 4


class Failure(NamedTuple):
    """An exception, how its message starts, and what to do."""

    error: type[CholaxError]
    start: str
    advice: str

    def message(self, detail: str = "") -> str:
        """The whole text; `detail` says where in the matrix or in the batch."""
        return f"{self.start}{detail}. {self.advice}"


# How the kernel starts its message as well (native/calls/kernels.h).
_PIVOT = Failure(
    NotPositiveDefiniteError,
    "cholesky: the matrix must be positive definite",
    "Check the values (NaN, sign, rank).",
)
_LU = {
    LUStatus.SINGULAR: Failure(
        SingularMatrixError,
        "lu: a pivot is zero up to rounding: the matrix is singular",
        "Check the values (zero or dependent rows or columns).",
    ),
    LUStatus.NOT_FINITE: Failure(
        SingularMatrixError,
        "lu: the matrix holds values that are not finite",
        "Check the values (NaN, infinity).",
    ),
    LUStatus.OUT_OF_ROOM: Failure(
        FactorSizeError,
        "lu: L and U need more entries than the plan has room for",
        "The matrix may be regular: raise `capacity`, as in cx.lu(A, capacity=4.0), or try another "
        "ordering.",
    ),
    LUStatus.UNSTABLE: Failure(
        SingularMatrixError,
        "lu: elimination lost all accuracy with every choice of pivots tried",
        "Scale the rows and columns, raise `capacity`, or use float64.",
    ),
}
_CONSTRAINED = {
    ConstrainedStatus.NOT_POSITIVE_DEFINITE: Failure(
        NotPositiveDefiniteError,
        "constrained_cholesky: the matrix with its fixing variables must be positive definite",
        "Check the values (NaN, sign), or give fixing or null_space where the matrix is singular.",
    ),
    ConstrainedStatus.SINGULAR: Failure(
        NotPositiveDefiniteError,
        "constrained_cholesky: the matrix with its fixing variables is singular up to rounding",
        "Give fixing or null_space where the matrix is singular.",
    ),
    ConstrainedStatus.WRONG_NULL_SPACE: Failure(
        NotPositiveDefiniteError,
        "constrained_cholesky: the matrix times the given null space is not zero",
        "Check null_space, or leave it out.",
    ),
    ConstrainedStatus.NOT_DEFINITE_UNDER_CONSTRAINTS: Failure(
        NotPositiveDefiniteError,
        "constrained_cholesky: the matrix is not positive definite under the constraints",
        "Check the values, or constrain what the matrix leaves free.",
    ),
}
_ALL = (_PIVOT, *_LU.values(), *_CONSTRAINED.values())


def pivot_failure(status: int, member: str = "") -> CholaxError:
    """The exception for a status of `cholesky`, 1 + the row of the bad pivot."""
    detail = f", but the pivot of row {status - 1} is not a finite positive number{member}"
    return _PIVOT.error(_PIVOT.message(detail))


def lu_failure(status: int, member: str = "") -> CholaxError:
    """The exception for a status of `lu`."""
    failure = _LU[LUStatus(status)]
    return failure.error(failure.message(member))


def constrained_failure(status: int, member: str = "") -> CholaxError:
    """The exception for a status of `constrained_cholesky`."""
    failure = _CONSTRAINED[ConstrainedStatus(status)]
    return failure.error(failure.message(member))


def from_program(message: str) -> CholaxError | None:
    """The exception that a compiled program's error message tells of; None for any other error."""
    for failure in _ALL:
        if failure.start in message:
            text = message[message.index(failure.start) :].splitlines()[0]
            advice = "" if failure.advice in text else f" {failure.advice}"
            return failure.error(text + advice)
    return None


class Factorization(Portable):
    """What every factorisation has: a `status`, 0 where it is sound, and what that means.

    Must: `_error`, the exception for a status.
    """

    __slots__ = ()

    status: Any

    def _error(self, status: int, member: str) -> CholaxError:
        raise NotImplementedError

    def _found(self) -> CholaxError | None:
        """The exception of the first member that failed."""
        name = type(self).__name__
        if isinstance(self.status, Tracer):
            raise StructureError(
                f"{name}: the factorisation is traced, so its status is not known yet. Inside jit "
                "factor with throw=True, or return `ok` and look at it outside."
            )
        status = np.asarray(self.status)
        failed = np.argwhere(status != 0)
        if not failed.size and not (status != 0).any():
            return None
        place = tuple(int(k) for k in failed[0])
        inside = place[0] if len(place) == 1 else place
        return self._error(int(status[place]), f" (batch member {inside})" if place else "")

    @property
    def ok(self) -> Any:
        """Traced boolean: the factorisation is sound. Results are NaN where it is False."""
        return self.status == 0

    def check(self) -> Self:
        """Return this factorisation if it is sound, else raise; for concrete values.

        Raises:
            NotPositiveDefiniteError, SingularMatrixError, FactorSizeError: it failed.
            StructureError: the values are traced.

        Example:
            >>> import cholax as cx
            >>> bool(cx.cholesky(cx.eye(2)).check().ok), bool(cx.lu(cx.eye(2)).check().ok)
            (True, True)
        """
        error = self._found()
        if error is not None:
            raise error
        return self

    def reason(self) -> str:
        """Why the factorisation failed, in words, or `"ok"`; for concrete values.

        Example:
            >>> import cholax as cx, jax.numpy as jnp
            >>> cx.lu(cx.from_dense(jnp.ones((2, 2)))).reason()
            'lu: a pivot is zero up to rounding: the matrix is singular. Check the values ...'
        """
        error = self._found()
        return "ok" if error is None else str(error)


def tolerant(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """For an iteration that may meet factorisations that fail, and has a status of its own.

    `checked` does not make what runs in it raise; an explicit `throw=True` still does.
    """

    @functools.wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with throwing(False):
            return function(*args, **kwargs)

    return run
