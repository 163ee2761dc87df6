"""Penalised-complexity prior of the structured share of a BYM2 effect."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.errors import ArgumentError
from cholax._core.pickling import recipe
from cholax.stats.latent._besag import structure
from cholax.stats.latent.graph import Graph, Singletons, check_singletons
from cholax.stats.priors._prior import Prior, check_probability
from cholax.stats.support import UNIT


@recipe
def pc_bym2_phi(
    graph: Any,
    *,
    upper: float = 0.5,
    probability: float = 2 / 3,
    singletons: Singletons | None = None,
) -> Prior:
    """Penalised-complexity prior of φ with P(φ < upper) = probability, shrinking to φ = 0.

    With γ_i the eigenvalues of the scaled structured covariance (0 along the null space), the
    distance from the independent model is the root of twice its Kullback–Leibler divergence,

        d(φ)² = Σ_i φ(γ_i - 1) - log(1 + φ(γ_i - 1)),        log π(φ) = log λ - λd + log d′(φ),

    λ = -log(1 - probability)/d(upper). The eigenvalues are those of a dense matrix, computed once
    on the host.

    Args:
        graph: as for `bym2`.
        upper: a value of φ.
        probability: that φ is below it.
        singletons: as for `bym2`.

    Returns:
        A `Prior` on `phi`.

    Raises:
        ArgumentError: numbers outside (0, 1), a graph without edges, or nodes without neighbours
            while `singletons` is not given.

    Example:
        >>> from cholax.stats import Graph, priors
        >>> prior = priors.pc_bym2_phi(Graph.from_edges(3, [[0, 1], [1, 2]]))
        >>> prior
        Prior(pc_bym2_phi(0.5, 0.667) on the phi)

    Reference:
        Riebler, Sørbye, Simpson & Rue, "An intuitive Bayesian spatial model for disease mapping
        that accounts for scaling" (2016).
    """
    where = "pc_bym2_phi"
    check_probability(where, upper=upper, probability=probability)
    graph = Graph.of(graph)
    check_singletons(graph, singletons, where)
    if graph.adjacency.nnz == 0:
        raise ArgumentError(f"{where}: the graph must have an edge, got none: φ has no effect.")
    delta = _covariance_eigenvalues(graph, singletons) - 1.0
    rate = -math.log1p(-probability) / _host_distance(upper, delta)

    def density(phi: jax.Array) -> jax.Array:
        # At φ = 1 the distance is infinite.
        below = phi < 1.0
        p = jnp.where(below, phi, 0.5)[..., None]
        excess = jnp.asarray(delta, phi.dtype)
        x = p * excess
        # d = φ √Σ δ² h(φδ), and d′ = ½ Σ δ²/(1 + φδ) / √Σ δ² h(φδ): no 0/0 at φ = 0.
        root = jnp.sqrt(jnp.sum(excess**2 * _half_square(x), axis=-1))
        slope = 0.5 * jnp.sum(excess**2 / (1.0 + x), axis=-1)
        value = math.log(rate) - rate * p[..., 0] * root + jnp.log(slope) - jnp.log(root)
        return jnp.where(below, value, -jnp.inf)

    name = f"{where}({upper:.3g}, {probability:.3g})"
    return Prior(name, "phi", UNIT, density)


def _half_square(x: jax.Array) -> jax.Array:
    """(x - log(1 + x))/x², ½ at x = 0."""
    small = jnp.abs(x) < 0.1
    s, t = jnp.where(small, x, 0.0), jnp.where(small, 1.0, x)
    series = jnp.zeros_like(s)
    # The first term left out is 0.1¹⁷/19.
    for k in range(16, -1, -1):
        series = 1.0 / (k + 2) - s * series
    return jnp.where(small, series, (t - jnp.log1p(t)) / t**2)


def _host_distance(phi: float, delta: np.ndarray) -> float:
    x = phi * delta
    return math.sqrt(float(np.sum(x - np.log1p(x))))


def _covariance_eigenvalues(graph: Graph, singletons: Singletons | None) -> np.ndarray:
    """Eigenvalues of the pseudo-inverse of the scaled Laplacian."""
    R = structure(graph, scaled=True, singletons=singletons)
    k = R.null_space.shape[1]
    # Sorted, and as many are zero as the null space has dimensions.
    eigenvalues = np.linalg.eigvalsh(R.matrix.toarray())
    return np.concatenate([np.zeros(k), 1.0 / eigenvalues[k:]])
