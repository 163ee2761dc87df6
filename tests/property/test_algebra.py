"""Every operation of `SparseMatrix` against its dense twin, under every transform.

Fixed patterns carry the compiled checks (compilation dominates); Hypothesis draws patterns, shapes
and values for the eager ones. The structural half alone is in tests/patterns/test_algebra.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cholax as cx

RTOL = 1e-12


def pattern_of(rows: Any, is_symmetric: bool = False) -> cx.Pattern:
    mask = np.array([[entry == "x" for entry in row] for row in rows])
    return cx.from_dense(mask.astype(float), symmetric=is_symmetric).pattern


def symmetric_pattern(rows: Any) -> cx.Pattern:
    lower = pattern_of(rows)
    return cx.from_coo(
        np.ones(lower.nnz), lower.rows, lower.columns, lower.shape, symmetric=True, half=True
    ).pattern


PATTERNS = {
    "A": pattern_of(["x.x.", "..xx", "xx.."]),  # 3×4
    "B": pattern_of([".xx.", "....", "x.xx"]),  # 3×4, an empty row
    "C": pattern_of(["x..", ".xx", "...", "xx."]),  # 4×3, an empty row
    "G": pattern_of([".x.x", "xx..", "..x.", "x..."]),  # 4×4, diagonal not full
    "S": symmetric_pattern(["x...", "xx..", "..x.", "x.xx"]),  # 4×4
    "T": symmetric_pattern(["x...", ".x..", "xxx.", "..xx"]),  # 4×4, entries (0, 2) and (1, 2)
}


def densify(values: jax.Array, pattern: cx.Pattern) -> jax.Array:
    """The slow twin of to_dense."""
    lower = jnp.zeros(pattern.shape, values.dtype).at[pattern.rows, pattern.columns].add(values)
    return lower + jnp.tril(lower, -1).T if pattern.symmetric else lower


class Case(NamedTuple):
    """One formula, evaluated on sparse and on dense matrices."""

    matrices: str  # names in PATTERNS
    vectors: tuple[tuple[int, ...], ...]
    sparse: Callable[..., Any]
    dense: Callable[..., Any]


CASES = {
    "add": Case("AB", (), lambda A, B: A + B, lambda A, B: A + B),
    "subtract": Case("AB", (), lambda A, B: A - B, lambda A, B: A - B),
    "add_symmetric": Case("ST", (), lambda S, T: S + T, lambda S, T: S + T),
    "subtract_mixed": Case("SG", (), lambda S, G: S - G, lambda S, G: S - G),
    "add_same_pattern": Case("S", (), lambda S: S + S, lambda S: S + S),
    "negate": Case("A", (), lambda A: -A, lambda A: -A),
    "scale": Case("A", ((),), lambda A, c: c * A, lambda A, c: c * A),
    "divide": Case("S", ((),), lambda S, c: S / c, lambda S, c: S / c),
    "matvec": Case("A", ((4,),), lambda A, x: A @ x, lambda A, x: A @ x),
    "matmat": Case("S", ((4, 2),), lambda S, X: S @ X, lambda S, X: S @ X),
    "vecmat": Case("A", ((3,),), lambda A, x: x @ A, lambda A, x: x @ A),
    "matmat_left": Case("G", ((2, 4),), lambda G, X: X @ G, lambda G, X: X @ G),
    "product": Case("AC", (), lambda A, C: A @ C, lambda A, C: A @ C),
    "product_symmetric": Case("ST", (), lambda S, T: S @ T, lambda S, T: S @ T),
    "product_mixed": Case("AS", (), lambda A, S: A @ S, lambda A, S: A @ S),
    "transpose": Case("A", (), lambda A: A.T, lambda A: A.T),
    "as_general": Case("S", (), lambda S: S.as_general(), lambda S: S),
    "symmetrize": Case("G", (), lambda G: G.symmetrize(), lambda G: 0.5 * (G + G.T)),
    "diagonal": Case("A", (), lambda A: A.diagonal(), jnp.diagonal),
    "diagonal_symmetric": Case("S", (), lambda S: S.diagonal(), jnp.diagonal),
    "add_diagonal": Case(
        "G", ((4,),), lambda G, d: G.add_diagonal(d), lambda G, d: G + jnp.diag(d)
    ),
    "add_scalar_diagonal": Case(
        "S", ((),), lambda S, c: S.add_diagonal(c), lambda S, c: S + c * jnp.eye(4)
    ),
    "scale_rows": Case("A", ((3,),), lambda A, d: A.scale_rows(d), lambda A, d: d[:, None] * A),
    "scale_columns": Case(
        "S", ((4,),), lambda S, d: S.scale_columns(d), lambda S, d: S * d[None, :]
    ),
    "submatrix": Case("A", (), lambda A: A[[2, 0, 2], 1:], lambda A: A[jnp.array([2, 0, 2]), 1:]),
    "permutation": Case(
        "S",
        (),
        lambda S: S[[2, 0, 3, 1], [2, 0, 3, 1]],
        lambda S: S[jnp.array([2, 0, 3, 1])][:, jnp.array([2, 0, 3, 1])],
    ),
    "row": Case("S", (), lambda S: S[1, :], lambda S: S[1, :]),
    "entry": Case("S", (), lambda S: S[0, 3], lambda S: S[0, 3]),
    "kron": Case("AC", (), cx.kron, jnp.kron),
    "kron_symmetric": Case("ST", (), cx.kron, jnp.kron),
    "block_diag": Case(
        "SA", (), lambda S, A: cx.block_diag([S, A]), lambda *M: jax.scipy.linalg.block_diag(*M)
    ),
    "hstack": Case("SG", (), lambda *M: cx.hstack(M), lambda *M: jnp.hstack(M)),
    "vstack": Case("AS", (), lambda *M: cx.vstack(M), lambda *M: jnp.vstack(M)),
    "block": Case(
        "AS",
        (),
        lambda A, S: cx.block([[A, None], [S, S]]),
        lambda A, S: jnp.block([[A, jnp.zeros((3, 4))], [S, S]]),
    ),
    "block_symmetric": Case(
        "ACS",
        (),
        lambda A, C, S: cx.block([[S, None], [A + C.T, None]], symmetric=True),
        lambda A, C, S: jnp.block([[S, A.T + C], [A + C.T, jnp.zeros((3, 3))]]),
    ),
    "congruence": Case("A", ((3,),), cx.congruence, lambda A, d: A.T @ jnp.diag(d) @ A),
    "congruence_symmetric": Case("S", (), cx.congruence, lambda S: S.T @ S),
    "quadratic_form": Case("S", ((4,),), cx.quadratic_form, lambda S, x: x @ S @ x),
    "quadratic_form_general": Case("G", ((4,),), cx.quadratic_form, lambda G, x: x @ G @ x),
    "trace_product": Case("AC", (), cx.trace_product, lambda A, C: jnp.trace(A @ C)),
    "trace_symmetric": Case("ST", (), cx.trace_product, lambda S, T: jnp.trace(S @ T)),
    "trace_mixed": Case("SG", (), cx.trace_product, lambda S, G: jnp.trace(S @ G)),
    "tril": Case("S", (), lambda S: cx.tril(S, 1), lambda S: jnp.tril(S, 1)),
}


def as_dense(result: Any) -> jax.Array:
    return result.to_dense() if isinstance(result, cx.SparseMatrix) else result


def functions(case: Case) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
    """The case as two functions of value arrays and vectors."""
    patterns = [PATTERNS[name] for name in case.matrices]

    def sparse(*arrays: jax.Array) -> jax.Array:
        values, vectors = arrays[: len(patterns)], arrays[len(patterns) :]
        return as_dense(case.sparse(*map(cx.SparseMatrix, values, patterns), *vectors))

    def dense(*arrays: jax.Array) -> jax.Array:
        values, vectors = arrays[: len(patterns)], arrays[len(patterns) :]
        return case.dense(*map(densify, values, patterns), *vectors)

    return sparse, dense


def random_arrays(case: Case, seed: int, *batch: int) -> tuple[jax.Array, ...]:
    rng = np.random.default_rng(seed)
    shapes = [(PATTERNS[name].nnz,) for name in case.matrices]
    return tuple(jnp.asarray(rng.uniform(0.5, 2, (*batch, *s))) for s in (*shapes, *case.vectors))


@pytest.mark.parametrize("name", CASES)
def test_operation_equals_its_dense_twin_in_value_jvp_vjp_and_vmap(name):
    case = CASES[name]
    sparse, dense = functions(case)
    arrays, tangents = random_arrays(case, 0), random_arrays(case, 1)
    batch = random_arrays(case, 2, 2)
    weights = jax.random.normal(jax.random.key(0), jax.eval_shape(dense, *arrays).shape)

    def everything(f, arrays, tangents, batch):
        value, tangent = jax.jvp(f, arrays, tangents)
        cotangents = jax.vjp(f, *arrays)[1](weights)
        return f(*arrays), value, tangent, cotangents, jax.vmap(f)(*batch)

    compiled = jax.jit(everything, static_argnums=0)
    expected = compiled(dense, arrays, tangents, batch)
    got = compiled(sparse, arrays, tangents, batch)
    jax.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=RTOL, atol=RTOL), got, expected)


@pytest.mark.parametrize("name", ["product", "congruence", "quadratic_form", "trace_symmetric"])
def test_second_derivatives_equal_those_of_the_dense_twin(name):
    case = CASES[name]
    arrays, tangents = random_arrays(case, 0), random_arrays(case, 1)

    def hessian_vector(f):
        scalar = lambda *a: jnp.sum(jnp.sin(f(*a)))  # noqa: E731
        gradient = jax.grad(scalar, argnums=tuple(range(len(arrays))))
        return jax.jit(lambda a, t: jax.jvp(gradient, a, t)[1])(arrays, tangents)

    got, expected = map(hessian_vector, functions(case))
    jax.tree.map(
        lambda g, e: np.testing.assert_allclose(g, e, rtol=1e-10, atol=RTOL), got, expected
    )


def test_vmap_over_values_alone_keeps_the_other_operands_single():
    patterns = PATTERNS["A"], PATTERNS["C"]
    a, c = jnp.ones((3, patterns[0].nnz)), jnp.arange(1.0, 1.0 + patterns[1].nnz)
    C = cx.SparseMatrix(c, patterns[1])
    out = jax.vmap(lambda v: cx.SparseMatrix(v, patterns[0]) @ C)(a)
    assert out.values.shape[0] == 3
    expected = densify(a[0], patterns[0]) @ densify(c, patterns[1])
    np.testing.assert_allclose(jax.vmap(lambda A: A.to_dense())(out)[2], expected, rtol=RTOL)


@st.composite
def entry_lists(draw, rows: int, columns: int):
    """Shuffled entries with duplicates and values that add exactly."""
    k = draw(st.integers(0, 6)) if rows and columns else 0
    pick = lambda top: draw(st.lists(st.integers(0, top), min_size=k, max_size=k))  # noqa: E731
    values = np.array(pick(63), float) / 8.0
    return values, np.array(pick(max(rows - 1, 0)), int), np.array(pick(max(columns - 1, 0)), int)


def build(entries, shape):
    values, rows, columns = entries
    dense = np.zeros(shape)
    np.add.at(dense, (rows, columns), values)
    return cx.from_coo(values, rows, columns, shape), dense


EAGER = settings(max_examples=12, deadline=None, derandomize=True)
SHAPES = st.sampled_from([(0, 0), (0, 2), (1, 1), (1, 3), (3, 1), (3, 4)])


@given(st.data(), SHAPES)
@EAGER
def test_drawn_matrices_add_multiply_and_transpose_as_dense_ones(data, shape):
    A, a = build(data.draw(entry_lists(*shape)), shape)
    B, b = build(data.draw(entry_lists(*shape)), shape)
    np.testing.assert_array_equal((A - B).to_dense(), a - b)
    np.testing.assert_array_equal((A @ B.T).to_dense(), a @ b.T)
    np.testing.assert_array_equal(cx.congruence(A).to_dense(), a.T @ a)
    np.testing.assert_array_equal(cx.trace_product(A, B.T), np.trace(a @ b.T))
    np.testing.assert_array_equal(A @ np.ones(shape[1]), a @ np.ones(shape[1]))


@given(st.data(), st.integers(0, 4))
@EAGER
def test_drawn_symmetric_matrices_keep_their_half(data, n):
    G, g = build(data.draw(entry_lists(n, n)), (n, n))
    S = cx.from_scipy((G + G.T).to_scipy(), symmetric=True)
    s = g + g.T
    np.testing.assert_array_equal(S.to_dense(), s)
    np.testing.assert_array_equal((S + G).to_dense(), s + g)
    np.testing.assert_array_equal((2 * G).symmetrize().to_dense(), s)
    np.testing.assert_array_equal(S.add_diagonal(0.5).to_dense(), s + 0.5 * np.eye(n))
    np.testing.assert_array_equal(cx.quadratic_form(S, np.ones(n)), s.sum())
    np.testing.assert_array_equal(cx.trace_product(S, S), np.trace(s @ s))
