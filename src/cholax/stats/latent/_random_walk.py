"""Random walks of first and second order, intrinsic models of smooth functions."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from cholax._core.errors import ArgumentError
from cholax._core.pickling import recipe
from cholax.stats.constraints import Constraints, intrinsic
from cholax.stats.latent._combination import combination
from cholax.stats.latent._model import LatentModel, with_precision
from cholax.stats.latent._sizes import check_size

Constrain = Literal["null_space", "sum"] | None


@recipe
def rw1(
    n: int | None = None,
    *,
    locations: ArrayLike | None = None,
    cyclic: bool = False,
    scaled: bool = False,
    constrain: Constrain = "null_space",
) -> LatentModel:
    """Random walk of first order: increments x_{i+1} - x_i ~ N(0, h_i/τ), h_i their distance.

    Q = τ R, R = Dᵀ diag(1/h) D with first differences D; rank n - 1, constants are free and, by
    default, excluded by Σ x_i = 0. Hyperparameters: `precision` τ > 0, or `sd`.

    Args:
        n: number of knots, when they are equally spaced.
        locations: instead of n, increasing positions of the knots.
        cyclic: the last knot is a neighbour of the first; equally spaced knots only.
        scaled: multiply R so that the geometric mean of the marginal variances is 1/τ (Sørbye &
            Rue 2014).
        constrain: "null_space" for Σ x_i = 0, or `None` for an improper field.

    Returns:
        A `LatentModel`.

    Raises:
        ArgumentError: fewer than 2 knots (3 if cyclic), or locations that do not increase.

    Example:
        >>> from cholax.stats import rw1
        >>> rw1(3).precision(precision=2.0).to_dense().tolist()
        [[2.0, -2.0, 0.0], [-2.0, 4.0, -2.0], [0.0, -2.0, 2.0]]

    Reference:
        Rue & Held, *Gaussian Markov Random Fields* (2005), section 3.3.1.
    """
    where = "rw1"
    t = _knots(n, locations, cyclic, 3 if cyclic else 2, where)
    if cyclic:
        D = _cyclic_difference(t.size)
    else:
        D = sp.diags_array(np.diff(t) ** -0.5) @ _difference(t.size)
    return _random_walk(where, sp.csc_array(D.T @ D), np.ones((t.size, 1)), scaled, constrain)


@recipe
def rw2(
    n: int | None = None,
    *,
    locations: ArrayLike | None = None,
    cyclic: bool = False,
    scaled: bool = False,
    constrain: Constrain = "null_space",
) -> LatentModel:
    """Random walk of second order: changes of slope are independent, x_{i-1} - 2x_i + x_{i+1}.

    Q = τ R with xᵀRx = Σ_i ((x_{i+1} - x_i)/h_i - (x_i - x_{i-1})/h_{i-1})² / ((h_{i-1} + h_i)/2),
    which for distances h = 1 is the sum of squared second differences and otherwise approximates
    ∫ (x″)². Rank n - 2: straight lines are free (constants alone, rank n - 1, if cyclic).
    Hyperparameters: `precision` τ > 0, or `sd`.

    Args:
        n: number of knots, when they are equally spaced.
        locations: instead of n, increasing positions of the knots.
        cyclic: the last knot is a neighbour of the first; equally spaced knots only.
        scaled: as for `rw1`.
        constrain: "null_space" excludes straight lines (or constants); "sum" imposes Σ x_i = 0
            alone and leaves the slope free with a flat density, for models without a linear term
            of their own; `None` for an improper field.

    Returns:
        A `LatentModel`.

    Raises:
        ArgumentError: fewer than 3 knots, or locations that do not increase.

    Example:
        >>> from cholax.stats import rw2
        >>> rw2(4).rank
        2

    Reference:
        Rue & Held, *Gaussian Markov Random Fields* (2005), section 3.4.
    """
    where = "rw2"
    t = _knots(n, locations, cyclic, 3, where)
    if cyclic:
        D = _cyclic_difference(t.size)
        return _random_walk(where, sp.csc_array((D.T @ D) @ (D.T @ D)), _ones(t), scaled, constrain)
    h = np.diff(t)
    slopes = sp.diags_array(1.0 / h) @ _difference(t.size)
    D = sp.diags_array(((h[:-1] + h[1:]) / 2.0) ** -0.5) @ _difference(h.size) @ slopes
    lines = np.column_stack([np.ones(t.size), (t - t.mean()) / (t[-1] - t[0])])
    return _random_walk(where, sp.csc_array(D.T @ D), lines, scaled, constrain)


def _random_walk(
    where: str, R: Any, null_space: np.ndarray, scaled: bool, constrain: Constrain
) -> LatentModel:
    V = np.linalg.qr(null_space)[0]
    n, rank = R.shape[0], R.shape[0] - V.shape[1]
    found = intrinsic(R, V, where=where)
    scale = float(np.exp(np.mean(np.log(found.variances)))) if scaled else 1.0
    constant = found.log_det + rank * math.log(scale)
    pattern, values = combination([scale * R], lambda precision: (precision,))

    def log_det(precision: jax.Array) -> jax.Array:
        return rank * jnp.log(precision) + constant

    return LatentModel(
        where,
        pattern,
        with_precision(),
        values,
        null_space=V,
        constraints=_constraints(null_space, n, constrain, where),
        cheap_log_det=log_det,
        scale=np.asarray(scale),
    )


def _constraints(
    null_space: np.ndarray, n: int, constrain: Constrain, where: str
) -> Constraints | None:
    if constrain == "null_space":
        return Constraints(null_space.T)
    if constrain == "sum":
        return Constraints(np.ones((1, n)))
    if constrain is None:
        return None
    raise ArgumentError(
        f"{where}: constrain must be 'null_space', 'sum' or None, got {constrain!r}."
    )


def _knots(n: Any, locations: Any, cyclic: bool, least: int, where: str) -> np.ndarray:
    if (n is None) == (locations is None):
        raise ArgumentError(f"{where}: need n or locations, and not both. Pass one of them.")
    if locations is None:
        return np.arange(check_size(n, least, where), dtype=float)
    if cyclic:
        raise ArgumentError(
            f"{where}: a cyclic walk needs equally spaced knots, got locations. Pass n instead."
        )
    t = np.asarray(locations, float)
    if t.ndim != 1 or t.size < least or not (np.isfinite(t).all() and (np.diff(t) > 0).all()):
        raise ArgumentError(
            f"{where}: locations must be at least {least} finite increasing numbers, got shape "
            f"{t.shape}. Use numpy.unique, and its inverse for the design."
        )
    return t


def _difference(n: int) -> Any:
    """The (n - 1, n) matrix of first differences."""
    return sp.eye_array(n - 1, n, k=1) - sp.eye_array(n - 1, n)


def _cyclic_difference(n: int) -> Any:
    """The (n, n) matrix of first differences around the circle."""
    i = np.arange(n)
    entries = np.concatenate([-np.ones(n), np.ones(n)])
    ends = np.concatenate([i, i]), np.concatenate([i, (i + 1) % n])
    return sp.csc_array(sp.coo_array((entries, ends), shape=(n, n)))


def _ones(t: np.ndarray) -> np.ndarray:
    return np.ones((t.size, 1))
