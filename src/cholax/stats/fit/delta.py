"""Standard errors of functions of (u, θ), the generalised delta method."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree

from cholax._core import options
from cholax._core.errors import ArgumentError
from cholax._core.pickling import reduce_tuple
from cholax.sparsediff.captured import captured
from cholax.sparsediff.remembered import remembered
from cholax.stats._laplace import LaplaceResult

# Numbers solved for side by side.
_BLOCK = 32


class Delta(NamedTuple):
    """Estimate and uncertainty of a function of the latent variables and the parameters.

    Attributes:
        estimate: the function at the mode.
        standard_error: of its structure.
        conditional_variance: variances given θ̂, of its structure.
        covariance: `(m, m)` of the numbers in order, where asked for.
    """

    estimate: Any
    standard_error: Any
    conditional_variance: Any
    covariance: np.ndarray | None

    __reduce__ = reduce_tuple


def delta(fit: Any, function: Callable[[Any, Any], Any], full: bool) -> Delta:
    """`Fit.delta`."""
    result = fit.result
    options.function(function, "Fit.delta")
    full = options.flag(full, "Fit.delta", "full")
    theta = jnp.asarray(fit.flat_theta, fit.evaluator.dtype)
    out, restore = ravel_pytree(function(result.mode, fit.theta))
    if not jnp.issubdtype(out.dtype, jnp.inexact):
        raise ArgumentError(
            f"Fit.delta: the function must return floating-point numbers, got {out.dtype}."
        )

    program = _program(function, result, fit.evaluator.unravel, fit.theta, full)
    D, conditional = program(
        result.flat_mode, theta, jnp.asarray(fit.sensitivity, theta.dtype), result.factor
    )
    D, conditional = np.asarray(D), np.asarray(conditional)
    V = fit.covariance()
    spread = D.T @ V @ D if full else np.sum((V @ D) * D, axis=0)
    covariance = conditional + spread
    own = np.diagonal(conditional) if full else conditional
    total = np.diagonal(covariance) if full else covariance

    def shaped(x: np.ndarray) -> Any:
        return restore(jnp.asarray(x, out.dtype))

    return Delta(
        restore(out),
        shaped(np.sqrt(np.maximum(total, 0.0))),
        shaped(own),
        covariance if full else None,
    )


def _program(
    function: Callable[[Any, Any], Any],
    result: LaplaceResult,
    unravel_theta: Callable[[jax.Array], Any],
    theta: Any,
    full: bool,
) -> Callable[..., Any]:
    """`_parts` compiled, once for a function of u and θ of these structures."""
    latent = result.leaves

    def flat(u: jax.Array, theta: jax.Array) -> jax.Array:
        return ravel_pytree(function(latent.unravel(u), unravel_theta(theta)))[0]

    def make() -> Callable[..., Any]:
        return jax.jit(lambda u, theta, S, factor: _parts(flat, u, theta, S, factor, full))

    held = captured(function)
    leaves, tree = jax.tree.flatten(theta)
    shapes = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
    structure = latent.tree, latent.shapes, tree, shapes
    return make() if held is None else remembered(("Fit.delta", held, structure, full), make)


def _parts(
    flat: Callable[..., jax.Array],
    u: jax.Array,
    theta: jax.Array,
    S: jax.Array,
    factor: Any,
    full: bool,
) -> tuple[jax.Array, jax.Array]:
    """The total derivative in θ, `(p, m)`, and the variances or covariances given θ."""
    out, push = jax.linearize(flat, u, theta)
    D = lax.map(lambda d: push(*d), (S, jnp.eye(theta.size, dtype=theta.dtype)))
    pull = jax.linear_transpose(lambda du: push(du, jnp.zeros_like(theta)), u)
    m = out.size
    if full:
        rows = jax.vmap(lambda w: pull(w)[0])(jnp.eye(m, dtype=out.dtype))
        return D, rows @ factor.solve(rows.T)

    def block(places: jax.Array) -> jax.Array:
        seeds = (places[:, None] == jnp.arange(m)).astype(out.dtype)
        rows = jax.vmap(lambda w: pull(w)[0])(seeds)
        return jnp.sum(rows.T * factor.solve(rows.T), axis=0)

    blocks = -(-m // _BLOCK)
    places = jnp.arange(blocks * _BLOCK).reshape(blocks, _BLOCK) if blocks > 1 else None
    if places is None:
        return D, block(jnp.arange(m))
    return D, lax.map(block, places).ravel()[:m]
