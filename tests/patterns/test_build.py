"""Canonicalisation: any order, any duplicates, one pattern; symmetry is checked entry by entry."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from cholax._core.errors import PatternError, ShapeError, StructureError
from cholax.patterns import Pattern, build


@st.composite
def entry_lists(draw):
    shape = draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    if 0 in shape:
        return shape, np.zeros(0, np.int32), np.zeros(0, np.int32)
    cell = st.tuples(st.integers(0, shape[0] - 1), st.integers(0, shape[1] - 1))
    cells = draw(st.lists(cell, max_size=12))
    rows, columns = np.array(cells, np.int32).reshape(-1, 2).T
    return shape, rows, columns


@given(entry_lists())
@settings(max_examples=60, deadline=None)
def test_shuffled_duplicated_entries_land_where_they_belong(entries):
    shape, rows, columns = entries
    pattern, positions = build.from_coo(rows, columns, shape)
    Pattern(shape, pattern.indptr, pattern.indices)  # validates in full
    assert positions.dtype == np.int32
    np.testing.assert_array_equal(pattern.rows[positions], rows)
    np.testing.assert_array_equal(pattern.columns[positions], columns)
    assert np.unique(positions).size == pattern.nnz


@given(entry_lists())
@settings(max_examples=40, deadline=None)
def test_compressed_rows_and_columns_agree_with_scipy(entries):
    shape, rows, columns = entries
    coo = scipy.sparse.coo_array((np.ones(rows.size), (rows, columns)), shape=shape)
    csr = coo.tocsr()
    by_rows, positions = build.from_csr(csr.indptr, csr.indices, shape)
    csc = csr.tocsc()
    by_columns, _ = build.from_csc(csc.indptr, csc.indices, shape)
    assert by_rows == by_columns
    summed = build.sum_duplicates(positions, csr.data, by_rows.nnz)
    np.testing.assert_array_equal(summed, csc.data)


def test_unsorted_compressed_columns_are_sorted():
    pattern, positions = build.from_csc([0, 3, 4], [2, 0, 2, 1], (3, 2))
    assert pattern.indices.tolist() == [0, 2, 1]
    assert positions.tolist() == [1, 0, 1, 2]


def test_a_mask_is_read_row_by_row():
    mask = np.array([[0, 1, 1], [1, 0, 1]], bool)
    pattern, positions = build.from_mask(mask)
    rows, columns = np.nonzero(mask)
    np.testing.assert_array_equal(pattern.rows[positions], rows)
    np.testing.assert_array_equal(pattern.columns[positions], columns)


def test_a_mask_of_another_rank_is_refused():
    with pytest.raises(ShapeError, match="need a matrix"):
        build.from_mask(np.ones(3))


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([0, 3], [0, 0], "row numbers .* got 3 at entry 1"),
        ([0, 1, -1], [0, 0, 0], "row numbers .* got -1 at entry 2"),
        ([0, 1], [4, 0], "column numbers .* got 4 at entry 0"),
        ([0, 1], [0], "vectors of one length"),
    ],
)
def test_bad_entries_are_refused_naming_the_first(rows, columns, message):
    with pytest.raises(PatternError, match=message):
        build.from_coo(rows, columns, (3, 4))


@pytest.mark.parametrize("indptr", [[0, 1], [0, 2, 1], [1, 1, 2], [0, 1, 1]])
def test_bad_indptr_is_refused(indptr):
    with pytest.raises(PatternError, match="indptr must"):
        build.from_csc(indptr, [0, 1], (3, 2))


def full(array: np.ndarray) -> tuple[Pattern, np.ndarray]:
    pattern, positions = build.from_mask(array != 0)
    return pattern, build.sum_duplicates(positions, array[array != 0], pattern.nnz)


SYMMETRIC = np.array([[0.0, 3.0, 0.0], [3.0, 2.0, -1.0], [0.0, -1.0, 5.0]])


def test_folding_keeps_equal_halves_and_completes_the_diagonal():
    pattern, values = build.fold_values(*full(SYMMETRIC), half=False)
    Pattern(pattern.shape, pattern.indptr, pattern.indices, symmetric=True)  # validates in full
    dense = np.zeros((3, 3))
    dense[pattern.rows, pattern.columns] = values
    np.testing.assert_array_equal(dense, np.tril(SYMMETRIC))
    assert pattern.nnz == 5  # (0, 0) is an explicit zero


def test_folding_keeps_subnormal_numbers():
    tiny = np.array([[1.0, 5e-324], [5e-324, 1.0]])
    _, values = build.fold_values(*full(tiny), half=False)
    assert values.tolist() == [1.0, 5e-324, 1.0]


def test_rounding_is_relative_to_the_largest_entry():
    Q = SYMMETRIC.copy()
    Q[0, 1] += 4e-12
    build.check_symmetric_values(*full(Q), where="test")
    Q[0, 1] += 4e-12
    with pytest.raises(StructureError, match=r"a\[1, 0\] = 3.0 and a\[0, 1\] = 3.0000"):
        build.check_symmetric_values(*full(Q), where="test")


def test_float32_rounding_is_measured_in_float32():
    Q = SYMMETRIC.astype(np.float32)
    Q[0, 1] = np.nextafter(Q[0, 1], np.float32(9))
    build.check_symmetric_values(*full(Q), where="test")
    Q[0, 1] += np.float32(1e-4)
    with pytest.raises(StructureError, match="relative 2e-06"):
        build.check_symmetric_values(*full(Q), where="test")


def test_the_worst_of_several_asymmetric_entries_is_named():
    Q = SYMMETRIC.copy()
    Q[0, 1], Q[1, 2] = 3.5, 7.0
    with pytest.raises(StructureError, match=r"a\[2, 1\] = -1.0 and a\[1, 2\] = 7.0"):
        build.check_symmetric_values(*full(Q), where="test")


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values_in_both_mirror_places_pass(special):
    Q = SYMMETRIC.copy()
    Q[0, 1] = Q[1, 0] = special
    build.check_symmetric_values(*full(Q), where="test")
    _, values = build.fold_values(*full(Q), half=False)
    np.testing.assert_array_equal(values[1], special)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values_in_one_place_only_are_asymmetric(special):
    Q = SYMMETRIC.copy()
    Q[0, 1] = special
    with pytest.raises(StructureError, match=r"a\[1, 0\] = 3.0 and a\[0, 1\] = -?(nan|inf)"):
        build.check_symmetric_values(*full(Q), where="test")


def test_an_infinite_entry_does_not_hide_asymmetry_elsewhere():
    Q = SYMMETRIC.copy()
    Q[2, 2], Q[0, 1] = np.inf, 4.0
    with pytest.raises(StructureError, match=r"a\[1, 0\]"):
        build.check_symmetric_values(*full(Q), where="test")


@pytest.mark.parametrize(("triangle", "half"), [(np.tril, "half=True with Q,"), (np.triu, "Q.T")])
def test_one_triangle_is_refused_with_the_way_to_pass_it(triangle, half):
    with pytest.raises(StructureError, match=f"only its (lower|upper) triangle.*{half}"):
        build.check_symmetric_values(*full(triangle(SYMMETRIC)), where="test")


def test_structure_alone_must_list_both_mirror_entries():
    build.check_symmetric_structure(full(SYMMETRIC)[0], where="test")
    with pytest.raises(StructureError, match=r"got \(0, 1\) without \(1, 0\).*half=True"):
        build.check_symmetric_structure(full(np.triu(SYMMETRIC))[0], where="test")


def test_half_input_with_an_upper_entry_is_refused():
    with pytest.raises(StructureError, match=r"got the entry \(0, 1\)"):
        build.check_lower(full(SYMMETRIC)[0], where="test")
