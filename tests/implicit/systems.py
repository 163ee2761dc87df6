"""Equations whose solutions and derivatives are known or found by a dense twin."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

import cholax as cx

# The classic hard ones, padded to four unknowns: (F, start, solution or None).
CLASSIC = {
    "atan": (lambda z: jnp.arctan(z), [10.0, -3.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
    "rosenbrock_gradient": (
        lambda z: jnp.concatenate([jax.grad(rosenbrock)(z[:2]), z[2:] - 1]),
        [-1.2, 1.0, 0.0, 5.0],
        [1.0, 1.0, 1.0, 1.0],
    ),
    "powell_badly_scaled": (
        lambda z: jnp.stack(
            [1e4 * z[0] * z[1] - 1, jnp.exp(-z[0]) + jnp.exp(-z[1]) - 1.0001, z[2], z[3]]
        ),
        [0.0, 1.0, 0.0, 0.0],
        [1.098159329699759e-05, 9.106146739867453, 0.0, 0.0],
    ),
    "powell_singular": (
        lambda z: jnp.stack(
            [
                z[0] + 10 * z[1],
                5**0.5 * (z[2] - z[3]),
                (z[1] - 2 * z[2]) ** 2,
                10**0.5 * (z[0] - z[3]) ** 2,
            ]
        ),
        [3.0, -1.0, 0.0, 1.0],
        [0.0, 0.0, 0.0, 0.0],
    ),
    "steep": (
        lambda z: jnp.exp(z) - jnp.array([1e4, 2.0, 3.0, 0.5], z.dtype),
        [0.0, 1.0, 2.0, 3.0],
        list(np.log([1e4, 2.0, 3.0, 0.5])),
    ),
    "cliff": (
        lambda z: 1e17 * jnp.maximum(z, 0.0) + z + 1.0,
        [1.0, 2.0, 3.0, 0.5],
        [-1.0, -1.0, -1.0, -1.0],
    ),
    "freudenstein_roth": (
        lambda z: jnp.stack(
            [
                -13 + z[0] + ((5 - z[1]) * z[1] - 2) * z[1],
                -29 + z[0] + ((z[1] + 1) * z[1] - 14) * z[1],
                z[2] - 3,
                z[3],
            ]
        ),
        [0.5, -2.0, 1.0, 1.0],
        [5.0, 4.0, 3.0, 0.0],
    ),
}
# No solution, or none that the start leads to.
HOPELESS = {
    "no_root": (lambda z: z * z + 1, [2.0, 1.0, 3.0, 2.0]),
    "singular_start": (lambda z: z * z - 1, [0.0, 2.0, 2.0, 2.0]),
    "outside_the_domain": (lambda z: jnp.log(z) + 1, [-1.0, 1.0, 1.0, 1.0]),
}


def rosenbrock(z):
    return 100 * (z[1] - z[0] ** 2) ** 2 + (1 - z[0]) ** 2


def coupled(z, theta):
    """Three nonsymmetric equations with parameters in every place."""
    x, y, w = z
    a, b, c = theta
    return jnp.stack(
        [
            3 * x + jnp.sin(a * y) - c,
            jnp.exp(-x) + 2 * b * y + w**3 - 1,
            4 * w + x * y - a * c**2,
        ]
    )


COUPLED_THETA = jnp.array([0.7, 1.3, 0.9])


def both_modes(solve, theta):
    """Value, derivative by forward mode and derivative by reverse mode, from one iteration."""
    z, push = jax.linearize(solve, theta)
    pull = jax.linear_transpose(push, theta)
    forward = jax.vmap(push, out_axes=-1)(jnp.eye(theta.size, dtype=theta.dtype))
    reverse = jax.vmap(lambda w: pull(w)[0])(jnp.eye(z.size, dtype=z.dtype))
    return z, forward, reverse


def unrolled(F, z0, *args, steps=8):
    """The dense twin: plain Newton with a fixed number of steps, differentiated through."""

    def step(z, _):
        return z - jnp.linalg.solve(jax.jacfwd(F)(z, *args), F(z, *args)), None

    return jax.lax.scan(step, z0, None, length=steps)[0]


def chain(n, couplings):
    """Nonlinear chain with couplings (left, right); symmetric where they are equal."""
    left, right = couplings

    def F(z, theta):
        ahead, behind = jnp.append(z[1:], 0.0), jnp.append(0.0, z[:-1])
        return (2.5 + theta[0]) * z + 0.3 * z**3 + right * ahead + left * behind - theta[1:]

    pattern = cx.from_scipy(
        sp.diags_array(
            [np.ones(n - 1), np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1], format="csc"
        )
    ).pattern
    theta = np.concatenate([[0.4], np.random.default_rng(n).standard_normal(n)])
    return F, pattern, jnp.asarray(theta)
