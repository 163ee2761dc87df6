"""Plans: the exact pattern of L, shared and released, with sizes checked before memory is taken."""

import copy
import dataclasses
import gc
import threading
import weakref

import numpy as np
import pytest

from cholax._core.errors import FactorSizeError, ShapeError, StructureError
from cholax.analysis import Plan, PlanLayout, SymbolicFactor, analyze, plan_from_factor
from cholax.analysis import plan as plan_module
from cholax.ordering import AMD
from cholax.patterns import Pattern


def from_mask(mask: np.ndarray, *, symmetric: bool = True) -> Pattern:
    """Pattern of the lower triangle (or all) of a boolean matrix; the diagonal is added."""
    mask = mask | np.eye(len(mask), dtype=bool) if symmetric else mask
    mask = np.tril(mask) if symmetric else mask
    columns, rows = np.nonzero(mask.T)
    indptr = np.searchsorted(columns, np.arange(mask.shape[1] + 1))
    return Pattern(mask.shape, indptr, rows, symmetric=symmetric)


def random_mask(n: int, density: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((n, n)) < density


def filled(pattern: Pattern, perm: np.ndarray) -> np.ndarray:
    """Elimination on a dense boolean matrix: where L of P A Pᵀ has entries."""
    mask = np.zeros(pattern.shape, bool)
    mask[pattern.rows, pattern.columns] = True
    mask = (mask | mask.T)[np.ix_(perm, perm)]
    for j in range(len(mask)):
        below = np.flatnonzero(mask[j + 1 :, j]) + j + 1
        mask[np.ix_(below, below)] = True
    return np.tril(mask)


CASES = {
    "empty": lambda: from_mask(np.zeros((0, 0), bool)),
    "one": lambda: from_mask(np.zeros((1, 1), bool)),
    "diagonal": lambda: from_mask(np.zeros((5, 5), bool)),
    "dense": lambda: from_mask(np.ones((9, 9), bool)),
    "arrow": lambda: from_mask(np.arange(30)[None, :] < 2 * np.ones((30, 1), int)),
    "banded": lambda: from_mask(abs(np.subtract.outer(np.arange(40), np.arange(40))) <= 3),
    "random": lambda: from_mask(random_mask(45, 0.04, 0)),
    "random, sparser": lambda: from_mask(random_mask(60, 0.012, 1)),
}
ORDERINGS = ["auto", "amd", "nested_dissection", "rcm", "natural", "shuffled"]


def ordering_of(name: str, pattern: Pattern):
    return np.random.default_rng(5).permutation(pattern.n) if name == "shuffled" else name


@pytest.fixture(params=CASES)
def pattern(request):
    return CASES[request.param]()


@pytest.mark.parametrize("supernodal", [True, False])
@pytest.mark.parametrize("name", ORDERINGS)
def test_lower_pattern_is_that_of_dense_elimination(pattern, name, supernodal):
    plan = analyze(pattern, ordering_of(name, pattern), supernodal=supernodal)
    np.testing.assert_array_equal(plan.perm[plan.iperm], np.arange(pattern.n))
    expected = from_mask(filled(pattern, plan.perm), symmetric=False)
    lower, positions = plan.lower_pattern()
    assert lower == expected
    assert plan.nnz_factor == expected.nnz
    assert plan.flops == np.sum(np.diff(expected.indptr).astype(float) ** 2)
    assert np.unique(positions).size == positions.size
    assert positions.size == 0 or 0 <= positions.min() <= positions.max() < plan.size
    if not supernodal:
        np.testing.assert_array_equal(positions, np.arange(plan.size))


@pytest.mark.parametrize("name", ["natural", "shuffled"])
def test_natural_and_given_permutations_are_kept_exactly(pattern, name):
    ordering = ordering_of(name, pattern)
    expected = np.arange(pattern.n) if name == "natural" else ordering
    np.testing.assert_array_equal(analyze(pattern, ordering).perm, expected)


@pytest.mark.parametrize("name", ORDERINGS)
def test_locate_agrees_with_lower_pattern_in_both_triangles(pattern, name):
    plan = analyze(pattern, ordering_of(name, pattern))
    lower, positions = plan.lower_pattern()
    place = np.full(pattern.shape, -1)
    i, j = plan.perm[lower.rows], plan.perm[lower.columns]
    place[i, j] = place[j, i] = positions
    query = from_mask(np.ones(pattern.shape, bool), symmetric=False)
    located = plan.locate(query)
    inside = place[query.rows, query.columns] >= 0
    np.testing.assert_array_equal(located[inside], place[query.rows, query.columns][inside])
    # Entries that are no fill are absent, or are zeros added to widen a supernode: never shared.
    others = located[~inside]
    assert not np.isin(others[others >= 0], positions).any()
    np.testing.assert_array_equal(plan.locate(pattern), plan.value_position)


def test_locate_refuses_another_shape():
    plan = analyze(CASES["banded"]())
    with pytest.raises(ShapeError, match="40×40, got 3×4"):
        plan.locate(Pattern((3, 4), [0, 1, 1, 1, 2], [2, 0]))


def test_plan_is_immutable_and_hashed_by_content():
    plan = analyze(CASES["banded"](), "natural")
    with pytest.raises(AttributeError, match="immutable"):
        plan.size = 3
    with pytest.raises(ValueError, match="read-only"):
        plan.perm[0] = 1
    assert copy.deepcopy(plan) is plan
    assert len(plan.digest) == 32
    assert plan != analyze(CASES["banded"](), "natural", supernodal=False)
    assert plan != analyze(CASES["arrow"](), "natural")


# --- sharing and release --------------------------------------------------------------------------


def test_equal_patterns_share_one_plan():
    first, second = CASES["random"](), CASES["random"]()
    assert first is not second
    assert analyze(first) is analyze(second)
    assert analyze(first, "amd") is analyze(second, AMD())
    assert analyze(first, "natural") is not analyze(first, "amd")
    perm = np.arange(first.n)[::-1]
    assert analyze(first, perm) is analyze(second, perm.tolist())


def test_plan_is_released_with_its_last_pattern():
    first, second = from_mask(random_mask(31, 0.1, 77)), from_mask(random_mask(31, 0.1, 77))
    plan = analyze(first)
    assert analyze(second) is plan
    alive = weakref.ref(plan)
    del plan, first
    gc.collect()
    assert alive() is not None
    del second
    # At once: a plan can be large, and must not wait for the cycle collector.
    assert alive() is None


def test_threads_asking_for_one_pattern_get_one_plan():
    patterns = [from_mask(random_mask(200, 0.02, 99)) for _ in range(8)]
    barrier, plans = threading.Barrier(8), [None] * 8

    def work(k: int) -> None:
        barrier.wait()
        plans[k] = analyze(patterns[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert isinstance(plans[0], Plan)
    assert all(plan is plans[0] for plan in plans)
    assert not plan_module._gates


# --- sizes ----------------------------------------------------------------------------------------


def arrow_from_the_first_row(n: int) -> Pattern:
    """Full first column: under natural order L is a full triangle."""
    indptr = np.concatenate([[0], np.arange(n, 2 * n)])
    return Pattern((n, n), indptr, np.concatenate([np.arange(n), np.arange(1, n)]), symmetric=True)


def test_factor_beyond_32_bits_is_refused_with_its_size():
    n = 70_000
    pattern = arrow_from_the_first_row(n)
    with pytest.raises(FactorSizeError, match=str(n * (n + 1) // 2)) as caught:
        analyze(pattern, "natural")
    assert isinstance(caught.value, ValueError)
    assert str(2**31 - 1) in str(caught.value)
    assert analyze(pattern, "amd").nnz_factor == 2 * n - 1


def test_factor_that_only_padding_makes_too_large_is_refused():
    n = 50_000  # 1.25e9 entries, 2.5e9 with the unused half of the square block
    with pytest.raises(FactorSizeError, match=str(n * n)):
        analyze(arrow_from_the_first_row(n), "natural")


# --- plan_from_factor -----------------------------------------------------------------------------


def test_plan_from_factor_keeps_a_closed_pattern(pattern):
    lower, _ = analyze(pattern, "amd").lower_pattern()
    plan = plan_from_factor(lower)
    assert plan.closed
    assert plan.size == plan.nnz_factor == lower.nnz
    assert plan.lower_pattern()[0] == lower
    np.testing.assert_array_equal(plan.value_position, np.arange(lower.nnz))
    np.testing.assert_array_equal(plan.perm, np.arange(lower.n))
    assert plan_from_factor(lower) is plan


def test_plan_from_factor_takes_a_pattern_without_its_fill_as_it_is():
    mask = np.eye(4, dtype=bool)
    mask[[1, 2, 3], 0] = True  # eliminating column 0 would fill (2, 1), (3, 1), (3, 2)
    lower = from_mask(mask, symmetric=False)
    plan = plan_from_factor(lower)
    assert not plan.closed
    assert plan.lower_pattern()[0] == lower


@pytest.mark.parametrize("mask", [np.triu(np.ones((3, 3), bool)), np.tri(3, k=-1, dtype=bool)])
def test_plan_from_factor_refuses_what_is_not_lower_triangular(mask):
    with pytest.raises(StructureError, match="lower triangular"):
        plan_from_factor(from_mask(mask, symmetric=False))


def test_analyze_refuses_a_general_pattern():
    with pytest.raises(StructureError, match="symmetric"):
        analyze(Pattern((2, 3), [0, 1, 1, 1], [1]))


# --- what a plan says of itself ------------------------------------------------------------------


def test_the_layout_is_one_record_of_read_only_arrays():
    plan = analyze(CASES["random"]())
    layout = plan.layout
    assert layout is plan.layout
    for field in dataclasses.fields(PlanLayout):
        array = getattr(layout, field.name)
        assert not array.flags.writeable, field.name
        with pytest.raises(ValueError, match="read-only"):
            array[:1] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        layout.perm = layout.iperm
    width, height = np.diff(layout.first_column), np.diff(layout.row_ptr)
    np.testing.assert_array_equal(np.diff(layout.panel_ptr), width * height)
    np.testing.assert_array_equal(layout.perm[layout.iperm], np.arange(plan.n))
    assert layout.parent.size == plan.num_supernodes
    assert layout.value_position.size == plan.pattern.nnz
    assert layout.rows.size == layout.row_ptr[-1]


def test_arrays_of_a_layout_outlive_their_plan():
    plan = analyze(from_mask(random_mask(33, 0.05, 4)))
    layout, expected = plan.layout, plan.layout.rows.copy()
    alive = weakref.ref(plan)
    del plan
    gc.collect()
    assert alive() is None
    np.testing.assert_array_equal(layout.rows, expected)


def test_a_plan_is_a_symbolic_factor_of_the_kind_llt():
    plan: SymbolicFactor = analyze(CASES["banded"]())
    assert plan.kind == "llt"
    assert plan.n == 40
    assert plan.portable_attributes()["kind"] == "llt"
    assert len(plan.digest) == 32
    arrays = [getattr(plan.layout, field.name) for field in dataclasses.fields(PlanLayout)]
    assert sum(x.nbytes for x in arrays) < plan.nbytes < 5 * sum(x.nbytes for x in arrays)
