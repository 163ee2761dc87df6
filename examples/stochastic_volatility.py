"""Stochastic volatility: daily returns of the S&P 500 with a latent log-variance.

    y_t ~ N(0, exp(μ + x_t)),   x an AR(1) process with persistence ρ and standard deviation σ

A latent variable a day is integrated out by Laplace's method, (μ, ρ, σ) maximize the marginal
likelihood. Because x is one-dimensional and Markov, that likelihood is also known almost exactly,
by filtering on a grid of volatilities: the example says how far Laplace is from it.
"""

from pathlib import Path
from typing import Any

import _data
import _example
import jax
import jax.numpy as jnp
import numpy as np

import cholax.stats as cs
from cholax.stats import likelihoods

jax.config.update("jax_enable_x64", True)


def main(*, quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Fit, print, draw, check."""
    dates, returns = _data.sp500("2007-12-31", "2009-12-31" if quick else "2017-12-29")
    y = jnp.asarray(returns - returns.mean())
    n = len(y)
    process = cs.ar1(n)

    def natural(theta):
        return {"mu": theta["mu"], "rho": jnp.tanh(theta["z"]), "sd": jnp.exp(theta["log_sd"])}

    def log_joint(x, theta):
        mu, rho, sd = natural(theta).values()
        density = likelihoods.gaussian.log_prob(y, jnp.zeros(n), sd=jnp.exp((mu + x) / 2))
        return density.sum() + process.log_prob(x, sd=sd, rho=rho)

    model = cs.laplace(log_joint, jnp.zeros(n))
    start = {"mu": jnp.log(jnp.var(y)), "z": jnp.asarray(2.0), "log_sd": jnp.asarray(0.0)}
    fit = cs.fit_ml(model, start, throw=True)

    estimates = fit.delta(lambda x, theta: natural(theta))
    names = {"mu": "μ", "rho": "ρ", "sd": "σ"}
    rows = [[names[k], estimates.estimate[k], estimates.standard_error[k]] for k in names]
    _example.table([f"{n} days", "estimate", "std. error"], rows)
    exact = float(filtered(y, **natural(fit.theta)))
    laplace = float(fit.log_likelihood)
    print(f"log-likelihood: Laplace {laplace:.3f}, filter on a grid {exact:.3f}")
    # An error that grows with n: 0.9 on 2 518 days.
    assert abs(laplace - exact) < 0.0005 * n
    assert 0.9 < estimates.estimate["rho"] < 1

    log_variance = fit.delta(lambda x, theta: theta["mu"] + x)
    centre, error = np.asarray(log_variance.estimate), np.asarray(log_variance.standard_error)
    if out is not None:
        draw(dates, np.asarray(y), centre, error, out)
    return {"theta": fit.theta, "laplace": laplace, "exact": exact}


def filtered(y, mu, rho, sd, points=300, reach=5.0):
    """log p(y) by the hidden Markov model of x on a grid of `points` values."""
    x = jnp.linspace(-reach * sd, reach * sd, points)
    innovation = sd * jnp.sqrt(1 - rho**2)
    step = jnp.exp(-0.5 * ((x[None] - rho * x[:, None]) / innovation) ** 2)
    step = step / step.sum(axis=1, keepdims=True)
    first = jnp.exp(-0.5 * (x / sd) ** 2)

    def day(state, y):
        probability, total = state
        log_density = likelihoods.gaussian.log_prob(y, jnp.zeros(points), sd=jnp.exp((mu + x) / 2))
        joint = probability * jnp.exp(log_density)
        return ((joint / joint.sum()) @ step, total + jnp.log(joint.sum())), None

    (_, total), _ = jax.lax.scan(day, (first / first.sum(), jnp.zeros(())), y)
    return total


def draw(dates, y, centre, error, out):
    """Returns within bands of two standard deviations of the day, and the volatility itself."""
    drawn = _example.figure(8.0, 4.6)
    above, below = drawn.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    volatility = np.exp(centre / 2)
    above.plot(dates, y, color=_example.GREY, linewidth=0.5)
    for sign in (-2, 2):
        above.plot(dates, sign * volatility, color=_example.ACCENT, linewidth=0.9)
    above.set(title="daily returns less their mean, and ± 2 exp((μ + x)/2)", ylabel="per cent")
    low, high = np.exp((centre - 1.96 * error) / 2), np.exp((centre + 1.96 * error) / 2)
    below.fill_between(dates, low, high, color=_example.PALE, linewidth=0)
    below.plot(dates, volatility, color=_example.INK, linewidth=0.9)
    below.set(title="volatility, 95 % band", ylabel="per cent a day", yscale="log")
    below.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    below.minorticks_off()
    _example.save(drawn, out)


if __name__ == "__main__":
    _example.run(main)
