"""cholax's own primitives declare what depends on what; nothing becomes dense without a warning."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax.scipy.linalg import block_diag

import cholax as cx
from cholax._core.errors import UnknownPrimitiveWarning
from cholax._core.jax_compat import ad
from cholax.primitives import Kind, registry
from cholax.sparsediff.detect import hessian_pattern, jacobian_pattern
from cholax.sparsediff.detect.interpreter import tangent_rules
from tests.sparsediff.detect.dense import as_mask


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownPrimitiveWarning)
        yield


# --- the registry ---------------------------------------------------------------------------------


def test_every_primitive_declares_its_dependence():
    for name, definition in registry.items():
        linear = any(op.kind is Kind.LINEAR for op in definition.operands)
        assert (definition.dependence is not None) == linear, name
        assert f"cholax_{name}" in tangent_rules


def test_every_primitive_of_the_package_that_has_tangents_has_a_rule():
    made = {p.name for p in ad.primitive_jvps if p.name.startswith("cholax_")}
    # The factors of an LU are caches: what they are made of carries the tangents.
    assert made - set(tangent_rules) == {"cholax_lu_factor"}


# --- LU -------------------------------------------------------------------------------------------

BLOCK = np.array([[1.0, 2.0], [3.0, 4.0]])


def matrices():
    rng = np.random.default_rng(5)
    blocks = sp.block_diag([BLOCK] * 4).tocsr()
    shuffle = rng.permutation(8)
    lower = sp.csr_array(np.tril(np.eye(8) + np.eye(8, k=-3) + np.eye(8, k=-1)))
    cycle = sp.csr_array(np.eye(6, k=1) + np.eye(6, k=-5))
    chain = sp.block_array([[blocks, None], [sp.csr_array(([1.0], ([0], [2])), (8, 8)), blocks]])
    return {
        "blocks": blocks,
        "blocks with shuffled rows": blocks[shuffle],
        "blocks with shuffled rows and columns": blocks[shuffle][:, rng.permutation(8)],
        "lower triangle": lower,
        "upper triangle": lower.T.tocsr(),
        "permuted triangle": lower[shuffle][:, rng.permutation(8)],
        "permutation": cycle,
        "chain of blocks": chain.tocsr(),
        "dense": sp.csr_array(rng.normal(size=(5, 5)) + 5 * np.eye(5)),
    }


def generic(A, rng):
    """Same pattern, random values: no entry of the inverse is zero by accident."""
    A = sp.csc_array(A)
    A.sort_indices()
    return sp.csc_array((rng.normal(size=A.nnz) + 0.0, A.indices, A.indptr), A.shape)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("name", matrices())
def test_lu_solve_depends_on_what_the_inverse_couples(name, transpose):
    S = generic(matrices()[name], np.random.default_rng(1))
    A, n = cx.from_scipy(S), S.shape[0]
    inverse = np.linalg.inv(S.T.toarray() if transpose else S.toarray())
    expected = np.abs(inverse) > 1e-9

    found = jacobian_pattern(lambda b: cx.lu(A).solve(b, transpose=transpose), jnp.ones(n))
    np.testing.assert_array_equal(as_mask(found), expected)

    solve = lambda v: cx.lu(cx.SparseMatrix(v, A.pattern)).solve(ones, transpose=transpose)  # noqa: E731
    ones = jnp.asarray(np.random.default_rng(2).normal(size=n))
    mask = as_mask(jacobian_pattern(solve, A.values))
    dense = np.asarray(jax.jacobian(solve)(A.values))
    # d x_i = -(A⁻¹)_ij dA_jk x_k
    which = A.pattern.columns if transpose else A.pattern.rows
    np.testing.assert_array_equal(mask, expected[:, which])
    assert not np.any((np.abs(dense) > 1e-9) & ~mask)


def test_solves_with_independent_blocks_stay_independent():
    A = cx.from_scipy(sp.block_diag([BLOCK] * 30).tocsc())
    assert jacobian_pattern(lambda b: cx.lu(A).solve(b), jnp.ones(60)).nnz == 120
    assert jacobian_pattern(lambda b: cx.solve(A, b), jnp.ones(60)).nnz == 120
    J = cx.jacobian(lambda b: cx.lu(A).solve(b) ** 2)
    b = jnp.arange(60.0)
    assert J(b).nnz == 120
    x = np.linalg.solve(np.asarray(A.to_dense()), b)
    np.testing.assert_allclose(
        J(b).to_dense(), 2 * x[:, None] * np.linalg.inv(A.to_dense()), atol=1e-12
    )


def test_several_right_hand_sides_and_batches_keep_to_their_blocks():
    A = cx.from_scipy(sp.block_diag([BLOCK] * 3).tocsc())

    def columns(b):
        return cx.lu(A).solve(b.reshape(6, 2)).ravel()

    want = np.kron(np.kron(np.eye(3), np.ones((2, 2))), np.eye(2)).astype(bool)
    np.testing.assert_array_equal(as_mask(jacobian_pattern(columns, jnp.ones(12))), want)

    def batch(b):
        return jax.vmap(lambda c: cx.lu(A).solve(c))(b.reshape(2, 6)).ravel()

    want = np.kron(np.eye(6), np.ones((2, 2))).astype(bool)
    np.testing.assert_array_equal(as_mask(jacobian_pattern(batch, jnp.ones(12))), want)

    def matrices_of(v):
        one = lambda v: cx.lu(cx.SparseMatrix(v, A.pattern)).solve(jnp.ones(6))  # noqa: E731
        return jax.vmap(one)(v.reshape(2, -1)).ravel()

    want = np.kron(np.eye(6), np.ones((2, 4))).astype(bool)
    np.testing.assert_array_equal(as_mask(jacobian_pattern(matrices_of, jnp.ones(24))), want)


def test_log_determinants_by_lu_couple_blocks_only():
    A = cx.from_scipy(sp.block_diag([BLOCK] * 5).tocsc())

    def log(v):
        return cx.lu(cx.SparseMatrix(v, A.pattern)).slogdet()[1]

    assert jacobian_pattern(lambda v: log(v)[None], A.values).nnz == 20
    pattern = hessian_pattern(log, A.values)
    want = np.kron(np.eye(5), np.ones((4, 4))).astype(bool)
    np.testing.assert_array_equal(as_mask(pattern) | as_mask(pattern).T, want)
    H = cx.hessian(log)(A.values).to_dense()
    np.testing.assert_allclose(H, jax.hessian(log)(A.values), atol=1e-10)


# --- linear maps and fallbacks --------------------------------------------------------------------


def test_linear_maps_are_what_their_functions_do():
    from cholax._core.linear_map import linear_map

    def f(x):
        return linear_map(
            lambda res, x: res[0] * jnp.roll(x, 1),
            lambda res, y: jnp.roll(res[0] * y, -1),
            (2 * x,),
            x,
        )

    want = np.eye(4, dtype=bool) | np.roll(np.eye(4, dtype=bool), 1, axis=0)
    np.testing.assert_array_equal(as_mask(jacobian_pattern(f, jnp.ones(4))), want)


def _with_tangent(rule):
    @jax.custom_jvp
    def f(x):
        return jnp.sin(x)

    f.defjvp(lambda p, t: (f(*p), rule(t[0])))
    return f


SHAPE = jax.ShapeDtypeStruct((3,), jnp.float64)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("pure_callback", lambda t: jax.pure_callback(np.asarray, SHAPE, t)),
        ("ffi_call", lambda t: jax.ffi.ffi_call("a_target_of_somebody", SHAPE)(t)),
        ("eigh", lambda t: jnp.linalg.eigvalsh(jnp.outer(t, t))),
        ("svd", lambda t: jnp.linalg.svd(block_diag(*t), compute_uv=False)),
        ("cholesky", lambda t: jnp.diag(jnp.linalg.cholesky(jnp.diag(t)))),
        ("cholax_cholesky", lambda t: cx.cholesky(cx.SparseMatrix(t, cx.eye(3).pattern)).solve(t)),
    ],
)
def test_what_is_taken_to_be_dense_says_so(name, rule):
    warnings.simplefilter("always", UnknownPrimitiveWarning)
    with pytest.warns(UnknownPrimitiveWarning, match=name):
        assert jacobian_pattern(_with_tangent(rule), jnp.ones(3)).nnz == 9


def test_traced_index_arrays_warn():
    A = cx.eye(3)

    def f(b, indices, indptr):
        return cx.csc.sparse_solve(indices, indptr, jnp.ones(3), b, L_nse=3)

    @jax.jit
    def run(indices, indptr):
        pattern = jacobian_pattern(lambda b: f(b, indices, indptr), jnp.ones(3))
        return pattern.nnz

    warnings.simplefilter("always", UnknownPrimitiveWarning)
    with pytest.warns(UnknownPrimitiveWarning, match="cholax_solve"):
        assert run(A.pattern.indices, A.pattern.indptr) == 9


def test_an_implicit_function_couples_what_its_equation_does():
    # Blocks of three unknowns; the marker of failed iterations must not couple all parameters.
    K = np.array([[3.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 3.0]])

    def equation(z, b):
        return (z.reshape(-1, 3) @ K).ravel() + 0.1 * z**3 - b

    def solution(b):
        return cx.root(equation, jnp.zeros(36), b)

    b = jnp.linspace(0.0, 1.0, 36)
    J = cx.jacobian(solution)
    assert J.pattern(b).nnz == 12 * 9
    np.testing.assert_allclose(J(b).to_dense(), jax.jacobian(solution)(b), atol=1e-13)
