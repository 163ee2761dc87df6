"""`cholesky`, which makes a `Factor`, and `checked`, which raises where it failed."""

import functools
from collections.abc import Callable
from typing import Any, overload

import jax
import numpy as np
from jax.core import Tracer

from cholax import primitives
from cholax._core.errors import NotPositiveDefiniteError, StructureError
from cholax._core.jax_compat import user_context
from cholax.analysis import Plan, analyse
from cholax.linalg import operands
from cholax.linalg.factor import Factor
from cholax.linalg.matrix import SparseMatrix

# How the message of a failed factorisation starts, in Python and in the kernel.
_FAILURE = "cholesky:"
# Inside `checked`: every factorisation throws. Part of jit's cache keys.
_throwing = user_context(False)


def cholesky(A: SparseMatrix, *, ordering: Any = "auto", throw: bool = False) -> Factor:
    """Factor a sparse symmetric positive definite matrix: L Lᵀ = P A Pᵀ.

    The symbolic analysis is made once per pattern and ordering and kept with the pattern; the
    numeric factorisation is traced, so it jits, vmaps over A's values and differentiates.

    Args:
        A: a symmetric `SparseMatrix`, float32 or float64.
        ordering: `"auto"`, `"amd"`, `"minimum_fill"`, `"nested_dissection"`, `"rcm"`,
            `"natural"`, a permutation
            (`perm[i]` is the row of A at place i), or a `Plan` from `cx.analyse`.
        throw: raise when A is not positive definite, instead of giving NaN results: a
            `NotPositiveDefiniteError` eagerly, JAX's run-time error inside `jit`.

    Returns:
        A `Factor`.

    Raises:
        StructureError: A is not symmetric by construction.
        FactorSizeError: L would hold more than 2³¹ − 1 entries.

    Example:
        >>> import cholax as cx, numpy as np, scipy.sparse as sp
        >>> Q = sp.diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(4, 4)).tocsc()
        >>> F = cx.cholesky(cx.from_scipy(Q, symmetric=True))
        >>> bool(F.ok)
        True
        >>> bool(np.allclose(Q @ F.solve(np.ones(4)), 1.0))
        True

    Reference:
        Davis, *Direct Methods for Sparse Linear Systems* (2006); derivatives: Murray (2016).
    """
    if not isinstance(A, SparseMatrix):
        raise StructureError(
            f"cholesky: need a cholax SparseMatrix, got {type(A).__name__}. "
            f"{operands.conversion(A, ', symmetric=True')}"
        )
    if not A.symmetric:
        raise StructureError(
            f"cholesky: the matrix must be symmetric by construction, got a general {A!r}. "
            "Build it with symmetric=True, or call A.symmetrize()."
        )
    plan = plan_for(A, ordering)
    throw = throw or _throwing.value
    traced = isinstance(A.values, Tracer)
    panels, status = primitives.cholesky(plan, A.values, throw=throw and traced)
    factor = Factor(A, plan, panels, status)
    return checked(factor) if throw and not traced else factor


def plan_for(A: SparseMatrix, ordering: Any) -> Plan:
    """The plan for A's pattern: `ordering` itself when it is one, else analysed or remembered."""
    if not isinstance(ordering, Plan):
        return analyse(A.pattern, ordering)
    if ordering.pattern != A.pattern:
        raise StructureError(
            "cholesky: the plan was made for another pattern "
            f"({ordering.pattern!r}) than the matrix has ({A.pattern!r}). Call cx.analyse again."
        )
    return ordering


@overload
def checked(checkable: Factor) -> Factor: ...
@overload
def checked(checkable: Callable[..., Any]) -> Callable[..., Any]: ...
def checked(checkable: Any) -> Any:
    """Raise `NotPositiveDefiniteError`, naming the pivot, where a factorisation fails.

    Args:
        checkable: a concrete `Factor`, which is returned when it is sound; or a function, of which
            a version is returned that raises when any factorisation in it fails, also in the
            programs it compiles. For use outside `jit`; inside, use `cx.cholesky(A, throw=True)`.

    Example:
        >>> import cholax as cx
        >>> bool(cx.checked(cx.cholesky(cx.eye(2))).ok)
        True
        >>> cx.checked(cx.log_det)(cx.eye(2) * -1.0)
        Traceback (most recent call last):
        ...
        cholax._core.errors.NotPositiveDefiniteError: cholesky: the matrix must be positive ...
    """
    if isinstance(checkable, Factor):
        return _check_factor(checkable)
    if not callable(checkable):
        raise StructureError(
            f"checked: need a Factor or a function, got {type(checkable).__name__}. "
            "Pass the result of cx.cholesky."
        )

    @functools.wraps(checkable)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            with _throwing(True):
                return jax.block_until_ready(checkable(*args, **kwargs))
        except jax.errors.JaxRuntimeError as error:
            message = str(error)
            if _FAILURE not in message:
                raise
            raise NotPositiveDefiniteError(message[message.index(_FAILURE) :]) from None

    return run


def _check_factor(factor: Factor) -> Factor:
    if isinstance(factor.status, Tracer):
        raise StructureError(
            "checked: the factor is traced, so its status is not known yet. Inside jit use "
            "cx.cholesky(A, throw=True), or return factor.ok and look at it outside."
        )
    status = np.asarray(factor.status)
    if np.any(status != 0):
        member = "" if status.ndim == 0 else f" (batch member {int(np.flatnonzero(status)[0])})"
        pivot = int(status.ravel()[np.flatnonzero(status)[0]]) - 1
        raise NotPositiveDefiniteError(
            f"{_FAILURE} the matrix must be positive definite, but the pivot of row {pivot} is not "
            f"a finite positive number{member}. Check the values (NaN, sign, rank)."
        )
    return factor
