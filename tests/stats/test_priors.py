"""Priors integrate to one, state their Jacobians, and are those of their definitions."""

import inspect
import math

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st

from cholax.errors import ArgumentError, DtypeError, UnsupportedError
from cholax.stats import PRIORS, Graph, bym2, priors
from cholax.stats.correlation import CholeskyCorrelation, Correlation
from cholax.testing import check_derivatives
from tests import tolerances as tol

GRAPH = Graph.from_edges(7, [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5]])

# Name of the registry entry, the prior, and a point on its natural scale.
CASES = {
    "normal": ("normal", priors.normal(0.3, 2.0), 0.7),
    "half_normal": ("half_normal", priors.half_normal(1.5), 0.7),
    "half_t": ("half_t", priors.half_t(4.0, 1.5), 0.7),
    "gamma": ("gamma", priors.gamma(2.5, 1.5), 0.7),
    "exponential": ("exponential", priors.exponential(1.5), 0.7),
    "uniform": ("uniform", priors.uniform(-1.0, 3.0), 0.7),
    "beta": ("beta", priors.beta(2.0, 3.5), 0.7),
    "pc_precision": ("pc_precision", priors.pc_precision(1.0, 0.05), 2.7),
    "pc_sd": ("pc_precision", priors.pc_precision(1.0, 0.05, scale="sd"), 0.7),
    "pc_bym2_phi": (
        "pc_bym2_phi",
        priors.pc_bym2_phi(GRAPH, upper=0.4, probability=0.6, singletons="iid"),
        0.3,
    ),
    "pc_matern": ("pc_matern", priors.pc_matern(0.5, 0.05, 2.0, 0.1), (0.7, 1.2)),
    "pc_ar1": ("pc_ar1", priors.pc_ar1(0.6, 0.3), -0.4),
    "pc_ar1_one": ("pc_ar1", priors.pc_ar1(0.5, 0.75, base=1), 0.6),
    "lkj": ("lkj", priors.lkj(3, 1.7), None),
    "lkj_cholesky": ("lkj_cholesky", priors.lkj_cholesky(3, 1.7), None),
}
SCALAR = [name for name in CASES if name not in ("lkj", "lkj_cholesky", "pc_matern")]
PARTIAL = np.array([0.3, -0.5, 0.8])


def unconstrained_point(name, dtype=np.float64):
    _, prior, x = CASES[name]
    if x is None:
        return jnp.asarray(PARTIAL, dtype)
    return jax.tree.map(lambda v: jnp.asarray(v, dtype), prior.unconstrained().inverse(x))


@jax.jit
def program(z):
    """Value and gradient of all priors on the unconstrained scale: one compilation."""
    values, pullback = jax.vjp(
        lambda z: {name: CASES[name][1].unconstrained().log_prob(z[name]) for name in CASES}, z
    )
    return values, pullback(jax.tree.map(jnp.ones_like, values))[0]


def test_every_family_is_registered_and_has_a_case():
    public = {name for name, item in inspect.getmembers(priors, inspect.isfunction)}
    assert {entry for entry, _, _ in CASES.values()} == set(PRIORS) == public
    assert all(PRIORS[name].__name__ == name for name in PRIORS)
    assert all(prior.scale for _, prior, _ in CASES.values())


GRID = np.linspace(-110.0, 110.0, 8001)
STEP = GRID[1] - GRID[0]


@jax.jit
def scalar_densities(z):
    """Of all priors of one number: x, its density, and the density of z."""
    free = {name: CASES[name][1].unconstrained() for name in SCALAR}
    x = {name: free[name].forward(z) for name in SCALAR}
    natural = {name: jnp.exp(CASES[name][1].log_prob(x[name])) for name in SCALAR}
    return x, natural, {name: jnp.exp(free[name].log_prob(z)) for name in SCALAR}


def test_scalar_densities_integrate_to_one_on_both_scales():
    x, natural, free = jax.tree.map(np.asarray, scalar_densities(jnp.asarray(GRID)))
    for name in SCALAR:
        # A kink (PC priors of ρ at 0) costs the trapezoidal rule its order.
        assert abs(free[name].sum() * STEP - 1.0) < 1e-4, name
        # By the definition of a density, without a Jacobian of ours.
        assert abs(np.trapezoid(natural[name], x[name]) - 1.0) < 2e-3, name


def test_statements_of_probability_hold():
    x, _, free = jax.tree.map(np.asarray, scalar_densities(jnp.asarray(GRID)))

    def mass(name, inside):
        return free[name][inside(x[name])].sum() * STEP

    assert abs(mass("pc_precision", lambda tau: tau < 1.0) - 0.05) < 5e-3
    assert abs(mass("pc_sd", lambda sd: sd > 1.0) - 0.05) < 5e-3
    assert abs(mass("pc_bym2_phi", lambda phi: phi < 0.4) - 0.6) < 5e-3
    assert abs(mass("pc_ar1", lambda rho: np.abs(rho) > 0.6) - 0.3) < 5e-3
    assert abs(mass("pc_ar1_one", lambda rho: rho > 0.5) - 0.75) < 5e-3


def test_joint_density_of_range_and_sd_integrates_to_one():
    z = np.linspace(-9.0, 14.0, 300)
    a, b = np.meshgrid(z, np.linspace(-25.0, 4.0, 300), indexing="ij")
    prior = CASES["pc_matern"][1]
    density = np.exp(prior.unconstrained().log_prob((jnp.asarray(a), jnp.asarray(b))))
    assert abs(density.sum() * (23.0 / 299) * (29.0 / 299) - 1.0) < 1e-4
    # Both statements hold: P(range < 0.5) = 0.05, P(sd > 2) = 0.1.
    near, large = np.exp(a) < 0.5, np.exp(b) > 2.0
    assert abs(density[near].sum() * (23.0 / 299) * (29.0 / 299) - 0.05) < 0.01
    assert abs(density[large].sum() * (23.0 / 299) * (29.0 / 299) - 0.1) < 0.01


@pytest.mark.parametrize("k", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_densities_of_correlations_integrate_to_one(k):
    points = {2: 801, 3: 41}[k]
    z = np.linspace(-8.0, 8.0, points)
    axes = np.stack(np.meshgrid(*[z] * (k * (k - 1) // 2), indexing="ij"), -1)
    flat = jnp.asarray(axes.reshape(-1, axes.shape[-1]))
    free = [family(k, 1.7).unconstrained() for family in (priors.lkj, priors.lkj_cholesky)]
    values = jax.jit(jax.vmap(lambda z: [prior.log_prob(z) for prior in free]))(flat)
    volume = (16.0 / (points - 1)) ** flat.shape[1]
    for log_density in values:
        assert abs(float(jnp.exp(log_density).sum()) * volume - 1.0) < 1e-5


def test_jacobians_are_those_of_the_map():
    z = jnp.asarray(PARTIAL)
    below = np.tril_indices(3, -1)
    for support in (Correlation(3), CholeskyCorrelation(3)):
        matrix = jax.jit(jax.jacfwd(lambda z, s=support: s.forward(z)[below]))(z)
        tol.assert_close(support.log_jacobian(z), np.linalg.slogdet(matrix)[1], 1e-12)
        tol.assert_close(support.inverse(support.forward(z)), z, 1e-12)
        assert support.contains(support.forward(z))
        assert not support.contains(support.forward(z) * 1.1)
    for name in ("gamma", "uniform"):
        free = CASES[name][1].unconstrained()
        slope = jax.grad(free.forward)(0.4)
        tol.assert_close(free.log_jacobian(jnp.asarray(0.4)), np.log(slope), 1e-12)
        tol.assert_close(free.inverse(free.forward(jnp.asarray(0.4))), 0.4, 1e-12)


def test_scipy_agrees_where_it_has_the_family():
    x, natural, _ = jax.tree.map(np.asarray, scalar_densities(jnp.asarray(GRID)))
    frozen = {
        "normal": st.norm(0.3, 2.0),
        "half_normal": st.halfnorm(scale=1.5),
        "gamma": st.gamma(2.5, scale=1 / 1.5),
        "exponential": st.expon(scale=1 / 1.5),
        "uniform": st.uniform(-1.0, 4.0),
        "beta": st.beta(2.0, 3.5),
    }
    inner = np.abs(GRID) < 20.0
    for name, family in frozen.items():
        tol.assert_close(natural[name][inner], family.pdf(x[name][inner]), 1e-11)
    half_t = 2.0 * st.t.pdf(x["half_t"], 4.0, scale=1.5)
    tol.assert_close(natural["half_t"][inner], half_t[inner], 1e-11)


def test_distance_of_bym2_is_that_of_kullback_and_leibler():
    model = bym2(GRAPH, form="uv", singletons="iid")
    B, phi = model.effect_matrix(precision=1.0, phi=0.3).to_dense(), 0.3
    Q = np.asarray(model.precision(precision=1.0, phi=phi).to_dense())
    covariance = np.asarray(B) @ np.linalg.pinv(Q, 1e-10) @ np.asarray(B).T
    divergence = np.trace(covariance) - 7 - np.linalg.slogdet(covariance)[1]
    prior = CASES["pc_bym2_phi"][1]
    rate = -math.log(0.4) / distance(0.4, model)
    slope = (distance(phi + 1e-5, model) - distance(phi - 1e-5, model)) / 2e-5
    expected = math.log(rate) - rate * math.sqrt(divergence) + math.log(slope)
    assert abs(float(prior.log_prob(phi)) - expected) < 1e-8
    # No 0/0 at the base model, where the distance is a straight line.
    assert abs(float(prior.log_prob(1e-12)) - float(prior.log_prob(1e-9))) < 1e-6


def distance(phi, model):
    Q = np.linalg.pinv(np.asarray(model.precision(precision=1.0, phi=0.5).to_dense()), 1e-10)[
        :7, :7
    ]
    covariance = (1 - phi) * np.eye(7) + phi * Q
    return math.sqrt(np.trace(covariance) - 7 - np.linalg.slogdet(covariance)[1])


@pytest.mark.slow
def test_gradients_are_difference_quotients():
    z = {name: unconstrained_point(name) for name in CASES}
    _, slopes = program(z)
    up, down = (program(jax.tree.map(lambda v, s=s: v + s, z))[0] for s in (1e-6, -1e-6))
    for name in CASES:
        total = sum(float(jnp.sum(part)) for part in jax.tree.leaves(slopes[name]))
        assert abs((float(up[name]) - float(down[name])) / 2e-6 - total) < 1e-7, name


@pytest.mark.slow
def test_derivatives_of_every_order_are_those_of_finite_differences():
    flat, unravel = jax.flatten_util.ravel_pytree({n: unconstrained_point(n) for n in CASES})
    check_derivatives(jax.jit(lambda z: program(unravel(z))[0]), [flat])


def test_results_have_the_dtype_of_the_parameter():
    z = {name: unconstrained_point(name, np.float32) for name in CASES}
    values, slopes = jax.eval_shape(program, z)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves((values, slopes)))
    with pytest.raises(DtypeError, match="int64"):
        priors.normal().log_prob(jnp.arange(3))


def test_points_outside_the_support_have_no_density():
    for name, x in {"beta": 1.5, "pc_precision": 0.0}.items():
        value, slope = jax.jit(jax.value_and_grad(CASES[name][1].log_prob))(x)
        assert value == -jnp.inf
        assert slope == 0.0
    assert CASES["pc_matern"][1].log_prob((-1.0, 1.0)) == -jnp.inf
    assert CASES["lkj"][1].log_prob(2.0 * jnp.eye(3)) == -jnp.inf


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCALAR if name != "pc_bym2_phi"])
def test_samples_follow_the_density(name):
    prior = CASES[name][1]
    draws = np.asarray(prior.sample(jax.random.key(3), (4000,)))
    z = np.linspace(-36.0, 36.0, 8001)
    density = np.exp(np.asarray(prior.unconstrained().log_prob(jnp.asarray(z))))
    cdf = np.cumsum(density) * (z[1] - z[0])
    places = np.interp(np.asarray(prior.unconstrained().inverse(draws)), z, cdf)
    assert st.kstest(places, "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_correlations_are_drawn_with_their_variance():
    C = np.asarray(priors.lkj(3, 2.0).sample(jax.random.key(1), (4000,)))
    # Each entry is 2 Beta(b, b) - 1 with b = η + (k - 2)/2.
    assert np.abs(C[:, 1, 0].var() - 1 / (2 * 2.5 + 1)) < 0.015
    assert np.abs(C[:, 2, 1].var() - 1 / (2 * 2.5 + 1)) < 0.015
    with pytest.raises(UnsupportedError, match="no sampler"):
        CASES["pc_bym2_phi"][1].sample(jax.random.key(0))


def test_contracts():
    with pytest.raises(ArgumentError, match="upper must be positive"):
        priors.pc_precision(-1.0, 0.1)
    with pytest.raises(ArgumentError, match="probability must lie"):
        priors.pc_precision(1.0, 1.0)
    with pytest.raises(ArgumentError, match="scale must be"):
        priors.pc_precision(1.0, 0.1, scale="variance")
    with pytest.raises(ArgumentError, match=r"must exceed √\(\(1 - bound\)/2\) = 0.5"):
        priors.pc_ar1(0.5, 0.4, base=1)
    with pytest.raises(ArgumentError, match="base"):
        priors.pc_ar1(0.5, 0.4, base=2)
    with pytest.raises(ArgumentError, match="order must be"):
        priors.lkj(1)
    with pytest.raises(ArgumentError, match="no neighbours"):
        priors.pc_bym2_phi(GRAPH)
    with pytest.raises(ArgumentError, match="must have an edge"):
        priors.pc_bym2_phi(Graph.from_edges(2, []), singletons="iid")
    with pytest.raises(ArgumentError, match="dimension"):
        priors.pc_matern(1.0, 0.1, 1.0, 0.1, dimension=4)
