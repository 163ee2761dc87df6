"""`jacobian_pattern` and `hessian_pattern`: global sparsity patterns of flat functions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.errors import DtypeError, ShapeError
from cholax._core.jax_compat import eliminate_dead_code
from cholax.patterns import Pattern
from cholax.sparsediff.detect.interpreter import Interpreter, constant
from cholax.sparsediff.detect.rows import Rows, entries, identity, make_keys, split_keys
from cholax.sparsediff.detect.values import Coefficient


def jacobian_pattern(f: Callable[[jax.Array], jax.Array], x: Any) -> Pattern:
    """Which outputs of f depend on which inputs, to first order and at every point.

    The program of (x, t) ↦ ∂f(x) t is traced and interpreted with t's elements as the columns, so
    custom derivative rules, `stop_gradient` and integer casts count as in differentiation itself.
    Nothing is evaluated at x: the pattern holds for every x, and where indices are computed from x
    for all they can be.

    Args:
        f: from an array of shape (n,) to one of shape (m,). Arrays it closes over may be tracers
            of surrounding transformations.
        x: an array or `jax.ShapeDtypeStruct`; only its shape and dtype matter.

    Returns:
        The pattern of the m × n Jacobian. No entry that can be nonzero is missing.

    Raises:
        ShapeError: x or f(x) is not a vector.
        DtypeError: x is not of a floating type.
        PatternError: the pattern is too large to be called sparse.

    Warns:
        UnknownPrimitiveWarning: f uses a primitive that is taken to be dense.

    Example:
        >>> import jax.numpy as jnp
        >>> pattern = jacobian_pattern(lambda x: x[1:] * x[:-1], jnp.ones(4))
        >>> pattern.shape, pattern.rows.tolist(), pattern.columns.tolist()
        ((3, 4), [0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 3])

    Reference:
        Griewank & Walther, *Evaluating Derivatives* (2008), chapter 7.
    """
    aval = _input(x, "jacobian_pattern")
    rows = tangent_rows(f, aval)
    if len(rows.shape) != 1:
        raise ShapeError(
            f"jacobian_pattern: f must return a vector, got shape {rows.shape}. Flatten it with "
            "jax.flatten_util.ravel_pytree."
        )
    return _pattern(rows, (rows.size, aval.shape[0]))


def hessian_pattern(f: Callable[[jax.Array], jax.Array], x: Any) -> Pattern:
    """Which pairs of inputs have a second derivative of the scalar f.

    Args:
        f: from an array of shape (n,) to a scalar.
        x: an array or `jax.ShapeDtypeStruct`; only its shape and dtype matter.

    Returns:
        The symmetric pattern of the n × n Hessian: lower triangle, diagonal always present.

    Raises:
        ShapeError: x is not a vector or f(x) not a scalar.
        DtypeError: x is not of a floating type.
        PatternError: the pattern is too large to be called sparse.

    Warns:
        UnknownPrimitiveWarning: f uses a primitive that is taken to be dense.

    Example:
        >>> import jax.numpy as jnp
        >>> hessian_pattern(lambda x: jnp.sum(x[1:] * x[:-1]), jnp.ones(4))
        Pattern(shape=(4, 4), nnz=7, symmetric=True)
    """
    aval = _input(x, "hessian_pattern")
    out = jax.eval_shape(f, aval)
    if getattr(out, "shape", None) != ():
        raise ShapeError(
            f"hessian_pattern: f must return a scalar, got {out}. Reduce it, for instance with "
            "jax.numpy.sum, or use jacobian_pattern."
        )
    n = aval.shape[0]
    row, column = split_keys(entries(tangent_rows(jax.grad(f), aval)))
    line = np.arange(n)
    keys = make_keys(
        np.concatenate([np.minimum(row, column), line]),
        np.concatenate([np.maximum(row, column), line]),
    )
    return _from_keys(np.unique(keys), (n, n), symmetric=True)


def tangent_rows(f: Callable[[jax.Array], Any], x: jax.ShapeDtypeStruct) -> Rows:
    """The pattern of the tangent of f's one result, as the interpreter holds it."""

    def tangent(x: jax.Array, t: jax.Array) -> Any:
        return jax.jvp(f, (x,), (t,))[1]

    closed, shapes = jax.make_jaxpr(tangent, return_shape=True)(x, x)
    leaves = jax.tree.leaves(shapes)
    if len(leaves) != 1:
        raise ShapeError(f"detect: f must return one array, got {len(leaves)}. Flatten its result.")
    shape = tuple(leaves[0].shape)
    if leaves[0].dtype == jax.dtypes.float0:
        return Rows(shape)
    with jax.ensure_compile_time_eval():
        return interpret(closed, [Coefficient(x.shape), identity(x.shape)], x.size, shape)


def interpret(closed: Any, values: list[Any], columns: int, shape: tuple[int, ...]) -> Rows:
    """Run a traced tangent program with one result on given values of its inputs."""
    jaxpr, consts = eliminate_dead_code(closed, [True])
    interpreter = Interpreter(columns)
    (result,) = interpreter.run(jaxpr, [*map(constant, consts), *values])
    return result if isinstance(result, Rows) else Rows(shape)


def _input(x: Any, where: str) -> jax.ShapeDtypeStruct:
    shape, dtype = np.shape(x), getattr(x, "dtype", None)
    dtype = np.asarray(x).dtype if dtype is None else dtype
    if len(shape) != 1:
        raise ShapeError(
            f"{where}: x must be a vector, got shape {shape}. Flatten it with "
            "jax.flatten_util.ravel_pytree."
        )
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise DtypeError(
            f"{where}: x must be of a floating type, got {dtype}. Derivatives need real inputs."
        )
    return jax.ShapeDtypeStruct(shape, dtype)


def _pattern(rows: Rows, shape: tuple[int, int]) -> Pattern:
    if len(rows.terms) == 1 and rows.terms[0].base is None and rows.terms[0].partial is False:
        row, column = np.arange(rows.size), rows.terms[0].index
    else:
        row, column = split_keys(entries(rows))
    keys = make_keys(column, row)
    keys.sort()
    return _from_keys(keys, shape, symmetric=False)


def _from_keys(keys: np.ndarray, shape: tuple[int, int], *, symmetric: bool) -> Pattern:
    """The pattern of sorted keys column << 31 | row."""
    column, row = split_keys(keys)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=shape[1]))])
    return Pattern.trusted(shape, indptr.astype(np.int32), row.astype(np.int32), symmetric)
