"""What a column held in the fit, numbers, labels or dates, and new data read as the same."""

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from cholax._core.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd


class Kind(NamedTuple):
    """What a column holds, and whether as the levels of a factor."""

    what: str
    is_factor: bool

    @classmethod
    def of(cls, series: Any) -> "Kind":
        """The kind of a tidy column.

        Example:
            >>> import pandas as pd
            >>> from cholax.stats._lmm.kinds import Kind
            >>> Kind.of(pd.Series([1.0])), Kind.of(pd.Series(["a"], dtype="category"))
            (Kind(what='numbers', is_factor=False), Kind(what='labels', is_factor=True))
        """
        import pandas as pd

        if pd.api.types.is_datetime64_any_dtype(series.dtype):
            return cls("dates", False)
        if not isinstance(series.dtype, pd.CategoricalDtype):
            return cls("numbers", False)
        plain = all(isinstance(level, numbers.Real) for level in series.cat.categories)
        return cls("numbers" if plain else "labels", True)


def kinds_of(frame: "pd.DataFrame") -> dict[str, Kind]:
    """The kind of every column."""
    return {str(name): Kind.of(frame[name]) for name in frame.columns}


def as_fitted(frame: "pd.DataFrame", kinds: Mapping[str, Kind], where: str) -> "pd.DataFrame":
    """New data with factors where the fit had factors, and numbers where it had numbers.

    Without this, numbers in the place of a factor would be multiplied by the effect of one of its
    levels, and text in the place of a numbered group would be a new level.

    Args:
        frame: complete rows of new data.
        kinds: of the columns of the fit.
        where: the caller, for messages.

    Raises:
        ArgumentError: labels where the fit had numbers, or the other way round.
    """
    import pandas as pd

    changed = {}
    for name, new in kinds_of(frame).items():
        old = kinds.get(name, new)
        if old.what != new.what:
            raise ArgumentError(
                f"{where}: the column {name!r} holds {new.what}, where the data of the fit had "
                f"{old.what}. Convert it."
            )
        if old.is_factor and not new.is_factor:
            changed[name] = pd.Categorical(frame[name])
        elif new.is_factor and not old.is_factor:
            changed[name] = frame[name].astype("float64")
    return frame.assign(**changed)
