"""Laplace's method: values, exact derivatives, and a status where there is no approximation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
import cholax.stats as cs
from cholax.errors import ArgumentError, ConvergenceError, ShapeError
from cholax.stats._laplace.hoist import hoist
from cholax.stats._laplace.status import raise_unless_converged
from tests import tolerances as tol

N = 7
Y = np.array([0.0, 3.0, 1.0, 7.0, 2.0, 0.0, 4.0])
PATH = sp.diags_array([-1.0, 2.3, -1.0], offsets=[-1, 0, 1], shape=(N, N)).toarray()
Q0 = cx.from_dense(PATH, symmetric=True)
THETA = np.array([0.4, -0.7])
ROW = np.linspace(0.5, 2.0, N)


def log_joint(u, theta, y):
    """y ~ Poisson(exp(u₁)), u = (intercept, field) a dictionary; a prior that depends on θ."""
    Q = jnp.exp(theta["log_tau"]) * Q0.add_diagonal(jnp.exp(theta["log_kappa"]))
    eta = u["intercept"] + u["field"]
    data = jnp.sum(y * eta - jnp.exp(eta))
    prior = 0.5 * cx.log_det(Q) - 0.5 * cx.quadratic_form(Q, u["field"])
    return data + prior - 0.5 * u["intercept"] ** 2 - (N + 1) / 2 * np.log(2 * np.pi)


LIKE = {"field": jnp.zeros(N), "intercept": jnp.zeros(())}


def twin(theta, y, A=None, e=None):
    """The same in dense NumPy: log-marginal, mode (field first), covariance under constraints."""
    Q = np.exp(theta[0]) * (PATH + np.exp(theta[1]) * np.eye(N))
    B = np.concatenate([np.eye(N), np.ones((N, 1))], axis=1)
    P = np.zeros((N + 1, N + 1))
    P[:N, :N], P[N, N] = Q, 1.0
    Z = np.eye(N + 1)
    u = np.zeros(N + 1)
    if A is not None:
        u = A.T @ np.linalg.solve(A @ A.T, e)
        Z = np.linalg.svd(A)[2][A.shape[0] :].T
    for _ in range(60):
        mean = np.exp(B @ u)
        H = Z.T @ (P + (B.T * mean) @ B) @ Z
        step = Z @ np.linalg.solve(H, Z.T @ (P @ u - B.T @ (y - mean)))
        u = u - step * min(1.0, 2.0 / (1e-300 + np.max(np.abs(step))))
    eta = B @ u
    value = y @ eta - np.sum(np.exp(eta)) + 0.5 * np.linalg.slogdet(Q)[1] - 0.5 * u @ P @ u
    value -= (N + 1) / 2 * np.log(2 * np.pi)
    d = Z.shape[1]
    value += d / 2 * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(H)[1]
    return value, u, Z @ np.linalg.inv(H) @ Z.T


def differences(f, x, h=1e-3):
    """Gradient by central differences, extrapolated twice: good to about 1e-10."""
    rows = []
    for k in range(x.size):
        d = np.eye(x.size)[k]
        slopes = [(f(x + s * d) - f(x - s * d)) / (2 * s) for s in (h, h / 2, h / 4)]
        first = [(4 * b - a) / 3 for a, b in itertools.pairwise(slopes)]
        rows.append((16 * first[1] - first[0]) / 15)
    return np.array(rows)


def as_dict(theta):
    return {"log_tau": theta[0], "log_kappa": theta[1]}


def derivatives(model, second):
    """Result and gradient in θ and y; and the Hessian and derivative of the variances; compiled."""

    def value(theta, y):
        result = model(as_dict(theta), y)
        return result.log_marginal, result

    def slope(theta, y):
        return jax.grad(value, argnums=(0, 1), has_aux=True)(theta, y)

    def variance(theta, y):
        return model(as_dict(theta), y).variance()["field"]

    def run(theta, y):
        slopes, result = slope(theta, y)
        if not second:
            return result, slopes
        change = jax.jvp(lambda t: variance(t, y), (theta,), (jnp.ones(2),))[1]
        return result, slopes, jax.jacfwd(lambda t: slope(t, y)[0][0])(theta), change

    return jax.jit(run)


@pytest.mark.parametrize(
    ("constrained", "second"),
    [
        (True, False),
        pytest.param(True, True, marks=pytest.mark.slow),
        pytest.param(False, True, marks=pytest.mark.slow),
    ],
)
def test_values_and_derivatives_of_all_kinds_agree_with_a_dense_twin(constrained, second):
    # Two constraints with a right-hand side, one of them on the field alone.
    A = np.stack([np.append(ROW, 0.0), np.append(np.ones(N), -1.0)]) if constrained else None
    e = np.array([0.3, -0.2]) if constrained else None
    linear = cs.Constraints(A, jnp.asarray(e)) if constrained else None
    model = cs.laplace(log_joint, LIKE, constraints=linear)
    result, slopes, *rest = derivatives(model, second)(jnp.asarray(THETA), jnp.asarray(Y))
    assert bool(result.status.converged)
    value, u, S = twin(THETA, Y, A, e)
    tol.assert_close(result.log_marginal, value, tol.value("float64"))
    tol.assert_close(result.flat_mode, u, tol.gradient("float64"))
    tol.assert_close(result.variance()["field"], np.diagonal(S)[:N], tol.gradient("float64"))

    def gradient(theta):
        return differences(lambda t: twin(t, Y, A, e)[0], theta)

    tol.assert_close(slopes[0], gradient(THETA), 1e-8)
    tol.assert_close(slopes[1], differences(lambda y: twin(THETA, y, A, e)[0], Y), 1e-8)
    if second:

        def variances(s):
            return np.diagonal(twin(THETA + s[0], Y, A, e)[2])[:N]

        tol.assert_close(rest[0], differences(gradient, THETA), 1e-5)
        tol.assert_close(rest[1], differences(variances, np.zeros(1))[0], 1e-8)


def test_constraints_by_parts_lie_where_the_parts_lie_in_the_flat_vector():
    def log_joint(u, theta):
        return -0.5 * jnp.sum(u["z"] ** 2) - jnp.sum(u["a"]["x"] ** 2) - jnp.sum(u["b"] ** 2)

    like = {"b": jnp.zeros(3), "a": {"y": jnp.zeros(0), "x": jnp.zeros(2)}, "z": jnp.zeros(2)}
    first, last = np.array([1.0, 2.0, 4.0]), np.array([[1.0, -3.0]])
    by_parts = {"z": cs.Constraints(last, jnp.array([5.0])), "b": cs.Constraints(first), "a": None}
    model = cs.laplace(log_joint, like, constraints=by_parts)
    np.testing.assert_array_equal(
        model.constraints.A, [[0, 0, 0, 0, 0, 1, -3], [0, 0, 1, 2, 4, 0, 0]]
    )
    np.testing.assert_array_equal(model.constraints.e, [5.0, 0.0])
    assert cs.laplace(log_joint, like, constraints={"a": None}).constraints is None
    with pytest.raises(ArgumentError, match="no part called c"):
        cs.laplace(log_joint, like, constraints={"c": cs.Constraints(first)})
    with pytest.raises(ArgumentError, match="dictionary"):
        cs.laplace(lambda u, t: -jnp.sum(u**2), jnp.zeros(3), constraints={"b": None})
    with pytest.raises(ShapeError, match="laplace: z"):
        cs.laplace(log_joint, like, constraints={"z": cs.Constraints(first)})


def test_value_and_gradient_share_every_factorisation():
    """Newton's factorisations and one of the prior; none for log|H| and the gradient."""
    model = cs.laplace(log_joint, LIKE)

    def value(theta):
        result = model(as_dict(theta), jnp.asarray(Y))
        return result.log_marginal, result.status

    run = jax.jit(jax.value_and_grad(value, has_aux=True))
    jax.block_until_ready(run(jnp.asarray(THETA)))
    with cx.testing.count_kernel_calls() as calls:
        (_, status), _ = jax.block_until_ready(run(jnp.asarray(THETA)))
    assert calls["cholesky"] == int(status.factorizations) + 1
    assert int(status.factorizations) == int(status.iterations) <= 5
    assert calls["selected_inverse"] == 2


def test_gaussian_models_take_one_factorisation_and_warm_starts_no_step():
    y = jnp.asarray(Y)
    model = cs.laplace(lambda u, t: -0.5 * jnp.sum((y - u) ** 2 + t * u**2), jnp.zeros(N))
    cold = model(2.0)
    tol.assert_close(cold.mode, Y / 3, tol.value("float64"))
    assert int(cold.status.factorizations) == 1
    warm = model(2.0, u0=cold.mode)
    assert (int(warm.status.factorizations), int(warm.status.iterations)) == (1, 1)
    assert float(warm.log_marginal) == pytest.approx(float(cold.log_marginal), rel=1e-14)


# --- no approximation: a status, and NaN ---------------------------------------------------------


def awkward(u, theta, y):
    """Sums of a quartic, a logistic and a Student-t term, switched on by θ."""
    quartic, curvature, logistic, ridge, outlier = theta
    well = -quartic * u[0] ** 4 + curvature * u[0] ** 2
    separated = logistic * jax.nn.log_sigmoid(u[1])
    robust = -2.0 * jnp.log1p((u[2] - outlier) ** 2 / 3.0) - 0.5 * 0.05 * u[2] ** 2
    return well + separated - 0.5 * ridge * jnp.sum(u[:2] ** 2) + robust - 0.1 * y * u[2] ** 2


LANES = {
    "regular": (1.0, 0.0, 1.0, 1.0, 0.5, 1.0),
    "saddle at the start": (1.0, 1.0, 1.0, 0.5, 0.5, 1.0),
    "separated, flat prior": (1.0, 0.0, 1.0, 0.0, 0.5, 1.0),
    "no curvature at the mode": (1.0, 0.0, 0.0, 0.0, 0.5, 1.0),
    "unbounded": (-1.0, 1.0, 1.0, 1.0, 0.5, 1.0),
    "missing data": (1.0, 0.0, 1.0, 1.0, 0.5, np.nan),
    "outlier": (1.0, 0.0, 1.0, 1.0, 30.0, 0.0),
}


@pytest.fixture(scope="module")
def lanes():
    model = cs.laplace(awkward, jnp.zeros(3), max_iterations=60)
    inputs = jnp.array(list(LANES.values()))

    def value(row):
        result = model(row[:5], row[5], u0=jnp.zeros(3))
        return result.log_marginal, result

    value, slope = jax.jit(jax.vmap(jax.value_and_grad(value, has_aux=True)))(inputs)
    return {
        name: jax.tree.map(lambda x, k=k: x[k], (value[1], slope)) for k, name in enumerate(LANES)
    }


def test_a_regular_lane_is_not_disturbed_by_others_that_fail(lanes):
    result, slope = lanes["regular"]
    assert bool(result.status.converged)
    assert result.status.reason() == "converged"
    # Mode by mode: the quartic's is zero, the logistic one solves σ(−u) = u.
    u = result.mode
    tol.assert_close(u[0], 0.0, 1e-9)
    tol.assert_close(jax.nn.sigmoid(-u[1]), u[1], 1e-9)
    curvature = [1.0, 1.0 + float(u[1] * (1 - u[1]))]
    tol.assert_close(1 / result.variance()[:2], np.array(curvature), 1e-9)
    assert bool(jnp.all(jnp.isfinite(slope)))


@pytest.mark.parametrize(
    ("lane", "reason"),
    [
        ("saddle at the start", "not positive definite"),
        ("separated, flat prior", ""),
        ("no curvature at the mode", "not positive definite"),
        ("unbounded", ""),
        ("missing data", "not finite"),
    ],
)
def test_where_there_is_no_mode_everything_is_nan_and_the_status_says_why(lanes, lane, reason):
    result, slope = lanes[lane]
    assert not bool(result.status.converged)
    assert reason in result.status.reason()
    assert bool(jnp.isnan(result.log_marginal))
    assert bool(jnp.all(jnp.isnan(result.mode)))
    assert bool(jnp.any(jnp.isnan(slope)))


def test_the_pivot_names_the_variable_without_curvature(lanes):
    status = lanes["saddle at the start"][0].status
    assert not bool(status.definite)
    assert int(status.pivot) == 0


def test_an_indefinite_hessian_on_the_way_does_not_touch_the_result(lanes):
    """The Student-t term is not concave at the start, 30 away from its observation."""
    result, _ = lanes["outlier"]
    assert bool(result.status.converged)
    u = float(result.mode[2])

    def f(x):
        return 2.0 * np.log1p((x - 30.0) ** 2 / 3.0) + 0.025 * x**2

    slope = float(differences(lambda x: f(x[0]), np.array([u]))[0])
    assert abs(slope) < 1e-8
    curvature = differences(lambda x: differences(lambda v: f(v[0]), x)[0], np.array([u]))[0]
    tol.assert_close(result.variance()[2], 1 / curvature, 1e-5)


def test_throw_raises_with_the_reason_and_the_pivot(lanes):
    with pytest.raises(ConvergenceError, match=r"laplace: .*not positive definite.*pivot 0"):
        raise_unless_converged(lanes["saddle at the start"][0].status)


@pytest.mark.slow
def test_throw_raises_eagerly_and_in_compiled_programs():
    model = cs.laplace(lambda u, t: t * jnp.sum(u**2), jnp.zeros(2))
    with pytest.raises(ConvergenceError, match=r"laplace: .*not positive definite.*pivot [01]"):
        model(1.0, throw=True)
    with pytest.raises(jax.errors.JaxRuntimeError, match="not positive definite"):
        jax.block_until_ready(jax.jit(lambda t: model.log_marginal(t, throw=True))(1.0))
    assert bool(model(-1.0, throw=True).status.converged)


# --- sizes, dtypes, structures -------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1])
def test_no_latent_variable_and_one(size):
    model = cs.laplace(lambda u, t: -t * jnp.sum((u - 1.0) ** 2) + 3.0 * t, jnp.zeros(size))
    expected = 6.0 + size * 0.5 * np.log(np.pi / 2.0)
    value, slope = jax.value_and_grad(model.log_marginal)(2.0)
    tol.assert_close(value, expected, tol.value("float64"))
    tol.assert_close(slope, 3.0 - size / 4, tol.value("float64"))


def test_float32_stays_float32():
    y = jnp.asarray(Y, jnp.float32)

    def poisson(u, t):
        return jnp.sum(y * u - jnp.exp(u)) - 0.5 * jnp.sum((u - t) ** 2)

    model = cs.laplace(poisson, jnp.zeros(N, jnp.float32))
    value, slope = jax.value_and_grad(model.log_marginal)(jnp.float32(0.5))
    assert value.dtype == slope.dtype == jnp.float32
    # One variable at a time, by Newton in double precision.
    u = np.zeros(N)
    for _ in range(50):
        u -= (np.exp(u) - Y + u - 0.5) / (np.exp(u) + 1.0)
    expected = np.sum(Y * u - np.exp(u) - 0.5 * (u - 0.5) ** 2)
    expected += N / 2 * np.log(2 * np.pi) - 0.5 * np.sum(np.log1p(np.exp(u)))
    tol.assert_close(value, expected, tol.gradient("float32"))


def test_a_given_pattern_that_misses_an_entry_is_found_out():
    def f(u, t):
        return -0.5 * t * jnp.sum(u**2) - 0.3 * u[0] * u[2]

    wrong = cs.laplace(f, jnp.zeros(3), sparsity=sp.eye_array(3).tocsc())(2.0)
    assert not bool(wrong.status.converged)
    assert "sparsity" in wrong.status.reason()
    assert bool(jnp.isnan(wrong.log_marginal))


def test_contract_failures_raise():
    with pytest.raises(ArgumentError, match="max_iterations"):
        cs.laplace(lambda u, t: -jnp.sum(u**2), jnp.zeros(2), max_iterations=0)
    with pytest.raises(ArgumentError, match="tolerance"):
        cs.laplace(lambda u, t: -jnp.sum(u**2), jnp.zeros(2), tolerance=-1.0)
    with pytest.raises(ShapeError, match="constraints"):
        cs.laplace(lambda u, t: u, jnp.zeros(2), constraints=cs.Constraints(np.ones(3)))
    model = cs.laplace(lambda u, t: -jnp.sum(u**2), jnp.zeros(2))
    with pytest.raises(ShapeError, match="u0"):
        model(1.0, u0=jnp.zeros(3))


# --- what does not depend on u -------------------------------------------------------------------


def test_hoisting_moves_everything_about_theta_alone_out_and_keeps_custom_rules():
    @jax.jit
    def inner(u, t):
        return jnp.sum(jax.nn.softplus(u) * jnp.exp(t)) + jnp.sum(jnp.linalg.inv(t * PATH))

    def f(u, t):
        return inner(u, t) + jax.lax.stop_gradient(t) ** 3

    u, t = jnp.linspace(-1.0, 1.0, N), 0.7

    def through_core(u, t):
        core, residuals = hoist(f, u, [t])
        program = str(jax.make_jaxpr(core)(u, *residuals))
        assert "lu" not in program
        assert "custom_jvp" in program
        return core(u, *residuals)

    def both(g):
        return jax.jit(jax.value_and_grad(g, argnums=(0, 1)))(u, t)

    got, expected = jax.tree.leaves(both(through_core)), jax.tree.leaves(both(f))
    tol.assert_all_close(got, expected, 1e-12)


@pytest.mark.slow
def test_index_arrays_may_be_arguments():
    groups, y = np.array([2, 0, 1, 1, 2]), jnp.arange(5.0)

    def grouped(u, t, y, groups):
        return -0.5 * jnp.sum((y - u[groups]) ** 2) - 0.5 * t * jnp.sum(u**2)

    model = cs.laplace(grouped, jnp.zeros(3))
    assert model.pattern(1.0, y, groups).nnz == 3
    result = model(1.5, y, groups)
    assert result.factor.A.nnz == 3
    expected = np.bincount(groups, y) / (np.bincount(groups) + 1.5)
    tol.assert_close(result.mode, expected, tol.value("float64"))


@pytest.mark.slow
def test_a_model_that_closes_over_traced_data_differentiates_in_them():
    def value(y):
        model = cs.laplace(lambda u, t: log_joint(u, t, y), LIKE)
        return model.log_marginal(as_dict(jnp.asarray(THETA)))

    slope = jax.jit(jax.grad(value))(jnp.asarray(Y))
    tol.assert_close(slope, differences(lambda y: twin(THETA, y)[0], Y), 1e-8)
