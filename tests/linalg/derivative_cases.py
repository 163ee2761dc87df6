"""Maps from values (and perhaps a vector) to arrays, each with its dense twin in plain JAX."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import cholax as cx
from tests.linalg.twins import (
    dense_half_solve,
    dense_half_solve_t,
    dense_log_det,
    dense_lower,
    random_problem,
)

PROBLEM = random_problem(7, 9, seed=4)
N = PROBLEM.n
KEY = jax.random.key(3)
RNG = np.random.default_rng(5)
B, DB = RNG.standard_normal((2, N))
B3, DB3 = RNG.standard_normal((2, N, 3))
PERM = cx.analyze(PROBLEM.pattern).perm


def factor(values):
    return cx.cholesky(PROBLEM.matrix(values))


@cache
def filled():
    return factor(PROBLEM.values).selected_inverse("filled").pattern


@cache
def lower_pattern():
    return factor(PROBLEM.values).lower().pattern


def noise(dtype):
    return jax.random.normal(KEY, (N, 1), dtype)[:, 0]


@dataclass(frozen=True)
class Case:
    """f(values, x) and its dense twin; x is None where f has no second argument."""

    sparse: Callable
    dense: Callable
    x: np.ndarray | None = None
    dx: np.ndarray | None = None

    def arguments(self, dtype="float64"):
        values = PROBLEM.values.astype(dtype)
        return (values,) if self.x is None else (values, self.x.astype(dtype))

    def tangents(self, seed=1, dtype="float64"):
        direction = PROBLEM.direction(seed).astype(dtype)
        return (direction,) if self.x is None else (direction, self.dx.astype(dtype))


def entries(D, pattern):
    return D[pattern.rows, pattern.columns]


CASES = {
    "log_det": Case(lambda v: factor(v).log_det(), lambda v: dense_log_det(PROBLEM.dense(v))),
    "solve": Case(
        lambda v, b: factor(v).solve(b), lambda v, b: jnp.linalg.solve(PROBLEM.dense(v), b), B, DB
    ),
    "solve_many": Case(
        lambda v, b: factor(v).solve(b),
        lambda v, b: jnp.linalg.solve(PROBLEM.dense(v), b),
        B3,
        DB3,
    ),
    "inverse_diagonal": Case(
        lambda v: factor(v).inverse_diagonal(),
        lambda v: jnp.diag(jnp.linalg.inv(PROBLEM.dense(v))),
    ),
    "selected_inverse": Case(
        lambda v: factor(v).selected_inverse().values,
        lambda v: entries(jnp.linalg.inv(PROBLEM.dense(v)), PROBLEM.pattern),
    ),
    "selected_inverse_filled": Case(
        lambda v: factor(v).selected_inverse("filled").values,
        lambda v: entries(jnp.linalg.inv(PROBLEM.dense(v)), filled()),
    ),
    "lower": Case(
        lambda v: factor(v).lower().values,
        lambda v: entries(dense_lower(PROBLEM.dense(v), PERM), lower_pattern()),
    ),
    "half_solve": Case(
        lambda v, b: factor(v).half_solve(b),
        lambda v, b: dense_half_solve(PROBLEM.dense(v), PERM, b),
        B,
        DB,
    ),
    "half_solve_t": Case(
        lambda v, z: factor(v).half_solve_t(z),
        lambda v, z: dense_half_solve_t(PROBLEM.dense(v), PERM, z),
        B3,
        DB3,
    ),
    "sample": Case(
        lambda v: factor(v).sample(KEY),
        lambda v: dense_half_solve_t(PROBLEM.dense(v), PERM, noise(v.dtype)),
    ),
    "quadratic_form": Case(
        lambda v, x: cx.quadratic_form(PROBLEM.matrix(v), x),
        lambda v, x: x @ PROBLEM.dense(v) @ x,
        B,
        DB,
    ),
    "gaussian_log_density": Case(
        lambda v, x: _log_density(factor(v), x),
        lambda v, x: dense_log_det(PROBLEM.dense(v)) - x @ jnp.linalg.solve(PROBLEM.dense(v), x),
        B,
        DB,
    ),
    "short_cuts": Case(
        lambda v, x: (
            cx.log_det(PROBLEM.matrix(v))
            + jnp.sum(cx.solve(PROBLEM.matrix(v), x) * cx.inverse_diagonal(PROBLEM.matrix(v)))
            + jnp.sum(cx.selected_inverse(PROBLEM.matrix(v)).values)
        ),
        lambda v, x: _dense_short_cuts(PROBLEM.dense(v), x),
        B,
        DB,
    ),
}


def _log_density(F, x):
    return F.log_det() - x @ F.solve(x)


def _dense_short_cuts(D, x):
    inverse = jnp.linalg.inv(D)
    return (
        dense_log_det(D)
        + jnp.sum((inverse @ x) * jnp.diag(inverse))
        + jnp.sum(entries(inverse, PROBLEM.pattern))
    )
