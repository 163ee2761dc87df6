"""`bisect`: roots of scalar functions in brackets, any number of them at once, differentiable."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from cholax._core import options
from cholax._core.errors import ArgumentError, ShapeError
from cholax._core.failures import tolerant
from cholax._core.jax_compat import boundary
from cholax.implicit import status as codes
from cholax.implicit.status import Status, checked_limits, conclude, make_status
from cholax.implicit.system import System, layout, make_system, ravel
from cholax.implicit.theorem import elementwise_solution
from cholax.sparsediff.remembered import solved

# Mixtures of the two ends that tell coupled equations from independent ones.
MIXTURES = 3


class _State(NamedTuple):
    low: jax.Array
    high: jax.Array
    sign: jax.Array  # of F at the low end
    at_low: jax.Array  # |F| at the two ends
    at_high: jax.Array
    done: jax.Array
    finite: jax.Array
    steps: jax.Array


@boundary
@tolerant
def bisect(
    F: Callable[..., Any],
    lower: Any,
    upper: Any,
    *args: Any,
    tolerance: float | None = None,
    max_iterations: int | None = None,
    has_status: bool = False,
    throw: bool = False,
) -> Any:
    """Solve F(z, *args) = 0 for z between `lower` and `upper` by bisection, entry by entry.

    Every entry of z is a problem of its own: F must act elementwise, and its signs at the two ends
    must differ in each. dz_i = −(∂F_i/∂z_i)⁻¹ ∂F_i/∂θ dθ for all arguments and closed-over traced
    values θ, in both modes and to any order; the ends have no derivative.

    Args:
        F: elementwise function of z and the arguments.
        lower: one end, a scalar or an array; scalars are spread to the shape of F's result.
        upper: the other end; the two may be in either order.
        *args: parameters, any pytrees of arrays.
        tolerance: wanted width of the bracket relative to the larger end given; by default as
            narrow as the dtype resolves.
        max_iterations: most halvings; by default as many as the dtype can need.
        has_status: return `(z, Status)`, whose fields have the shape of z.
        throw: raise `ConvergenceError` where an entry has no bracket or is not narrow enough.

    Returns:
        z; NaN in the entries without a sign change, where F is NaN on the way, or where the sign
        changes at a pole. At a jump through zero z is the place of the jump.

    Raises:
        ArgumentError: an end that is not finite.
        ShapeError: F's result has another shape than z.
        ConvergenceError: with `throw`.

    Example:
        >>> import jax, jax.numpy as jnp, cholax.implicit as ci
        >>> def f(a):
        ...     return ci.bisect(lambda z, a: a * z**3 - z - 2.0, 0.0, 3.0, a)
        >>> f(jnp.array([1.0, 2.0])).round(4).tolist()
        [1.52..., 1.16...]
        >>> round(float(jax.grad(f)(2.0)), 5)
        -0.2214
    """
    tolerance, max_iterations = checked_limits(
        tolerance, max_iterations, "bisect", has_status, throw
    )
    options.function(F, "bisect", "F")
    low, high = _ends(F, lower, upper, args)
    start, unravel = ravel(low, "bisect")

    def solve(F: Any, ends: Any, args: Sequence[Any]) -> tuple[jax.Array, Status]:
        system = make_system(F, ends[0], unravel, args, "bisect")
        _check_shape(system, low.shape)

        def iterate(ends: Any, theta: Sequence[Any]) -> Any:
            return _bisect(
                lambda z: system.function(z, *theta), ends[0], ends[1], tolerance, max_iterations
            )

        return elementwise_solution(iterate, system.function, ends, system.theta)

    ends = (start, ravel(high, "bisect")[0])
    z, status = solved(solve, F, ends, args, ("bisect", tolerance, max_iterations, layout(low)))
    status = Status(*(x.reshape(low.shape) for x in status))
    return conclude(unravel(z), status, "bisect", has_status, throw)


def _ends(F: Any, lower: Any, upper: Any, args: Any) -> tuple[jax.Array, jax.Array]:
    flats = [ravel(end, "bisect") for end in (lower, upper)]
    try:
        low, high = (jnp.asarray(unravel(flat)) for flat, unravel in flats)
    except (TypeError, ValueError):
        raise ShapeError(
            "bisect: the ends must be numbers or arrays, got other containers. Use one array."
        ) from None
    for name, end in (("lower", low), ("upper", high)):
        if not isinstance(end, Tracer) and not np.all(np.isfinite(end)):
            raise ArgumentError(
                f"bisect: the ends must be finite, got {name} = {end}. "
                "Map the line to an interval, z = tan(t), or widen the bracket step by step."
            )
    dtype = jnp.promote_types(low.dtype, high.dtype)
    low, high = jnp.broadcast_arrays(low.astype(dtype), high.astype(dtype))
    out = jax.eval_shape(lambda z: F(z, *args), low)
    shape = np.broadcast_shapes(low.shape, getattr(out, "shape", low.shape))
    return jnp.broadcast_to(low, shape), jnp.broadcast_to(high, shape)


def _check_shape(system: System, shape: tuple[int, ...]) -> None:
    out = jax.eval_shape(system.function, system.start, *system.theta)
    if out.shape != (system.n,):
        raise ShapeError(
            f"bisect: F must act elementwise, got {out.size} results for z of shape {shape}. "
            "For coupled equations use cx.root."
        )


def _bisect(
    F: Callable[[jax.Array], jax.Array],
    low: jax.Array,
    high: jax.Array,
    tolerance: float | None,
    max_iterations: int | None,
) -> tuple[jax.Array, Status]:
    eps = float(jnp.finfo(low.dtype).eps)
    f_low, f_high = F(low), F(high)
    scale = jnp.maximum(jnp.abs(low), jnp.abs(high))
    # A root at zero would be chased down to the smallest number there is: stop at eps² of the ends.
    width = (0.0 if tolerance is None else tolerance) * scale + eps**2 * scale
    steps = 4 - 3 * int(np.log2(eps)) if max_iterations is None else max_iterations

    def body(s: _State) -> _State:
        middle = s.low + (s.high - s.low) / 2
        f = F(middle)
        left = jnp.sign(f) == s.sign
        keep_low, keep_high = s.done | ~(left | (f == 0)), s.done | left
        low, high = jnp.where(keep_low, s.low, middle), jnp.where(keep_high, s.high, middle)
        at_low = jnp.where(keep_low, s.at_low, jnp.abs(f))
        at_high = jnp.where(keep_high, s.at_high, jnp.abs(f))
        spread = jnp.abs(high - low)
        narrow = (spread <= width) | (spread <= 2 * eps * jnp.maximum(jnp.abs(low), jnp.abs(high)))
        finite = s.finite & (s.done | ~jnp.isnan(f))
        done, steps = s.done | narrow | ~finite, s.steps + ~s.done
        return _State(low, high, s.sign, at_low, at_high, done, finite, steps)

    at_low, at_high = f_low == 0, f_high == 0
    bracket = jnp.sign(f_low) * jnp.sign(f_high) <= 0
    first = _State(
        jnp.where(at_high & ~at_low, high, low),
        jnp.where(at_low, low, high),
        jnp.sign(f_low),
        jnp.abs(f_low),
        jnp.abs(f_high),
        at_low | at_high | ~bracket,
        jnp.isfinite(low + high) & ~jnp.isnan(f_low + f_high),
        jnp.zeros(low.shape, jnp.int32),
    )
    last = lax.while_loop(
        lambda s: ~jnp.all(s.done) & (jnp.max(s.steps, initial=0) < steps), body, first
    )
    z = last.low + (last.high - last.low) / 2
    code = jnp.where(last.done, codes.CONVERGED, codes.RUNNING)
    code = jnp.where(bracket, code, codes.NO_BRACKET)
    code = jnp.where(last.finite, code, codes.NOT_FINITE)
    code = jnp.where(_coupled(F, low, high, f_low, f_high), codes.NOT_ELEMENTWISE, code)
    residual, error = jnp.abs(F(z)), jnp.abs(last.high - last.low) / 2
    # A continuous F falls towards its root; one that has grown changes its sign through infinity.
    smallest = jnp.minimum(jnp.minimum(last.at_low, last.at_high), residual)
    grown = smallest > jnp.maximum(jnp.abs(f_low), jnp.abs(f_high))
    code = jnp.where((code == codes.CONVERGED) & grown, codes.POLE, code)
    code = jnp.where((code == codes.CONVERGED) & jnp.isnan(residual), codes.NOT_FINITE, code)
    status = make_status(code, last.steps, residual, error)
    status = Status(*(jnp.broadcast_to(x, z.shape) for x in status))
    # Where F is not finite inside the bracket, an end at which it is: see `elementwise_solution`.
    end = jnp.where(jnp.isfinite(f_low), low, high)
    return jnp.where(jnp.isfinite(residual) & last.finite, z, end), status


def _coupled(
    F: Any, low: jax.Array, high: jax.Array, f_low: jax.Array, f_high: jax.Array
) -> jax.Array:
    """Whether F at a mixture of the ends is not the mixture of F at the ends."""
    if low.size < 2:
        return jnp.array(False)
    masks = np.random.default_rng(0).random((MIXTURES, low.size)) < 0.5
    got = jax.vmap(lambda mask: F(jnp.where(mask, low, high)))(jnp.asarray(masks))
    want = jnp.where(masks, f_low, f_high)
    slack = jnp.sqrt(jnp.finfo(low.dtype).eps) * (jnp.abs(f_low) + jnp.abs(f_high))
    return jnp.any((jnp.abs(got - want) > slack) & jnp.isfinite(want))
