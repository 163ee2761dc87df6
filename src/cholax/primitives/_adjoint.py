"""Results of an operation that are zero where a linear operand is, whatever the others hold.

The adjoint of a failed batch member multiplies a zero cotangent by a factor of NaN; see `_define`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp


def keep_zeros(
    bind: Callable[..., list[Any]],
    operands: Sequence[Any],
    core: Sequence[int],
    linear: Sequence[int],
) -> list[Any]:
    """The one result of an operation, zero where a linear operand is: a column of it, or all.

    Args:
        bind: the operation.
        operands: what it is called with.
        core: number of dimensions of each operand without batch.
        linear: positions of the operands in which it is linear.
    """
    ranks = [core[k] for k in linear]
    (aval,) = jax.eval_shape(bind, *operands)
    depth = max(x.ndim - rank for rank, x in zip(core, operands, strict=True))
    rank = len(aval.shape) - depth
    if depth == 0 and rank == 1 and ranks == [1] and operands[linear[0]].shape == aval.shape:
        return [_unless_zero(bind, operands, linear[0])]
    factors = [operands[k] for k in linear]
    if rank < 2 and set(ranks) == {2}:
        # A sum over columns: leave out those where one factor is zero.
        masked = dict(zip(linear, _both_nonzero(*factors), strict=True))
        return bind(*(masked.get(k, x) for k, x in enumerate(operands)))
    (result,) = bind(*operands)
    return [_zero_with(result, tuple(ranks), rank, *factors)]


# Functions of their own in the program: a mask is needed many times, and says the same each time.


@partial(jax.jit, static_argnums=1)
def _nonzero(x: Any, rank: int) -> Any:
    """Whether there is anything in each column, or in all of a vector; dimensions are kept."""
    return x != 0 if rank == 0 else jnp.any(x != 0, axis=-min(rank, 2), keepdims=True)


@partial(jax.jit, static_argnums=(1, 2))
def _zero_with(result: Any, ranks: tuple[int, ...], rank: int, *factors: Any) -> Any:
    """The result, zero where a factor is: in the column of a matrix, or wherever a vector is."""
    for x, x_rank in zip(factors, ranks, strict=True):
        mask = _nonzero(x, x_rank)
        batch, core = mask.shape[: mask.ndim - x_rank], mask.shape[mask.ndim - x_rank :]
        core = core if x_rank == 2 else [1] * rank
        result = jnp.where(mask.reshape(*batch, *core), result, 0)
    return result


@jax.jit
def _both_nonzero(*factors: Any) -> list[Any]:
    """Matrices, zero in the columns where one of them is."""
    nonzero = [_nonzero(x, 2) for x in factors]
    return [jnp.where(_both(nonzero, x.ndim), x, 0) for x in factors]


@jax.jit
def _anything(x: Any) -> Any:
    return jnp.any(x != 0)


def _unless_zero(bind: Callable[..., Any], operands: Sequence[Any], k: int) -> Any:
    """The result, or the operand where that is zero: a choice, so that it may be overwritten."""

    def run(x: Any) -> Any:
        return bind(*operands[:k], x, *operands[k + 1 :])[0]

    return jax.lax.cond(_anything(operands[k]), run, lambda x: x, operands[k])


def _both(masks: Sequence[Any], ndim: int) -> Any:
    """Where all masks hold, in any batch member where the operand of `ndim` dimensions has none."""
    mask = masks[0]
    for other in masks[1:]:
        mask = mask & other
    return jnp.any(mask, axis=tuple(range(mask.ndim - ndim)))
