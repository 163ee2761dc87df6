"""Linear mixed models for every ratio of group effects to residuals, against closed forms."""

import warnings

import numpy as np
import pytest

import cholax.stats as cs
from cholax._core.errors import ArgumentError
from cholax.stats._lmm._optimize import minimize


def one_way(levels, rows, ratio, seed, residual=1.0):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(levels), rows)
    y = 1 + residual * (ratio * rng.normal(size=levels)[g] + rng.normal(size=g.size))
    return {"y": y, "g": g}


def mean_squares(data, reml):
    """Standard deviations between and within groups of equal size, from sums of squares."""
    y = data["y"].reshape(data["g"].max() + 1, -1)
    levels, rows = y.shape
    means = y.mean(axis=1)
    within = np.sum((y - means[:, None]) ** 2) / (levels * (rows - 1))
    between = rows * np.sum((means - means.mean()) ** 2) / (levels - 1 if reml else levels)
    return np.sqrt((between - within) / rows), np.sqrt(within)


def quiet_fit(formula, data, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return cs.lmm(formula, data, **options)


@pytest.mark.parametrize("reml", [True, False])
def test_balanced_groups_have_the_closed_form_at_every_ratio(reml):
    for ratio in (1.0, 3e3, 1e5, 1e8):
        for seed in range(3):
            data = one_way(10, 10, ratio, seed)
            fit = quiet_fit("y ~ 1 + (1 | g)", data, reml=reml)
            found = np.array([fit.varcorr["g"].sd[0], fit.sigma])
            # What y itself is rounded to is 1e-16 of the group effects.
            np.testing.assert_allclose(found, mean_squares(data, reml), rtol=1e-11 + 1e-16 * ratio)
            assert fit.converged
            assert fit.status.decrease < 1e-18


def test_residual_far_below_the_group_effects_is_found_in_any_unit():
    data = one_way(10, 10, 1e5, 1, residual=1e-6)
    fit = quiet_fit("y ~ 1 + (1 | g)", data)
    found = np.array([fit.varcorr["g"].sd[0], fit.sigma])
    np.testing.assert_allclose(found, mean_squares(data, True), rtol=1e-10)
    for unit in (1e-135, 1e135):
        other = quiet_fit("y ~ 1 + (1 | g)", {**data, "y": unit * data["y"]})
        np.testing.assert_allclose(other.sigma / unit, fit.sigma, rtol=1e-9)
        assert other.converged


def test_response_whose_squares_are_out_of_range_is_refused():
    data = one_way(5, 4, 1.0, 0)
    for unit in (1e-160, 1e160):
        with pytest.raises(ArgumentError, match="use another unit"):
            cs.lmm("y ~ 1 + (1 | g)", {**data, "y": unit * data["y"]})


def exact_step(fit, data, reml):
    """The Newton step in log θ that remains, by dense algebra with 60 digits."""
    mp = pytest.importorskip("mpmath")
    groups = [np.eye(data[k].max() + 1)[data[k]] for k in ("g", "h")]
    X = mp.matrix(np.column_stack([np.ones(data["x"].size), data["x"]]).tolist())
    y, n = mp.matrix(data["y"].tolist()), data["x"].size

    def criterion(theta):
        V = mp.eye(n)
        for G, t in zip(groups, theta, strict=True):
            V += t**2 * mp.matrix((G @ G.T).tolist())
        W = V**-1
        M = X.T * W * X
        rest = y - X * mp.lu_solve(M, X.T * W * y)
        nu = n - 2 if reml else n
        extra = mp.log(mp.det(M)) if reml else 0
        return mp.log(mp.det(V)) + nu * mp.log((rest.T * W * rest)[0]) + extra

    with mp.workdps(60):
        h, at = mp.mpf(10) ** -15, [mp.mpf(float(t)) for t in fit.theta]

        def f(a, b):
            return criterion([at[0] * mp.exp(a * h), at[1] * mp.exp(b * h)])

        middle, ends = f(0, 0), [(f(1, 0), f(-1, 0)), (f(0, 1), f(0, -1))]
        gradient = mp.matrix([(up - down) / (2 * h) for up, down in ends])
        H = mp.diag([(up - 2 * middle + down) / h**2 for up, down in ends])
        mixed = (f(1, 1) - ends[0][0] - ends[1][0] + middle) / h**2
        H[0, 1] = H[1, 0] = mixed
        return float(mp.norm(mp.lu_solve(H, gradient)))


@pytest.mark.parametrize("ratio", [1.0, pytest.param(1e5, marks=pytest.mark.slow)])
def test_crossed_effects_of_different_size_end_where_no_step_remains(ratio):
    rng = np.random.default_rng(0)
    g, h, x = np.repeat(np.arange(5), 4), rng.integers(0, 4, 20), rng.normal(size=20)
    effect = ratio * rng.normal(size=5)[g] + 2 * rng.normal(size=4)[h]
    data = {"g": g, "h": h, "x": x, "y": 1 + x + effect + rng.normal(size=20)}
    fit = quiet_fit("y ~ x + (1 | g) + (1 | h)", data)
    assert fit.converged
    assert not fit.status.singular
    assert exact_step(fit, data, True) < 1e-9


def test_groups_that_fit_the_response_exactly_have_no_estimate():
    data = one_way(6, 5, 1.0, 0)
    fit = quiet_fit("y ~ 1 + (1 | g)", {**data, "y": np.arange(6.0)[data["g"]]})
    assert not fit.converged
    assert "no finite estimate" in fit.status.reason()


def test_minimiser_reports_a_hessian_that_is_not_finite():
    found = minimize(lambda x: (float(x @ x), 2 * x), lambda x: np.full((1, 1), np.nan), np.ones(1))
    assert not found.converged


@pytest.mark.slow
def test_generalised_fit_ends_at_rounding():
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(8), 5)
    y = rng.poisson(np.exp(0.5 + 0.7 * rng.normal(size=8)[g]))
    fit = cs.glmm("y ~ 1 + (1 | g)", {"y": y, "g": g}, family="poisson")
    assert fit.status.gradient_norm < 1e-10
    assert fit.status.decrease < 1e-24
