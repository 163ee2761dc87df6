"""Pattern algebra against dense NumPy, values moved on the host by the source maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cholax._core.errors import ShapeError, StructureError
from cholax.patterns import Pattern, algebra, build, cache

SIZES = st.integers(0, 4)
FAST = settings(max_examples=40, deadline=None)


@st.composite
def matrices(draw, rows=SIZES, columns=SIZES):
    """A pattern and values that tell every entry from every other."""
    m, n = draw(rows), draw(columns)
    mask = np.array(draw(st.lists(st.booleans(), min_size=m * n, max_size=m * n)), bool)
    pattern, _ = build.from_mask(mask.reshape(m, n))
    return pattern, 1.0 + np.arange(pattern.nnz) ** 2


@st.composite
def symmetric_matrices(draw, size=SIZES):
    n = draw(size)
    mask = np.array(draw(st.lists(st.booleans(), min_size=n * n, max_size=n * n)), bool)
    pattern, _ = algebra.lower_half(build.from_mask(mask.reshape(n, n))[0])
    return pattern, 1.0 + np.arange(pattern.nnz) ** 2


def dense(pattern: Pattern, values: np.ndarray) -> np.ndarray:
    out = np.zeros(pattern.shape)
    out[pattern.rows, pattern.columns] = values
    return out + np.tril(out, -1).T if pattern.symmetric else out


def valid(pattern: Pattern) -> Pattern:
    rebuilt = Pattern(pattern.shape, pattern.indptr, pattern.indices, symmetric=pattern.symmetric)
    assert rebuilt == pattern
    return pattern


def moved(pattern: Pattern, source: np.ndarray, values: np.ndarray) -> np.ndarray:
    assert source.dtype == np.int32
    return dense(valid(pattern), build.take(source, values))


def bilinear(pattern, left, right, out, a, b):
    values = np.zeros(pattern.nnz)
    np.add.at(values, out, a[left] * b[right])
    assert (np.diff(out) >= 0).all()
    return dense(valid(pattern), values)


@given(st.data())
@FAST
def test_union_and_intersection_match_dense(data):
    m, n = data.draw(SIZES), data.draw(SIZES)
    (p, a), (q, b) = (data.draw(matrices(st.just(m), st.just(n))) for _ in range(2))
    pattern, left, right = algebra.union(p, q)
    np.testing.assert_array_equal(moved(pattern, left, a), dense(p, a))
    np.testing.assert_array_equal(moved(pattern, right, b), dense(q, b))
    pattern, left, right = algebra.intersection(p, q)
    both = dense(valid(pattern), a[left] * b[right])
    np.testing.assert_array_equal(both, dense(p, a) * dense(q, b))


@given(st.data())
@FAST
def test_union_of_symmetric_patterns_is_symmetric(data):
    n = data.draw(SIZES)
    (p, a), (q, _) = (data.draw(symmetric_matrices(st.just(n))) for _ in range(2))
    pattern, left, _ = algebra.union(p, q)
    assert pattern.symmetric
    np.testing.assert_array_equal(moved(pattern, left, a), dense(p, a))


@given(matrices(), st.integers(-4, 4))
@FAST
def test_transpose_and_tril_match_dense(matrix, k):
    p, a = matrix
    np.testing.assert_array_equal(moved(*algebra.transpose(p), a), dense(p, a).T)
    np.testing.assert_array_equal(moved(*algebra.tril(p, k), a), np.tril(dense(p, a), k))


@given(symmetric_matrices(), st.integers(-4, 4))
@FAST
def test_expand_tril_and_fold_of_symmetric_match_dense(matrix, k):
    p, a = matrix
    full, source = algebra.expand(p)
    np.testing.assert_array_equal(moved(full, source, a), dense(p, a))
    np.testing.assert_array_equal(moved(*algebra.tril(p, k), a), np.tril(dense(p, a), k))
    folded, lower, upper = algebra.fold(full)
    assert folded == p
    np.testing.assert_array_equal(source[lower], source[upper])


@given(st.data())
@FAST
def test_fold_is_the_symmetric_part(data):
    n = data.draw(SIZES)
    p, a = data.draw(matrices(st.just(n), st.just(n)))
    pattern, lower, upper = algebra.fold(p)
    parts = build.take(lower, a) + build.take(upper, a)
    np.testing.assert_array_equal(dense(valid(pattern), parts), dense(p, a) + dense(p, a).T)


@given(st.data())
@FAST
def test_add_diagonal_matches_dense(data):
    n = data.draw(SIZES)
    p, a = data.draw(st.one_of(matrices(st.just(n), st.just(n)), symmetric_matrices(st.just(n))))
    d = 100.0 + np.arange(n)
    pattern, source, from_d = algebra.add_diagonal(p)
    total = moved(pattern, source, a) + dense(pattern, build.take(from_d, d))
    np.testing.assert_array_equal(total, dense(p, a) + np.diag(d))
    assert pattern.symmetric == p.symmetric
    assert (pattern.diagonal_positions >= 0).all()


@given(st.data())
@FAST
def test_submatrix_matches_dense_with_repeats(data):
    p, a = data.draw(st.one_of(matrices(), symmetric_matrices()))
    rows, columns = (
        np.array(data.draw(st.lists(st.integers(0, size - 1), max_size=5)) if size else [], int)
        for size in p.shape
    )
    expected = dense(p, a)[np.ix_(rows, columns)]
    pattern, source = algebra.submatrix(p, rows, columns)
    np.testing.assert_array_equal(moved(pattern, source, a), expected)
    if p.symmetric:
        pattern, source = algebra.submatrix(p, rows, rows)
        assert pattern.symmetric
        np.testing.assert_array_equal(moved(pattern, source, a), dense(p, a)[np.ix_(rows, rows)])


@given(st.one_of(matrices(), symmetric_matrices()))
@FAST
def test_entry_position_finds_stored_entries_only(matrix):
    p, a = matrix
    padded = np.append(a, 0.0)
    found = [
        [padded[algebra.entry_position(p, i, j)] for j in range(p.shape[1])]
        for i in range(p.shape[0])
    ]
    np.testing.assert_array_equal(np.reshape(found, p.shape), dense(p, a))


@given(st.data())
@FAST
def test_product_matches_dense(data):
    k = data.draw(SIZES)
    p, a = data.draw(matrices(columns=st.just(k)))
    q, b = data.draw(matrices(rows=st.just(k)))
    result = bilinear(*algebra.product(p, q), a, b)
    np.testing.assert_array_equal(result, dense(p, a) @ dense(q, b))


@given(matrices())
@FAST
def test_congruence_matches_dense(matrix):
    p, b = matrix
    d = 2.0 + np.arange(p.shape[0])
    pattern, left, right, out = algebra.congruence(p)
    assert pattern.symmetric
    result = bilinear(pattern, left, right, out, b * d[p.rows], b)
    np.testing.assert_array_equal(result, dense(p, b).T @ np.diag(d) @ dense(p, b))


@given(st.data())
@FAST
def test_kron_matches_dense(data):
    (p, a), (q, b) = (data.draw(st.one_of(matrices(), symmetric_matrices())) for _ in range(2))
    pattern, left, right = algebra.kron(p, q)
    assert pattern.symmetric == (p.symmetric and q.symmetric)
    result = dense(valid(pattern), a[left] * b[right])
    np.testing.assert_array_equal(result, np.kron(dense(p, a), dense(q, b)))


def test_patterns_that_do_not_fit_are_refused():
    p = Pattern((2, 3), [0, 0, 0, 0], [])
    with pytest.raises(StructureError, match="one shape and symmetry"):
        algebra.union(p, algebra.transpose(p)[0])
    with pytest.raises(StructureError, match="square, got 2×3"):
        algebra.add_diagonal(p)
    tall = Pattern((2**30, 1), [0, 0], [])
    with pytest.raises(ShapeError, match="kron"):
        algebra.kron(tall, Pattern((2, 1), [0, 0], []))


def test_results_are_remembered_by_content_and_read_only():
    cache.clear()
    p = Pattern((2, 3), [0, 1, 2, 2], [0, 1])
    twin = Pattern((2, 3), [0, 1, 2, 2], [0, 1])
    pattern, source = algebra.transpose(p)
    assert algebra.transpose(twin)[0] is pattern
    assert cache.usage()[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        source[0] = 1


def test_memory_of_results_is_bounded(monkeypatch):
    cache.clear()
    monkeypatch.setattr(cache, "MAX_ENTRIES", 3)
    for n in range(1, 8):
        algebra.transpose(Pattern((n, 1), [0, 1], [0]))
    assert cache.usage()[0] == 3
    monkeypatch.setattr(cache, "MAX_BYTES", 10)
    algebra.transpose(Pattern((9, 1), [0, 1], [0]))
    entries, size = cache.usage()
    assert entries == 1  # the newest stays, however large
    cache.clear()
    assert size > 10
    assert cache.usage() == (0, 0)
