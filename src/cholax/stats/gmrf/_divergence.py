"""Kullback–Leibler divergence between two fields on one support."""

from typing import Any

import jax
import jax.numpy as jnp

from cholax._core import options
from cholax._core.dtypes import check_same_dtype
from cholax._core.errors import ShapeError, StructureError
from cholax.linalg.operations import quadratic_form, trace_product
from cholax.stats.constraints import Rows
from cholax.stats.gmrf._field import Field


def kl(p: Field, q: Field) -> jax.Array:
    """KL(p ‖ q) after checking that both live on one support."""
    if not isinstance(q, type(p)):
        raise StructureError(f"kl: need another GMRF, got {options.shown(q)}.")
    check_same_dtype("kl", self=p.precision.values, other=q.precision.values)
    if p.n != q.n:
        raise ShapeError(f"kl: the fields must have one size, got {p.n} and {q.n} variables.")
    given = [None if field.constraints is None else field.constraints.rows for field in (p, q)]
    if not (_same(*given) and _same(p.support_rows[1], q.support_rows[1])):
        raise StructureError(
            "kl: the fields must live on one support, with the same improper directions, got "
            f"{p!r} and {q!r} with constraints of different spans. The divergence does not exist."
        )
    return _kl(p, q)


def _same(one: Rows | None, other: Rows | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.span_equals(other)


@jax.jit
def _kl(p: Field, q: Field) -> jax.Array:
    covariance = p.factor().holding(q.precision.pattern).selected_inverse(q.precision.pattern)
    shift = p.mean - q.mean
    twice = (
        trace_product(q.precision, covariance)
        - p.rank
        + quadratic_form(q.precision, shift)
        + p.log_det()
        - q.log_det()
    )
    return jnp.where(_satisfied(p.mean, q.constraints), 0.5 * twice, jnp.inf)


def _satisfied(x: jax.Array, constraints: Any) -> Any:
    if constraints is None:
        return True
    e = constraints.right_hand_side(x.dtype)
    size = constraints.magnitude(x) + jnp.abs(e)
    half = jnp.sqrt(jnp.finfo(x.dtype).eps)
    return jnp.all(jnp.abs(constraints.residual(x)) <= half * size)
