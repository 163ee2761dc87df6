"""Predictions of fitted mixed models for new rows, with standard errors by the delta method."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from cholax._core import options
from cholax._core.errors import ArgumentError, ShapeError
from cholax.stats._lmm.estimates import Estimates
from cholax.stats._lmm.response import check_sizes

# Right-hand sides of one solve: dense vectors as long as there are random effects.
_CHUNK = 256


class Prediction(NamedTuple):
    """A prediction with its standard error, `(rows,)` each."""

    mean: np.ndarray
    se: np.ndarray


class _Rows(NamedTuple):
    X: np.ndarray
    offset: np.ndarray
    codes: list[np.ndarray]
    values: list[np.ndarray]
    kept: np.ndarray
    known: dict[str, np.ndarray]


def predict(
    fit: Estimates,
    newdata: Any,
    *,
    random: bool,
    new_levels: bool,
    offset: Any,
    scale: str,
    se: bool,
) -> np.ndarray | Prediction:
    """The linear predictor or the mean of new rows; see `MixedFit.predict`."""
    scale = options.choice(scale, "predict", "type", ("link", "response"))
    random = options.flag(random, "predict", "random")
    new_levels = options.flag(new_levels, "predict", "new_levels")
    se = options.flag(se, "predict", "se")
    rows = _rows(fit, newdata, random, offset, scale)
    if random and not new_levels:
        _check_levels(fit, rows.codes)
    eta = rows.offset + rows.X @ fit.beta
    if random:
        eta = eta + fit.random_part(rows.codes, rows.values)
    error = np.sqrt(_variance(fit, rows, random)) if se else np.zeros_like(eta)
    if scale == "response":
        mean, slope = fit.mean_and_slope(eta, rows.known)
        eta, error = mean, np.abs(slope) * error
    if not se:
        return _full(eta, rows.kept)
    return Prediction(_full(eta, rows.kept), _full(error, rows.kept))


def _rows(fit: Estimates, newdata: Any, random: bool, offset: Any, scale: str) -> _Rows:
    design = fit.design
    exposure = design.given.get("exposure") if scale == "response" else None
    if newdata is not None:
        if exposure is not None and not isinstance(exposure, str):
            raise ArgumentError(
                "predict: the model was fitted with a vector as exposure, whose values for new "
                "rows are not known. Fit it with the name of a column."
            )
        also = (exposure,) if exposure else ()
        new = design.evaluate(newdata, "predict", random=random, offset=offset, also=also)
        known = {"exposure": new.table.frame[exposure].to_numpy(np.float64)} if exposure else {}
        check_sizes(known, "predict")
        return _Rows(new.X, new.offset, new.codes, new.values, new.table.kept, known)
    shift = design.offset
    if offset is not None:
        shift = shift - design.outside_offset + _fitted_offset(offset, design.n)
    codes = [term.grouping.codes for term in design.terms]
    values = [term.values for term in design.terms]
    known = {} if exposure is None else {"exposure": design.extra["exposure"]}
    return _Rows(design.X, shift, codes, values, np.ones(design.n, bool), known)


def _fitted_offset(offset: Any, n: int) -> np.ndarray:
    if isinstance(offset, str):
        raise ArgumentError(
            f"predict: offset={offset!r} names a column of new data, but none were given. Pass "
            "the table as newdata."
        )
    shape = np.shape(offset) if isinstance(offset, np.ndarray | list | tuple) else ()
    if shape not in ((), (n,)):
        raise ShapeError(f"predict: offset must be a number or of shape ({n},), got {shape}.")
    return options.vector(offset, "predict", "offset", shape)


def _full(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    full = np.full(kept.size, np.nan)
    full[kept] = values
    return full


def _check_levels(fit: Estimates, codes: list[np.ndarray]) -> None:
    for term, code in zip(fit.design.terms, codes, strict=True):
        if np.any(code < 0):
            raise ArgumentError(
                f"predict: {int(np.sum(code < 0))} rows have levels of {term.group!r} that "
                "were not in the data. With new_levels=True their effects are zero, their "
                "mean; random=False leaves all random effects out."
            )


def _variance(fit: Estimates, rows: _Rows, random: bool) -> np.ndarray:
    """Var(xᵀβ̂ + zᵀb̂ − xᵀβ − zᵀb), the variance parameters taken as known.

    With w = Λᵀz it is scale · wᵀA⁻¹w + cᵀ Cov(β̂) c, c = x − Sᵀw and S the sensitivity; a level
    that was not observed adds zᵀCov(b)z.
    """
    if not random or not fit.design.terms:
        return np.einsum("na,ab,nb->n", rows.X, fit.covariance(), rows.X)
    known, found = fit.uncertainty(), np.empty(len(rows.X))
    starts = fit.model.layout.offsets
    for first in range(0, len(rows.X), _CHUNK):
        here = slice(first, first + _CHUNK)
        X = rows.X[here]
        W, fresh = np.zeros((int(starts[-1]), len(X))), np.zeros(len(X))
        for T, code, value, start in zip(
            known.templates, rows.codes, rows.values, starts, strict=False
        ):
            loads, p = value[here] @ T, value.shape[1]
            seen = np.flatnonzero(code[here] >= 0)
            place = start + code[here][seen].astype(np.int64)[:, None] * p + np.arange(p)
            W[place, seen[:, None]] += loads[seen]
            fresh += np.where(code[here] < 0, np.sum(loads**2, axis=1), 0.0)
        solved = np.asarray(known.factor.solve(jnp.asarray(W)))
        C = X - W.T @ known.sensitivity
        found[here] = known.scale * (np.sum(W * solved, axis=0) + fresh)
        found[here] += np.einsum("na,ab,nb->n", C, fit.covariance(), C)
    return found
