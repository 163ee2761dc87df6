"""Reference models with published or independently derived Laplace values, gradients and modes.

The numbers come from TMB, glmmTMB and dense computations; the folder that holds them is not part of
the repository (data of R packages), and the tests are skipped where it is absent.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax.scipy.special import gammaln

import cholax as cx
import cholax.stats as cs

FOLDER = Path(os.environ.get("CHOLAX_CASES", Path(__file__).parents[3] / "shared/cases"))
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no folder of reference cases")

VALUE, GRADIENT, MODE, VARIANCE = 1e-9, 1e-6, 1e-7, 1e-8


class Case(NamedTuple):
    """A model, its parameters' function, and a compiled evaluation."""

    model: cs.LaplaceModel
    expected: dict[str, Any]
    evaluate: Callable[..., Any]


def read(folder: str) -> tuple[dict[str, Any], Any]:
    case = json.loads((FOLDER / folder / "case.json").read_text())
    return case, table(folder, "data.csv")


def table(folder: str, name: str) -> Any:
    return np.genfromtxt(
        FOLDER / folder / name, delimiter=",", names=True, dtype=None, encoding="utf-8"
    )


def evaluation(model: cs.LaplaceModel) -> Callable[..., Any]:
    """(log-marginal, everything else), gradient; one program."""

    def run(theta: Any) -> Any:
        result = model(theta)
        return result.log_marginal, (
            result.mode,
            result.variance(),
            result.factor.log_det(),
            result.status,
        )

    return jax.jit(jax.value_and_grad(run, has_aux=True))


def relative(got: Any, expected: Any) -> float:
    got, expected = np.asarray(got), np.asarray(expected)
    return float(np.max(np.abs(got - expected)) / max(1.0, np.max(np.abs(expected))))


def poisson(y: Any, eta: Any) -> Any:
    return jnp.sum(y * eta - jnp.exp(eta) - gammaln(y + 1.0))


def normal(x: Any, sd: Any) -> Any:
    return jnp.sum(-0.5 * (x / sd) ** 2 - jnp.log(sd) - 0.5 * np.log(2 * np.pi))


# --- grouseticks: three crossed and nested effects -----------------------------------------------


@pytest.fixture(scope="module")
def grouseticks() -> Case:
    case, data = read("04_grouseticks_poisson_glmm")
    names = ("BROOD", "INDEX", "LOCATION")
    levels = {name: np.unique(data[name], return_inverse=True) for name in names}
    one = np.ones(data.size)
    X = np.stack([one, data["YEAR"] == 96, data["YEAR"] == 97, data["cHEIGHT"]], axis=1)
    y = jnp.asarray(data["TICKS"], float)

    def log_joint(u: Any, theta: Any) -> Any:
        eta = X @ theta["beta"] + sum(u[name][levels[name][1]] for name in names)
        sd = jnp.exp(theta["log_sd"])
        return poisson(y, eta) + sum(normal(u[name], sd[k]) for k, name in enumerate(names))

    like = {name: jnp.zeros(levels[name][0].size) for name in names}
    model = cs.laplace(log_joint, like)
    return Case(model, case["expected"]["glmmTMB"], evaluation(model))


def grouse_theta(par: Any) -> Any:
    return {"beta": jnp.asarray(par[:4]), "log_sd": jnp.asarray(par[4:])}


@pytest.mark.parametrize("k", range(3))
def test_grouseticks_values_and_gradients_are_those_of_glmmtmb(grouseticks: Case, k: int) -> None:
    point = grouseticks.expected["points"][k]
    (value, (_, _, _, status)), slope = grouseticks.evaluate(grouse_theta(point["par"]))
    assert bool(status.converged)
    assert relative(-value, point["nll_laplace"]) / abs(point["nll_laplace"]) < VALUE
    assert abs(-value / point["nll_laplace"] - 1) < VALUE
    gradient = -np.concatenate([slope["beta"], slope["log_sd"]])
    assert relative(gradient, point["gradient"]) < GRADIENT


def test_grouseticks_mode_variances_and_log_determinant(grouseticks: Case) -> None:
    expected = grouseticks.expected
    theta = grouse_theta(expected["optimum"])
    (_, (mode, variance, log_det, _)), _ = grouseticks.evaluate(theta)
    flat, of_mode = np.concatenate(list(mode.values())), np.concatenate(list(variance.values()))
    assert flat.size == expected["n_random"]
    assert np.max(np.abs(flat[:20] - expected["random_mode_first20"])) < MODE
    assert np.max(np.abs(of_mode[:20] - expected["cond_var_first20"])) < VARIANCE
    assert abs(log_det / expected["logdet_hessian"] - 1) < VALUE
    pattern = grouseticks.model.pattern(theta)
    assert pattern.nnz == expected["nnz_hess_lower"]


@pytest.mark.slow
def test_grouseticks_fit_reports_glmmtmbs_standard_errors(grouseticks: Case) -> None:
    expected = grouseticks.expected
    fit = cs.fit_ml(grouseticks.model, grouse_theta(np.array([0.0] * 4 + [-0.5] * 3)))
    assert fit.status.converged
    assert abs(fit.log_likelihood / expected["logLik"] - 1) < VALUE
    assert relative(fit.flat_theta, expected["optimum"]) < 1e-5
    errors = fit.standard_errors()
    assert relative(np.concatenate(list(errors.values())), expected["se"]) < 1e-5
    total = fit.delta(lambda u, theta: u["BROOD"][:20]).standard_error
    assert relative(total**2, expected["total_var_first20"]) < 1e-5


# --- North Carolina: BYM2 under a sum-to-zero constraint -----------------------------------------


def laplacian(n: int, edges: Any) -> sp.csc_array:
    i, j = np.asarray(edges["i"]), np.asarray(edges["j"])
    W = sp.coo_array((np.ones(i.size), (i, j)), shape=(n, n))
    W = (W + W.T).tocsc()
    return sp.csc_array(sp.diags_array(np.asarray(W.sum(axis=0)).ravel()) - W)


@pytest.fixture(scope="module")
def north_carolina() -> Case:
    case, data = read("08_nc_sids_bym2")
    n, folder = data.size, "08_nc_sids_bym2"
    R = laplacian(n, table(folder, "edges.csv"))
    eigenvalues = np.linalg.eigvalsh(R.toarray())[1:]
    expected = case["expected"]
    assert abs(np.sum(np.log(eigenvalues)) - expected["gen_logdet_R"]) < 1e-9
    scale = float(np.exp(np.mean(np.log(np.diag(np.linalg.pinv(R.toarray(), 1e-10))))))
    assert abs(scale - expected["scale"]) < 1e-12
    Q = cx.from_scipy(scale * R, symmetric=True)
    log_det = float(np.sum(np.log(scale * eigenvalues)))
    y, E, x = (jnp.asarray(data[name], float) for name in ("y", "E", "x"))

    def eta(u: Any, theta: Any) -> Any:
        sigma, phi = jnp.exp(theta[0]), jax.nn.sigmoid(theta[1])
        b = sigma * (jnp.sqrt(phi) * u["u"] + jnp.sqrt(1 - phi) * u["v"])
        return u["beta"][0] + u["beta"][1] * x + b

    def log_joint(u: Any, theta: Any) -> Any:
        structured = 0.5 * log_det - (n - 1) / 2 * np.log(2 * np.pi) - 0.5 * u["u"] @ (Q @ u["u"])
        prior = structured + normal(u["v"], 1.0) + normal(u["beta"], 10.0)
        return poisson(y, jnp.log(E) + eta(u, theta)) + prior

    like = {"beta": jnp.zeros(2), "u": jnp.zeros(n), "v": jnp.zeros(n)}
    row = np.concatenate([np.zeros(2), np.ones(n), np.zeros(n)])
    model = cs.laplace(log_joint, like, constraints=cs.Constraints(row))

    def run(theta: Any) -> Any:
        result = model(theta)
        return result.log_marginal, (
            result.mode["beta"],
            result.variance()["beta"],
            eta(result.mode, theta),
            result.status,
        )

    return Case(model, {**expected, "eta": eta}, jax.jit(jax.value_and_grad(run, has_aux=True)))


def sids_log_prior(theta: Any) -> Any:
    rate = -np.log(0.01)
    sigma = jnp.log(rate) - rate * jnp.exp(theta[0]) + theta[0]
    return sigma + jax.nn.log_sigmoid(theta[1]) + jax.nn.log_sigmoid(-theta[1])


@pytest.mark.parametrize("k", range(4))
def test_bym2_on_its_plane(north_carolina: Case, k: int) -> None:
    point = north_carolina.expected["laplace_points"][k]
    theta = jnp.asarray(point["par"], float)
    (value, (beta, variance, eta, status)), slope = north_carolina.evaluate(theta)
    assert bool(status.converged)
    assert abs(-value / point["nll_laplace"] - 1) < VALUE
    assert relative(-slope, point["gradient"]) < GRADIENT
    assert np.max(np.abs(beta - np.array(point["beta_mode"]))) < MODE
    assert np.max(np.abs(variance - np.array(point["beta_condvar"]))) < VARIANCE
    assert np.max(np.abs(eta[:10] - np.array(point["eta_mode_first10"]))) < MODE
    assert abs(sids_log_prior(theta) - point["log_prior"]) < 1e-9


@pytest.mark.slow
def test_bym2_posterior_mode_and_curvature(north_carolina: Case) -> None:
    expected = north_carolina.expected["posterior_mode"]
    fit = cs.fit_map(north_carolina.model, jnp.array([-1.0, 0.0]), sids_log_prior)
    assert fit.status.converged
    assert relative(fit.theta, expected["par"]) < 1e-6
    assert abs(-fit.objective / expected["neg_log_post"] - 1) < VALUE
    assert relative(-fit.hessian, expected["hessian"]) < 1e-6
    point = north_carolina.expected["laplace_points"][3]
    variance = fit.delta(lambda u, theta: north_carolina.expected["eta"](u, theta)[:10])
    assert relative(variance.conditional_variance, point["eta_var_first10"]) < VARIANCE


# --- leukaemia: Weibull survival over a spatial field --------------------------------------------


def lower_coo(folder: str, name: str, n: int) -> cx.SparseMatrix:
    entries = table(folder, name)
    shape = (n, n)
    lower = sp.coo_array((entries["val"], (entries["row"], entries["col"])), shape=shape).tocsc()
    full = lower + sp.tril(lower, -1).T
    return cx.from_scipy(sp.csc_array(full), symmetric=True)


@pytest.fixture(scope="module")
def leukaemia() -> Case:
    case, data = read("10_leuk_spde_weibull")
    folder, n = "10_leuk_spde_weibull", case["structure"]["n_random"]
    M0, M1, M2 = (lower_coo(folder, f"M{k}_lower_coo.csv", n) for k in range(3))
    columns = [data[name] for name in ("sex", "age", "wbc", "tpi")]
    X = np.stack([np.ones(data.size), *columns], axis=1)
    node = np.asarray(data["node"])
    node = node - 1 if node.min() >= 1 and node.max() == n else node
    t, event = jnp.asarray(data["time"], float), jnp.asarray(data["event"], float)

    def log_joint(x: Any, theta: Any) -> Any:
        beta, (log_tau, log_kappa, log_omega) = theta[:5], theta[5:]
        kappa2, omega = jnp.exp(2 * log_kappa), jnp.exp(log_omega)
        Q = kappa2**2 * M0 + 2 * kappa2 * M1 + M2
        log_rate = X @ beta + x[node] * jnp.exp(-log_tau)
        hazard = log_rate + log_omega + (omega - 1) * jnp.log(t)
        survival = -jnp.exp(log_rate) * t**omega
        prior = 0.5 * cx.log_det(Q) - n / 2 * np.log(2 * np.pi) - 0.5 * cx.quadratic_form(Q, x)
        return jnp.sum(event * hazard + survival) + prior

    model = cs.laplace(log_joint, jnp.zeros(n))
    return Case(model, case, evaluation(model))


@pytest.mark.parametrize("k", range(3))
def test_spde_survival_values_and_gradients(leukaemia: Case, k: int) -> None:
    point = leukaemia.expected["points"][k]
    (value, (_, _, _, status)), slope = leukaemia.evaluate(jnp.asarray(point["par"], float))
    assert bool(status.converged)
    assert abs(-value / point["nll_laplace"] - 1) < VALUE
    assert np.max(np.abs(-slope - np.array(point["gradient"]))) < 1e-3


def test_spde_survival_modes_and_variances(leukaemia: Case) -> None:
    expected = leukaemia.expected
    theta = jnp.asarray(expected["points"][0]["par"])
    (_, (mode, variance, log_det, _)), _ = leukaemia.evaluate(theta)
    reference = table("10_leuk_spde_weibull", "mode_and_selected_inverse_diag.csv")
    assert np.max(np.abs(mode - reference["mode"])) < MODE
    assert np.max(np.abs(variance - reference["cond_var"])) < VARIANCE
    assert abs(log_det / expected["random_effects"]["logdet_hessian"] - 1) < VALUE
    assert leukaemia.model.pattern(theta).nnz == expected["structure"]["nnz_hess_lower"]


# --- Scotland: an intrinsic field with islands ---------------------------------------------------


@pytest.fixture(scope="module")
def scotland() -> Case:
    case, data = read("13_scotland_lip_icar")
    edges = table("13_scotland_lip_icar", "edges.csv")
    n = data.size
    connected = np.unique(np.concatenate([edges["i"], edges["j"]]))
    m = connected.size
    R = laplacian(n, edges)[connected][:, connected]
    log_det = float(np.sum(np.log(np.linalg.eigvalsh(R.toarray())[1:])))
    R = cx.from_scipy(sp.csc_array(R), symmetric=True)
    y, E = (jnp.asarray(data[name], float) for name in ("observed", "expected"))
    x = jnp.asarray(data["aff_percent"] / 10)

    def log_joint(u: Any, log_tau: Any) -> Any:
        b = jnp.zeros(n).at[connected].set(u["b"])
        eta = jnp.log(E) + u["beta"][0] + u["beta"][1] * x + b
        rank = m - 1
        field = 0.5 * (log_det + rank * log_tau - rank * np.log(2 * np.pi))
        field -= 0.5 * jnp.exp(log_tau) * cx.quadratic_form(R, u["b"])
        return poisson(y, eta) + field + normal(u["beta"][1:], np.sqrt(1e5))

    row = np.concatenate([np.ones(m), np.zeros(2)])
    like = {"b": jnp.zeros(m), "beta": jnp.zeros(2)}
    model = cs.laplace(log_joint, like, constraints=cs.Constraints(row))
    return Case(model, case["expected"], evaluation(model))


@pytest.mark.parametrize("k", range(3))
def test_intrinsic_field_with_a_flat_intercept(scotland: Case, k: int) -> None:
    """Without its constraint H would be singular: intercept and field share a direction."""
    point = scotland.expected["laplace_points"][k]
    (value, (mode, variance, _, status)), slope = scotland.evaluate(point["log_tau"])
    assert bool(status.converged)
    assert abs(value / point["log_marginal_laplace"] - 1) < VALUE
    assert abs(slope - point["dlogml_dlogtau_centraldiff"]) < 1e-6
    assert np.max(np.abs(mode["beta"] - np.array(point["beta_mode"]))) < MODE
    assert np.max(np.abs(variance["beta"] - np.array(point["beta_var"]))) < VARIANCE
    assert np.max(np.abs(mode["b"][:5] - np.array(point["b_mode_first5"]))) < MODE
    assert np.max(np.abs(variance["b"][:5] - np.array(point["b_var_first5"]))) < VARIANCE


# --- a lattice -----------------------------------------------------------------------------------


def test_poisson_lattice() -> None:
    case, _ = json.loads((FOLDER / "14_lattice_poisson_scaling/case.json").read_text()), None
    y = jnp.asarray(
        np.loadtxt(FOLDER / "14_lattice_poisson_scaling/y_50.csv", skiprows=1, delimiter=",")
    )
    k = 50
    path = sp.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(k, k)).tolil()
    path[0, 0] = path[-1, -1] = 1.0
    R = cx.from_scipy(sp.csc_array(sp.kron(sp.eye_array(k), path) + sp.kron(path, sp.eye_array(k))))
    R = R.symmetrize()

    def log_joint(x: Any, theta: Any) -> Any:
        mu, log_tau, log_kappa2 = theta
        Q = jnp.exp(log_tau) * R.add_diagonal(jnp.exp(log_kappa2))
        prior = 0.5 * cx.log_det(Q) - 0.5 * cx.quadratic_form(Q, x)
        return poisson(y, mu + x) + prior - k * k / 2 * np.log(2 * np.pi)

    run = evaluation(cs.laplace(log_joint, jnp.zeros(k * k)))
    for point in case["expected"]["k50_points_TMBad"]:
        (value, _), slope = run(jnp.asarray(point["par"], float))
        assert abs(-value / point["nll"] - 1) < VALUE
        assert relative(-slope, point["gradient"]) < GRADIENT
