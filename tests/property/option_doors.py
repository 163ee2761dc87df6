"""Every option of the public functions that compute: its kind, and a call that takes it.

Of each kind there are values that make no sense: `WRONG`. A call with one of them raises an error
of cholax before anything is computed.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import cholax as cx
import cholax.stats as cs
from cholax import matfun

NAN, INF = float("nan"), float("inf")
WRONG: dict[str, tuple[Any, ...]] = {
    "tolerance": (NAN, INF, -1e-3, 1j, "tight", True, [1.0], object()),
    "tolerance or infinity": (NAN, -1e-3, 1j, "tight", True, [1.0], object()),
    "positive": (NAN, INF, -1.0, 0.0, 1j, "wide", True, [1.0], object()),
    "count": (-1, 0, 1.5, "2", NAN, True, 1j, [1], object()),
    "integer": (-1, 1.5, "2", NAN, True, 1j, [1], object()),
    "flag": ("no", 2, NAN, [True], object()),
    "choice": ("unknown", 3, 1.5, True, ["auto"], object()),
    "level": (0.0, 1.0, 1.5, -0.5, NAN, "0.95", True, 1j, [0.95], object()),
    "function": (3, "f", [abs], object()),
    "progress": (3, "yes", [True], NAN, object()),
    "key": (3, "key", np.ones(2), [0, 1]),
    "shape": (-1, 1.5, "2", NAN, (2, -1), (1.5,), object()),
    "names": (3, "unknown", ["unknown"], [3], 1.5, object()),
    "field": (3, "field", np.ones(2), object()),
    "matrix": (3, "A", np.ones((2, 2)) * 1j, object()),
    "vector": ("abc", 1j, [NAN, 1.0], [1.0, INF], np.ones(7), np.ones((3, 3)), object()),
    "start": ("abc", [NAN], [1j], ["a"], np.ones(7), object(), {"a": 1.0}),
    "weights": ("absent", [1.0], -1.0, 1j, [1j] * 12, ["a"] * 12, [NAN] * 12, [-1.0] * 12,
                [INF] * 12, np.ones((12, 2)), object()),
    "offset": ("absent", [1.0], 1j, [1j] * 12, ["a"] * 12, [INF] * 12, np.ones((12, 2)), object()),
    "bounds": (3, "ab", (0.0,), (1.0, 2.0, 3.0), ("a", "b"), (1j, 2.0), (2.0, -2.0), (NAN, 1.0)),
    "pattern": (3, "auto", np.ones(2), object()),
    "ordering": (3, "unknown", [0, 0], [0.5, 1.5], [5, 7], object()),
}  # fmt: skip

ROWS = {
    "y": np.arange(12.0) % 5 + np.repeat(np.arange(4.0), 3),
    "x": np.arange(12.0) % 7,
    "g": np.repeat(np.arange(4), 3),
}
KEY = jax.random.key(0)
Q = 2.0 * cx.eye(3)
Door = Callable[[Any], Any]


def _log_joint(u: Any, theta: Any) -> Any:
    return -0.5 * jnp.sum((u - theta["a"]) ** 2) - 0.5 * jnp.sum(u**2)


@functools.cache
def _model() -> cs.LaplaceModel:
    return cs.laplace(_log_joint, np.zeros(3))


@functools.cache
def _fit() -> cs.Fit:
    return cs.fit_ml(_model(), {"a": 0.5})


@functools.cache
def _linear() -> cs.LMMFit:
    return cs.lmm("y ~ x + (1 | g)", ROWS)


@functools.cache
def _generalized() -> cs.GLMMFit:
    return cs.glmm("y ~ 1 + (1 | g)", ROWS, family="poisson")


def _lmm(**given: Any) -> Any:
    return cs.lmm("y ~ x + (1 | g)", ROWS, **given)


def _glmm(**given: Any) -> Any:
    return cs.glmm("y ~ 1 + (1 | g)", ROWS, **given)


def _mixed() -> dict[str, tuple[str, Door]]:
    doors: dict[str, tuple[str, Door]] = {
        "lmm: reml": ("flag", lambda x: _lmm(reml=x)),
        "lmm: weights": ("weights", lambda x: _lmm(weights=x)),
        "lmm: offset": ("offset", lambda x: _lmm(offset=x)),
        "lmm: theta0": ("start", lambda x: _lmm(theta0=x)),
        "lmm: throw": ("flag", lambda x: _lmm(throw=x)),
        "glmm: theta0": ("start", lambda x: _glmm(theta0=x)),
        "glmm: throw": ("flag", lambda x: _glmm(throw=x)),
        "lmm: max_iterations": ("count", lambda x: _lmm(max_iterations=x)),
        "lmm: progress": ("progress", lambda x: _lmm(progress=x)),
        "glmm: family": ("choice", lambda x: _glmm(family=x)),
        "glmm: weights": ("weights", lambda x: _glmm(weights=x)),
        "glmm: offset": ("offset", lambda x: _glmm(offset=x)),
        "glmm: trials": ("weights", lambda x: _glmm(family="binomial", trials=x)),
        "glmm: exposure": ("weights", lambda x: _glmm(exposure=x)),
        "glmm: max_iterations": ("count", lambda x: _glmm(max_iterations=x)),
        "glmm: progress": ("progress", lambda x: _glmm(progress=x)),
    }
    for name, fit in (("LMMFit", _linear), ("GLMMFit", _generalized)):
        doors |= {
            f"{name}.confint: level": ("level", lambda x, f=fit: f().confint(x)),
            f"{name}.confint: profile level": (
                "level", lambda x, f=fit: f().confint(x, method="profile")
            ),
            f"{name}.confint: method": ("choice", lambda x, f=fit: f().confint(method=x)),
            f"{name}.confint: parameters": ("names", lambda x, f=fit: f().confint(parameters=x)),
            f"{name}.confint: profile parameters": (
                "names", lambda x, f=fit: f().confint(method="profile", parameters=x)
            ),
            f"{name}.wald_confint: level": ("level", lambda x, f=fit: f().wald_confint(x)),
            f"{name}.predict: random": ("flag", lambda x, f=fit: f().predict(random=x)),
            f"{name}.predict: new_levels": ("flag", lambda x, f=fit: f().predict(new_levels=x)),
            f"{name}.predict: type": ("choice", lambda x, f=fit: f().predict(type=x)),
            f"{name}.predict: se": ("flag", lambda x, f=fit: f().predict(se=x)),
            f"{name}.predict: offset": ("offset", lambda x, f=fit: f().predict(ROWS, offset=x)),
            f"{name}.predict: newdata": ("field", lambda x, f=fit: f().predict(x)),
            f"{name}.simulate: key": ("key", lambda x, f=fit: f().simulate(x)),
            f"{name}.simulate: shape": ("shape", lambda x, f=fit: f().simulate(KEY, x)),
            f"{name}.anova": ("field", lambda x, f=fit: f().anova(x)),
            f"{name}.update: formula": ("field", lambda x, f=fit: f().update(x)),
            f"{name}.plot_caterpillar: level": (
                "level", lambda x, f=fit: f().plot_caterpillar(level=x)
            ),
            f"{name}.plot_caterpillar: group": ("choice", lambda x, f=fit: f().plot_caterpillar(x)),
        }  # fmt: skip
    doors |= {
        "LinearMixedModel.deviance: theta": ("theta", lambda x: _linear().model.deviance(x)),
        "LinearMixedModel.deviance: reml": (
            "flag", lambda x: _linear().model.deviance([1.0], reml=x)
        ),
        "LinearMixedModel.profile: theta": ("theta", lambda x: _linear().model.profile(x)),
    }  # fmt: skip
    return doors


def _fits() -> dict[str, tuple[str, Door]]:
    start, fit = {"a": 0.5}, cs.fit_ml
    reml = functools.partial(cs.fit_reml, fixed="a")

    def log_prior(theta: Any) -> Any:
        return -(theta["a"] ** 2)

    return {
        "fit_ml: model": ("field", lambda x: fit(x, start)),
        "fit_ml: theta0": ("number", lambda x: fit(_model(), {"a": x})),
        "fit_ml: u0": ("vector", lambda x: fit(_model(), start, u0=x)),
        "fit_ml: max_iterations": ("count", lambda x: fit(_model(), start, max_iterations=x)),
        "fit_ml: progress": ("progress", lambda x: fit(_model(), start, progress=x)),
        "fit_ml: throw": ("flag", lambda x: fit(_model(), start, throw=x)),
        "fit_map: log_prior": ("function", lambda x: cs.fit_map(_model(), start, x)),
        "fit_map: max_iterations": (
            "count", lambda x: cs.fit_map(_model(), start, log_prior, max_iterations=x)
        ),
        "fit_map: throw": ("flag", lambda x: cs.fit_map(_model(), start, log_prior, throw=x)),
        "fit_map: u0": ("vector", lambda x: cs.fit_map(_model(), start, log_prior, u0=x)),
        "fit_map: progress": (
            "progress", lambda x: cs.fit_map(_model(), start, log_prior, progress=x)
        ),
        "fit_reml: progress": ("progress", lambda x: reml(_model(), start, progress=x)),
        "fit_reml: fixed": ("names", lambda x: cs.fit_reml(_model(), start, fixed=x)),
        "fit_reml: max_iterations": ("count", lambda x: reml(_model(), start, max_iterations=x)),
        "fit_reml: u0": ("vector", lambda x: reml(_model(), start, u0=x)),
        "fit_reml: throw": ("flag", lambda x: reml(_model(), start, throw=x)),
        "Fit.profile: parameter": ("names", lambda x: _fit().profile(x)),
        "Fit.profile: level": ("level", lambda x: _fit().profile("a", level=x)),
        "Fit.profile: points": ("count", lambda x: _fit().profile("a", points=x)),
        "Fit.profile: max_iterations": ("count", lambda x: _fit().profile("a", max_iterations=x)),
        "Fit.sample: key": ("key", lambda x: _fit().sample(x)),
        "Fit.sample: shape": ("shape", lambda x: _fit().sample(KEY, x)),
        "Fit.delta": ("function", lambda x: _fit().delta(x)),
        "Fit.delta: full": ("flag", lambda x: _fit().delta(lambda u, t: u[0], full=x)),
        "laplace: log_joint": ("function", lambda x: cs.laplace(x, np.zeros(3))),
        "laplace: constraints": (
            "field", lambda x: cs.laplace(_log_joint, np.zeros(3), constraints=x)
        ),
        "laplace: sparsity": (
            "pattern", lambda x: cs.laplace(_log_joint, np.zeros(3), sparsity=x)(start)
        ),
        "laplace: ordering": (
            "ordering", lambda x: cs.laplace(_log_joint, np.zeros(3), ordering=x)(start)
        ),
        "laplace: max_iterations": (
            "count", lambda x: cs.laplace(_log_joint, np.zeros(3), max_iterations=x)
        ),
        "laplace: tolerance": (
            "positive", lambda x: cs.laplace(_log_joint, np.zeros(3), tolerance=x)
        ),
        "LaplaceModel: u0": ("vector", lambda x: _model()(start, u0=x)),
        "LaplaceModel: throw": ("flag", lambda x: _model()(start, throw=x)),
    }  # fmt: skip


def _fields() -> dict[str, tuple[str, Door]]:
    field, A = cs.GMRF(0.0, Q), np.array([[1.0, 1.0, 0.0]])
    return {
        "GMRF: mean": ("vector", lambda x: cs.GMRF(x, Q)),
        "GMRF: precision": ("field", lambda x: cs.GMRF(0.0, x)),
        "GMRF: constraints": ("field", lambda x: cs.GMRF(0.0, Q, x)),
        "GMRF: null_space": ("matrix", lambda x: cs.GMRF(0.0, Q, null_space=x)),
        "GMRF: log_det": ("real", lambda x: cs.GMRF(0.0, Q, log_det=x)),
        "GMRF: ordering": ("ordering", lambda x: cs.GMRF(0.0, Q, ordering=x).log_det()),
        "GMRF.sample: key": ("key", field.sample),
        "GMRF.sample: shape": ("shape", lambda x: field.sample(KEY, x)),
        "GMRF.covariance_on_pattern": ("pattern", field.covariance_on_pattern),
        "GMRF.linear_combination": ("matrix", field.linear_combination),
        "GMRF.kl": ("field", field.kl),
        "GMRF.condition: A": ("matrix", lambda x: field.condition(x, [1.0], 1.0)),
        "GMRF.condition: y": ("observations", lambda x: field.condition(A, x, 1.0)),
        "GMRF.condition: noise": ("noise", lambda x: field.condition(A, np.ones(1), x)),
        "GMRF.sample_conditional: key": (
            "key", lambda x: field.sample_conditional(x, A, np.ones(1))
        ),
        "GMRF.sample_conditional: shape": (
            "shape", lambda x: field.sample_conditional(KEY, A, np.ones(1), shape=x)
        ),
        "Whitening: mode": ("mode", lambda x: cs.sampling.Whitening(x, Q)),
        "Whitening: precision": ("field", lambda x: cs.sampling.Whitening(np.ones(3), x)),
        "Whitening: ordering": (
            "ordering", lambda x: cs.sampling.Whitening(np.ones(3), Q, ordering=x)
        ),
        "sample_latents: key": (
            "key", lambda x: cs.sampling.sample_latents(x, _model(), {"a": np.ones(2)})
        ),
        "sample_latents: model": (
            "field", lambda x: cs.sampling.sample_latents(KEY, x, {"a": np.ones(2)})
        ),
        "sample_latents: theta": (
            "draws", lambda x: cs.sampling.sample_latents(KEY, _model(), {"a": x})
        ),
    }  # fmt: skip


WRONG["theta"] = ("abc", [1j], ["a"], np.ones(7), object(), {"a": 1.0})
# NaN is a start at which the objective is not finite: a status says so.
WRONG["number"] = ("abc", 1j, np.array(["a"]), object())
WRONG["real"] = ("abc", 1j, [1.0, 2.0], object())
WRONG["observations"] = ("abc", 1j, 1.0, np.ones(7), [1j], object())
WRONG["noise"] = ("abc", 1j, -1.0, np.ones(7), [-1.0], [1j], np.ones((2, 2)), object())
WRONG["mode"] = ("abc", np.ones(7), [1j] * 3, ["a"] * 3, object())
WRONG["draws"] = ("abc", 1.0, [1j], object())


def _testing() -> dict[str, tuple[str, Door]]:
    def check(**given: Any) -> Any:
        return cx.testing.check_derivatives(jnp.sin, [0.3], **given)

    names = ("", "acyclic_", "bidirectional_", "column_", "row_", "star_")
    verifiers = {name: getattr(cx.testing, f"check_{name}coloring") for name in names}
    return {
        "check_derivatives: f": ("function", lambda x: cx.testing.check_derivatives(x, [0.3])),
        "check_derivatives: args": ("field", lambda x: cx.testing.check_derivatives(jnp.sin, x)),
        "check_derivatives: order": ("count", lambda x: check(order=x)),
        "check_derivatives: modes": ("names", lambda x: check(modes=x)),
        "check_derivatives: rtol": ("tolerance", lambda x: check(rtol=x)),
        "check_derivatives: resolution": ("positive", lambda x: check(resolution=x)),
        "check_derivatives: scale": ("positive scale", lambda x: check(scale=x)),
        "check_derivatives: bounds": ("bounds", lambda x: check(bounds=x)),
        "check_derivatives: seed": ("integer", lambda x: check(seed=x)),
        **{f"check_{name}coloring": ("field", verifier) for name, verifier in verifiers.items()},
    }


def _differences() -> dict[str, tuple[str, Door]]:
    fd = cx.finite_difference
    functions: dict[str, tuple[Any, Any]] = {
        "derivative": (jnp.sin, 0.5),
        "gradient": (lambda x: jnp.sum(x**2), np.ones(2)),
        "hessian": (lambda x: jnp.sum(x**2), np.ones(2)),
        "jacobian": (lambda x: x**2, np.ones(2)),
    }
    doors: dict[str, tuple[str, Door]] = {}
    for name, (f, x0) in functions.items():
        make = getattr(fd, name)

        def call(make: Any = make, f: Any = f, x0: Any = x0, **given: Any) -> Any:
            return make(f, **given)(x0)

        doors |= {
            f"{name}: f": ("function", lambda x, m=make, x0=x0: m(x)(x0)),
            f"{name}: method": ("choice", lambda x, c=call: c(method=x)),
            f"{name}: step": ("positive", lambda x, c=call: c(step=x)),
            f"{name}: scale": ("positive scale", lambda x, c=call: c(scale=x)),
            f"{name}: bounds": ("bounds", lambda x, c=call: c(bounds=x)),
            f"{name}: with_error": ("flag", lambda x, c=call: c(with_error=x)),
            f"{name}: evaluate": ("choice", lambda x, c=call: c(evaluate=x)),
            f"{name}: result": ("result", lambda x, c=call: c(evaluate="host", result=x)),
        }
        if name in ("hessian", "jacobian"):
            doors[f"{name}: sparsity"] = ("pattern", lambda x, c=call: c(sparsity=x))
    doors["jacobian: verify"] = ("flag", lambda x: fd.jacobian(jnp.sin, verify=x))
    return doors


WRONG["positive scale"] = (NAN, INF, -1.0, 0.0, 1j, "wide", True, object())
WRONG["result"] = (3, "abc", object(), [None, 3])


def _matrix_functions() -> dict[str, tuple[str, Door]]:
    def turn(y: Any) -> Any:
        return 0.5 * y

    b = np.ones(3)
    return {
        "expm_multiply: A": ("field", lambda x: matfun.expm_multiply(x, b, norm=1.0)),
        "expm_multiply: norm": ("tolerance", lambda x: matfun.expm_multiply(turn, b, norm=x)),
        "expm_multiply: max_steps": (
            "count", lambda x: matfun.expm_multiply(turn, b, norm=1.0, max_steps=x)
        ),
        "expm_multiply: t": ("time", lambda x: matfun.expm_multiply(turn, b, x, norm=1.0)),
        "frechet: f": ("function", lambda x: matfun.frechet(x, np.eye(2), np.eye(2))),
        "matrix_function: f": ("function", matfun.matrix_function),
        "matrix_function: host": ("flag", lambda x: matfun.matrix_function(jnp.sin, host=x)),
    }  # fmt: skip


WRONG["time"] = ("abc", 1j, [1.0, 2.0], object())


def _integrations() -> dict[str, tuple[str, Door]]:
    doors: dict[str, tuple[str, Door]] = {}
    try:
        import lineax as lx
    except ImportError:
        pass
    else:
        from cholax.integrations import lineax as ours

        def solved(solver: Any) -> Any:
            operator = ours.SparseMatrixLinearOperator(Q, lx.positive_semidefinite_tag)
            return lx.linear_solve(operator, jnp.ones(3), solver)

        doors |= {
            "lineax.SparseMatrixLinearOperator": ("field", ours.SparseMatrixLinearOperator),
            "lineax.SparseMatrixLinearOperator: in_structure": (
                "result",
                lambda x: ours.SparseMatrixLinearOperator(Q, in_structure=x),
            ),
            "lineax.SparseMatrixLinearOperator: out_structure": (
                "result",
                lambda x: ours.SparseMatrixLinearOperator(Q, out_structure=x),
            ),
            "lineax.sparse_matrix: sparsity": (
                "pattern",
                lambda x: ours.sparse_matrix(lx.MatrixLinearOperator(jnp.eye(3)), sparsity=x),
            ),
            "lineax.Cholesky: ordering": ("ordering", lambda x: solved(ours.Cholesky(x))),
            "lineax.Cholesky: sparsity": ("pattern", lambda x: solved(ours.Cholesky(sparsity=x))),
            "lineax.LU: ordering": ("ordering", lambda x: solved(ours.LU(x))),
            "lineax.LU: sparsity": ("pattern", lambda x: solved(ours.LU(sparsity=x))),
            "lineax.LU: capacity": ("positive", lambda x: solved(ours.LU(capacity=x))),
            "lineax.sparse_matrix": ("field", ours.sparse_matrix),
        }
    try:
        import optimistix  # noqa: F401
    except ImportError:
        pass
    else:
        from cholax.integrations.optimistix import SparseNewton

        doors |= {
            "optimistix.SparseNewton: rtol": (
                "tolerance or infinity",
                lambda x: SparseNewton(x, 1e-8),
            ),
            "optimistix.SparseNewton: atol": (
                "tolerance or infinity",
                lambda x: SparseNewton(1e-8, x),
            ),
            "optimistix.SparseNewton: norm": ("function", lambda x: SparseNewton(1, 1, x)),
            "optimistix.SparseNewton: kappa": ("positive", lambda x: SparseNewton(1, 1, kappa=x)),
            "optimistix.SparseNewton: linear_solver": (
                "field",
                lambda x: SparseNewton(1, 1, linear_solver=x),
            ),
            "optimistix.SparseNewton: cauchy_termination": (
                "flag",
                lambda x: SparseNewton(1, 1, cauchy_termination=x),
            ),
            "optimistix.SparseNewton: sparsity": (
                "pattern",
                lambda x: SparseNewton(1, 1, sparsity=x),
            ),
        }
    try:
        import numpyro  # noqa: F401
    except ImportError:
        pass
    else:
        from cholax.integrations.numpyro import GMRF

        doors |= {
            "numpyro.GMRF: loc": ("mode", lambda x: GMRF(x, Q)),
            "numpyro.GMRF: precision": ("field", lambda x: GMRF(0.0, x)),
            "numpyro.GMRF: constraints": ("field", lambda x: GMRF(0.0, Q, x)),
            "numpyro.GMRF: null_space": ("matrix", lambda x: GMRF(0.0, Q, null_space=x)),
            "numpyro.GMRF: ordering": ("ordering", lambda x: GMRF(0.0, Q, ordering=x)),
        }
    return doors


def option_doors() -> dict[str, tuple[str, Door]]:
    """Kind and call of every option, by name."""
    return {
        **_mixed(), **_fits(), **_fields(), **_testing(), **_differences(), **_matrix_functions(),
        **_integrations(),
    }  # fmt: skip
