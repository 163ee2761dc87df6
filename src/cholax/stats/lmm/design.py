"""From a formula and a table to the arrays of a mixed model: y, X, and Z by terms."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cholax._core.errors import ArgumentError, ShapeError
from cholax.stats.lmm.formula import GroupTerm, MixedFormula, parse_formula
from cholax.stats.lmm.grouping import Grouping
from cholax.stats.lmm.table import INSTALL, Table, read_table

if TYPE_CHECKING:
    import pandas as pd

# A column is a combination of those before it when what is left of it is below this part of it;
# R's lm uses 1e-7 with one orthogonalisation, two leave 1e-15.
_ALIASED = 1e-10


@dataclass(frozen=True, eq=False)
class RandomTerm:
    """One group term: `columns` effects for each level of a grouping factor.

    Attributes:
        grouping: the factor, its levels and the level of each row.
        columns: names of the effects.
        values: `(n, p)` what multiplies them.
        spec: evaluates the same columns on new data.
    """

    grouping: Grouping
    columns: tuple[str, ...]
    values: np.ndarray
    spec: Any

    @property
    def group(self) -> str:
        """`a` or `a:b`."""
        return ":".join(self.grouping.factors)

    @property
    def size(self) -> tuple[int, int]:
        """Number of levels and of effects for each."""
        return len(self.grouping.levels), len(self.columns)


@dataclass(frozen=True, eq=False)
class Design:
    """The arrays of a mixed model, complete rows only.

    Attributes:
        formula: as parsed.
        y: `(n,)` response.
        X: `(n, p)` fixed effects of full column rank.
        names: of the columns of X.
        aliased: names of columns left out, as they are combinations of others.
        terms: the random effects in the order of the formula.
        weights: `(n,)`.
        offset: `(n,)`.
        kept: `(rows,)` which rows of the data these are.
    """

    formula: MixedFormula
    y: np.ndarray
    X: np.ndarray
    names: tuple[str, ...]
    aliased: tuple[str, ...]
    terms: tuple[RandomTerm, ...]
    weights: np.ndarray
    offset: np.ndarray
    kept: np.ndarray
    extra: dict[str, np.ndarray]
    _spec: Any
    _columns: np.ndarray

    @property
    def n(self) -> int:
        """Rows used."""
        return self.y.size

    @property
    def dropped(self) -> int:
        """Rows left out because a value was missing."""
        return int(self.kept.size - self.kept.sum())

    def evaluate(self, data: Any, where: str, *, random: bool) -> "NewRows":
        """The same columns on new data."""
        named = list(self._spec.required_variables)
        if random:
            for term in self.terms:
                named += [*term.spec.required_variables, *term.grouping.factors]
        table = read_table(data, dict.fromkeys(map(str, named)), where)
        X = _matrix(self._spec, table.frame, where)[0][:, self._columns]
        if not random:
            return NewRows(table, X, [], [])
        codes = [term.grouping.find(table.frame) for term in self.terms]
        values = [_matrix(term.spec, table.frame, where)[0] for term in self.terms]
        return NewRows(table, X, codes, values)


class NewRows(NamedTuple):
    """Fixed and random columns of new data; codes are -1 for levels that were not observed."""

    table: Table
    X: np.ndarray
    codes: list[np.ndarray]
    values: list[np.ndarray]


def build_design(
    formula: str,
    data: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    extra: dict[str, Any] | None = None,
    where: str = "lmm",
) -> Design:
    """Evaluate a mixed-model formula on a table.

    Args:
        formula: in lme4's notation.
        data: pandas, polars or pyarrow table, or mapping of columns.
        weights: column name or `(rows,)`.
        offset: likewise.
        extra: further named columns or vectors that a model needs (numbers of trials).
        where: the caller, for messages.

    Raises:
        ArgumentError: names, values or groups that make no model.
    """
    parsed = parse_formula(formula)
    formulas = _Formulas(parsed, where)
    given = {"weights": weights, "offset": offset, **(extra or {})}
    columns = [value for value in given.values() if isinstance(value, str)]
    table = read_table(data, dict.fromkeys([*formulas.variables, *columns]), where)
    n = len(table.frame)
    aside = {name: _vector(value, table, name, where) for name, value in given.items()}
    y = _response(formulas.response, table.frame, parsed.response, where)
    X, spec = _matrix(formulas.fixed, table.frame, where)
    names = tuple(spec.column_names)
    kept = independent_columns(X)
    aliased = tuple(names[k] for k in range(len(names)) if k not in set(kept.tolist()))
    if aliased:
        warnings.warn(
            f"{where}: dropped the fixed effects {', '.join(aliased)}: combinations of the "
            "columns before them.",
            stacklevel=4,
        )
    terms = tuple(
        _random_term(group, inner, table.frame, where) for group, inner in formulas.groups
    )
    weights = np.ones(n) if aside["weights"] is None else aside["weights"]
    offset = np.zeros(n) if aside["offset"] is None else aside["offset"]
    if not np.all(weights > 0):
        raise ArgumentError(
            f"{where}: weights must be positive, got {weights.min():g}. Leave such rows out."
        )
    rest = {name: x for name, x in aside.items() if x is not None and name in (extra or {})}
    fixed_names = tuple(names[k] for k in kept)
    return Design(
        parsed, y, X[:, kept], fixed_names, aliased, terms, weights, offset, table.kept, rest,
        spec, kept,
    )  # fmt: skip


class _Formulas:
    """The formulaic formulas of all parts, and the columns they need."""

    def __init__(self, parsed: MixedFormula, where: str) -> None:
        try:
            from formulaic.errors import FormulaSyntaxError
        except ImportError as error:
            raise ImportError(f"{where}: needs formulaic. {INSTALL}") from error
        try:
            self.response = _formula(f"{parsed.response} ~ 1")
            self.fixed = _formula(parsed.fixed)
            self.groups = [
                (group, inner)
                for group in parsed.groups
                for inner in ([_formula(group.inner)] if group.correlated else _split(group.inner))
            ]
        except FormulaSyntaxError as error:
            raise ArgumentError(f"{where}: cannot read {parsed.text!r}: {error}") from error
        # Only what the table can have: functions and constants of the formula are no columns.
        self.variables = [str(name) for name in self.response.lhs.required_variables]
        self.variables += [str(name) for name in self.fixed.required_variables]
        for group, inner in self.groups:
            self.variables += [*map(str, inner.required_variables), *group.factors]


def _formula(text: str) -> Any:
    from formulaic import Formula

    make: Any = Formula  # its metaclass makes one of several classes
    return make(text)


def _split(inner: str) -> list[Any]:
    """`1 + x` as the uncorrelated terms `1` and `0 + x`."""
    return [
        _formula("1") if str(term) == "1" else _formula(f"0 + {term}") for term in _formula(inner)
    ]


def _matrix(source: Any, frame: "pd.DataFrame", where: str) -> tuple[np.ndarray, Any]:
    """Columns of a formula or of a fitted specification, finite, and the specification."""
    from formulaic.errors import DataMismatchWarning, FormulaicError

    with warnings.catch_warnings():
        # formulaic gives an unknown level the values of the reference level.
        warnings.simplefilter("error", DataMismatchWarning)
        try:
            matrix = source.get_model_matrix(frame, output="numpy", na_action="ignore")
        except (FormulaicError, DataMismatchWarning) as error:
            raise ArgumentError(f"{where}: {error}") from error
    values = np.asarray(matrix, np.float64).reshape(len(frame), -1)
    spec = matrix.model_spec
    bad = np.argwhere(~np.isfinite(values))
    if bad.size:
        row, column = bad[0]
        raise ArgumentError(
            f"{where}: column {spec.column_names[column]!r} is {values[row, column]} in complete "
            f"row {row}. Check what the formula computes."
        )
    return values, spec


def _response(formula: Any, frame: "pd.DataFrame", name: str, where: str) -> np.ndarray:
    values = formula.get_model_matrix(frame, output="numpy", na_action="ignore").lhs
    y = np.asarray(values, np.float64)
    if y.ndim == 2 and y.shape[1] != 1:
        raise ArgumentError(
            f"{where}: the response {name!r} must be one column of numbers, got {y.shape[1]} "
            "columns. Code a factor as numbers first."
        )
    y = y.reshape(-1)
    if not np.all(np.isfinite(y)):
        row = int(np.flatnonzero(~np.isfinite(y))[0])
        raise ArgumentError(f"{where}: the response {name!r} is {y[row]} in complete row {row}.")
    return y


def _vector(value: Any, table: Table, name: str, where: str) -> np.ndarray | None:
    if value is None:
        return None
    if isinstance(value, str):
        return table.frame[value].to_numpy(np.float64)
    array = np.asarray(value, np.float64)
    if array.shape != table.kept.shape:
        raise ShapeError(
            f"{where}: {name} must be a column name or of shape {table.kept.shape}, got "
            f"{array.shape}."
        )
    array = array[table.kept]
    if not np.all(np.isfinite(array)):
        raise ArgumentError(f"{where}: {name} must be finite.")
    return array


def _random_term(group: GroupTerm, inner: Any, frame: "pd.DataFrame", where: str) -> RandomTerm:
    grouping = Grouping.observed(frame, group.factors)
    values, spec = _matrix(inner, frame, where)
    if values.shape[1] == 0:
        raise ArgumentError(f"{where}: the group term {group} has no columns.")
    if len(grouping.levels) < 2:
        raise ArgumentError(
            f"{where}: the grouping factor {group.group!r} must have at least two levels, got "
            f"{len(grouping.levels)}. One level has no variance: make it a fixed effect."
        )
    return RandomTerm(grouping, tuple(spec.column_names), values, spec)


def independent_columns(X: np.ndarray) -> np.ndarray:
    """Indices of the columns that are no combination of those before them.

    Args:
        X: `(n, p)`.

    Example:
        >>> import numpy as np
        >>> from cholax.stats.lmm.design import independent_columns
        >>> independent_columns(np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]])).tolist()
        [0, 2]
    """
    Q, kept = np.empty(X.shape, order="F"), list[int]()
    for k, column in enumerate(X.T):
        basis = Q[:, : len(kept)]
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)
        length, left = np.linalg.norm(column), np.linalg.norm(rest)
        if length > 0 and left > _ALIASED * length:
            Q[:, len(kept)] = rest / left
            kept.append(k)
    return np.array(kept, np.int64)
