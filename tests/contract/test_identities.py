"""What the primitives are to each other: inverses, transposes, and what they are made of."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cholax import primitives as P
from cholax.primitives import EntryMap, Triples, csc_of, diagonal_map, value_map
from cholax.primitives._structures import as_ref
from tests import tolerances as tol
from tests.contract.patterns import Problem, general_pattern, problems, support

SIZES = st.one_of(st.integers(1, 20), st.integers(40, 120))


class Drawn:
    """A problem's plan, factor, and random vectors on the filled pattern."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.plan = problem.plan
        self.n = problem.n
        self.values = problem.values()
        self.factor = problem.factor(self.plan)
        self.rng = np.random.default_rng(problem.seed + 1)

    def on_factor(self) -> np.ndarray:
        kept = support(self.plan)
        return self.rng.standard_normal(kept.size) * kept

    def columns(self, rows: int | None = None) -> np.ndarray:
        return self.rng.standard_normal((self.n if rows is None else rows, 3))


drawn = problems(SIZES).map(Drawn)


def assert_same(got, expected, scale=1.0):
    tol.assert_close(got, expected, tol.gradient(np.float64), scale)


def assert_same_product(a, b, c, d):
    """⟨a, b⟩ = ⟨c, d⟩."""
    a, b, c, d = (np.asarray(x) for x in (a, b, c, d))
    assert_same(np.vdot(a, b), np.vdot(c, d), float(np.sum(np.abs(a * b))))


@given(drawn)
def test_cotangent_is_the_transpose_of_tangent(d):
    w, x = d.on_factor(), d.on_factor()
    forward = P.cholesky_tangent(d.plan, d.factor, w)
    assert_same_product(forward, x, w, P.cholesky_cotangent(d.plan, d.factor, x))


@given(drawn)
def test_symmetric_product_is_symmetric_and_transposed_by_its_transpose(d):
    x, w = d.on_factor(), d.on_factor()
    product = P.symmetric_product(d.plan, d.factor, x)
    assert_same(product, P.symmetric_product(d.plan, x, d.factor))
    assert_same_product(product, w, x, P.symmetric_product_transpose(d.plan, d.factor, w))
    assert_same_product(product, w, d.factor, P.symmetric_product_transpose(d.plan, x, w))


@given(drawn)
def test_tangent_inverts_the_symmetric_product(d):
    x = d.on_factor()
    product = P.symmetric_product(d.plan, d.factor, x)
    assert_same(P.cholesky_tangent(d.plan, d.factor, product), x)
    transposed = P.symmetric_product_transpose(d.plan, d.factor, x)
    assert_same(P.cholesky_cotangent(d.plan, d.factor, transposed), x)


@given(drawn)
def test_tangent_in_the_direction_of_the_matrix_is_half_the_factor(d):
    on_filled = P.scatter(value_map(as_ref(d.plan)), d.values)
    assert_same(P.cholesky_tangent(d.plan, d.factor, on_filled), d.factor / 2)


@given(drawn)
def test_selected_inverse_is_a_cotangent_and_inverts_the_matrix(d):
    on_diagonal = diagonal_map(as_ref(d.plan))
    source = P.scatter(on_diagonal, 2 / P.gather(on_diagonal, d.factor))
    weighted = P.selected_inverse(d.plan, d.factor)
    assert_same(weighted, P.cholesky_cotangent(d.plan, d.factor, source))
    trace = np.vdot(P.gather(value_map(as_ref(d.plan)), weighted), d.values)
    assert_same(trace, float(d.n))


@given(drawn)
def test_log_determinant_is_twice_the_logarithms_of_the_diagonal(d):
    diagonal = np.asarray(P.gather(diagonal_map(as_ref(d.plan)), d.factor))
    expected = 2 * np.sum(np.log(diagonal))
    assert_same(P.log_determinant(d.plan, d.values, d.factor), expected)


@given(drawn)
def test_triangular_solve_inverts_factor_matvec(d):
    x = d.columns()
    for transpose in (False, True):
        product = P.factor_matvec(d.plan, d.factor, x, transpose=transpose)
        assert_same(P.triangular_solve(d.plan, d.factor, product, transpose=transpose), x)


@given(drawn)
def test_factor_outer_is_the_transpose_of_factor_matvec(d):
    x, y, values = d.columns(), d.columns(), d.on_factor()
    product = P.factor_matvec(d.plan, values, x, transpose=False)
    assert_same_product(product, y, values, P.factor_outer(d.plan, y, x))
    assert_same_product(product, y, x, P.factor_matvec(d.plan, values, y, transpose=True))


@given(drawn)
def test_solve_is_made_of_half_solves_and_inverts_matvec(d):
    b = d.columns()
    x = P.permute(d.plan, b, transpose=False)
    for transpose in (False, True):
        x = P.triangular_solve(d.plan, d.factor, x, transpose=transpose)
    x = P.permute(d.plan, x, transpose=True)
    assert_same(P.solve(d.plan, d.values, d.factor, b), x)
    assert_same(P.matvec(csc_of(d.problem.pattern), d.values, x), b)


@given(drawn)
def test_factor_times_its_transpose_is_the_permuted_matrix(d):
    x = d.columns()
    y = P.permute(d.plan, x, transpose=False)
    for transpose in (True, False):
        y = P.factor_matvec(d.plan, d.factor, y, transpose=transpose)
    expected = P.matvec(csc_of(d.problem.pattern), d.values, x)
    assert_same(P.permute(d.plan, y, transpose=True), expected)


@given(drawn)
def test_permute_is_orthogonal(d):
    x = d.columns()
    there = P.permute(d.plan, x, transpose=False)
    np.testing.assert_array_equal(there, x[d.plan.perm])
    np.testing.assert_array_equal(P.permute(d.plan, there, transpose=True), x)


@given(drawn, st.booleans())
def test_scatter_is_the_transpose_of_gather(d, weighted):
    size, length = d.n + 1, 2 * d.n
    weights = d.rng.standard_normal(length) if weighted else None
    entry_map = EntryMap(d.rng.integers(-1, size, length), size, weights)
    x, y = d.rng.standard_normal(size), d.rng.standard_normal(length)
    assert_same_product(P.gather(entry_map, x), y, x, P.scatter(entry_map, y))


@given(drawn)
def test_contract_with_exchanged_roles_is_its_transpose(d):
    sizes = (d.n, d.n + 1, d.n + 2)
    index = [d.rng.integers(0, size, 4 * d.n) for size in sizes]
    a, b, c = (d.rng.standard_normal(size) for size in sizes)
    product = P.contract(Triples(*index, sizes), a, b)
    np.testing.assert_allclose(
        product, np.bincount(index[2], a[index[0]] * b[index[1]], sizes[2]), atol=1e-12
    )
    left, right, out = index
    exchanged = Triples(out, right, left, (sizes[2], sizes[1], sizes[0]))
    assert_same_product(product, c, a, P.contract(exchanged, c, b))


@given(drawn, st.booleans())
def test_outer_on_pattern_is_the_transpose_of_matvec(d, symmetric):
    pattern = d.problem.pattern if symmetric else general_pattern(d.problem)
    rows, cols = pattern.shape
    values = d.rng.standard_normal(pattern.nnz)
    x, y = d.columns(cols), d.columns(rows)
    product = P.matvec(pattern, values, x)
    assert_same_product(product, y, values, P.outer_on_pattern(pattern, y, x))
    assert_same_product(product, y, x, P.matvec(pattern, values, y, True))
