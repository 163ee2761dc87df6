"""Simulation-based calibration: ranks of the truth among posterior draws are uniform.

Parameters drawn from the prior, data from the model, L draws from the posterior: the rank of the
true parameter among them is uniform on 0, …, L exactly where the draws are those of the posterior
(Talts, Betancourt, Simpson, Vehtari & Gelman 2018). Each model is also run with a wrong posterior,
which has to be noticed.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import cholax as cx
import cholax.stats as cs

pytestmark = pytest.mark.slow

# Twenty equally likely ranks.
DRAWS = 19
# Of the smallest of a few p-values under fixed seeds, for right and wrong posteriors.
FAIR, FOUL = 1e-3, 1e-8


def p_values(truth, draws):
    """χ² test of uniform ranks of each function: truth (N, f), draws (N, L, f)."""
    ranks = np.sum(np.asarray(draws) < np.asarray(truth)[:, None], axis=1)
    return [scipy.stats.chisquare(np.bincount(r, minlength=DRAWS + 1)).pvalue for r in ranks.T]


def judge(one, key, replicates, fault):
    """Uniform ranks from the right posterior, anything but from one with the fault."""
    run = jax.jit(jax.vmap(one, in_axes=(0, None)))
    keys = jax.random.split(key, replicates)
    fair = min(p_values(*run(keys, 0.0)))
    assert fair > FAIR, f"ranks are not uniform: p = {fair:.3g}"
    foul = min(p_values(*run(keys, fault)))
    assert foul < FOUL, f"a wrong posterior passes: p = {foul:.3g}"


def test_conditioned_intrinsic_field():
    """An intrinsic field on two islands, sums fixed, seen with noise through linear functions."""
    rng = np.random.default_rng(1)
    n, replicates, sd = 9, 2000, 0.5
    graph = np.diag(np.ones(n - 1), 1)
    graph[4, 5] = 0.0
    graph = graph + graph.T
    Q = cx.from_dense(2.0 * (np.diag(graph.sum(axis=0)) - graph), symmetric=True)
    islands = np.repeat(np.eye(2), [5, 4], axis=1)
    prior = cs.GMRF(0.0, Q, cs.Constraints(islands))
    B = cx.from_dense(rng.normal(size=(6, n)))
    dense = Q.to_dense()

    def one(key, fault):
        first, second, third = jax.random.split(key, 3)
        x = prior.sample(first)
        y = B @ x + sd * jax.random.normal(second, (6,))
        posterior = prior.condition(B, y, jnp.full(6, sd**-2.0) / (1.0 + fault) ** 2)
        draws = posterior.sample(third, (DRAWS,))

        def functions(x):
            quadratic = jnp.einsum("...i,ij,...j->...", x, dense, x)
            return jnp.stack([x[..., 0], x[..., 5] - x[..., 8], quadratic], axis=-1)

        return functions(x), functions(draws)

    judge(one, jax.random.key(2), replicates, fault=1.0)


def test_poisson_counts_on_an_autoregression():
    """Laplace's method for the latents, NUTS over precision and correlation."""
    pytest.importorskip("blackjax")
    from cholax.integrations.blackjax import nuts

    n, replicates, thin = 30, 120, 3
    centre, spread = jnp.array([1.0, 0.7]), jnp.array([0.5, 0.4])
    field = cs.ar1(n)

    def hyper(theta):
        return {"precision": jnp.exp(theta[0]), "rho": jnp.tanh(theta[1])}

    def log_joint(u, theta, y):
        eta = 1.5 + u
        return field.log_prob(u, **hyper(theta)) + jnp.sum(y * eta - jnp.exp(eta))

    model = cs.laplace(log_joint, jnp.zeros(n))

    def log_density(theta, y, fault):
        prior = -0.5 * jnp.sum(((theta - centre - fault) / spread) ** 2)
        return model.log_marginal(theta, y) + prior

    def one(key, fault):
        keys = jax.random.split(key, 4)
        theta = centre + spread * jax.random.normal(keys[0], (2,))
        u = field(**hyper(theta)).sample(keys[1])
        y = jax.random.poisson(keys[2], jnp.exp(1.5 + u)).astype(u.dtype)
        draws = nuts(
            keys[3], lambda t: log_density(t, y, fault), centre, chains=1, warmup=80,
            draws=DRAWS * thin, max_tree_depth=4,
        )  # fmt: skip
        return theta, draws.positions[0, ::thin]

    judge(one, jax.random.key(3), replicates, fault=1.0)


def test_mixed_model():
    """Random intercepts: effects and variances together, by whitened joint NUTS."""
    pytest.importorskip("blackjax")
    from cholax.integrations.blackjax import sparse_nuts

    groups, size, replicates, thin = 6, 4, 200, 5
    centre, spread = jnp.array([0.0, -0.3]), 0.3
    which = jnp.repeat(jnp.arange(groups), size)

    def log_density(x, y, fault):
        sd_group, sd = jnp.exp(x["log_sd"])
        r = y - x["mean"] - x["effects"][which]
        return (
            -0.5 * jnp.sum(r**2) / sd**2
            - y.size * jnp.log(sd)
            - 0.5 * jnp.sum(x["effects"] ** 2) / sd_group**2
            - groups * jnp.log(sd_group)
            - 0.5 * x["mean"] ** 2
            - 0.5 * jnp.sum(((x["log_sd"] - centre - fault) / spread) ** 2)
        )

    # Near the Hessian at the mode of a typical data set, in the order effects, log_sd, mean.
    weight = np.exp(0.6)
    H = np.diag([1 + size * weight] * groups + [2.0 * groups + 11, 2.0 * groups * size + 11])
    H = np.block([[H, np.zeros((groups + 2, 1))], [np.zeros((1, groups + 2)), np.eye(1)]])
    H[-1, -1] += groups * size * weight
    H[-1, :groups] = H[:groups, -1] = size * weight
    precision = cx.from_dense(H, symmetric=True)

    def one(key, fault):
        keys = jax.random.split(key, 5)
        log_sd = centre + spread * jax.random.normal(keys[0], (2,))
        mean = jax.random.normal(keys[1])
        effects = jnp.exp(log_sd[0]) * jax.random.normal(keys[2], (groups,))
        noise = jnp.exp(log_sd[1]) * jax.random.normal(keys[3], which.shape)
        y = mean + effects[which] + noise
        mode = {"effects": jnp.zeros(groups), "log_sd": centre, "mean": y.mean()}
        draws = sparse_nuts(
            keys[4], lambda x: log_density(x, y, fault), mode, precision, chains=1, warmup=100,
            draws=DRAWS * thin, max_tree_depth=6,
        ).positions  # fmt: skip
        found = [draws["mean"][0], draws["effects"][0, :, 0], *draws["log_sd"][0].T]
        return jnp.stack([mean, effects[0], *log_sd]), jnp.stack(found, axis=-1)[::thin]

    judge(one, jax.random.key(4), replicates, fault=0.5)
