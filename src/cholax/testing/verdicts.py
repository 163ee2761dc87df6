"""Right, wrong, or too uncertain to tell: a derivative against a difference, entry by entry."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from cholax._core.errors import CholaxError
from cholax.testing.differences import Difference, size

# Error bars a derivative may be away from the difference: the bars held the truth within 3 times
# their size for all of 8000 random functions (bench_finite_differences.py).
_BARS = 10.0
# Rounding of an entry next to a larger one, in spacings of the larger: below it an entry that
# disagrees may be a sum of large terms that cancel.
_CANCELLATION = 1e3
# Widest error bar, relative to the derivative, that still says something.
_RESOLUTION = {"float64": 1e-5, "float32": 0.05, "float16": 0.2, "bfloat16": 0.3}


class WrongDerivativeError(CholaxError, AssertionError):
    """A derivative differs from finite differences by more than their error."""


class InconclusiveError(CholaxError, AssertionError):
    """Finite differences are too inaccurate here to confirm or refute a derivative."""


class Comparison(NamedTuple):
    """One derivative against its finite difference, in the entry nearest to failing."""

    mode: str
    leaf: str
    result: str
    derivative: float
    difference: float
    error: float


@dataclass(frozen=True)
class Bars:
    """What is allowed: the format, rounding of a derivative, and the widest error bar."""

    dtype: Any
    rtol: float
    resolution: float

    @property
    def eps(self) -> float:
        """Spacing of the format at 1."""
        return float(jnp.finfo(self.dtype).eps)


def bars_of(dtype: Any, rtol: float | None, resolution: float | None) -> Bars:
    """The bars of a format, where not given."""
    name = jnp.dtype(dtype).name
    eps = float(jnp.finfo(dtype).eps)
    return Bars(
        dtype,
        0.1 * eps**0.5 if rtol is None else rtol,
        _RESOLUTION[name] if resolution is None else resolution,
    )


class Checked(NamedTuple):
    """A comparison with the verdict on every entry."""

    comparison: Comparison
    wrong: np.ndarray
    unclear: np.ndarray


def by_entry(
    mode: str, leaf: str, result: str, got: np.ndarray, found: Difference, bars: Bars
) -> Checked:
    """A derivative against differences, each entry held to its own size."""
    sizes = np.fmax(np.abs(got), size(found))
    largest = np.max(np.abs(got), where=np.isfinite(got), initial=0)
    slack = bars.rtol * np.abs(got)
    exact = found.constant & (got == 0)
    return _decide(
        (mode, leaf, result),
        got,
        found,
        sizes,
        slack,
        _CANCELLATION * bars.eps * largest,
        exact,
        bars,
    )


def by_sum(
    mode: str, leaf: str, u: np.ndarray, backward: np.ndarray, found: Difference, bars: Bars
) -> Checked:
    """⟨Jᵀu, v⟩, given as the products of its terms, against ⟨u, Jv⟩."""
    error = np.where(found.constant, 0, found.error)
    with np.errstate(over="ignore", invalid="ignore"):
        forward = u * found.value
        parts = (np.abs(backward), np.abs(forward), np.abs(u) * found.slope)
        terms = [np.sum(part, where=~np.isnan(part)) for part in parts]
        total = Difference(
            np.sum(forward)[None],
            np.sum(np.abs(u) * error)[None],
            np.zeros(1),
            np.array([np.all(found.constant)]),
        )
        got = np.sum(backward)[None]
        # An entry that looks constant may only be lost in the rounding of a large one.
        bars_of_all = np.abs(u) * found.error
        lost = _BARS * float(np.sum(bars_of_all, where=np.isfinite(bars_of_all)))
    exact = total.constant & np.all(backward == 0)
    slack = np.array([bars.rtol * terms[0]])
    sizes = np.array([max(terms)])
    return _decide((mode, leaf, "⟨u, result⟩"), got, total, sizes, slack, lost, exact, bars)


def _decide(
    names: tuple[str, str, str],
    got: np.ndarray,
    found: Difference,
    sizes: np.ndarray,
    slack: np.ndarray,
    cancellation: float,
    exact: np.ndarray,
    bars: Bars,
) -> Checked:
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(got - found.value)
        allowed = _BARS * found.error + slack
        wide = ~(found.error <= bars.resolution * sizes) & ~exact
        sharp = np.isfinite(found.value) & (
            found.constant | (found.error <= bars.resolution * size(found))
        )
        # NaN where the difference is clear is as wrong as any other number.
        wrong = np.where(np.isfinite(got), off > np.maximum(allowed, cancellation), sharp)
        unclear = ~wrong & (~np.isfinite(off) | wide | (off > allowed))
        nearness = np.where(np.isfinite(off), off / np.fmax(found.error, 1e-300), np.inf)
    rank = np.where(wrong, 2, np.where(unclear, 1, 0))
    k = max(range(got.size), key=lambda k: (rank[k], nearness[k]))
    numbers = (float(q[k]) for q in (got, found.value, found.error))
    return Checked(Comparison(*names, *numbers), wrong, unclear)


def better(one: Checked, other: Checked) -> Checked:
    """Two directions together: wrong if in one, unclear where in both."""
    wrong, unclear = one.wrong | other.wrong, one.unclear & other.unclear
    first = np.any(one.wrong) or (np.any(unclear) and not np.any(other.wrong))
    return Checked((one if first else other).comparison, wrong, unclear)


def judge(checked: Checked, bars: Bars) -> None:
    """Raise what the verdict calls for."""
    c = checked.comparison
    what = (
        f"check_derivatives: {c.mode} with respect to {c.leaf} of {c.result}: derivative "
        f"{c.derivative:.10g}, finite difference {c.difference:.10g} ± {c.error:.1g}"
    )
    if np.any(checked.wrong):
        raise WrongDerivativeError(f"{what}. They must agree: correct the rule.")
    if np.any(checked.unclear):
        raise InconclusiveError(
            f"{what}. That cannot tell: the function is noisy, not smooth or not finite near the "
            f"point, or its format ({jnp.dtype(bars.dtype).name}) too coarse for an entry of this "
            "size. Take another point, pass scale= or bounds=, or a larger resolution= knowingly."
        )
