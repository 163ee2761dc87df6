"""`laplace`: the log-marginal of a latent Gaussian model, any `log_joint(u, theta)`."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cholax._core import options
from cholax._core.errors import ArgumentError, DtypeError, ShapeError
from cholax._core.foreign import refuse_foreign_tree
from cholax._core.jax_compat import boundary
from cholax._core.pickling import Portable
from cholax.implicit.failed_lanes import detach, mark
from cholax.patterns import Pattern
from cholax.sparsediff import verify
from cholax.sparsediff._hessian import hessian
from cholax.sparsediff.captured import captured
from cholax.sparsediff.flatten import Leaves, bind, scalar_output
from cholax.stats._laplace.hoist import hoist
from cholax.stats._laplace.mode import Options
from cholax.stats._laplace.placed import place
from cholax.stats._laplace.result import LaplaceResult
from cholax.stats._laplace.solution import Approximation, Problem, approximate
from cholax.stats._laplace.status import WRONG_SPARSITY, LaplaceStatus, raise_unless_converged
from cholax.stats.constraints import ConstrainedPlan, Constraints

LOG_2PI = float(np.log(2 * np.pi))


def laplace(
    log_joint: Callable[..., Any],
    u_like: Any,
    *,
    constraints: Constraints | Mapping[Any, Constraints | None] | None = None,
    sparsity: Any = None,
    ordering: Any = "auto",
    max_iterations: int = 100,
    tolerance: float | None = None,
) -> "LaplaceModel":
    """The Laplace approximation of log ∫ exp(log_joint(u, θ)) du as a function of θ.

    With û(θ) the mode of log_joint in u, H = −∂²log_joint/∂u² there, and d the dimension of u,

        log_marginal(θ) = log_joint(û, θ) + d/2 log 2π − ½ log|H|

    under constraints A u = e with Z an orthonormal basis of the null space of A, |ZᵀHZ| in place of
    |H| and d = n − k. The integral is then over A u = e, in orthonormal coordinates.

    The pattern of H is found in the program of `log_joint`, once. The mode is found by Newton's
    method with a line search; where H is not positive definite on the way, the *step* is taken with
    another matrix (negative entries of the diagonal reflected, then H + μ|diag H|), but an
    approximation is only ever made with H itself. Gradients in θ and
    in the further arguments are exact, by the implicit function theorem: one solve and one selected
    inverse with the factor at the mode. All derivatives exist in both modes, to any order.

    Terms of `log_joint` in θ alone, like log|Q(θ)|, are computed once per θ.

    Args:
        log_joint: `log_joint(u, theta, *args)`, a scalar: log p(data | u, θ) + log p(u | θ), in
            JAX. A log-density that is unbounded or flat in u has no Laplace approximation; part of
            u may have a flat prior when the data inform it.
        u_like: an array, `ShapeDtypeStruct` or pytree of them: the structure of u.
        constraints: `Constraints` on u as one flat vector, exact; or, where u is a dictionary, a
            dictionary of constraints by parts of it, `{"field": field.constraints}`.
        sparsity: pattern of H where it is known (a `Pattern`, SciPy matrix or mask), instead of
            detection. It is checked by one product at each mode.
        ordering: of the factorisation, as for `cx.cholesky`.
        max_iterations: most Newton iterations.
        tolerance: largest error of an entry of the mode, in its conditional standard deviations;
            by default 4e-10 in float64 and 7e-5 in float32. The last step leaves much less.

    Returns:
        A `LaplaceModel`: `model(theta, *args)` gives a `LaplaceResult`,
        `model.log_marginal(theta, *args)` the number alone.

    Raises:
        ArgumentError: an option out of range.
        DtypeError: u of mixed or unsupported dtypes, or a result of another dtype than u's.
        ShapeError: on a call, a result that is not a scalar.
        SparsityError: on a call, a pattern that misses entries.

    Example:
        >>> import jax, jax.numpy as jnp, cholax.stats as cs
        >>> y = jnp.array([1.0, 3.0, 2.0])
        >>> def log_joint(u, theta):  # y | u ~ Poisson(exp(u)), u ~ N(θ, 1)
        ...     return jnp.sum(y * u - jnp.exp(u)) - 0.5 * jnp.sum((u - theta) ** 2)
        >>> model = cs.laplace(log_joint, jnp.zeros(3))
        >>> value, slope = jax.value_and_grad(model.log_marginal)(0.5)
        >>> round(float(value), 3), round(float(slope), 3)
        (-0.342, -0.035)

    Reference:
        Kristensen, Nielsen, Berg, Skaug & Bell, J. Stat. Softw. 70 (2016);
        Skaug & Fournier, Comput. Stat. Data Anal. 51 (2006).
    """
    return LaplaceModel(
        log_joint,
        u_like,
        constraints=constraints,
        sparsity=sparsity,
        ordering=ordering,
        max_iterations=max_iterations,
        tolerance=tolerance,
    )


@dataclass(frozen=True)
class _Program:
    """The static part of a call, equal for equal structures: what compiled programs depend on."""

    # Nothing of the call's arrays: compiled programs keep this object.
    key: Hashable
    function: Callable[..., Any]
    inputs: Leaves

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class LaplaceModel(Portable):
    """What `laplace` returns: a function of θ. Programs are compiled once per structure of θ."""

    def __init__(
        self,
        log_joint: Callable[..., Any],
        u_like: Any,
        *,
        constraints: Constraints | Mapping[Any, Constraints | None] | None,
        sparsity: Any,
        ordering: Any,
        max_iterations: int,
        tolerance: float | None,
    ) -> None:
        options.function(log_joint, "laplace", "log_joint")
        max_iterations = options.count(max_iterations, "laplace", "max_iterations", least=1)
        if (
            tolerance is not None
            and not 0 < options.positive(tolerance, "laplace", "tolerance") < 1
        ):
            raise ArgumentError(f"laplace: tolerance must be between 0 and 1, got {tolerance}.")
        refuse_foreign_tree(u_like, "laplace: u_like")
        self.log_joint = log_joint
        self._start = jax.tree.map(_zeros, u_like)
        self.constraints = place(constraints, self._start)
        self._sparsity = sparsity
        self.options = {
            "ordering": ordering,
            "max_iterations": max_iterations,
            "tolerance": tolerance,
        }
        self._options = Options(max_iterations, tolerance)
        self._made_again()

    _transient = ("_fit_programs", "_hessian", "_run")

    def _made_again(self) -> None:
        self._hessian = hessian(self.log_joint, sparsity=self._sparsity, verify=False)
        self._run = jax.jit(self._evaluate, static_argnums=(0, 1, 2))

    def __repr__(self) -> str:
        size = sum(x.size for x in jax.tree.leaves(self._start))
        k = 0 if self.constraints is None else self.constraints.k
        return f"LaplaceModel(n={size}, constraints={k})"

    @boundary
    def __call__(
        self, theta: Any, *args: Any, u0: Any = None, throw: bool = False
    ) -> LaplaceResult:
        """The approximation at θ.

        Args:
            theta: parameters, any pytree.
            *args: further arguments of `log_joint`, data or parameters, any pytrees.
            u0: where to start, of u's structure; by default zero. A mode of a nearby θ saves
                iterations. The result does not depend on it where the mode is unique.
            throw: raise `ConvergenceError` where there is no approximation, instead of NaN and a
                status.

        Returns:
            A `LaplaceResult`.
        """
        return self._apply(theta, args, u0, throw, "result")

    @boundary
    def log_marginal(
        self, theta: Any, *args: Any, u0: Any = None, throw: bool = False
    ) -> jax.Array:
        """The log-marginal at θ, a scalar; NaN where there is no approximation.

        Args:
            theta: parameters, any pytree.
            *args: further arguments of `log_joint`.
            u0: where to start.
            throw: raise instead of NaN.

        Example:
            >>> import jax, jax.numpy as jnp, cholax.stats as cs
            >>> model = cs.laplace(lambda u, t: -0.5 * jnp.sum(jnp.exp(t) * u**2), jnp.zeros(2))
            >>> round(float(jax.grad(model.log_marginal)(0.0)), 6)
            -1.0
        """
        return self._apply(theta, args, u0, throw, "log_marginal")

    @property
    def start(self) -> Any:
        """Zero, of u's structure: where searches for the mode start by default."""
        return self._start

    @boundary
    def pattern(self, theta: Any, *args: Any) -> Pattern:
        """The sparsity pattern of the Hessian in u, over u as one flat vector.

        Args:
            theta: parameters; only their structure matters.
            *args: further arguments of `log_joint`.
        """
        return self._hessian.pattern(self._start, theta, *args)

    def checked_start(self, u0: Any, where: str = "laplace") -> Any:
        """u0, or raise where it is no point of u."""
        refuse_foreign_tree(u0, f"{where}: u0")
        check_real(u0, where, "u0")
        _check_finite(u0, where, "u0")
        wanted, given = jax.tree.structure(self._start), jax.tree.structure(u0)
        shapes = [jnp.shape(x) for x in jax.tree.leaves(self._start)]
        if wanted != given or shapes != [jnp.shape(x) for x in jax.tree.leaves(u0)]:
            raise ShapeError(
                f"{where}: u0 must have the structure and shapes of u_like, {wanted} of {shapes}, "
                f"got {given}. Pass a mode of this model."
            )
        return u0

    def with_pattern(
        self, pattern: Pattern, theta: Any, *args: Any, u0: Any = None
    ) -> LaplaceResult:
        """The approximation at θ with a pattern found before.

        Index arrays among the arguments decide the pattern, and inside `jit` they are not known:
        find it outside, by `pattern(theta, *args)`, and hand it in as a constant.

        Args:
            pattern: from `pattern` of arguments with the same index arrays.
            theta: parameters.
            *args: further arguments of `log_joint`.
            u0: where to start.
        """
        return self._apply(theta, args, u0, False, "result", pattern)

    def _apply(
        self,
        theta: Any,
        args: Any,
        u0: Any,
        throw: bool,
        wanted: str,
        pattern: Pattern | None = None,
    ) -> Any:
        throw = options.flag(throw, "laplace", "throw")
        start = self._start if u0 is None else self.checked_start(u0)
        call = bind(self.log_joint, 0, (start, theta, *args), {}, has_aux=False, where="laplace")
        if pattern is None:
            pattern = self._hessian.pattern(start, theta, *args)
        e = None if self.constraints is None else self.constraints.right_hand_side(call.x.dtype)
        # A function that closes over a tracer belongs to this trace: no program of it is kept.
        held = captured(self.log_joint)
        run = self._evaluate if held is None else self._run
        program = _Program((call.key, held), call.function, call.inputs)
        result = run(program, pattern, wanted, call.x, e, call.data)
        if throw:
            raise_unless_converged(result.status)
        return result if wanted == "result" else result.log_marginal

    def _evaluate(
        self, program: _Program, pattern: Pattern, wanted: str, start: Any, e: Any, data: Any
    ) -> LaplaceResult:
        problem, residuals = self._problem(program, pattern, start, data)
        inputs = residuals if e is None else [*residuals, e]
        found = approximate(problem, start, e, residuals)
        residuals = detach(found.status.converged, residuals)
        factor = found.factor(problem, e)
        status = found.status
        if self._sparsity is not None:
            status = _with_checked_pattern(problem, found, residuals)
        size = pattern.n - factor.k
        log_joint = -problem.energy(found.mode, *residuals)
        log_marginal = log_joint + 0.5 * size * LOG_2PI - 0.5 * factor.log_det()
        made = None
        if wanted == "result":
            made = factor if self.constraints is not None else factor.factor
        value, mode, made = _marked((log_marginal, found.mode, made), status.converged, inputs)
        structure = program.inputs.tree, program.inputs.shapes
        return LaplaceResult(value, mode, made, status, structure)

    def _problem(
        self, program: _Program, pattern: Pattern, start: Any, data: Any
    ) -> tuple[Problem, list[Any]]:
        scalar = scalar_output(program.function, "laplace")

        def energy(u: jax.Array, *data: Any) -> jax.Array:
            return -scalar(u, data)[0]

        core, residuals = hoist(energy, start, data)
        rows = None if self.constraints is None else self.constraints.rows
        ordering = self.options["ordering"]
        plan = ConstrainedPlan.of(pattern, rows, ordering, None, None, "laplace")
        expansion = hessian(core, sparsity=pattern, verify=False).expansion
        problem = Problem(core, expansion, pattern, plan, self._options)
        return problem, residuals


def check_real(tree: Any, where: str, name: str) -> None:
    """Raise unless all leaves are real floating-point numbers."""
    for leaf in jax.tree.leaves(tree):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise DtypeError(
                f"{where}: {name} must be real floating-point numbers, got "
                f"{jnp.result_type(leaf)}. Convert it explicitly with .astype()."
            )


def _check_finite(tree: Any, where: str, name: str) -> None:
    for leaf in jax.tree.leaves(tree):
        if not isinstance(leaf, Tracer) and not np.all(np.isfinite(leaf)):
            raise ArgumentError(
                f"{where}: {name} must be finite, got {options.shown(leaf)}. A search cannot start "
                "there."
            )


def _zeros(leaf: Any) -> jax.Array:
    if not hasattr(leaf, "dtype"):
        leaf = jnp.asarray(leaf, float)
    return jnp.zeros(leaf.shape, leaf.dtype)


def _marked(tree: Any, ok: jax.Array, inputs: Sequence[Any]) -> Any:
    """NaN in every floating array where not ok, and in what depends on one."""
    return jax.tree.map(
        lambda x: mark(x, ok, inputs) if jnp.issubdtype(x.dtype, jnp.inexact) else x, tree
    )


def _with_checked_pattern(
    problem: Problem, found: Approximation, residuals: list[Any]
) -> LaplaceStatus:
    """A mode whose Hessian has entries outside of the pattern given does not count."""
    mode, values, fixed = jax.lax.stop_gradient((found.mode, found.values, residuals))

    def product(v: jax.Array) -> jax.Array:
        return jax.jvp(lambda u: problem.gradient(u, fixed), (mode,), (v,))[1]

    gap, scale = verify.discrepancy(product, values, problem.pattern)
    wrong = jnp.any(gap > verify.coarse(values.dtype) * scale)
    status = found.status
    code = jnp.where(wrong & status.converged, WRONG_SPARSITY, status.code)
    return status._replace(converged=status.converged & ~wrong, code=code)
