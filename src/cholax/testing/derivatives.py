"""Checking derivative rules against finite differences that carry error bars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core import options
from cholax._core.errors import ArgumentError
from cholax._core.foreign import refuse_foreign
from cholax._core.jax_compat import boundary
from cholax.testing.differences import Difference, difference, size
from cholax.testing.problem import (
    Leaf,
    Problem,
    direction,
    in_double,
    on_real_leaves,
    per_real_leaf,
    problem,
)
from cholax.testing.verdicts import (
    Bars,
    Checked,
    Comparison,
    bars_of,
    better,
    by_entry,
    by_sum,
    judge,
)
from cholax.testing.verdicts import InconclusiveError as InconclusiveError
from cholax.testing.verdicts import WrongDerivativeError as WrongDerivativeError

MODES = ("jvp", "vjp", "jvp_of_vjp", "vjp_of_vjp")


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
    allow. It does not pass when the bars are too wide to tell: that raises as well. Every entry of
    the result is held to its own size, be it 1e-300 beside 1e300: u weighs them equally. An entry
    of derivative 0 is measured by the slope of f beside the point. Entries of an argument whose
    influence is below rounding beside that of others do not show.

    The jvp and vjp are compared under `jax.vmap` too, where they work there. Complex leaves count
    as two real ones, `['real']` and `['imag']`.

    Everything is evaluated in float64 if JAX has it enabled and f returns float64 for it:
    differences in a shorter format tell little. The rule in the format of the arguments is then
    held to the same differences within the default resolution of that format. Otherwise the bars
    are those of the format.

    Args:
        f: any JAX function of pytrees.
        args: its arguments. Leaves that are not floating-point stay fixed.
        order: 1, or 2 to check second derivatives too.
        modes: which of the above; by default all of the order. Functions with `custom_vjp` have
            no jvp: pass `("vjp", "vjp_of_vjp")`.
        rtol: rounding of the derivative itself, relative to each entry; by default a tenth of the
            square root of the format's spacing (1.5e-9 in float64).
        resolution: widest acceptable error bar, relative to the derivative; 1e-5 in float64,
            0.05 in float32.
        scale: typical size of the arguments, as for `cx.finite_difference.derivative`, one number
            or a list like args.
        bounds: as there.
        seed: of the random directions.

    Returns:
        A `Report` of all comparisons.

    Raises:
        ArgumentError: an unknown mode, or no floating leaf in the arguments or the result.
        InconclusiveError: bars too wide (noise, a kink, a jump, values outside the domain).
        WrongDerivativeError: naming the mode, the leaf and both numbers; also for NaN where the
            difference is clear.

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
    where = "check_derivatives"
    options.function(f, where, "f")
    if not isinstance(args, list | tuple):
        raise ArgumentError(
            f"{where}: args must be a list of arguments, got {options.shown(args)}. "
            "One argument is [x]."
        )
    for leaf in jax.tree.leaves(args):
        refuse_foreign(leaf, f"{where}: args")
    rtol = None if rtol is None else options.tolerance(rtol, where, "rtol")
    if resolution is not None:
        resolution = options.positive(resolution, where, "resolution")
    seed = options.count(seed, where, "seed")
    chosen = _modes(modes, order)
    given_options = _Where(
        chosen, per_real_leaf(scale, tuple(args)), _parted(bounds, args), rtol, resolution
    )
    real, parts = on_real_leaves(f, tuple(args))
    double = in_double(real, parts)
    posed = problem(real, double, seed)
    given = problem(real, parts, seed)
    bars = bars_of(posed.dtype, rtol, resolution)
    comparisons: list[Comparison] = []
    failed: list[Checked] = []
    for leaf, same in zip(posed.leaves, given.leaves, strict=True):
        checked, unreported = _leaf(posed, leaf, given_options, bars, seed)
        comparisons += [c.comparison for c in checked]
        failed += [*checked, *unreported]
        if leaf.value.dtype != same.value.dtype:
            failed += _in_own_format(posed, leaf, given, same, given_options)
    # What is wrong before what cannot be told.
    for one in sorted(failed, key=lambda c: not np.any(c.wrong)):
        judge(one, bars)
    return Report(tuple(comparisons))


def _modes(modes: Sequence[str] | None, order: int) -> tuple[str, ...]:
    where = "check_derivatives"
    if options.count(order, where, "order", least=1) > 2:
        raise ArgumentError(f"{where}: order must be 1 or 2, got {order!r}. Nest f.")
    if modes is None:
        return MODES[:2] if order == 1 else MODES
    modes = options.texts(modes, where, "modes")
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown:
        raise ArgumentError(
            f"check_derivatives: modes must be among {', '.join(MODES)}, got {unknown}. "
            "Leave modes out for all of them."
        )
    return tuple(modes)


def _parted(bounds: Any, args: Sequence[Any]) -> Any:
    if bounds is None:
        return None
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise ArgumentError(
            "check_derivatives: bounds must be a pair (lower, upper), each None, one number or a "
            f"list like args, got {options.shown(bounds)}."
        )
    return tuple(per_real_leaf(b, tuple(args)) for b in bounds)


@dataclass(frozen=True)
class _Where:
    """The options, as they were given."""

    modes: tuple[str, ...]
    scale: Any
    bounds: Any
    rtol: float | None
    resolution: float | None

    def difference(self, f: Callable[..., Any], leaf: Leaf, resolution: float) -> Difference:
        def pick(spec: Any) -> Any:
            parts = jax.tree.leaves(spec)
            return parts[leaf.place] if len(parts) > 1 else spec

        bounds = None if self.bounds is None else tuple(pick(bound) for bound in self.bounds)
        return difference(f, leaf, pick(self.scale), bounds, resolution)


def _leaf(
    posed: Problem, leaf: Leaf, where: _Where, bars: Bars, seed: int
) -> tuple[list[Checked], list[Checked]]:
    """The comparisons of one leaf, and those under vmap."""
    checked, batched = _along(posed, leaf, where, bars)
    unclear = any(np.any(c.unclear) for c in (*checked, *batched))
    wrong = any(np.any(c.wrong) for c in (*checked, *batched))
    if leaf.value.size > 1 and unclear and not wrong:
        # A derivative small by the chance of this direction is not small in another one.
        other = leaf._replace(direction=direction(leaf.value, np.random.default_rng([seed, 1])))
        again, batched_again = _along(posed, other, where, bars)
        checked = [better(*pair) for pair in zip(checked, again, strict=True)]
        if len(batched) == len(batched_again):
            batched = [better(*pair) for pair in zip(batched, batched_again, strict=True)]
    return checked, batched


def _along(
    posed: Problem, leaf: Leaf, where: _Where, bars: Bars
) -> tuple[list[Checked], list[Checked]]:
    """All comparisons along one direction, and those under vmap."""
    f = posed.of(leaf.place)
    found = where.difference(f, leaf, bars.resolution)
    u = cotangent(posed, found, jax.eval_shape(f, leaf.value).dtype)
    checked = _first_order(posed, leaf, where.modes, found, u, bars)
    batched = _under_vmap(posed, leaf, where.modes, found, u, bars)
    return checked + _second_order(posed, leaf, where, u, bars), batched


def cotangent(posed: Problem, found: Difference, dtype: Any) -> jax.Array:
    """Random numbers over the size of each derivative: in ⟨u, Jv⟩ all entries weigh the same."""
    sizes = np.fmax(size(found), np.where(np.isfinite(found.error), found.error, 0))
    usable = np.isfinite(sizes) & (sizes > 0) & ~found.constant
    exponent = np.frexp(np.where(usable, sizes, 1))[1] - 1
    info = jnp.finfo(dtype)
    exponent = np.clip(exponent, info.minexp + 2, info.maxexp - 2)
    return jnp.asarray(np.ldexp(posed.signs, -exponent), dtype)


def _first_order(
    posed: Problem, leaf: Leaf, modes: Sequence[str], found: Difference, u: jax.Array, bars: Bars
) -> list[Checked]:
    f, v, checked = posed.of(leaf.place), leaf.direction, []
    weights = np.asarray(u, float)
    # The bars of the difference hold for the adjoint too: they show in what format f computes.
    by_rule = None
    if "jvp" in modes:
        forward = np.asarray(jax.jvp(f, (leaf.value,), (v,))[1], float)
        checked += _by_result(posed.result, leaf, "jvp", forward, found, bars)
        by_rule = found._replace(value=forward)
    if "vjp" in modes:
        backward = _terms(_pullback(f, leaf.value, u), v)
        checked.append(by_sum("vjp", leaf.name, weights, backward, found, bars))
        if by_rule is not None:
            checked.append(by_sum("adjoint", leaf.name, weights, backward, by_rule, bars))
    return checked


def _under_vmap(
    posed: Problem, leaf: Leaf, modes: Sequence[str], found: Difference, u: jax.Array, bars: Bars
) -> list[Checked]:
    """The same derivatives from batches of two: rules may have rules for vmap of their own."""
    f, x, v = posed.of(leaf.place), leaf.value, leaf.direction
    weights, checked = np.asarray(u, float), []

    def forward(x: jax.Array, v: jax.Array) -> jax.Array:
        return jax.jvp(f, (x,), (v,))[1]

    def backward(x: jax.Array, u: jax.Array) -> jax.Array:
        return _pullback(f, x, u)

    for axes in ((0, None), (None, 0)):
        if "jvp" in modes:
            for row in _batched(forward, axes, x, v):
                got = np.asarray(row, float)
                checked += _by_result(posed.result, leaf, "jvp under vmap", got, found, bars)
        if "vjp" in modes:
            for row in _batched(backward, axes, x, u):
                got = _terms(row, v)
                checked.append(by_sum("vjp under vmap", leaf.name, weights, got, found, bars))
    return checked


def _batched(
    derivative: Callable[..., Any], axes: tuple[int | None, int | None], *operands: jax.Array
) -> list[jax.Array]:
    pairs = [
        q if axis is None else jnp.stack([q, q]) for q, axis in zip(operands, axes, strict=True)
    ]
    try:
        return list(jax.vmap(derivative, in_axes=axes)(*pairs))
    except Exception:
        # A rule need not work under vmap; that it then raises is no wrong number.
        return []


def _second_order(
    posed: Problem, leaf: Leaf, where: _Where, u: jax.Array, bars: Bars
) -> list[Checked]:
    if "jvp_of_vjp" not in where.modes and "vjp_of_vjp" not in where.modes:
        return []
    f, v = posed.of(leaf.place), leaf.direction

    def pulled(x: jax.Array) -> jax.Array:
        return jnp.ravel(_pullback(f, x, u))

    found = where.difference(pulled, leaf, bars.resolution)
    names, checked = [(leaf.name, leaf.value.size)], []
    if "jvp_of_vjp" in where.modes:
        got = np.asarray(jax.jvp(pulled, (leaf.value,), (v,))[1], float)
        checked += _by_result(names, leaf, "jvp_of_vjp", got, found, bars)
    if "vjp_of_vjp" in where.modes:
        # The Hessian of ⟨u, f⟩ is symmetric, so its transpose times v is the same vector.
        got = np.asarray(jnp.ravel(_pullback(pulled, leaf.value, jnp.ravel(v))), float)
        checked += _by_result(names, leaf, "vjp_of_vjp", got, found, bars)
    return checked


def _in_own_format(
    posed: Problem, leaf: Leaf, given: Problem, same: Leaf, where: _Where
) -> list[Checked]:
    """The rule in the format of the arguments against differences in float64, coarsely.

    Where it is further off than that format resolves, differences in the format itself decide.
    """
    own = bars_of(given.dtype, where.rtol, where.resolution)
    coarse = bars_of(given.dtype, _coarse(given.dtype), None)
    f, narrow = (
        posed.of(leaf.place),
        same._replace(direction=leaf.direction.astype(same.value.dtype)),
    )
    exact = where.difference(f, leaf, coarse.resolution)
    dtype = jax.eval_shape(given.of(same.place), same.value).dtype
    u = cotangent(given, exact, dtype)
    first = [m for m in where.modes if m in ("jvp", "vjp")]
    checked = _first_order(given, narrow, first, exact, u, coarse)
    if not any(np.any(c.wrong) for c in checked):
        return []
    found = where.difference(given.of(same.place), narrow, own.resolution)
    again = _first_order(given, narrow, first, found, u, own)
    return [
        c._replace(wrong=c.wrong & d.wrong, unclear=c.wrong & ~d.wrong)
        for c, d in zip(checked, again, strict=True)
    ]


def _coarse(dtype: Any) -> float:
    return bars_of(dtype, None, None).resolution


def _pullback(f: Callable[..., Any], x: jax.Array, u: jax.Array) -> jax.Array:
    out, pull = jax.vjp(f, x)
    return pull(u.astype(out.dtype))[0]


def _terms(gradient: jax.Array, v: jax.Array) -> np.ndarray:
    """The terms of ⟨gradient, v⟩; in float64, where products of large numbers still fit."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ravel(np.asarray(gradient, float) * np.asarray(v, float))


def _by_result(
    names: list[tuple[str, int]],
    leaf: Leaf,
    mode: str,
    got: np.ndarray,
    found: Difference,
    bars: Bars,
) -> list[Checked]:
    """One comparison per leaf of the result."""
    checked, start = [], 0
    for name, count in names:
        part = slice(start, start + count)
        start += count
        if count:
            checked.append(by_entry(mode, leaf.name, name, got[part], found.part(part), bars))
    return checked
