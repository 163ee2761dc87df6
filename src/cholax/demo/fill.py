"""What the ordering buys: the non-zeros of L with and without it."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

import cholax as cx
from cholax.demo.model import Bym2


class Fill(NamedTuple):
    """Lower triangles with their exact zeros dropped; `ordered` is in the order of its factor."""

    hessian: sp.csc_array
    natural: sp.csc_array
    ordered: sp.csc_array


def fill(model: Bym2, theta: np.ndarray) -> Fill:
    """Factor the Hessian at θ twice."""
    H = model.conditional(jnp.asarray(theta)).precision
    natural = cx.cholesky(H, ordering="natural")
    return Fill(*map(_nonzeros, (H, natural.lower(), cx.cholesky(H).lower())))


def _nonzeros(matrix: cx.SparseMatrix) -> sp.csc_array:
    lower = sp.csc_array(sp.tril(matrix.to_scipy()))
    lower.eliminate_zeros()
    return lower
