"""`minimize`: a strict local minimum of f(z, *args) by sparse Newton, differentiable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cholax._core.errors import ShapeError
from cholax._core.failures import tolerant
from cholax._core.jax_compat import boundary
from cholax._core.norms import max_norm
from cholax.implicit import status as codes
from cholax.implicit.descent import descend
from cholax.implicit.linear import DENSE_LIMIT, from_factor, is_definite
from cholax.implicit.newton import CHORD_RATE, newton
from cholax.implicit.status import Status, checked_limits, conclude
from cholax.implicit.system import System, layout, make_system, ravel
from cholax.implicit.theorem import implicit_solution
from cholax.linalg.cholesky import cholesky
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern
from cholax.sparsediff._hessian import hessian
from cholax.sparsediff.remembered import solved
from cholax.sparsediff.sparsity import pattern_of

# Descents, and by what each contracts more than the one before it: the first plain Newton steps may
# contract by chance and then lead to an indefinite Hessian.
TRIES, LATER = 4, 100.0
# A gradient of this many √ε of |H||z| is that of a stationary point: descents stop at steps of √ε.
STATIONARY = 100.0


@boundary
@tolerant
def minimize(
    f: Callable[..., Any],
    z0: Any,
    *args: Any,
    sparsity: Any = None,
    tolerance: float | None = None,
    max_iterations: int = 200,
    has_status: bool = False,
    throw: bool = False,
) -> Any:
    """Minimize f(z, *args) by Newton's method with the sparse Hessian and its Cholesky factor.

    The solution is a root of the gradient, so dz = −(∇²f)⁻¹ ∂_θ∇f dθ for all arguments and
    closed-over traced values θ, in both modes and to any order, with the last numeric factor of
    the iteration. Where the Hessian is not positive definite on the way it is shifted until it is,
    and steps are shortened until f falls; at the end it must be positive definite as it is.

    Args:
        f: scalar function of z and the arguments.
        z0: first iterate, an array or a pytree of one float dtype.
        *args: parameters, any pytrees of arrays.
        sparsity: pattern of the Hessian where it is known: a `Pattern`, SciPy matrix or mask.
        tolerance: wanted error of z relative to the largest iterate, by default rounding level.
        max_iterations: most Newton steps.
        has_status: return `(z, Status)`; the residual is the largest entry of the gradient.
        throw: raise `ConvergenceError` where no minimum was found.

    Returns:
        z, of z0's structure; NaN in every entry, and in its derivatives, where not converged or
        where the stationary point found is no strict minimum.

    Raises:
        ShapeError: f's result is no scalar.
        ConvergenceError: with `throw`.

    Example:
        >>> import jax, jax.numpy as jnp, cholax.implicit as ci
        >>> def f(z, a):
        ...     return jnp.sum((z - a) ** 2) + jnp.sum(z**4)
        >>> z, status = ci.minimize(f, jnp.zeros(2), jnp.array([0.0, 3.0]), has_status=True)
        >>> z.round(4).tolist(), status.reason()
        ([0.0, 1.0], 'converged')
    """
    tolerance, max_iterations = checked_limits(
        tolerance, max_iterations, "minimize", has_status, throw
    )
    start, unravel = ravel(z0, "minimize")
    pattern = None if sparsity is None else pattern_of(sparsity, "minimize")

    def solve(f: Any, start: jax.Array, args: Sequence[Any]) -> tuple[jax.Array, Status]:
        system = make_system(f, start, unravel, args, "minimize")
        _check_scalar(system)
        objective = _scalar(system.function)
        solver = _choose(objective, system, pattern)
        return _solution(system, objective, solver, tolerance, max_iterations)

    key = ("minimize", pattern, tolerance, max_iterations, layout(z0))
    z, status = solved(solve, f, start, args, key)
    return conclude(unravel(z), status, "minimize", has_status, throw)


def _check_scalar(system: System) -> None:
    out = jax.eval_shape(system.function, system.start, *system.theta)
    if out.shape != (1,):
        raise ShapeError(
            f"minimize: the function must return one number, got {out.size}. "
            "Sum the terms, or for a least-squares problem the squares."
        )


@dataclass(frozen=True)
class _Hessian:
    """The linear solver of the gradient equation: a Cholesky factor of the Hessian."""

    evaluate: Callable[..., SparseMatrix]

    def matrix(self, z: jax.Array, theta: Sequence[Any]) -> SparseMatrix:
        return self.evaluate(z, *theta)

    def factor(self, matrix: SparseMatrix) -> tuple[Any, jax.Array]:
        factor = cholesky(matrix)
        return factor, is_definite(factor)

    def solve(self, cache: Any, b: jax.Array, transpose: bool) -> jax.Array:
        del transpose
        return cache.solve(b)

    def magnitude(self, matrix: SparseMatrix, z: jax.Array) -> jax.Array:
        return SparseMatrix(jnp.abs(matrix.values), matrix.pattern) @ jnp.abs(z)


def _scalar(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    def objective(z: jax.Array, *theta: Any) -> jax.Array:
        return function(z, *theta)[0]

    return objective


def _choose(objective: Any, system: System, sparsity: Any) -> _Hessian:
    n = system.n
    if sparsity is None and n <= DENSE_LIMIT:
        # The whole lower triangle: the same code for few unknowns, and no detection.
        columns, rows = np.triu_indices(n)
        pattern = Pattern(
            (n, n), np.concatenate([[0], np.cumsum(np.arange(n, 0, -1))]), rows, symmetric=True
        )

        def evaluate(z: jax.Array, *theta: Any) -> SparseMatrix:
            return SparseMatrix(jax.hessian(objective)(z, *theta)[rows, columns], pattern)

        return _Hessian(evaluate)
    # A pattern that was given is checked: whether the point is a minimum depends on it.
    H = hessian(objective, sparsity=sparsity, verify=sparsity is not None)
    H.pattern(system.start, *system.theta)  # faults of the pattern show here, not inside a loop
    return _Hessian(H)


def _solution(
    system: System, objective: Any, solver: _Hessian, tolerance: float | None, max_iterations: int
) -> tuple[jax.Array, Status]:
    gradient = jax.grad(objective)

    def attempt(state: Any, theta: Sequence[Any]) -> Any:
        """Descend, then plain Newton steps; again from where the descent ended, if these fail."""
        start, origin, made, tries, _ = state
        near, steps, code = descend(
            lambda z: objective(z, *theta),
            lambda z: solver.matrix(z, theta),
            start,
            max_iterations - made,
            CHORD_RATE / LATER**tries,
        )
        left = jnp.where(code == codes.CONVERGED, max_iterations, 0)
        z, factor, status = newton(gradient, solver, near, theta, tolerance, left)
        extent = jnp.maximum(jnp.abs(origin), jnp.abs(z))
        small = STATIONARY * jnp.sqrt(jnp.finfo(z.dtype).eps)
        stationary = status.residual <= small * max_norm(solver.magnitude(factor.A, extent))
        status = _final_status(status, code, is_definite(factor), stationary)
        return near, origin, made + steps, tries + 1, (z, factor, status)

    def again(state: Any) -> jax.Array:
        _, _, made, tries, (_, _, status) = state
        failed = (status.code == codes.SINGULAR) | (status.code == codes.NO_PROGRESS)
        return (tries == 0) | (failed & (tries < TRIES) & (made < max_iterations))

    def iterate(start: Any, theta: Sequence[Any]) -> Any:
        none = jnp.zeros((), jnp.int32)
        first = (start, start, none, none.astype(start.dtype))
        shapes = jax.eval_shape(lambda s: attempt((*s, None), theta)[4], first)
        blank = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        last = lax.while_loop(again, lambda s: attempt(s, theta), (*first, blank))
        _, _, made, _, (z, factor, status) = last
        return z, factor, status._replace(iterations=made + status.iterations)

    equation = replace(system, function=gradient)
    return implicit_solution(
        iterate, equation.function, from_factor(solver), system.start, system.theta
    )


def _final_status(
    status: Status, code: jax.Array, definite: jax.Array, stationary: jax.Array
) -> Status:
    """The status of both phases: a stationary point counts only with a definite Hessian."""
    singular = (status.code == codes.SINGULAR) & stationary
    last = jnp.where(singular, codes.NOT_A_MINIMUM, status.code)
    last = jnp.where(status.converged & ~definite, codes.NOT_A_MINIMUM, last)
    stopped = jnp.where(code == codes.RUNNING, codes.MAX_ITERATIONS, code)
    final = jnp.where(code == codes.CONVERGED, last, stopped).astype(jnp.int32)
    return status._replace(converged=final == codes.CONVERGED, code=final)
