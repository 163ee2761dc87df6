"""`linear_operator_matrix`: the matrix of a linear map."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core import options
from cholax._core.dtypes import check_values
from cholax._core.errors import ArgumentError
from cholax._core.foreign import refuse_foreign_tree
from cholax._core.jax_compat import boundary
from cholax.linalg import SparseMatrix
from cholax.patterns import Pattern
from cholax.sparsediff import verify as verification
from cholax.sparsediff.coloring.columns import color_columns, color_rows
from cholax.sparsediff.compress import LinearMap, Reader, side
from cholax.sparsediff.derivative import CHUNK_BYTES
from cholax.sparsediff.detect import jacobian_pattern
from cholax.sparsediff.flatten import bind, flat_output
from cholax.sparsediff.sparsity import as_pattern

_WHERE = "linear_operator_matrix"


@boundary
def linear_operator_matrix(
    op: Callable[[Any], Any],
    x_like: Any,
    *,
    mode: str = "forward",
    sparsity: Any = None,
    verify: bool = True,
) -> jax.Array | SparseMatrix:
    """The matrix of a linear map, filled by applying the map or its adjoint to basis vectors.

    Without a pattern the matrix is dense: one application for every column, or of the adjoint
    for every row. With a pattern, columns (rows) that do not meet are found in one application,
    and the matrix is sparse.

    Args:
        op: a linear function of a pytree of arrays, returning one.
        x_like: an argument of `op`, or `jax.ShapeDtypeStruct`s of one; its values are not used.
        mode: `"forward"` applies `op`, which then need not be differentiable; `"reverse"` applies
            its adjoint (`jax.linear_transpose`), better for few rows.
        sparsity: None for a dense result; `"detect"` to detect the pattern; or a pattern, in any
            form `jacobian` takes.
        verify: compare the matrix with `op` on one random vector, and raise where they differ;
            under a transform, make the result NaN.

    Returns:
        `(m, n)` array without `sparsity`, else a `SparseMatrix`; over the flat leaves of the
        result and of the argument.

    Raises:
        ArgumentError: an unknown mode; an `op` that is not linear.
        SparsityError: the pattern misses an entry.

    Example:
        >>> import cholax as cx, jax.numpy as jnp
        >>> cx.linear_operator_matrix(jnp.cumsum, jnp.ones(3)).tolist()
        [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
        >>> D = cx.linear_operator_matrix(jnp.diff, jnp.ones(1000), sparsity="detect")
        >>> D.shape, D.nnz
        ((999, 1000), 1998)
    """
    options.function(op, _WHERE, "op")
    options.choice(mode, _WHERE, "mode", ("forward", "reverse"))
    options.flag(verify, _WHERE, "verify")
    zeros = _zeros_like(x_like)
    call = bind(op, 0, (zeros,), {}, has_aux=False, where=_WHERE)
    checked = flat_output(call.function, call.x.dtype, _WHERE)
    shape = jax.ShapeDtypeStruct(call.x.shape, call.x.dtype)

    def apply(v: jax.Array) -> jax.Array:
        return checked(v, ())[0]

    m = jax.eval_shape(apply, shape).size
    adjoint = _adjoint(apply, shape, m) if mode == "reverse" else None
    if sparsity is None:
        if adjoint:
            matrix = _dense(adjoint, m, shape.size, shape.dtype)
        else:
            matrix = _dense(apply, shape.size, m, shape.dtype).T
        return _verified_dense(apply, matrix) if verify else matrix
    if isinstance(sparsity, str) and sparsity == "detect":
        pattern = jacobian_pattern(apply, shape)
    else:
        pattern = as_pattern(sparsity, (m, shape.size), symmetric=False, where=_WHERE)
    return _sparse(apply, adjoint, pattern, shape.dtype, verify)


def _adjoint(apply: LinearMap, shape: jax.ShapeDtypeStruct, m: int) -> LinearMap:
    transposed = jax.linear_transpose(apply, shape)
    try:
        jax.eval_shape(transposed, jax.ShapeDtypeStruct((m,), shape.dtype))
    except NotImplementedError as error:
        raise ArgumentError(
            f'{_WHERE}: mode="reverse" needs a linear op that JAX can transpose: {error}. For the '
            "derivative of another function use cx.jacobian."
        ) from error
    return lambda w: transposed(w)[0]


def _zeros_like(x_like: Any) -> Any:
    where = f"{_WHERE}: x_like"
    if isinstance(x_like, int) or (isinstance(x_like, tuple) and _all_integers(x_like)):
        raise ArgumentError(
            f"{where} must be an argument of op, got {options.shown(x_like)}. For a shape pass "
            "jax.ShapeDtypeStruct(shape, dtype)."
        )
    arrays = [x for x in jax.tree.leaves(x_like) if not isinstance(x, jax.ShapeDtypeStruct)]
    refuse_foreign_tree(arrays, where)

    def zeros(leaf: Any) -> jax.Array:
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            leaf = jnp.asarray(leaf) if isinstance(leaf, float) else check_values(leaf, where)
        return jnp.zeros(leaf.shape, leaf.dtype)

    return jax.tree.map(zeros, x_like)


def _all_integers(sizes: tuple[Any, ...]) -> bool:
    return all(isinstance(size, int) for size in sizes)


def _dense(linear: LinearMap, count: int, length: int, dtype: np.dtype) -> jax.Array:
    """The images of `count` basis vectors, each of this length, as rows."""
    if count == 0:
        return jnp.zeros((0, length), dtype)
    most = max(1, CHUNK_BYTES // (dtype.itemsize * max(length, count)))
    basis = side(np.arange(count, dtype=np.int32), count, length, most)
    images = basis.products(linear, dtype, lambda block: block)
    return images.reshape(basis.chunks * basis.chunk, length)[:count]


def _verified_dense(apply: LinearMap, matrix: jax.Array) -> jax.Array:
    """The matrix, after a comparison with `op` on one random vector."""
    if 0 in matrix.shape:
        return matrix
    v = verification.probe(matrix.shape[1], matrix.dtype)
    true = apply(v)
    gap, scale = jnp.abs(true - matrix @ v), jnp.abs(true) + jnp.abs(matrix) @ jnp.abs(v)
    if isinstance(matrix, Tracer):
        return verification.poisoned(matrix, gap, scale)
    if verification.suspects(gap, scale)[0].size:
        _refuse_nonlinear(apply, v)
        _refuse_suspects(gap, scale)
    return matrix


def _refuse_nonlinear(apply: LinearMap, v: jax.Array) -> None:
    """Raise where op(−2v) is not −2 op(v), for maps with a constant, a sign or a power in them."""
    twice, back = 2 * apply(v), apply(-2 * v)
    gap, scale = jnp.abs(twice + back), jnp.abs(twice) + jnp.abs(back)
    worst, _ = verification.suspects(gap, scale)
    if worst.size:
        i = int(worst[0])
        raise ArgumentError(
            f"{_WHERE}: op must be linear, got one with op(−2v) = {float(back[i]):.3g} and "
            f"−2 op(v) = {-float(twice[i]):.3g} in row {i}, for a random v. For the derivative of "
            "a function use cx.jacobian; take op(0) away from an affine one."
        )


def _sparse(
    apply: LinearMap,
    adjoint: LinearMap | None,
    pattern: Pattern,
    dtype: np.dtype,
    verified: bool,
) -> SparseMatrix:
    coloring = color_rows(pattern) if adjoint else color_columns(pattern)
    most = max(1, CHUNK_BYTES // (dtype.itemsize * max(1, *pattern.shape)))
    values = Reader(pattern, coloring, (most, most))(apply, adjoint, dtype)
    if verified:
        gap, scale = verification.discrepancy(apply, values, pattern)
        if isinstance(values, Tracer):
            values = verification.poisoned(values, gap, scale)
        elif verification.suspects(gap, scale)[0].size:
            _refuse_nonlinear(apply, verification.probe(pattern.shape[1], dtype))
            _refuse_suspects(gap, scale)
    return SparseMatrix(values, pattern)


def _refuse_suspects(gap: jax.Array, scale: jax.Array) -> None:
    worst, _ = verification.suspects(gap, scale)
    if worst.size:
        i = int(worst[0])
        verification.refuse(
            _WHERE,
            f"row {i} times a random vector is off by {float(gap[i]):.3g}, at a scale of "
            f"{float(scale[i]):.3g}",
        )
