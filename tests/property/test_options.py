"""Options without sense meet an error of cholax that names them, before anything is computed."""

import importlib
import inspect

import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
import cholax.stats as cs
from cholax.errors import ArgumentError, CholaxError
from tests.property.option_doors import WRONG, option_doors

DOORS = option_doors()
# Those that need a fit first, or compile a function before they come to the option.
SLOW = ("LMMFit.", "GLMMFit.", "Fit.", "LinearMixedModel.", "glmm: ")
COMPILED = ("scale", "bounds")


def is_slow(name):
    return name.startswith(SLOW) or name.endswith(COMPILED)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if is_slow(n) else n for n in DOORS]
)
def test_option_without_sense_is_refused(name):
    kind, door = DOORS[name]
    accepted = []
    for value in WRONG[kind]:
        try:
            door(value)
        except CholaxError:
            continue
        accepted.append(value)
    assert accepted == []


FUNCTIONS = {
    "lmm": cs.lmm, "glmm": cs.glmm, "fit_ml": cs.fit_ml, "fit_map": cs.fit_map,
    "fit_reml": cs.fit_reml, "laplace": cs.laplace, "LaplaceModel": cs.LaplaceModel.__call__,
    "GMRF": cs.GMRF, "Whitening": cs.sampling.Whitening,
    "GMRF.sample_conditional": cs.GMRF.sample_conditional,
    "sample_latents": cs.sampling.sample_latents, "Fit.profile": cs.Fit.profile,
    "Fit.delta": cs.Fit.delta, "LMMFit.predict": cs.LMMFit.predict,
    "LMMFit.confint": cs.LMMFit.confint, "LMMFit.plot_caterpillar": cs.LMMFit.plot_caterpillar,
    "LinearMixedModel.deviance": cs.LinearMixedModel.deviance,
    "check_derivatives": cx.testing.check_derivatives, "expm_multiply": cx.expm_multiply,
    "matrix_function": cx.matrix_function, "derivative": cx.finite_difference.derivative,
    "gradient": cx.finite_difference.gradient, "hessian": cx.finite_difference.hessian,
    "jacobian": cx.finite_difference.jacobian,
}  # fmt: skip
INTEGRATIONS = {
    "lineax": ("SparseMatrixLinearOperator", "Cholesky", "LU", "sparse_matrix"),
    "optimistix": ("SparseNewton",),
    "numpyro": ("GMRF",),
}
# NumPyro's own option, checked by NumPyro.
NOT_OURS = {"numpyro.GMRF: validate_args"}


def keywords(name, function):
    parameters = inspect.signature(function).parameters.values()
    return [f"{name}: {p.name}" for p in parameters if p.kind is p.KEYWORD_ONLY]


def test_every_keyword_has_a_row():
    named = dict(FUNCTIONS)
    for library, names in INTEGRATIONS.items():
        try:
            module = importlib.import_module(f"cholax.integrations.{library}")
        except ImportError:
            continue
        named |= {f"{library}.{name}": getattr(module, name) for name in names}
    found = [row for name, function in named.items() for row in keywords(name, function)]
    assert len(found) > 60
    assert sorted(set(found) - set(DOORS) - NOT_OURS) == []


def test_start_that_is_not_a_number_is_refused_by_name():
    data = {"y": np.arange(6.0) ** 2, "g": [0, 0, 1, 1, 2, 2]}
    with pytest.raises(ArgumentError, match=r"lmm: theta0 must be finite numbers, got \[nan\]"):
        cs.lmm("y ~ 1 + (1 | g)", data, theta0=[np.nan])
    model = cs.laplace(lambda u, t: -jnp.sum((u - t) ** 2), np.zeros(2))
    with pytest.raises(ArgumentError, match="laplace: u0 must be finite"):
        model(0.3, u0=np.array([0.0, np.nan]))
    fit = cs.fit_ml(model, np.nan)
    assert not fit.status.converged
    assert "no approximation at the start" in fit.status.reason()
