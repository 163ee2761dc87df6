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


def read_table(data: Any, names: Iterable[str], where: str) -> Table:
    """Take the named columns out of `data`, in one form and without incomplete rows.

    Args:
        data: a pandas, polars or pyarrow table (anything narwhals reads), or a mapping of columns.
        names: the columns needed.
        where: the caller, for messages.

    Raises:
        ArgumentError: a column is missing, or no complete row is left.
        ImportError: the libraries of the extra are not there.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(f"{where}: needs pandas and formulaic. {INSTALL}") from error

    columns = _columns(data, list(names), where)
    frame = pd.DataFrame({name: _tidy(values) for name, values in columns.items()})
    missing = np.asarray(frame.isna().to_numpy().any(axis=1))
    if len(frame) == 0 or missing.all():
        raise ArgumentError(
            f"{where}: need complete rows, got {len(frame)} rows of which {int(missing.sum())} "
            "miss a value."
        )
    frame = frame.loc[~missing].reset_index(drop=True)
    for name in frame.columns:
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            frame[name] = pd.Series(frame[name]).cat.remove_unused_categories()
    return Table(frame, ~missing)


def _columns(data: Any, names: list[str], where: str) -> dict[str, Any]:
    if isinstance(data, Mapping):
        have, get = list(data), lambda name: data[name]
    else:
        import narwhals as nw

        table = nw.from_native(data, eager_only=True)
        have, get = table.columns, lambda name: _from_narwhals(table[name])
    absent = [name for name in names if name not in have]
    if absent:
        raise ArgumentError(
            f"{where}: the data has no column {', '.join(map(repr, absent))}. It has "
            f"{', '.join(map(str, have[:20]))}{', …' if len(have) > 20 else ''}."
        )
    columns = {name: get(name) for name in names}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"{where}: the columns must be of one length, got {lengths}.")
    return columns


def _from_narwhals(series: Any) -> Any:
    import narwhals as nw
    import pandas as pd

    native = series.to_native()
    if isinstance(native, pd.Series):
        return native.reset_index(drop=True)
    if isinstance(series.dtype, nw.Enum):  # its order is the user's
        return pd.Categorical(series.to_list(), categories=list(series.dtype.categories))
    if series.dtype.is_numeric():
        # Through a list where values are missing: integers have no NaN of their own.
        return series.to_list() if series.null_count() else series.to_numpy()
    return series.to_list()


def _tidy(values: Any) -> Any:
    """Text becomes categorical with sorted levels, numbers become plain float64 or int64."""
    import pandas as pd

    series = values if isinstance(values, pd.Series) else pd.Series(values)
    if isinstance(series.dtype, pd.CategoricalDtype):
        return series
    if pd.api.types.is_bool_dtype(series.dtype):
        return series
    if pd.api.types.is_integer_dtype(series.dtype):
        return series.astype("float64" if series.isna().any() else "int64")
    if pd.api.types.is_numeric_dtype(series.dtype):
        return series.astype("float64")
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return series
    levels = sorted(series.dropna().unique())
    return pd.Series(pd.Categorical(series, categories=levels))
