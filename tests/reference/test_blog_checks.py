"""The checks of the blog series on sparse linear algebra in JAX, for the raw layer `cx.csc`.

Its matrix: the Laplacian of an m×m grid plus the identity, lower triangle, natural ordering.
Values, tangents (in the values, in the right-hand side, in both) and gradients against dense JAX.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
from cholax._core.errors import DtypeError, PatternError, ShapeError, SparsityError, StructureError
from tests.linalg.twins import assert_close, dense_log_det
from tests.reference.blog_cases import DTYPES, FUNCTIONS, SIZES, TOL, build, case


@cache
def reference(name, m):
    """Value, tangents (each argument alone, all together) and gradients of the dense twin."""
    _, dense, arguments, tangents, _ = build(name, m, "concrete")

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def everything(arguments, tangents):
        value, jvp = jax.linearize(dense, *arguments)
        zeros = [jnp.zeros_like(t) for t in tangents]
        alone = [jvp(*zeros[:i], t, *zeros[i + 1 :]) for i, t in enumerate(tangents)]
        cotangent = jnp.cos(jnp.arange(value.size, dtype=float)).reshape(value.shape)
        gradients = jax.linear_transpose(jvp, *tangents)(cotangent)
        return value, alone, jvp(*tangents), cotangent, gradients

    return everything(arguments, tangents)


def converted(arrays, dtype):
    return tuple(np.asarray(a, dtype) for a in arrays)


ALL = pytest.mark.parametrize("name", FUNCTIONS)
INDICES = pytest.mark.parametrize("indices", ["concrete", "traced"])
BOTH_DTYPES = pytest.mark.parametrize("dtype", DTYPES)


@BOTH_DTYPES
@INDICES
@pytest.mark.parametrize("m", SIZES)
@ALL
def test_value_agrees_with_dense(name, m, indices, dtype):
    sparse, _, arguments, _, tolerance = build(name, m, indices)
    got = sparse(*converted(arguments, dtype))
    assert got.dtype == dtype
    assert_close(got, reference(name, m)[0], tolerance[dtype])


@BOTH_DTYPES
@INDICES
@ALL
def test_tangents_and_gradients_agree_with_dense(name, indices, dtype):
    """Each argument alone leaves symbolic zeros in the others."""
    sparse, _, arguments, tangents, _ = build(name, SIZES[0], indices)
    arguments, tangents = converted(arguments, dtype), converted(tangents, dtype)
    _, alone, together, cotangent, gradients = reference(name, SIZES[0])
    for i, want in enumerate(alone):
        only = lambda a, i=i: sparse(*arguments[:i], a, *arguments[i + 1 :])  # noqa: E731
        assert_close(jax.jvp(only, (arguments[i],), (tangents[i],))[1], want, TOL[dtype])
    assert_close(jax.jvp(sparse, arguments, tangents)[1], together, TOL[dtype])
    _, vjp = jax.vjp(sparse, *arguments)
    assert_close(vjp(jnp.asarray(cotangent, dtype)), gradients, TOL[dtype])


@INDICES
def test_gradients_on_the_larger_matrix_agree_with_dense(indices):
    for name in ("solve", "log_det"):
        sparse, _, arguments, tangents, tolerance = build(name, SIZES[1], indices)
        _, _, together, cotangent, gradients = reference(name, SIZES[1])
        assert_close(jax.jvp(sparse, arguments, tangents)[1], together, tolerance["float64"])
        _, vjp = jax.vjp(sparse, *arguments)
        assert_close(vjp(jnp.asarray(cotangent)), gradients, tolerance["float64"])


def test_parameters_of_the_blog_give_the_dense_jacobian_and_hessian():
    """Its θ: a scale of the whole matrix, and one diagonal entry."""
    c = case(10)
    theta = jnp.array([2.0, 3.0])

    def x_of(theta):
        return (theta[0] * c.x).at[c.indptr[20]].add(theta[1])

    def sparse(theta):
        return cx.csc.sparse_log_det(*c.structure, x_of(theta)) + jnp.sum(
            cx.csc.sparse_solve(*c.structure, x_of(theta), c.b) ** 2
        )

    def dense(theta):
        D = c.dense(x_of(theta))
        return dense_log_det(D) + jnp.sum(jnp.linalg.solve(D, c.b) ** 2)

    gradient, hvp = jax.jit(partial(jax.linearize, jax.grad(dense)))(theta)
    assert_close(jax.jit(jax.jacfwd(sparse))(theta), gradient, TOL["float64"])
    assert_close(jax.jit(jax.jacrev(sparse))(theta), gradient, TOL["float64"])
    want = np.stack([hvp(e) for e in jnp.eye(2)])
    assert_close(jax.jit(jax.hessian(sparse))(theta), want, TOL["float64"])


def test_many_right_hand_sides_are_columns():
    c = case(10)
    B = np.stack([c.b, c.db, c.b - c.db], axis=1)
    got = cx.csc.sparse_solve(*c.structure, c.x, B)
    assert_close(got, np.linalg.solve(c.dense(c.x), B), TOL["float64"])
    assert cx.csc.sparse_solve(*c.structure, c.x, B[:, :0]).shape == (c.n, 0)
    half = cx.csc.sparse_triangular_solve(*c.L_structure, c.L_x, B)
    back = cx.csc.sparse_triangular_solve(*c.L_structure, c.L_x, half, transpose=True)
    assert_close(back, got, TOL["float64"])


def test_factor_has_lower_triangle_in_compressed_columns():
    c = case(10)
    for L_nse in (None, c.L_x.size):
        indices, indptr, x = cx.csc.sparse_cholesky(*c.structure, c.x, L_nse=L_nse)
        assert indices.dtype == indptr.dtype == np.int32
        L = sp.csc_array((np.asarray(x), np.asarray(indices), np.asarray(indptr)))
        assert L.has_sorted_indices
        assert_close(L.toarray(), np.linalg.cholesky(c.dense(c.x)), TOL["float64"])


@INDICES
def test_vmap_over_values_agrees_with_a_loop(indices):
    c = case(10)
    stack = np.stack([c.x, 2 * c.x, c.x + 0.1 * np.abs(c.dx) * (c.indices == c.columns)])
    for name in ("cholesky", "log_det", "solve"):
        sparse, _, arguments, _, _ = build(name, 10, indices)
        axes = (0,) + (None,) * (len(arguments) - 1)
        got = jax.vmap(sparse, in_axes=axes)(stack, *arguments[1:])
        want = [sparse(x, *arguments[1:]) for x in stack]
        assert_close(got, np.stack(want), TOL["float64"])
        gradient = jax.grad(lambda x, *rest, sparse=sparse: jnp.sum(sparse(x, *rest) ** 2))
        got = jax.vmap(gradient, in_axes=axes)(stack, *arguments[1:])
        want = [gradient(x, *arguments[1:]) for x in stack]
        assert_close(got, np.stack(want), TOL["float64"])


def test_traced_indices_take_float0_tangents():
    c = case(10)
    f = jax.jit(partial(cx.csc.sparse_log_det, L_nse=c.L_x.size))
    no_tangent = [np.zeros(a.shape, jax.dtypes.float0) for a in c.structure]
    _, tangent = jax.jvp(f, (*c.structure, c.x), (*no_tangent, c.dx))
    assert_close(tangent, reference("log_det", 10)[2], TOL["float64"])


def test_one_compiled_program_serves_several_patterns_of_one_size():
    """A path and a star on four vertices: equal sizes, other index arrays, no recompilation."""
    path = np.diag([4.0, 5, 6, 7]) + np.diag([1.0, 2, 3], -1)
    star = np.diag([4.0, 5, 6, 7])
    star[2, :2] = star[3, 2] = 1.5
    f = jax.jit(partial(cx.csc.sparse_log_det, L_nse=7))
    for lower in (path, star, path):
        A = sp.csc_array(lower)
        want = np.linalg.slogdet(lower + np.tril(lower, -1).T)[1]
        assert_close(f(A.indices, A.indptr, A.data), want, TOL["float64"])
    assert f._cache_size() == 1


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparse_cholesky", "sparse_solve", "sparse_log_det"])
def test_traced_indices_without_size_ask_for_L_nse(name):
    c = case(10)
    rest = (c.b,) if name == "sparse_solve" else ()
    with pytest.raises(StructureError, match=f"{name}: .*Pass L_nse"):
        jax.jit(getattr(cx.csc, name))(*c.structure, c.x, *rest)


def test_wrong_size_of_L_is_refused_and_named():
    c = case(10)
    message = f"L_nse = {c.L_x.size + 1}, but the factor of this pattern has {c.L_x.size} entries"
    with pytest.raises(ShapeError, match=message):
        cx.csc.sparse_cholesky(*c.structure, c.x, L_nse=c.L_x.size + 1)
    f = jax.jit(partial(cx.csc.sparse_log_det, L_nse=c.L_x.size + 1))
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        jax.block_until_ready(f(*c.structure, c.x))


def bad_arrays(kind):
    c = case(10)
    indices, indptr, x = c.indices.copy(), c.indptr.copy(), c.x
    match kind:
        case "upper":
            upper = sp.csc_array(sp.csc_array((x, indices, indptr)).T)
            upper.sort_indices()
            return upper.indices, upper.indptr, upper.data
        case "unsorted":
            indices[[1, 2]] = indices[[2, 1]]
        case "duplicate":
            indices[2] = indices[1]
        case "out of range":
            indices[-2] = c.n
        case "negative":
            indices[2] = -1
        case "no diagonal":
            indices[0] = 2
        case "falling":
            indptr[50] = 10**9
        case "short":
            indptr = indptr[:-1]
    return indices, indptr, x


BAD = {
    "upper": "lower triangle|start with its diagonal",
    "unsorted": "increasing order|sorted",
    "duplicate": "once|unique",
    "out of range": "out of range|less than 100",
    "negative": "negative|sorted",
    "no diagonal": "increasing|start with its diagonal",
    "falling": "not decrease",
    "short": "end at the number of indices|from 0 to the number",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_index_arrays_are_refused_by_name(kind):
    indices, indptr, x = bad_arrays(kind)
    with pytest.raises(PatternError, match=BAD[kind]):
        cx.csc.sparse_log_det(indices, indptr, x)
    with pytest.raises(PatternError, match=BAD[kind]):
        cx.csc.sparse_triangular_solve(indices, indptr, x, np.ones(indptr.size - 1))


@pytest.mark.parametrize("kind", BAD)
def test_bad_traced_index_arrays_are_refused_at_run_time(kind):
    indices, indptr, x = bad_arrays(kind)
    f = jax.jit(partial(cx.csc.sparse_log_det, L_nse=case(10).L_x.size))
    with pytest.raises(jax.errors.JaxRuntimeError, match=BAD[kind]):
        jax.block_until_ready(f(indices, indptr, x))
    solve = jax.jit(cx.csc.sparse_triangular_solve)
    with pytest.raises(jax.errors.JaxRuntimeError, match=BAD[kind]):
        jax.block_until_ready(solve(indices, indptr, x, np.ones(indptr.size - 1)))


def test_int64_indices_work_concretely_and_are_refused_when_traced():
    c = case(10)
    wide = [a.astype(np.int64) for a in c.structure]
    assert_close(cx.csc.sparse_log_det(*wide, c.x), reference("log_det", 10)[0], TOL["float64"])
    with pytest.raises(DtypeError, match=r"traced index arrays must be int32, got int64"):
        jax.jit(partial(cx.csc.sparse_log_det, L_nse=c.L_x.size))(*wide, c.x)


def test_indices_beyond_32_bits_never_wrap_around():
    c = case(10)
    huge = c.indices.astype(np.int64) + 2**32
    with pytest.raises(PatternError, match="does not fit in 32 bits"):
        cx.csc.sparse_log_det(huge, c.indptr, c.x)
    mixed = jax.jit(lambda indptr: cx.csc.sparse_log_det(huge, indptr, c.x, L_nse=c.L_x.size))
    with pytest.raises(PatternError, match="does not fit in 32 bits"):
        mixed(c.indptr)


def test_one_traced_and_one_concrete_index_array_may_be_mixed():
    c = case(10)
    listed = c.indices.tolist()
    f = jax.jit(lambda p: cx.csc.sparse_log_det(listed, p, c.x, L_nse=c.L_x.size))
    assert_close(f(c.indptr), reference("log_det", 10)[0], TOL["float64"])


@INDICES
def test_partial_inverse_refuses_a_pattern_that_lacks_fill(indices):
    c = case(10)
    error = StructureError if indices == "concrete" else jax.errors.JaxRuntimeError
    f = cx.csc.sparse_partial_inverse
    f = jax.jit(f) if indices == "traced" else f
    with pytest.raises(error, match="closed under fill"):
        jax.block_until_ready(f(*c.structure, c.x, *c.structure))


@INDICES
def test_partial_inverse_refuses_entries_outside_L(indices):
    c = case(10)
    outside = np.array([99], np.int32), np.array([0] + [1] * 100, np.int32)
    error = SparsityError if indices == "concrete" else jax.errors.JaxRuntimeError
    f = cx.csc.sparse_partial_inverse
    f = jax.jit(f) if indices == "traced" else f
    with pytest.raises(error, match=r"entry \(99, 0\)"):
        jax.block_until_ready(f(*c.L_structure, c.L_x, *outside))


def test_triangular_solve_takes_any_lower_triangle():
    """No fill is needed: A's own lower triangle is a lower-triangular matrix."""
    c = case(10)
    lower = np.tril(c.dense(c.x))
    for indices in (lambda f: f, jax.jit):
        got = indices(cx.csc.sparse_triangular_solve)(*c.structure, c.x, c.b)
        assert_close(got, np.linalg.solve(lower, c.b), TOL["float64"])


def test_indefinite_values_give_nan():
    c = case(10)
    assert np.isnan(cx.csc.sparse_log_det(*c.structure, -c.x))
    assert np.isnan(cx.csc.sparse_cholesky(*c.structure, -c.x)[2]).all()
    assert np.isnan(cx.csc.sparse_solve(*c.structure, -c.x, c.b)).all()


def test_lengths_and_dtypes_that_do_not_fit_are_refused():
    c = case(10)
    with pytest.raises(ShapeError, match="one value per index"):
        cx.csc.sparse_log_det(*c.structure, c.x[:-1])
    with pytest.raises(ShapeError, match=r"shape \(100,\) or \(100, k\), got \(99,\)"):
        cx.csc.sparse_solve(*c.structure, c.x, c.b[:-1])
    with pytest.raises(DtypeError, match="values float64, b float32"):
        cx.csc.sparse_solve(*c.structure, c.x, c.b.astype(np.float32))
    with pytest.raises(DtypeError, match="got int64"):
        cx.csc.sparse_log_det(*c.structure, np.ones(c.x.size, int))
