"""Graph Laplacians of random triangulations."""

import numpy as np
import scipy.sparse as sp
from scipy.spatial import Delaunay


def delaunay_edges(n: int, seed: int = 0) -> np.ndarray:
    """`(m, 2)` edges i < j of the Delaunay triangulation of n uniform points in the square."""
    points = np.random.default_rng(seed).random((n, 2))
    triangles = Delaunay(points).simplices
    pairs = np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def laplacian(n: int, edges: np.ndarray, weights: np.ndarray) -> sp.csc_array:
    """Weighted graph Laplacian plus the identity."""
    i, j = edges.T
    half = sp.coo_array((weights, (i, j)), shape=(n, n))
    adjacency = sp.csc_array(half + half.T)
    return sp.csc_array(sp.diags_array(adjacency.sum(axis=1) + 1.0) - adjacency)


def delaunay(n: int, seed: int = 0) -> sp.csc_array:
    """Unweighted Laplacian plus the identity of a random triangulation."""
    edges = delaunay_edges(n, seed)
    return laplacian(n, edges, np.ones(len(edges)))
