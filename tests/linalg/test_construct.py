"""Constructors: order and duplicates do not matter, symmetry is checked, gradients flow."""

import io

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
    SparsityError,
    StructureError,
    UnsupportedError,
)

DENSE = np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 3.0, -4.0], [5.0, 6.0, 0.0, 0.0]])
SYMMETRIC = np.array([[0.0, -1.0, 0.0], [-1.0, 5.0, 2.0], [0.0, 2.0, 6.0]])


@pytest.mark.parametrize("storage", ["csc", "csr", "coo", "lil", "dok", "dia", "bsr"])
@pytest.mark.parametrize("kind", [scipy.sparse.coo_array, scipy.sparse.coo_matrix])
def test_every_scipy_format_is_read(storage, kind):
    Q = kind(DENSE).asformat(storage)
    np.testing.assert_array_equal(cx.from_scipy(Q).to_dense(), DENSE)


def test_unsorted_duplicated_scipy_input_is_canonicalised():
    arrays = (np.array([1.0, 2.0, 4.0]), np.array([2, 0, 2]), np.array([0, 3, 3]))
    Q = scipy.sparse.csc_array(arrays, shape=(3, 2))
    A = cx.from_scipy(Q)
    assert A.nnz == 2
    np.testing.assert_array_equal(A.to_dense(), [[2.0, 0.0], [0.0, 0.0], [5.0, 0.0]])


def test_stored_zeros_stay_stored():
    assert cx.from_coo(np.array([0.0, 1.0]), [0, 1], [0, 1], (2, 2)).nnz == 2


def test_scipy_input_is_not_modified():
    Q = scipy.sparse.csc_array(DENSE)
    cx.from_scipy(Q)
    Q.indices[:] = 0
    Q.data[:] = 0.0


def test_symmetric_input_is_halved_with_a_full_diagonal():
    A = cx.from_scipy(scipy.sparse.csr_array(SYMMETRIC), symmetric=True)
    assert A.symmetric
    assert A.nnz == 5
    np.testing.assert_array_equal(A.to_dense(), SYMMETRIC)


def test_rounding_asymmetry_is_averaged_and_more_is_refused():
    Q = SYMMETRIC.copy()
    Q[0, 1] += 4e-13
    A = cx.from_scipy(scipy.sparse.csc_array(Q), symmetric=True)
    assert float(A[0, 1]) == float(A[1, 0]) == 0.5 * (Q[0, 1] + Q[1, 0])
    Q[0, 1] += 1e-6
    with pytest.raises(StructureError, match=r"a\[1, 0\] = -1.0 and a\[0, 1\] = -0.999"):
        cx.from_scipy(scipy.sparse.csc_array(Q), symmetric=True)


@pytest.mark.parametrize("triangle", [np.tril, np.triu])
def test_one_triangle_given_as_symmetric_is_refused_with_remedies(triangle):
    Q = scipy.sparse.csc_array(triangle(SYMMETRIC))
    with pytest.raises(StructureError, match=r"half=True.*Pattern\(\.\.\., symmetric=True\)"):
        cx.from_scipy(Q, symmetric=True)


def test_half_takes_the_lower_triangle_and_only_that():
    lower = scipy.sparse.csc_array(np.tril(SYMMETRIC))
    A = cx.from_scipy(lower, symmetric=True, half=True)
    np.testing.assert_array_equal(A.to_dense(), SYMMETRIC)
    with pytest.raises(StructureError, match=r"got the entry \(0, 1\)"):
        cx.from_scipy(lower.T, symmetric=True, half=True)
    with pytest.raises(StructureError, match="symmetric=False"):
        cx.from_scipy(lower, half=True)


def test_nan_is_symmetric_only_with_its_mirror():
    Q = SYMMETRIC.copy()
    Q[0, 1] = Q[1, 0] = np.nan
    A = cx.from_dense(Q, symmetric=True)
    np.testing.assert_array_equal(A.to_dense(), Q)
    Q[1, 0] = -1.0
    with pytest.raises(StructureError, match="nan"):
        cx.from_dense(Q, symmetric=True)


def test_symmetric_input_must_be_square():
    with pytest.raises(StructureError, match="square, got 3×4"):
        cx.from_dense(DENSE, symmetric=True)


def test_input_of_the_wrong_kind_is_refused():
    with pytest.raises(DtypeError, match="int64"):
        cx.from_scipy(scipy.sparse.csc_array(DENSE.astype(int)))
    with pytest.raises(UnsupportedError, match="from_dense"):
        cx.from_scipy(DENSE)
    with pytest.raises(UnsupportedError, match="from_scipy"):
        cx.from_bcoo(scipy.sparse.csc_array(DENSE))
    with pytest.raises(ShapeError, match="need a matrix"):
        cx.from_dense(np.ones(3))
    with pytest.raises(ShapeError, match="one value per entry, 2"):
        cx.from_coo(np.ones(3), [0, 1], [0, 1], (2, 2))


ROWS, COLUMNS = np.array([2, 0, 2, 1, 0]), np.array([1, 3, 1, 0, 3])


def coo_dense(values):
    return jnp.zeros((3, 4)).at[ROWS, COLUMNS].add(values)


def test_duplicates_are_summed_in_value_and_derivative():
    values = jnp.array([1.0, 2.0, 4.0, 8.0, 16.0])
    weights = jnp.arange(12.0).reshape(3, 4)

    def sparse(v):
        return cx.from_coo(v, ROWS, COLUMNS, (3, 4)).to_dense()

    np.testing.assert_array_equal(sparse(values), coo_dense(values))
    np.testing.assert_array_equal(jax.jit(sparse)(values), coo_dense(values))
    gradients = [
        jax.grad(lambda v, f=f: jnp.vdot(weights, f(v)))(values) for f in (sparse, coo_dense)
    ]
    np.testing.assert_array_equal(*gradients)
    batch = jnp.stack([values, -values])
    np.testing.assert_array_equal(jax.vmap(sparse)(batch), jax.vmap(coo_dense)(batch))


def test_traced_symmetric_entries_are_averaged():
    rows, columns = np.nonzero(SYMMETRIC)
    values = jnp.asarray(SYMMETRIC[rows, columns])

    def corner(v):
        A = cx.from_coo(v, rows, columns, (3, 3), symmetric=True)
        assert A.symmetric
        return A[2, 1]

    gradient = jax.jit(jax.grad(corner))(values)
    mirrored = ((rows == 2) & (columns == 1)) | ((rows == 1) & (columns == 2))
    np.testing.assert_array_equal(gradient, 0.5 * mirrored)


def test_traced_symmetric_entries_need_their_mirrors():
    def build(v, **options):
        return cx.from_coo(v, [0, 1, 1], [0, 0, 1], (2, 2), symmetric=True, **options).to_dense()

    with pytest.raises(StructureError, match=r"got \(1, 0\) without \(0, 1\)"):
        jax.jit(build)(jnp.ones(3))
    dense = jax.jit(lambda v: build(v, half=True))(jnp.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(dense, [[1.0, 2.0], [2.0, 3.0]])


def test_traced_dense_needs_a_pattern_and_then_differentiates():
    with pytest.raises(PatternError, match="pattern="):
        jax.jit(lambda a: cx.from_dense(a).values)(DENSE)
    pattern = cx.from_dense(DENSE).pattern
    gradient = jax.grad(lambda a: cx.from_dense(a, pattern=pattern).values.sum())(DENSE)
    np.testing.assert_array_equal(gradient, DENSE != 0)
    half = cx.from_dense(SYMMETRIC, symmetric=True).pattern
    gradient = jax.grad(lambda a: cx.from_dense(a, pattern=half).values[1])(jnp.array(SYMMETRIC))
    expected = np.zeros((3, 3))
    expected[0, 1] = expected[1, 0] = 0.5
    np.testing.assert_array_equal(gradient, expected)


def test_dense_read_on_a_pattern_must_be_covered_and_symmetric():
    pattern = cx.from_dense(SYMMETRIC, symmetric=True).pattern
    np.testing.assert_array_equal(cx.from_dense(SYMMETRIC, pattern=pattern).to_dense(), SYMMETRIC)
    Q = SYMMETRIC.copy()
    Q[2, 0] = 7.0
    with pytest.raises(SparsityError, match=r"got 7.0 at \(2, 0\)"):
        cx.from_dense(Q, pattern=pattern)
    Q = SYMMETRIC.copy()
    Q[1, 0] = 7.0
    with pytest.raises(StructureError, match=r"a\[1, 0\] = 7.0"):
        cx.from_dense(Q, pattern=pattern)
    with pytest.raises(ShapeError, match="fit the array"):
        cx.from_dense(DENSE, pattern=pattern)


def bcoo(dense, padding=0, **options):
    # By hand: BCOO.fromdense compiles for seconds.
    places = np.argwhere(dense)
    indices = np.concatenate([places, np.full((padding, 2), dense.shape)])
    data = np.concatenate([dense[tuple(places.T)], np.full(padding, 9.0)])
    return jax_sparse.BCOO((jnp.asarray(data), jnp.asarray(indices)), shape=dense.shape, **options)


def test_bcoo_round_trip_and_padding():
    A = cx.from_dense(DENSE)
    assert cx.from_bcoo(A.to_bcoo()).pattern == A.pattern
    padded = bcoo(DENSE, padding=2)
    back = cx.from_bcoo(padded)
    assert back.pattern == A.pattern
    np.testing.assert_array_equal(back.to_dense(), DENSE)
    S = cx.from_bcoo(bcoo(SYMMETRIC), symmetric=True)
    np.testing.assert_array_equal(S.to_dense(), SYMMETRIC)
    rows_only = jax_sparse.BCOO((jnp.ones((2, 4)), jnp.array([[0], [2]])), shape=(3, 4))
    with pytest.raises(ShapeError, match="n_dense=1"):
        cx.from_bcoo(rows_only)
    with pytest.raises(PatternError, match="traced"):
        jax.jit(lambda B: cx.from_bcoo(B).values)(padded)


def test_bcoo_data_differentiates():
    B = bcoo(DENSE, padding=1)
    indices = B.indices

    def total(data):
        B = jax_sparse.BCOO((data, indices), shape=DENSE.shape)
        return jnp.sum(cx.from_bcoo(B).values ** 2)

    expected = 2 * np.append(DENSE[DENSE != 0], 0.0)
    np.testing.assert_array_equal(jax.grad(total)(B.data), expected)


@pytest.mark.parametrize("is_symmetric", [False, True])
def test_matrix_market_round_trip_is_exact(is_symmetric, tmp_path):
    dense = (SYMMETRIC if is_symmetric else DENSE) / 3.0
    A = cx.from_dense(dense, symmetric=is_symmetric)
    path = str(tmp_path / "matrix.mtx")
    A.to_matrix_market(path)
    back = cx.from_matrix_market(path)
    assert back.symmetric == is_symmetric
    np.testing.assert_array_equal(back.to_dense(), dense)


def test_matrix_market_integers_need_an_explicit_dtype():
    text = b"%%MatrixMarket matrix coordinate integer general\n2 3 1\n2 3 7\n"
    with pytest.raises(DtypeError, match="int"):
        cx.from_matrix_market(io.BytesIO(text))
    A = cx.from_matrix_market(io.BytesIO(text), dtype=float)
    assert A.shape == (2, 3)
    assert float(A[1, 2]) == 7.0


def test_eye_is_symmetric_and_adds_to_general():
    np.testing.assert_array_equal(cx.eye(3).to_dense(), np.eye(3))
    assert cx.eye(3, dtype="float32").dtype == np.float32
    assert cx.eye(0).shape == (0, 0)
    assert not (cx.eye(3) + cx.from_dense(np.ones((3, 3)))).symmetric
    with pytest.raises(DtypeError, match="int"):
        cx.eye(3, dtype=int)


@pytest.mark.parametrize(
    ("offsets", "shape"), [([0, 2, -1], (3, 4)), ([1], (4, 2)), ([-3], (4, 4))]
)
def test_diags_matches_scipy(offsets, shape):
    rng = np.random.default_rng(0)
    lengths = [min(shape[0] + min(k, 0), shape[1] - max(k, 0)) for k in offsets]
    diagonals = [rng.normal(size=length) for length in lengths]
    expected = scipy.sparse.diags_array(diagonals, offsets=offsets, shape=shape).toarray()
    np.testing.assert_array_equal(cx.diags(diagonals, offsets, shape=shape).to_dense(), expected)


def test_diags_differentiates_and_infers_a_square_shape():
    gradient = jax.grad(lambda d: cx.diags([d, -1.0], [0, -1], symmetric=True)[1, 1])(jnp.ones(3))
    np.testing.assert_array_equal(gradient, [0.0, 1.0, 0.0])
    A = cx.diags([[1.0, 2.0]], [-1])
    np.testing.assert_array_equal(A.to_dense(), np.diag([1.0, 2.0], -1))
    Z = cx.diags([], [], shape=(2, 3))
    assert (Z.shape, Z.nnz) == ((2, 3), 0)


def test_symmetric_diags_mirrors_and_completes_the_diagonal():
    A = cx.diags([-1.0], [-1], shape=(3, 3), symmetric=True)
    assert A.nnz == 5
    np.testing.assert_array_equal(A.to_dense(), -np.eye(3, k=1) - np.eye(3, k=-1))


def test_bad_diags_are_refused():
    with pytest.raises(ShapeError, match=r"diagonal 1: need a vector of shape \(2,\), got \(3,\)"):
        cx.diags([np.ones(3)], [1], shape=(3, 3))
    with pytest.raises(ShapeError, match="distinct offset"):
        cx.diags([np.ones(3), np.ones(3)], [0, 0])
    with pytest.raises(ShapeError, match="Pass shape"):
        cx.diags([1.0], [0])
    with pytest.raises(StructureError, match="offsets <= 0"):
        cx.diags([1.0], [1], shape=(3, 3), symmetric=True)
    with pytest.raises(DtypeError, match="one dtype"):
        cx.diags([np.ones(3), np.ones(2, np.float32)], [0, 1])


def test_blocks_match_dense_with_holes():
    A, S = cx.from_dense(DENSE), cx.from_dense(SYMMETRIC, symmetric=True)
    grid = cx.block([[A, None], [None, S], [A, None]])
    zero = np.zeros
    expected = np.block([[DENSE, zero((3, 3))], [zero((3, 4)), SYMMETRIC], [DENSE, zero((3, 3))]])
    np.testing.assert_array_equal(grid.to_dense(), expected)
    np.testing.assert_array_equal(cx.hstack([A, S]).to_dense(), np.hstack([DENSE, SYMMETRIC]))
    np.testing.assert_array_equal(cx.vstack([A, A]).to_dense(), np.vstack([DENSE, DENSE]))


def test_block_diag_is_symmetric_only_when_all_blocks_are():
    A, S = cx.from_dense(DENSE), cx.from_dense(SYMMETRIC, symmetric=True)
    assert cx.block_diag([S, S]).symmetric
    mixed = cx.block_diag([S, A])
    assert not mixed.symmetric
    expected = np.block([[SYMMETRIC, np.zeros((3, 4))], [np.zeros((3, 3)), DENSE]])
    np.testing.assert_array_equal(mixed.to_dense(), expected)


def test_symmetric_block_reads_the_lower_blocks():
    B, S = cx.from_dense(DENSE), cx.from_dense(SYMMETRIC, symmetric=True)
    K = cx.block([[None, None], [B, S]], symmetric=True)
    assert K.symmetric
    expected = np.block([[np.zeros((4, 4)), DENSE.T], [DENSE, SYMMETRIC]])
    np.testing.assert_array_equal(K.to_dense(), expected)
    K = cx.block([[S, None], [S, None]], symmetric=True)
    expected = np.block([[SYMMETRIC, SYMMETRIC], [SYMMETRIC, np.zeros((3, 3))]])
    np.testing.assert_array_equal(K.to_dense(), expected)


def test_bad_blocks_are_refused_naming_their_place():
    A, S = cx.from_dense(DENSE), cx.from_dense(SYMMETRIC, symmetric=True)
    for use, error, message in (
        (lambda: cx.vstack([A, S]), ShapeError, "got 4 and 3 in column 0"),
        (lambda: cx.hstack([A, A[:2, :]]), ShapeError, "got 3 and 2 in row 0"),
        (lambda: cx.block([[A, None]]), ShapeError, "column 1 of the grid holds no block"),
        (lambda: cx.block([[A], [A, A]]), ShapeError, r"got \[1, 2\]"),
        (lambda: cx.hstack([]), ShapeError, "got none"),
        (lambda: cx.block_diag([]), ShapeError, "got none"),
        (lambda: cx.block([[S, S], [None, S]], symmetric=True), StructureError, r"at \(0, 1\)"),
        (lambda: cx.block([[A]], symmetric=True), StructureError, "symmetric block"),
        (lambda: cx.block([[S, None]], symmetric=True), StructureError, "square grid"),
        (lambda: cx.block([[A, 1.0]]), UnsupportedError, "need a SparseMatrix, got float"),
    ):
        with pytest.raises(error, match=message):
            use()
