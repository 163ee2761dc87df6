"""Linear maps given by functions: a product with its transpose, and a solve with its product.

`linear_map(apply, transpose, residuals, x)` is apply(residuals, x), linear in x. Its tangent in x
and its transpose are calls of the same kind, its tangent in the residuals is that of `apply`, so
derivatives of every order exist although `apply` may be a loop that JAX cannot transpose.
(`jax.custom_derivatives.linear_call` has no batching rule and no tangent in the residuals.)

`linear_solve(solver, residuals, b)` is A(residuals)⁻¹ b, with d x = A⁻¹(db − dA x): its tangent
differentiates the product, never the way the system is solved. (`lax.custom_linear_solve` cannot
be transposed where a derivative of the product vanishes structurally, binds the solve twice and
transposes the product although nothing asks for it.)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from cholax._core.jax_compat import Primitive, ad, batching, mlir

_linear_map = Primitive("cholax_linear_map")
_linear_solve = Primitive("cholax_linear_solve")

Map = Callable[[tuple[Any, ...], jax.Array], jax.Array]


class LinearSolver(NamedTuple):
    """A square matrix A(residuals) by what is done with it; no part closes over traced values.

    Attributes:
        solve: `(residuals, b) ↦ A⁻¹ b`, never differentiated.
        solve_transposed: `(residuals, b) ↦ A⁻ᵀ b`, never differentiated.
        product: `(residuals, x) ↦ A x`, whose derivative in the residuals is dA x.
        product_transposed: `(residuals, y) ↦ Aᵀ y`.
    """

    solve: Map
    solve_transposed: Map
    product: Map
    product_transposed: Map

    @property
    def transposed(self) -> "LinearSolver":
        """The same of Aᵀ."""
        return LinearSolver(
            self.solve_transposed, self.solve, self.product_transposed, self.product
        )


def linear_map(
    apply: Map, transpose: Map, residuals: tuple[jax.Array, ...], x: jax.Array
) -> jax.Array:
    """apply(residuals, x), with `transpose(residuals, y)` as the transpose in x.

    Neither function may close over traced values.
    """
    return _linear_map.bind(*residuals, x, apply=apply, transpose=transpose)


def is_marker(apply: Map) -> bool:
    """Whether a map only makes NaN where something failed: no result depends on x through it."""
    return getattr(apply, "is_marker", False)


def linear_solve(solver: LinearSolver, residuals: Sequence[Any], b: jax.Array) -> jax.Array:
    """A⁻¹ b;  d x = A⁻¹(db − dA x), of every order and in both modes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from cholax._core.linear_map import LinearSolver, linear_solve
        >>> divide, times = lambda r, b: b / r[0], lambda r, x: r[0] * x
        >>> solver = LinearSolver(divide, divide, times, times)
        >>> jax.grad(lambda a: linear_solve(solver, (a,), jnp.ones(())))(2.0).item()
        -0.25
    """
    return _linear_solve.bind(*residuals, b, solver=solver)


# --- linear_map -----------------------------------------------------------------------------------


def _run(*operands: Any, apply: Any, transpose: Any) -> Any:
    del transpose
    return apply(operands[:-1], operands[-1])


def _compiled(*operands: Any, apply: Any, transpose: Any) -> Any:
    return jax.jit(_run, static_argnames=("apply", "transpose"))(
        *operands, apply=apply, transpose=transpose
    )


def _abstract(*operands: Any, apply: Any, transpose: Any) -> Any:
    del transpose
    specs = [jax.ShapeDtypeStruct(o.shape, o.dtype) for o in operands]
    out = jax.eval_shape(lambda *args: apply(args[:-1], args[-1]), *specs)
    return operands[-1].update(shape=out.shape, dtype=out.dtype, weak_type=False)


def _jvp(primals: Any, tangents: Any, *, apply: Any, transpose: Any) -> Any:
    residuals, x = tuple(primals[:-1]), primals[-1]
    out = linear_map(apply, transpose, residuals, x)
    parts = []
    if not isinstance(tangents[-1], ad.Zero):
        parts.append(linear_map(apply, transpose, residuals, tangents[-1]))
    change = _change(apply, residuals, tangents[:-1], x)
    if change is not None:
        parts.append(change)
    return out, sum(parts[1:], parts[0])


def _change(
    apply: Map, residuals: tuple[Any, ...], tangents: Sequence[Any], x: jax.Array
) -> jax.Array | None:
    """The tangent of apply(residuals, x) in the residuals; None where none of them moves."""
    moving = [k for k, t in enumerate(tangents) if not isinstance(t, ad.Zero)]
    if not moving:
        return None

    def of_moving(*values: Any) -> Any:
        merged = list(residuals)
        for k, value in zip(moving, values, strict=True):
            merged[k] = value
        return apply(tuple(merged), x)

    values = tuple(residuals[k] for k in moving)
    return jax.jvp(of_moving, values, tuple(tangents[k] for k in moving))[1]


def _transpose(ct: Any, *operands: Any, apply: Any, transpose: Any) -> Any:
    none = [None] * (len(operands) - 1)
    if isinstance(ct, ad.Zero):
        return [*none, ct]
    return [*none, linear_map(transpose, apply, tuple(operands[:-1]), ct)]


def _batch(operands: Any, dims: Any, *, apply: Any, transpose: Any) -> Any:
    residuals, x, mapped = _lanes(operands, dims)
    return linear_map(_vmapped(apply, mapped), _vmapped(transpose, mapped), residuals, x), 0


def _lanes(operands: Any, dims: Any) -> tuple[tuple[Any, ...], jax.Array, tuple[int | None, ...]]:
    """Residuals and vector with their mapped axis in front, and which residuals have one."""
    *residuals, x = operands
    *axes, last = dims
    if last is None:
        size = next(r.shape[d] for r, d in zip(residuals, axes, strict=True) if d is not None)
        x, last = jnp.broadcast_to(x, (size, *x.shape)), 0
    x = jnp.moveaxis(x, last, 0)
    moved = tuple(
        r if d is None else jnp.moveaxis(r, d, 0) for r, d in zip(residuals, axes, strict=True)
    )
    return moved, x, tuple(None if d is None else 0 for d in axes)


class _vmapped:
    """`jax.vmap` of a map; equal for equal arguments, so that compiled programs are found again."""

    def __init__(self, apply: Any, mapped: tuple[int | None, ...]) -> None:
        self.key = (apply, mapped)
        self.is_marker = is_marker(apply)
        self.call = jax.vmap(apply, in_axes=(mapped, 0))

    def __call__(self, residuals: Any, x: Any) -> Any:
        return self.call(residuals, x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _vmapped) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


_linear_map.def_impl(_compiled)
_linear_map.def_abstract_eval(_abstract)
ad.primitive_jvps[_linear_map] = _jvp
ad.primitive_transposes[_linear_map] = _transpose
batching.primitive_batchers[_linear_map] = _batch
mlir.register_lowering(_linear_map, mlir.lower_fun(partial(_run), multiple_results=False))


# --- linear_solve ---------------------------------------------------------------------------------


def _solve(*operands: Any, solver: LinearSolver) -> Any:
    return solver.solve(operands[:-1], operands[-1])


def _compiled_solve(*operands: Any, solver: LinearSolver) -> Any:
    return jax.jit(_solve, static_argnames="solver")(*operands, solver=solver)


def _abstract_solve(*operands: Any, solver: LinearSolver) -> Any:
    del solver
    return operands[-1].update(weak_type=False)


def _solve_jvp(primals: Any, tangents: Any, *, solver: LinearSolver) -> Any:
    residuals, b = tuple(primals[:-1]), primals[-1]
    x = linear_solve(solver, residuals, b)
    change = _change(solver.product, residuals, tangents[:-1], x)
    db = None if isinstance(tangents[-1], ad.Zero) else tangents[-1]
    right: Any = db if change is None else -change if db is None else db - change
    return x, linear_solve(solver, residuals, right)


def _solve_transpose(ct: Any, *operands: Any, solver: LinearSolver) -> Any:
    none = [None] * (len(operands) - 1)
    if isinstance(ct, ad.Zero):
        return [*none, ct]
    return [*none, linear_solve(solver.transposed, tuple(operands[:-1]), ct)]


def _solve_batch(operands: Any, dims: Any, *, solver: LinearSolver) -> Any:
    residuals, b, mapped = _lanes(operands, dims)
    lanes = LinearSolver(*(_vmapped(part, mapped) for part in solver))
    return linear_solve(lanes, residuals, b), 0


_linear_solve.def_impl(_compiled_solve)
_linear_solve.def_abstract_eval(_abstract_solve)
ad.primitive_jvps[_linear_solve] = _solve_jvp
ad.primitive_transposes[_linear_solve] = _solve_transpose
batching.primitive_batchers[_linear_solve] = _solve_batch
mlir.register_lowering(_linear_solve, mlir.lower_fun(_solve, multiple_results=False))
