"""Latent variables drawn after their hyperparameters, from the Gaussian at the mode."""

from typing import Any

import jax
from jax.flatten_util import ravel_pytree


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
    count = jax.tree.leaves(theta)[0].shape[0]

    def one(pair: Any) -> Any:
        key, value = pair
        result = model(value, *args)
        mode, unravel = ravel_pytree(result.mode)
        return unravel(mode + result.factor.sample(key))

    # A map, not a vmap: thousands of factors at once would not fit for large models.
    return jax.lax.map(one, (jax.random.split(key, count), theta))
