"""`checked`, which raises where a factorisation failed, instead of giving NaN."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, overload

import jax

from cholax._core.errors import StructureError
from cholax._core.failures import Factorization, from_program, throwing

_Made = TypeVar("_Made", bound=Factorization)


@overload
def checked(checkable: _Made) -> _Made: ...
@overload
def checked(checkable: Callable[..., Any]) -> Callable[..., Any]: ...
def checked(checkable: Any) -> Any:
    """Raise, naming what went wrong and where, if a factorisation failed.

    Covers `cholesky`, `lu`, `cholax.stats.constrained_cholesky` and everything computed with them.
    Solvers that factor as part of an iteration (`minimize`, `root`, Laplace approximations, fits)
    may meet factorisations that fail on the way: those do not raise, their own status tells.

    Args:
        checkable: a concrete `Factor`, `LU` or `ConstrainedFactor`, which is returned when it is
            sound; or a function, of which a version is returned that raises when any factorisation
            in it fails, also in the programs it compiles. For use outside `jit`; inside, use
            `throw=True`.

    Raises:
        NotPositiveDefiniteError: a Cholesky or a constrained factorisation failed.
        SingularMatrixError: an LU factorisation failed.
        FactorSizeError: L and U of an LU factorisation needed more room than its plan has.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> bool(cx.checked(cx.cholesky(cx.eye(2))).ok)
        True
        >>> cx.checked(cx.log_det)(cx.eye(2) * -1.0)
        Traceback (most recent call last):
        ...
        cholax._core.errors.NotPositiveDefiniteError: cholesky: the matrix must be positive ...
        >>> cx.checked(cx.solve)(cx.from_dense(jnp.ones((2, 2))), jnp.ones(2))
        Traceback (most recent call last):
        ...
        cholax._core.errors.SingularMatrixError: lu: a pivot is zero up to rounding: ...
    """
    if isinstance(checkable, Factorization):
        return checkable.check()
    if not callable(checkable):
        raise StructureError(
            f"checked: need a Factor or a function, got {type(checkable).__name__}. "
            "Pass the result of cx.cholesky or cx.lu."
        )

    @functools.wraps(checkable)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            with throwing(True):
                return jax.block_until_ready(checkable(*args, **kwargs))
        except jax.errors.JaxRuntimeError as error:
            failure = from_program(str(error))
            if failure is None:
                raise
            raise failure from None

    return run
