"""Results of an operation that are zero where a linear operand is, whatever the others hold.

The adjoint of a failed batch member multiplies a zero cotangent by a factor of NaN; see
`_transforms`. The native kernels have the same in `native/calls/adjoint.h`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from cholax._core.jax_compat import user_context

adjoint_calls = user_context(False)
"""Whether what is bound is adjoint."""


def keep_zeros(
    xp: Any,
    operation: Callable[..., Any],
    operands: Sequence[Any],
    core: Sequence[int],
    linear: Sequence[int],
    rank: int,
) -> Any:
    """The one result of an operation, zero where a linear operand is: a column of it, or all.

    Args:
        xp: `numpy` or `jax.numpy`.
        operation: of the operands; one result.
        operands: arrays, each with batch dimensions or without.
        core: number of dimensions of each operand without batch.
        linear: places of the operands that decide.
        rank: number of dimensions of the result without batch.
    """
    live = {k: _nonzero(xp, operands[k], core[k]) for k in linear}
    if all(core[k] == 2 for k in linear) and rank < 2:
        # A sum over columns: leave out those where one factor is zero.
        masked = list(operands)
        for k in linear:
            masked[k] = xp.where(_both(live.values(), operands[k].ndim), operands[k], 0)
        return operation(*masked)
    result = operation(*operands)
    for k, mask in live.items():
        batch, columns = mask.shape[: mask.ndim - core[k]], mask.shape[mask.ndim - core[k] :]
        columns = columns if core[k] == 2 else (1,) * rank
        result = xp.where(mask.reshape(*batch, *columns), result, 0)
    return result


def _nonzero(xp: Any, x: Any, rank: int) -> Any:
    """Whether there is anything in each column, or in all of a vector; dimensions are kept."""
    if rank == 0:
        return x != 0
    if xp is jax.numpy:
        # The search through an operand that is a constant would be evaluated by the compiler, by an
        # interpreter that takes seconds for a million numbers.
        x = jax.lax.optimization_barrier(x)
    return xp.any(x != 0, axis=-rank, keepdims=True)


def _both(masks: Any, ndim: int) -> Any:
    """Where all masks hold, in any batch member where the operand of `ndim` dimensions has none."""
    first, *others = masks
    for other in others:
        first = first & other
    return first.any(axis=tuple(range(first.ndim - ndim)))
