"""The table of `samplers.md`: effective draws per gradient of four ways to run NUTS.

`lattice`: Poisson counts on a 20 × 25 lattice, the log precision of the field sampled with its 500
values. `path`: a Gaussian field on a path of 500 nodes, of correlation length 30. Two chains of 500
draws after a warm-up of 500 (200 where whitened), all started at the mode.

    python docs/how-to/samplers_figures.py [lattice|path [part of a way's name]]
"""

import sys
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np

import cholax as cx
import cholax.stats as cs
from cholax.integrations.arviz import to_inference_data
from cholax.integrations.blackjax import nuts, sparse_nuts

jax.config.update("jax_enable_x64", True)
warnings.simplefilter("ignore")
import arviz as az  # noqa: E402

SHAPE, DRAWS = (20, 25), 500


def lattice_precision():
    """D − 0.99 W of a lattice."""
    rows, columns = SHAPE
    i = np.arange(rows * columns).reshape(SHAPE)
    edges = [(i[:-1], i[1:]), (i[:, :-1], i[:, 1:])]
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in edges])
    W = np.zeros((i.size, i.size))
    W[pairs[:, 0], pairs[:, 1]] = W[pairs[:, 1], pairs[:, 0]] = 1.0
    return cx.from_dense(np.diag(W.sum(axis=0)) - 0.99 * W, symmetric=True)


def lattice():
    """Log-density, mode and precision there, of latents and log precision."""
    R = lattice_precision()
    half_log_det = 0.5 * cx.log_det(R)
    truth = np.asarray(cx.cholesky(4.0 * R).sample(jax.random.key(5)))
    y = jnp.asarray(np.random.default_rng(5).poisson(np.exp(0.5 + truth)), float)

    def log_joint(u, theta):
        field = 0.5 * R.n * theta + half_log_det - 0.5 * jnp.exp(theta) * cx.quadratic_form(R, u)
        return field + jnp.sum(y * (0.5 + u) - jnp.exp(0.5 + u)) - 0.5 * (theta - 1.0) ** 2

    model = cs.laplace(log_joint, jnp.zeros(R.n))
    fit = cs.fit_map(model, jnp.array(1.0), lambda theta: 0.0 * theta)
    return (
        lambda x: log_joint(x["u"], x["θ"]),
        {"u": fit.mode, "θ": fit.theta},
        fit.joint_precision(),
    )


def path():
    """Log-density, mode and precision of a Gaussian."""
    Q = cx.diags([np.full(499, -1.0), np.full(500, 2.001)], [-1, 0], symmetric=True)
    return lambda x: -0.5 * cx.quadratic_form(Q, x["u"]), {"u": jnp.zeros(500)}, Q


def main(problem="lattice", part=""):
    """Sample in each way, print."""
    log_density, mode, Q = {"lattice": lattice, "path": path}[problem]()
    plain = {"warmup": DRAWS, "draws": DRAWS, "chains": 2}
    white = {"draws": DRAWS, "chains": 2}
    ways = {
        "diagonal metric": lambda k: nuts(k, log_density, mode, metric="diagonal", **plain),
        "dense metric": lambda k: nuts(k, log_density, mode, metric="dense", **plain),
        "whitened, identity metric": lambda k: sparse_nuts(
            k, log_density, mode, Q, metric="identity", **white
        ),
        "whitened, diagonal metric": lambda k: sparse_nuts(k, log_density, mode, Q, **white),
    }
    for name in (name for name in ways if part in name):
        started = time.perf_counter()
        result = jax.block_until_ready(ways[name](jax.random.key(0)))
        report(name, result, time.perf_counter() - started)


def report(name, result, seconds):
    """Gradients of warm-up and draws; effective draws, in all and per 1000 gradients of drawing."""
    steps = int(result.stats["n_steps"].sum())
    print(
        f"{name}: gradients {int(result.stats['warmup_steps'].sum())} + {steps}; divergences "
        f"{int(result.stats['diverging'].sum())}; {seconds:.0f} s with compiling"
    )
    for variable, values in az.ess(to_inference_data(result)).data_vars.items():
        for kind, ess in (("worst", values.min()), ("median", values.median())):
            print(f"  {variable}, {kind}: {float(ess):.0f}, {1000 * float(ess) / steps:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
