"""Parts of formulas as columns of numbers: the door to formulaic, from which no error leaks."""

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cholax._core.errors import ArgumentError
from cholax.stats._lmm.functions import context
from cholax.stats._lmm.names import Names

if TYPE_CHECKING:
    import pandas as pd

# formulaic's marks and terminal colours around the place of a fault.
_MARKS = re.compile(r"\x1b\[[0-9;]*m|[⧛⧚]")

# What rounding may change in a row when it is computed beside fewer others, relative.
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a formula that was evaluated once, and can be on new data.

    What transforms learn from the data (means, knots, levels) is kept.

    Attributes:
        text: as the user wrote it.
        needs: columns of the data in it.
        columns: names of what it computes.
        rowwise: whether a row of them depends on that row of the data alone, given what was kept.
    """

    text: str
    needs: tuple[str, ...]
    columns: tuple[str, ...]
    rowwise: bool
    names: Names
    spec: Any

    def evaluate(self, frame: "pd.DataFrame", where: str) -> np.ndarray:
        """`(rows, columns)` for new data."""
        if not self.rowwise:
            raise ArgumentError(
                f"{where}: {self.text!r} in the formula {self.names.text!r} computes with all rows "
                "of the data at once, such as a mean, which would be another one in new data. Use "
                "center(x) or scale(x), which remember, or make a column of it first."
            )
        return _matrix(self.spec, frame, self.names, self.text, where)[0]


def evaluate_piece(
    text: str, frame: "pd.DataFrame", names: Names, where: str, *, expression: bool = False
) -> tuple[np.ndarray, Piece]:
    """Compute the columns of a part of a formula.

    Args:
        text: terms, or with `expression` something that computes one column.
        frame: complete rows of all columns needed.
        names: of the formula.
        where: the caller, for messages.
        expression: whether operators are arithmetic.

    Raises:
        ArgumentError: what cannot be read or evaluated, or is not finite.
    """
    written, needs = names.read(text, expression=expression)
    formula = _formula(f"0 + I({written})" if expression else written, names, text, where)
    values, spec = _matrix(formula, frame, names, text, where)
    columns = tuple(names.restore(str(name)) for name in spec.column_names)
    rowwise = _is_rowwise(spec, frame, values, names, text)
    return values, Piece(text, needs, columns, rowwise, names, spec)


def _is_rowwise(
    spec: Any, frame: "pd.DataFrame", values: np.ndarray, names: Names, text: str
) -> bool:
    """Whether a few rows by themselves give what they gave among all."""
    rows = np.unique([0, len(frame) // 2, len(frame) - 1])
    try:
        few, _ = _matrix(spec, frame.iloc[rows].reset_index(drop=True), names, text, "formula")
    except ArgumentError:
        return False
    size = np.max(np.abs(values), axis=0, initial=0.0)
    return bool(np.all(np.abs(few - values[rows]) <= _SAME * size))


def _formula(written: str, names: Names, text: str, where: str) -> Any:
    from formulaic import Formula

    make: Any = Formula  # its metaclass makes one of several classes
    try:
        formula = make(written)
        list(formula)
    except Exception as error:
        raise _fault(names, text, where, "cannot read", error) from error
    if not hasattr(formula, "get_model_matrix") or hasattr(formula, "lhs"):
        raise ArgumentError(f"{where}: cannot read {text!r} in {names.text!r} as terms.")
    return formula


def _fault(names: Names, text: str, where: str, what: str, error: Exception) -> ArgumentError:
    """An error of formulaic, or of Python in it, in the user's words."""
    reason = names.restore(" ".join(_MARKS.sub("", str(error)).split()) or type(error).__name__)
    reason = reason.rstrip(".")[:400]
    return ArgumentError(
        f"{where}: {what} {text!r} in the formula {names.text!r}: {reason}. Correct the formula or "
        "the columns it uses."
    )


def _new_levels(names: Names, text: str, where: str, error: Warning) -> ArgumentError:
    """What formulaic's warning of levels that it was not told of says, as an error."""
    found = re.search(r"\{.*\}", str(error), re.DOTALL)
    levels = found.group() if found else names.restore(str(error))
    return ArgumentError(
        f"{where}: a factor in {text!r} of the formula {names.text!r} has levels that were not in "
        f"the data of the fit: {levels[:200]}. Their effects are not known: leave such rows out."
    )


def _with_dates(fault: ArgumentError, frame: "pd.DataFrame", names: Names) -> ArgumentError:
    """The same error, naming columns of dates: nothing is computed from them as they are."""
    dates = [x for x in names.used if x in frame and frame[x].dtype.kind == "M"]
    if not dates:
        return fault
    return ArgumentError(
        f"{fault} {', '.join(map(repr, dates))} holds dates: make numbers of them, such as days "
        "since the first, or a factor, as factor(column)."
    )


def _matrix(
    source: Any, frame: "pd.DataFrame", names: Names, text: str, where: str
) -> tuple[np.ndarray, Any]:
    """Columns of a formula or of a fitted specification, finite, and the specification."""
    from formulaic.errors import DataMismatchWarning

    renamed = names.variables(frame)
    with warnings.catch_warnings():
        # formulaic gives an unknown level the values of the reference level.
        warnings.simplefilter("error", DataMismatchWarning)
        try:
            matrix = source.get_model_matrix(
                renamed, context=context(), output="numpy", na_action="ignore"
            )
            values = np.asarray(matrix, np.float64).reshape(len(frame), -1)
        except DataMismatchWarning as error:
            raise _new_levels(names, text, where, error) from error
        except Exception as error:
            fault = _fault(names, text, where, "cannot evaluate", error)
            raise _with_dates(fault, frame, names) from error
    spec = matrix.model_spec
    _check_levels(spec, names, where)
    bad = np.argwhere(~np.isfinite(values))
    if bad.size:
        row, column = bad[0]
        raise ArgumentError(
            f"{where}: column {names.restore(str(spec.column_names[column]))!r} of the formula "
            f"{names.text!r} is {values[row, column]} in complete row {row}. Check what the "
            "formula computes."
        )
    return values, spec


def _check_levels(spec: Any, names: Names, where: str) -> None:
    for expression, (_, state) in spec.encoder_state.items():
        levels = state.get("categories")
        if levels is not None and len(levels) < 2:
            raise ArgumentError(
                f"{where}: the factor {names.restore(str(expression))!r} has one level, "
                f"{levels[0]!r}, in the complete rows, so it has no effects. Leave it out."
            )


def ordered_columns(frame: "pd.DataFrame", columns: Iterable[str]) -> frozenset[str]:
    """The ordered factors among some columns."""
    return frozenset(name for name in columns if getattr(frame[name].dtype, "ordered", False))
