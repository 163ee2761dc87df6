"""Variances of random effects, their conditional modes and conditional variances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from cholax.linalg.matrix import SparseMatrix
from cholax.stats._lmm.design import RandomTerm
from cholax.stats._lmm.layout import Layout

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class VarianceComponent:
    """The estimated covariance of the effects of one term.

    Attributes:
        group: the grouping factor.
        columns: names of the effects.
        covariance: `(p, p)`.
    """

    group: str
    columns: tuple[str, ...]
    covariance: np.ndarray

    @property
    def sd(self) -> np.ndarray:
        """`(p,)` standard deviations."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def correlation(self) -> np.ndarray:
        """`(p, p)`; NaN where a variance is zero."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.covariance / np.outer(self.sd, self.sd)


@dataclass(frozen=True, eq=False)
class RandomEffects:
    """Conditional modes of the effects of one grouping factor, given data and parameters.

    Attributes:
        group: the factor.
        levels: `(L,)` labels.
        columns: names of the effects.
        modes: `(L, p)`.
        covariances: `(L, p, p)` conditional covariances, fixed effects taken as known.
    """

    group: str
    levels: np.ndarray
    columns: tuple[str, ...]
    modes: np.ndarray
    covariances: np.ndarray

    @property
    def sd(self) -> np.ndarray:
        """`(L, p)` conditional standard deviations."""
        return np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))

    def to_pandas(self) -> "pd.DataFrame":
        """One row per level: modes, then standard deviations."""
        import pandas as pd

        names = [*self.columns, *(f"sd[{name}]" for name in self.columns)]
        return pd.DataFrame(np.hstack([self.modes, self.sd]), self.levels, names)


def variance_components(
    terms: Sequence[RandomTerm], covariances: Sequence[np.ndarray]
) -> dict[str, VarianceComponent]:
    """By group; further terms of one group are called `group.1`, `group.2`, … as in lme4."""
    found: dict[str, VarianceComponent] = {}
    for term, covariance in zip(terms, covariances, strict=True):
        seen = sum(component.group == term.group for component in found.values())
        name = f"{term.group}.{seen}" if seen else term.group
        found[name] = VarianceComponent(term.group, term.columns, np.asarray(covariance))
    return found


def random_effects(
    terms: Sequence[RandomTerm],
    layout: Layout,
    templates: Sequence[np.ndarray],
    u: np.ndarray,
    inverse: SparseMatrix,
    scale: float,
) -> dict[str, RandomEffects]:
    """Modes T u and covariances σ² T [A⁻¹]_level Tᵀ, the terms of one group side by side.

    Args:
        terms: of the model.
        layout: its structure.
        templates: T of each term on the user's scale.
        u: `(q,)` spherical modes.
        inverse: A⁻¹ on A's pattern.
        scale: σ².
    """
    lower = inverse.to_scipy().tocsr()
    found = {}
    for group in dict.fromkeys(term.group for term in terms):
        members = [t for t, term in enumerate(terms) if term.group == group]
        modes, places = [], []
        for t in members:
            levels, p = layout.sizes[t]
            place = layout.offsets[t] + np.arange(levels * p).reshape(levels, p)
            modes.append(u[place] @ templates[t].T)
            places.append(place)
        place = np.hstack(places)
        L = _block_diagonal([templates[t] for t in members])
        columns = tuple(name for t in members for name in terms[t].columns)
        covariances = scale * L @ _blocks(lower, place) @ L.T
        levels = terms[members[0]].grouping.levels
        found[group] = RandomEffects(group, levels, columns, np.hstack(modes), covariances)
    return found


def _blocks(lower: object, place: np.ndarray) -> np.ndarray:
    """Dense diagonal blocks of a symmetric matrix; `to_scipy` gives both its triangles."""
    levels, p = place.shape
    rows = np.broadcast_to(place[:, :, None], (levels, p, p)).ravel()
    columns = np.broadcast_to(place[:, None, :], (levels, p, p)).ravel()
    return np.asarray(lower[rows, columns]).reshape(levels, p, p)  # type: ignore[index]


def _block_diagonal(blocks: Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(scipy.linalg.block_diag(*blocks))
