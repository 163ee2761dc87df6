"""Draws of fixed and random effects from their joint distribution given the data."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core import options
from cholax.stats._covariance import covariance_root
from cholax.stats._lmm.estimates import Estimates


def sample(
    fit: Estimates, key: jax.Array, shape: int | Sequence[int]
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """See `MixedFit.sample`."""
    options.random_key(key, "sample")
    shape = options.sizes(shape, "sample")
    for_beta, for_u = jax.random.split(key)
    count = int(np.prod(shape))
    root = jnp.asarray(covariance_root(fit.covariance()))
    change = jax.random.normal(for_beta, (count, fit.beta.size), root.dtype) @ root.T
    beta = (fit.beta + change).reshape(*shape, fit.beta.size)
    if not fit.design.terms:
        return beta, {}
    known, layout = fit.uncertainty(), fit.model.layout
    # The modes give way to β: dû = −S dβ.
    noise = np.sqrt(known.scale) * known.factor.sample(for_u, (count,))
    u = noise - change @ jnp.asarray(known.sensitivity).T
    parts: dict[str, list[jax.Array]] = {}
    places = zip(fit.design.terms, known.templates, layout.sizes, layout.offsets, strict=False)
    for term, T, (levels, p), start in places:
        own = u[:, start : start + levels * p].reshape(*shape, levels, p)
        parts.setdefault(term.group, []).append(own @ T.T)
    return beta, {
        group: fit.ranef[group].modes + jnp.concatenate(draws, axis=-1)
        for group, draws in parts.items()
    }
