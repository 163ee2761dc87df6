"""Means, variances, draws and distribution functions of likelihoods, against SciPy and themselves.

Each family is held to SciPy's frozen distribution, and to its own density: summed or integrated,
it must give the same mean, variance and distribution function.
"""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.special
import scipy.stats as st

import cholax.stats as cs
from cholax.errors import ArgumentError, DtypeError, ShapeError, UnsupportedError
from cholax.stats import LIKELIHOODS, likelihoods
from cholax.stats.likelihoods import _cumulative
from cholax.testing import check_derivatives
from tests import tolerances as tol

QUANTILES = np.array([1e-6, 1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-6])


class ZeroInflated:
    """Of a Poisson: SciPy has none."""

    def __init__(self, p, rate):
        self.p, self.counts = p, st.poisson(rate)

    def ppf(self, q):
        return self.counts.ppf(np.maximum(q - self.p, 0) / (1 - self.p))

    def cdf(self, y):
        return np.where(np.asarray(y) < 0, 0.0, self.p + (1 - self.p) * self.counts.cdf(y))

    def mean(self):
        return (1 - self.p) * self.counts.mean()

    def var(self):
        return (1 - self.p) * self.counts.mean() * (1 + self.p * self.counts.mean())


class NegativeBinomial:
    """SciPy's takes p and loses the digits of 1 - p; the incomplete beta function does not."""

    def __init__(self, size, odds):
        self.size, self.odds = size, odds

    def ppf(self, q):
        return st.nbinom(self.size, 1 / (1 + self.odds)).ppf(q)

    def cdf(self, y):
        y = np.asarray(y, float)
        total = scipy.special.betaincc(np.maximum(y, 0) + 1, self.size, self.odds / (1 + self.odds))
        return np.where(y < 0, 0.0, total)

    def mean(self):
        return self.size * self.odds

    def var(self):
        return self.mean() * (1 + self.odds)


def nb2(eta, size, exposure):
    return NegativeBinomial(size, exposure * np.exp(eta) / size)


def nb1(eta, dispersion, exposure):
    return NegativeBinomial(exposure * np.exp(eta) / dispersion, dispersion)


def weibull(eta, shape):
    return st.weibull_min(shape, scale=np.exp(-eta / shape))


# SciPy's distribution given η and the parameters; moderate and extreme settings of them.
FAMILIES = {
    "gaussian": (
        lambda e, sd: st.norm(e, sd),
        [(-0.4, {"sd": 0.7}), (1e6, {"sd": 1e-3}), (0.0, {"sd": 1e8})],
    ),
    "student_t": (
        lambda e, df, scale: st.t(df, e, scale),
        [
            (0.9, {"df": 3.5, "scale": 0.7}),
            (0.9, {"df": 1.5, "scale": 0.7}),
            (-2.0, {"df": 0.3, "scale": 2.0}),
            (3.0, {"df": 1e6, "scale": 0.1}),
            (3.0, {"df": 1e12, "scale": 0.1}),
        ],
    ),
    "poisson": (
        lambda e, exposure: st.poisson(exposure * np.exp(e)),
        [(np.log(m), {"exposure": 1.5}) for m in (1e-6, 0.4, 20.0, 3e3, 5e5)],
    ),
    "binomial": (
        lambda e, trials: st.binom(trials, scipy.special.expit(e)),
        [(e, {"trials": n}) for e in (-9.0, 0.3, 6.0) for n in (1.0, 12.0, 1e4, 1e7)],
    ),
    "bernoulli": (
        lambda e: st.bernoulli(scipy.special.expit(e)),
        [(-30.0, {}), (-0.4, {}), (0.9, {}), (12.0, {})],
    ),
    "negative_binomial": (
        nb2,
        [
            (np.log(m), {"size": s, "exposure": 2.0})
            for m in (0.01, 3.0, 5e4)
            for s in (1e-3, 0.7, 40.0, 1e6)
        ],
    ),
    "negative_binomial1": (
        nb1,
        [
            (np.log(m), {"dispersion": d, "exposure": 2.0})
            for m in (0.01, 3.0, 5e4)
            for d in (1e-6, 0.7, 40.0)
        ],
    ),
    "zero_inflated_poisson": (
        lambda e, zero_probability, exposure: ZeroInflated(zero_probability, exposure * np.exp(e)),
        [
            (np.log(m), {"zero_probability": p, "exposure": 0.5})
            for m in (0.1, 8.0, 1e4)
            for p in (0.0, 0.3, 0.999)
        ],
    ),
    "gamma": (
        lambda e, shape: st.gamma(shape, scale=np.exp(e) / shape),
        [(e, {"shape": s}) for e in (-20.0, 0.9, 15.0) for s in (1e-2, 2.5, 1e3, 5e5)],
    ),
    "exponential_survival": (lambda e: st.expon(scale=np.exp(-e)), [(-20.0, {}), (0.9, {})]),
    "weibull_survival": (
        weibull,
        [(e, {"shape": s}) for e in (-3.0, 0.9) for s in (0.3, 1.6, 20.0, 1e4)],
    ),
}
SETTINGS = [
    pytest.param(name, eta, given, id=f"{name}-{k}")
    for name, (_, settings) in FAMILIES.items()
    for k, (eta, given) in enumerate(settings)
]
CASES = {
    "student_t": {"df": 9.0, "scale": 0.5},
    "weibull_survival": {"shape": 1.6},
    "binomial": {"trials": 7.0},
}
CASES = {n: CASES.get(n, settings[len(settings) > 3][1]) for n, (_, settings) in FAMILIES.items()}


def compiled(name):
    """Mean, variance and distribution function at many y of one η, one program per family."""
    likelihood = LIKELIHOODS[name]

    def moments(y, eta, given):
        return (
            likelihood.mean(eta, **given),
            likelihood.variance(eta, **given),
            likelihood.cdf(y, eta, **given),
        )

    return jax.jit(moments)


PROGRAMS = {name: compiled(name) for name in FAMILIES}


def test_every_registered_likelihood_knows_its_distribution():
    assert set(FAMILIES) == set(LIKELIHOODS)
    for name, likelihood in LIKELIHOODS.items():
        for what, function in likelihood.distribution._asdict().items():
            assert function is not None, f"{name} has no {what}"
        assert isinstance(likelihood.support, likelihoods.ResponseSupport)
        eta, given = jnp.zeros(3, np.float32), CASES[name]

        def everything(key, eta, likelihood=likelihood, given=given):
            moments = likelihood.mean(eta, **given), likelihood.variance(eta, **given)
            return *moments, likelihood.cdf(eta, eta, **given), likelihood.sample(key, eta, **given)

        for out in jax.eval_shape(everything, jax.random.key(0), eta):
            assert out.shape == (3,), name
            assert out.dtype == np.float32, name


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("name", "eta", "given"), SETTINGS)
def test_moments_and_distribution_are_scipys(name, eta, given, dtype):
    given = {k: float(dtype(v)) for k, v in given.items()}
    eta = float(dtype(eta))
    frozen = FAMILIES[name][0](eta, **given)
    y = np.asarray(frozen.ppf(QUANTILES), dtype)
    y = y[np.isfinite(y)]
    arrays = {k: jnp.asarray(v, dtype) for k, v in given.items()}
    mean, variance, cdf = PROGRAMS[name](jnp.asarray(y), jnp.full(y.size, eta, dtype), arrays)
    expected = frozen.cdf(y.astype(float))
    # What one rounding of η and of its exponential does.
    step = 1e-4 * np.sqrt(frozen.var()) if name in ("gaussian", "student_t") else 1e-6
    step = step if np.isfinite(step) else 1e-4
    moved = FAMILIES[name][0](eta + step, **given).cdf(y.astype(float))
    slack = 8 * np.finfo(dtype).eps * (1 + abs(eta)) * np.abs(moved - expected) / step
    assert np.all(np.abs(cdf - expected) < slack + (1e-10 if dtype == np.float64 else 1e-5))
    if name == "student_t" and given["df"] <= 1:
        assert np.isnan(mean).all()
        assert np.isnan(variance).all()
        return
    rtol = np.finfo(dtype).eps * (20 + 4 * abs(eta))
    np.testing.assert_allclose(mean, np.full(y.size, frozen.mean()), rtol=rtol)
    np.testing.assert_allclose(
        variance, np.full(y.size, exact_variance(name, eta, given)), rtol=max(rtol, 1e-12)
    )


def exact_variance(name, eta, given):
    """SciPy's, but where it subtracts two nearly equal numbers."""
    if name in ("bernoulli", "binomial"):
        return given.get("trials", 1.0) * scipy.special.expit(eta) * scipy.special.expit(-eta)
    shape = given.get("shape", 1.0)
    if name != "weibull_survival" or shape < 10:
        return FAMILIES[name][0](eta, **given).var()
    with mpmath.workdps(60):
        g = [mpmath.gamma(1 + k / mpmath.mpf(shape)) for k in (1, 2)]
        return float(mpmath.exp(-2 * mpmath.mpf(eta) / shape) * (g[1] - g[0] ** 2))


def summed(name, eta, given):
    """Mean, variance and distribution function at the nodes, from the family's log-density."""
    likelihood = LIKELIHOODS[name]

    def density(y):
        y = jnp.asarray(y)
        return np.exp(likelihood.log_prob(y, jnp.full(y.shape, eta), **given))

    if likelihood.support.integer:
        y = np.arange(0.0, 2000.0)
        p = density(y)
        total, mean = p.sum(), (y * p).sum()
        return y[:40], np.cumsum(p)[:40], total, mean, ((y - mean) ** 2 * p).sum()
    # Gauss's rule on pieces between quantiles, in t with y = sinh t or eᵗ.
    real = likelihood.support.lower == -np.inf
    nodes, weights = np.polynomial.legendre.leggauss(40)
    ends = np.linspace(-30.0, 30.0 if real else 8.0, 301)
    t = (ends[:-1, None] + ends[1:, None] + np.diff(ends)[:, None] * nodes) / 2
    w = np.diff(ends)[:, None] / 2 * weights
    y = np.sinh(t) if real else np.exp(t)
    p = density(y.ravel()).reshape(y.shape) * w * (np.cosh(t) if real else np.exp(t))
    mean = (y * p).sum()
    at = np.sinh(ends[1:]) if real else np.exp(ends[1:])
    return at, np.cumsum(p.sum(1)), p.sum(), mean, ((y - mean) ** 2 * p).sum()


@pytest.mark.parametrize("name", FAMILIES)
def test_moments_and_distribution_are_those_of_the_density(name):
    eta, given, likelihood = 0.6, CASES[name], LIKELIHOODS[name]
    y, cdf, total, mean, variance = summed(name, eta, given)
    tol.assert_close(total, 1.0, 1e-10)
    tol.assert_close(likelihood.cdf(y, jnp.full(len(y), eta), **given), cdf, 1e-10)
    tol.assert_close(likelihood.mean(eta, **given), mean, 1e-10)
    tol.assert_close(likelihood.variance(eta, **given), variance, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_draws_lie_in_the_support_and_have_the_moments(name):
    likelihood, given = LIKELIHOODS[name], CASES[name]
    eta, draws = jnp.array([-0.4, 0.9, 2.0]), 20_000
    key = jax.random.key(3)
    y = np.asarray(likelihood.sample(key, jnp.tile(eta, (draws, 1)), **given))
    assert np.asarray(likelihood.support.contains(y, **given)).all()
    mean, variance = likelihood.mean(eta, **given), likelihood.variance(eta, **given)
    assert np.all(np.abs(y.mean(0) - mean) < 5 * np.sqrt(variance / draws))
    fourth = ((y - np.asarray(mean)) ** 4).mean(0)
    assert np.all(np.abs(y.var(0) - variance) < 5 * np.sqrt(fourth / draws))
    # Kolmogorov's and Smirnov's distance, at the drawn values.
    for k in range(3):
        at = np.sort(y[:, k])
        cdf = np.asarray(likelihood.cdf(at, jnp.full(draws, eta[k]), **given))
        empirical = np.searchsorted(at, at, side="right") / draws
        assert np.max(np.abs(cdf - empirical)) < 1.95 / np.sqrt(draws)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["poisson", "negative_binomial", "binomial"])
def test_counts_too_large_for_integers_are_drawn(name, dtype):
    given = {"binomial": {"trials": 1e12}, "negative_binomial": {"size": 1e9}}.get(name, {})
    eta = jnp.full(4000, 0.5 if name == "binomial" else np.log(1e12), dtype)
    likelihood = LIKELIHOODS[name]
    y = np.asarray(likelihood.sample(jax.random.key(0), eta, **given), float)
    mean, variance = likelihood.mean(eta, **given)[0], likelihood.variance(eta, **given)[0]
    rounding = np.finfo(dtype).eps * float(mean)
    assert abs(y.mean() - float(mean)) < 5 * np.sqrt(float(variance) / 4000) + 40 * rounding
    assert abs(y.std() / np.sqrt(float(variance)) - 1) < 0.08
    assert np.isnan(likelihood.sample(jax.random.key(0), jnp.array(jnp.nan, dtype), **given))
    inflated = likelihoods.zero_inflated_poisson
    assert np.isnan(inflated.sample(jax.random.key(0), eta[:1], zero_probability=1.5))


@pytest.mark.slow
def test_derivatives_are_those_of_finite_differences():
    eta = jnp.array([-0.4, 0.9])
    for name in ("negative_binomial1", "student_t", "gamma"):
        likelihood = LIKELIHOODS[name]
        names, y = sorted(CASES[name]), jnp.array([1.0, 3.0])

        def f(eta, flat, likelihood=likelihood, names=names, y=y):
            given = dict(zip(names, flat, strict=True))
            return [
                likelihood.mean(eta, **given),
                likelihood.variance(eta, **given),
                likelihood.cdf(y, eta, **given),
            ]

        check_derivatives(f, [eta, jnp.array([CASES[name][n] for n in names])])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_slopes_are_difference_quotients(name):
    likelihood, given, step = LIKELIHOODS[name], CASES[name], 1e-5
    eta, y = jnp.array([-0.4, 2.0]), jnp.array([0.0, 2.0])
    key = jax.random.key(1)
    functions = [likelihood.mean, likelihood.variance, lambda e, **q: likelihood.cdf(y, e, **q)]
    if not likelihood.support.integer:
        functions.append(lambda e, **q: likelihood.sample(key, e, **q))
    for f in functions:
        quotient = (f(eta + step, **given) - f(eta - step, **given)) / (2 * step)
        slope = jax.grad(lambda e, f=f: f(e, **given).sum())(eta)
        tol.assert_close(slope, quotient, 1e-8)
    if likelihood.support.integer:
        drawn = jax.grad(lambda e: likelihood.sample(key, e, **given).sum())(eta)
        assert (drawn == 0.0).all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", FAMILIES)
def test_extreme_predictors_and_responses_give_numbers(name, dtype):
    likelihood, given = LIKELIHOODS[name], CASES[name]
    largest = 1e30 if dtype == np.float64 else 1e15
    y, eta = np.meshgrid(
        [-np.inf, -1.0, 0.0, 1.0, 1e6, largest, np.inf], [-800.0, -90.0, -20.0, 20.0, 90.0, 800.0]
    )
    y, eta = jnp.asarray(y.ravel(), dtype), jnp.asarray(eta.ravel(), dtype)

    @jax.jit
    def everything(y, eta):
        cdf, pullback = jax.vjp(lambda e: likelihood.cdf(y, e, **given), eta)
        mean, variance = likelihood.mean(eta, **given), likelihood.variance(eta, **given)
        drawn = likelihood.sample(jax.random.key(0), eta, **given)
        return cdf, pullback(jnp.ones_like(cdf))[0], mean, variance, drawn

    out = everything(y, eta)
    for x in out:
        assert not np.isnan(x).any()
    cdf = np.asarray(out[0])
    assert ((cdf >= 0) & (cdf <= 1)).all()
    assert (cdf[np.isinf(y)] == (y[np.isinf(y)] > 0)).all()
    # It rises with y at each η.
    assert (np.diff(cdf.reshape(6, 7), axis=1) >= 0).all()


def test_incomplete_functions_keep_their_digits_for_large_parameters():
    a = np.array([1e3, 3e5, 9e5, 1.1e6, 1e8, 1e12])
    for z in (-4.0, -1.0, 0.0, 1e-5, 0.5, 3.0):
        x = a + z * np.sqrt(a)
        lower, upper = _cumulative.incomplete_gamma(jnp.asarray(a), jnp.asarray(x))
        tol.assert_close(lower, scipy.special.gammainc(a, x), 1e-10)
        tol.assert_close(lower + upper, np.ones(6), 1e-15)
        for b in (0.5, 3.0, 2e3, 2e6, 1e9):
            share = a / (a + b)
            p = share + z * np.sqrt(share * (1 - share) / (a + b + 1))
            p = np.clip(p, 1e-3 * share, 1 - 1e-3 * (1 - share))
            beta = _cumulative.incomplete_beta(a, b, p, 1 - p)
            # Half a unit in the last place of p moves it.
            slack = 1e-16 * (a + b) / np.sqrt(share * (1 - share) * (a + b + 1)) * 8
            assert np.all(np.abs(beta - scipy.special.betainc(a, b, p)) < 1e-10 + slack)


def test_values_outside_the_support_have_no_mass_below_or_above():
    poisson, gamma = likelihoods.poisson, likelihoods.gamma
    y = jnp.array([-0.5, 0.7, np.nan, np.inf, -np.inf])
    expected = [0.0, np.exp(-1.0), np.nan, 1.0, 0.0]
    np.testing.assert_allclose(poisson.cdf(y, jnp.zeros(5)), expected, rtol=1e-14)
    assert gamma.cdf(jnp.array([-1.0, 0.0]), jnp.zeros(2), shape=2.0).tolist() == [0.0, 0.0]
    tol.assert_close(likelihoods.binomial.cdf(3.0, 0.0, trials=3.0), 1.0, 0.0)
    assert likelihoods.binomial.support.bounds(trials=3.0) == (0.0, 3.0)
    for f in (poisson.mean, poisson.variance, lambda e, **p: poisson.cdf(1.0, e, **p)):
        assert np.isnan(f(0.0, exposure=-1.0))
    assert np.isnan(likelihoods.gaussian.sample(jax.random.key(0), 0.0, sd=-1.0))


def test_survival_times_are_those_of_the_event():
    record = cs.surv(jnp.array([2.0, 3.0]), event=[1, 0])
    with pytest.raises(ArgumentError, match=r"Pass y\.lower"):
        likelihoods.weibull_survival.cdf(record, jnp.zeros(2), shape=1.5)
    support = likelihoods.weibull_survival.support
    assert support.contains(record).tolist() == [True, True]
    assert support.contains(jnp.array([0.0, 1.0])).tolist() == [False, True]


def test_likelihoods_of_ones_own_say_what_they_were_told():
    def density(y, eta, sd):
        return -jnp.abs(y - eta) / sd - jnp.log(2.0 * sd)

    positive = {"sd": likelihoods.gaussian.parameters[0].support}
    own = likelihoods.elementwise(density, parameters=positive)
    for call in (
        lambda: own.mean(0.0, sd=1.0),
        lambda: own.variance(0.0, sd=1.0),
        lambda: own.sample(jax.random.key(0), 0.0, sd=1.0),
        lambda: own.cdf(0.0, 0.0, sd=1.0),
    ):
        with pytest.raises(UnsupportedError, match=r"Give .*= to likelihoods\.elementwise"):
            call()
    told = likelihoods.elementwise(
        density,
        parameters=positive,
        mean=lambda eta, sd: eta,
        variance=lambda eta, sd: 2 * sd**2 + 0 * eta,
        sample=lambda key, eta, sd: eta + sd * jax.random.laplace(key, eta.shape, eta.dtype),
        cdf=lambda y, eta, sd: jnp.where(y < eta, 0.5, 1.0) - 0.5 * jnp.exp(-jnp.abs(y - eta) / sd)
        * jnp.where(y < eta, 0.0, 1.0),
        support=likelihoods.ResponseSupport(-5.0, 5.0),
    )  # fmt: skip
    assert told.mean(jnp.ones(2), sd=3.0).tolist() == [1.0, 1.0]
    assert told.variance(jnp.ones(2), sd=3.0).tolist() == [18.0, 18.0]
    assert told.sample(jax.random.key(0), jnp.ones(2), sd=3.0).shape == (2,)
    assert told.cdf(jnp.array([-6.0, 1.0, 6.0]), jnp.ones(3), sd=3.0).tolist() == [0.0, 0.5, 1.0]
    assert told.log_prob(6.0, 0.0, sd=1.0) == -jnp.inf


def test_contracts():
    poisson = likelihoods.poisson
    with pytest.raises(ShapeError, match=r"poisson\.cdf: arrays must have one shape"):
        poisson.cdf(jnp.zeros(3), jnp.zeros((3, 1)))
    with pytest.raises(DtypeError, match=r"poisson\.mean: exposure must have the dtype of eta"):
        poisson.mean(jnp.zeros(3, jnp.float32), exposure=jnp.ones(3))
    with pytest.raises(ArgumentError, match=r"binomial\.sample: .*Lacking: trials"):
        likelihoods.binomial.sample(jax.random.key(0), jnp.zeros(3))
    assert poisson.mean(jnp.zeros(0)).shape == (0,)
    assert poisson.sample(jax.random.key(0), jnp.zeros(0)).shape == (0,)
    keys = jax.random.split(jax.random.key(0), 4)
    drawn = jax.jit(jax.vmap(lambda key: poisson.sample(key, jnp.zeros(3))))(keys)
    assert drawn.shape == (4, 3)
