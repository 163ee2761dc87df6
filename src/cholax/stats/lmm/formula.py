"""Mixed-model formulas: the group terms `(inner | factor)` taken apart from the fixed part.

formulaic evaluates both sides of every bar; only the bars themselves are read here, as its grammar
has none.
"""

import re
from typing import NamedTuple

from cholax._core.errors import ArgumentError

_NAME = re.compile(r"`[^`]+`|[^\W\d][\w.]*")
_QUOTES = "`'\""


class GroupTerm(NamedTuple):
    """`(inner | a:b)`: effects of the columns of `inner` for every combination of the factors."""

    inner: str
    factors: tuple[str, ...]
    correlated: bool = True

    @property
    def group(self) -> str:
        """The grouping factor as it is written: `a:b`."""
        return ":".join(self.factors)

    def __str__(self) -> str:
        return f"({self.inner} {'|' if self.correlated else '||'} {self.group})"


class MixedFormula(NamedTuple):
    """`response ~ fixed + (inner | factors) + …`."""

    text: str
    response: str
    fixed: str
    groups: tuple[GroupTerm, ...]


def parse_formula(text: str) -> MixedFormula:
    """Split a formula in lme4's notation into response, fixed part and group terms.

    `(x | a/b)` becomes `(x | b:a) + (x | a)`, in this order, as in lme4.

    Args:
        text: the formula.

    Raises:
        ArgumentError: no response, no group term, or a group term that cannot be read.

    Example:
        >>> from cholax.stats.lmm.formula import parse_formula
        >>> parsed = parse_formula("y ~ x + (1 + x || g) + (1 | a/b)")
        >>> parsed.fixed, [str(term) for term in parsed.groups]
        ('x', ['(1 + x || g)', '(1 | b:a)', '(1 | a)'])
    """
    if not isinstance(text, str):
        raise ArgumentError(
            f"formula: need a string such as 'y ~ x + (1 | g)', got {type(text).__name__}."
        )
    sides = text.split("~")
    if len(sides) != 2 or not sides[0].strip():
        raise ArgumentError(f"formula: need 'response ~ terms', got {text!r}.")
    fixed, pieces = _take_out_groups(sides[1], text)
    groups = [term for piece in pieces for term in _group_terms(piece, text)]
    if not groups:
        raise ArgumentError(
            f"formula: need a group term such as (1 | g), got {text!r}. Without one the model is "
            "a linear regression."
        )
    return MixedFormula(text, sides[0].strip(), fixed, tuple(groups))


def _take_out_groups(side: str, text: str) -> tuple[str, list[str]]:
    """The right-hand side without its group terms, and what stood between their parentheses."""
    kept, groups, start = [], [], 0
    for open_, close in _outer_parentheses(side, text):
        inside = side[open_ + 1 : close]
        before = side[:open_].rstrip()[-1:]
        if not _bars(inside) or before.isalnum() or before in ("_", "."):
            continue
        after = side[close + 1 :].lstrip()[:1]
        if before not in ("", "+") or after not in ("", "+", "-"):
            raise ArgumentError(
                f"formula: a group term must be joined by +, got '{before}({inside}){after}' in "
                f"{text!r}. Write interactions inside the bars."
            )
        kept.append(side[start:open_].rstrip().removesuffix("+"))
        groups.append(inside)
        start = close + 1
    kept.append(side[start:])
    fixed = "".join(kept).strip().removeprefix("+").strip()
    return fixed or "1", groups


def _outer_parentheses(side: str, text: str) -> list[tuple[int, int]]:
    pairs, stack, quote = [], [], ""
    for place, letter in enumerate(side):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        elif letter in "([{":
            stack.append(place)
        elif letter in ")]}":
            if not stack:
                raise ArgumentError(f"formula: unmatched '{letter}' in {text!r}.")
            open_ = stack.pop()
            if not stack and letter == ")":
                pairs.append((open_, place))
    if stack or quote:
        raise ArgumentError(f"formula: unmatched '{quote or side[stack[-1]]}' in {text!r}.")
    return pairs


def _bars(inside: str) -> list[int]:
    """Places of the bars outside parentheses and quotes."""
    depth, quote, found = 0, "", []
    for place, letter in enumerate(inside):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "|" and depth == 0:
            found.append(place)
    return found


def _group_terms(piece: str, text: str) -> list[GroupTerm]:
    bars = _bars(piece)
    correlated = len(bars) == 1
    if not correlated and not (len(bars) == 2 and bars[1] == bars[0] + 1):
        raise ArgumentError(
            f"formula: need one | or one || in a group term, got ({piece}) in {text!r}."
        )
    inner = piece[: bars[0]].strip()
    if not inner:
        raise ArgumentError(
            f"formula: nothing stands left of the bar in ({piece}). "
            f"Write (1 |{piece[bars[-1] + 1 :]})."
        )
    return [
        GroupTerm(inner, factors, correlated)
        for factors in _factors(piece[bars[-1] + 1 :].strip(), piece)
    ]


def _factors(written: str, piece: str) -> list[tuple[str, ...]]:
    """The grouping factors that `a`, `a:b` or `a/b/c` stands for, the finest first."""
    levels = []
    for level in written.split("/"):
        names = [name.strip() for name in level.split(":")]
        for name in names:
            if not _NAME.fullmatch(name):
                raise ArgumentError(
                    f"formula: a grouping factor is made of column names, : and /, got {written!r} "
                    f"in ({piece}). Make a column of anything else first."
                )
        levels.append(tuple(name.strip("`") for name in names))
    nested = [
        tuple(name for level in reversed(levels[: depth + 1]) for name in level)
        for depth in range(len(levels))
    ]
    return nested[::-1]
