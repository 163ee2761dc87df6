"""Formulas as R users write them, in the words of formulaic and with columns of any name.

Every name in a formula is looked up among the columns of the data, so that columns inside function
calls, with dots or spaces, or called like a function are all found. What could be misread gets an
alias before formulaic sees it, and its own name back afterwards.
"""

import keyword
import re
from collections.abc import Iterable
from typing import Any

from cholax._core.errors import ArgumentError
from cholax.stats._lmm.functions import CONSTANTS, SPELLINGS, function_names

_TOKEN = re.compile(
    r"""(?P<quoted>`[^`]*`)|(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?L?(?![\w.]))
    |(?P<name>\.?[^\W\d][\w.]*|\.(?![\w.]))|(?P<space>\s+)|(?P<other>\*\*|[=!<>]=|.)""",
    re.VERBOSE | re.DOTALL,
)
# patsy's quotes.
_QUOTED = re.compile(r"""(?<![\w.`])Q\(\s*(?:"([^"`]*)"|'([^'`]*)')\s*\)""")
_ALIAS = "chx{}_"


class Names:
    """The names in one formula.

    Args:
        columns: names of the columns of the data.
        text: the whole formula, for messages.
        where: the caller, for messages.

    Attributes:
        used: columns found so far, with what formulaic knows them as.
        ordered: columns that get polynomial contrasts where they stand alone.

    Example:
        >>> from cholax.stats._lmm.names import Names
        >>> names = Names(["my.x", "n"], "y ~ I(my.x^2) + n", "lmm")
        >>> names.translate("I(my.x^2) + n")
        'I(chx0_**2) + n'
        >>> names.restore("I(chx0_ ** 2)"), names.used
        ('I(my.x ** 2)', {'my.x': 'chx0_', 'n': 'n'})
    """

    def __init__(self, columns: Iterable[Any], text: str, where: str) -> None:
        self.columns = [str(name) for name in columns]
        self.text, self.where = text, where
        self.used: dict[str, str] = {}
        self._touched = dict[str, None]()
        self.ordered = frozenset[str]()
        self._functions = function_names()
        self._known = set(self.columns)

    def alias(self, column: str) -> str:
        """What formulaic knows a column as."""
        self._touched[column] = None
        if column not in self.used:
            plain = column.isidentifier() and not keyword.iskeyword(column)
            if not plain or column.startswith("chx") or column in self._functions:
                column_alias = _ALIAS.format(len(self.used))
            else:
                column_alias = column
            self.used[column] = column_alias
        return self.used[column]

    def column(self, written: str) -> str:
        """A column named outside of expressions: a grouping factor."""
        if written not in self._known:
            raise self._absent(written)
        self.alias(written)
        return written

    def translate(self, piece: str, *, expression: bool = False) -> str:
        """A part of the formula in formulaic's words.

        Args:
            piece: terms joined by operators of formulas.
            expression: whether all of it is one expression that computes numbers, as a response.

        Raises:
            ArgumentError: a name that is neither a column nor a function.
        """
        piece = _QUOTED.sub(lambda match: f"`{match[1] or match[2]}`", piece)
        tokens = [(match.lastgroup, match.group()) for match in _TOKEN.finditer(piece)]
        calls, done = list[bool](), list[str]()
        for k, (kind, word) in enumerate(tokens):
            inside = expression or (bool(calls) and calls[-1])
            before = next((t for t in reversed(tokens[:k]) if t[0] != "space"), ("", ""))
            after = next((t for t in tokens[k + 1 :] if t[0] != "space"), ("", ""))
            if word in ("(", "["):
                calls.append(inside or before[0] in ("name", "quoted") or word == "[")
            elif word in (")", "]") and calls:
                calls.pop()
            attribute = word[0] == "." and len(word) > 1 and before[1] in (")", "]")
            done.append(word if attribute else self._word(kind, word, after[1], inside))
        return "".join(done)

    def variables(self, frame: Any) -> Any:
        """The columns found so far under formulaic's names, integers as the numbers of R.

        Powers of NumPy's integers overflow without a word, and negative ones are refused.
        Further columns would hide functions of the same name.
        """
        columns = frame[[name for name in frame.columns if name in self.used]]
        whole = [name for name in columns.columns if columns[name].dtype.kind in "iu"]
        return columns.astype(dict.fromkeys(whole, "float64")).rename(columns=self.used)

    def read(self, piece: str, *, expression: bool = False) -> tuple[str, tuple[str, ...]]:
        """The translation of a part, and the columns in it."""
        self._touched = {}
        return self.translate(piece, expression=expression), tuple(self._touched)

    def _word(self, kind: str | None, word: str, after: str, inside: bool) -> str:
        match kind:
            case "quoted":
                return self._column_word(self.column(word[1:-1]), inside)
            case "number":
                return word.removesuffix("L")
            case "name":
                return self._name(word, after, inside)
            case _:
                return "**" if word == "^" and inside else word

    def _name(self, word: str, after: str, inside: bool) -> str:
        if word == ".":
            raise ArgumentError(
                f"{self.where}: '.' for all other columns is not supported in {self.text!r}. Write "
                "the columns out; in update() it stands for the old formula."
            )
        if inside and after == "=":
            return word  # the name of an argument
        if after != "(" and word in self._known:
            return self._column_word(word, inside)
        head, dot, tail = self._longest_column(word)
        if head:
            found = self.alias(head) + dot + tail
            return found if inside or after == "(" else f"I({found})"
        if word in SPELLINGS:
            return SPELLINGS[word]
        if word.split(".")[0] in self._functions or word in CONSTANTS:
            return word
        raise self._unknown_function(word) if after == "(" else self._absent(word)

    def _column_word(self, column: str, inside: bool) -> str:
        alias = self.alias(column)
        return f"ordered({alias})" if column in self.ordered and not inside else alias

    def _longest_column(self, word: str) -> tuple[str, str, str]:
        """The longest column before a dot, as in `x.clip(0)`."""
        head, dot, tail = word.rpartition(".")
        while head and head not in self._known:
            head, dot, more = head.rpartition(".")
            tail = f"{more}.{tail}"
        return head, dot, tail

    def _absent(self, name: str) -> ArgumentError:
        have, more = self.columns[:20], ", …" if len(self.columns) > 20 else ""
        return ArgumentError(
            f"{self.where}: the data has no column {name!r}, which {self.text!r} needs. It has "
            f"{', '.join(have)}{more}."
        )

    def _unknown_function(self, name: str) -> ArgumentError:
        return ArgumentError(
            f"{self.where}: unknown function {name!r} in {self.text!r}. Known: "
            f"{', '.join(sorted(self._functions))}. Make a column of anything else first."
        )

    def restore(self, text: str) -> str:
        """The user's names in what formulaic wrote."""
        text = re.sub(r"\[(\.[LQC]|\^\d+)\]", r"\1", text)  # f.L, f.Q, f.C, f^4 as in R
        for column, alias in self.used.items():
            if column in self.ordered:
                text = re.sub(rf"\bordered\({alias}\)", alias, text)
        back = {alias: column for column, alias in self.used.items() if alias != column}
        if not back:
            return text
        return re.sub("|".join(map(re.escape, back)), lambda m: back[m.group()], text)
