"""The search for the mode ends where the gradient is rounding error, however long its steps are."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax.stats as cs
from cholax.stats._laplace import mode
from cholax.stats.likelihoods import poisson


@pytest.fixture(scope="module")
def result() -> Any:
    """A field smooth over fifty times its domain: steps stay above 1e-7 however often repeated."""
    grid = cs.Grid((25, 25), spacing=0.04)
    matern = cs.matern(grid)
    y = jnp.asarray(np.random.default_rng(1).poisson(3.0, 625), float)

    def log_joint(u: Any, extent: Any) -> Any:
        return poisson.log_prob(y, u).sum() + matern.log_prob(u, range=extent, sd=0.05)

    return jax.jit(cs.laplace(log_joint, jnp.zeros(625)))(50.0)


def test_an_ill_conditioned_field_converges_in_a_few_iterations(result: Any) -> None:
    assert bool(result.status.converged)
    assert int(result.status.iterations) < 15
    assert float(result.status.error) > 1e-8


def test_no_digit_of_the_gradient_is_left(result: Any) -> None:
    H = result.factor.A
    scale = float(jnp.max(mode._magnitude(H, result.mode)))
    assert float(result.status.gradient_norm) < 64 * np.finfo(float).eps * scale
