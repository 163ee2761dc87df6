"""A x for values on a pattern (half-stored where symmetric), and its transpose in the values.

`matvec`: Y = A X or Aᵀ X, X of shape (columns, k);  `outer_on_pattern`: Σ_c x_ic y_jc on the
pattern, both mirror entries summed where the pattern is symmetric.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from cholax.patterns import algebra
from cholax.primitives._define import Kind, Operand, define
from cholax.primitives._dependence import Entries, Pairs
from cholax.primitives._structures import Csc


def _dense(csc: Csc, values: Any) -> Any:
    pattern = csc.pattern
    lower = jnp.zeros(pattern.shape, values.dtype).at[pattern.rows, pattern.columns].add(values)
    return lower + jnp.tril(lower, -1).T if pattern.symmetric else lower


def _matvec_specification(csc: Csc, values: Any, x: Any, *, transpose: bool) -> Any:
    matrix = _dense(csc, values)
    return (matrix.T if transpose else matrix) @ x


def _outer_specification(csc: Csc, x: Any, y: Any) -> Any:
    pattern = csc.pattern
    product = x @ y.T
    values = product[pattern.rows, pattern.columns]
    if pattern.symmetric:
        mirrored = product[pattern.columns, pattern.rows]
        values = values + jnp.where(pattern.rows == pattern.columns, 0, mirrored)
    return values


def _entries(csc: Csc) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and value positions of all entries, mirrored ones included."""
    full, source = algebra.expand(csc.pattern)
    return full.rows, full.columns, source


def _matvec_pairs(csc: Csc, name: str, params: Any) -> Pairs:
    rows, columns, position = _entries(csc)
    if params["transpose"]:
        rows, columns = columns, rows
    return rows, position if name == "values" else columns


def _outer_pairs(csc: Csc, name: str, params: Any) -> Pairs:
    del params
    rows, columns, position = _entries(csc)
    return position, rows if name == "x" else columns


def _matvec_results(csc: Any, values: Any, x: Any, *, transpose: bool) -> Any:
    rows, columns = csc.shape
    return [((columns if transpose else rows, x[1]), None)]


_matvec = define(
    "matvec",
    operands=(Operand("values", Kind.LINEAR, 1), Operand("x", Kind.LINEAR, 2)),
    results=_matvec_results,
    transposes={
        "values": lambda ref, ct, x, *, transpose: (
            outer_on_pattern(ref, x, ct) if transpose else outer_on_pattern(ref, ct, x)
        ),
        "x": lambda ref, ct, values, *, transpose: _matvec(
            ref, values, ct, transpose=not transpose
        ),
    },
    dependence=Entries(_matvec_pairs),
    specification=_matvec_specification,
    params=("transpose",),
)

outer_on_pattern = define(
    "outer_on_pattern",
    operands=(Operand("x", Kind.LINEAR, 2), Operand("y", Kind.LINEAR, 2)),
    results=lambda csc, x, y: [((csc.nnz,), None)],
    transposes={
        "x": lambda ref, ct, y: matvec(ref, ct, y, transpose=False),
        "y": lambda ref, ct, x: matvec(ref, ct, x, transpose=True),
    },
    dependence=Entries(_outer_pairs),
    specification=_outer_specification,
)


def matvec(pattern: Any, values: Any, x: Any, transpose: bool = False) -> Any:
    """Y = A X for X of shape (columns, k), or Aᵀ X for X of shape (rows, k)."""
    return _matvec(pattern, values, x, transpose=transpose)
