"""The profiled deviance of a linear mixed model, and everything it gives on the way."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from cholax._core.norms import max_norm
from cholax.linalg.cholesky import cholesky
from cholax.linalg.factor import Factor
from cholax.linalg.matrix import SparseMatrix
from cholax.stats._lmm.layout import Arrays, Layout


class Profile(NamedTuple):
    """The criterion at θ and what is profiled out, in internal coordinates.

    Attributes:
        criterion: deviance, or the REML criterion.
        templates: T̃ of each term.
        factor: of A = Λ̃ᵀZ̃ᵀWZ̃Λ̃ + I.
        solution: `(q, p + 1)` A⁻¹Λ̃ᵀZ̃ᵀW [Q y].
        schur: `(p, p)` M = Qᵀ(I + Z̃Λ̃Λ̃ᵀZ̃ᵀ)⁻¹Q; Cov(β̃) = σ² M⁻¹.
        beta: `(p,)`.
        r2: penalised residual sum of squares.
    """

    criterion: jax.Array
    templates: tuple[jax.Array, ...]
    factor: Factor
    solution: jax.Array
    schur: jax.Array
    beta: jax.Array
    r2: jax.Array


def internal_templates(layout: Layout, arrays: Arrays, theta: jax.Array) -> tuple[jax.Array, ...]:
    """T̃ = M⁻¹ T of each term from θ on the user's scale."""
    templates = layout.templates(theta)
    return tuple(inv @ T for inv, T in zip(arrays.to_internal, templates, strict=True))


@partial(jax.jit, static_argnames=("layout", "reml"))
def profile(
    layout: Layout, arrays: Arrays, templates: tuple[jax.Array, ...], *, reml: bool
) -> Profile:
    """d(θ) = log|A| + [log|RᵀMR|] + ν(1 + log(2π r²/ν)) − Σ log w, ν = n or n − p with REML.

    r² = min over β and u of ‖√W(y − Xβ − ZΛu)‖² + ‖u‖². It and M come from the residual matrix
    B − ZΛV and not from differences of squares, so that nothing cancels.

    Reference:
        Bates, Mächler, Bolker & Walker (2015), *Journal of Statistical Software* 67(1).
    """
    factor = cholesky(layout.matrix(arrays.blocks, templates))
    V = factor.solve(layout.scale(templates, arrays.cross, transpose=True))
    unit = _unit(arrays.B[:, -1])
    B, shifted, shift = _shifted(layout, templates, arrays, V, unit)
    G = _schur(layout, templates, arrays.Z, B, shifted)
    p = layout.fixed
    M, g = G[:p, :p], G[:p, p]
    log_M, beta, r2 = jnp.zeros((), G.dtype), g, G[p, p]
    if p:
        root, half = _solve_half(M, g)
        more = jax.scipy.linalg.solve_triangular(root, half, lower=True, trans=1)
        beta = shift + more * unit
        log_M, r2 = 2.0 * jnp.sum(jnp.log(jnp.diagonal(root))), r2 - half @ half
    nu = layout.n - p if reml else layout.n
    log_scale = jnp.log(2.0 * jnp.pi * r2 / nu) + 2.0 * jnp.log(unit)
    criterion = factor.log_det() + nu * (1.0 + log_scale) - arrays.log_weights
    if reml:
        criterion += log_M + 2.0 * arrays.log_R
    return Profile(criterion, templates, factor, V, M, beta, r2 * unit**2)


def _unit(y: jax.Array) -> jax.Array:
    """The size of y as a power of two: squares of r² stay in range, and scaling rounds nothing."""
    size = jax.lax.stop_gradient(max_norm(y))
    return jnp.where(size > 0, jnp.exp2(jnp.round(jnp.log2(jnp.where(size > 0, size, 1.0)))), 1.0)


def _shifted(
    layout: Layout, templates: Any, arrays: Arrays, V: jax.Array, unit: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """B and V for the response (y − Qβ₀)/unit, and β₀, the estimate of β̃ here as a constant.

    The criterion is the same for each β₀. But where group effects are large, generalised least
    squares is far from least squares, and with β₀ = 0 r² is a small difference of large squares.
    """
    p = layout.fixed
    B, V = (x.at[:, p].divide(unit) for x in (arrays.B, V))
    if not p:
        return B, V, jnp.zeros(0, V.dtype)
    G = _schur(layout, *jax.lax.stop_gradient((templates, arrays.Z, B, V)))
    root, half = _solve_half(G[:p, :p], G[:p, p])
    shift = jax.scipy.linalg.solve_triangular(root, half, lower=True, trans=1)
    # Also where M is singular in rounding the criterion is that of y.
    shift = jnp.where(jnp.isfinite(shift), shift, 0.0)
    B, V = (x.at[:, p].add(-x[:, :p] @ shift) for x in (B, V))
    return B, V, shift * unit


def _solve_half(M: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The Cholesky factor L of M, and L⁻¹g."""
    root = jnp.linalg.cholesky(M)
    return root, jax.scipy.linalg.solve_triangular(root, g, lower=True)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _schur(layout: Layout, templates: Any, Z: SparseMatrix, B: jax.Array, V: jax.Array) -> Any:
    """G = Bᵀ(I + ZΛΛᵀZᵀ)⁻¹B from V = A⁻¹ΛᵀZᵀB: G = (B − ZΛV)ᵀ(B − ZΛV) + VᵀV."""
    rest = B - Z @ layout.scale(templates, V)
    return rest.T @ rest + V.T @ V


def _schur_jvp(layout: Layout, primals: Any, tangents: Any) -> Any:
    # G is stationary in V, so V's tangent drops out and the reverse sweep needs no solve.
    templates, Z, B, V = primals
    rest = B - Z @ layout.scale(templates, V)
    half = jnp.zeros((B.shape[1], B.shape[1]), B.dtype)
    dT, dZ, dB, _ = tangents
    if not all(isinstance(t, SymbolicZero) for t in dT):
        moved = layout.scale([_dense(t) for t in dT], V)
        half -= _scores(layout, templates, Z, rest, V).T @ moved
    if not isinstance(dZ.values, SymbolicZero):
        half -= rest.T @ (SparseMatrix(dZ.values, Z.pattern) @ layout.scale(templates, V))
    if not isinstance(dB, SymbolicZero):
        half += rest.T @ dB
    return rest.T @ rest + V.T @ V, half + half.T


def _scores(
    layout: Layout, templates: Any, Z: SparseMatrix, rest: jax.Array, V: jax.Array
) -> jax.Array:
    """E = Zᵀ(B − ZΛV), without its cancellation where Λ is large.

    There the residual is what is left of numbers 1/|Λ| larger, and E smaller again. But V solves
    ΛᵀE = V, so E + (ΛΛᵀ + I)⁻¹Λ(V − ΛᵀE) is the same, with the rounding of E divided by |Λ|².
    """
    E = Z.T @ rest
    gap = V - layout.scale(templates, E, transpose=True)
    inverses = [
        jnp.linalg.solve(T @ T.T + jnp.eye(T.shape[0], dtype=T.dtype), T) for T in templates
    ]
    return E + layout.scale(inverses, gap)


_schur.defjvp(_schur_jvp, symbolic_zeros=True)


def _dense(tangent: Any) -> jax.Array:
    zero: Any = tangent
    return jnp.zeros(zero.shape, zero.dtype) if isinstance(tangent, SymbolicZero) else tangent
