"""Sums and products of two matrices, each given by its values and its pattern."""

import math
from collections.abc import Callable

import jax

from cholax import primitives
from cholax._core.dtypes import check_same_dtype
from cholax._core.errors import ShapeError
from cholax.linalg import maps
from cholax.patterns import Pattern


def expand(values: jax.Array, pattern: Pattern) -> tuple[jax.Array, Pattern]:
    """Both triangles of a symmetric matrix; a general one as it is."""
    if not pattern.symmetric:
        return values, pattern
    full, source = maps.expand(pattern)
    return primitives.gather(source, values), full


def combine(
    operation: Callable[[jax.Array, jax.Array], jax.Array],
    a: jax.Array,
    p: Pattern,
    b: jax.Array,
    q: Pattern,
    *,
    where: str,
) -> tuple[jax.Array, Pattern]:
    """A + B or A - B on the union of the patterns; symmetric when both are."""
    check_same_dtype(where, A=a, B=b)
    if p.shape != q.shape:
        raise ShapeError(
            f"{where}: need one shape, got {p.shape} and {q.shape}. "
            "Shapes do not broadcast; place blocks with cx.block."
        )
    if p.symmetric != q.symmetric:
        (a, p), (b, q) = expand(a, p), expand(b, q)
    if p == q:
        return operation(a, b), p
    pattern, left, right = maps.union(p, q)
    return operation(maps.take(left, a), maps.take(right, b)), pattern


def product(a: jax.Array, p: Pattern, b: jax.Array, q: Pattern) -> tuple[jax.Array, Pattern]:
    """A B, a general matrix."""
    check_same_dtype("A @ B", A=a, B=b)
    check_inner("A @ B", p.shape, q.shape, p.shape[1], q.shape[:1])
    (a, p), (b, q) = expand(a, p), expand(b, q)
    pattern, triples = maps.product(p, q)
    return primitives.contract(triples, a, b), pattern


def check_inner(
    where: str, left: tuple[int, ...], right: tuple[int, ...], need: int, got: tuple[int, ...]
) -> None:
    """Raise `ShapeError` unless two vectors or matrices can be multiplied."""
    if max(len(left), len(right)) > 2 or not got or math.prod(got) != need:
        raise ShapeError(
            f"{where}: inner sizes must agree and operands be vectors or matrices, got shapes "
            f"{left} and {right}. Use jax.vmap over a stack, c * A for a scalar."
        )
