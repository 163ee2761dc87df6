"""Grouping factors: which level each row belongs to, in the data and in new data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Grouping:
    """The observed combinations of the levels of one or several factors.

    Levels are in the order of a categorical column's categories, else sorted; combinations in
    lexicographic order, the first factor varying slowest, as in R.

    Attributes:
        factors: the columns.
        levels: `(L,)` labels, as they are in the column; `"a:b"` for combinations.
        codes: `(n,)` the level of each row.
    """

    factors: tuple[str, ...]
    levels: np.ndarray
    codes: np.ndarray
    _each: tuple[dict[Any, int], ...]
    _combined: np.ndarray

    @classmethod
    def observed(cls, frame: Any, factors: Sequence[str]) -> "Grouping":
        """The combinations found in a table."""
        each = [_levels(frame[name]) for name in factors]
        index = tuple({level: k for k, level in enumerate(found)} for found in each)
        combined, codes = np.unique(_combine(frame, factors, index), return_inverse=True)
        places = np.unravel_index(combined, [len(found) for found in each])
        rows = zip(*places, strict=True)
        labels = [[found[k] for found, k in zip(each, row, strict=True)] for row in rows]
        levels = np.empty(len(labels), object)
        levels[:] = [x[0] if len(x) == 1 else ":".join(map(str, x)) for x in labels]
        return cls(tuple(factors), levels, codes.astype(np.int32), index, combined)

    def find(self, frame: Any) -> np.ndarray:
        """The level of each row of another table, -1 where it was not observed."""
        wanted = _combine(frame, self.factors, self._each)
        place = np.minimum(np.searchsorted(self._combined, wanted), self._combined.size - 1)
        return np.where(self._combined[place] == wanted, place, -1).astype(np.int32)


def _levels(series: Any) -> list[Any]:
    import pandas as pd

    if isinstance(series.dtype, pd.CategoricalDtype):
        return list(series.cat.categories)
    return sorted(series.unique().tolist())


def _combine(frame: Any, factors: Sequence[str], index: Sequence[dict[Any, int]]) -> np.ndarray:
    """One integer per combination in lexicographic order; -1 for a level that is not known."""
    combined = np.zeros(len(frame), np.int64)
    known = np.ones(len(frame), bool)
    for name, found in zip(factors, index, strict=True):
        code = frame[name].astype(object).map(found).to_numpy(float, na_value=np.nan)
        known &= np.isfinite(code)
        combined = combined * len(found) + np.where(np.isfinite(code), code, 0).astype(np.int64)
    return np.where(known, combined, -1)
