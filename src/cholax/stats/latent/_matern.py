"""Matérn fields by stochastic partial differential equations on grids and meshes."""

from math import gamma, log, pi, sqrt
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from cholax._core.errors import ArgumentError, StructureError
from cholax._core.pickling import recipe
from cholax.linalg import SparseMatrix
from cholax.linalg.shortcuts import log_det as sparse_log_det
from cholax.stats.latent._combination import combination
from cholax.stats.latent._model import Hyperparameter, Hypers, LatentModel, Parametrization
from cholax.stats.mesh import FiniteElements
from cholax.stats.support import POSITIVE


@recipe
def matern(domain: Any, *, alpha: Literal[1, 2] = 2) -> LatentModel:
    """Matérn field as the solution of (κ² - Δ)^(α/2) τ x = white noise, in finite elements.

    With lumped mass C, stiffness G and G₂ = G C⁻¹ G:

        α = 1:  Q = τ² (κ² C + G)            α = 2:  Q = τ² (κ⁴ C + 2κ² G + G₂)

    The smoothness is ν = α - d/2 in d dimensions. Where it is positive, the hyperparameters are
    `range` = √(8ν)/κ, the distance at which the correlation is about 0.14, and `sd` σ with
    σ² = Γ(ν)/(Γ(α) (4π)^(d/2) κ^(2ν) τ²); or `kappa` and `tau`. For α = 1 in two dimensions, where
    the field has no variance in the limit, they are `kappa` and `tau` alone. The boundary is
    reflecting (Neumann): variances rise within one range of it, so extend the domain beyond the
    data.

    Args:
        domain: a `Mesh`, a `Grid`, or `FiniteElements`.
        alpha: order of the equation.

    Returns:
        A `LatentModel` with one variable per node.

    Raises:
        ArgumentError: another alpha.
        StructureError: another kind of domain.

    Example:
        >>> from cholax.stats import Grid, matern
        >>> model = matern(Grid((5, 4), spacing=0.1))
        >>> model
        LatentModel(matern, n=20, hyperparameters=(range, sd) or (kappa, tau))
        >>> model.precision(range=0.3, sd=1.0).shape
        (20, 20)

    Reference:
        Lindgren, Rue & Lindström, "An explicit link between Gaussian fields and Gaussian Markov
        random fields: the stochastic partial differential equation approach" (2011).
    """
    if alpha not in (1, 2):
        raise ArgumentError(f"matern: alpha must be 1 or 2, got {alpha!r}.")
    fem = _elements(domain)
    n, C, G = fem.mass.size, sp.diags_array(fem.mass), sp.csc_array(fem.stiffness)
    first, first_values = combination([C, G], lambda kappa, tau: (kappa**2, jnp.ones_like(tau)))
    matrices = [C, G]
    if alpha == 2:
        matrices.append(G @ sp.diags_array(1.0 / fem.mass) @ G)

    def coefficients(kappa: jax.Array, tau: jax.Array) -> tuple[jax.Array, ...]:
        variance = tau**2
        if alpha == 1:
            return variance * kappa**2, variance
        return variance * kappa**4, 2.0 * variance * kappa**2, variance

    log_mass = float(np.sum(np.log(fem.mass)))

    def log_det(kappa: jax.Array, tau: jax.Array) -> jax.Array:
        # Q = τ² K C⁻¹ K for α = 2: K = κ² C + G fills in far less than Q.
        K = SparseMatrix(first_values(kappa=kappa, tau=tau), first)
        rest = 2.0 * n * jnp.log(tau)
        return rest + sparse_log_det(K) if alpha == 1 else rest + 2 * sparse_log_det(K) - log_mass

    pattern, values = combination(matrices, coefficients)
    return LatentModel(
        "matern",
        pattern,
        _parametrizations(alpha, fem.dimension),
        values,
        null_space=np.zeros((n, 0)),
        cheap_log_det=log_det,
    )


def _parametrizations(alpha: int, dimension: int) -> tuple[Parametrization, ...]:
    kappa, tau = Hyperparameter("kappa", POSITIVE), Hyperparameter("tau", POSITIVE)
    own = Parametrization((kappa, tau))
    nu = alpha - dimension / 2
    if nu <= 0:
        return (own,)
    log_constant = log(gamma(nu)) - log(gamma(alpha)) - dimension / 2 * log(4 * pi)

    def convert(**natural: jax.Array) -> Hypers:
        kappa = sqrt(8 * nu) / natural["range"]
        tau = jnp.exp(0.5 * log_constant - nu * jnp.log(kappa)) / natural["sd"]
        return {"kappa": kappa, "tau": tau}

    extent, sd = Hyperparameter("range", POSITIVE), Hyperparameter("sd", POSITIVE)
    return Parametrization((extent, sd), convert), own


def _elements(domain: Any) -> FiniteElements:
    if isinstance(domain, FiniteElements):
        return domain
    elements = getattr(domain, "finite_elements", None)
    if elements is None:
        raise StructureError(
            f"matern: need a Mesh, a Grid or FiniteElements, got {type(domain).__name__}. "
            "Make a mesh over points with cx.stats.triangulate."
        )
    return elements()
