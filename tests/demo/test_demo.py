"""The demo reproduces the reference case, agrees with a dense twin, and runs as a command."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cholax.stats as cs
from cholax import cli
from cholax.demo import __main__ as demo
from cholax.demo import comparison, figure
from cholax.demo.comparison import Check
from cholax.demo.data import Counties, north_carolina
from cholax.demo.fill import fill
from cholax.demo.inference import integrate
from cholax.demo.model import Bym2
from tests.demo.dense_bym2 import DenseBym2

# The case states 1e-11 between its own two derivations and prints 15 digits.
TOL_VALUE = 1e-9
TOL_GRADIENT = 1e-7
TOL_HESSIAN = 1e-6
EXPECTED = json.loads((Path(__file__).parent / "nc_sids_expected.json").read_text("utf-8"))
POINTS = [pytest.param(point, id=str(point["par"])) for point in EXPECTED["laplace"]]


@pytest.fixture(scope="module", autouse=True)
def _float64():
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture(scope="module")
def counties() -> Counties:
    return north_carolina()


@pytest.fixture(scope="module")
def model(_float64: None, counties: Counties) -> Bym2:
    return Bym2(counties)


@pytest.fixture(scope="module")
def twin(counties: Counties) -> DenseBym2:
    return DenseBym2(counties.counts, counties.expected, counties.covariate, counties.edges)


@pytest.fixture(scope="module")
def value_and_gradient(model: Bym2):
    return jax.jit(jax.value_and_grad(lambda par: -model.laplace.log_marginal(par)))


def test_shipped_data_are_the_published_table(counties: Counties):
    assert counties.size == 100
    assert counties.edges.shape == (245, 2)
    assert counties.counts.sum() == 667
    assert_allclose(counties.expected.sum(), 667, rtol=1e-12)
    assert_allclose([counties.covariate.mean(), counties.covariate.std(ddof=1)], [0, 1], atol=1e-12)


def test_constants_of_the_intrinsic_prior_match_reference(model: Bym2):
    assert_allclose(model.spatial.scale, EXPECTED["scale"], rtol=TOL_VALUE)
    log_det = model.structured.log_det(precision=1.0)
    assert_allclose(log_det, EXPECTED["gen_logdet"], rtol=TOL_VALUE)


def test_laplacian_is_singular_along_ones(model: Bym2, counties: Counties):
    R = model.structured.precision(precision=1.0).as_general().to_scipy()
    assert_allclose(R @ np.ones(counties.size), 0.0, atol=0)
    assert R.nnz == counties.size + 2 * len(counties.edges)


@pytest.mark.parametrize("point", POINTS)
def test_marginal_likelihood_and_gradient_match_reference(point, value_and_gradient):
    nll, gradient = value_and_gradient(jnp.asarray(point["par"], float))
    assert_allclose(nll, point["nll_laplace"], rtol=TOL_VALUE)
    assert_allclose(gradient, point["gradient"], rtol=0, atol=TOL_GRADIENT)


@pytest.mark.parametrize("point", POINTS)
def test_conditional_moments_match_reference(point, model: Bym2):
    par = jnp.asarray(point["par"], float)
    given, z = model.conditional(par), model.laplace(par).flat_mode
    J = model.design(par)
    structured = J @ z.at[:2].set(0.0)
    assert_allclose(model.log_prior(par), point["log_prior"], rtol=TOL_VALUE)
    assert_allclose(given.beta_mean, point["beta_mode"], atol=TOL_VALUE)
    assert_allclose(given.beta_variance, point["beta_condvar"], atol=TOL_VALUE)
    assert_allclose(structured[:10], point["b_mode_first10"], atol=TOL_VALUE)
    assert_allclose(given.eta_mean[:10], point["eta_mode_first10"], atol=TOL_VALUE)
    assert_allclose(given.eta_variance[:10], point["eta_var_first10"], atol=TOL_VALUE)


@pytest.mark.parametrize("par", [(-1.2, 0.7), (-4.0, -5.0), (0.3, 4.0)])
def test_sparse_model_equals_dense_twin(par, model: Bym2, twin: DenseBym2):
    given = model.conditional(jnp.asarray(par))
    mean, variance = twin.eta_moments(np.asarray(par))
    assert_allclose(-given.log_marginal, twin.nll(np.asarray(par)), rtol=TOL_VALUE)
    assert_allclose(given.eta_mean, mean, atol=TOL_VALUE)
    assert_allclose(given.eta_variance, variance, atol=TOL_VALUE)


def test_mode_lies_on_the_constraint_plane(model: Bym2):
    u = model.laplace(jnp.asarray([-1.0, 0.5])).flat_mode[2:102]
    assert_allclose(u.sum(), 0.0, atol=1e-11)


def test_batch_of_hyperparameters_equals_one_by_one(model: Bym2, value_and_gradient):
    pars = jnp.asarray([[-1.0, 0.0], [-0.5, 1.0], [-3.0, -4.0]])
    negative = lambda par: -model.laplace.log_marginal(par)  # noqa: E731
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(negative)))(pars)
    for i, par in enumerate(pars):
        value, gradient = value_and_gradient(par)
        assert_allclose(values[i], value, rtol=TOL_VALUE)
        assert_allclose(gradients[i], gradient, atol=TOL_GRADIENT)


@pytest.mark.slow
def test_hessian_of_the_likelihood_matches_differences_of_the_gradient(
    model: Bym2, value_and_gradient
):
    par, h = np.array([-1.1, 0.4]), 1e-3
    hessian = -jax.jit(jax.hessian(model.laplace.log_marginal))(par)

    def gradient(shift: np.ndarray) -> np.ndarray:
        return np.asarray(value_and_gradient(par + shift)[1])

    for column, e in zip(np.asarray(hessian), h * np.eye(2), strict=True):
        wide, narrow = gradient(2 * e) - gradient(-2 * e), gradient(e) - gradient(-e)
        assert_allclose(column, (8 * narrow - wide) / (12 * h), atol=TOL_HESSIAN)


@pytest.mark.slow
def test_optimum_and_integrated_posterior_match_reference(model: Bym2, tmp_path: Path):
    fit = cs.fit_map(model.laplace, np.zeros(2), model.log_prior)
    expected = EXPECTED["mode"]
    assert fit.status.converged
    assert len(fit.trace) < 20
    assert fit.trace[-1][1] < TOL_GRADIENT
    assert_allclose(fit.theta, expected["par"], atol=TOL_GRADIENT)
    assert_allclose(-fit.objective, expected["neg_log_post"], rtol=TOL_VALUE)
    assert_allclose(-fit.hessian, expected["hessian"], rtol=TOL_HESSIAN)

    integrated, expected = integrate(model), EXPECTED["integrated"]
    beta = np.array([integrated.moments["beta0"], integrated.moments["beta1"]])
    assert_allclose(
        integrated.log_marginal_likelihood, expected["log_marginal_likelihood"], rtol=TOL_VALUE
    )
    assert_allclose(beta[:, 0], expected["beta_mean"], atol=TOL_VALUE)
    assert_allclose(beta[:, 1], expected["beta_sd"], atol=TOL_VALUE)
    assert_allclose(integrated.eta[0][:10], expected["eta_mean_first10"], atol=TOL_VALUE)
    assert_allclose(integrated.eta[1][:10], expected["eta_sd_first10"], atol=TOL_VALUE)

    pytest.importorskip("matplotlib")
    path = tmp_path / "figure.png"
    figure.draw(north_carolina(), integrated, fill(model, fit.theta), path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert path.stat().st_size > 50_000


def test_ordering_reduces_fill(model: Bym2):
    filled = fill(model, np.array([-1.0, 0.0]))
    assert filled.hessian.nnz <= filled.ordered.nnz < filled.natural.nnz


@pytest.mark.parametrize(("flags", "quiet"), [([], False), (["--quiet"], True)])
def test_cholax_demo_passes_its_options_on(flags, quiet, monkeypatch):
    calls = []
    monkeypatch.setattr(demo, "run", lambda output, *, quiet: calls.append((output, quiet)) or 3)
    assert cli.main(["demo", "--output", "there", *flags]) == 3
    assert calls == [(Path("there"), quiet)]


def test_missing_matplotlib_is_said(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert "Matplotlib is not installed" in demo.draw(None, None, None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_comparison_reports_disagreement_and_nan():
    right, wrong, nan = (Check("x", np.array(v), np.array(1.0), 1e-9) for v in (1.0, 2.0, np.nan))
    assert right.agrees
    assert not wrong.agrees
    assert not nan.agrees
    assert "2 of 3 DISAGREE" in comparison.table([right, wrong, nan])


@pytest.mark.slow
def test_command_prints_progress_and_agrees_with_the_reference(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-m", "cholax.cli", "demo", "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fit_map: iteration" in done.stdout
    assert "all 30 agree" in done.stdout
    assert "DISAGREE" not in done.stdout
    if "Matplotlib is not installed" not in done.stdout:
        assert (tmp_path / demo.FIGURE_NAME).stat().st_size > 50_000
