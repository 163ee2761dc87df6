"""Triangular solves take any lower-triangular pattern, closed under fill or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx


def open_lower(n: int, seed: int) -> sp.csc_array:
    """A random lower triangle whose pattern is not that of a Cholesky factor."""
    rng = np.random.default_rng(seed)
    dense = np.tril(rng.standard_normal((n, n)) * (rng.random((n, n)) < 0.2), -1)
    lower = sp.csc_array(dense + np.diag(2 + rng.random(n)))
    lower.sort_indices()
    return lower


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_triangular_solve_on_a_pattern_with_missing_fill(
    seed: int, transpose: bool, traced: bool
) -> None:
    lower = open_lower(23, seed)
    indices, indptr = lower.indices.astype(np.int32), lower.indptr.astype(np.int32)
    b = np.random.default_rng(seed + 100).standard_normal((23, 2))

    def solve(indices, indptr, values, b):
        return cx.csc.sparse_triangular_solve(indices, indptr, values, b, transpose=transpose)

    call = jax.jit(solve) if traced else solve
    got = call(indices, indptr, lower.data, b)
    dense = lower.toarray().T if transpose else lower.toarray()
    np.testing.assert_allclose(got, np.linalg.solve(dense, b), rtol=1e-11, atol=1e-11)

    rows, columns = lower.indices, np.repeat(np.arange(23), np.diff(lower.indptr))

    def twin(values):
        matrix = jnp.zeros((23, 23)).at[rows, columns].set(values)
        return jnp.sum(jnp.sin(jnp.linalg.solve(matrix.T if transpose else matrix, b)))

    gradient = jax.grad(lambda v: jnp.sum(jnp.sin(call(indices, indptr, v, b))))(lower.data)
    np.testing.assert_allclose(gradient, jax.grad(twin)(lower.data), rtol=1e-10, atol=1e-10)
