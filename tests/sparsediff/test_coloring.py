"""Colourings: valid by slow verifiers, as few as theory or peers say, never quadratic."""

import time

import hypothesis
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import strategies as st

import cholax as cx
from cholax.patterns import Pattern
from cholax.sparsediff.coloring import (
    Coloring,
    color_acyclic,
    color_bidirectional,
    color_columns,
    color_rows,
    color_star,
)
from cholax.sparsediff.compress import places
from cholax.testing import check_coloring
from tests.sparsediff import graphs

GENERAL = (color_columns, color_rows, color_bidirectional)
SYMMETRIC = (color_star, color_acyclic)


def colors(color, pattern) -> int:
    """The count, after the colouring has been found to determine every entry."""
    coloring = color(pattern)
    places(pattern, coloring)
    return len(coloring)


# --- validity


@hypothesis.settings(max_examples=60)
@hypothesis.given(
    st.integers(0, 14), st.integers(0, 14), st.floats(0, 1), st.integers(0, 2), st.integers(0, 99)
)
def test_general_colorings_of_random_patterns_are_valid(m, n, density, dense_rows, seed):
    pattern = graphs.random_pattern(m, n, density, dense_rows, seed)
    for color in GENERAL:
        coloring = color(pattern)
        check_coloring(coloring)
        places(pattern, coloring)


@hypothesis.settings(max_examples=60)
@hypothesis.given(st.integers(0, 16), st.floats(0, 1), st.integers(0, 2), st.integers(0, 99))
def test_symmetric_colorings_of_random_patterns_are_valid(n, density, dense_rows, seed):
    pattern = graphs.symmetric(graphs.random_pattern(n, n, density, dense_rows, seed))
    for color in SYMMETRIC:
        coloring = color(pattern)
        check_coloring(coloring)
        places(pattern, coloring)


@pytest.mark.parametrize(
    "pattern",
    [graphs.grid5(6, 4), graphs.triangle_mesh(6), graphs.arrow(30, 2), graphs.band(20, 3)],
    ids=["grid", "mesh", "arrow", "band"],
)
def test_colorings_of_structured_patterns_are_valid(pattern):
    for color in GENERAL:
        check_coloring(color(pattern))
    for color in SYMMETRIC:
        check_coloring(color(graphs.symmetric(pattern)))


def test_long_rows_are_not_walked_and_still_colored_right():
    # Longer than any row that is walked entry by entry, next to short ones.
    random = np.random.default_rng(3)
    mask = random.random((40, 400)) < 0.02
    mask[7, ::3] = mask[22, ::5] = True
    pattern = graphs.pattern_of(mask.astype(float))
    check_coloring(color_columns(pattern))


def test_vertices_set_apart_leave_a_valid_coloring():
    pattern = graphs.symmetric(graphs.random_pattern(300, 300, 0.004, 3, 11))
    for color in SYMMETRIC:
        coloring = color(pattern)
        check_coloring(coloring)


@pytest.mark.parametrize("n", [0, 1])
def test_smallest_sizes(n):
    empty = Pattern((n, n), np.zeros(n + 1, int), np.zeros(0, int))
    full = graphs.symmetric(empty)
    assert [len(color(empty)) for color in GENERAL] == [0, 0, 0]
    assert [len(color(full)) for color in SYMMETRIC] == [n, n]


def test_empty_rows_and_columns_have_no_color():
    pattern = graphs.pattern_of(np.array([[1.0, 0, 1], [0, 0, 0]]))
    coloring = color_columns(pattern)
    assert coloring.column_colors.tolist() == [0, -1, 1]
    assert color_rows(pattern).row_colors.tolist() == [0, -1]


def test_colorings_are_deterministic():
    pattern = graphs.crossed_effects(5, 200, 30, 900)
    first, second = color_star(pattern), color_star(pattern)
    assert np.array_equal(first.column_colors, second.column_colors)


def test_symmetric_colorings_refuse_general_patterns():
    for color in SYMMETRIC:
        with pytest.raises(cx.errors.StructureError, match="symmetric"):
            color(graphs.band(4, 1))


# --- the verifiers catch what they are for


def painted(kind, pattern, columns=None, rows=None) -> Coloring:
    columns = np.full(pattern.shape[1], -1) if columns is None else np.array(columns)
    rows = np.full(pattern.shape[0], -1) if rows is None else np.array(rows)
    return Coloring(kind, pattern, columns, rows, columns.max() + 1, rows.max() + 1)


PATH4 = graphs.symmetric(graphs.band(4, 1))
CYCLE4 = graphs.symmetric(graphs.pattern_of(np.array(
    [[1.0, 1, 0, 1], [1, 1, 1, 0], [0, 1, 1, 1], [1, 0, 1, 1]])))  # fmt: skip
WRONG = [
    painted("column", graphs.band(3, 1), columns=[0, 1, 0]),
    painted("row", graphs.band(3, 1), rows=[0, 1, 0]),
    painted("column", graphs.band(3, 1), columns=[0, 1, -1]),
    painted("bidirectional", graphs.band(3, 1), columns=[0, 0, 1], rows=[0, 0, 0]),
    painted("star", PATH4, columns=[0, 1, 0, 1]),
    painted("star", PATH4, columns=[0, 0, 1, 2]),
    painted("acyclic", CYCLE4, columns=[0, 1, 0, 1]),
    painted("acyclic", PATH4, columns=[0, 0, 1, 2]),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda c: f"{c.kind}")
def test_verifiers_refuse_wrong_colorings(wrong):
    with pytest.raises(AssertionError):
        check_coloring(wrong)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda c: f"{c.kind}")
def test_decompression_refuses_wrong_colorings(wrong):
    if (wrong.column_colors < 0).any() and wrong.kind in ("star", "acyclic"):
        return
    with pytest.raises(cx.errors.StructureError, match="every entry"):
        places(wrong.pattern, wrong)


def test_two_colors_on_a_path_are_acyclic_but_no_star():
    check_coloring(painted("acyclic", PATH4, columns=[0, 1, 0, 1]))
    check_coloring(painted("star", PATH4, columns=[0, 1, 2, 0]))


# --- counts


@pytest.mark.parametrize("width", [0, 1, 2, 5])
def test_bands_have_their_optimal_counts(width):
    pattern = graphs.band(500, width)
    assert colors(color_columns, pattern) == 2 * width + 1
    assert colors(color_rows, pattern) == 2 * width + 1
    assert colors(color_star, graphs.symmetric(pattern)) <= 2 * width + 1
    assert colors(color_acyclic, graphs.symmetric(pattern)) == width + 1


def test_tridiagonal_needs_three():
    pattern = graphs.band(10_000, 1)
    assert colors(color_columns, pattern) == 3
    assert colors(color_star, graphs.symmetric(pattern)) == 3


@pytest.mark.parametrize(("m", "k"), [(100, 100), (100, 37), (31, 64)])
def test_five_point_grid_columns_need_five(m, k):
    assert colors(color_columns, graphs.grid5(m, k)) == 5


def test_grid_hessians():
    assert colors(color_star, graphs.symmetric(graphs.grid5(100))) <= 5
    assert colors(color_acyclic, graphs.symmetric(graphs.grid5(100))) <= 4
    assert colors(color_columns, graphs.grid9(100)) == 9
    assert colors(color_star, graphs.symmetric(graphs.grid9(100))) <= 11
    assert colors(color_acyclic, graphs.symmetric(graphs.grid9(100))) <= 6


def test_triangle_mesh():
    mesh = graphs.triangle_mesh(100)
    assert colors(color_columns, mesh) <= 8
    assert colors(color_star, graphs.symmetric(mesh)) <= 9
    assert colors(color_acyclic, graphs.symmetric(mesh)) <= 4


@pytest.mark.parametrize("groups", [1000, 5000])
def test_mixed_model_needs_seven(groups):
    pattern = graphs.mixed_model(groups)
    assert colors(color_star, pattern) == 7
    assert colors(color_acyclic, pattern) == 7


def test_crossed_effects():
    pattern = graphs.crossed_effects(0)
    assert 2 * pattern.nnz - pattern.n == 10516  # the published instance
    assert colors(color_star, pattern) <= 41
    assert colors(color_acyclic, pattern) <= 30


def test_arrow_jacobian_needs_both_directions():
    pattern = graphs.arrow(3000)
    assert colors(color_columns, pattern) == 3000
    assert colors(color_bidirectional, pattern) <= 4
    assert colors(color_star, graphs.symmetric(pattern)) == 2


def test_dense_rows_and_columns_cost_one_color_each():
    pattern = graphs.arrow(3000, 5)
    assert colors(color_bidirectional, pattern) == 11
    assert colors(color_star, graphs.symmetric(pattern)) == 6


def test_costly_reverse_products_are_avoided():
    pattern = graphs.pattern_of(np.ones((4, 4)))
    coloring = color_bidirectional(pattern, reverse_cost=3.0)
    assert coloring.num_row_colors == 0


def test_no_step_is_quadratic_in_a_dense_row():
    # 10⁵ unknowns: a quadratic step takes more than ten seconds, all of this a fraction of one.
    start = time.perf_counter()
    pattern = graphs.arrow(100_000)
    assert len(color_columns(pattern)) == 100_000
    assert len(color_bidirectional(pattern)) <= 4
    assert len(color_star(graphs.symmetric(pattern))) == 2
    assert len(color_acyclic(graphs.symmetric(pattern))) == 2
    assert time.perf_counter() - start < 8


# --- no cliff in the size


def second_order_walk_over_a_mesh(steps):
    """A walk of second order in time, its states tied over two rings of a 12 × 12 grid."""
    mesh = graphs.grid5(12, 12)
    ones = sp.csc_matrix((np.ones(mesh.nnz), mesh.indices, mesh.indptr), mesh.shape)
    band = sum(sp.eye(steps, k=k) for k in range(-2, 3))
    return graphs.symmetric(graphs.pattern_of(sp.kron(band, ones @ ones)))


@pytest.mark.slow
@pytest.mark.parametrize("color", SYMMETRIC)
def test_many_time_steps_need_the_colors_of_a_few(color):
    few, many = (len(color(second_order_walk_over_a_mesh(steps))) for steps in (20, 260))
    assert many <= 1.1 * few


def test_hubs_of_many_blocks_are_not_set_apart():
    # 100 stars of 1 000 leaves each: walking all leaves from each would take 10⁸ steps.
    hubs, leaves = 100, 1000
    n = hubs * (leaves + 1)
    rows = np.arange(n)
    first = rows - rows % (leaves + 1)
    entries = sp.coo_matrix((np.ones(2 * n), (np.r_[rows, rows], np.r_[first, rows])), (n, n))
    lower = sp.csc_matrix(entries)
    lower.sort_indices()
    pattern = Pattern((n, n), lower.indptr, lower.indices, symmetric=True)
    assert [len(color(pattern)) for color in SYMMETRIC] == [2, 2]


def network(n, links=3, seed=0):
    """A growing network: every new vertex links to old ones by their degree (Barabási, Albert)."""
    rng = np.random.default_rng(seed)
    ends, rows, columns, targets = [], [], [], list(range(links))
    for v in range(links, n):
        for target in set(targets):
            rows.append(v)
            columns.append(target)
        ends += [*targets, *[v] * links]
        targets = [ends[k] for k in rng.integers(0, len(ends), links)]
    edges = sp.coo_matrix((np.ones(len(rows)), (rows, columns)), (n, n))
    return graphs.symmetric(graphs.pattern_of(edges + edges.T + sp.eye(n)))


def test_colors_of_a_network_with_a_power_law_grow_slowly():
    # Greedy colourings of all vertices need 76 and 172 at n = 30 000 and 100 000.
    assert colors(color_star, network(30_000)) <= 55
    assert colors(color_acyclic, network(10_000)) <= 12


@pytest.mark.slow
def test_colors_of_a_large_network_with_a_power_law():
    assert len(color_star(network(100_000))) <= 80
