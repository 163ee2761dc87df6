"""`fixed_point`: z with z = f(z, *args), differentiable in the arguments."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
from jax.scipy.sparse.linalg import gmres

from cholax._core import options
from cholax._core.failures import tolerant
from cholax._core.jax_compat import boundary
from cholax.implicit._root import newton_solution
from cholax.implicit.anderson import iterate_map
from cholax.implicit.linear import DENSE_LIMIT, choose, from_factor
from cholax.implicit.newton import check_damping
from cholax.implicit.status import Status, checked_limits, conclude
from cholax.implicit.system import System, check_square, layout, make_system, ravel
from cholax.implicit.theorem import implicit_solution
from cholax.sparsediff.remembered import solved
from cholax.sparsediff.sparsity import pattern_of

# Each GMRES solve gains this much; refinement repeats it until the derivative is exact.
GAIN = 1e-5
KRYLOV = 30
SOLVERS = ("auto", "gmres", "dense", "lu", "cholesky")


@boundary
@tolerant
def fixed_point(
    f: Callable[..., Any],
    z0: Any,
    *args: Any,
    method: str = "anderson",
    memory: int = 5,
    linear_solver: str = "auto",
    damping: str = "auto",
    sparsity: Any = None,
    tolerance: float | None = None,
    max_iterations: int = 1000,
    has_status: bool = False,
    throw: bool = False,
) -> Any:
    """Solve z = f(z, *args) by iteration.

    (I − f_z) dz = f_θ dθ for all arguments and closed-over traced values θ, in both modes and to
    any order, solved to rounding whatever the tolerance of the iteration; z0 has no derivative.

    Args:
        f: function of z and the arguments, its result of z's structure.
        z0: first iterate, an array or a pytree of one float dtype.
        *args: parameters, any pytrees of arrays.
        method: `"plain"` iterates f, which must contract; `"anderson"` mixes the last steps, which
            is faster and converges for many maps that do not contract; `"newton"` solves
            z − f(z) = 0 with its sparse Jacobian, as `root` does.
        memory: steps that Anderson's method mixes.
        linear_solver: of the derivative, and of Newton's steps: `"auto"` is a dense inverse up to
            32 unknowns, beyond that GMRES with products only (for `"newton"`: as in `root`);
            `"gmres"`, `"dense"`, `"lu"` and `"cholesky"` insist.
        damping: of Newton's steps, as in `root`.
        sparsity: pattern of f_z − I where it is known, for the sparse solvers.
        tolerance: wanted size of the residual relative to z, by default rounding level.
        max_iterations: most evaluations of f.
        has_status: return `(z, Status)`.
        throw: raise `ConvergenceError` where there is no solution.

    Returns:
        z, of z0's structure; NaN in every entry, and in its derivatives, where not converged.

    Raises:
        ShapeError: f's result has another size than z.
        ConvergenceError: with `throw`.

    Example:
        >>> import jax, jax.numpy as jnp, cholax.implicit as ci
        >>> def dottie(a):
        ...     return ci.fixed_point(lambda z, a: jnp.cos(a * z), 1.0, a)
        >>> [round(float(x), 4) for x in (dottie(1.0), jax.grad(dottie)(1.0))]
        [0.7391, -0.2975]

    Reference:
        Walker & Ni, Anderson acceleration for fixed-point iterations (2011); Christianson,
        Reverse accumulation and attractive fixed points (1994).
    """
    memory = _check_options(method, memory, linear_solver)
    tolerance, max_iterations = checked_limits(
        tolerance, max_iterations, "fixed_point", has_status, throw
    )
    check_damping(damping, "fixed_point")
    start, unravel = ravel(z0, "fixed_point")
    pattern = None if sparsity is None else pattern_of(sparsity, "fixed_point")

    def solve(f: Any, start: jax.Array, args: Sequence[Any]) -> tuple[jax.Array, Status]:
        system = make_system(f, start, unravel, args, "fixed_point")
        check_square(system, "fixed_point")
        equation = replace(system, function=lambda z, *theta: z - system.function(z, *theta))
        if method == "newton":
            name = "auto" if linear_solver == "gmres" else linear_solver
            solver = choose(equation.function, start, system.theta, name, pattern, "fixed_point")
            return newton_solution(equation, solver, tolerance, max_iterations, damping)
        length = memory if method == "anderson" else 0
        return _by_iteration(
            system, equation, length, linear_solver, pattern, tolerance, max_iterations
        )

    chosen = (method, memory, linear_solver, pattern, tolerance, max_iterations, damping)
    key = ("fixed_point", *chosen, layout(z0))
    z, status = solved(solve, f, start, args, key)
    return conclude(unravel(z), status, "fixed_point", has_status, throw)


def _check_options(method: str, memory: int, linear_solver: str) -> int:
    where, remedy = "fixed_point", 'Use method="plain" for none.'
    options.choice(method, where, "method", ("plain", "anderson", "newton"))
    options.choice(linear_solver, where, "linear_solver", SOLVERS)
    return options.count(memory, where, "memory", least=1, remedy=remedy)


def _by_iteration(
    system: System,
    equation: System,
    memory: int,
    linear_solver: str,
    sparsity: Any,
    tolerance: float | None,
    max_iterations: int,
) -> tuple[jax.Array, Status]:
    def iterate(start: Any, theta: Sequence[Any]) -> Any:
        return iterate_map(
            lambda z: system.function(z, *theta), start, memory, tolerance, max_iterations
        )

    few = system.n <= DENSE_LIMIT
    if linear_solver == "gmres" or (linear_solver == "auto" and sparsity is None and not few):
        return implicit_solution(iterate, equation.function, _krylov, system.start, system.theta)
    solver = choose(
        equation.function, system.start, system.theta, linear_solver, sparsity, "fixed_point"
    )

    def prepare(z: jax.Array, theta: Sequence[Any], cache: Any) -> Any:
        del cache
        return solver.factor(solver.matrix(z, theta))[0]

    return implicit_solution(
        iterate, equation.function, from_factor(solver), system.start, system.theta, prepare
    )


def _krylov(cache: Any, b: jax.Array, transpose: bool, apply: Any) -> jax.Array:
    del cache, transpose
    return gmres(apply, b, tolerance=GAIN, restart=min(KRYLOV, b.size), maxiter=20)[0]
