"""The intrinsic conditional autoregression on a graph."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from cholax._core.pickling import recipe
from cholax.stats.constraints import Constraints, intrinsic
from cholax.stats.latent._combination import combination
from cholax.stats.latent._model import LatentModel, with_precision
from cholax.stats.latent.graph import Graph, Singletons, check_singletons


@recipe
def besag(graph: Any, *, scaled: bool = False, singletons: Singletons | None = None) -> LatentModel:
    """Intrinsic conditional autoregression (ICAR): neighbours differ little, the level is free.

    Q = τ R with the Laplacian R = D - W, so xᵀQx = τ Σ w_ij (x_i - x_j)² over the edges. In every
    connected component of n_c nodes R has rank n_c - 1, and Σ x_i = 0 holds exactly within it.
    Hyperparameters: `precision` τ > 0, or `sd`.

    Args:
        graph: `Graph`, symmetric SciPy adjacency matrix of positive weights, or spatial weights
            with an attribute `sparse`.
        scaled: multiply each component of R so that the geometric mean of its marginal variances
            is 1/τ (Sørbye & Rue 2014; Freni-Sterrantino, Ventrucci & Rue 2018).
        singletons: what the effect of nodes without neighbours is, when there are any: "zero"
            fixes it at 0, "iid" makes it N(0, 1/τ).

    Returns:
        A `LatentModel`; its `scale` holds the factor of each component.

    Raises:
        ArgumentError: nodes without neighbours while `singletons` is not given; bad weights.
        StructureError: weights that are not symmetric.

    Example:
        >>> from cholax.stats import Graph, besag
        >>> model = besag(Graph.from_edges(5, [[0, 1], [1, 2], [3, 4]]))
        >>> model.rank, model.constraints
        (3, Constraints(k=2, n=5))

    Reference:
        Besag, York & Mollié, "Bayesian image restoration" (1991).
    """
    graph = Graph.of(graph)
    check_singletons(graph, singletons, "besag")
    R = structure(graph, scaled=scaled, singletons=singletons)
    pattern, values = combination([R.matrix], lambda precision: (precision,))
    rank = graph.n - R.null_space.shape[1]

    def log_det(precision: jax.Array) -> jax.Array:
        return rank * jnp.log(precision) + R.log_det

    return LatentModel(
        "besag",
        pattern,
        with_precision(),
        values,
        null_space=R.null_space,
        constraints=R.constraints,
        cheap_log_det=log_det,
        scale=R.scale,
    )


class Structure(NamedTuple):
    """The intrinsic precision of a graph at τ = 1."""

    matrix: Any
    null_space: np.ndarray
    constraints: Constraints | None
    log_det: float
    scale: np.ndarray


def structure(graph: Graph, *, scaled: bool, singletons: Singletons | None) -> Structure:
    """The Laplacian, its null space and constraints by component, scaled if asked for."""
    R = graph.laplacian
    members = sp.csr_array(
        (np.ones(graph.n), (graph.labels, np.arange(graph.n))), shape=(graph.n_components, graph.n)
    ).toarray()
    free = np.ones(graph.n_components, bool)
    if singletons == "iid":
        alone = np.zeros(graph.n)
        alone[graph.singletons] = 1.0
        R = sp.csc_array(R + sp.diags_array(alone))
        free[graph.labels[graph.singletons]] = False
    rows = members[free]
    V = (rows / np.sqrt(rows.sum(axis=1, keepdims=True))).T
    found = intrinsic(R, V, where="besag")
    scale = np.ones(graph.n_components)
    if scaled:
        scale = _scales(graph, found.variances)
    counts = members.sum(axis=1) - free
    return Structure(
        matrix=sp.csc_array(sp.diags_array(scale[graph.labels]) @ R),
        null_space=V,
        constraints=Constraints(rows) if len(rows) else None,
        log_det=found.log_det + float(np.sum(counts * np.log(scale))),
        scale=scale,
    )


def _scales(graph: Graph, variances: np.ndarray) -> np.ndarray:
    """Per component exp(mean log variance), 1 for nodes alone."""
    log_variances = np.log(np.where(np.isin(np.arange(graph.n), graph.singletons), 1.0, variances))
    sums = np.bincount(graph.labels, log_variances, graph.n_components)
    return np.exp(sums / np.bincount(graph.labels, minlength=graph.n_components))
