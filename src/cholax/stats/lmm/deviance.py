"""The profiled deviance of a linear mixed model, and everything it gives on the way."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from cholax.linalg.cholesky import cholesky
from cholax.linalg.factor import Factor
from cholax.linalg.matrix import SparseMatrix
from cholax.stats.lmm.layout import Arrays, Layout


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
    G = _schur(layout, templates, arrays.Z, arrays.B, V)
    p = layout.fixed
    M, g = G[:p, :p], G[:p, p]
    log_M, beta, r2 = jnp.zeros((), G.dtype), g, G[p, p]
    if p:
        root = jnp.linalg.cholesky(M)
        half = jax.scipy.linalg.solve_triangular(root, g, lower=True)
        beta = jax.scipy.linalg.solve_triangular(root, half, lower=True, trans=1)
        log_M, r2 = 2.0 * jnp.sum(jnp.log(jnp.diagonal(root))), r2 - half @ half
    nu = layout.n - p if reml else layout.n
    criterion = factor.log_det() + nu * (1.0 + jnp.log(2.0 * jnp.pi * r2 / nu))
    criterion -= arrays.log_weights
    if reml:
        criterion += log_M + 2.0 * arrays.log_R
    return Profile(criterion, templates, factor, V, M, beta, r2)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _schur(layout: Layout, templates: Any, Z: SparseMatrix, B: jax.Array, V: jax.Array) -> Any:
    """G = Bᵀ(I + ZΛΛᵀZᵀ)⁻¹B from V = A⁻¹ΛᵀZᵀB: G = (B − ZΛV)ᵀ(B − ZΛV) + VᵀV."""
    rest = B - Z @ layout.scale(templates, V)
    return rest.T @ rest + V.T @ V


def _schur_jvp(layout: Layout, primals: Any, tangents: Any) -> Any:
    # G is stationary in V, so V's tangent drops out and the reverse sweep needs no solve.
    templates, Z, B, V = primals
    rest = B - Z @ layout.scale(templates, V)
    change = jnp.zeros_like(rest)
    dT, dZ, dB, _ = tangents
    if not all(isinstance(t, SymbolicZero) for t in dT):
        change -= Z @ layout.scale([_dense(t) for t in dT], V)
    if not isinstance(dZ.values, SymbolicZero):
        change -= SparseMatrix(dZ.values, Z.pattern) @ layout.scale(templates, V)
    if not isinstance(dB, SymbolicZero):
        change += dB
    half = rest.T @ change
    return rest.T @ rest + V.T @ V, half + half.T


_schur.defjvp(_schur_jvp, symbolic_zeros=True)


def _dense(tangent: Any) -> jax.Array:
    zero: Any = tangent
    return jnp.zeros(zero.shape, zero.dtype) if isinstance(tangent, SymbolicZero) else tangent
