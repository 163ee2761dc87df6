"""The demo's tables: what was read and what was estimated."""

from typing import Any

import numpy as np

from cholax.demo.data import Counties
from cholax.demo.fill import Fill
from cholax.demo.inference import Integrated
from cholax.demo.model import Bym2
from cholax.stats.fit import Fit


def introduction(data: Counties, filled: Fill) -> str:
    """Sizes of the data, of the latent vector and of its factors."""
    n, latent = data.size, 2 * data.size + 2
    deaths, births = data.counts.sum(), data.births.sum()
    dense = latent * (latent + 1) // 2
    return f"""\
Sudden infant deaths in North Carolina, 1974-78: spatial Poisson model (BYM2)
  {n} counties, {len(data.edges)} pairs of neighbours, {deaths:.0f} deaths in {births:.0f} births
  latent vector of {latent} = 2 fixed + {n} structured + {n} unstructured effects
  non-zeros, of {dense} in a dense lower triangle:
    H {filled.hessian.nnz}, L in natural order {filled.natural.nnz}, \
L in fill-reducing order {filled.ordered.nnz}"""


def estimates(model: Bym2, fit: Fit, integrated: Integrated, expected: dict[str, Any]) -> str:
    """Table of the parameters: at the mode, integrated, and by Monte Carlo elsewhere."""
    lines = [
        f"{'Estimates':<12}{'posterior mode':>21}{'Laplace, integrated':>25}{'NUTS, numpyro':>25}",
        f"{'':<12}{'value':>11}{'std.err.':>10}" + 2 * f"{'mean':>15}{'sd':>10}",
    ]
    for name, (value, error) in _at_mode(model, fit).items():
        mean, sd = integrated.moments[name]
        nuts_mean, nuts_sd = expected["nuts"][name]
        lines.append(
            f"  {name:<10}{value:>11.4f}{error:>10.4f}"
            f"{mean:>15.4f}{sd:>10.4f}{nuts_mean:>15.4f}{nuts_sd:>10.4f}"
        )
    lines.append(f"  log marginal likelihood {integrated.log_marginal_likelihood:.6f}")
    return "\n".join(lines)


def extremes(data: Counties, integrated: Integrated, *, count: int = 3) -> str:
    """Counties of the highest and the lowest posterior relative risk."""
    mean, sd = integrated.risk
    order = np.argsort(-mean)
    lines = [f"{'Relative risk':<17}deaths  expected  deaths/expected  posterior mean        sd"]
    for i in [*order[:count], *order[-count:]]:
        crude = data.counts[i] / data.expected[i]
        lines.append(
            f"  {data.names[i]:<15}{data.counts[i]:>6.0f}{data.expected[i]:>10.2f}"
            f"{crude:>17.2f}{mean[i]:>16.2f}{sd[i]:>10.2f}"
        )
    return "\n".join(lines)


def _at_mode(model: Bym2, fit: Fit) -> dict[str, tuple[float, float]]:
    """θ, σ and φ by the delta method; β given θ."""
    found = fit.delta(lambda _, theta: (theta, model.hyperparameters(theta)))
    (theta, natural), (theta_sd, natural_sd) = found.estimate, found.standard_error
    beta, beta_sd = fit.mode["beta"], np.sqrt(fit.result.variance()["beta"])
    return {
        "log_sigma": (float(theta[0]), float(theta_sd[0])),
        "logit_phi": (float(theta[1]), float(theta_sd[1])),
        "sigma": (float(natural["sd"]), float(natural_sd["sd"])),
        "phi": (float(natural["phi"]), float(natural_sd["phi"])),
        "beta0": (float(beta[0]), float(beta_sd[0])),
        "beta1": (float(beta[1]), float(beta_sd[1])),
    }
