"""Linear mixed models against their likelihood with dense covariance matrices."""

import jax
import numpy as np
import pytest

pytest.importorskip("formulaic")

from cholax._core.errors import ArgumentError, CholaxError, ConvergenceError
from cholax.stats._lmm import LinearMixedModel, lmm
from cholax.stats._lmm._optimize import minimize
from cholax.stats._lmm.status import AT_INFINITY
from cholax.testing import check_derivatives
from tests import tolerances as tol
from tests.stats.lmm_twins import (
    columns_by_level,
    crossed_data,
    dense_deviance,
    dense_fit,
    indicator,
)

F64 = np.float64
FORMULA = "y ~ x + z + (x | subject) + (1 | item) + (0 + z | subject)"
# (x | subject) has three, then item and (0 + z | subject) one each.
THETA = np.array([0.9, -0.4, 0.6, 0.8, 0.3])


@pytest.fixture(scope="module")
def data():
    return crossed_data()


@pytest.fixture(scope="module")
def crossed(data):
    """The model and the arguments of its dense twin."""
    model = LinearMixedModel(FORMULA, data, weights="w", offset=data["o"])
    n = len(data["y"])
    X = np.column_stack([np.ones(n), data["x"], data["z"]])
    Z = np.hstack([
        columns_by_level(data["subject"], X[:, :2]),
        indicator(data["item"]),
        columns_by_level(data["subject"], X[:, 2:]),
    ])  # fmt: skip
    sizes = ((5, 2), (4, 1), (5, 1))
    return model, (data["y"] - data["o"], X, Z, sizes, data["w"])


@pytest.fixture(scope="module")
def batches():
    """Six batches of four rows, one covariate."""
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(6), 4)
    x = rng.standard_normal(24)
    y = 3 + 0.7 * x + 1.5 * rng.standard_normal(6)[g] + rng.standard_normal(24)
    return {"y": y, "x": x, "g": g}


@pytest.fixture(scope="module")
def fit(batches):
    return lmm("y ~ x + (1 | g)", batches)


def test_criterion_and_derivatives_are_those_of_the_dense_likelihood(crossed):
    model, twin = crossed
    # θ is linear in the coordinates of a fit.
    point = model.to_internal(THETA)
    J = np.stack([model.to_user(e) for e in np.eye(point.size)], axis=1)
    dense = jax.jit(jax.value_and_grad(lambda t: dense_deviance(t, *twin, True)))
    value, slope = dense(THETA)
    got = model.value_and_gradient(point, reml=True)
    tol.assert_all_close(got, (value, J.T @ slope), tol.gradient(F64))
    H = model.hessian(point, reml=True)
    step = 1e-5
    for k, column in enumerate(J.T):
        difference = dense(THETA + step * column)[1] - dense(THETA - step * column)[1]
        tol.assert_close(H[k], J.T @ difference / (2 * step), 1e-8)


def test_deviance_on_the_scale_of_the_user_maps_over_theta(batches):
    model = LinearMixedModel("y ~ x + (1 | g)", batches)
    thetas = np.array([[0.4], [0.0], [1.7]])
    expected = [dense_deviance(theta, *twin_of(batches), False) for theta in thetas]
    tol.assert_close(jax.vmap(model.deviance)(thetas), np.array(expected), tol.value(F64))
    with pytest.raises(ValueError, match=r"shape \(1,\) \(g.Intercept\), got \(2,\)"):
        model.deviance(np.ones(2))


@pytest.mark.slow
@pytest.mark.parametrize("reml", [False, True])
def test_deviance_differentiates_in_all_modes(crossed, reml):
    model, twin = crossed
    check_derivatives(lambda theta: model.deviance(theta, reml=reml), [THETA])
    expected = jax.hessian(lambda theta: dense_deviance(theta, *twin, reml))(THETA)
    got = jax.hessian(lambda theta: model.deviance(theta, reml=reml))(THETA)
    tol.assert_close(got, expected, tol.gradient(F64))


def test_internal_coordinates_go_there_and_back(crossed):
    model, _ = crossed
    tol.assert_close(model.to_user(model.to_internal(THETA)), THETA, tol.value(F64))


def twin_of(data):
    X = np.column_stack([np.ones(24), data["x"]])
    return data["y"], X, indicator(data["g"]), ((6, 1),), np.ones(24)


def test_fit_is_at_the_minimum_and_reports_what_the_dense_model_gives(batches, fit):
    twin = twin_of(batches)
    assert fit.converged
    assert not fit.singular
    g = lambda theta: dense_deviance(theta, *twin, True)  # noqa: E731
    assert abs(float(jax.grad(g)(fit.theta)[0])) < 1e-5
    tol.assert_close(fit.criterion, g(fit.theta), tol.value(F64))
    beta, vcov, s2, modes, covariance = dense_fit(fit.theta, *twin, True)
    effects = fit.ranef["g"]
    got = (
        fit.beta,
        fit.covariance(),
        fit.sigma**2,
        effects.modes[:, 0],
        effects.covariances[:, 0, 0],
    )
    tol.assert_all_close(got, (beta, vcov, s2, modes, np.diag(covariance)), tol.gradient(F64))
    tol.assert_close(fit.varcorr["g"].covariance, s2 * np.array([fit.theta**2]), tol.value(F64))
    tol.assert_close(fit.deviance, dense_deviance(fit.theta, *twin, False), tol.value(F64))
    assert fit.parameters == 4
    assert fit.aic == pytest.approx(fit.criterion + 8)


def test_modes_and_covariances_of_terms_that_share_a_group(crossed):
    from cholax.stats._lmm._optimize import Optimum
    from cholax.stats._lmm.fit import assemble

    model, twin = crossed
    end = Optimum(model.to_internal(THETA), 0.0, THETA, np.eye(5), 1, 0, 0.0, 1.0, 0)
    fit = assemble(model, end, True)
    _, _, s2, b, covariance = dense_fit(THETA, *twin, True)
    effects = fit.ranef["subject"]
    assert effects.columns == ("Intercept", "x", "z")
    first = np.array([0, 1, len(b) - 5])
    step = np.array([2, 2, 1])
    for level in range(5):
        place = first + level * step
        tol.assert_close(effects.modes[level], b[place], tol.gradient(F64))
        block = covariance[np.ix_(place, place)]
        tol.assert_close(effects.covariances[level], block, tol.gradient(F64))
    assert list(fit.varcorr) == ["subject", "item", "subject.1"]
    tol.assert_close(fit.varcorr["item"].sd, np.array([0.8 * s2**0.5]), tol.gradient(F64))
    tol.assert_close(fit.fitted, twin[1] @ fit.beta + twin[2] @ b + model.design.offset, 1e-9)


def test_predictions_add_the_modes_of_known_levels_only(batches, fit):
    new = {"x": [0.5, -1.0, 0.0], "g": [3, 0, 99]}
    fixed = fit.beta[0] + fit.beta[1] * np.array(new["x"])
    b = fit.ranef["g"].modes[:, 0]
    got = fit.predict(new, new_levels=True)
    tol.assert_close(got, fixed + np.array([b[3], b[0], 0.0]), tol.value(F64))
    tol.assert_close(fit.predict(new, random=False), fixed, tol.value(F64))
    tol.assert_close(fit.predict(batches), fit.fitted, tol.value(F64))
    assert np.isnan(fit.predict({"x": [np.nan, 1.0], "g": [0, 1]})).tolist() == [True, False]
    with pytest.raises(ValueError, match="1 rows have levels of 'g'"):
        fit.predict(new)


def test_simulations_have_the_mean_and_covariance_of_the_model(batches, fit):
    y, X, Z, *_ = twin_of(batches)
    draws = np.asarray(fit.simulate(jax.random.key(0), (4, 5000))).reshape(-1, y.size)
    mean = X @ fit.beta
    covariance = fit.sigma**2 * (np.eye(24) + fit.theta[0] ** 2 * Z @ Z.T)
    error = np.sqrt(np.diag(covariance) / len(draws))
    assert np.max(np.abs(draws.mean(0) - mean) / error) < 4.5
    assert (
        np.max(np.abs(np.cov(draws.T) - covariance)) < 6 * np.max(covariance) * len(draws) ** -0.5
    )


def test_covariates_of_any_scale_give_the_same_fit(batches, fit):
    scaled = {**batches, "x": 1e6 * batches["x"] + 1e7, "y": 1e-4 * batches["y"]}
    other = lmm("y ~ x + (1 | g)", scaled)
    assert other.converged
    tol.assert_close(other.theta, fit.theta, 1e-6)
    tol.assert_close(1e10 * other.beta[1], fit.beta[1], 1e-8)
    tol.assert_close(1e10 * other.standard_errors()[1], fit.standard_errors()[1], 1e-6)


def test_variance_that_is_not_there_is_zero_and_the_fit_says_so(batches):
    # Batch means are equal: all differences lie within batches.
    within = np.tile([-1.0, 2.0, 0.5, -1.5], 6)
    level = lmm("y ~ x + (1 | g)", {**batches, "y": within + batches["x"] * 0})
    assert level.converged
    assert level.singular
    assert level.theta[0] == 0.0
    assert level.status.gradient_norm < 1e-4
    assert "singular fit" in level.summary()
    rss = np.linalg.lstsq(twin_of(batches)[1], within)[1][0]
    tol.assert_close(level.sigma**2, rss / 22, 1e-9)


def test_dropped_columns_are_named_and_the_rest_is_fitted(batches, fit):
    doubled = {**batches, "half": 0.5 * batches["x"] + 1.0}
    with pytest.warns(UserWarning, match="dropped the fixed effects half"):
        other = lmm("y ~ x + half + (1 | g)", doubled)
    assert other.names == ("Intercept", "x")
    tol.assert_close(other.beta, fit.beta, tol.gradient(F64))
    assert "half" in other.summary()


def test_wald_intervals_and_their_names(fit):
    low, high = fit.confint(0.9)["x"]
    tol.assert_close((high - low) / 2, 1.6448536269514722 * fit.standard_errors()[1], 1e-10)
    with pytest.raises(ValueError, match="no Wald interval"):
        fit.confint(parameters=["sigma"])
    for level in (-1, 95, "a", np.nan, None):
        with pytest.raises(ArgumentError, match="level must be between 0 and 1, got"):
            fit.confint(level)


def test_draws_need_a_key_and_a_shape(fit):
    with pytest.raises(ArgumentError, match="simulate: key must be a random key of JAX, got 3"):
        fit.simulate(3)
    for shape in ("a", -1, (2, 0.5)):
        with pytest.raises(CholaxError, match=r"simulate: (shape|sizes) must"):
            fit.simulate(jax.random.key(0), shape)


def test_summary_shows_estimates(fit):
    text = fit.summary()
    assert f"{fit.beta[1]:.6g}" in text
    assert f"{fit.sigma:.6g}" in text
    assert "Number of rows: 24; levels: g 6" in text


def test_plots_draw_every_level(fit):
    pytest.importorskip("matplotlib")
    figure = fit.plot_caterpillar("g", level=0.5)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [
        str(k) for k in np.argsort(fit.ranef["g"].modes[:, 0])
    ]
    dots = fit.plot_residuals().axes[0].collections[0].get_offsets()
    tol.assert_close(np.asarray(dots), np.column_stack([fit.fitted, fit.scaled_residuals]), 1e-12)


def test_minimiser_leaves_saddles_and_reports_what_is_no_minimum():
    saddle = lambda x: (x[0] ** 2 + (x[1] ** 2 - 1) ** 2, _grad(x))  # noqa: E731
    H = lambda x: np.diag([2.0, 12 * x[1] ** 2 - 4])  # noqa: E731
    found = minimize(saddle, H, np.array([0.5, 0.0]))
    assert found.converged
    assert abs(abs(found.x[1]) - 1) < 1e-8
    slope = minimize(lambda x: (float(x[0]), np.ones(1)), lambda x: np.zeros((1, 1)), np.zeros(1))
    assert not slope.converged
    broken = minimize(lambda x: (np.nan, np.zeros(1)), lambda x: np.eye(1), np.zeros(1))
    assert not broken.converged


def _grad(x):
    return np.array([2 * x[0], 4 * x[1] * (x[1] ** 2 - 1)])


@pytest.mark.slow
def test_profile_intervals_end_where_the_deviance_is_a_quantile_higher(batches, fit):
    from scipy.optimize import minimize_scalar

    y, X, Z, sizes, w = twin_of(batches)
    intervals = fit.confint(method="profile")
    best = minimize_scalar(
        lambda t: dense_deviance(np.array([t]), y, X, Z, sizes, w, False), (0.5, 1)
    )
    for end in intervals["x"]:
        rest = y - end * X[:, 1]
        at = lambda t, r=rest: dense_deviance(np.array([t]), r, X[:, :1], Z, sizes, w, False)  # noqa: E731
        tol.assert_close(minimize_scalar(at, (0.5, 1)).fun - best.fun, 3.841458820694124, 1e-4)
    for end in intervals["sd(g.Intercept)"]:

        def at(log_sigma, end=end):
            s = np.exp(log_sigma)
            V = s**2 * np.eye(24) + end**2 * Z @ Z.T
            Vi = np.linalg.inv(V)
            r = y - X @ np.linalg.solve(X.T @ Vi @ X, X.T @ Vi @ y)
            return np.linalg.slogdet(2 * np.pi * V)[1] + r @ Vi @ r

        tol.assert_close(minimize_scalar(at, (-0.5, 0.5)).fun - best.fun, 3.841458820694124, 1e-4)
    low, high = intervals["sigma"]
    assert low < fit.sigma < high


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"theta0": [np.nan]}, "theta0 must be finite numbers, got"),
        ({"theta0": ["one"]}, "theta0 must be real numbers, got"),
        ({"theta0": [1.0, 2.0]}, r"theta0 must have shape \(1,\).* g.Intercept"),
        ({"max_iterations": -1}, "max_iterations must be a positive integer, got -1"),
        ({"max_iterations": "many"}, "max_iterations must be a positive integer, got 'many'"),
        ({"reml": "no"}, "reml must be True or False, got 'no'"),
        ({"progress": 3}, "progress must be True, False or a function, got 3"),
    ],
)
def test_options_without_sense_are_refused(option, message):
    data = {"y": [1.0, 2.0, 4.0, 6.0], "g": [0, 0, 1, 1]}
    with pytest.raises(ArgumentError, match=message):
        lmm("y ~ 1 + (1 | g)", data, **option)


def test_a_fit_that_does_not_converge_raises_where_asked():
    exact = {"y": [1.0, 1.0, 2.0, 2.0, 5.0, 5.0], "g": list("aabbcc")}
    with pytest.raises(ConvergenceError, match=r"lmm: need a minimum.*no finite estimate"):
        lmm("y ~ 1 + (1 | g)", exact, throw=True)
    status = lmm("y ~ 1 + (1 | g)", exact).status
    assert (status.converged, status.code) == (False, AT_INFINITY)
    data = {"y": [1.0, 2.0, 4.0, 6.0, 5.0, 9.0], "g": list("aabbcc")}
    status = lmm("y ~ 1 + (1 | g)", data, throw=True).status
    assert (status.code, status.reason()) == (0, "converged")
    assert status.iterations > 1


def test_progress_is_told_in_lines():
    lines = []
    lmm("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0, 6.0], "g": list("aabb")}, progress=lines.append)
    assert lines[0].startswith("lmm: evaluation 1, objective ")
