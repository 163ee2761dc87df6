"""Checking derivative rules against finite differences that carry error bars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from cholax._core.errors import ArgumentError, CholaxError
from cholax._core.jax_compat import boundary
from cholax._core.norms import max_norm
from cholax.numdiff.directional import along, frame
from cholax.numdiff.rules import rule

MODES = ("jvp", "vjp", "jvp_of_vjp", "vjp_of_vjp")
# Error bars a derivative may be away from the difference: the bars held the truth within 3 times
# their size for all of 8000 random functions (bench_finite_differences.py).
_BARS = 10.0
# Widest error bar, relative to the derivative, that still says something.
_RESOLUTION = {"float64": 1e-5, "float32": 0.05, "float16": 0.2, "bfloat16": 0.3}


class WrongDerivativeError(CholaxError, AssertionError):
    """A derivative differs from finite differences by more than their error."""


class InconclusiveError(CholaxError, AssertionError):
    """Finite differences are too inaccurate here to confirm or refute a derivative."""


class Comparison(NamedTuple):
    """One derivative against its finite difference, in the largest entry of their difference."""

    mode: str
    leaf: str
    result: str
    derivative: float
    difference: float
    error: float


@dataclass(frozen=True)
class Report:
    """What `check_derivatives` compared."""

    comparisons: tuple[Comparison, ...]

    @property
    def worst(self) -> Comparison:
        """The comparison nearest to failing, by its error bar."""
        return max(
            self.comparisons,
            key=lambda c: abs(c.derivative - c.difference) / max(c.error, 1e-300),
        )


@boundary
def check_derivatives(
    f: Callable[..., Any],
    args: Sequence[Any],
    *,
    order: int = 2,
    modes: Sequence[str] | None = None,
    rtol: float | None = None,
    resolution: float | None = None,
    scale: Any = None,
    bounds: Any = None,
    seed: int = 0,
) -> Report:
    """Check the derivatives of f at args against adaptive finite differences, leaf by leaf.

    Along a random direction v in each floating leaf, and with a random cotangent u:

        jvp          J v against the difference of f
        vjp          ⟨Jᵀu, v⟩ against ⟨u, difference⟩
        jvp_of_vjp   the tangent of x ↦ Jᵀu against the difference of x ↦ Jᵀu
        vjp_of_vjp   its cotangent, likewise
        adjoint      ⟨Jᵀu, v⟩ = ⟨u, Jv⟩, whenever jvp and vjp are both checked

    A derivative fails when it is further from the difference than its error bars and rounding
    allow. It does not pass when the bars are too wide to tell: that raises as well.

    Everything is evaluated in float64 if JAX has it enabled and f returns float64 for it: rules
    are the same in all formats, differences are not. Otherwise the bars are those of the format.

    Args:
        f: any JAX function of pytrees.
        args: its arguments. Leaves that are not floating-point stay fixed.
        order: 1, or 2 to check second derivatives too.
        modes: which of the above; by default all of the order. Functions with `custom_vjp` have
            no jvp: pass `("vjp", "vjp_of_vjp")`.
        rtol: rounding of the derivative itself, relative to its largest entry; by default a
            tenth of the square root of the format's spacing (1.5e-9 in float64).
        resolution: widest acceptable error bar, relative to the derivative; 1e-5 in float64,
            0.05 in float32.
        scale: typical size of the arguments, as for `cx.finite_difference.derivative`, one number
            or a list like args.
        bounds: as there.
        seed: of the random directions.

    Returns:
        A `Report` of all comparisons.

    Raises:
        ArgumentError: an unknown mode, or no floating leaf.
        InconclusiveError: bars too wide (noise, a kink, a jump, values outside the domain).
        WrongDerivativeError: naming the mode, the leaf and both numbers.

    Example:
        >>> import cholax as cx, jax, jax.numpy as jnp
        >>> jax.config.update("jax_enable_x64", True)
        >>> from cholax.testing.derivatives import check_derivatives
        >>> report = check_derivatives(lambda p: jnp.sin(p["a"]) * p["b"], [{"a": 0.3, "b": 2.0}])
        >>> len(report.comparisons)
        10
        >>> @jax.custom_jvp
        ... def wrong(x):
        ...     return x**3
        >>> _ = wrong.defjvp(lambda x, t: (x[0] ** 3, 3.00001 * x[0] ** 2 * t[0]))
        >>> check_derivatives(wrong, [2.0], order=1)
        Traceback (most recent call last):
        cholax.testing.derivatives.WrongDerivativeError: ...
    """
    chosen = _modes(modes, order)
    problem = _problem(f, args, seed)
    comparisons = []
    for leaf in problem.leaves:
        comparisons += _first_order(problem, leaf, chosen, scale, bounds)
        comparisons += _second_order(problem, leaf, chosen, scale, bounds)
    report = Report(tuple(c.comparison for c in comparisons))
    for checked in comparisons:
        _judge(checked, problem.dtype, rtol, resolution)
    return report


def _modes(modes: Sequence[str] | None, order: int) -> tuple[str, ...]:
    if order not in (1, 2):
        raise ArgumentError(f"check_derivatives: order must be 1 or 2, got {order!r}. Nest f.")
    if modes is None:
        return MODES[:2] if order == 1 else MODES
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown:
        raise ArgumentError(
            f"check_derivatives: modes must be among {', '.join(MODES)}, got {unknown}. "
            "Leave modes out for all of them."
        )
    return tuple(modes)


class _Leaf(NamedTuple):
    """One floating leaf: its name, its values, and a direction."""

    place: int
    name: str
    value: jax.Array
    direction: jax.Array


class _Problem(NamedTuple):
    """f as a function of one leaf, the others fixed, with a flat result."""

    of: Callable[[int], Callable[[jax.Array], jax.Array]]
    leaves: list[_Leaf]
    result: list[tuple[str, int]]
    """Name and size of each leaf of the result."""
    cotangent: jax.Array
    dtype: Any


def _is_floating(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def _problem(f: Callable[..., Any], args: Sequence[Any], seed: int) -> _Problem:
    args = _in_double(f, tuple(args))
    paths, treedef = jax.tree_util.tree_flatten_with_path(args)
    values = [jnp.asarray(leaf) for _, leaf in paths]
    random = np.random.default_rng(seed)

    def of(index: int) -> Callable[[jax.Array], jax.Array]:
        def single(leaf: jax.Array) -> jax.Array:
            leaves = [*values[:index], leaf, *values[index + 1 :]]
            out = jax.tree.leaves(f(*treedef.unflatten(leaves)))
            return ravel_pytree([part for part in out if _is_floating(part)])[0]

        return single

    leaves = [
        _Leaf(k, f"args{jax.tree_util.keystr(path)}", value, _direction(value, random))
        for k, ((path, _), value) in enumerate(zip(paths, values, strict=True))
        if _is_floating(value) and value.size
    ]
    if not leaves:
        raise ArgumentError(
            "check_derivatives: need an argument with a floating-point leaf, got none. "
            "Pass args as a list of the arguments of f."
        )
    out = jax.tree_util.tree_flatten_with_path(jax.eval_shape(f, *args))[0]
    out = [(f"result{jax.tree_util.keystr(p)}", leaf) for p, leaf in out if _is_floating(leaf)]
    names = [(name, int(np.prod(leaf.shape))) for name, leaf in out]
    dtype = jnp.result_type(*[leaf for _, leaf in out], *[leaf.value for leaf in leaves])
    coarse = max((leaf.dtype for _, leaf in out), key=lambda d: float(jnp.finfo(d).eps))
    size = sum(size for _, size in names)
    cotangent = jnp.asarray(random.uniform(0.5, 1.5, size) * random.choice([-1, 1], size), dtype)
    return _Problem(of, leaves, names, cotangent, coarse)


def _direction(value: jax.Array, random: np.random.Generator) -> jax.Array:
    # No component near 0: an error in any entry has to show.
    sizes = random.uniform(0.5, 1.5, value.shape) * random.choice([-1, 1], value.shape)
    return jnp.asarray(sizes, value.dtype)


def _in_double(f: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments in float64 where f then returns float64, else unchanged."""
    if jnp.zeros(0, float).dtype != jnp.float64:
        return args
    double = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.float64) if _is_floating(leaf) else leaf, args
    )
    try:
        out = [leaf for leaf in jax.tree.leaves(jax.eval_shape(f, *double)) if _is_floating(leaf)]
    except Exception:
        # Functions may refuse float64 by any error of theirs; then they are checked as they are.
        return args
    return double if all(leaf.dtype == jnp.float64 for leaf in out) else args


class _Checked(NamedTuple):
    """A comparison with what decides it."""

    comparison: Comparison
    size: float
    """Largest entry involved, or how much f varies: what error bars are measured by."""
    rounding: float
    """Largest entry that the derivative's own rounding is measured by."""
    exact: bool
    """f did not change at all and the derivative is zero."""


def _first_order(
    problem: _Problem, leaf: _Leaf, modes: Sequence[str], scale: Any, bounds: Any
) -> list[_Checked]:
    if "jvp" not in modes and "vjp" not in modes:
        return []
    f, u, v = problem.of(leaf.place), problem.cotangent, leaf.direction
    estimate = _difference(f, leaf, scale, bounds)
    checked: list[_Checked] = []
    # The bars of the difference hold for the adjoint too: they show in what format f computes.
    by_rule = None
    if "jvp" in modes:
        forward = jax.jvp(f, (leaf.value,), (v,))[1]
        checked += _by_result(problem.result, leaf, "jvp", forward, estimate)
        by_rule = estimate._replace(value=np.asarray(forward, float))
    if "vjp" in modes:
        backward = np.asarray(_pullback(f, leaf.value, u) * v, float)
        checked.append(_adjoint("vjp", leaf, u, backward, estimate))
        if by_rule is not None:
            checked.append(_adjoint("adjoint", leaf, u, backward, by_rule))
    return checked


def _second_order(
    problem: _Problem, leaf: _Leaf, modes: Sequence[str], scale: Any, bounds: Any
) -> list[_Checked]:
    if "jvp_of_vjp" not in modes and "vjp_of_vjp" not in modes:
        return []
    f, u, v = problem.of(leaf.place), problem.cotangent, leaf.direction

    def pulled(x: jax.Array) -> jax.Array:
        return jnp.ravel(_pullback(f, x, u))

    estimate = _difference(pulled, leaf, scale, bounds)
    names = [(leaf.name, leaf.value.size)]
    checked = []
    if "jvp_of_vjp" in modes:
        derivative = jax.jvp(pulled, (leaf.value,), (v,))[1]
        checked += _by_result(names, leaf, "jvp_of_vjp", derivative, estimate)
    if "vjp_of_vjp" in modes:
        # The Hessian of ⟨u, f⟩ is symmetric, so its transpose times v is the same vector.
        derivative = jnp.ravel(_pullback(pulled, leaf.value, jnp.ravel(v)))
        checked += _by_result(names, leaf, "vjp_of_vjp", derivative, estimate)
    return checked


def _pullback(f: Callable[..., Any], x: jax.Array, u: jax.Array) -> jax.Array:
    out, pull = jax.vjp(f, x)
    return pull(u.astype(out.dtype))[0]


class _Difference(NamedTuple):
    value: np.ndarray
    error: np.ndarray
    variation: np.ndarray


def _difference(f: Callable[..., Any], leaf: _Leaf, scale: Any, bounds: Any) -> _Difference:
    """The derivative along the leaf's direction, by the adaptive rule."""
    out = jax.eval_shape(f, leaf.value)
    eps = max(float(jnp.finfo(d).eps) for d in (leaf.value.dtype, out.dtype))
    shape = leaf.value.shape
    evaluate = jax.jit(jax.vmap(lambda point: f(point.reshape(shape))))
    pick = _picked(leaf.place)
    at = frame(
        leaf.value,
        jnp.ravel(leaf.value),
        eps,
        scale=pick(scale),
        step=None,
        bounds=None if bounds is None else tuple(pick(bound) for bound in bounds),
        adaptive=True,
        where="check_derivatives",
    )
    # Differences are taken in units of the scale, so the direction must be too.
    seed = jnp.ravel(leaf.direction) / at.scale
    unit = max_norm(seed)
    estimate, d = along(evaluate, at, seed / unit, rule("adaptive", eps, None))
    # Near a bound a component may be moved the other way; then there is no difference along v.
    same = jnp.all(jnp.sign(d) == jnp.sign(jnp.ravel(leaf.direction)))
    error = jnp.where(same, estimate.error, jnp.inf)
    return _Difference(*(np.asarray(q * unit, float) for q in (estimate.value, error, estimate[2])))


def _picked(index: int) -> Callable[[Any], Any]:
    return lambda spec: jax.tree.leaves(spec)[index] if len(jax.tree.leaves(spec)) > 1 else spec


def _by_result(
    names: list[tuple[str, int]],
    leaf: _Leaf,
    mode: str,
    derivative: jax.Array,
    estimate: _Difference,
) -> list[_Checked]:
    """One comparison per leaf of the result, in its worst entry."""
    checked, start = [], 0
    for name, size in names:
        part = slice(start, start + size)
        start += size
        if size:
            got = np.asarray(derivative, float)[part]
            bars = _Difference(*(q[part] for q in estimate))
            checked.append(_worst(mode, leaf.name, name, got, bars))
    return checked


def _worst(mode: str, leaf: str, result: str, got: np.ndarray, bars: _Difference) -> _Checked:
    off = np.abs(got - bars.value)
    # An entry without any estimate is the worst; NaN on both sides is one, too.
    doubt = np.where(np.isfinite(off), off - _BARS * bars.error, np.inf)
    k = int(np.argmax(doubt))
    finite = np.isfinite(bars.error)
    size = max(
        np.max(np.abs(got)),
        np.max(np.abs(bars.value), where=finite, initial=0),
        np.max(bars.variation),
    )
    comparison = Comparison(
        mode, leaf, result, float(got[k]), float(bars.value[k]), float(np.max(bars.error))
    )
    exact = bool(np.all(got == 0) and np.all(bars.value == 0) and np.all(bars.variation == 0))
    rounding = float(np.max(np.abs(got)))
    return _Checked(comparison, float(size), rounding, exact)


def _adjoint(
    mode: str, leaf: _Leaf, cotangent: jax.Array, backward: np.ndarray, estimate: _Difference
) -> _Checked:
    """⟨Jᵀu, v⟩, given as the products of its terms, against ⟨u, Jv⟩."""
    u = np.asarray(cotangent, float)
    forward = u * estimate.value
    sizes = [np.sum(np.abs(part)) for part in (backward, forward, u * estimate.variation)]
    comparison = Comparison(
        mode,
        leaf.name,
        "⟨u, result⟩",
        float(np.sum(backward)),
        float(np.sum(forward)),
        float(np.sum(np.abs(u) * estimate.error)),
    )
    return _Checked(comparison, float(max(sizes)), float(sizes[0]), not any(sizes))


def _judge(checked: _Checked, dtype: Any, rtol: float | None, resolution: float | None) -> None:
    c = checked.comparison
    eps = float(jnp.finfo(dtype).eps)
    allowed: float = 0.1 * eps**0.5 if rtol is None else rtol
    resolution = _RESOLUTION[jnp.dtype(dtype).name] if resolution is None else resolution
    what = (
        f"check_derivatives: {c.mode} with respect to {c.leaf} of {c.result}: derivative "
        f"{c.derivative:.10g}, finite difference {c.difference:.10g} ± {c.error:.1g}"
    )
    off = abs(c.derivative - c.difference)
    if np.isfinite(off) and off > _BARS * c.error + allowed * checked.rounding:
        raise WrongDerivativeError(f"{what}. They must agree: correct the rule.")
    wide = not c.error <= resolution * checked.size
    if not np.isfinite(off) or (wide and not checked.exact):
        raise InconclusiveError(
            f"{what}. That cannot tell: the function is noisy, not smooth or not finite near the "
            f"point, or its format ({jnp.dtype(dtype).name}) too coarse. Take another point, pass "
            "scale= or bounds=, or a larger resolution= knowingly."
        )
