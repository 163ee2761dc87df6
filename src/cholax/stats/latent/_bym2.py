"""The scaled Besag–York–Mollié model."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from cholax._core.errors import ArgumentError
from cholax._core.pickling import recipe
from cholax.linalg import SparseMatrix, eye, hstack
from cholax.stats.constraints import Constraints, widened
from cholax.stats.latent._besag import Structure, structure
from cholax.stats.latent._combination import combination
from cholax.stats.latent._model import Hyperparameter, LatentModel, with_precision
from cholax.stats.latent.graph import Graph, Singletons, check_singletons
from cholax.stats.support import UNIT


@recipe
def bym2(
    graph: Any, *, form: Literal["bu", "uv"] = "bu", singletons: Singletons | None = None
) -> LatentModel:
    """BYM2: an effect b that mixes a spatially structured and an independent part.

    b = (√φ u + √(1 - φ) v)/√τ with v ~ N(0, I) and u intrinsic on the graph, each component scaled
    to variances of geometric mean 1 and summing to zero. So 1/τ is a marginal variance whatever
    the graph, and φ the structured share of it. Both are kept sparse by 2n latent variables:

    - "bu": (b, u) with precision [τ/(1-φ) I, -√(φτ)/(1-φ) I; ·, R + φ/(1-φ) I], R the scaled
      Laplacian. The effect is the first half; φ = 1 is excluded.
    - "uv": (u, v) with precision diag(R, I), free of hyperparameters. The effect is a map of both,
      `effect(z, ...)` or `effect_matrix(...)`; any φ in [0, 1].

    The sums over u are constrained in either form. Hyperparameters: `precision` τ > 0, or `sd`;
    with `phi` between 0 and 1.

    Args:
        graph: as for `besag`.
        form: which latent variables.
        singletons: what u is at nodes without neighbours, when there are any: "iid" makes it
            N(0, 1), so that b is N(0, 1/τ) there; "zero" fixes it at 0.

    Returns:
        A `LatentModel` with 2n latent variables; its `scale` holds the factor of each component.

    Raises:
        ArgumentError: nodes without neighbours while `singletons` is not given; another form.
        StructureError: weights that are not symmetric.

    Example:
        >>> from cholax.stats import Graph, bym2
        >>> model = bym2(Graph.from_edges(3, [[0, 1], [1, 2]]))
        >>> model
        LatentModel(bym2, n=6, hyperparameters=(precision, phi) or (sd, phi))
        >>> model.effect_matrix(sd=1.0, phi=0.5).shape
        (3, 6)

    Reference:
        Riebler, Sørbye, Simpson & Rue, "An intuitive Bayesian spatial model for disease mapping
        that accounts for scaling" (2016).
    """
    graph = Graph.of(graph)
    check_singletons(graph, singletons, "bym2")
    R = structure(graph, scaled=True, singletons=singletons)
    if form == "bu":
        return _effect_and_structured(graph.n, R)
    if form == "uv":
        return _structured_and_free(graph.n, R)
    raise ArgumentError(f"bym2: form must be 'bu' or 'uv', got {form!r}.")


def _effect_and_structured(n: int, R: Structure) -> LatentModel:
    one, none = sp.eye_array(n), sp.csc_array((n, n))
    matrices = [
        sp.block_diag([one, none]),
        sp.block_array([[none, -one], [-one, none]]),
        sp.block_diag([none, one]),
        sp.block_diag([none, R.matrix]),
    ]

    def coefficients(precision: jax.Array, phi: jax.Array) -> tuple[jax.Array, ...]:
        free = 1.0 - phi
        coupling = jnp.sqrt(phi * precision) / free
        return precision / free, coupling, phi / free, jnp.ones_like(phi)

    def log_det(precision: jax.Array, phi: jax.Array) -> jax.Array:
        # The Schur complement of the first block is R.
        return n * (jnp.log(precision) - jnp.log1p(-phi)) + R.log_det

    def effect(precision: jax.Array, phi: jax.Array) -> SparseMatrix:
        del phi
        return hstack([eye(n, dtype=precision.dtype), 0.0 * eye(n, dtype=precision.dtype)])

    pattern, values = combination(matrices, coefficients)
    return LatentModel(
        "bym2",
        pattern,
        with_precision(Hyperparameter("phi", UNIT)),
        values,
        # (√(φ/τ) 1, 1) on each component: it moves with the hyperparameters.
        null_space=None,
        constraints=_on_u(R, n, before=True),
        cheap_log_det=log_det,
        effect_values=effect,
        scale=R.scale,
    )


def _structured_and_free(n: int, R: Structure) -> LatentModel:
    matrix = sp.block_diag([R.matrix, sp.eye_array(n)])
    pattern, values = combination([matrix], lambda phi, **_: (jnp.ones_like(phi),))

    def log_det(precision: jax.Array, phi: jax.Array) -> jax.Array:
        return R.log_det * jnp.ones_like(precision * phi)

    def effect(precision: jax.Array, phi: jax.Array) -> SparseMatrix:
        one = eye(n, dtype=precision.dtype)
        return hstack([jnp.sqrt(phi / precision) * one, jnp.sqrt((1.0 - phi) / precision) * one])

    return LatentModel(
        "bym2",
        pattern,
        with_precision(Hyperparameter("phi", UNIT)),
        values,
        null_space=np.concatenate([R.null_space, np.zeros_like(R.null_space)]),
        constraints=_on_u(R, n, before=False),
        cheap_log_det=log_det,
        effect_values=effect,
        scale=R.scale,
    )


def _on_u(R: Structure, n: int, *, before: bool) -> Constraints | None:
    if R.constraints is None:
        return None
    return Constraints(widened(R.constraints.rows, *((n, 0) if before else (0, n))))
