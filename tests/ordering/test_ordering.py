"""Orderings: valid permutations on every kind of graph, less fill, clear errors."""

import importlib.util
import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from cholax._core.errors import CholaxError, StructureError
from cholax.analysis import analyze
from cholax.ordering import AMD, STRATEGIES, Given, NestedDissection, OrderingError, auto, resolve
from cholax.ordering import nested_dissection as dissection
from cholax.patterns import Pattern

NAMES = sorted(STRATEGIES)
needs_metis = pytest.mark.skipif(
    importlib.util.find_spec("pymetis") is None, reason="pymetis is not installed"
)


def symmetric_pattern(matrix) -> Pattern:
    """Lower triangle of a SciPy matrix, with the whole diagonal."""
    lower = sp.csc_array(sp.tril(abs(sp.csc_array(matrix)) + sp.eye_array(matrix.shape[0])))
    lower.sort_indices()
    return Pattern(lower.shape, lower.indptr, lower.indices, symmetric=True)


def path(n: int) -> sp.csc_array:
    return sp.csc_array(sp.diags_array([np.ones(max(n - 1, 0))], offsets=[-1], shape=(n, n)))


def grid(*sizes: int) -> Pattern:
    """The nearest-neighbour graph of a box."""
    total = sp.csc_array((int(np.prod(sizes)),) * 2)
    for axis, size in enumerate(sizes):
        before, after = int(np.prod(sizes[:axis])), int(np.prod(sizes[axis + 1 :]))
        total += sp.kron(sp.kron(sp.eye_array(before), path(size)), sp.eye_array(after))
    return symmetric_pattern(total)


def arrow(n: int, dense: int) -> Pattern:
    """The first `dense` rows are full."""
    matrix = sp.lil_array((n, n))
    matrix[:, :dense] = 1
    return symmetric_pattern(matrix)


def random_pattern(n: int, density: float, seed: int) -> Pattern:
    return symmetric_pattern(sp.random_array((n, n), density=density, rng=seed))


CASES = {
    "empty": lambda: symmetric_pattern(sp.csc_array((0, 0))),
    "one": lambda: symmetric_pattern(sp.csc_array((1, 1))),
    "two": lambda: symmetric_pattern(path(2)),
    "diagonal": lambda: symmetric_pattern(sp.csc_array((6, 6))),
    "path": lambda: symmetric_pattern(path(9)),
    "dense": lambda: symmetric_pattern(np.ones((7, 7))),
    "arrow": lambda: arrow(400, 3),
    "isolated and connected": lambda: symmetric_pattern(
        sp.block_diag([sp.csc_array((3, 3)), path(5), sp.csc_array((2, 2)), path(4)])
    ),
    "grid": lambda: grid(9, 8),
    "random": lambda: random_pattern(61, 0.03, 1),
    "random, denser": lambda: random_pattern(40, 0.3, 2),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_every_ordering_returns_a_permutation(name, case):
    pattern = CASES[case]()
    perm = resolve(name).order(pattern)
    assert perm.dtype == np.int32
    np.testing.assert_array_equal(np.sort(perm), np.arange(pattern.n))


@pytest.mark.parametrize(
    "name", ["amd", "minimum_fill", "auto", pytest.param("nested_dissection", marks=needs_metis)]
)
@pytest.mark.parametrize("sizes", [(30, 31), (9, 8, 10)])
def test_fill_on_a_grid_is_at_most_half_of_natural(name, sizes):
    pattern = grid(*sizes)
    assert 2 * analyze(pattern, name).nnz_factor < analyze(pattern, "natural").nnz_factor


def test_rcm_fills_less_than_a_random_order():
    pattern = grid(20, 21)
    shuffled = np.random.default_rng(0).permutation(pattern.n)
    assert analyze(pattern, "rcm").nnz_factor < analyze(pattern, shuffled).nnz_factor


@pytest.mark.parametrize(
    "name", ["amd", "minimum_fill", pytest.param("nested_dissection", marks=needs_metis)]
)
def test_dense_rows_go_last(name):
    n, dense = 2000, 4
    perm = resolve(name).order(arrow(n, dense))
    assert set(perm[-dense:].tolist()) == set(range(dense))
    assert analyze(arrow(n, dense), name).nnz_factor == arrow(n, dense).nnz


@needs_metis
def test_auto_takes_metis_when_it_is_cheaper(monkeypatch):
    monkeypatch.setattr(auto, "MIN_FLOPS", 0.0)
    monkeypatch.setattr(auto, "MIN_FLOPS_PER_ENTRY", 0.0)
    monkeypatch.setattr(auto, "MIN_SIZE", 0)
    pattern = grid(16, 15, 17)
    chosen = analyze(pattern, Given(auto.Auto().order(pattern))).flops
    names = ("amd", "minimum_fill", "nested_dissection")
    tried = [analyze(pattern, name).flops for name in names]
    assert chosen == min(tried)
    assert len(set(tried)) == 3


def test_auto_is_amd_on_small_problems():
    pattern = grid(12, 13)
    np.testing.assert_array_equal(resolve("auto").order(pattern), AMD().order(pattern))


def test_nested_dissection_without_metis_warns_once_and_uses_amd(monkeypatch):
    monkeypatch.setattr(dissection, "metis_available", lambda: False)
    dissection._warn_once.cache_clear()
    pattern = grid(6, 7)
    with pytest.warns(UserWarning, match=r"cholax\[metis\]"):
        perm = NestedDissection().order(pattern)
    np.testing.assert_array_equal(perm, AMD().order(pattern))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NestedDissection().order(pattern)


def test_natural_and_given_return_exactly_their_permutation():
    pattern = random_pattern(23, 0.1, 3)
    shuffled = np.random.default_rng(1).permutation(23)
    np.testing.assert_array_equal(resolve("natural").order(pattern), np.arange(23))
    np.testing.assert_array_equal(resolve(shuffled).order(pattern), shuffled)


def test_keys_tell_permutations_apart_and_equal_ones_together():
    a, b = resolve([2, 0, 1]), resolve(np.array([2, 0, 1], np.int64))
    assert a == b
    assert hash(a) == hash(b)
    assert a != resolve([2, 1, 0])
    assert resolve("amd") == AMD()
    assert resolve("amd") != resolve("rcm")


def test_given_does_not_follow_later_changes_of_the_array():
    perm = np.array([1, 0, 2], np.int32)
    given = resolve(perm)
    perm[:] = 0
    assert given.order(symmetric_pattern(path(3))).tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("metis", 'got "metis"'),
        ("metis", '"nested_dissection"'),
        (None, "got None"),
        (3, "got 3"),
        (AMD, "strategy object"),
        ([[0, 1]], r"shape \(1, 2\)"),
        ([0.0, 1.0], "float64"),
        ([0, 3, 1], "between 0 and 2, got 3 at place 1"),
        ([0, -1, 1], "got -1 at place 1"),
        ([2, 1, 0, 1], "got 1 at places 1 and 3"),
    ],
)
def test_bad_ordering_is_named(bad, message):
    with pytest.raises(OrderingError, match=message) as caught:
        resolve(bad)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, CholaxError)


def test_permutation_of_wrong_length_is_refused():
    with pytest.raises(OrderingError, match="must have 5 entries, got 4"):
        resolve([0, 1, 2, 3]).order(symmetric_pattern(path(5)))


@pytest.mark.parametrize("name", NAMES)
def test_general_pattern_is_refused(name):
    with pytest.raises(StructureError, match="symmetric"):
        resolve(name).order(Pattern((2, 3), [0, 1, 1, 1], [1]))
