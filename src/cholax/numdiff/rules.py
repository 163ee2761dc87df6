"""The difference rules: how many steps, how large, and what is extrapolated.

With D(h) = (f(x+h) − f(x−h)) / 2h:

    forward      (f(x+h) − f(x)) / h                                         h = ε^(1/2)
    central      D(h)                                                        h = ε^(1/3)
    five_point   (4 D(h) − D(2h)) / 3
                 = (f(x−2h) − 8 f(x−h) + 8 f(x+h) − f(x+2h)) / 12h           h = ε^(1/5)
    richardson   D extrapolated over h, h/2, h/4, h/8, h/16                  h = ε^(1/13)
    adaptive     orders 2, 4 and 6 on a ladder of steps, the best one chosen

and for second derivatives the same with ∂²f(h), the four-point difference. Near a bound the
one-sided (−3 f(x) + 4 f(x+h) − f(x+2h)) / 2h takes the place of D(h).
"""

import math
from typing import NamedTuple

from cholax._core.errors import ArgumentError

METHODS = ("forward", "central", "five_point", "complex", "richardson", "adaptive")
WITH_ERROR = ("complex", "richardson", "adaptive")


# Steps that a ladder needs to be cut in two where x is tiny (see `directional.ladder_of`).
TWO_PARTS = 14


# Of a ladder, smaller steps that are sampled at first to see that f has no other scale there.
_CONTROLS = 3


class Rule(NamedTuple):
    """Format, steps in units of the scale decreasing by `ratio`, Neville stages. Static."""

    eps: float
    steps: tuple[float, ...]
    ratio: float
    stages: int
    adaptive: bool = False
    points: int = 2
    rows: tuple[int, ...] | None = None
    """Which of the steps are sampled, if not all."""


def check_method(method: str, where: str, *, with_error: bool, order: int = 1) -> None:
    """Raise `ArgumentError` for an unknown method, or one without an error estimate."""
    allowed = [m for m in METHODS if order == 1 or m != "complex"]
    if method not in allowed:
        raise ArgumentError(
            f"{where}: method must be one of {', '.join(allowed)}, got {method!r}. "
            'Use method="adaptive" when in doubt.'
        )
    if with_error and method not in WITH_ERROR:
        raise ArgumentError(
            f"{where}: method={method!r} has no error estimate. "
            'Use method="adaptive" (or "richardson") with with_error=True.'
        )


def bits(eps: float) -> int:
    """Binary digits of a format after the leading one."""
    return round(-math.log2(eps))


def closeness(eps: float) -> float:
    """A number below this fraction of 1 is taken as small by choice: f may have its scale."""
    return 2.0 ** -round(0.45 * bits(eps))


def nearness(eps: float) -> float:
    """Nearer to a bound than this fraction of its scale, a component moves away from it only.

    A central stencil that has to fit would be too short for a function that ignores the bound.
    """
    return 2.0 ** -round(0.2 * bits(eps))


def rule(method: str, eps: float, step: float | None, *, order: int = 1) -> Rule:
    """The rule of a method in a format of relative spacing `eps`.

    Args:
        method: its name.
        eps: relative spacing of the coarser of the formats of x and f(x).
        step: replaces the default largest step (the only one of fixed rules).
        order: of the derivative, 1 or 2.
    """
    if method == "adaptive":
        return _ladder(eps, step, order)
    # Truncation h^p against noise ε / h^order.
    powers = {"forward": 1, "central": 2, "five_point": 4, "richardson": 12 - order}
    h = step if step is not None else _power_of_two(eps ** (1 / (powers[method] + order)))
    if method == "forward":
        return Rule(eps, (h,), 2.0, 0, points=1)
    if method == "central":
        return Rule(eps, (h,), 2.0, 0)
    if method == "five_point":
        return Rule(eps, (2 * h, h), 2.0, 1)
    return Rule(eps, tuple(h * 0.5**k for k in range(5)), 2.0, 4)


def _ladder(eps: float, step: float | None, order: int) -> Rule:
    lowest = round((0.82 if order == 1 else 0.52) * bits(eps))
    ratio = 4.0 if lowest >= 16 or (lowest >= 10 and order == 2) else 2.0
    count = 1 + (lowest - 1) // round(math.log2(ratio))
    if ratio == 4.0 and order == 1:
        count = max(count, TWO_PARTS)
    return Rule(eps, tuple((step or 0.5) / ratio**k for k in range(count)), ratio, 2, adaptive=True)


def leading(rule: Rule) -> int:
    """How many of a ladder's largest steps suffice where f has the scale of x.

    The order 6 is exact to ε from the k-th step on with (h_k h_{k+1} h_{k+2})² = 2^(−18−12k) below
    its bar of 2^(5+2k) ε: it takes three steps, and the next estimate to compare.
    """
    return rule.stages + 2 + round((bits(rule.eps) - 23) / 14)


def first_part(rule: Rule) -> Rule | None:
    """The leading steps and the controls of a ladder, if it is long enough to leave out others."""
    if not rule.adaptive or len(rule.steps) < TWO_PARTS:
        return None
    top, count = leading(rule), len(rule.steps)
    gap = (count - top) / (_CONTROLS + 1)
    controls = (top - 1 + round(gap * k) for k in range(1, _CONTROLS + 1))
    return rule._replace(rows=(*range(top), *controls))


def second_part(rule: Rule, first: Rule) -> Rule:
    """The steps of a ladder that its first part lacks."""
    assert first.rows is not None
    return rule._replace(rows=tuple(k for k in range(len(rule.steps)) if k not in first.rows))


def _power_of_two(h: float) -> float:
    # x ± h is then exact, or nearly so.
    return 2.0 ** round(math.log2(h))
