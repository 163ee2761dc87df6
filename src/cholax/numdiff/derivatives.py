"""Derivative, gradient and dense Jacobian by finite differences."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cholax._core.errors import ShapeError
from cholax.numdiff.complex_step import refuse_disagreement
from cholax.numdiff.engine import Difference, Options, nest
from cholax.numdiff.evaluate import unraveler


def derivative(
    f: Callable[..., Any],
    method: str = "adaptive",
    *,
    step: float | None = None,
    scale: Any = None,
    bounds: Any = None,
    with_error: bool = False,
    evaluate: str = "auto",
    result: Any = None,
) -> Difference:
    """Derivative of f(x, *args) with respect to a scalar x.

    The default, `"adaptive"`, samples f on a ladder of steps, extrapolates to the orders 2, 4 and
    6, and takes the estimate with the smallest error bar among those that agree with all smaller
    steps. It takes 19 evaluations in float64 (15 in float32) where f is smooth on the scale of x
    and three far smaller steps confirm it, and 45 (29) elsewhere and inside `jit`. NaN, with error
    inf, means that no step was trustworthy. The others are fixed rules: cheap, and wrong without
    notice where f has another scale than x.

    | method | evaluations | step |
    |---|---|---|
    | `"forward"` | 2 | ε^(1/2) |
    | `"central"` | 2 | ε^(1/3) |
    | `"five_point"` | 4 | ε^(1/5) |
    | `"richardson"` | 10 | from ε^(1/12), four halvings |
    | `"complex"` | 1, and the adaptive ladder as a guard | ε² |
    | `"adaptive"` | 19 or 45 | a ladder from 1/2 to ε^0.82 |

    with ε of the coarser of the formats of x and f(x). The five-point rule is
    (f(x−2h) − 8f(x−h) + 8f(x+h) − f(x+2h)) / 12h.

    Args:
        f: the function; its result may be any pytree of real floating arrays.
        method: one of the above.
        step: replaces the (largest) step, in units of `scale`; of 1 when no scale is given.
        scale: typical size of x, one number or a pytree like x. By default max(|x|, 1), rounded
            to a power of two; where x is tiny but not 0, half of the ladder lies below 2|x|.
        bounds: `(lower, upper)`, each None, one number or a pytree like x. f is never called
            outside; near a bound the stencil turns one-sided.
        with_error: return `(value, error)`. The true error was below 1.1 times the estimate for
            99 % of 8000 random functions and below 3 times for all (bench_finite_differences.py).
        evaluate: `"vmap"`, `"sequential"` (less memory), `"host"` for functions that JAX cannot
            trace (NumPy code, compiled code), or `"auto"`: vmap where f can be traced, else host.
        result: shapes and dtypes of a host function's result, for use inside `jit`.

    Returns:
        A callable `(x, *args)`; its result has the structure of f's.

    Raises:
        ArgumentError: an unknown option; `"complex"` for a function that is not holomorphic
            (inside `jit`: NaN).
        DtypeError: x or the result is not real floating-point.
        ShapeError: x is not a scalar.
        UnsupportedError: `"complex"` for a function that refuses complex numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> jax.config.update("jax_enable_x64", True)
        >>> from cholax import numdiff
        >>> value, error = numdiff.derivative(jnp.sin, with_error=True)(0.5)
        >>> bool(abs(value - jnp.cos(0.5)) <= error), bool(error < 1e-11)
        (True, True)

    References:
        Fornberg (1981), ACM TOMS 7; Squire & Trapp (1998), SIAM Review 40; Lepski (1990), Theory
        Probab. Appl. 35; Moré & Wild (2011), SIAM J. Sci. Comput. 33 (noise).
    """
    options = Options(
        "finite_difference.derivative",
        method,
        step=step,
        scale=scale,
        bounds=bounds,
        with_error=with_error,
        evaluate=evaluate,
        result=result,
    )
    return Difference(f, options, _derivative, finish)


def _derivative(difference: Difference, x: Any, args: Any) -> Any:
    where = difference.options.where
    leaves = jax.tree.leaves(x)
    if len(leaves) != 1 or jnp.shape(leaves[0]) != ():
        raise ShapeError(
            f"{where}: x must be one scalar, got shapes {[jnp.shape(leaf) for leaf in leaves]}. "
            "Use gradient or jacobian, or jax.vmap for a function of every entry."
        )
    flat, at = difference.flat(x, args)
    value, error = dense(difference, flat, at)
    return packed(difference, value[:, 0], error[:, 0], unraveler(flat.out))


def gradient(
    f: Callable[..., Any],
    method: str = "adaptive",
    *,
    step: float | None = None,
    scale: Any = None,
    bounds: Any = None,
    with_error: bool = False,
    evaluate: str = "auto",
    result: Any = None,
) -> Difference:
    """Gradient of a scalar f(x, *args) with respect to a pytree x.

    Every entry takes the evaluations listed under `derivative`, whose options these are.

    Returns:
        A callable `(x, *args)`; its result has the structure of x, twice `with_error`.

    Raises:
        ShapeError: the result of f is not a scalar.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> jax.config.update("jax_enable_x64", True)
        >>> from cholax import numdiff
        >>> energy = lambda p: 0.5 * np.dot(p["x"], p["x"]) + float(p["y"]) ** 3  # NumPy code
        >>> g = numdiff.gradient(energy)({"x": jnp.array([1.0, 2.0]), "y": jnp.array(2.0)})
        >>> [round(float(v), 9) for v in (*g["x"], g["y"])]
        [1.0, 2.0, 12.0]
    """
    options = Options(
        "finite_difference.gradient",
        method,
        step=step,
        scale=scale,
        bounds=bounds,
        with_error=with_error,
        evaluate=evaluate,
        result=result,
    )
    return Difference(f, options, _gradient, finish)


def _gradient(difference: Difference, x: Any, args: Any) -> Any:
    flat, at = difference.flat(x, args)
    require_scalar(flat.out, difference.options.where)
    value, error = dense(difference, flat, at)
    return packed(difference, value[0], error[0], unraveler(x))


def require_scalar(out: Any, where: str) -> None:
    """Raise `ShapeError` unless a result is one scalar."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(out)]
    if shapes != [()]:
        raise ShapeError(f"{where}: f must return one scalar, got shapes {shapes}. Use jacobian.")


def dense(difference: Difference, flat: Any, at: Any) -> tuple[jax.Array, jax.Array]:
    """The (m, n) Jacobian and its error bars, one direction per component of x."""
    estimate, sign = difference.along_components(flat, at)
    return (estimate.value / sign[:, None]).T, (estimate.error / jnp.abs(sign)[:, None]).T


def dense_jacobian(difference: Difference, x: Any, args: Any) -> Any:
    """The `compute` of a Jacobian without known sparsity."""
    flat, at = difference.flat(x, args)
    value, error = dense(difference, flat, at)
    return packed(difference, value, error, lambda v: nest(v, x, flat.out))


def packed(difference: Difference, value: Any, error: Any, unpack: Callable[..., Any]) -> Any:
    """The result, or the pair with its error, in the caller's structure."""
    if difference.options.with_error:
        return unpack(value), unpack(error)
    return unpack(value)


def finish(difference: Difference, result: Any, x: Any, args: Any) -> Any:
    """Raise where an eager complex step was refused; NaN for other reasons stays a value."""
    if difference.options.method == "complex":
        refuse_disagreement(result, lambda: difference.f(x, *args), difference.options.where)
    return result
