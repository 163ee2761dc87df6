"""`lineax.linear_solve` with sparse operators and solvers, against dense ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from cholax.testing import count_kernel_calls
from tests import tolerances as tol

lx = pytest.importorskip("lineax")
eqx = pytest.importorskip("equinox")

from cholax.integrations.lineax import (  # noqa: E402
    LU,
    Cholesky,
    SparseMatrixLinearOperator,
    sparse_matrix,
)

N = 6
RNG = np.random.default_rng(3)
PSD, NSD = lx.positive_semidefinite_tag, lx.negative_semidefinite_tag


def unsymmetric(n=N):
    D = RNG.standard_normal((n, n)) * (RNG.random((n, n)) < 0.4)
    D[np.arange(n), RNG.permutation(n)] += 3.0
    return cx.from_dense(D)


def definite():
    C = RNG.standard_normal((N, N)) * (RNG.random((N, N)) < 0.3)
    return cx.from_dense(C @ C.T + 2 * np.eye(N), symmetric=True)


A, Q = unsymmetric(), definite()
B, DB = RNG.standard_normal((2, N))
# Solver, matrix, sign, tags.
CASES = {
    "lu": (LU(), A, 1, ()),
    "lu_of_symmetric": (LU("amd"), Q, 1, ()),
    "cholesky": (Cholesky(), Q, 1, PSD),
    "cholesky_of_negative": (Cholesky("natural"), Q, -1, NSD),
    "cholesky_of_general_storage": (Cholesky(), Q.as_general(), 1, PSD),
}


def sparse_solve(case, values, b, **options):
    solver, matrix, sign, tags = CASES[case]
    operator = SparseMatrixLinearOperator(cx.SparseMatrix(sign * values, matrix.pattern), tags)
    return lx.linear_solve(operator, b, solver, **options)


def solve(case, values, b):
    return sparse_solve(case, values, b).value


def twin(case, values, b):
    """The dense solver of lineax, with the same tags."""
    solver, matrix, sign, tags = CASES[case]
    D = cx.SparseMatrix(sign * values, matrix.pattern).to_dense()
    dense = lx.Cholesky() if isinstance(solver, Cholesky) else lx.LU()
    return lx.linear_solve(lx.MatrixLinearOperator(D, tags), b, dense).value


def close(got, want, tolerance=None):
    tol.assert_all_close(
        jax.tree.leaves(got), jax.tree.leaves(want), tolerance or tol.gradient(np.float64)
    )


# Everything runs once: compiling less thoroughly saves half of the time.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def scalar(f):
    return lambda v, b: jnp.sum(jnp.sin(f(v, b)))


TRANSFORMS = {
    "value": lambda f: f,
    "jvp": lambda f: lambda v, b: jax.jvp(f, (v, b), (jnp.cos(v), jnp.cos(b)))[1],
    "grad": lambda f: jax.grad(scalar(f), (0, 1)),
    "jvp_of_grad": lambda f: (
        lambda v, b: jax.jvp(jax.grad(scalar(f), (0, 1)), (v, b), (jnp.cos(v), jnp.cos(b)))[1]
    ),
    "grad_of_grad": lambda f: jax.grad(
        lambda v, b: sum(jnp.vdot(g, jnp.cos(g)) for g in jax.grad(scalar(f), (0, 1))(v, b)), (0, 1)
    ),
}


@pytest.mark.parametrize(
    ("case", "transform"),
    [(case, "grad") for case in CASES]
    + [(case, t) for case in ("lu", "cholesky") for t in TRANSFORMS if t != "grad"],
)
def test_solve_and_derivatives_match_the_dense_solver(case, transform):
    values, run = CASES[case][1].values, TRANSFORMS[transform]
    got = quick(run(partial(solve, case)))(values, B)
    close(got, quick(run(partial(twin, case)))(values, B))


@pytest.mark.slow
@pytest.mark.parametrize("axes", [(0, None), (0, 0)])
@pytest.mark.parametrize("transform", ["jvp", "grad"])
@pytest.mark.parametrize("case", ["lu", "cholesky"])
def test_vmap_of_solve_and_derivatives(case, transform, axes):
    values = np.asarray(CASES[case][1].values)
    point = [values, B]
    for i, axis in enumerate(axes):
        if axis == 0:
            point[i] = point[i] * np.array([[1.0], [0.9], [1.1]])
    run = TRANSFORMS[transform]
    got = quick(jax.vmap(run(partial(solve, case)), axes))(*point)
    close(got, quick(jax.vmap(run(partial(twin, case)), axes))(*point))


@pytest.mark.parametrize(("case", "kernel"), [("lu", "lu_factor"), ("cholesky", "cholesky")])
def test_gradient_makes_one_factorisation(case, kernel):
    run = jax.jit(jax.value_and_grad(scalar(partial(solve, case)), (0, 1)))
    values = CASES[case][1].values
    jax.block_until_ready(run(values, B))
    with count_kernel_calls() as calls:
        jax.block_until_ready(run(values, B))
    assert calls[kernel] == 1


@pytest.mark.parametrize("case", ["lu", "cholesky"])
def test_state_is_reused(case):
    solver, matrix, _, tags = CASES[case]
    operator = SparseMatrixLinearOperator(matrix, tags)
    state = solver.init(operator, {})
    with count_kernel_calls() as calls:
        got = [lx.linear_solve(operator, b, solver, state=state).value for b in (B, DB)]
        jax.block_until_ready(got)
    assert calls["lu_factor"] == calls["cholesky"] == 0
    close(got, [twin(case, matrix.values, b) for b in (B, DB)])


def test_transposed_state_solves_the_transposed_operator():
    solver, operator = LU(), SparseMatrixLinearOperator(A)
    state, _ = solver.transpose(solver.init(operator, {}), {})
    got = lx.linear_solve(operator.transpose(), B, solver, state=state).value
    close(got, jnp.linalg.solve(A.to_dense().T, B))


@pytest.mark.parametrize("case", ["lu", "cholesky"])
def test_singular_operator_gives_the_result_code_and_nan(case):
    solution = sparse_solve(case, jnp.zeros_like(CASES[case][1].values), B, throw=False)
    assert solution.result == lx.RESULTS.singular
    assert np.all(np.isnan(solution.value))
    with pytest.raises(RuntimeError, match="singular"):
        sparse_solve(case, jnp.zeros_like(CASES[case][1].values), B)


# --- pytrees and operators of other kinds ---------------------------------------------------------


def pytree_operator():
    """A as a map from {"a": (2, 2), "b": (2,)} to ((3,), (3,))."""
    source = {"a": jax.ShapeDtypeStruct((2, 2), A.dtype), "b": jax.ShapeDtypeStruct((2,), A.dtype)}
    target = (jax.ShapeDtypeStruct((3,), A.dtype),) * 2
    return SparseMatrixLinearOperator(A, in_structure=source, out_structure=target)


def test_pytrees_are_flattened_leaf_by_leaf():
    operator = pytree_operator()
    b = (jnp.asarray(B[:3]), jnp.asarray(B[3:]))
    x = lx.linear_solve(operator, b, LU()).value
    close(jnp.concatenate([x["a"].ravel(), x["b"]]), jnp.linalg.solve(A.to_dense(), B))
    close(operator.mv(x), b)
    transposed = operator.transpose()
    assert transposed.in_structure() == operator.out_structure()
    close(transposed.mv(b)["b"], (A.to_dense().T @ B)[4:])


def test_gradient_through_pytrees():
    def loss(b):
        x = lx.linear_solve(pytree_operator(), b, LU()).value
        return jnp.sum(x["a"] ** 2) + jnp.sum(x["b"])

    got = jax.grad(loss)((jnp.asarray(B[:3]), jnp.asarray(B[3:])))
    D = A.to_dense()
    want = jax.grad(
        lambda b: (lambda x: jnp.sum(x[:4] ** 2) + jnp.sum(x[4:]))(jnp.linalg.solve(D, b))
    )(jnp.asarray(B))
    close(jnp.concatenate(got), want)


def residual(x, args):
    """Tridiagonal and unsymmetric."""
    return args * x**3 + 2 * x + jnp.concatenate([x[1:] ** 2, x[:1] * 0]) - 0.5 * jnp.roll(x, 1)


FUNCTIONS = {
    "jacobian": lambda x: lx.JacobianLinearOperator(residual, x, 0.3),
    "jacobian_by_reverse_mode": lambda x: lx.JacobianLinearOperator(residual, x, 0.3, jac="bwd"),
    "linearised": lambda x: lx.linearise(lx.JacobianLinearOperator(residual, x, 0.3)),
    "sum": lambda x: lx.JacobianLinearOperator(residual, x, 0.3) + SparseMatrixLinearOperator(A),
    "product": lambda x: (
        SparseMatrixLinearOperator(A) @ lx.JacobianLinearOperator(residual, x, 0.3)
    ),
    "multiple": lambda x: -2.0 * lx.JacobianLinearOperator(residual, x, 0.3) / 3.0,
    "diagonal": lambda x: (
        lx.DiagonalLinearOperator(x)
        + lx.IdentityLinearOperator(jax.ShapeDtypeStruct(x.shape, x.dtype))
    ),
    "tridiagonal": lambda x: lx.TridiagonalLinearOperator(x + 4, x[1:], 2 * x[1:]),
    "dense": lambda x: lx.MatrixLinearOperator(A.to_dense() + jnp.diag(x)),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_other_operators_have_the_sparse_matrix_of_their_dense_one(kind):
    operator = FUNCTIONS[kind](jnp.asarray(RNG.uniform(1, 2, N)))
    close(
        quick(lambda: sparse_matrix(operator).to_dense())(), quick(lambda: operator.as_matrix())()
    )


@pytest.mark.parametrize("kind", ["jacobian", "product"])
def test_other_operators_are_solved_and_differentiated(kind):
    def run(x, solver):
        return jnp.sum(jnp.sin(lx.linear_solve(FUNCTIONS[kind](x), B, solver).value))

    x = jnp.asarray(RNG.uniform(1, 2, N))
    got = quick(jax.value_and_grad(partial(run, solver=LU())))(x)
    close(got, quick(jax.value_and_grad(partial(run, solver=lx.LU())))(x))


def test_given_sparsity_is_used_and_its_shape_checked():
    D = np.eye(N) + np.roll(np.eye(N), 1, axis=1) + np.roll(np.eye(N), -1, axis=1)
    pattern = cx.from_dense(D).pattern
    operator = FUNCTIONS["jacobian"](jnp.asarray(B))
    found = sparse_matrix(operator, sparsity=pattern)
    assert found.pattern == pattern
    close(
        lx.linear_solve(operator, B, LU(sparsity=pattern)).value,
        jnp.linalg.solve(operator.as_matrix(), B),
    )
    with pytest.raises(cx.errors.StructureError, match=f"must be {N}×{N}"):
        sparse_matrix(operator, sparsity=cx.eye(N + 1).pattern)


def test_symmetric_sparsity_does_not_make_values_symmetric():
    D = np.eye(N) + np.roll(np.eye(N), 1, axis=1) + np.roll(np.eye(N), -1, axis=1)
    pattern = cx.from_dense(D, symmetric=True).pattern
    for kind in ("jacobian", "dense_band"):
        operator = FUNCTIONS["jacobian"](jnp.asarray(B))
        if kind == "dense_band":
            operator = lx.MatrixLinearOperator(operator.as_matrix())
        close(sparse_matrix(operator, sparsity=pattern).to_dense(), operator.as_matrix())


def test_sparsity_that_misses_an_entry_is_never_silent():
    operator = lx.MatrixLinearOperator(jnp.ones((2, 2)))
    found = quick(lambda: sparse_matrix(operator, sparsity=cx.eye(2).pattern).values)()
    assert np.all(np.isnan(found))
    functional = FUNCTIONS["jacobian"](jnp.asarray(B))
    missing = cx.eye(N).pattern
    assert np.all(np.isnan(quick(lambda: sparse_matrix(functional, sparsity=missing).values)()))


def test_properties_follow_from_pattern_and_tags():
    D = np.diag([1.0, 2.0, 3.0])
    diagonal, lower = (
        SparseMatrixLinearOperator(cx.from_dense(x)) for x in (D, D + np.eye(3, k=-1))
    )
    full = SparseMatrixLinearOperator(cx.from_dense(np.ones((3, 3))))
    assert lx.is_diagonal(diagonal)
    assert lx.is_lower_triangular(lower)
    assert lx.is_tridiagonal(lower)
    assert not lx.is_diagonal(lower)
    assert not lx.is_upper_triangular(lower)
    assert lx.is_upper_triangular(lower.transpose())
    assert not lx.is_tridiagonal(full)
    assert not lx.is_symmetric(full)
    assert lx.is_symmetric(SparseMatrixLinearOperator(Q))
    assert not lx.is_positive_semidefinite(SparseMatrixLinearOperator(Q))
    assert lx.is_negative_semidefinite(SparseMatrixLinearOperator(Q, NSD))
    tagged = SparseMatrixLinearOperator(cx.from_dense(np.ones((3, 3))), lx.lower_triangular_tag)
    assert lx.is_lower_triangular(tagged)
    assert lx.is_upper_triangular(tagged.transpose())


def test_diagonals_are_those_of_the_dense_matrix():
    for matrix in (A, Q):
        operator = SparseMatrixLinearOperator(matrix)
        D = matrix.to_dense()
        close(lx.diagonal(operator), jnp.diag(D))
        close(lx.tridiagonal(operator), [jnp.diag(D), jnp.diag(D, -1), jnp.diag(D, 1)])


def test_contract_failures_raise():
    with pytest.raises(cx.errors.StructureError, match="SparseMatrix"):
        SparseMatrixLinearOperator(np.eye(2))
    with pytest.raises(cx.errors.StructureError, match="must hold 6 entries, got 5"):
        SparseMatrixLinearOperator(A, in_structure=jax.ShapeDtypeStruct((5,), A.dtype))
    with pytest.raises(cx.errors.StructureError, match="positive_semidefinite_tag"):
        lx.linear_solve(SparseMatrixLinearOperator(Q), B, Cholesky())
    wide = SparseMatrixLinearOperator(cx.from_dense(np.ones((2, 3))))
    with pytest.raises(cx.errors.StructureError, match="square, got 2×3"):
        lx.linear_solve(wide, jnp.ones(2), LU())


def test_operator_passes_through_filter_jit():
    run = eqx.filter_jit(lambda operator, b: lx.linear_solve(operator, b, LU()).value)
    close(run(SparseMatrixLinearOperator(A), B), jnp.linalg.solve(A.to_dense(), B))
