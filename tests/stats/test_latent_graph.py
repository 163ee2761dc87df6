"""Graphs from edges, adjacency matrices and spatial weights; the reference of NC SIDS."""

import csv
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
import cholax.stats as cs
from cholax.errors import ArgumentError, PatternError, StructureError
from cholax.stats import Graph
from tests import tolerances as tol

DATA = Path(cx.__file__).parent / "demo" / "data"


def test_edges_may_be_listed_in_one_or_both_directions():
    once = Graph.from_edges(4, [[2, 0], [1, 2]], [3.0, 1.0])
    twice = Graph.from_edges(4, [[0, 2], [2, 0], [1, 2], [2, 1]], [3.0, 3.0, 1.0, 1.0])
    expected = [[0, 0, 3, 0], [0, 0, 1, 0], [3, 1, 0, 0], [0, 0, 0, 0]]
    assert once.adjacency.toarray().tolist() == twice.adjacency.toarray().tolist() == expected
    assert once.laplacian.toarray().sum(axis=1).tolist() == [0.0] * 4
    assert once.singletons.tolist() == [3]
    assert once.n_components == 2
    assert Graph.from_edges(0, []).n_components == 0


def test_adjacency_and_spatial_weights_are_graphs():
    W = sp.random_array((6, 6), density=0.4, rng=np.random.default_rng(1))
    W = sp.csr_array(W + W.T)
    W.setdiag(0.0)

    class Weights:
        sparse = W

    for graph in (Graph.of(W), Graph.of(Weights()), Graph.of(Graph.of(W)), Graph.of(W.tocoo())):
        tol.assert_close(graph.adjacency.toarray(), W.toarray(), 1e-15)


@pytest.mark.parametrize(
    ("W", "error", "message"),
    [
        (np.eye(3) + np.eye(3, k=1) + np.eye(3, k=-1), PatternError, "own neighbour"),
        (np.eye(3, k=1), StructureError, "must be symmetric"),
        (-np.eye(3, k=1) - np.eye(3, k=-1), ArgumentError, "must be positive"),
    ],
)
def test_the_class_checks_what_it_is_made_of_as_every_other_door(W, error, message):
    W = sp.csr_array(W)
    for door in (Graph, Graph.of, cs.besag, cs.proper_car):
        with pytest.raises(error, match=message):
            door(W)
    with pytest.raises(StructureError, match="need a SciPy sparse adjacency matrix"):
        Graph(W.toarray())
    path = sp.csr_array(np.eye(3, k=1) + np.eye(3, k=-1))
    assert Graph(path).laplacian.diagonal().tolist() == [1.0, 2.0, 1.0]


def test_wrong_graphs_are_refused_by_name():
    with pytest.raises(StructureError, match=r"got 1\.0 at \(0, 1\) and 0\.0 at \(1, 0\)"):
        Graph.of(sp.csr_array(np.array([[0.0, 1.0], [0.0, 0.0]])))
    with pytest.raises(ArgumentError, match=r"positive, got -1\.0 at \(0, 1\)"):
        Graph.of(sp.csr_array(np.array([[0.0, -1.0], [-1.0, 0.0]])))
    with pytest.raises(PatternError, match="own neighbour"):
        Graph.of(sp.csr_array(np.eye(2)))
    with pytest.raises(StructureError, match="square"):
        Graph.of(sp.csr_array(np.ones((2, 3))))
    with pytest.raises(StructureError, match="from_edges"):
        Graph.of(np.ones((2, 2)))
    with pytest.raises(PatternError, match=r"between 0 and 1, got edge \(0, 2\)"):
        Graph.from_edges(2, [[0, 1], [0, 2]])
    with pytest.raises(PatternError, match="from 1 to itself"):
        Graph.from_edges(2, [[1, 1]])
    with pytest.raises(PatternError, match="integers"):
        Graph.from_edges(2, [[0.0, 1.0]])
    with pytest.raises(ArgumentError, match="two weights"):
        Graph.from_edges(2, [[0, 1], [1, 0]], [1.0, 2.0])
    with pytest.raises(ArgumentError, match="one weight per edge"):
        Graph.from_edges(2, [[0, 1]], [1.0, 2.0])


def test_scale_and_determinant_of_nc_sids_are_the_published_ones():
    with (DATA / "nc_sids_edges.csv").open() as file:
        edges = np.array([[int(i) for i in row[:2]] for row in list(csv.reader(file))[1:]])
    graph = Graph.from_edges(100, edges)
    # Sørbye–Rue factor and generalised log-determinant, from a dense pseudo-inverse in R.
    tol.assert_close(cs.besag(graph, scaled=True).scale, [0.585979641879426], 1e-12)
    tol.assert_close(cs.besag(graph).log_det(precision=1.0), 129.809791937895, 1e-12)
    assert json.loads((DATA / "nc_sids_reference.json").read_text())
    scaled = cs.besag(graph, scaled=True)
    variances = scaled(precision=2.0).marginal_variance()
    tol.assert_close(jnp.mean(jnp.log(variances)), -np.log(2.0), 1e-11)
