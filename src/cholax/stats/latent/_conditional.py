"""Proper conditional autoregressions on a graph."""

from typing import Any, Literal

import jax
import numpy as np
import scipy.sparse as sp

from cholax._core.pickling import recipe
from cholax.stats.latent._combination import combination
from cholax.stats.latent._model import Hyperparameter, LatentModel, with_precision
from cholax.stats.latent.graph import Graph, check_singletons
from cholax.stats.support import UNIT, Interval


@recipe
def proper_car(graph: Any, *, singletons: Literal["iid"] | None = None) -> LatentModel:
    """Proper conditional autoregression, Q = τ (D - ρ W).

    E(x_i | rest) = ρ Σ_j w_ij x_j / d_i and Var(x_i | rest) = 1/(τ d_i), d_i the sum of node i's
    weights. Positive definite for -1 < ρ < 1. Hyperparameters: `precision` τ > 0, or `sd`; with
    `rho` between -1 and 1.

    Args:
        graph: as for `besag`.
        singletons: "iid" makes the effect of nodes without neighbours N(0, 1/τ).

    Returns:
        A `LatentModel`.

    Raises:
        ArgumentError: nodes without neighbours while `singletons` is not given; bad weights.
        StructureError: weights that are not symmetric.

    Example:
        >>> from cholax.stats import Graph, proper_car
        >>> model = proper_car(Graph.from_edges(2, [[0, 1]]))
        >>> model.precision(precision=1.0, rho=0.5).to_dense().tolist()
        [[1.0, -0.5], [-0.5, 1.0]]

    Reference:
        Besag, "Spatial interaction and the statistical analysis of lattice systems" (1974).
    """
    graph = Graph.of(graph)
    check_singletons(graph, singletons, "proper_car", choices=("iid",))
    degrees = graph.degrees.copy()
    degrees[graph.singletons] = 1.0
    rho = Hyperparameter("rho", Interval(-1.0, 1.0))

    def coefficients(precision: jax.Array, rho: jax.Array) -> tuple[jax.Array, ...]:
        return precision, -precision * rho

    pattern, values = combination([sp.diags_array(degrees), graph.adjacency], coefficients)
    return LatentModel(
        "proper_car", pattern, with_precision(rho), values, null_space=np.zeros((graph.n, 0))
    )


@recipe
def leroux(graph: Any) -> LatentModel:
    """Leroux's conditional autoregression, Q = τ ((1 - φ) I + φ R), R the Laplacian.

    Between independence at φ = 0 and the intrinsic field at φ = 1, which is excluded. Nodes without
    neighbours are N(0, 1/(τ (1 - φ))). Hyperparameters: `precision` τ > 0, or `sd`; with `phi`
    between 0 and 1.

    Args:
        graph: as for `besag`.

    Returns:
        A `LatentModel`.

    Raises:
        ArgumentError: bad weights.
        StructureError: weights that are not symmetric.

    Example:
        >>> from cholax.stats import Graph, leroux
        >>> model = leroux(Graph.from_edges(2, [[0, 1]]))
        >>> model.precision(precision=1.0, phi=0.25).to_dense().tolist()
        [[1.0, -0.25], [-0.25, 1.0]]

    Reference:
        Leroux, Lei & Breslow, "Estimation of disease rates in small areas" (2000).
    """
    graph = Graph.of(graph)
    phi = Hyperparameter("phi", UNIT)

    def coefficients(precision: jax.Array, phi: jax.Array) -> tuple[jax.Array, ...]:
        return precision * (1.0 - phi), precision * phi

    pattern, values = combination([sp.eye_array(graph.n), graph.laplacian], coefficients)
    return LatentModel(
        "leroux", pattern, with_precision(phi), values, null_space=np.zeros((graph.n, 0))
    )
