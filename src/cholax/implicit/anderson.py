"""Iterations for z = f(z): plain, and accelerated by Anderson's mixing.

Anderson: with residuals r_k = f(z_k) − z_k and differences ΔR, ΔF over the last few steps, the next
iterate is f(z_k) − ΔF γ, γ = argmin ‖r_k − ΔR γ‖² + λ‖γ‖².

Reference:
    Walker & Ni, Anderson acceleration for fixed-point iterations, SIAM J. Numer. Anal. (2011).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from cholax._core.norms import max_norm
from cholax.implicit import status as codes
from cholax.implicit.dense import inverse
from cholax.implicit.newton import default_tolerance
from cholax.implicit.status import Status, make_status

# Steps without a new smallest residual after which a small one counts as rounding, others as lost.
PATIENCE = 20
# A residual this much above the smallest one drops the history.
GROWTH = 10.0


class _State(NamedTuple):
    z: jax.Array
    image: jax.Array  # f(z)
    residuals: jax.Array  # ΔR, one column per step remembered
    images: jax.Array  # ΔF
    best: jax.Array
    anchor: jax.Array  # f(z) at the smallest residual
    since: jax.Array
    scale: jax.Array
    size: jax.Array
    error: jax.Array
    steps: jax.Array
    code: jax.Array


def iterate_map(
    f: Callable[[jax.Array], jax.Array],
    start: jax.Array,
    memory: int,
    tolerance: float | None,
    max_iterations: int,
) -> tuple[jax.Array, Any, Status]:
    """Iterate z ← f(z), accelerated over `memory` steps (0: plain), until z stops changing."""
    tolerance = default_tolerance(start.dtype) if tolerance is None else tolerance

    def body(state: _State) -> _State:
        residual = state.image - state.z
        z = state.image - _mixed(state, residual)
        image = f(z)
        after = image - z
        state = _remember(state, after - residual, image - state.image)
        return _judge(state._replace(z=z, image=image), after, tolerance)

    image = f(start)
    size = max_norm(image - start)
    history = jnp.zeros((start.size, memory), start.dtype)
    one = jnp.ones((), start.dtype)
    scale = jnp.maximum(max_norm(start), max_norm(image))
    code = jnp.where(size <= tolerance * scale, codes.CONVERGED, codes.RUNNING)
    code = jnp.where(jnp.isfinite(size), code, codes.NOT_FINITE)
    none = jnp.array(0)
    first = _State(
        start, image, history, history, size, image, none, scale, size, size * one, none, code
    )
    last = lax.while_loop(
        lambda s: (s.code == codes.RUNNING) & (s.steps < max_iterations), body, first
    )
    lost = (last.code == codes.RUNNING) & (last.since >= PATIENCE)
    code = jnp.where(lost, codes.NO_PROGRESS, last.code)
    # f(z) is one step nearer than z where f contracts.
    return last.image, (), make_status(code, last.steps, last.size, last.error)


def _mixed(state: _State, residual: jax.Array) -> jax.Array:
    """ΔF γ, by QR of ΔR stacked on √λ I; columns not yet filled are zero and get no weight."""
    memory = state.residuals.shape[1]
    if memory == 0:
        return jnp.zeros_like(residual)
    dtype = residual.dtype
    # Scaled columns: differences shrink by orders of magnitude from the oldest to the newest.
    sizes = jnp.sqrt(jnp.sum(state.residuals**2, axis=0))
    safe = jnp.where(sizes > 0, sizes, 1.0)
    small = 10.0 * jnp.sqrt(jnp.finfo(dtype).eps) * jnp.eye(memory, dtype=dtype)
    Q, R = jnp.linalg.qr(jnp.concatenate([state.residuals / safe, small]))
    gamma = inverse(R) @ (Q[:-memory].T @ residual)
    return (state.images / safe) @ gamma


def _remember(state: _State, residual: jax.Array, image: jax.Array) -> _State:
    if state.residuals.shape[1] == 0:
        return state

    def push(history: jax.Array, column: jax.Array) -> jax.Array:
        return jnp.concatenate([history[:, 1:], column[:, None]], axis=1)

    return state._replace(
        residuals=push(state.residuals, residual), images=push(state.images, image)
    )


def _judge(state: _State, residual: jax.Array, tolerance: float) -> _State:
    """Bookkeeping of a step: has it converged, stalled at rounding, lost the way?"""
    size = max_norm(residual)
    scale = jnp.maximum(state.scale, max_norm(state.image))
    better = size < state.best
    since = jnp.where(better, 0, state.since + 1)
    best = jnp.minimum(size, state.best)
    # Errors shrink as the residuals do; r/(1 − q) bounds what is left of a linear convergence.
    rate = jnp.clip(size / state.size, 0.0, 0.999)
    error = size / (1 - rate)
    rounding = size <= jnp.sqrt(jnp.finfo(size.dtype).eps) * scale
    memory = state.residuals.shape[1]
    reached = (size if memory else error) <= tolerance * scale
    # Noise leaves z where it is; a map that moves everything a little, z + 1e-9, does not.
    anchor = jnp.where(better, state.image, state.anchor)
    still = max_norm(state.image - anchor) <= PATIENCE / 2 * size
    noise = rounding & still & (since >= PATIENCE)
    code = jnp.where(reached | noise, codes.CONVERGED, codes.RUNNING)
    code = jnp.where(jnp.isfinite(size), code, codes.NOT_FINITE)
    keep = size <= GROWTH * best
    return state._replace(
        residuals=jnp.where(keep, state.residuals, 0.0),
        images=jnp.where(keep, state.images, 0.0),
        best=best,
        anchor=anchor,
        since=since,
        scale=scale,
        size=size,
        error=error,
        steps=state.steps + 1,
        code=code,
    )
