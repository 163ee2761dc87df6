"""Arrowheads: many small independent blocks coupled to a few dense rows, as in mixed models."""

import numpy as np
import scipy.sparse as sp


def arrow(blocks: int, size: int, dense: int, seed: int = 0) -> sp.csc_array:
    """`blocks` random SPD blocks of order `size`, and `dense` full rows and columns at the end."""
    random = np.random.default_rng(seed)
    n = blocks * size
    half = random.standard_normal((blocks, size, size))
    block = half @ half.transpose(0, 2, 1) + size * np.eye(size)
    start = (np.arange(blocks) * size)[:, None, None]
    rows = start + np.arange(size)[None, :, None] + np.zeros((1, 1, size), int)
    columns = start + np.arange(size)[None, None, :] + np.zeros((1, size, 1), int)
    corner = sp.coo_array((block.ravel(), (rows.ravel(), columns.ravel())), shape=(n, n))
    border = random.standard_normal((dense, n)) / np.sqrt(n)
    last = border @ border.T + size * np.eye(dense)
    return sp.csc_array(sp.block_array([[corner, border.T], [border, last]]))
