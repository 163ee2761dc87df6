"""Mixed-model formulas: group terms `(inner | factor)` and offsets taken apart from the fixed part.

formulaic evaluates both sides of every bar; only the bars themselves and `offset(…)` are read here,
as its grammar has none.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from cholax._core.errors import ArgumentError

_NAME = re.compile(r"`[^`]+`|[^\W\d][\w.]*")
_OFFSET = re.compile(r"(?<![\w.`])offset$")
_UNQUOTED = r"(?=(?:[^`]*`[^`]*`)*[^`]*$)"
_DOT = re.compile(r"(?<![\w.`])\.(?![\w.`])")
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

    @property
    def written(self) -> str:
        """The term as it can be parsed again."""
        quoted = (x if _NAME.fullmatch(x) else f"`{x}`" for x in self.factors)
        return f"({self.inner} {'|' if self.correlated else '||'} {':'.join(quoted)})"


class MixedFormula(NamedTuple):
    """`response ~ fixed + offset(…) + (inner | factors) + …`."""

    text: str
    response: str
    fixed: str
    groups: tuple[GroupTerm, ...]
    offsets: tuple[str, ...] = ()


def parse_formula(text: str) -> MixedFormula:
    """Split a formula in lme4's notation into response, fixed part, offsets and group terms.

    `(x | a/b)` becomes `(x | b:a) + (x | a)`, in this order, as in lme4. A term after a minus is
    taken out again, which `update` makes use of.

    Args:
        text: the formula.

    Raises:
        ArgumentError: no response, or a group term or offset that cannot be read.

    Example:
        >>> from cholax.stats._lmm.formula import parse_formula
        >>> parsed = parse_formula("y ~ x + (1 + x || g) + offset(log(n)) + (1 | a/b)")
        >>> parsed.fixed, parsed.offsets, [str(term) for term in parsed.groups]
        ('x', ('log(n)',), ['(1 + x || g)', '(1 | b:a)', '(1 | a)'])
    """
    if not isinstance(text, str):
        raise ArgumentError(
            f"formula: need a string such as 'y ~ x + (1 | g)', got {type(text).__name__}."
        )
    response, right = split_sides(text)
    fixed, pieces = _take_out(right, text)
    groups, offsets = list[GroupTerm](), list[str]()
    for sign, is_offset, piece in pieces:
        found = [piece.strip()] if is_offset else _group_terms(piece, text)
        into: list[Any] = offsets if is_offset else groups
        if sign == "-":
            for term in found:
                _take_away(term, into, text)
        else:
            into += found
    return MixedFormula(text, response, fixed, tuple(groups), tuple(offsets))


def _take_away(term: GroupTerm | str, terms: list[Any], text: str) -> None:
    if term not in terms:
        what = f"offset({term})" if isinstance(term, str) else str(term)
        have = ", ".join(f"offset({x})" if isinstance(x, str) else str(x) for x in terms)
        raise ArgumentError(
            f"formula: no term {what} can be taken out of {text!r}. There is {have or 'none'}; it "
            "must be written as it stands there."
        )
    while term in terms:
        terms.remove(term)


def update_formula(old: MixedFormula, change: str) -> str:
    """A formula with `.` replaced by what stood there in an old one, as R's `update`.

    Args:
        old: the formula to change.
        change: such as `". ~ . - x + (1 | h)"`; the response may be left out.

    Raises:
        ArgumentError: a change that cannot be read.

    Example:
        >>> from cholax.stats._lmm.formula import parse_formula, update_formula
        >>> update_formula(parse_formula("y ~ x + (1 | g)"), "log(.) ~ . + z - (1 | g)")
        'log(y) ~ x + z + (1 | g) - (1 | g)'
    """
    if not isinstance(change, str):
        raise ArgumentError(
            f"update: need a formula such as '. ~ . - x', got {type(change).__name__}."
        )
    text = f".{change}" if change.lstrip().startswith("~") else change
    response, right = split_sides(text)
    fixed, pieces = _take_out(right, change)
    keeps = _DOT.search(fixed) is not None
    plain = True
    for match in _DOT.finditer(fixed):
        before, after = fixed[: match.start()].rstrip()[-1:], fixed[match.end() :].lstrip()[:1]
        plain &= before in ("", "+") and after in ("", "+", "-")
    # In parentheses a 0 would not take out the intercept, so there are none where none is needed.
    fixed = _DOT.sub(lambda _: old.fixed if plain else f"({old.fixed})", fixed)
    parts = [fixed]
    if keeps:
        parts += [f"+ offset({x})" for x in old.offsets] + [f"+ {g.written}" for g in old.groups]
    parts += [f"{sign or '+'} {'offset' if kind else ''}({x})" for sign, kind, x in pieces]
    return f"{_DOT.sub(lambda _: old.response, response)} ~ {' '.join(parts)}"


def split_sides(text: str) -> tuple[str, str]:
    """What stands left and right of the tilde; quoted ones do not count."""
    places = [place for place, letter, depth in _unquoted(text, text) if letter == "~"]
    sides = (text[: places[0]].strip(), text[places[0] + 1 :].strip()) if places else ("", "")
    if len(places) != 1 or not all(sides):
        raise ArgumentError(f"formula: need 'response ~ terms', got {text!r}.")
    return sides


def _unquoted(side: str, text: str) -> Iterator[tuple[int, str, int]]:
    """Places and letters outside of quotes, with the depth of parentheses they stand at."""
    stack, quote = list[int](), ""
    for place, letter in enumerate(side):
        if quote:
            quote = "" if letter == quote else quote
            continue
        if letter in _QUOTES:
            quote = letter
            continue
        if letter in ")]}":
            if not stack:
                raise ArgumentError(f"formula: unmatched '{letter}' in {text!r}.")
            stack.pop()
        yield place, letter, len(stack)
        if letter in "([{":
            stack.append(place)
    if stack or quote:
        raise ArgumentError(f"formula: unmatched '{quote or side[stack[-1]]}' in {text!r}.")


def _take_out(side: str, text: str) -> tuple[str, list[tuple[str, bool, str]]]:
    """The right-hand side without group terms and offsets, and those: sign, kind, inside."""
    kept, found, start = [], [], 0
    for open_, close in _outer_parentheses(side, text):
        inside, head = side[open_ + 1 : close], side[:open_].rstrip()
        is_offset = _OFFSET.search(head) is not None
        if is_offset:
            head = head[: -len("offset")].rstrip()
        elif not _bars(inside) or head[-1:].isalnum() or head[-1:] in ("_", "."):
            continue
        before, after = head[-1:], side[close + 1 :].lstrip()[:1]
        if before not in ("", "+", "-") or after not in ("", "+", "-"):
            what, remedy = (
                ("an offset", "It cannot be part of an interaction.")
                if is_offset
                else ("a group term", "Write interactions inside the bars.")
            )
            raise ArgumentError(
                f"formula: {what} must be joined by +, got '{before}({inside}){after}' in "
                f"{text!r}. {remedy}"
            )
        if is_offset and not inside.strip():
            raise ArgumentError(f"formula: offset() is empty in {text!r}. Write offset(column).")
        kept.append(side[start : max(len(head) - len(before), start)])
        found.append((before, is_offset, inside))
        start = close + 1
    kept.append(side[start:])
    fixed = "".join(kept).strip().removeprefix("+").strip()
    _check_rest(fixed, text)
    return fixed or "1", found


def _check_rest(fixed: str, text: str) -> None:
    """No bar and no offset may be left between the terms."""
    calls = list[int]()  # depths inside of which a call's arguments stand
    for place, letter, depth in _unquoted(fixed, text):
        calls = [start for start in calls if start < depth or letter != ")"]
        head = fixed[:place].rstrip()
        if letter == "(" and (head[-1:].isalnum() or head[-1:] in ("_", ".", "`")):
            if _OFFSET.search(head):
                raise ArgumentError(
                    f"formula: offset(…) must be a term of its own, joined by +, in {text!r}."
                )
            calls.append(depth)
        if letter == "|" and not calls:
            raise ArgumentError(
                f"formula: a bar stands outside of a group term in {text!r}. A group term is "
                "written (x | g), in parentheses of its own, and joined to the others by +."
            )


def _outer_parentheses(side: str, text: str) -> list[tuple[int, int]]:
    pairs, open_ = [], 0
    for place, letter, depth in _unquoted(side, text):
        if depth == 0 and letter == "(":
            open_ = place
        elif depth == 0 and letter == ")":
            pairs.append((open_, place))
    return pairs


def _bars(inside: str) -> list[int]:
    """Places of the bars outside parentheses and quotes."""
    found = _unquoted(inside, inside)
    return [place for place, letter, depth in found if letter == "|" and depth == 0]


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
    for level in re.split("/" + _UNQUOTED, written):
        names = [name.strip() for name in re.split(":" + _UNQUOTED, level)]
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
