"""Data frames of any kind as the columns a formula needs, without the rows that miss a value."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cholax._core.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    import pandas as pd

INSTALL = "Install the extra: pip install 'cholax[formula]'."


class Table(NamedTuple):
    """Complete rows of the columns asked for.

    Attributes:
        frame: a pandas `DataFrame`; text columns are categorical with sorted levels.
        kept: `(rows,)` which rows of the data it holds.
    """

    frame: "pd.DataFrame"
    kept: np.ndarray

    @property
    def dropped(self) -> int:
        """Rows left out because a value was missing."""
        return int(self.kept.size - self.kept.sum())


class Source:
    """Data of any kind, of which no column is read before it is needed.

    Args:
        data: a pandas, polars or pyarrow table (anything narwhals reads), or a mapping of columns.
        where: the caller, for messages.

    Attributes:
        columns: names of its columns.

    Raises:
        ArgumentError: something that is no table.
        ImportError: the libraries of the extra are not there.
    """

    def __init__(self, data: Any, where: str) -> None:
        try:
            import narwhals as nw
            import pandas as pd
        except ImportError as error:
            raise ImportError(f"{where}: needs pandas and formulaic. {INSTALL}") from error
        self.where = where
        if isinstance(data, Mapping):
            self._keys, self._get = list(data), data.__getitem__
        elif isinstance(data, pd.DataFrame):  # its names may be numbers
            self._keys = list(data.columns)
            self._get = lambda key: data[key].reset_index(drop=True)
        else:
            try:
                table = nw.from_native(data, eager_only=True)
            except (TypeError, ValueError) as error:
                raise ArgumentError(
                    f"{where}: data must be a pandas, polars or pyarrow table or a mapping of "
                    f"columns, got {type(data).__name__}. Collect a lazy table first."
                ) from error
            self._keys, self._get = table.columns, lambda name: _from_narwhals(table[name])
        self.columns = [str(key) for key in self._keys]

    def read(self, names: Iterable[str]) -> Table:
        """The named columns in one form and without incomplete rows.

        Raises:
            ArgumentError: a column is missing or cannot be used, or no complete row is left.
            ShapeError: columns of different lengths.
        """
        import pandas as pd

        where, columns = self.where, self._take(list(names))
        frame = pd.DataFrame({name: _tidy(x, name, where) for name, x in columns.items()})
        if not columns:
            frame = pd.DataFrame(index=range(len(self._get(self._keys[0])) if self._keys else 0))
        missing = np.asarray(frame.isna().to_numpy().any(axis=1))
        if len(frame) == 0 or missing.all():
            raise ArgumentError(
                f"{where}: need complete rows, got {len(frame)} rows of which "
                f"{int(missing.sum())} miss a value."
            )
        frame = frame.loc[~missing].reset_index(drop=True)
        for name in frame.columns:
            if pd.api.types.is_bool_dtype(frame[name].dtype):
                frame[name] = frame[name].astype(bool)  # no value misses any more
            if isinstance(frame[name].dtype, pd.CategoricalDtype):
                frame[name] = pd.Series(frame[name]).cat.remove_unused_categories()
        return Table(frame, ~missing)

    def _take(self, names: list[str]) -> dict[str, Any]:
        keys = dict(zip(self.columns, self._keys, strict=True))
        absent = [name for name in names if name not in keys]
        if absent:
            have, more = self.columns[:20], ", …" if len(keys) > 20 else ""
            raise ArgumentError(
                f"{self.where}: the data has no column {', '.join(map(repr, absent))}. It has "
                f"{', '.join(have)}{more}."
            )
        twice = [name for name in names if self.columns.count(name) > 1]
        if twice:
            raise ArgumentError(
                f"{self.where}: the data has several columns {', '.join(map(repr, twice))}. "
                "Rename all but one."
            )
        columns = {name: self._get(keys[name]) for name in names}
        for name, values in columns.items():
            if np.ndim(values) != 1:
                raise ShapeError(
                    f"{self.where}: the column {name!r} must have one value per row, got an array "
                    f"of shape {np.shape(values)}."
                )
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"{self.where}: the columns must be of one length, got {lengths}.")
        return columns


def read_table(data: Any, names: Iterable[str], where: str) -> Table:
    """The named columns of `data`; see `Source`."""
    return Source(data, where).read(names)


def _from_narwhals(series: Any) -> Any:
    import narwhals as nw
    import pandas as pd

    native = series.to_native()
    if isinstance(native, pd.Series):
        return native.reset_index(drop=True)
    if isinstance(series.dtype, nw.Enum):  # its order is the user's
        return pd.Categorical(series.to_list(), list(series.dtype.categories), ordered=True)
    if series.dtype.is_numeric():
        # Through a list where values are missing: integers have no NaN of their own.
        return series.to_list() if series.null_count() else series.to_numpy()
    return series.to_list()


def _tidy(values: Any, name: str, where: str) -> Any:
    """Text becomes categorical with sorted levels, numbers become plain float64 or int64."""
    import pandas as pd

    series = values if isinstance(values, pd.Series) else pd.Series(values)
    if isinstance(series.dtype, pd.CategoricalDtype):
        return series
    if series.dtype == object:
        series = _typed(series)
    if pd.api.types.is_bool_dtype(series.dtype):
        return series if series.isna().any() else series.astype(bool)
    if pd.api.types.is_timedelta64_dtype(series.dtype):
        raise ArgumentError(
            f"{where}: the column {name!r} holds time differences. Convert them to numbers in a "
            "unit, such as column.dt.total_seconds()."
        )
    if pd.api.types.is_integer_dtype(series.dtype):
        return series.astype("float64" if series.isna().any() else "int64")
    if pd.api.types.is_complex_dtype(series.dtype):
        raise ArgumentError(f"{where}: the column {name!r} has complex numbers. Use real ones.")
    if pd.api.types.is_numeric_dtype(series.dtype):
        return series.astype("float64")
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return series
    try:
        levels = sorted(series.dropna().unique())
    except TypeError as error:
        raise ArgumentError(
            f"{where}: the column {name!r} mixes values that have no common order ({error}). "
            "Convert it to numbers or to text."
        ) from error
    return pd.Series(pd.Categorical(series, categories=levels))


def _typed(series: Any) -> Any:
    """A column of Python objects as what all of them are; text and mixtures stay objects."""
    import pandas as pd

    found = pd.api.types.infer_dtype(series, skipna=True)
    match found:
        case "integer" | "floating" | "mixed-integer-float" | "decimal":
            floats = series.where(series.notna(), np.nan).astype("float64")
            whole = found == "integer" and not series.isna().any() and floats.abs().max() < 2**53
            return floats.astype("int64") if whole else floats
        case "boolean":
            return series.astype("boolean")
        case "date" | "datetime" | "datetime64":
            return pd.to_datetime(series)
        case "timedelta" | "timedelta64":
            return pd.to_timedelta(series)
        case "complex":
            return series.astype("complex128")
        case _:
            return series
