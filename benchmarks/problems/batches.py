"""Batches: one pattern, many sets of values, as in a vmapped log-density."""

import numpy as np

from problems.meshes import delaunay_edges, laplacian
from problems.problem import Problem

MEMBERS = 64


def weighted_batch(name: str, n: int, seed: int = 0) -> Problem:
    """`MEMBERS` Laplacians of one triangulation of n nodes, with log-normal edge weights."""
    edges = delaunay_edges(n, seed)
    random = np.random.default_rng(seed + 1)
    members = [laplacian(n, edges, random.lognormal(0.0, 0.5, len(edges))) for _ in range(MEMBERS)]
    matrix = members[0]
    for member in members:
        member.sort_indices()
    return Problem(name, matrix, members=np.stack([member.data for member in members]))
