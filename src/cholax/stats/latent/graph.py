"""`Graph`: a checked, undirected, weighted graph with its connected components."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import connected_components

from cholax._core.errors import ArgumentError, PatternError, StructureError

Singletons = Literal["zero", "iid"]


@final
@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """An undirected graph on nodes 0..n-1 with positive weights, no loops.

    It is made of what functions that need a graph also take in its place: a symmetric SciPy
    adjacency matrix, or spatial weights with an attribute `sparse` (libpysal).

    Attributes:
        adjacency: `(n, n)` symmetric SciPy array W of weights, zero diagonal.

    Raises:
        ArgumentError, PatternError, StructureError: what `Graph.of` raises.

    Example:
        >>> from cholax.stats import Graph
        >>> graph = Graph.from_edges(4, [[0, 1], [1, 2]])
        >>> graph
        Graph(n=4, edges=2, components=2, singletons=1)
        >>> graph.laplacian.diagonal().tolist()
        [1.0, 2.0, 1.0, 0.0]
    """

    adjacency: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "adjacency", _checked(self.adjacency, "Graph"))

    def __repr__(self) -> str:
        return (
            f"Graph(n={self.n}, edges={self.adjacency.nnz // 2}, "
            f"components={self.n_components}, singletons={self.singletons.size})"
        )

    @classmethod
    def from_edges(cls, n: int, edges: ArrayLike, weights: ArrayLike | None = None) -> "Graph":
        """Build a graph from a list of edges, each given once or in both directions.

        Args:
            n: number of nodes; nodes without an edge are islands.
            edges: `(m, 2)` integers.
            weights: `(m,)` positive numbers, 1 when left out.

        Returns:
            A `Graph`.

        Raises:
            ArgumentError: a weight that is not positive, or two for one edge that differ.
            PatternError: a node out of range, no integers, or an edge from a node to itself.

        Example:
            >>> from cholax.stats import Graph
            >>> Graph.from_edges(3, [[0, 1], [1, 0], [2, 1]])
            Graph(n=3, edges=2, components=1, singletons=0)
        """
        ends = _edge_array(edges, n)
        size = np.ones(len(ends)) if weights is None else np.asarray(weights, float)
        if size.shape != (len(ends),):
            raise ArgumentError(
                f"Graph: need one weight per edge, {len(ends)}, got shape {size.shape}. "
                "Leave weights out for 1."
            )
        low, high = ends.min(axis=1, initial=n), ends.max(axis=1, initial=-1)
        keys, first, inverse = np.unique(low * n + high, return_index=True, return_inverse=True)
        clash = np.flatnonzero(size != size[first][inverse]) if len(keys) else np.zeros(0, int)
        if clash.size:
            i, j = ends[clash[0]]
            raise ArgumentError(
                f"Graph: edge ({i}, {j}) is listed with two weights. List it once, or with equal "
                "weights in both directions."
            )
        i, j, w = low[first], high[first], size[first]
        entries = np.concatenate([w, w]), (np.concatenate([i, j]), np.concatenate([j, i]))
        return cls(sp.coo_array(entries, shape=(n, n)))

    @classmethod
    def of(cls, graph: Any, where: str = "Graph") -> "Graph":
        """Convert a symmetric SciPy adjacency matrix or spatial weights; a `Graph` passes through.

        Args:
            graph: `Graph`, SciPy sparse matrix, or an object whose attribute `sparse` is one.
            where: the caller, for messages.

        Returns:
            A `Graph`.

        Raises:
            ArgumentError: a weight that is not positive and finite.
            PatternError: an entry on the diagonal.
            StructureError: not square or not symmetric, naming an entry; or another type.

        Example:
            >>> import scipy.sparse
            >>> from cholax.stats import Graph
            >>> Graph.of(scipy.sparse.diags([1.0, 1.0], [-1, 1], shape=(3, 3)))
            Graph(n=3, edges=2, components=1, singletons=0)
        """
        return graph if isinstance(graph, cls) else cls(_checked(graph, where))

    @property
    def n(self) -> int:
        """Number of nodes."""
        return self.adjacency.shape[0]

    @cached_property
    def degrees(self) -> np.ndarray:
        """`(n,)` sums of the weights of each node's edges."""
        return np.asarray(self.adjacency.sum(axis=1)).ravel()

    @cached_property
    def laplacian(self) -> sp.csc_array:
        """R = D - W, the precision of the intrinsic field."""
        return sp.csc_array(sp.diags_array(self.degrees) - self.adjacency)

    @cached_property
    def labels(self) -> np.ndarray:
        """`(n,)` the connected component of each node."""
        return connected_components(self.adjacency, directed=False)[1]

    @property
    def n_components(self) -> int:
        """Number of connected components, singletons included."""
        return int(self.labels.max(initial=-1)) + 1

    @cached_property
    def singletons(self) -> np.ndarray:
        """Nodes without neighbours."""
        return np.flatnonzero(np.diff(self.adjacency.indptr) == 0)


def _checked(graph: Any, where: str) -> sp.csr_array:
    """The adjacency matrix in one of the accepted forms, as a symmetric array of our own."""
    if isinstance(graph, Graph):
        return graph.adjacency
    W = sp.csr_array(adjacency_of(graph, where), dtype=float, copy=True)
    W.sum_duplicates()
    W.eliminate_zeros()
    bad = np.flatnonzero(~(np.isfinite(W.data) & (W.data > 0)))
    if bad.size:
        entry = W.tocoo()
        raise ArgumentError(
            f"{where}: weights must be positive, got {W.data[bad[0]]} at "
            f"({entry.row[bad[0]]}, {entry.col[bad[0]]}). Leave out edges of weight 0."
        )
    loops = np.flatnonzero(W.diagonal())
    if loops.size:
        raise PatternError(
            f"{where}: no node may be its own neighbour, got an edge from {loops[0]} to "
            "itself. Remove the diagonal."
        )
    gap = sp.coo_array(W - W.T)
    worst = np.abs(gap.data).max(initial=0.0)
    if worst > 1e-12 * W.data.max(initial=0.0):
        k = int(np.argmax(np.abs(gap.data)))
        i, j = int(gap.row[k]), int(gap.col[k])
        raise StructureError(
            f"{where}: weights must be symmetric, got {W[i, j]} at ({i}, {j}) and {W[j, i]} at "
            f"({j}, {i}). Symmetrise them, W.maximum(W.T) for neighbours; for directed or "
            "row-standardized weights use cx.stats.sar."
        )
    return sp.csr_array(0.5 * (W + W.T))


def adjacency_of(graph: Any, where: str) -> Any:
    """The square SciPy sparse matrix of weights in one of the accepted forms."""
    W: Any = graph if sp.issparse(graph) else getattr(graph, "sparse", None)
    if not sp.issparse(W):
        raise StructureError(
            f"{where}: need a SciPy sparse adjacency matrix, spatial weights with an attribute "
            f"`sparse`, or a Graph, got {type(graph).__name__}. For a list of edges use "
            "Graph.from_edges(n, edges)."
        )
    if W.ndim != 2 or W.shape[0] != W.shape[1]:
        raise StructureError(
            f"{where}: the adjacency matrix must be square, got shape {W.shape}. "
            "One row and one column per node."
        )
    return W


def check_singletons(
    graph: Graph, singletons: str | None, where: str, choices: tuple[str, ...] = ("zero", "iid")
) -> None:
    """Raise unless the effect of nodes without neighbours, if there are any, is decided."""
    meaning = {"zero": "'zero' fixes it at 0", "iid": "'iid' makes it independent"}
    remedy = ", ".join(meaning[choice] for choice in choices)
    if singletons not in (None, *choices):
        raise ArgumentError(
            f"{where}: singletons must be one of {choices}, got {singletons!r}. {remedy}."
        )
    if singletons is None and graph.singletons.size:
        some = ", ".join(str(i) for i in graph.singletons[:5])
        raise ArgumentError(
            f"{where}: {graph.singletons.size} nodes have no neighbours (first: {some}); their "
            f"effect must be chosen. Pass singletons=: {remedy}."
        )


def _edge_array(edges: ArrayLike, n: int) -> np.ndarray:
    ends = np.asarray(edges)
    if ends.size == 0:
        ends = ends.reshape(0, 2).astype(np.int64)
    if ends.ndim != 2 or ends.shape[1] != 2 or ends.dtype.kind not in "iu":
        raise PatternError(
            f"Graph: edges must be an (m, 2) array of integers, got shape {ends.shape} and dtype "
            f"{ends.dtype}. For an adjacency matrix use Graph.of."
        )
    ends = ends.astype(np.int64)
    outside = np.flatnonzero(((ends < 0) | (ends >= n)).any(axis=1))
    if outside.size:
        raise PatternError(
            f"Graph: nodes must lie between 0 and {n - 1}, got edge "
            f"{tuple(ends[outside[0]].tolist())}. Nodes are counted from 0."
        )
    loops = np.flatnonzero(ends[:, 0] == ends[:, 1])
    if loops.size:
        raise PatternError(
            f"Graph: no node may be its own neighbour, got an edge from {ends[loops[0], 0]} to "
            "itself. Remove it."
        )
    return ends
