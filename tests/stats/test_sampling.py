"""Whitened coordinates against their dense definitions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
import cholax.stats as cs
from cholax.errors import NotPositiveDefiniteError, ShapeError
from cholax.stats.sampling import Whitening, sample_latents
from tests import tolerances as tol

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
VALUE = tol.value(np.float64)
rng = np.random.default_rng(11)


def precision(n):
    return cx.diags([np.full(n - 1, -1.0), np.arange(2.5, n + 2.5)], [-1, 0], symmetric=True)


def test_whitened_density_has_identity_hessian_and_the_right_volume():
    Q = precision(6)
    mode = {"a": jnp.arange(2.0), "b": jnp.ones((2, 2))}
    white = Whitening(mode, Q)
    flat = jnp.concatenate([mode["a"], mode["b"].ravel()])

    def log_density(x):
        r = jnp.concatenate([x["a"], x["b"].ravel()]) - flat
        half = 0.5 * jnp.linalg.slogdet(Q.to_dense())[1]
        return half - 0.5 * r @ Q.to_dense() @ r - 3 * jnp.log(2 * jnp.pi)

    z = rng.normal(size=6)
    density = white.log_density(log_density)

    @quick
    def run(z):
        return density(z), jax.hessian(density)(z), white.coordinates(white.point(z))

    value, hessian, back = run(z)
    tol.assert_close(value, -0.5 * z @ z - 3 * np.log(2 * np.pi), VALUE)
    tol.assert_close(hessian, -np.eye(6), tol.gradient(np.float64))
    tol.assert_close(back, z, VALUE)


def test_whitening_refuses_what_is_no_mode():
    with pytest.raises(NotPositiveDefiniteError):
        Whitening(jnp.zeros(3), -1.0 * precision(3))
    with pytest.raises(ShapeError, match="order 2"):
        Whitening(jnp.zeros(2), precision(3))


@pytest.mark.slow
def test_latents_are_drawn_from_the_gaussian_at_the_mode_of_each_theta():
    """A Gaussian joint density, for which the Laplace approximation is exact."""
    y = jnp.array([1.0, -2.0, 0.5])

    def log_joint(u, theta):
        path = jnp.sum((u[1:] - u[:-1]) ** 2) + u[0] ** 2
        return -0.5 * jnp.exp(theta) * path - 0.5 * jnp.sum((y - u) ** 2)

    model = cs.laplace(log_joint, y)
    thetas = jnp.repeat(jnp.array([-1.0, 1.0]), 2000)
    u = quick(lambda key: sample_latents(key, model, thetas))(jax.random.key(2))
    for theta, draws in zip((-1.0, 1.0), np.asarray(u).reshape(2, 2000, 3), strict=True):
        H = -np.asarray(jax.hessian(log_joint)(jnp.zeros(3), theta))
        mean, cov = np.linalg.solve(H, y), np.linalg.inv(H)
        sd = np.sqrt(np.diag(cov))
        # Five standard errors of 2000 draws.
        assert np.all(np.abs(draws.mean(axis=0) - mean) < 5 * sd / np.sqrt(2000))
        assert np.allclose(np.cov(draws.T), cov, atol=5 * np.max(sd) ** 2 * np.sqrt(2 / 2000))
