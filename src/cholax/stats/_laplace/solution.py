"""The Gaussian approximation at the mode as a differentiable function of the parameters.

With f = −log_joint, û(θ) its minimizer under A u = e, H(u, θ) its Hessian and K(b, e) the
solution x of [H Aᵀ; A 0] [x; λ] = [b; e],

    dû = K(−∂_θ∇f dθ, de)        dH = ∂_u H dû + ∂_θ H dθ        dL = C(L)[dH]

The rule calls the function itself, so it holds for every order. It factors nothing: all solves use
the factor that the search for the mode ended with, which belongs to H(û, θ) exactly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from cholax import primitives
from cholax._core.failures import tolerant
from cholax.implicit.failed_lanes import detach, keep
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern
from cholax.stats._laplace.mode import Objective, Options, find_mode
from cholax.stats._laplace.status import LaplaceStatus
from cholax.stats.constraints import ConstrainedFactor, ConstrainedPlan, Constraints


@dataclass(frozen=True, eq=False)
class Problem:
    """What is static about one approximation.

    Attributes:
        energy: `energy(u, *residuals)`, f.
        expansion: its value, gradient and Hessian in u.
        pattern: of the Hessian.
        plan: of its factorisation under the constraints.
        options: of the search.
    """

    energy: Callable[..., jax.Array]
    expansion: Callable[..., Any]
    pattern: Pattern
    plan: ConstrainedPlan
    options: Options

    def gradient(self, u: jax.Array, residuals: Sequence[Any]) -> jax.Array:
        """∇f in u."""
        return jax.grad(self.energy)(u, *residuals)

    def hessian_values(self, u: jax.Array, residuals: Sequence[Any]) -> jax.Array:
        """Entries of H(u, θ) on the pattern."""
        return self.expansion(u, *residuals)[2].values

    def constraints(self, e: jax.Array | None) -> Constraints | None:
        """The constraints with a right-hand side of this trace."""
        return None if self.plan.rows is None else Constraints(self.plan.rows, e)

    def factorize(self, H: SparseMatrix) -> ConstrainedFactor:
        """Factor a Hessian under A u = 0."""
        return self.plan.factorize(H, self.constraints(None))


class Approximation(NamedTuple):
    """N(û, H⁻¹) under the constraints, in arrays; `factor` puts them together.

    Attributes:
        mode: û.
        values: entries of H(û, θ).
        panels: of the Cholesky factor of H, regularised.
        pivot: its status.
        status: of the search.
    """

    mode: jax.Array
    values: jax.Array
    panels: jax.Array
    pivot: jax.Array
    status: LaplaceStatus

    def factor(self, problem: Problem, e: jax.Array | None) -> ConstrainedFactor:
        """The factor of H(û, θ) under A u = e."""
        H = SparseMatrix(self.values, problem.pattern)
        return problem.plan.factorize(H, problem.constraints(e), (self.panels, self.pivot))


def approximate(
    problem: Problem, start: jax.Array, e: jax.Array | None, residuals: Sequence[Any]
) -> Approximation:
    """Find the mode; differentiable in e and in the residuals, not in the start."""

    @jax.custom_jvp
    def solution(start: jax.Array, e: Any, residuals: Sequence[Any]) -> Approximation:
        return _search(problem, start, e, residuals)

    def rule(primals: Any, tangents: Any) -> Any:
        found = solution(*primals)
        return found, _tangent(problem, found, primals, tangents)

    solution.defjvp(rule, symbolic_zeros=True)
    return solution(start, e, list(residuals))


@tolerant
def _search(problem: Problem, start: jax.Array, e: Any, residuals: Sequence[Any]) -> Approximation:
    # Constants of the search: nothing here is differentiated, batching goes through.
    residuals = [lax.stop_gradient(r) for r in residuals]
    objective = Objective(
        value=lambda u: problem.energy(u, *residuals),
        expansion=lambda u: problem.expansion(u, *residuals),
        factorize=problem.factorize,
        constraints=problem.constraints(e),
    )
    u, H, factor, status = find_mode(objective, start, problem.options)
    (_, panels, pivot), _ = factor.factor.tree_flatten()
    return Approximation(u, H.values, panels, pivot, status)


def _tangent(problem: Problem, found: Approximation, primals: Any, tangents: Any) -> Approximation:
    _, e, residuals = primals
    _, de, changes = tangents
    # Where the search failed, nothing computed at its last iterate may reach an adjoint.
    ok = found.status.converged
    residuals = detach(ok, residuals)
    moving = [k for k, change in enumerate(changes) if not isinstance(change, SymbolicZero)]
    values = [residuals[k] for k in moving]
    directions = [keep(ok, changes[k]) for k in moving]

    def merged(moved: Sequence[Any]) -> list[Any]:
        out = list(residuals)
        for k, value in zip(moving, moved, strict=True):
            out[k] = value
        return out

    def slope(*moved: Any) -> jax.Array:
        return problem.gradient(found.mode, merged(moved))

    def entries(u: jax.Array, *moved: Any) -> jax.Array:
        return problem.hessian_values(u, merged(moved))

    change = jax.jvp(slope, values, directions)[1] if moving else jnp.zeros_like(found.mode)
    factor = found.factor(problem, e)
    if e is None or isinstance(de, SymbolicZero):
        du = keep(ok, factor.solve(-change))
    else:
        du = keep(ok, factor.solve_affine(-change, keep(ok, de)))
    dH = keep(ok, jax.jvp(entries, (found.mode, *values), (du, *directions))[1])
    ref = primitives.Ref(problem.plan.plan)
    change = problem.plan.reduced(SparseMatrix(dH, problem.pattern))
    dA = primitives.scatter(primitives.value_map(ref), change.values)
    zeros = jax.tree.map(_zero, found)
    panels = keep(ok, primitives.cholesky_tangent(ref, found.panels, dA))
    return zeros._replace(mode=du, values=dH, panels=panels)


def _zero(x: jax.Array) -> Any:
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.zeros_like(x)
    return np.zeros(x.shape, jax.dtypes.float0)
