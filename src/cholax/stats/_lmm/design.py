"""From a formula and a table to the arrays of a mixed model: y, X, and Z by terms."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cholax._core.errors import ArgumentError, ShapeError
from cholax.stats._lmm.formula import GroupTerm, MixedFormula, parse_formula
from cholax.stats._lmm.grouping import Grouping
from cholax.stats._lmm.kinds import Kind, as_fitted, kinds_of
from cholax.stats._lmm.names import Names
from cholax.stats._lmm.pieces import Piece, evaluate_piece, ordered_columns
from cholax.stats._lmm.response import binomial_trials, evaluate_response
from cholax.stats._lmm.table import INSTALL, Source, Table

if TYPE_CHECKING:
    import pandas as pd

# A column is a combination of those before it when what is left of it is below this part of it;
# R's lm uses 1e-7 with one orthogonalisation, two leave 1e-15.
_ALIASED = 1e-10
# Largest size of responses, covariates and root weights, and inverse of the smallest: variances
# of effects are squares of them.
RANGE = 1e140


@dataclass(frozen=True, eq=False)
class RandomTerm:
    """One group term: `columns` effects for each level of a grouping factor.

    Attributes:
        grouping: the factor, its levels and the level of each row.
        columns: names of the effects.
        values: `(n, p)` what multiplies them.
        piece: evaluates columns on new data, of which `chosen` are these.
    """

    grouping: Grouping
    columns: tuple[str, ...]
    values: np.ndarray
    piece: Piece
    chosen: slice = field(default_factory=lambda: slice(None))

    def evaluate(self, frame: "pd.DataFrame", where: str) -> np.ndarray:
        """The columns on new data."""
        return self.piece.evaluate(frame, where)[:, self.chosen]

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
        offset: `(n,)` sum of the offsets in the formula and of the one given beside it.
        outside_offset: `(n,)` the latter alone.
        kept: `(rows,)` which rows of the data these are.
        extra: further vectors of the model (numbers of trials, exposures).
        given: what weights, offset and the further vectors were given as.
        response_levels: of a factor as response; the first is a failure.
    """

    formula: MixedFormula
    y: np.ndarray
    X: np.ndarray
    names: tuple[str, ...]
    aliased: tuple[str, ...]
    terms: tuple[RandomTerm, ...]
    weights: np.ndarray
    offset: np.ndarray
    outside_offset: np.ndarray
    kept: np.ndarray
    extra: dict[str, np.ndarray]
    given: dict[str, Any]
    response_levels: tuple[Any, ...]
    _fixed: Piece
    _offsets: tuple[Piece, ...]
    _columns: np.ndarray
    _kinds: dict[str, Kind]

    @property
    def n(self) -> int:
        """Rows used."""
        return self.y.size

    @property
    def dropped(self) -> int:
        """Rows left out because a value was missing."""
        return int(self.kept.size - self.kept.sum())

    def evaluate(
        self, data: Any, where: str, *, random: bool, offset: Any = None, also: tuple[str, ...] = ()
    ) -> "NewRows":
        """The same columns on new data.

        Args:
            data: a table.
            where: the caller, for messages.
            random: whether to evaluate the random effects too.
            offset: column name, vector or number in the place of the one of the fit.
            also: further columns to read.

        Raises:
            ArgumentError: a column that lacks, or cannot be evaluated as it was.
        """
        offset = self._new_offset(offset, where)
        pieces = [self._fixed, *self._offsets]
        named = [*also, *([offset] if isinstance(offset, str) else [])]
        if random:
            pieces += [term.piece for term in self.terms]
            named += [name for term in self.terms for name in term.grouping.factors]
        named += [name for piece in pieces for name in piece.needs]
        table = Source(data, where).read(dict.fromkeys(named))
        frame = as_fitted(table.frame, self._kinds, where)
        X = self._fixed.evaluate(frame, where)[:, self._columns]
        shift = sum((p.evaluate(frame, where)[:, 0] for p in self._offsets), np.zeros(len(frame)))
        if np.ndim(offset) == 0 and not isinstance(offset, str):
            offset = np.broadcast_to(offset, table.kept.shape)
        given: Any = _vector(offset, table, "offset", where, finite=False)
        shift = shift + given
        if not random:
            return NewRows(table, X, shift, [], [])
        codes = [term.grouping.find(frame) for term in self.terms]
        values = [term.evaluate(frame, where) for term in self.terms]
        return NewRows(table, X, shift, codes, values)

    def _new_offset(self, offset: Any, where: str) -> Any:
        if offset is not None:
            return offset
        fitted = self.given.get("offset")
        if fitted is None or isinstance(fitted, str):
            return 0.0 if fitted is None else fitted
        raise ArgumentError(
            f"{where}: the model was fitted with a vector as offset, whose values for new rows are "
            "not known. Give offset=, a column name, a vector or a number; an offset(…) in the "
            "formula or a column name in the fit is found in new data by itself."
        )


class NewRows(NamedTuple):
    """Columns of new data; codes are -1 for levels that were not observed."""

    table: Table
    X: np.ndarray
    offset: np.ndarray
    codes: list[np.ndarray]
    values: list[np.ndarray]


def build_design(
    formula: str,
    data: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    extra: dict[str, Any] | None = None,
    family: str | None = None,
    where: str = "lmm",
) -> Design:
    """Evaluate a mixed-model formula on a table.

    Args:
        formula: in lme4's notation.
        data: pandas, polars or pyarrow table, or mapping of columns.
        weights: column name or `(rows,)`.
        offset: likewise; added to those in the formula.
        extra: further named columns or vectors that a model needs (numbers of trials).
        family: name of the family, None for a linear model.
        where: the caller, for messages.

    Raises:
        ArgumentError: names, values or groups that make no model.
    """
    parsed = parse_formula(formula)
    given = {"weights": weights, "offset": offset, **(extra or {})}
    table, names = _read(parsed, data, given, where)
    frame = table.frame
    aside = {name: _vector(value, table, name, where) for name, value in given.items()}
    response = evaluate_response(parsed.response, frame, names, where, family)
    y, weights = response.y, aside["weights"]
    if family == "binomial":
        y, aside["trials"], weights = binomial_trials(
            response, weights, aside.get("trials"), repr(parsed.response), where
        )
    X, fixed = evaluate_piece(parsed.fixed, frame, names, where)
    terms = [t for group in parsed.groups for t in _random_terms(group, frame, names, where)]
    check_range(X, fixed.columns, "fixed effect", where)
    for term in terms:
        check_range(term.values, term.columns, "random effect", where)
    kept, aliased = _independent(X, fixed.columns, where)
    offsets = [_offset(text, frame, names, where) for text in parsed.offsets]
    outside = np.zeros(len(frame)) if aside["offset"] is None else aside["offset"]
    weights = np.ones(len(frame)) if weights is None else weights
    if not np.all(weights > 0):
        raise ArgumentError(
            f"{where}: weights must be positive, got {weights.min():g}. Leave such rows out."
        )
    check_range(np.sqrt(weights)[:, None], ("weights",), "square root of the", where)
    rest = {name: x for name, x in aside.items() if x is not None and name in (extra or {})}
    return Design(
        formula=parsed,
        y=y,
        X=X[:, kept],
        names=tuple(fixed.columns[k] for k in kept),
        aliased=aliased,
        terms=tuple(terms),
        weights=weights,
        offset=sum((values for values, _ in offsets), outside),
        outside_offset=outside,
        kept=table.kept,
        extra=rest,
        given=given,
        response_levels=response.levels,
        _fixed=fixed,
        _offsets=tuple(piece for _, piece in offsets),
        _columns=kept,
        _kinds=kinds_of(frame),
    )


def _read(
    parsed: MixedFormula, data: Any, given: dict[str, Any], where: str
) -> tuple[Table, Names]:
    """Complete rows of all columns of a formula and of those named beside it."""
    try:
        import formulaic  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{where}: needs formulaic. {INSTALL}") from error
    source = Source(data, where)
    names = Names(source.columns, parsed.text, where)
    for text in (parsed.response, *parsed.offsets):
        names.read(text, expression=True)
    for text in (parsed.fixed, *(group.inner for group in parsed.groups)):
        names.read(text)
    for group in parsed.groups:
        for factor in group.factors:
            names.column(factor)
    beside = [value for value in given.values() if isinstance(value, str)]
    table = source.read(dict.fromkeys([*names.used, *beside]))
    names.ordered = ordered_columns(table.frame, names.used)
    return table, names


def check_range(values: np.ndarray, columns: Sequence[str], what: str, where: str) -> None:
    """Raise where squares of a column's entries would over- or underflow.

    Args:
        values: `(n, k)`.
        columns: their names.
        what: they are, for messages.
        where: the caller, for messages.
    """
    sizes = np.max(np.abs(values), axis=0, initial=0.0)
    for size, column in zip(sizes, columns, strict=True):
        if size > 0 and not 1.0 / RANGE < size < RANGE:
            raise ArgumentError(
                f"{where}: the {what} {column!r} has entries of size {size:.1e}, whose squares are "
                f"out of range. They must lie between {1.0 / RANGE:.0e} and {RANGE:.0e}: use "
                "another unit."
            )


def _independent(
    X: np.ndarray, columns: tuple[str, ...], where: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The columns to keep, and names of those that are left out with a warning."""
    kept = independent_columns(X)
    aliased = tuple(columns[k] for k in range(len(columns)) if k not in set(kept.tolist()))
    if aliased:
        warnings.warn(
            f"{where}: dropped the fixed effects {', '.join(aliased)}: combinations of the "
            "columns before them.",
            stacklevel=5,
        )
    return kept, aliased


def _offset(text: str, frame: "pd.DataFrame", names: Names, where: str) -> tuple[np.ndarray, Piece]:
    values, piece = evaluate_piece(text, frame, names, where, expression=True)
    if values.shape[1] != 1 or any("[" in column for column in piece.columns):
        raise ArgumentError(
            f"{where}: offset({text}) must be one column of numbers, got "
            f"{', '.join(piece.columns)}."
        )
    return values[:, 0], piece


def _vector(
    value: Any, table: Table, name: str, where: str, *, finite: bool = True
) -> np.ndarray | None:
    """A column or a vector given beside the formula, for the complete rows."""
    if value is None:
        return None
    try:
        if isinstance(value, str):
            array = table.frame[value].to_numpy(np.float64)
        else:
            array = np.asarray(value)
            if array.dtype.kind in "cmM":
                raise TypeError(f"its values are {array.dtype}")
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{where}: {name} must be numbers: {error}.") from error
    if not isinstance(value, str):
        if array.shape != table.kept.shape:
            raise ShapeError(
                f"{where}: {name} must be a column name or of shape {table.kept.shape}, got "
                f"{array.shape}."
            )
        array = array[table.kept]
    # New rows may miss a value; an infinite one is a mistake in any.
    if np.any(np.isinf(array)) or (finite and np.any(np.isnan(array))):
        raise ArgumentError(f"{where}: {name} must be finite.")
    return array


def _random_terms(
    group: GroupTerm, frame: "pd.DataFrame", names: Names, where: str
) -> list[RandomTerm]:
    """One term, or with || one for each column: effects that are independent of each other."""
    grouping = Grouping.observed(frame, group.factors)
    values, piece = evaluate_piece(group.inner, frame, names, where)
    if values.shape[1] == 0:
        raise ArgumentError(f"{where}: the group term {group} has no columns.")
    if len(grouping.levels) < 2:
        raise ArgumentError(
            f"{where}: the grouping factor {group.group!r} must have at least two levels, got "
            f"{len(grouping.levels)}. One level has no variance: make it a fixed effect."
        )
    if group.correlated:
        return [RandomTerm(grouping, piece.columns, values, piece)]
    return [
        RandomTerm(grouping, (column,), values[:, k : k + 1], piece, slice(k, k + 1))
        for k, column in enumerate(piece.columns)
    ]


def independent_columns(X: np.ndarray) -> np.ndarray:
    """Indices of the columns that are no combination of those before them.

    Args:
        X: `(n, p)`.

    Example:
        >>> import numpy as np
        >>> from cholax.stats._lmm.design import independent_columns
        >>> independent_columns(np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]])).tolist()
        [0, 2]
    """
    Q, kept = np.empty(X.shape, order="F"), list[int]()
    X = X / np.maximum(np.max(np.abs(X), axis=0, initial=0.0), np.finfo(np.float64).tiny)
    for k, column in enumerate(X.T):
        basis = Q[:, : len(kept)]
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)
        length, left = np.linalg.norm(column), np.linalg.norm(rest)
        if length > 0 and left > _ALIASED * length:
            Q[:, len(kept)] = rest / left
            kept.append(k)
    return np.array(kept, np.int64)
