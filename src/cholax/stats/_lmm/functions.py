"""The functions of formulas: formulaic's, and those that R users expect."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

# R's spellings, as this module or Python knows them.
SPELLINGS = {
    "as.factor": "factor",
    "as.ordered": "ordered",
    "as.numeric": "as_numeric",
    "as.integer": "as_numeric",
    "TRUE": "True",
    "FALSE": "False",
    "NULL": "None",
    "ceiling": "ceil",
    "ifelse": "where",
}
CONSTANTS = ("True", "False", "None", "pi")


def _log(x: Any, base: float | None = None) -> Any:
    return np.log(x) if base is None else np.log(x) / np.log(base)


def _as_numeric(x: Any) -> Any:
    """Numbers in a column, also where they are the levels of a factor."""
    return np.asarray(x).astype(np.float64)


def _exp10(x: Any) -> Any:
    """10ˣ; formulaic's own takes the tenth power."""
    return np.power(10.0, x)


def _c(*values: Any) -> list[Any]:
    """R's way to write a list."""
    return list(values)


@cache
def context() -> Mapping[str, Any]:
    """What a formula may call, beside formulaic's own transforms."""
    plain = {name: getattr(np, name) for name in _NUMPY}
    return {
        **plain,
        "log": _log,
        "exp10": _exp10,
        "c": _c,
        "as_numeric": _as_numeric,
        "poly": _poly(),
        "C": _factor,
        "factor": _factor,
        "ordered": _ordered,
        "pi": np.pi,
    }


_NUMPY = (
    "sqrt", "abs", "log1p", "expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh", "floor", "ceil",
    "round", "sign", "where", "minimum", "maximum",
)  # fmt: skip


@cache
def function_names() -> frozenset[str]:
    """Names that a formula may call, and modules and constants in it."""
    from formulaic.transforms import TRANSFORMS

    return frozenset(TRANSFORMS) | frozenset(context()) | {"offset", "cbind"}


def _poly() -> Callable[..., Any]:
    from formulaic.transforms.poly import poly as formulaic_poly
    from formulaic.utils.stateful_transforms import stateful_transform

    def poly(x: Any, degree: int = 1, raw: bool = False, _state: Any = None) -> Any:
        state = {} if _state is None else _state
        if degree < 1 or ("fitted" not in state and np.unique(np.asarray(x)).size <= degree):
            raise ValueError(f"degree {degree} must be positive and below the number of values")
        state["fitted"] = True
        return formulaic_poly(x, degree, raw, _state=state)

    return stateful_transform(poly)


def _factor(
    x: Any,
    contrasts: Any = None,
    *,
    levels: Any = None,
    ordered: bool | None = None,
    spans_intercept: bool = True,
) -> Any:
    """A factor; without contrasts of its own an ordered one gets polynomials, as in R."""
    import pandas as pd
    from formulaic.materializers.types import FactorValues
    from formulaic.transforms.contrasts import PolyContrasts, TreatmentContrasts, encode_contrasts

    x = _whole(x)
    values = getattr(x, "__wrapped__", x)
    if ordered is None:
        ordered = bool(getattr(getattr(values, "dtype", None), "ordered", False))

    def encoder(
        values: Any, reduced_rank: bool, drop_rows: Any, encoder_state: Any, model_spec: Any
    ) -> Any:
        del drop_rows  # incomplete rows are gone already
        column = pd.Series(getattr(values, "__wrapped__", values))
        chosen = _contrasts(contrasts)
        if chosen is None and "contrasts" in encoder_state:
            chosen = encoder_state["contrasts"].contrasts
        elif chosen is None:
            chosen = PolyContrasts() if ordered else TreatmentContrasts()
        return encode_contrasts(
            column, contrasts=chosen, levels=levels, reduced_rank=reduced_rank,
            _state=encoder_state, _spec=model_spec,
        )  # fmt: skip

    return FactorValues(x, kind="categorical", spans_intercept=spans_intercept, encoder=encoder)


def _whole(x: Any) -> Any:
    """Levels that are whole numbers as integers: 1 and not 1.0."""
    values = getattr(x, "__wrapped__", x)
    dtype = getattr(values, "dtype", None)
    if getattr(dtype, "kind", "") != "f" or not np.array_equal(values, np.round(values)):
        return x
    return values.astype("int64")


def _contrasts(chosen: Any) -> Any:
    """Contrasts named by a string, as in R, or by a function that makes them, as in patsy."""
    from formulaic.transforms.contrasts import ContrastsRegistry

    if isinstance(chosen, str):
        name = chosen.removeprefix("contr.")
        made = getattr(ContrastsRegistry, name, None) if name.isidentifier() else None
        if made is None:
            raise ValueError(
                f"unknown contrasts {chosen!r}; there are contr.treatment, contr.sum, "
                "contr.helmert, contr.poly, contr.diff"
            )
        chosen = made
    return chosen() if callable(chosen) else chosen


def _ordered(x: Any, levels: Any = None) -> Any:
    """A factor with polynomial contrasts."""
    return _factor(x, levels=levels, ordered=True)
