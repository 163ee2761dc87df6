"""Kullback–Leibler divergence between two fields on one plane."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from cholax._core import options
from cholax._core.dtypes import check_same_dtype
from cholax._core.errors import ShapeError, StructureError
from cholax.linalg.operations import quadratic_form, trace_product
from cholax.stats.constraints import products
from cholax.stats.constraints.rows import Rows

if TYPE_CHECKING:
    from cholax.stats.gmrf.gmrf import GMRF


def kl(p: "GMRF", q: "GMRF") -> jax.Array:
    """KL(p ‖ q) after checking that both live on one plane."""
    if not isinstance(q, type(p)):
        raise StructureError(f"kl: need another GMRF, got {options.shown(q)}.")
    check_same_dtype("kl", self=p.precision.values, other=q.precision.values)
    if p.n != q.n:
        raise ShapeError(f"kl: the fields must have one size, got {p.n} and {q.n} variables.")
    given = [None if field.constraints is None else field.constraints.rows for field in (p, q)]
    if not (_same(*given) and _same(p.plane_rows[1], q.plane_rows[1])):
        raise StructureError(
            "kl: the fields must live on one plane, with the same improper directions, got "
            f"{p!r} and {q!r} with constraints of different spans. The divergence does not exist."
        )
    return _kl(p, q)


def _same(one: Rows | None, other: Rows | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.span_equals(other)


@jax.jit
def _kl(p: "GMRF", q: "GMRF") -> jax.Array:
    covariance = p.covariance_on_pattern(q.precision.pattern)
    shift = p.mean - q.mean
    twice = (
        trace_product(q.precision, covariance)
        - p.rank
        + quadratic_form(q.precision, shift)
        + p.log_det()
        - q.log_det()
    )
    return jnp.where(_on_plane(p.mean, q.constraints), 0.5 * twice, jnp.inf)


def _on_plane(x: jax.Array, constraints: Any) -> Any:
    if constraints is None:
        return True
    e = constraints.right_hand_side(x.dtype)
    size = products.magnitude(constraints.rows, x) + jnp.abs(e)
    half = jnp.sqrt(jnp.finfo(x.dtype).eps)
    return jnp.all(jnp.abs(constraints.residual(x)) <= half * size)
