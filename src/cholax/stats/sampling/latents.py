"""Latent variables drawn after their hyperparameters, from the Gaussian at the mode."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from cholax._core import options
from cholax._core.errors import ShapeError
from cholax._core.foreign import refuse_foreign_tree
from cholax.sparsediff.remembered import solved
from cholax.stats._laplace.model import check_real


def sample_latents(key: jax.Array, model: Any, theta: Any, *args: Any) -> Any:
    """Draw u | θ, y from the Gaussian approximation N(û(θ), H(θ)⁻¹), one draw for each θ.

    Args:
        key: a JAX random key.
        model: a `cholax.stats.laplace` model: `model(theta, *args)` has a `mode` and a `factor`.
        theta: pytree of draws of θ, all with one leading axis.
        *args: the model's other arguments, the data.

    Returns:
        Draws of u, of the mode's structure, with the leading axis of θ; NaN where the mode of that
        θ was not found.
    """
    where = "sample_latents"
    options.random_key(key, where)
    options.function(model, where, "model")
    refuse_foreign_tree(theta, f"{where}: theta")
    count = _count(theta)

    def draw(model: Any, start: Any, args: Any) -> Any:
        keys, theta = start

        def one(pair: Any) -> Any:
            key, value = pair
            result = model(value, *args)
            mode, unravel = ravel_pytree(result.mode)
            return unravel(mode + result.factor.sample(key))

        # A map, not a vmap: thousands of factors at once would not fit for large models.
        return jax.lax.map(one, (keys, theta))

    theta = jax.tree.map(jnp.asarray, theta)
    return solved(draw, model, (jax.random.split(key, count), theta), args, (where,))


def _count(theta: Any) -> int:
    """The number of draws of θ, the leading axis of every leaf."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(theta)]
    counts = {shape[0] if shape else None for shape in shapes}
    count = next(iter(counts), None)
    if len(counts) != 1 or count is None:
        raise ShapeError(
            "sample_latents: the leaves of theta must have one leading axis, the draws, got "
            f"shapes {shapes}. One θ alone is theta[None]."
        )
    check_real(theta, "sample_latents", "theta")
    return count
