"""`SparseMatrix` as a pytree, an operand and a refuser of what would go wrong silently."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental import sparse as jax_sparse

import cholax as cx
from cholax._core.errors import (
    DtypeError,
    PatternError,
    ShapeError,
    StructureError,
    UnsupportedError,
)

DENSE = np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 3.0, -4.0], [5.0, 6.0, 0.0, 0.0]])
SPD = np.array([[4.0, -1.0, 0.0], [-1.0, 5.0, 2.0], [0.0, 2.0, 6.0]])


@pytest.fixture
def A() -> cx.SparseMatrix:
    return cx.from_dense(DENSE)


@pytest.fixture
def S() -> cx.SparseMatrix:
    return cx.from_dense(SPD, symmetric=True)


def test_the_only_leaf_is_values(A):
    leaves, tree = jax.tree.flatten(A)
    assert len(leaves) == 1
    assert leaves[0] is A.values
    paths, _ = jax.tree_util.tree_flatten_with_path({"A": A})
    assert jax.tree_util.keystr(paths[0][0]) == "['A'].values"
    assert jax.tree.unflatten(tree, leaves).pattern is A.pattern


@pytest.mark.parametrize("leaf", [None, object(), 3, "text", jax.ShapeDtypeStruct((2, 5), float)])
def test_any_leaf_survives_a_round_trip_and_prints(A, leaf):
    tree = jax.tree.structure(A)
    back = jax.tree.unflatten(tree, [leaf])
    assert back.values is leaf
    assert "nnz=6" in repr(back)


def test_shapes_can_be_evaluated_without_values(S):
    out = jax.eval_shape(lambda S: S + S, S)
    assert isinstance(out, cx.SparseMatrix)
    assert out.values.shape == (S.nnz,)


def test_jit_compiles_once_for_equal_patterns(A):
    traces = []

    @jax.jit
    def doubled(A):
        traces.append(A)
        return 2.0 * A

    doubled(A)
    out = doubled(cx.from_dense(DENSE))
    assert len(traces) == 1
    np.testing.assert_array_equal(out.to_dense(), 2 * DENSE)


def test_gradient_is_a_matrix_that_counts_both_mirror_entries(S):
    x = jnp.array([1.0, 2.0, 3.0])
    gradient = jax.grad(lambda S: cx.quadratic_form(S, x))(S)
    assert isinstance(gradient, cx.SparseMatrix)
    i, j = S.pattern.rows, S.pattern.columns
    expected = np.where(i == j, 1, 2) * x[i] * x[j]
    np.testing.assert_allclose(gradient.values, expected)


def test_a_stack_from_vmap_is_refused_outside_vmap_and_works_inside(A):
    stack = jax.vmap(lambda c: c * A)(jnp.array([1.0, 2.0]))
    assert "batch=(2,)" in repr(stack)
    for use in (lambda: stack + stack, stack.to_dense, lambda: cx.kron(stack, A)):
        with pytest.raises(ShapeError, match=r"stack of shape \(2, 6\).*vmap"):
            use()
    dense = jax.vmap(lambda A: A.to_dense())(stack)
    np.testing.assert_array_equal(dense, np.stack([DENSE, 2 * DENSE]))


def test_attributes_describe_the_matrix(A, S):
    assert (A.shape, A.nnz, A.dtype, A.symmetric) == ((3, 4), 6, np.float64, False)
    assert (S.n, S.nnz, S.symmetric, S.ndim) == (3, 5, True, 2)
    assert repr(S) == "SparseMatrix(shape=(3, 3), nnz=5, dtype=float64, symmetric=True)"
    with pytest.raises(StructureError, match="square, got 3×4"):
        _ = A.n


def test_values_of_wrong_rank_length_or_dtype_are_refused(A):
    with pytest.raises(ShapeError, match=r"shape \(2, 6\).*jax.vmap"):
        cx.SparseMatrix(np.zeros((2, 6)), A.pattern)
    with pytest.raises(ShapeError, match=r"need 6 values.* got 5"):
        cx.SparseMatrix(np.zeros(5), A.pattern)
    with pytest.raises(DtypeError, match="int64"):
        cx.SparseMatrix(np.zeros(6, int), A.pattern)
    with pytest.raises(DtypeError, match="float16"):
        cx.SparseMatrix(np.zeros(6, np.float16), A.pattern)
    with pytest.raises(StructureError, match="need a cholax Pattern, got tuple"):
        cx.SparseMatrix(np.zeros(6), (3, 4))


def test_matrices_are_immutable_copyable_and_picklable(S):
    with pytest.raises(AttributeError, match="immutable"):
        S.values = 0
    with pytest.raises(AttributeError, match="immutable"):
        del S.pattern
    for twin in (pickle.loads(pickle.dumps(S)), copy.copy(S), copy.deepcopy(S)):
        assert twin.pattern == S.pattern
        np.testing.assert_array_equal(twin.values, S.values)


def test_adding_what_would_fill_the_matrix_is_refused(A):
    dense = np.ones((3, 4))
    for other in (1, 1.5, np.float64(2), jnp.float64(2), dense, jnp.asarray(dense), [1.0]):
        for add in (lambda o: A + o, lambda o: o + A, lambda o: A - o, lambda o: o - A):
            with pytest.raises(UnsupportedError, match="add_diagonal"):
                add(other)


def test_sum_of_a_list_of_matrices_works(A):
    np.testing.assert_array_equal(sum([A, A]).to_dense(), 2 * DENSE)


def test_products_entry_by_entry_are_refused(A):
    for other in (A, np.ones(4), jnp.ones((3, 4)), [1.0]):
        with pytest.raises(UnsupportedError, match=r"A @ B.*scale_rows"):
            A * other
    for other in (np.ones(4), jnp.ones((3, 4))):
        with pytest.raises(UnsupportedError, match="scale_rows"):
            other * A
        with pytest.raises(UnsupportedError, match="scale_rows"):
            A / other


@pytest.mark.parametrize(
    "foreign",
    [
        scipy.sparse.csc_array(DENSE),
        scipy.sparse.coo_matrix(DENSE),
        jax_sparse.BCOO.fromdense(DENSE),
    ],
    ids=["csc_array", "coo_matrix", "BCOO"],
)
def test_sparse_matrices_of_other_libraries_are_refused(A, foreign):
    for use in (
        lambda: A + foreign,
        lambda: A - foreign,
        lambda: A * foreign,
        lambda: A @ foreign.T,
        lambda: cx.kron(A, foreign),
    ):
        with pytest.raises(UnsupportedError, match=r"cx\.from_(scipy|bcoo)\(A\)"):
            use()
    for use in (lambda: foreign + A, lambda: foreign.T @ A):
        with pytest.raises((UnsupportedError, TypeError)):
            use()


def test_unrelated_types_get_pythons_own_error(A):
    with pytest.raises(TypeError, match="unsupported operand"):
        A + {}
    with pytest.raises(TypeError, match="unsupported operand"):
        A @ "text"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [float, int, jnp.asarray, np.int64, np.asarray])
def test_scalars_scale_without_changing_the_dtype(A, dtype, make):
    A = A.astype(dtype)
    c = make(np.dtype(dtype).type(2)) if make in (jnp.asarray, np.asarray) else make(2)
    for out in (c * A, A * c, (4 * A) / c):
        assert out.dtype == dtype
        np.testing.assert_array_equal(out.to_dense(), 2 * DENSE)


def test_numpy_and_traced_scalars_scale(A):
    np.testing.assert_array_equal((np.float64(2) * A).to_dense(), 2 * DENSE)
    scaled = jax.jit(lambda c, A: c * A)(2.0, A.astype("float32"))
    assert scaled.dtype == np.float32  # a Python float stays weak through jit


@pytest.mark.parametrize("scalar", [np.float64(2), jnp.float64(2), 2j, np.bool_(True)])
def test_scalars_of_another_dtype_are_refused(A, scalar):
    with pytest.raises(DtypeError, match="one dtype"):
        scalar * A.astype("float32")


def test_mixed_dtypes_are_refused_everywhere(A, S):
    a, s = A.astype("float32"), S.astype("float32")
    for use in (
        lambda: a @ np.ones(4),
        lambda: np.ones(3) @ a,
        lambda: a + A,
        lambda: a @ A.T,
        lambda: cx.kron(a, A),
        lambda: cx.hstack([a, A]),
        lambda: cx.trace_product(s, S),
        lambda: cx.quadratic_form(s, np.ones(3)),
        lambda: cx.congruence(a, np.ones(3)),
        lambda: s.add_diagonal(np.ones(3)),
        lambda: a.scale_rows(np.ones(3)),
        lambda: a.scale_columns(np.ones(4)),
    ):
        with pytest.raises(DtypeError, match=r"float32|float64"):
            use()
    with pytest.raises(DtypeError, match="int64"):
        A @ np.arange(4)


def test_float64_without_x64_is_refused_with_the_switch_to_flip():
    with jax.enable_x64(False):
        A = cx.eye(2)
        assert A.dtype == np.float32
        with pytest.raises(DtypeError, match="jax_enable_x64"):
            A.astype("float64")
        with pytest.raises(DtypeError, match="jax_enable_x64"):
            A @ np.ones(2)


def test_products_with_arrays_match_dense(A, S):
    rng = np.random.default_rng(0)
    for M, dense in ((A, DENSE), (S, SPD)):
        m, n = dense.shape
        x, X = rng.normal(size=n), rng.normal(size=(n, 2))
        y, Y = rng.normal(size=m), rng.normal(size=(2, m))
        np.testing.assert_allclose(M @ x, dense @ x)
        np.testing.assert_allclose(M @ jnp.asarray(X), dense @ X)
        np.testing.assert_allclose(y @ M, y @ dense)
        np.testing.assert_allclose(jnp.asarray(Y) @ M, Y @ dense)
        assert (M @ np.zeros((n, 0))).shape == (m, 0)
    np.testing.assert_allclose(A @ [1.0, 2.0, 3.0, 4.0], DENSE @ [1, 2, 3, 4])


def test_shapes_that_do_not_fit_are_refused(A, S):
    for use in (
        lambda: A @ np.ones(3),
        lambda: np.ones(4) @ A,
        lambda: A @ np.ones((4, 1, 1)),
        lambda: A @ A,
        lambda: A + S,
        lambda: A @ 2.0,
        lambda: A.scale_rows(np.ones(4)),
        lambda: A.scale_columns(np.ones(3)),
        lambda: S.add_diagonal(np.ones(2)),
        lambda: cx.quadratic_form(S, np.ones((3, 2))),
        lambda: cx.trace_product(A, A),
    ):
        with pytest.raises((ShapeError, TypeError)):
            use()
    with pytest.raises(StructureError, match="square"):
        A.add_diagonal(1.0)
    with pytest.raises(StructureError, match="square"):
        A.symmetrize()


def test_symmetry_is_kept_where_it_holds_and_dropped_where_not(S):
    G = cx.from_dense(SPD)
    for kept in (S + S, -S, 2 * S, S.T, S.add_diagonal(1.0), S[::-1, ::-1], cx.kron(S, S)):
        assert kept.symmetric
    for dropped in (S + G, G - S, S @ S, S.scale_rows(np.ones(3)), S[:2, :], cx.tril(S)):
        assert not dropped.symmetric
    assert G.symmetrize().symmetric
    assert cx.congruence(G, np.ones(3)).symmetric
    assert S.as_general().pattern == G.pattern


INDEX_PAIRS = [
    (1, -2),
    (-1, slice(1, None)),
    (slice(None, None, -2), 0),
    (slice(None), [3, 1]),
    ([2, 0, 0], range(2)),
    (np.array([True, False, True]), np.array([2, 2], np.uint8)),
    ([], slice(None)),
    (np.int64(0), []),
]


@pytest.mark.parametrize(("rows", "columns"), INDEX_PAIRS, ids=str)
def test_indexing_selects_listed_rows_by_listed_columns(A, rows, columns):
    part = A[rows, columns]
    row_numbers, column_numbers = (
        np.arange(size)[np.asarray(i, int) if isinstance(i, list | range) else i]
        for i, size in zip((rows, columns), A.shape, strict=True)
    )
    expected = DENSE[row_numbers][..., column_numbers]
    dense = part.to_dense() if isinstance(part, cx.SparseMatrix) else part
    assert dense.shape == expected.shape
    np.testing.assert_array_equal(dense, expected)


def test_concrete_jax_arrays_index(A):
    part = A[jnp.array([2, 0]), jnp.array([True, False, True, False])]
    np.testing.assert_array_equal(part.to_dense(), DENSE[[2, 0]][:, [0, 2]])


def test_single_entries_read_both_triangles(S):
    entries = [[float(S[i, j]) for j in range(3)] for i in range(3)]
    np.testing.assert_array_equal(entries, SPD)


def test_bad_indices_are_refused(A):
    for key, error, message in (
        ((3, 0), PatternError, "index 3 is out of range for size 3"),
        ((0, -5), PatternError, "index -5 is out of range for size 4"),
        (([True, False], 0), PatternError, r"mask must have shape \(3,\)"),
        ((0.5, 0), PatternError, "got 0.5"),
        ((..., 0), PatternError, "Ellipsis"),
        ((None, 0), PatternError, "got None"),
        (([[0]], 0), PatternError, r"got shape \(1, 1\)"),
        (([0.5], 0), DtypeError, "integers"),
        (0, ShapeError, "two indices"),
        ((0, 0, 0), ShapeError, "two indices"),
    ):
        with pytest.raises(error, match=message):
            A[key]
    for use in (lambda i: A[i, 0], lambda i: A[:i, 0], lambda i: A[jnp.array([i]), 0]):
        with pytest.raises(PatternError, match="traced"):
            jax.jit(use)(1)


def test_a_matrix_is_neither_iterable_nor_an_array(A):
    with pytest.raises(TypeError):
        iter(A)
    with pytest.raises(UnsupportedError, match="to_dense"):
        np.asarray(A)


def test_conversions_agree_with_dense(A, S):
    for M, dense in ((A, DENSE), (S, SPD)):
        np.testing.assert_array_equal(M.to_dense(), dense)
        exported = M.to_scipy()
        assert exported.has_canonical_format
        np.testing.assert_array_equal(exported.toarray(), dense)
        exported.indices[0] = 0  # its own copy, writeable
        bcoo = M.to_bcoo()
        np.testing.assert_array_equal(bcoo.todense(), dense)
        keys = np.asarray(bcoo.indices) @ [dense.shape[1], 1]
        assert (np.diff(keys) > 0).all()


def test_traced_matrices_do_not_convert_to_scipy(A):
    with pytest.raises(UnsupportedError, match="concrete"):
        jax.jit(lambda A: A.to_scipy())(A)


def test_astype_takes_the_two_float_dtypes_only(A):
    assert A.astype(np.float32).astype(float).dtype == np.float64
    with pytest.raises(DtypeError, match="float16"):
        A.astype("float16")


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (3, 0), (1, 1), (3, 4)])
def test_empty_matrices_compute(shape):
    Z = cx.from_coo(np.zeros(0), [], [], shape)
    m, n = shape
    np.testing.assert_array_equal(Z @ np.ones(n), np.zeros(m))
    np.testing.assert_array_equal((Z @ Z.T).to_dense(), np.zeros((m, m)))
    np.testing.assert_array_equal((Z + Z).to_dense(), np.zeros(shape))
    np.testing.assert_array_equal(cx.congruence(Z, np.ones(m)).to_dense(), np.zeros((n, n)))
    np.testing.assert_array_equal(Z.diagonal(), np.zeros(min(shape)))
    assert float(cx.trace_product(Z, Z.T)) == 0.0
    assert cx.vstack([Z, Z]).shape == (2 * m, n)
