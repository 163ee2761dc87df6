"""The left-hand side of a formula: numbers, counts of successes and failures, or two classes."""

import ast
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cholax._core.errors import ArgumentError
from cholax.stats._lmm.functions import context
from cholax.stats._lmm.names import Names

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray
BINARY = ("bernoulli", "binomial")


class Response(NamedTuple):
    """What is modelled.

    Attributes:
        y: `(n,)` numbers; of a factor 0 for its first level and 1 for the others, as in R.
        trials: `(n,)` of `cbind(successes, failures)`, else None.
        levels: of a factor, else empty.
    """

    y: Array
    trials: Array | None = None
    levels: tuple[Any, ...] = ()


def evaluate_response(
    text: str, frame: "pd.DataFrame", names: Names, where: str, family: str | None
) -> Response:
    """Compute the left-hand side of a formula.

    Args:
        text: an expression, or `cbind(successes, failures)`.
        frame: complete rows.
        names: of the formula.
        where: the caller, for messages.
        family: name of the family, None for a linear model.

    Raises:
        ArgumentError: what cannot be computed, is not finite, or does not fit the family.
    """
    written = names.translate(text, expression=True)
    try:
        tree = ast.parse(written, mode="eval").body
    except SyntaxError as error:
        raise ArgumentError(
            f"{where}: cannot read the response {text!r} of {names.text!r}: {error.msg}."
        ) from error
    variables = names.variables(frame)
    if isinstance(tree, ast.Call) and ast.unparse(tree.func) == "cbind":
        parts = [_compute(part, variables, text, names, where) for part in tree.args]
        return _successes(parts, text, where, family)
    value = _compute(tree, variables, text, names, where)
    codes, levels = _levels(value)
    if codes is None:
        return Response(_column(value, text, where))
    if family not in BINARY:
        raise ArgumentError(
            f"{where}: the response {text!r} must be one column of numbers, got a factor with "
            f"{len(levels)} levels. Code it as numbers first, or use a binary family."
        )
    if len(levels) < 2:
        raise ArgumentError(
            f"{where}: the response {text!r} is a factor with one level, {list(levels)}. A binary "
            "response needs two: the first is a failure."
        )
    return Response((codes > 0).astype(np.float64), None, levels)


def _compute(node: ast.expr, variables: Any, text: str, names: Names, where: str) -> Any:
    from formulaic.transforms import TRANSFORMS

    known = {**TRANSFORMS, **context(), **{name: variables[name] for name in variables}}
    try:
        code = compile(ast.Expression(node), "<formula>", "eval")
        return eval(code, {"__builtins__": {}, **known})
    except Exception as error:
        raise ArgumentError(
            f"{where}: cannot evaluate the response {text!r} of {names.text!r}: "
            f"{names.restore(str(error)) or type(error).__name__}. Correct it, or make a column "
            "of it first."
        ) from error


def _levels(value: Any) -> tuple[Array | None, tuple[Any, ...]]:
    """Codes and levels of a factor; numbers have none."""
    import pandas as pd

    marked = getattr(value, "__formulaic_metadata__", None)
    inner = getattr(value, "__wrapped__", value)
    is_factor = marked is not None and "CATEGORICAL" in str(marked.kind).upper()
    if is_factor or isinstance(getattr(inner, "dtype", None), pd.CategoricalDtype):
        factor = pd.Series(inner).astype("category").cat.remove_unused_categories()
        return factor.cat.codes.to_numpy(), tuple(factor.cat.categories)
    return None, ()


def _column(value: Any, text: str, where: str) -> Array:
    try:
        if np.asarray(value).dtype.kind in "mMc":
            raise TypeError(f"its values are {np.asarray(value).dtype}")
        y = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{where}: the response {text!r} must be one column of numbers: {error}."
        ) from error
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ArgumentError(
            f"{where}: the response {text!r} must be one column of numbers, got an array of shape "
            f"{y.shape}."
        )
    bad = np.flatnonzero(~np.isfinite(y))
    if bad.size:
        raise ArgumentError(
            f"{where}: the response {text!r} is {y[bad[0]]} in complete row {bad[0]}."
        )
    return y


def _successes(parts: list[Any], text: str, where: str, family: str | None) -> Response:
    if family != "binomial":
        what = "a linear model" if family is None else f"the family {family}"
        raise ArgumentError(
            f"{where}: {text!r} is a response of the family binomial, got {what}. Use "
            'glmm(…, family="binomial").'
        )
    if len(parts) != 2:
        raise ArgumentError(
            f"{where}: need cbind(successes, failures), got {len(parts)} columns in {text!r}."
        )
    successes, failures = (_column(part, text, where) for part in parts)
    trials = successes + failures
    bad = np.flatnonzero((successes < 0) | (failures < 0) | (trials == 0))
    if bad.size:
        raise ArgumentError(
            f"{where}: {text!r} has {successes[bad[0]]:g} successes and {failures[bad[0]]:g} "
            f"failures in complete row {bad[0]}; counts must not be negative and not both zero."
        )
    return Response(successes, trials)


def binomial_trials(
    response: Response, weights: Array | None, trials: Array | None, name: str, where: str
) -> tuple[Array, Array, Array | None]:
    """Successes, trials and weights of a binomial response, however it was given.

    A response of zeros and ones has one trial per row, proportions have `weights` trials, as in
    R's `glm`.

    Raises:
        ArgumentError: trials given twice or not at all; proportions that are no counts.
    """
    y = response.y
    if response.trials is not None:
        if trials is not None:
            raise ArgumentError(
                f"{where}: {name} has its own numbers of trials; leave out trials=."
            )
        return y, response.trials, weights
    if trials is not None:
        return y, trials, weights
    if weights is not None and np.all((y >= 0) & (y <= 1)):
        counts = y * weights
        successes = np.round(counts)
        bad = np.flatnonzero(np.abs(counts - successes) > 1e-6 * np.maximum(1.0, weights))
        if bad.size:
            row = bad[0]
            raise ArgumentError(
                f"{where}: the proportion {y[row]:g} of {weights[row]:g} trials is no count of "
                f"successes (complete row {row}). With proportions, weights= are the numbers of "
                "trials."
            )
        return successes, weights, None
    if np.all((y == 0) | (y == 1)):
        return y, np.ones_like(y), weights
    raise ArgumentError(
        f"{where}: the family binomial needs trials=, a column name or a vector, or a response "
        "cbind(successes, failures), or proportions with the numbers of trials as weights=."
    )


def check_sizes(extra: dict[str, Array], where: str) -> None:
    """Exposures must be positive and numbers of trials positive whole numbers.

    Raises:
        ArgumentError: others, of which the density would be NaN, or the mean negative.
    """
    for name, values in extra.items():
        whole = name == "trials"
        bad = np.flatnonzero(~(values > 0) | (whole & (values != np.round(values))))
        if bad.size:
            what = "positive whole numbers" if whole else "positive"
            raise ArgumentError(
                f"{where}: {name} must be {what}, got {values[bad[0]]:g} (complete row {bad[0]})."
            )
