"""One NaN among 20 000 values is seen: maxima of some CPU backends drop it, see `_core.norms`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
import cholax.stats as cs

N = 20_000


def chain(dtype=np.float64):
    ones = np.ones(N - 1, dtype)
    diagonal = np.full(N, 2.5, dtype)
    return cx.diags([diagonal, -ones], [0, -1], symmetric=True)


def spoiled(matrix, place=N // 2):
    return cx.SparseMatrix(matrix.values.at[place].set(jnp.nan), matrix.pattern)


def log_joint(u, theta, y):
    return jnp.sum(y * u - jnp.exp(u)) - 0.5 * jnp.exp(theta) * jnp.sum(u**2)


def counts():
    return np.random.default_rng(0).poisson(2.0, N).astype(float)


def test_laplace_with_one_missing_count_has_not_converged():
    model, y = cs.laplace(log_joint, np.zeros(N)), counts()
    assert bool(model(0.3, y).status.converged)
    y[N // 2] = np.nan
    result = model(0.3, y)
    assert not bool(result.status.converged)
    assert np.isnan(result.log_marginal)
    assert np.isnan(result.mode).all()


@pytest.mark.slow
def test_a_fit_to_one_missing_count_has_not_converged():
    y = counts()
    y[N // 2] = np.nan
    fit = cs.fit_ml(cs.laplace(log_joint, np.zeros(N)), 0.3, y)
    assert not fit.status.converged


@pytest.mark.parametrize("dtype", [np.float64, pytest.param(np.float32, marks=pytest.mark.slow)])
def test_factor_of_a_precision_with_one_nan_is_not_ok(dtype):
    Q = chain(dtype)
    sum_to_zero = cs.Constraints(np.ones(N, dtype))
    for constraints in (None, sum_to_zero):
        for precision, ok in ((Q, True), (spoiled(Q), False)):
            factor = cs.GMRF(0.0, precision, constraints).factor()
            assert bool(factor.ok) == ok
            assert bool(jnp.isnan(factor.log_det())) != ok
    constrained = cs.constrained_cholesky(spoiled(Q), sum_to_zero)
    assert not bool(constrained.ok)
    assert np.isnan(constrained.solve(np.ones(N, dtype))).all()


def test_field_with_one_nan_in_its_mean_or_at_its_point_has_no_density():
    Q, mean = chain(), np.zeros(N)
    mean[N // 2] = np.nan
    assert np.isnan(cs.GMRF(mean, Q).log_prob(np.zeros(N)))
    assert np.isnan(cs.GMRF(0.0, Q).log_prob(mean))
    assert np.isnan(cs.GMRF(0.0, spoiled(Q)).log_prob(np.zeros(N)))


@pytest.mark.slow
def test_draws_of_a_field_with_one_nan_are_nan():
    field = cs.GMRF(0.0, spoiled(chain()), cs.Constraints(np.ones(N)))
    assert np.isnan(field.sample(jax.random.key(0))).all()
    assert np.isnan(field.marginal_variance()).all()


def test_solution_for_a_right_hand_side_with_one_nan_is_not_finite():
    b = np.ones(N)
    b[N // 2] = np.nan
    factor = cs.constrained_cholesky(chain(), cs.Constraints(np.ones(N)))
    assert np.isnan(factor.solve(b)).any()
