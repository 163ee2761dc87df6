#!/usr/bin/env python3
"""Every way into the kernels once, small: what tools/run_sanitizers.sh runs under the sanitizers.

Usage: sanitizer_smoke.py FOLDER, the folder that cholax must have been imported from.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

import cholax as cx
from cholax import _native

jax.config.update("jax_enable_x64", True)


def laplacian(m: int, dtype: str) -> sp.csc_array:
    """The Laplacian of an m × m grid, plus the identity."""
    one = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(m, m))
    return sp.csc_array(sp.kronsum(one, one) + sp.eye_array(m * m), dtype=dtype)


def factor(m: int, dtype: str) -> None:
    """Factor, solve, sample and differentiate twice; large m reaches packed products."""
    Q = laplacian(m, dtype)
    A = cx.from_scipy(Q, symmetric=True)
    F = cx.cholesky(A)
    b = np.arange(Q.shape[0], dtype=dtype)
    assert F.ok
    assert np.allclose(Q @ np.asarray(F.solve(b)), b, rtol=1e-3, atol=1e-2)
    jax.block_until_ready((F.inverse_diagonal(), F.lower().values, F.selected_inverse().values))
    jax.block_until_ready(F.sample(jax.random.key(0), shape=(3,)))

    def loss(values: jax.Array) -> jax.Array:
        G = cx.cholesky(cx.SparseMatrix(values, A.pattern))
        return G.log_det() + jnp.sum(jnp.sin(G.half_solve(b))) + jnp.vdot(b, G.solve(b))

    gradient = jax.grad(loss)
    tangent = jax.jvp(gradient, (A.values,), (jnp.ones_like(A.values),))[1]
    batch = jax.vmap(gradient)(jnp.stack([A.values, 2 * A.values]))
    assert jnp.isfinite(tangent).all()
    assert jnp.isfinite(batch).all()
    assert np.allclose(A @ b, Q @ b, rtol=1e-5)


def failures() -> None:
    """Matrices that are not positive definite, or not there at all."""
    A = cx.from_scipy(laplacian(5, "float64"), symmetric=True)
    F = cx.cholesky(-1.0 * A)
    assert not F.ok
    assert jnp.isnan(F.log_det())
    assert jnp.isnan(F.solve(jnp.ones(25))).all()
    refused(cx.checked(cx.log_det), -1.0 * A, text="positive definite")
    empty = cx.cholesky(cx.eye(0))
    assert empty.log_det() == 0
    assert empty.solve(jnp.zeros((0, 2))).shape == (0, 2)
    gradient = jax.grad(lambda v: cx.log_det(cx.SparseMatrix(v, cx.eye(0).pattern)))
    assert gradient(jnp.zeros(0)).shape == (0,)


def refused(function: Callable[..., Any], *operands: Any, text: str) -> None:
    """The call must raise, with `text` in its message."""
    message = "nothing was raised"
    try:
        jax.block_until_ready(function(*operands))
    except Exception as error:
        message = str(error)
    if text not in message:
        raise AssertionError(f"expected an error about {text}, got: {message}")


def traced_indices() -> None:
    """The raw layer with traced index arrays, good ones and bad ones."""
    Q = laplacian(6, "float64")
    Q = sp.csc_array(sp.tril(Q))
    Q.sort_indices()
    indices, indptr, values = Q.indices, Q.indptr, Q.data
    L = cx.csc.sparse_cholesky(indices, indptr, values)
    size = L[0].size
    b = np.arange(36.0)
    solve = jax.jit(lambda i, p, x: cx.csc.sparse_solve(i, p, x, b, L_nse=size))
    triangular = jax.jit(lambda i, p, x: cx.csc.sparse_triangular_solve(i, p, x, b))
    log_det = jax.jit(jax.grad(lambda x, i, p: cx.csc.sparse_log_det(i, p, x, L_nse=size)))
    inverse = jax.jit(cx.csc.sparse_partial_inverse)
    cholesky = jax.jit(lambda i, p, x: cx.csc.sparse_cholesky(i, p, x, L_nse=size))
    assert np.array_equal(cholesky(indices, indptr, values)[0], L[0])
    jax.block_until_ready([solve(indices, indptr, values), log_det(values, indices, indptr)])
    jax.block_until_ready([triangular(*L), inverse(*L, indices, indptr)])

    for bad in bad_patterns(indices, indptr):
        for function in (solve, cholesky):
            refused(function, *bad, values, text="cholax.csc")
        refused(log_det, values, *bad, text="cholax.csc")
        refused(inverse, *L, *bad, text="cholax.csc")
    for bad in bad_patterns(np.asarray(L[0]), np.asarray(L[1])):
        refused(triangular, *bad, L[2], text="cholax.csc")
        refused(inverse, *bad, L[2], indices, indptr, text="cholax.csc")
    wrong = jax.jit(lambda i, p, x: cx.csc.sparse_solve(i, p, x, b, L_nse=size - 1))
    refused(wrong, indices, indptr, values, text="L_nse")


def bad_patterns(indices: np.ndarray, indptr: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Index arrays of the right length whose use unchecked would read or write out of bounds."""
    bad = []
    for place, value in [(-1, 10**9), (-1, -1), (2, 10**6), (1, -5)]:
        changed = indices.copy()
        changed[place] = value
        bad.append((changed, indptr))
    for place, value in [(-1, 10**6), (0, -3), (0, 1), (5, 10**6), (5, -7), (6, 0)]:
        changed = indptr.copy()
        changed[place] = value
        bad.append((indices, changed))
    return bad


def main() -> int:
    loaded = Path(_native.lib().__file__ or "")
    assert loaded.is_relative_to(sys.argv[1]), f"loaded {loaded}, not a build in {sys.argv[1]}"
    for backend in ("native", "host"):
        with cx.use_backend(backend):
            for dtype in ("float32", "float64"):
                factor(4, dtype)
                factor(40, dtype)
            failures()
            traced_indices()
    print("smoke test passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
