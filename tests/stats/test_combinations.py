"""Variances of linear combinations from both kinds of factors, against dense twins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
import cholax.stats as cs
from cholax.errors import DtypeError, ShapeError
from cholax.stats.constraints import _elimination
from tests.stats.fields import (
    N,
    Twin,
    dense_of,
    derivatives,
    islands_null_space,
    laplacian,
    regular,
    sparse,
)
from tests.tolerances import assert_close, gradient, value

RNG = np.random.default_rng(11)
V = islands_null_space()
GROUPS = np.zeros((2, N))
GROUPS[0, [0, 2, 5]], GROUPS[1, [1, 6]] = [1.0, -2.0, 0.5], 1.0
# Two rows inside the factor, one of variables that it does not couple, one empty, one of all.
COMBINATIONS = np.zeros((4, N))
COMBINATIONS[0, [0, 1]], COMBINATIONS[1, 4] = [1.0, -2.0], 3.0
COMBINATIONS[2, [1, 6]] = [1.0, 0.7]
FULL = np.vstack([COMBINATIONS, RNG.normal(size=N)])

# matrix, rows, options
CASES = {
    "no constraints": (regular(), None, {}),
    "intrinsic": (laplacian(), V.T, {"null_space": V}),
    "eliminated": (regular(), GROUPS, {"fixing": ()}),
}


@pytest.fixture(params=CASES)
def case(request, monkeypatch):
    """The dense matrix, its rows, and a factorisation of a matrix on its pattern."""
    D, A, options = CASES[request.param]
    if request.param == "eliminated":
        monkeypatch.setattr(_elimination, "MANY", 2)
    if A is None:
        return D, A, cx.cholesky
    constraints = cs.Constraints(A)
    assert (constraints.rows.local is not None) == (request.param == "eliminated")
    return D, A, lambda Q: cs.constrained_cholesky(Q, constraints, **options)


@pytest.mark.parametrize(
    ("case", "B"),
    [
        pytest.param("intrinsic", COMBINATIONS, id="intrinsic, few pairs"),
        *(
            pytest.param(name, B, id=f"{name}, {pairs} pairs", marks=pytest.mark.slow)
            for name in CASES
            for pairs, B in (("few", COMBINATIONS), ("all", FULL))
            if (name, pairs) != ("intrinsic", "few")
        ),
    ],
    indirect=["case"],
)
def test_variances_and_both_derivatives_equal_the_dense_twin(case, B):
    D, A, factor = case
    Q, C = sparse(D), cx.from_dense(jnp.asarray(B))
    weights = np.linspace(0.5, 1.5, len(B))

    def sparse_way(arguments):
        q, b = arguments
        variances = factor(cx.SparseMatrix(q, Q.pattern)).combination_variance(
            cx.SparseMatrix(b, C.pattern)
        )
        return jnp.sum(jnp.sin(variances) * weights)

    def dense_way(arguments):
        q, b = arguments
        M = jnp.zeros(B.shape).at[C.pattern.rows, C.pattern.columns].set(b)
        covariance = Twin(dense_of(Q.pattern, q), A).covariance
        return jnp.sum(jnp.sin((M @ covariance @ M.T).diagonal()) * weights)

    at = Q.values, C.values
    direction = RNG.normal(size=Q.nnz), RNG.normal(size=C.nnz)
    got, want = derivatives(sparse_way)(at, direction), derivatives(dense_way)(at, direction)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert_close(one, other, gradient(np.float64))


def test_arrays_sparse_matrices_and_batches_agree(case):
    D, A, factor = case
    Q, C = sparse(D), cx.from_dense(jnp.asarray(COMBINATIONS))
    want = (COMBINATIONS @ Twin(D, A).covariance @ COMBINATIONS.T).diagonal()
    F = factor(Q)
    assert_close(F.combination_variance(COMBINATIONS), want, value(np.float64))
    assert_close(F.combination_variance(C), want, value(np.float64))
    scales = jnp.array([1.0, 4.0])
    batched = jax.jit(
        jax.vmap(
            lambda s: factor(s * Q).combination_variance(cx.SparseMatrix(2 * C.values, C.pattern))
        )
    )(scales)
    assert_close(batched, 4 * want / scales[:, None], value(np.float64))


def test_variances_of_a_failed_factorisation_are_nan(case):
    D, _, factor = case
    F = factor(sparse(-D))
    for B in (COMBINATIONS, cx.from_dense(jnp.asarray(COMBINATIONS[:3]))):
        assert np.isnan(F.combination_variance(B)[:3]).all()


def test_holding_keeps_a_factor_that_has_the_entries_and_extends_another(case):
    D, A, factor = case
    F, far = factor(sparse(D)), cx.from_coo(np.ones(2), [7, 0], [0, 6], (N, N)).pattern
    own = F.holding(sparse(D).pattern)
    assert getattr(own, "factor", own).plan == getattr(F, "factor", F).plan
    wide = F.holding(far)
    covariance = Twin(D, A).covariance
    assert_close(wide.selected_inverse(far).to_dense()[0, 6], covariance[0, 6], value(np.float64))
    assert_close(wide.log_det(), F.log_det(), value(np.float64))


def test_combinations_of_another_number_of_variables_are_refused(case):
    _, _, factor = case
    F = factor(sparse(CASES["no constraints"][0]))
    with pytest.raises(ShapeError, match="One row per linear combination"):
        F.combination_variance(np.ones(N))
    with pytest.raises(DtypeError):
        F.combination_variance(np.ones((1, N), np.float32))
