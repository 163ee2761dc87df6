"""PyTensor Ops against dense twins in JAX and NumPy, in Python and JAX modes."""

import os
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp

import cholax as cx
import cholax.stats as cs
from cholax.errors import DtypeError, PatternError, ShapeError, StructureError, UnsupportedError
from cholax.stats.constraints import _elimination
from cholax.testing import count_kernel_calls
from tests import tolerances as tol

pytensor = pytest.importorskip("pytensor")

import pytensor.sparse as ps  # noqa: E402
import pytensor.tensor as pt  # noqa: E402
from pytensor.compile.mode import Mode  # noqa: E402
from pytensor.graph.replace import vectorize_graph  # noqa: E402

from cholax.integrations.pytensor import (  # noqa: E402
    SymmetricMatrix,
    as_symmetric,
    gmrf_log_density,
    precision_of,
)
from cholax.integrations.pytensor.ops import LogDet, Solve  # noqa: E402

# Nothing is compiled in C, constants folded on the way included: the Ops are the same in every mode
# but JAX's.
pytensor.config.cxx = ""
PYTHON = Mode(linker="py", optimizer="fast_compile")
GRADIENT = tol.gradient(np.float64)
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
rng = np.random.default_rng(5)


def function(inputs, outputs, mode=PYTHON):
    return pytensor.function(inputs, outputs, mode=mode, on_unused_input="ignore")


def close(got, want, tolerance=GRADIENT):
    tol.assert_all_close([np.asarray(x) for x in got], jax.tree.leaves(want), tolerance)


# A path of four nodes with a chord, and a triangle: two islands, of uneven degrees.
N = 7
EDGES = [(0, 1), (1, 2), (2, 3), (0, 2), (4, 5), (5, 6), (4, 6)]
W = np.zeros((N, N))
for i, j in EDGES:
    W[i, j] = W[j, i] = 1.0
DEGREES = np.diag(W.sum(axis=0))
ISLANDS = np.array([[1.0, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1]])
X = rng.normal(size=N)


def car(tau, rho):
    return tau * (as_symmetric(DEGREES) - rho * as_symmetric(sp.csc_array(W)))


def dense_derivatives(tau, rho, x):
    """Value, gradient in (τ, ρ, x) and Hessian in (τ, ρ) of the log-density, by hand."""
    Q, form = tau * (DEGREES - rho * W), x @ W @ x
    ZW = np.linalg.solve(Q, tau * W)
    value = 0.5 * np.linalg.slogdet(Q)[1] - 0.5 * x @ Q @ x - N / 2 * np.log(2 * np.pi)
    first = N / (2 * tau) - x @ Q @ x / (2 * tau), 0.5 * (tau * form - np.trace(ZW)), -Q @ x
    mixed = 0.5 * form
    return [value, *first], [-N / (2 * tau**2), mixed, mixed, -0.5 * np.trace(ZW @ ZW)]


def test_density_with_gradient_and_hessian_is_the_dense_one_with_one_factorisation():
    tau, rho, x = pt.dscalar("tau"), pt.dscalar("rho"), pt.dvector("x")
    density = gmrf_log_density(x, 0.0, car(tau, rho))
    gradients = pt.grad(density, [tau, rho, x])
    second = [pt.grad(g, v) for g in gradients[:2] for v in (tau, rho)]
    point = 1.3, 0.6, X
    f = function([tau, rho, x], [density, *gradients])
    f(*point)
    with count_kernel_calls() as calls:
        got = f(*point)
    assert calls["cholesky"] == calls["selected_inverse"] == 1
    want, hessian = dense_derivatives(*point)
    close(got, want)
    close(function([tau, rho, x], second)(*point), hessian)
    close(function([tau, rho, x], [density, *gradients], mode="JAX")(*point), want)


def test_indefinite_precision_has_density_nan():
    tau = pt.dscalar("tau")
    f = function([tau], gmrf_log_density(X, 0.0, car(tau, 0.5)))
    assert np.isnan(f(-1.0))
    assert np.isfinite(f(1.0))


def dense_constrained(tau, x, mean, Q, A, e):
    """In coordinates of an orthonormal basis of the null space, with the conditional mean."""
    Z = scipy.linalg.null_space(A)
    foot = np.linalg.pinv(A) @ e
    H = Z.T @ (tau * Q) @ Z
    centre = foot + Z @ jnp.linalg.solve(H, Z.T @ (tau * Q) @ (mean - foot))
    r = x - centre
    m = Z.shape[1]
    return 0.5 * jnp.linalg.slogdet(H)[1] - 0.5 * tau * r @ Q @ r - m / 2 * jnp.log(2 * jnp.pi)


dense_constrained_gradient = quick(
    jax.value_and_grad(lambda t, x, m, Q, e: dense_constrained(t, x, m, Q, ISLANDS, e), (0, 2))
)


@pytest.mark.parametrize("ridge", [0.0, 0.7])
def test_density_under_constraints_is_that_on_their_affine_subspace(ridge):
    """Intrinsic, with one sum per island, and proper; mean and right-hand side not zero."""
    e = np.array([0.3, -0.4])
    Q = DEGREES - W + ridge * np.diag(1.0 + np.arange(N))
    x0 = X - np.linalg.pinv(ISLANDS) @ (ISLANDS @ X - e)
    mean0 = rng.normal(size=N)
    tau, x, mean = pt.dscalar("tau"), pt.dvector("x"), pt.dvector("mean")
    constraints = cs.Constraints(ISLANDS, e)
    density = gmrf_log_density(x, mean, tau * as_symmetric(Q), constraints)
    f = function([tau, x, mean], [density, *pt.grad(density, [tau, mean])])
    args = 1.7, x0, mean0
    close(f(*args), dense_constrained_gradient(*args, Q, e), 1e-8)
    # A number as the mean, which does not satisfy the constraints.
    level = gmrf_log_density(x, 0.2, tau * as_symmetric(Q), constraints)
    close(
        [function([tau, x], level)(1.7, x0)], [dense_constrained(1.7, x0, 0.2, Q, ISLANDS, e)], 1e-8
    )
    assert f(1.7, x0 + 0.1, mean0)[0] == -np.inf
    assert np.isnan(f(-1.7, x0, mean0)[0])


@pytest.mark.slow
@pytest.mark.parametrize("mode", [PYTHON, "JAX"])
def test_density_with_eliminated_constraints_is_the_dense_one(mode, monkeypatch):
    monkeypatch.setattr(_elimination, "MANY", 2)
    e, mean = np.array([0.3, -0.4]), rng.normal(size=N)
    x0 = X - np.linalg.pinv(ISLANDS) @ (ISLANDS @ X - e)
    constraints = cs.Constraints(ISLANDS, e)
    assert constraints.rows.local is not None
    tau, x = pt.dscalar("tau"), pt.dvector("x")
    density = gmrf_log_density(x, mean, tau * as_symmetric(DEGREES - W), constraints)
    f = function([tau, x], [density, pt.grad(density, tau)], mode)
    value, (slope, _) = dense_constrained_gradient(1.7, x0, mean, DEGREES - W, e)
    close(f(1.7, x0), [value, slope], 1e-8)


def test_solutions_products_and_forms_have_the_dense_gradients():
    Q = DEGREES - 0.6 * W
    pattern = sp.csc_array(Q)
    values = np.asarray(cx.from_scipy(pattern, symmetric=True).values)
    B, weight = rng.normal(size=(N, 2)), rng.normal(size=(N, 2))

    def scalar(v, b):
        A = as_symmetric(v, pattern)
        return (A.solve(b) * weight).sum() + (A @ X).sum() + A.quadratic_form(b.T).sum()

    pytensor.gradient.verify_grad(scalar, [values, B], rng=rng, mode=PYTHON)
    v, b = pt.dvector("v"), pt.dmatrix("b")
    got = function([v, b], scalar(v, b))(values, B)
    want = np.sum(np.linalg.solve(Q, B) * weight) + np.sum(Q @ X) + np.trace(B.T @ Q @ B)
    close([got], [want])


def test_sparse_variables_are_read_and_get_sparse_gradients():
    full = sp.csc_matrix(DEGREES - 0.6 * W)
    S = ps.csc_matrix("S", dtype="float64")
    log_det = as_symmetric(S, full).log_det()
    f = function([S], [log_det, pt.grad(log_det, S)])
    value, gradient = f(full)
    close([value], [np.linalg.slogdet(full.toarray())[1]])
    inverse = np.linalg.inv(full.toarray())
    close([gradient.toarray()], [np.where(full.toarray() != 0, inverse, 0.0)])
    unsymmetric = full.copy()
    unsymmetric[1, 0] += 0.1
    with pytest.raises(StructureError, match="halves that differ"):
        f(unsymmetric)
    with pytest.raises(PatternError, match="keep its zeros"):
        f(sp.csc_matrix(DEGREES))


@pytest.mark.slow
def test_sparse_variables_built_from_data_pass_jax_mode():
    full = sp.csc_matrix(DEGREES - 0.6 * W)
    data = pt.dvector("data")
    Q = as_symmetric(ps.CSC(data, full.indices, full.indptr, full.shape), full)
    outputs = [Q.log_det(), pt.grad(Q.log_det(), data)]
    close(function([data], outputs, "JAX")(full.data), function([data], outputs)(full.data))


def test_precisions_of_latent_models_have_derivatives_of_second_order():
    model = cs.ar1(5)
    tau, rho = pt.dscalar("tau"), pt.dscalar("rho")
    Q = precision_of(model, precision=tau, rho=rho)
    x = np.arange(5.0)
    form = Q.quadratic_form(x) + Q.log_det()
    first = pt.grad(form, [tau, rho])
    f = function([tau, rho], [form, *first, pt.grad(first[1], rho)])

    def twin(t, r):
        P = model.precision(precision=t, rho=r).to_dense()
        return x @ P @ x + jnp.linalg.slogdet(P)[1]

    def derivatives(t, r):
        return twin(t, r), jax.grad(twin, (0, 1))(t, r), jax.grad(jax.grad(twin, 1), 1)(t, r)

    close(f(1.4, 0.3), quick(derivatives)(1.4, 0.3))


def test_graphs_vectorise_over_parameters():
    tau, taus = pt.dscalar("tau"), pt.dvector("taus")
    log_det = car(tau, 0.5).log_det()
    got = function([taus], vectorize_graph(log_det, {tau: taus}))(np.array([1.0, 2.0]))
    base = np.linalg.slogdet(DEGREES - 0.5 * W)[1]
    close([got], [base + N * np.log([1.0, 2.0])])


def test_one_variable_and_single_precision():
    tau = pt.fscalar("tau")
    Q = tau * as_symmetric(np.array([[2.0]], np.float32))
    value = function([tau], Q.log_det())(np.float32(3.0))
    assert value.dtype == np.float32
    assert value == pytest.approx(np.log(6.0), rel=tol.value(np.float32))


def test_ops_are_equal_after_a_round_trip_through_pickle():
    pattern = as_symmetric(DEGREES).pattern
    for op in (LogDet(pattern), Solve(pattern, "amd")):
        copy = pickle.loads(pickle.dumps(op))
        assert copy == op
        assert hash(copy) == hash(op)
    assert LogDet(pattern) != LogDet(pattern, "natural")


def test_what_does_not_fit_is_refused_by_name():
    pattern = as_symmetric(DEGREES - W).pattern
    with pytest.raises(StructureError, match="symmetric cholax Pattern"):
        SymmetricMatrix(pt.dvector(), cx.Pattern((2, 2), [0, 1, 2], [0, 1]))
    with pytest.raises(StructureError, match="pattern"):
        as_symmetric(pt.dvector("v"))
    with pytest.raises(ShapeError, match="one order"):
        as_symmetric(DEGREES) + as_symmetric(np.eye(2))
    with pytest.raises(ShapeError, match="length"):
        as_symmetric(DEGREES).solve(np.ones(N + 1))
    with pytest.raises(DtypeError, match="one for all"):
        SymmetricMatrix(pt.fvector(), pattern).solve(np.ones(N))
    with pytest.raises(ShapeError, match="scalar"):
        np.ones(N) * as_symmetric(DEGREES)


@pytest.mark.filterwarnings("ignore:os.fork")
def test_a_forked_process_is_told_instead_of_hanging():
    tau = pt.dscalar("tau")
    f = function([tau], car(tau, 0.5).log_det())
    f(1.0)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            f(1.0)
            os.write(writer, b"ran")
        except UnsupportedError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert b"forkserver" in os.read(reader, 4096)
