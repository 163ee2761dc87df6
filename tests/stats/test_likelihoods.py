"""Likelihoods against SciPy and finite differences; missing responses; extreme predictors."""

import inspect

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats as st

import cholax.stats as cs
from cholax.errors import ArgumentError, DtypeError, ShapeError
from cholax.stats import LIKELIHOODS, likelihoods
from cholax.stats.likelihoods import _special
from cholax.testing import check_derivatives
from tests import tolerances as tol

ETA = np.array([-1.3, 0.2, 1.1, 2.4])
COUNTS = np.array([0.0, 1.0, 4.0, 30.0])
TIMES = np.array([0.4, 1.0, 2.5, 0.9])
UPPER = np.array([0.4, np.inf, 3.0, 0.90001])
LOWER = np.array([0.4, 1.0, 2.5, 0.0])
ENTRY = np.array([0.0, 0.5, 0.0, 0.0])


def scipy_survival(eta, shape):
    """Of LOWER, UPPER, ENTRY: exact and truncated, right, interval, left."""
    frozen = st.weibull_min(shape, scale=np.exp(-eta / shape))
    with np.errstate(divide="ignore"):
        gap = np.log(frozen.sf(LOWER) - np.where(np.isinf(UPPER), 0.0, frozen.sf(UPPER)))
    return np.where(LOWER == UPPER, frozen.logpdf(LOWER), gap) - frozen.logsf(ENTRY)


def scipy_zero_inflated(y, eta, p, exposure):
    counted = np.log1p(-p) + st.poisson.logpmf(y, exposure * np.exp(eta))
    return np.where(y == 0, np.log(p + (1 - p) * np.exp(-exposure * np.exp(eta))), counted)


def scipy_student(eta, df, scale):
    return st.t.logpdf(TIMES, df, eta, scale)


def scipy_nb1(y, eta, dispersion, exposure):
    return st.nbinom.logpmf(y, exposure * np.exp(eta) / dispersion, 1 / (1 + dispersion))


def scipy_nb2(y, eta, size, exposure):
    return st.nbinom.logpmf(y, size, size / (size + exposure * np.exp(eta)))


# Responses, parameters, and the same density from SciPy.
CASES = {
    "gaussian": (TIMES, {"sd": 0.7}, lambda e, sd: st.norm.logpdf(TIMES, e, sd)),
    "student_t": (TIMES, {"df": 3.5, "scale": 0.7}, scipy_student),
    "poisson": (
        COUNTS,
        {"exposure": 1.7},
        lambda e, exposure: st.poisson.logpmf(COUNTS, exposure * np.exp(e)),
    ),
    "binomial": (
        COUNTS,
        {"trials": np.array([3.0, 2.0, 4.0, 35.0])},
        lambda e, trials: st.binom.logpmf(COUNTS, trials, scipy.special.expit(e)),
    ),
    "bernoulli": (
        np.array([0.0, 1.0, 1.0, 0.0]),
        {},
        lambda e: st.bernoulli.logpmf([0, 1, 1, 0], scipy.special.expit(e)),
    ),
    "negative_binomial": (
        COUNTS,
        {"size": 2.3, "exposure": 1.7},
        lambda e, **kw: scipy_nb2(COUNTS, e, **kw),
    ),
    "negative_binomial1": (
        COUNTS,
        {"dispersion": 0.8, "exposure": 1.7},
        lambda e, **kw: scipy_nb1(COUNTS, e, **kw),
    ),
    "zero_inflated_poisson": (
        COUNTS,
        {"zero_probability": 0.3, "exposure": 1.7},
        lambda e, zero_probability, exposure: scipy_zero_inflated(
            COUNTS, e, zero_probability, exposure
        ),
    ),
    "gamma": (
        TIMES,
        {"shape": 2.6},
        lambda e, shape: st.gamma.logpdf(TIMES, shape, scale=np.exp(e) / shape),
    ),
    "exponential_survival": (
        cs.surv(LOWER, upper=UPPER, entry=ENTRY),
        {},
        lambda e: scipy_survival(e, 1.0),
    ),
    "weibull_survival": (
        cs.surv(LOWER, upper=UPPER, entry=ENTRY),
        {"shape": 1.6},
        scipy_survival,
    ),
}


def cast(tree, dtype):
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)


def responses(dtype=np.float64):
    return {name: cast(y, dtype) for name, (y, _, _) in CASES.items()}


def parameters(dtype=np.float64):
    return {name: cast(p, dtype) for name, (_, p, _) in CASES.items()}


def predictors(eta, dtype=np.float64):
    return {name: jnp.asarray(eta, dtype) for name in CASES}


def densities(y, eta, p):
    return {name: LIKELIHOODS[name].log_prob(y[name], eta[name], **p[name]) for name in CASES}


@jax.jit
def program(y, eta, p):
    """Values and gradients of all families: one compilation for most tests of this file."""
    values, pullback = jax.vjp(lambda e, q: densities(y, e, q), eta, p)
    return values, *pullback(jax.tree.map(jnp.ones_like, values))


def test_every_family_is_registered_and_has_a_case():
    public = {
        name
        for name, item in inspect.getmembers(likelihoods)
        if isinstance(item, likelihoods.Likelihood)
    }
    assert set(CASES) == set(LIKELIHOODS) == public
    assert all(LIKELIHOODS[name].name == name for name in LIKELIHOODS)


def test_log_prob_is_scipys():
    got, _, _ = program(responses(), predictors(ETA), parameters())
    for name, (_, p, reference) in CASES.items():
        tol.assert_close(got[name], reference(ETA, **p), 1e-9)


@pytest.mark.slow
def test_single_precision_is_scipys():
    f32 = np.float32
    got, _, _ = program(responses(f32), predictors(ETA, f32), parameters(f32))
    for name, (_, p, reference) in CASES.items():
        # The narrow interval of time cannot be told from a point in single precision.
        tol.assert_close(got[name][:3], reference(ETA, **p)[:3], 2 * tol.value(f32))


def test_results_have_the_dtype_of_eta():
    f32 = np.float32
    out = jax.eval_shape(densities, responses(f32), predictors(ETA, f32), parameters(f32))
    assert all(v.dtype == f32 for v in out.values())
    python = {
        name: jax.tree.map(float, p) for name, p in parameters().items() if name != "binomial"
    }
    python["binomial"] = {"trials": 40}
    out = jax.eval_shape(lambda e: densities(responses(f32), e, python), predictors(ETA, f32))
    assert all(v.dtype == f32 for v in out.values())


def test_gradients_are_difference_quotients():
    y, p, h = responses(), parameters(), 1e-6
    _, by_eta, by_parameters = program(y, predictors(ETA), p)
    up, down = (program(y, predictors(ETA + s), p)[0] for s in (h, -h))
    for name, slope in by_eta.items():
        tol.assert_close((up[name] - down[name]) / (2 * h), slope, 1e-7)
    moves = {name: {k: 1e-6 for k in q if k != "trials"} for name, q in p.items()}
    shifted = [
        {n: {k: p[n][k] + s * moves[n].get(k, 0.0) for k in p[n]} for n in p} for s in (1.0, -1.0)
    ]
    up, down = (program(y, predictors(ETA), q)[0] for q in shifted)
    for name, slopes in by_parameters.items():
        expected = sum(jnp.sum(slope) for key, slope in slopes.items() if key != "trials")
        got = (up[name] - down[name]).sum() / 2e-6
        tol.assert_close(got, np.asarray(expected), 1e-6)


@pytest.mark.slow
def test_derivatives_of_every_order_are_those_of_finite_differences():
    free = parameters()
    # The number of trials is no parameter to differentiate in.
    trials = free.pop("binomial")
    flat, unravel = jax.flatten_util.ravel_pytree(free)
    y = responses()

    @jax.jit
    def f(eta, q):
        return densities(y, dict.fromkeys(CASES, eta), unravel(q) | {"binomial": trials})

    check_derivatives(f, [jnp.asarray(ETA), flat])


def with_one_missing(y):
    def punched(part):
        return part.at[2].set(jnp.nan)

    return jax.tree.map(punched, y)


def test_missing_responses_contribute_nothing():
    p = parameters()
    # Unused where the response is missing, whatever they are.
    p["binomial"] = {"trials": p["binomial"]["trials"].at[2].set(jnp.nan)}
    eta = {name: e.at[2].set(jnp.nan) for name, e in predictors(ETA).items()}
    y = {name: with_one_missing(part) for name, part in responses().items()}
    values, by_eta, by_parameters = program(y, eta, p)
    assert all(v[2] == 0.0 and np.isfinite(np.delete(v, 2)).all() for v in values.values())
    assert all(e[2] == 0.0 and np.isfinite(e).all() for e in by_eta.values())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(by_parameters))


EXTREMES = (-1e4, -800.0, -90.0, 90.0, 300.0, 800.0, 1e4)


def assert_no_nan(out):
    for path, leaf in jax.tree_util.tree_leaves_with_path(out):
        assert not np.isnan(leaf).any(), jax.tree_util.keystr(path)


def test_extreme_predictors_give_no_nan():
    for eta in EXTREMES:
        values, by_eta, by_parameters = program(
            responses(), predictors(np.full(4, eta)), parameters()
        )
        assert_no_nan((values, by_eta))
        assert_no_nan([by_parameters[n] for n in CASES if np.isfinite(values[n]).all()])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_predictors_give_no_nan_to_second_order(dtype):
    y, p = responses(dtype), parameters(dtype)

    def curvature(eta):
        def slope(e):
            values, pullback = jax.vjp(lambda e: densities(y, e, p), e)
            return pullback(jax.tree.map(jnp.ones_like, values))[0]

        full = {name: jnp.full(4, eta) for name in CASES}
        return program(y, full, p)[:2], jax.jvp(
            slope, (full,), (jax.tree.map(jnp.ones_like, full),)
        )

    assert_no_nan(jax.jit(jax.vmap(curvature))(jnp.asarray(EXTREMES, dtype)))


def test_responses_outside_the_support_have_no_density():
    y, bad = responses(), {}
    bad["poisson"] = bad["zero_inflated_poisson"] = bad["bernoulli"] = [-1.0, 1.5, np.inf, 0.5]
    bad["negative_binomial"] = bad["negative_binomial1"] = bad["poisson"]
    bad["gamma"], bad["gaussian"] = [-1.0, 0.0, np.inf, -np.inf], [np.inf, -np.inf, np.inf, np.inf]
    bad["binomial"] = [4.0, -1.0, 0.5, np.inf]
    y |= {name: jnp.array(values) for name, values in bad.items()}
    # Before observation began, after the end of the interval, at time 0, at infinity.
    times = jnp.array([1.0, 1.0, 0.0, jnp.inf])
    y["weibull_survival"] = cs.surv(
        times, upper=times.at[1].set(0.5), entry=jnp.array([2.0, 0.0, 0.0, 0.0])
    )
    values, by_eta, _ = program(y, predictors(ETA), parameters())
    for name in [*bad, "weibull_survival"]:
        assert (values[name] == -jnp.inf).all(), name
        assert (by_eta[name] == 0.0).all(), name


def test_parameters_outside_their_support_give_nan():
    assert jnp.isnan(likelihoods.gaussian.log_prob(1.0, 0.0, sd=-1.0))
    assert jnp.isnan(likelihoods.zero_inflated_poisson.log_prob(1.0, 0.0, zero_probability=1.5))


def test_censored_times_are_events_and_survival():
    time, eta = jnp.array([1.2, 0.7, 2.0]), jnp.array([0.1, -0.4, 0.3])
    censored = cs.surv(time, event=[1, 0, True])
    assert censored.upper.tolist() == [time[0], np.inf, time[2]]
    got = likelihoods.weibull_survival.log_prob(censored, eta, shape=1.4)
    frozen = st.weibull_min(1.4, scale=np.exp(-np.asarray(eta) / 1.4))
    expected = np.where([True, False, True], frozen.logpdf(time), frozen.logsf(time))
    tol.assert_close(got, expected, tol.value(np.float64))
    # A bare array of times is all events.
    plain = likelihoods.weibull_survival.log_prob(time, eta, shape=1.4)
    tol.assert_close(plain, frozen.logpdf(time), tol.value(np.float64))
    with pytest.raises(ArgumentError, match="event or upper"):
        cs.surv(time, event=[1, 0, 1], upper=time)
    with pytest.raises(ArgumentError, match="0 or 1"):
        cs.surv(time, event=[1, 0, 2])
    with pytest.raises(ShapeError, match="event"):
        cs.surv(time, event=[1, 0])


def test_large_parameters_reach_the_poisson_limit():
    y, eta = jnp.array([0.0, 3.0, 50.0]), jnp.array([0.3, 1.0, 4.0])
    limit = st.poisson.logpmf(y, np.exp(eta))
    for size in (1e8, 1e12, 1e15):
        nb2 = likelihoods.negative_binomial.log_prob(y, eta, size=size)
        nb1 = likelihoods.negative_binomial1.log_prob(y, eta, dispersion=1 / size)
        tol.assert_close(nb2, limit, 3e3 / size + 1e-12)
        tol.assert_close(nb1, limit, 3e3 / size + 1e-12)
    normal = st.norm.logpdf(y, eta)
    got = likelihoods.student_t.log_prob(y, eta, df=1e14, scale=1.0)
    tol.assert_close(got, normal, 1e-9)


def test_ratio_of_gammas_keeps_its_digits():
    x = np.array([0.3, 5.0, 15.9, 16.1, 1e3, 1e9])
    for a in (0.5, 3.0):
        got = jax.jit(_special.log_gamma_ratio)(x, a)
        expected = np.log(scipy.special.poch(x, a))
        tol.assert_close(got / expected, np.ones(6), 1e-12)


@pytest.mark.slow
def test_elementwise_and_blocks_of_any_density():
    own = likelihoods.elementwise(
        lambda y, eta, sd: -jnp.log(sd) - jnp.abs(y - eta) / sd, neutral=0
    )
    y, eta = jnp.array([1.0, jnp.nan, 3.0]), jnp.array([0.5, 0.1, 1.0])
    with pytest.raises(ArgumentError, match="Unknown: sd"):
        own.log_prob(y, eta, sd=2.0)
    own = likelihoods.elementwise(
        lambda y, eta, sd: -jnp.log(sd) - jnp.abs(y - eta) / sd,
        parameters={"sd": likelihoods.gaussian.parameters[0].support},
    )
    expected = [-np.log(2) - 0.25, 0.0, -np.log(2) - 1.0]
    tol.assert_close(own.log_prob(y, eta, sd=2.0), expected, 1e-12)

    covariance = jnp.array([[2.0, 0.3], [0.3, 1.0]])
    pairs = likelihoods.blockwise(
        lambda y, eta, C: jax.scipy.stats.multivariate_normal.logpdf(y, eta, C)
    )
    blocks = jnp.array([[0.3, 1.0], [jnp.nan, jnp.nan], [0.1, jnp.nan]])
    means = jnp.array([[0.1, 0.2], [3.0, 4.0], [0.0, 0.0]])
    value, slope = jax.vjp(lambda m: pairs.log_prob(blocks, m, C=covariance), means)
    reference = st.multivariate_normal([0.1, 0.2], covariance).logpdf([0.3, 1.0])
    tol.assert_close(value[:2], [reference, 0.0], tol.value(np.float64))
    # The density of a part of a block does not follow from that of the block.
    assert jnp.isnan(value[2])
    assert (slope(jnp.array([1.0, 1.0, 0.0]))[0][1] == 0.0).all()
    assert pairs.log_prob(jnp.zeros((0, 2)), jnp.zeros((0, 2)), C=covariance).shape == (0,)
    with pytest.raises(ShapeError, match="one row per block"):
        pairs.log_prob(jnp.zeros(2), means)


def test_contracts():
    poisson = likelihoods.poisson
    assert poisson.log_prob(jnp.zeros(0), jnp.zeros(0)).shape == (0,)
    counts = poisson.log_prob(jnp.array([2, 3]), jnp.zeros(2))
    tol.assert_close(counts, st.poisson.logpmf([2, 3], 1.0), 1e-12)
    with pytest.raises(ShapeError, match="one shape"):
        poisson.log_prob(jnp.zeros(3), jnp.zeros((3, 1)))
    with pytest.raises(DtypeError, match="dtype of eta"):
        poisson.log_prob(jnp.zeros(3), jnp.zeros(3, jnp.float32))
    with pytest.raises(ArgumentError, match="Lacking: trials"):
        likelihoods.binomial.log_prob(jnp.zeros(3), jnp.zeros(3))
    with pytest.raises(ArgumentError, match="Unknown: rate"):
        poisson.log_prob(jnp.zeros(3), jnp.zeros(3), rate=1.0)
