"""The intrinsic (ICAR) prior of a connected graph, its constants by sparse Cholesky."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

import cholax as cx


class Intrinsic(NamedTuple):
    """u ~ N(0, (scale R)⁻) on sum(u) = 0, R the graph Laplacian; `gen_logdet` is log|R|_*."""

    laplacian: cx.SparseMatrix
    scale: jax.Array
    gen_logdet: jax.Array


def laplacian(size: int, edges: np.ndarray) -> sp.csc_array:
    """R = D - W of an undirected graph given by its edges."""
    ends = np.concatenate([edges, edges[:, ::-1]])
    weights = sp.coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    return sp.csc_array(sp.diags_array(weights.sum(axis=1)) - weights)


def intrinsic(size: int, edges: np.ndarray) -> Intrinsic:
    """Constants of the prior from one factorisation of R with its last node grounded.

    R is singular (R1 = 0), so drop the last row and column: R_g is positive definite, and
    - |R|_* = n |R_g|, the matrix-tree theorem (all cofactors of R are equal);
    - G, the inverse of R_g bordered by zeros, satisfies RGR = R, hence pinv(R) = CGC with the
      centring C = I - 11'/n, and diag pinv(R) = diag G - (2/n) G1 + 1'G1/n².
    scale = exp(mean log diag pinv(R)) makes the geometric mean of the variances one.
    """
    R = laplacian(size, edges)
    grounded = cx.cholesky(cx.from_scipy(sp.csc_array(R[:-1, :-1]), symmetric=True))
    row_sums = jnp.append(grounded.solve(jnp.ones(size - 1)), 0.0)
    diagonal = jnp.append(grounded.inverse_diagonal(), 0.0)
    variances = diagonal - 2.0 / size * row_sums + row_sums.sum() / size**2
    return Intrinsic(
        laplacian=cx.from_scipy(R, symmetric=True),
        scale=jnp.exp(jnp.log(variances).mean()),
        gen_logdet=jnp.log(size) + grounded.log_det(),
    )
