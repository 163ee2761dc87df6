"""`root`: z with F(z, *args) = 0, by sparse Newton, differentiable in the arguments."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from cholax._core import options
from cholax._core.failures import tolerant
from cholax._core.jax_compat import boundary
from cholax.implicit.linear import LinearSolver, choose, from_factor
from cholax.implicit.newton import check_damping, newton
from cholax.implicit.status import checked_limits, conclude
from cholax.implicit.system import System, check_square, layout, make_system, ravel
from cholax.implicit.theorem import implicit_solution
from cholax.sparsediff.remembered import solved
from cholax.sparsediff.sparsity import pattern_of


@boundary
@tolerant
def root(
    F: Callable[..., Any],
    z0: Any,
    *args: Any,
    method: str = "newton",
    linear_solver: str = "auto",
    damping: str = "auto",
    sparsity: Any = None,
    tolerance: float | None = None,
    max_iterations: int = 100,
    has_status: bool = False,
    throw: bool = False,
) -> Any:
    """Solve F(z, *args) = 0 by Newton's method with the sparse Jacobian.

    dz = −F_z⁻¹ F_θ dθ for all arguments and closed-over traced values θ, in forward and reverse
    mode and to any order; the last numeric factor of the iteration serves, none is added. The
    start z0 has no derivative. Steps are damped where that helps, so that the iteration converges
    from afar or says that it did not. Under `vmap` every lane stops by itself. The program that an
    eager call compiles is kept for the next call with the same function and shapes.

    Args:
        F: function of z and the arguments, with as many results as z has entries.
        z0: first iterate, an array or a pytree of one float dtype.
        *args: parameters, any pytrees of arrays.
        method: `"newton"`.
        linear_solver: `"auto"` takes a dense inverse up to 32 unknowns, else Cholesky where the
            Jacobian's values turn out symmetric and definite of either sign, else LU;
            `"cholesky"`, `"lu"` and `"dense"` insist.
        damping: how far along the correction d = −F_z⁻¹F a step goes, z + λd. `"monotone"` shortens
            λ ≤ 1 until the correction at the new point, by the same factor, or the residual
            shrinks: ‖F_z⁻¹F(z + λd)‖ ≤ (1 − λ/4)‖d‖ or ‖F(z + λd)‖ ≤ (1 − λ/4)‖F(z)‖, in the
            maximum norm. `"none"` is plain Newton, λ = 1: with the policy's first-order
            condition in F, policy iteration. `"auto"` is monotone, and where steps stay short
            tries full ones, for as long as the corrections shrink or the iterates are monotone
            in every entry; else it goes back (the watchdog technique).
        sparsity: pattern of the Jacobian where it is known: a `Pattern`, SciPy matrix or mask. One
            that misses entries makes the iteration slow or fail, never the result wrong.
        tolerance: wanted error of z relative to the largest iterate, by default rounding level.
        max_iterations: most factorisations.
        has_status: return `(z, Status)`.
        throw: raise `ConvergenceError` where there is no solution.

    Returns:
        z, of z0's structure; NaN in every entry, and in its derivatives, where not converged.

    Raises:
        ShapeError: more or fewer equations than unknowns.
        DtypeError: mixed or unsupported dtypes.
        ConvergenceError: with `throw`.

    Example:
        >>> import jax, cholax.implicit as ci
        >>> def f(a):
        ...     return ci.root(lambda z, a: a * z**3 - z - 2.0, 1.5, a)
        >>> [round(float(x), 5) for x in (f(2.0), jax.grad(f)(2.0))]
        [1.16537, -0.2214]
        >>> ci.root(lambda z: z + abs(z) / 2 - 3.0, -1.0, damping="none").round(6).item()
        2.0

    Reference:
        Deuflhard, *Newton Methods for Nonlinear Problems* (2004), algorithm NLEQ-ERR;
        Chamberlain et al., The watchdog technique (1982); Griewank & Walther, *Evaluating
        Derivatives* (2008), chapter 15.
    """
    options.choice(method, "root", "method", ("newton",))
    tolerance, max_iterations = checked_limits(tolerance, max_iterations, "root", has_status, throw)
    check_damping(damping, "root")
    start, unravel = ravel(z0, "root")
    pattern = None if sparsity is None else pattern_of(sparsity, "root")

    def solve(F: Any, start: jax.Array, args: Sequence[Any]) -> Any:
        system = make_system(F, start, unravel, args, "root")
        check_square(system, "root")
        solver = choose(system.function, start, system.theta, linear_solver, pattern, "root")
        return newton_solution(system, solver, tolerance, max_iterations, damping)

    key = ("root", linear_solver, pattern, tolerance, max_iterations, damping, layout(z0))
    z, status = solved(solve, F, start, args, key)
    return conclude(unravel(z), status, "root", has_status, throw)


def newton_solution(
    system: System, solver: LinearSolver, tolerance: float | None, max_iterations: int, damping: str
) -> tuple[Any, Any]:
    """Flat solution and status of a system by Newton's method, differentiable in theta."""

    def iterate(start: Any, theta: Any) -> Any:
        return newton(system.function, solver, start, theta, tolerance, max_iterations, damping)

    return implicit_solution(
        iterate, system.function, from_factor(solver), system.start, system.theta
    )
