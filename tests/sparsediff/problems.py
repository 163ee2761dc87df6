"""Functions with sparse derivatives, asymmetric in size and in values, with their dense twins."""

import jax
import jax.numpy as jnp
import numpy as np

EDGES = np.array([[3, 0], [1, 4], [2, 6], [5, 1], [6, 4], [0, 2]])
GROUP = np.array([2, 0, 1, 1, 0, 2, 2, 1, 0, 2])
DESIGN = np.linspace(-1.0, 1.3, 20).reshape(10, 2) ** 3
COUNTS = np.array([0.0, 2, 1, 0, 3, 1, 1, 0, 2, 5])


def point(n: int, dtype=np.float64) -> jax.Array:
    return jnp.asarray(np.sin(np.arange(1, n + 1) * 1.7) * 0.8 + 0.1, dtype)


def stencil(x):
    return jnp.sin(x[2:]) * x[:-2] ** 2 - x[1:-1]


def edges(x):
    flow = jnp.tanh(x[EDGES[:, 0]] - x[EDGES[:, 1]] ** 2)
    return jnp.zeros(7).at[EDGES[:, 0]].add(flow).at[EDGES[:, 1]].add(-2 * flow)


def arrow(x):
    return jnp.concatenate([jnp.sum(x**2)[None], x[1:] * x[0] + jnp.exp(x[1:])])


def recursion(x):
    return jax.lax.scan(lambda carry, xt: (0.5 * xt, jnp.sin(carry) * xt), 0.3, x)[1]


def grid(x):
    u = jnp.pad(x.reshape(3, 4), 1)
    near = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:]
    return (near - jnp.exp(u[1:-1, 1:-1]) * u[1:-1, 1:-1]).ravel()


def gathered(x):
    return x[jnp.array([4, 1, 1, 0])] * jnp.array([1.0, -2.0, 3.0, 0.5])


def branches(x):
    return jnp.where(x > 0, x**2, -x[::-1])


def transformed(x):
    return jax.vmap(lambda a: jnp.array([a[0] * a[1], a[1] ** 3]))(x.reshape(4, 2)).ravel()


def convolved(x):
    return jnp.convolve(x, jnp.array([1.0, -2.0, 0.5]), mode="valid") ** 2


def cumulated(x):
    return jnp.concatenate([jnp.cumsum(x[:3]), x[3:] ** 2])


JACOBIANS = {
    "stencil": (stencil, 9),
    "edges": (edges, 7),
    "arrow": (arrow, 30),
    "recursion": (recursion, 6),
    "grid": (grid, 12),
    "gathered": (gathered, 5),
    "branches": (branches, 5),
    "transformed": (transformed, 8),
    "convolved": (convolved, 8),
    "cumulated": (cumulated, 7),
    "sorted blocks": (lambda x: jnp.sort(x.reshape(3, 2), axis=1).ravel(), 6),
    "wide": (lambda x: (x.reshape(3, 4) ** 2).sum(1), 12),
    "tall": (lambda x: jnp.repeat(x, 4) ** 2, 3),
}


def chain(x):
    return jnp.sum(jnp.exp(x[1:] * x[:-1])) + x[0] ** 3


def energy(x):
    a, b = x[EDGES[:, 0]], x[EDGES[:, 1]]
    return jnp.sum(jnp.log1p((a - b) ** 2) * (1 + a**2))


def mixed_model(x):
    beta, u, log_sigma = x[:2], x[2:5], x[5]
    eta = DESIGN @ beta + u[GROUP]
    penalty = 0.5 * jnp.sum(u**2) * jnp.exp(-2 * log_sigma) + 3 * log_sigma
    return jnp.sum(jnp.exp(eta) - COUNTS * eta) + penalty


def solved(x):
    return jnp.sum(stencil(x) ** 2)


HESSIANS = {
    "chain": (chain, 8),
    "energy": (energy, 7),
    "mixed model": (mixed_model, 6),
    "least squares": (solved, 9),
    "separate": (lambda x: jnp.sum(jnp.cos(x) * x), 5),
    "hub": (lambda x: jnp.sum(x[1:] ** 2 * x[0]) + x[0] ** 4, 12),
    "linear": (lambda x: jnp.sum(x), 4),
}
