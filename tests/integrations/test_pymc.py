"""The PyMC distribution: densities, derivatives and draws; sampled for real in the slow suite."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import cholax.stats as cs
from tests import tolerances as tol

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ArviZ announces its next version at import
    pm = pytest.importorskip("pymc")

import pytensor
import pytensor.tensor as pt

from cholax.integrations.pymc import GMRF
from cholax.integrations.pytensor import as_symmetric, precision_of

GRADIENT = tol.gradient(np.float64)
QUICK = {"mode": "FAST_COMPILE"}
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
rng = np.random.default_rng(3)

N = 7
EDGES = [(0, 1), (1, 2), (2, 3), (0, 2), (4, 5), (5, 6), (4, 6)]
W = np.zeros((N, N))
for i, j in EDGES:
    W[i, j] = W[j, i] = 1.0
DEGREES = np.diag(W.sum(axis=0))
ISLANDS = np.array([[1.0, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1]])
CONSTRAINTS = cs.Constraints(ISLANDS, np.array([1.0, 0.0]))
Y = np.array([0, 3, 1, 2, 5, 0, 1])


@pytest.fixture(autouse=True)
def _no_c_compiler(monkeypatch):
    monkeypatch.setattr(pytensor.config, "cxx", "")


def intrinsic_and_proper():
    """Counts on an intrinsic field with fixed sums over its islands, plus a proper one."""
    with pm.Model(coords={"area": range(N)}) as model:
        tau = pm.Gamma("tau", 2.0, 1.0)
        u = GMRF("u", 0.0, tau * as_symmetric(DEGREES - W), constraints=CONSTRAINTS, dims="area")
        v = GMRF("v", 0.5, as_symmetric(DEGREES) - 0.5 * as_symmetric(W))
        pm.Poisson("y", pt.exp(u + v), observed=Y)
    return model


def dense_log_density(log_tau, z, v, Z, foot):
    """The model above with SciPy's basis Z of the null space."""
    tau, u = jnp.exp(log_tau), foot + Z @ z
    R = DEGREES - W
    H = tau * Z.T @ R @ Z
    centre = foot - Z @ jnp.linalg.solve(H, Z.T @ (tau * R) @ foot)
    field = 0.5 * jnp.linalg.slogdet(H)[1] - 0.5 * (u - centre) @ (tau * R) @ (u - centre)
    P, r = DEGREES - 0.5 * W, v - 0.5
    proper = 0.5 * jnp.linalg.slogdet(P)[1] - 0.5 * r @ P @ r
    prior = 2 * log_tau - tau
    counts = jnp.sum(Y * (u + v) - jnp.exp(u + v) - jax.scipy.special.gammaln(Y + 1.0))
    constant = (2 * N - 2) / 2 * jnp.log(2 * jnp.pi)
    return field + proper + prior + counts - constant


def test_model_density_and_gradient_are_the_dense_ones_in_python_and_jax():
    from pymc.sampling.jax import get_jaxified_logp

    model = intrinsic_and_proper()
    start = model.initial_point()
    assert start["u_null_space__"].shape == (N - 2,)
    z, v = rng.normal(size=N - 2), rng.normal(size=N)
    point = {"tau_log__": np.array(0.3), "u_null_space__": z, "v": v}
    linear = model.rvs_to_transforms[model["u"]].constraints
    points = np.asarray(linear.point(np.vstack([np.zeros(N - 2), np.eye(N - 2)])))
    foot, Z = points[0], (points[1:] - points[0]).T
    # The coordinates are orthonormal ones of the null space.
    basis = scipy.linalg.null_space(ISLANDS)
    tol.assert_close(Z @ Z.T, basis @ basis.T, GRADIENT)
    twin = quick(jax.value_and_grad(dense_log_density, (0, 1, 2)))
    value, gradient = twin(0.3, z, v, Z, foot)
    want = np.concatenate([np.ravel(x) for x in gradient])
    f = model.logp_dlogp_function(ravel_inputs=True, **QUICK)
    f.set_extra_values({})
    got = f(pm.blocking.DictToArrayBijection.map(point).data)
    tol.assert_close(got[0], value, GRADIENT)
    tol.assert_close(got[1], want, GRADIENT)
    # What PyMC's JAX samplers run.
    in_jax = quick(get_jaxified_logp(model))([point[x.name] for x in model.value_vars])
    tol.assert_close(in_jax, value, GRADIENT)


def test_draws_have_the_constrained_covariance_and_meet_the_constraints():
    Q = 2.0 * as_symmetric(DEGREES - W)
    x = GMRF.dist(0.0, Q, constraints=CONSTRAINTS, size=4000)
    draws = pm.draw(x, random_seed=8, **QUICK)
    tol.assert_close(draws @ ISLANDS.T, np.tile([1.0, 0.0], (4000, 1)), tol.value(np.float64))
    mean = np.array([0.25] * 4 + [0.0] * 3)
    cov = np.linalg.pinv(2.0 * (DEGREES - W), 1e-10)
    # Five standard errors.
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 5 * np.sqrt(np.diag(cov) / 4000))
    assert np.max(np.abs(np.cov(draws.T) - cov)) < 5 * np.max(np.diag(cov)) * np.sqrt(2 / 4000)


def gaussian_model(y, sd):
    """Gaussian observations of an AR(1) field, whose posterior given rho is known."""
    with pm.Model() as model:
        rho = pm.Uniform("rho", 0.0, 0.95)
        Q = precision_of(cs.ar1(y.size), precision=1.0, rho=rho)
        u = GMRF("u", 0.0, Q)
        pm.Normal("y", u, sd, observed=y)
    return model


def exact_moments(y, sd):
    """E ρ and E u | y by quadrature over ρ, densely."""
    rhos = np.linspace(0.0, 0.95, 2001)[1:-1]
    logs, means = [], []
    for rho in rhos:
        S = np.asarray(cs.ar1(y.size).precision(precision=1.0, rho=rho).to_dense())
        S = np.linalg.inv(S)
        C = S + sd**2 * np.eye(y.size)
        logs.append(-0.5 * np.linalg.slogdet(C)[1] - 0.5 * y @ np.linalg.solve(C, y))
        means.append(S @ np.linalg.solve(C, y))
    w = np.exp(np.array(logs) - max(logs))
    w /= w.sum()
    return w @ rhos, w @ np.array(means)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["pymc", "numpyro"])
def test_samplers_find_the_exact_posterior_moments(sampler):
    """PyMC's own sampler in two fresh processes, and NumPyro's in this one."""
    y, sd = np.cumsum(rng.normal(size=8)), 0.7
    options = {"cores": 2, "mp_ctx": "forkserver"} if sampler == "pymc" else {}
    with gaussian_model(y, sd):
        data = pm.sample(
            draws=1500,
            tune=500,
            chains=2,
            random_seed=4,
            nuts_sampler=sampler,
            progressbar=False,
            compute_convergence_checks=False,
            **options,
        )
    rho, u = exact_moments(y, sd)
    draws = data.posterior
    # About 1000 effective draws; five standard errors.
    assert abs(float(draws["rho"].mean()) - rho) < 5 * float(draws["rho"].std()) / np.sqrt(1000)
    errors = np.abs(draws["u"].mean(("chain", "draw")).values - u)
    assert np.all(errors < 5 * draws["u"].std(("chain", "draw")).values / np.sqrt(1000))


@pytest.mark.slow
def test_forked_chains_say_how_to_start_others():
    with gaussian_model(np.ones(3), 1.0), pytest.raises(Exception, match="forkserver"):
        pm.sample(draws=5, tune=5, chains=2, cores=2, mp_ctx="fork", progressbar=False)
