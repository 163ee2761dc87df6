"""Simulated data for mixed models and their likelihood with dense covariance matrices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np


def crossed_data(seed=3):
    """40 rows: 5 subjects with slopes, crossed with 4 items, weights and an offset."""
    rng = np.random.default_rng(seed)
    n = 40
    subject, item = np.arange(n) % 5, rng.integers(0, 4, n)
    x, z = rng.standard_normal(n), rng.uniform(0, 10, n)
    slope = 0.8 * rng.standard_normal((5, 2))
    y = 1.0 + 0.5 * x + slope[subject, 0] + slope[subject, 1] * x
    y += 0.7 * rng.standard_normal(4)[item] + 0.5 * rng.standard_normal(n)
    return {
        "y": y,
        "x": x,
        "z": z,
        "subject": np.array(list("dabec"))[subject],
        "item": item,
        "w": rng.uniform(0.5, 2.0, n),
        "o": 0.1 * rng.standard_normal(n),
    }


def indicator(values):
    """One column per level, sorted."""
    return (np.asarray(values)[:, None] == np.unique(values)).astype(float)


def columns_by_level(values, X):
    """Z of `(X | values)`: the columns of X for the first level, then for the next."""
    G = indicator(values)
    return (G[:, :, None] * X[:, None, :]).reshape(len(X), -1)


def factor(theta, p):
    """Lower triangular T filled column by column."""
    T = jnp.zeros((p, p))
    columns, rows = np.triu_indices(p)
    return T.at[rows, columns].set(theta)


def relative_factor(theta, sizes):
    """Λ from θ and the (levels, columns) of each term."""
    blocks, start = [], 0
    for levels, p in sizes:
        k = p * (p + 1) // 2
        blocks.append(jnp.kron(jnp.eye(levels), factor(theta[start : start + k], p)))
        start += k
    rows = [
        [
            block if i == j else jnp.zeros((a.shape[0], block.shape[1]))
            for j, block in enumerate(blocks)
        ]
        for i, a in enumerate(blocks)
    ]
    return jnp.block(rows)


@partial(jax.jit, static_argnames=("sizes", "reml"))
def dense_deviance(theta, y, X, Z, sizes, weights, reml):
    """−2 log L, or the REML criterion, with β and σ profiled out of N(Xβ, σ²(W⁻¹ + ZΛΛᵀZᵀ))."""
    L = Z @ relative_factor(theta, sizes)
    V = jnp.diag(1.0 / weights) + L @ L.T
    Vi = jnp.linalg.inv(V)
    M = X.T @ Vi @ X
    beta = jnp.linalg.solve(M, X.T @ Vi @ y)
    r = y - X @ beta
    n, p = X.shape
    nu = n - p if reml else n
    d = jnp.linalg.slogdet(V)[1] + nu * (1 + jnp.log(2 * jnp.pi * (r @ Vi @ r) / nu))
    return d + jnp.linalg.slogdet(M)[1] if reml else d


def dense_fit(theta, y, X, Z, sizes, weights, reml):
    """β, Cov(β), σ², modes b and Cov(b | y, β) at θ."""
    Lambda = np.asarray(relative_factor(theta, sizes))
    L = Z @ Lambda
    Vi = np.linalg.inv(np.diag(1.0 / weights) + L @ L.T)
    M = X.T @ Vi @ X
    beta = np.linalg.solve(M, X.T @ Vi @ y)
    r = y - X @ beta
    n, p = X.shape
    s2 = r @ Vi @ r / (n - p if reml else n)
    D = Lambda @ Lambda.T
    return beta, s2 * np.linalg.inv(M), s2, D @ Z.T @ Vi @ r, s2 * (D - D @ Z.T @ Vi @ Z @ D)
