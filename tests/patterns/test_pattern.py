"""`Pattern` is validated, immutable, hashable and carries no surprises."""

import copy
import gc
import pickle
import weakref

import jax
import numpy as np
import pytest

from cholax._core.errors import CholaxError, DtypeError, PatternError, ShapeError, StructureError
from cholax.patterns import Pattern


def general() -> Pattern:
    return Pattern((3, 4), [0, 2, 2, 3, 5], [0, 2, 1, 0, 1])


def symmetric() -> Pattern:
    return Pattern((3, 3), [0, 2, 4, 5], [0, 2, 1, 2, 2], symmetric=True)


def test_arrays_are_int32_read_only_copies():
    indices = np.array([0, 2, 1, 0, 1])
    pattern = Pattern((3, 4), [0, 2, 2, 3, 5], indices)
    indices[0] = 9
    for array in (pattern.indptr, pattern.indices, pattern.columns, pattern.diagonal_positions):
        assert array.dtype == np.int32
        assert not array.flags.writeable
    assert pattern.indices.tolist() == [0, 2, 1, 0, 1]


def test_sizes_and_derived_arrays_describe_the_entries():
    pattern = general()
    assert (pattern.shape, pattern.nnz, pattern.symmetric) == ((3, 4), 5, False)
    assert pattern.columns.tolist() == [0, 0, 2, 3, 3]
    assert pattern.rows is pattern.indices
    assert pattern.diagonal_positions.tolist() == [0, -1, -1]
    assert symmetric().diagonal_positions.tolist() == [0, 2, 4]
    assert symmetric().n == 3


def test_n_of_a_rectangular_pattern_raises():
    with pytest.raises(StructureError, match="square, got 3×4"):
        _ = general().n


@pytest.mark.parametrize(
    ("shape", "indptr", "indices", "is_symmetric", "error", "message"),
    [
        ((3, 2), [0, 2, 1], [0, 1], False, PatternError, r"indptr\[1\] = 2 and indptr\[2\] = 1"),
        ((3, 2), [1, 1, 2], [0], False, PatternError, r"indptr\[0\] = 1"),
        ((3, 2), [0, 1], [0], False, PatternError, r"length 3 .*got 2"),
        ((3, 2), [0, 1, 1], [0, 1], False, PatternError, r"indptr\[2\] = 1 for 2 indices"),
        ((3, 2), [0, 0, 2], [2, 1], False, PatternError, r"indices\[1\] = 1 after 2 in column 1"),
        ((3, 2), [0, 0, 2], [1, 1], False, PatternError, r"indices\[1\] = 1 .*duplicate"),
        ((3, 2), [0, 1, 2], [0, -1], False, PatternError, r"indices\[1\] = -1 .*negative"),
        ((3, 2), [0, 1, 2], [0, 3], False, PatternError, r"indices\[1\] = 3 in column 1"),
        ((3, 2), [0, 1, 2], [0, 1], True, StructureError, r"square, got 3×2"),
        ((2, 2), [0, 1, 3], [0, 0, 1], True, PatternError, r"upper entry \(0, 1\) at position 1"),
        ((2, 2), [0, 2, 2], [0, 1], True, PatternError, r"none at \(1, 1\)"),
        ((3, 2), [[0, 0, 0]], [], False, PatternError, r"one-dimensional, got shape \(1, 3\)"),
        ((3, 2), [0, 0, 1], [0.5], False, DtypeError, r"float64"),
        ((-1, 2), [0, 0, 0], [], False, ShapeError, r"-1×2"),
        ((3,), [0], [], False, ShapeError, r"two static integers"),
        ((2**31, 1), [0, 0], [], False, ShapeError, r"2147483648×1"),
    ],
)
def test_malformed_input_is_refused_naming_the_first_offender(
    shape, indptr, indices, is_symmetric, error, message
):
    with pytest.raises(error, match=message) as caught:
        Pattern(shape, indptr, indices, symmetric=is_symmetric)
    assert isinstance(caught.value, CholaxError)


def test_traced_indices_are_refused_by_name():
    with pytest.raises(PatternError, match="indices decide the pattern"):
        jax.jit(lambda i: Pattern((3, 1), np.array([0, 1]), i).nnz)(np.array([1]))


def test_equal_patterns_have_equal_hashes_and_fingerprints():
    a, b = general(), general()
    assert a == b
    assert hash(a) == hash(b)
    assert len(a.fingerprint) == 16
    assert {a: 1}[b] == 1
    assert a != 3


def test_shape_symmetry_and_arrays_all_enter_the_fingerprint():
    diagonal = ([0, 1, 2], [0, 1])
    variants = [
        Pattern((2, 2), *diagonal),
        Pattern((2, 2), *diagonal, symmetric=True),
        Pattern((3, 2), *diagonal),
        Pattern((2, 2), [0, 1, 2], [1, 1]),
        Pattern((2, 2), [0, 0, 2], [0, 1]),
    ]
    assert len(set(variants)) == len({p.fingerprint for p in variants}) == len(variants)


def test_patterns_are_immutable():
    pattern = general()
    with pytest.raises(AttributeError, match="immutable"):
        pattern.shape = (4, 3)
    with pytest.raises(AttributeError, match="immutable"):
        del pattern.indices
    with pytest.raises(ValueError, match="read-only"):
        pattern.indices[0] = 1


def test_pickle_keeps_the_pattern_and_leaves_plans_behind():
    pattern = symmetric()
    pattern._plans["key"] = lambda: None
    twin = pickle.loads(pickle.dumps(pattern))
    assert twin == pattern
    assert twin.symmetric
    assert twin._plans == {}
    assert not twin.indices.flags.writeable


def test_copies_are_the_pattern_itself():
    pattern = general()
    assert copy.copy(pattern) is pattern
    assert copy.deepcopy([pattern])[0] is pattern


def test_patterns_can_be_weakly_referenced():
    pattern = general()
    reference = weakref.ref(pattern)
    assert reference() is pattern
    del pattern
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_empty_patterns_are_patterns(shape):
    pattern = Pattern(shape, np.zeros(shape[1] + 1, int), [])
    assert pattern.nnz == 0
    assert pattern.columns.size == 0
    assert pattern == pickle.loads(pickle.dumps(pattern))


def test_repr_is_short_and_tells_symmetry():
    assert repr(general()) == "Pattern(shape=(3, 4), nnz=5)"
    assert repr(symmetric()) == "Pattern(shape=(3, 3), nnz=5, symmetric=True)"
