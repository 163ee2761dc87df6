"""The demo's results next to those of other programs."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cholax.demo.inference import Integrated
from cholax.demo.model import Bym2
from cholax.stats.fit import Fit

# Relative to max(1, |expected|). The reference prints 15 digits and was confirmed to 1e-11;
# its Hessian is by differences of step 1e-3, whose own error is 4e-7.
TOL_VALUE = 1e-9
TOL_DERIVATIVE = 1e-7
TOL_CURVATURE = 1e-6


class Check(NamedTuple):
    """One quantity of the reference; arrays count by their worst entry."""

    name: str
    ours: np.ndarray
    expected: np.ndarray
    tolerance: float

    @property
    def difference(self) -> float:
        """Worst absolute difference."""
        return float(np.max(np.abs(self.ours - self.expected)))

    @property
    def agrees(self) -> bool:
        """False for NaN as well."""
        bound = self.tolerance * np.maximum(1.0, np.abs(self.expected))
        return bool(np.all(np.abs(self.ours - self.expected) <= bound))


def compare(model: Bym2, fit: Fit, integrated: Integrated, expected: dict[str, Any]) -> list[Check]:
    """Every number of the reference next to ours."""
    prior = [
        _check("scale of the ICAR prior", model.spatial.scale, expected["scale"]),
        _check("log|R|_*", model.structured.log_det(precision=1.0), expected["gen_logdet"]),
    ]
    points = _at_points(model, fit, expected["laplace"])
    at_mode = _at_mode(fit, expected["mode"])
    return [*prior, *points, *at_mode, *_over_grid(integrated, expected["integrated"])]


def table(rows: list[Check]) -> str:
    """One line per check and a verdict."""
    lines = [
        "Comparison with the reference (of arrays: first entry, worst difference)",
        f"  {'':<32}{'ours':>20}{'expected':>20}{'difference':>12}{'tolerance':>11}",
    ]
    for row in rows:
        first, target = row.ours.flat[0], row.expected.flat[0]
        mark = "" if row.agrees else "   DISAGREES"
        lines.append(
            f"  {row.name:<32}{first:>20.12f}{target:>20.12f}"
            f"{row.difference:>12.1e}{row.tolerance:>11.0e}{mark}"
        )
    failures = sum(not row.agrees for row in rows)
    verdict = f"{failures} of {len(rows)} DISAGREE" if failures else f"all {len(rows)} agree"
    return "\n".join([*lines, f"  {verdict}"])


def _check(name: str, ours: Any, expected: Any, tolerance: float = TOL_VALUE) -> Check:
    return Check(name, np.asarray(ours, float), np.asarray(expected, float), tolerance)


def _at_points(model: Bym2, fit: Fit, points: list[dict[str, Any]]) -> list[Check]:
    prior = jax.value_and_grad(model.log_prior)
    rows = []
    for point in points:
        par = jnp.asarray(point["par"], float)
        given, (log_prior, prior_slope) = model.conditional(par), prior(par)
        # The fit's own program: of the posterior.
        gradient = fit.evaluator(np.asarray(par)).gradient + prior_slope
        at = f" at ({par[0]:.3g}, {par[1]:.3g})"
        rows += [
            _check("nll" + at, -given.log_marginal, point["nll_laplace"]),
            _check("gradient" + at, gradient, point["gradient"], TOL_DERIVATIVE),
            _check("log prior" + at, log_prior, point["log_prior"]),
            _check("beta mode" + at, given.beta_mean, point["beta_mode"]),
            _check("beta variance" + at, given.beta_variance, point["beta_condvar"]),
        ]
    return rows


def _at_mode(fit: Fit, expected: dict[str, Any]) -> list[Check]:
    return [
        _check("posterior mode", fit.theta, expected["par"], TOL_DERIVATIVE),
        _check("-log posterior at the mode", -fit.objective, expected["neg_log_post"]),
        _check("Hessian at the mode", -fit.hessian, expected["hessian"], TOL_CURVATURE),
    ]


def _over_grid(integrated: Integrated, expected: dict[str, Any]) -> list[Check]:
    ours, moments = integrated.log_marginal_likelihood, integrated.moments
    rows = [_check("log marginal likelihood", ours, expected["log_marginal_likelihood"])]
    targets = {
        "sigma": (expected["sigma_mean"], expected["sigma_sd"]),
        "phi": (expected["phi_mean"], expected["phi_sd"]),
        "beta0": (expected["beta_mean"][0], expected["beta_sd"][0]),
        "beta1": (expected["beta_mean"][1], expected["beta_sd"][1]),
    }
    for name, target in targets.items():
        rows.append(_check(f"integrated mean, sd of {name}", moments[name], target))
    return rows
