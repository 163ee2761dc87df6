"""Eliminated constraints against dense bases: interactions of intrinsic models, any groups.

Small problems are treated by dense rows. Here they are made to go the way of large ones.
"""

import copy
import pickle
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
import cholax.stats as cs
from cholax.errors import ArgumentError, StructureError, UnsupportedError
from cholax.stats.constraints import Rows, _elimination, support_rows
from tests.stats.fields import Twin, dense_of, derivatives, sparse
from tests.tolerances import assert_close, gradient, value


def graph(n, split=None):
    """A strip of triangles, cut before node `split`."""
    pairs = [(i, i + h) for h in (1, 2) for i in range(n - h)]
    kept = [(i, j) for i, j in pairs if not i < (split or n) <= j]
    return cs.Graph.from_edges(n, kept)


# name: model, most variables of a group, sizes of groups that follow
MODELS = {
    "rw1 ⊗ besag": (lambda: cs.kronecker(cs.rw1(6), cs.besag(graph(8))), 6, {6}),
    "rw2 ⊗ besag": (lambda: cs.kronecker(cs.rw2(7), cs.besag(graph(9))), 7, {7}),
    "besag ⊗ rw1": (lambda: cs.kronecker(cs.besag(graph(8)), cs.rw1(6)), 6, {6}),
    "islands": (lambda: cs.kronecker(cs.rw1(5), cs.besag(graph(9, 3))), 5, {1, 3, 5}),
    "islands, joined": (lambda: cs.kronecker(cs.rw1(5), cs.besag(graph(9, 3))), 15, {1, 5, 15}),
    "iid ⊗ besag": (lambda: cs.kronecker(cs.iid(5), cs.besag(graph(6))), 6, {6}),
    "rw1 ⊗ rw1": (lambda: cs.kronecker(cs.rw1(5), cs.rw1(7)), 5, {5}),
    "one group": (lambda: cs.kronecker(cs.rw1(4), cs.rw1(5)), 20, {20}),
    "improper slopes": (
        lambda: cs.kronecker(cs.rw2(5, constrain="sum"), cs.besag(graph(7))),
        5,
        {5},
    ),
    "improper": (
        lambda: cs.kronecker(cs.rw1(5, constrain=None), cs.rw1(7, constrain=None)),
        7,
        {5},
    ),
}


def some(*names):
    """All models, slow except for these."""
    return [n if n in names else pytest.param(n, marks=pytest.mark.slow) for n in MODELS]


@pytest.fixture
def forced(monkeypatch):
    """Build a model whose constraints are eliminated although there are few."""

    def build(name):
        make, largest, sizes = MODELS[name]
        monkeypatch.setattr(_elimination, "MANY", 2)
        monkeypatch.setattr(_elimination, "LARGEST_GROUP", largest)
        support_rows.cache_clear()
        model = make()
        rows = model(precision=1.0).support.rows
        assert rows.local is not None
        assert {shape.height for shape in rows.local.shapes} == sizes
        return model

    return build


def everything(field, constraints, b, e):
    factor = cs.constrained_cholesky(field.precision, constraints, null_space=field.known_null)
    return {
        "ok": factor.ok,
        "log_det": factor.log_det(),
        "solve": factor.solve(b),
        "affine": factor.solve_affine(b, e),
        "diagonal": factor.inverse_diagonal(),
        "covariance": factor.selected_inverse().to_dense(),
    }


@pytest.mark.parametrize("name", some("islands, joined"))
def test_everything_under_constraints_equals_the_dense_basis(name, forced):
    model = forced(name)
    field = model(precision=1.7)
    linear = field.support
    rng = np.random.default_rng(0)
    b, e = rng.normal(size=model.n), rng.normal(size=linear.k)
    got = jax.jit(lambda field: everything(field, linear, b, e))(field)
    assert bool(got["ok"])
    D = np.asarray(field.precision.to_dense())
    twin = Twin(D, linear.A, e)
    assert model.dimension == twin.rank
    want = {
        "log_det": twin.log_det,
        "solve": twin.covariance @ b,
        "affine": twin.solve(b),
        "diagonal": twin.covariance.diagonal(),
        "covariance": twin.covariance * (D != 0),
    }
    got["covariance"] *= D != 0
    for key, expected in want.items():
        assert_close(got[key], expected, value(np.float64))
    assert_close(field.log_det(), twin.log_det, value(np.float64))


def test_the_gradient_of_the_log_determinant_is_the_covariance(forced):
    field = forced("rw1 ⊗ rw1")(precision=1.7)
    Q, linear = field.precision, field.support

    def log_det(values):
        return cs.constrained_cholesky(cx.SparseMatrix(values, Q.pattern), linear).log_det()

    slope = jax.jit(jax.grad(log_det))(Q.values)
    C = Twin(np.asarray(Q.to_dense()), linear.A).covariance
    once = np.where(Q.pattern.rows == Q.pattern.columns, 1.0, 2.0)
    want = once * C[Q.pattern.rows, Q.pattern.columns]
    assert_close(slope, want, gradient(np.float64))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_derivatives_in_all_directions_of_the_values_equal_the_dense_twin(name, forced):
    field = forced(name)(precision=1.7)
    Q, linear = field.precision, field.support
    rng = np.random.default_rng(3)
    b, e = rng.normal(size=Q.n), rng.normal(size=linear.k)
    weights = {key: rng.normal(size=Q.n) for key in ("log_det", "affine", "diagonal")}

    def mixed(results):
        return sum(jnp.sum(jnp.sin(results[key]) * weights[key]) for key in weights)

    def sparse_way(values):
        matrix = cx.SparseMatrix(values, Q.pattern)
        return mixed(everything(cs.GMRF(0.0, matrix, null_space=field.known_null), linear, b, e))

    def dense_way(values):
        twin = Twin(dense_of(Q.pattern, values), linear.A, e)
        diagonal = twin.covariance.diagonal()
        return mixed({"log_det": twin.log_det, "affine": twin.solve(b), "diagonal": diagonal})

    # A direction that does not keep the null space.
    direction = rng.normal(size=Q.nnz)
    got = derivatives(sparse_way)(Q.values, direction)
    want = derivatives(dense_way)(Q.values, direction)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert_close(one, other, gradient(np.float64))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_draws_have_the_covariance_under_constraints(name, forced):
    field = forced(name)(precision=1.7)
    draws = np.asarray(field.sample(jax.random.key(1), (200, 100)))
    assert draws.shape == (200, 100, field.n)
    assert_close(
        draws @ field.support.A.T, np.zeros((200, 100, field.support.k)), value(np.float64)
    )
    flat = draws.reshape(-1, field.n)
    want = np.asarray(Twin(np.asarray(field.precision.to_dense()), field.support.A).covariance)
    sd = np.sqrt(np.outer(np.diag(want), np.diag(want)) + want**2) / np.sqrt(len(flat))
    # 5 standard errors in each of some thousand entries.
    assert np.all(np.abs(flat.T @ flat / len(flat) - want) <= 5 * sd + 1e-12)


@pytest.mark.parametrize("name", some("islands, joined"))
def test_coordinates_are_orthonormal_and_reach_all_that_is_left(name, forced):
    rows = forced(name)(precision=1.0).support.rows
    rng = np.random.default_rng(4)
    linear = cs.Constraints(rows, rng.normal(size=rows.k))
    y, b = rng.normal(size=(2, 3, rows.n - rows.k)), rng.normal(size=rows.n)

    @jax.jit
    def run(y, b):
        x = linear.point(y)
        there = linear.residual(x), linear.coordinates(x), linear.project(b)
        return x, *there, linear.point(linear.coordinates(b))

    x, off, back, projected, nearest = run(y, b)
    exact = value(np.float64)
    assert_close(off, np.zeros((2, 3, rows.k)), exact)
    assert_close(back, y, exact)
    lengths = np.linalg.norm(x[0, 0] - x[1, 1]), np.linalg.norm(y[0, 0] - y[1, 1])
    assert_close(*lengths, exact)
    want = b - np.linalg.pinv(linear.A) @ (linear.A @ b - linear.e)
    assert_close(projected, want, exact)
    assert_close(nearest, want, exact)


def poisson(model, y, e=None):
    """The Laplace approximation of counts with an intercept and the field, by parts."""

    def log_joint(u, theta):
        eta = u["level"] + u["field"]
        prior = model.log_prob(u["field"], precision=jnp.exp(theta))
        return jnp.sum(y * eta - jnp.exp(eta)) + prior - 0.5 * u["level"] ** 2

    like = {"level": jnp.zeros(()), "field": jnp.zeros(model.n)}
    linear = model.constraints if e is None else cs.Constraints(model.constraints.rows, e)
    return cs.laplace(log_joint, like, constraints={"field": linear})


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS][:6])
def test_laplace_approximations_equal_those_of_dense_rows(name, forced, monkeypatch):
    model = forced(name)
    rng = np.random.default_rng(5)
    y = jnp.asarray(rng.poisson(2.0, model.n).astype(float))
    many = poisson(model, y)
    assert many.constraints.rows.local is not None
    monkeypatch.setattr(_elimination, "MANY", 10**6)
    support_rows.cache_clear()
    few = poisson(MODELS[name][0](), y)
    assert few.constraints.rows.local is None

    def run(approximation):
        def f(theta):
            result = approximation(theta)
            rest = result.status.converged, result.flat_mode, result.variance()
            return result.log_marginal, rest

        first = jax.value_and_grad(f, has_aux=True)
        return jax.jit(lambda t: jax.jvp(first, (t,), (jnp.ones(()),)))(jnp.asarray(0.3))

    got, want = run(many), run(few)
    assert bool(got[0][0][1][0])
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        if one.dtype == np.float64:
            assert_close(one, other, gradient(np.float64))


@pytest.mark.slow
def test_laplace_differentiates_in_hyperparameters_and_right_hand_sides(forced):
    model = forced("rw1 ⊗ rw1")
    rng = np.random.default_rng(6)
    y = jnp.asarray(rng.poisson(2.0, model.n).astype(float))
    direction = model.constraints.A @ rng.normal(size=model.n)

    def f(x):
        result = poisson(model, y, x[1] * direction)(x[0])
        return result.log_marginal, result

    run = jax.jit(jax.value_and_grad(f, has_aux=True))
    x, h = np.array([0.3, 0.1]), 1e-4
    (_, result), slope = run(x)
    assert bool(result.status.converged)
    assert_close(model.constraints.A @ result.mode["field"], 0.1 * direction, value(np.float64))
    for i, d in enumerate(h * np.eye(2)):
        ends = [run(x + s * d)[0][0] for s in (-2, -1, 1, 2)]
        quotient = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * h)
        assert_close(slope[i], quotient, 100 * gradient(np.float64))


def test_vmap_over_values_gives_each_member_its_own_status(forced):
    model = forced("rw1 ⊗ besag")
    Q, rows = model.precision(precision=1.0), model.constraints.rows

    def run(scale, shift):
        factor = cs.constrained_cholesky(
            (scale * Q).add_diagonal(shift), cs.Constraints(rows), fixing=()
        )
        return (
            factor.log_det(),
            factor.solve(jnp.ones(Q.n) + jnp.arange(Q.n)),
            factor.inverse_diagonal(),
            factor.sample(jax.random.key(0)),
            factor.selected_inverse().values,
        ), factor.ok

    def safe(scale, shift):
        results, ok = run(scale, shift)
        return jnp.where(ok, results[0] + jnp.sum(results[1]), 0.0)

    scales, shifts = jnp.array([1.0, -1.0, 3.0]), jnp.array([0.1, 0.1, 0.1])
    results, ok = jax.jit(jax.vmap(run))(scales, shifts)
    assert ok.tolist() == [True, False, True]
    assert all(np.isnan(x[1]).all() for x in results)
    assert all(np.isfinite(x[0]).all() and np.isfinite(x[2]).all() for x in results)
    twin = Twin(3.0 * np.asarray(Q.to_dense()) + 0.1 * np.eye(Q.n), model.constraints.A)
    assert_close(results[0][2], twin.log_det, value(np.float64))
    # What failed leaves the gradients of what the lanes share alone.
    total = jax.jit(jax.grad(lambda s: jnp.sum(jax.vmap(safe, (0, None))(scales, s))))
    assert np.isfinite(total(0.1))


def test_what_is_not_positive_definite_under_constraints_is_reported(forced):
    model = forced("rw1 ⊗ besag")
    Q, rows = model.precision(precision=1.0), model.constraints.rows
    indefinite = Q.add_diagonal(jnp.zeros(Q.n).at[3].set(-50.0))
    singular = 0.0 * Q
    for matrix in (indefinite, singular):
        factor = cs.constrained_cholesky(matrix, cs.Constraints(rows))
        assert not bool(factor.ok)
        assert np.isnan(factor.log_det())
        assert np.isnan(factor.solve(np.ones(Q.n))).all()
        assert np.isnan(factor.inverse_diagonal()).all()
        assert np.isnan(factor.sample(jax.random.key(0))).all()
        assert int(factor.pivot) in range(-1, Q.n)
    wrong = cs.constrained_cholesky(
        Q.add_diagonal(1.0), cs.Constraints(rows), null_space=model.null_space
    )
    assert not bool(wrong.ok)
    assert "null space" in wrong.reason()
    # One of the constraints of the inner model is missing, and with it regularity.
    fewer = cs.Constraints(rows.sparse[: rows.k - 1])
    with pytest.raises(StructureError, match="1 of the 13 directions"):
        cs.constrained_cholesky(Q, fewer, null_space=model.null_space)
    with pytest.raises(ArgumentError, match="between 0 and 47"):
        cs.constrained_cholesky(Q, cs.Constraints(rows), fixing=(48,))


def test_a_variable_pinned_stands_for_its_group(forced):
    model = forced("rw1 ⊗ besag")
    Q, linear = model.precision(precision=1.0), model.constraints
    # The null space on what is left is seen by every group.
    factor = cs.constrained_cholesky(Q, linear, fixing=(11,))
    assert len(factor.fixing) == 5
    assert_close(factor.log_det(), model.log_det(precision=1.0), value(np.float64))


def test_a_definite_matrix_needs_no_fixing_variables_and_takes_any_ordering(forced):
    model = forced("islands, joined")
    Q, linear = model.precision(precision=1.0).add_diagonal(0.5), model.constraints
    want = Twin(np.asarray(Q.to_dense()), linear.A).log_det
    perm = np.random.default_rng(0).permutation(Q.n)
    for ordering in ("auto", "natural", "amd", perm, cx.analyze(Q.pattern, perm)):
        factor = cs.constrained_cholesky(Q, linear, fixing=(), ordering=ordering)
        assert_close(factor.log_det(), want, value(np.float64))
    again = cs.constrained_cholesky(Q, linear, fixing=(), ordering=factor.factor.plan)
    assert again.factor.plan is factor.factor.plan


@pytest.mark.slow
def test_covariances_come_on_any_pattern(forced):
    field = forced("islands, joined")(precision=1.7)
    n = field.n
    C = np.asarray(Twin(np.asarray(field.precision.to_dense()), field.support.A).covariance)
    full = cx.Pattern((n, n), n * np.arange(n + 1), np.tile(np.arange(n), n))
    assert_close(field.covariance_on_pattern(full).to_dense(), C, value(np.float64))
    B = sp.csr_array(([1.0, -2.0, 3.0], ([0, 0, 1], [0, 7, n - 1])), shape=(2, n))
    moments = field.linear_combination(cx.from_scipy(B))
    assert_close(moments.variance, np.diag(B @ C @ B.T), value(np.float64))
    # General: the upper triangle.
    some = sp.csc_array(np.triu(np.asarray(field.precision.to_dense())))
    some = cx.from_scipy(some)
    got = field.factor().selected_inverse(some.pattern)
    assert_close(got.values, C[some.pattern.rows, some.pattern.columns], value(np.float64))
    with pytest.raises(StructureError, match=r"entry \(\d+, \d+\) does not"):
        field.factor().selected_inverse(full)
    with pytest.raises(UnsupportedError, match="filled"):
        field.factor().selected_inverse("filled")
    with pytest.raises(StructureError, match="shape"):
        field.factor().selected_inverse(cx.Pattern((2, 2), [0, 0, 0], []))


@pytest.mark.slow
def test_observations_leave_the_null_space_that_they_do_not_see(forced):
    model = forced("rw1 ⊗ besag")
    prior = cs.GMRF(0.0, model.precision(precision=1.0), null_space=model.null_space)
    rng = np.random.default_rng(7)
    seen = np.sort(rng.choice(model.n, 30, replace=False))
    A, y = np.eye(model.n)[seen], rng.normal(size=30)
    V = model.null_space.toarray()
    posterior = prior.condition(A, y, 2.0)
    left = V.shape[1] - np.linalg.matrix_rank(A @ V)
    got = posterior.null_space
    got = got.toarray() if sp.issparse(got) else got
    assert got.shape == (model.n, left)
    assert_close(A @ got, np.zeros((30, left)), value(np.float64))
    assert_close(np.linalg.norm(V.T @ got), np.sqrt(left), value(np.float64))
    assert prior.condition(np.eye(model.n), np.zeros(model.n), 1.0).null_space.shape[1] == 0
    # Under the constraints, everything is what it is with dense rows.
    field = model(precision=1.0)
    D = np.asarray(field.precision.to_dense()) + 2.0 * A.T @ A
    twin = Twin(D, model.constraints.A)
    both = field.condition(A, y, 2.0)
    assert_close(both.mean, twin.covariance @ (2.0 * A.T @ y), gradient(np.float64))
    assert_close(both.marginal_variance(), twin.covariance.diagonal(), gradient(np.float64))
    exact = field.condition(A[:3], np.asarray(A[:3] @ np.asarray(both.mean)))
    assert_close(A[:3] @ exact.mean, A[:3] @ both.mean, value(np.float64))


@pytest.mark.slow
def test_fields_on_one_support_have_a_divergence(forced):
    model = forced("rw1 ⊗ besag")
    p, q = model(precision=1.0), model(precision=2.5)
    d = model.dimension
    assert_close(p.kl(q), 0.5 * d * (2.5 - 1 - np.log(2.5)), gradient(np.float64))
    shuffled = cs.Constraints(model.constraints.rows.sparse[::-1])
    other = cs.GMRF(0.0, q.precision, shuffled, null_space=model.null_space)
    assert_close(p.kl(other), p.kl(q), gradient(np.float64))
    tilted = sp.csr_array(model.constraints.rows.sparse)
    tilted.data[0] = 2.0
    with pytest.raises(StructureError, match="one support"):
        p.kl(cs.GMRF(0.0, q.precision, cs.Constraints(tilted)))


def test_single_precision_stays_single(forced):
    field = forced("rw1 ⊗ besag")(precision=jnp.float32(1.7))
    factor = field.factor()
    log_det, variances = factor.log_det(), factor.inverse_diagonal()
    assert log_det.dtype == variances.dtype == np.float32
    twin = Twin(np.asarray(field.precision.to_dense(), float), field.support.A)
    assert_close(log_det, twin.log_det, value(np.float32))
    assert_close(variances, np.diag(twin.covariance), value(np.float32))


def random_rows(rng, sizes, n):
    """Dense rows on disjoint groups of (variables, rows), in random places and order."""
    places, blocks = rng.permutation(n), []
    for s, k in sizes:
        block = np.zeros((k, n))
        block[:, places[:s]] = rng.normal(size=(k, s))
        places = places[s:]
        blocks.append(block)
    return rng.permutation(np.concatenate(blocks))


@pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_groups_of_any_sizes_are_eliminated(many, monkeypatch):
    monkeypatch.setattr(_elimination, "MANY", 2)
    monkeypatch.setattr(_elimination, "LARGEST_GROUP", 12)
    rng = np.random.default_rng(8)
    # More shapes than are kept apart, one without freedom, one of single variables.
    sizes = [(3, 1), (2, 2), (1, 1)] + [(s, 1 + s // 4) for s in range(4, 10)] * many
    n = sum(s for s, _ in sizes) + 9
    A = np.concatenate([random_rows(rng, sizes, n), np.ones((1, n))])
    rows = Rows(A)
    assert rows.local.rows.size == len(A) - 1
    assert rows.rest.k == 1
    D = rng.normal(size=(n, n)) / 5
    D = D @ D.T + np.eye(n)
    e, b = rng.normal(size=len(A)), rng.normal(size=n)
    factor = cs.constrained_cholesky(sparse(D), cs.Constraints(rows, e))
    twin = Twin(D, A, e)
    assert_close(factor.log_det(), twin.log_det, value(np.float64))
    assert_close(factor.solve_affine(b), twin.solve(b), value(np.float64))
    assert_close(factor.inverse_diagonal(), twin.covariance.diagonal(), value(np.float64))
    assert_close(factor.selected_inverse().to_dense(), twin.covariance, value(np.float64))
    assert_close(A @ np.asarray(factor.sample(jax.random.key(0))), np.zeros(len(A)), 1e-12)


def test_rows_that_depend_on_each_other_are_refused(monkeypatch):
    monkeypatch.setattr(_elimination, "MANY", 2)
    monkeypatch.setattr(_elimination, "LARGEST_GROUP", 4)
    A = sp.csr_array(sp.kron(sp.eye_array(5), np.ones((1, 4))))
    assert Rows(A).local is not None
    with pytest.raises(StructureError, match="rank 6 of 8"):
        cs.Constraints(sp.vstack([A, A[[1, 3]], sp.csr_array(np.arange(20.0)[None])]))
    with pytest.raises(StructureError, match="rank 5 of 6"):
        cs.Constraints(sp.vstack([A, sp.csr_array(np.ones((1, 20)))]))
    with pytest.raises(StructureError, match="row 2 is zero"):
        cs.Constraints(sp.vstack([A[:2], 0 * A[:1], A[2:]]))
    with pytest.raises(StructureError, match="finite"):
        cs.Constraints(np.nan * A)


def test_rows_compare_by_content_and_travel(forced):
    rows = forced("islands, joined").constraints.rows
    same = Rows(rows.matrix)
    assert same == rows
    assert hash(same) == hash(rows)
    assert same.local is rows.local
    for twin in (copy.deepcopy(rows), pickle.loads(pickle.dumps(rows))):
        assert twin == rows
        np.testing.assert_array_equal(twin.matrix, rows.matrix)


def test_a_place_by_time_interaction_of_hundreds_of_constraints():
    # The closed form of the determinant is independent of all of this.
    model = cs.kronecker(cs.rw1(8), cs.besag(graph(90)))
    assert model.constraints.k == 97
    assert model.constraints.rows.local.rows.size == 90
    field = model(precision=2.0)
    assert_close(field.factor().log_det(), model.log_det(precision=2.0), value(np.float64))
    # With NumPy's default cut, of the size of rounding, a zero eigenvalue may count as none.
    variances = [
        np.linalg.pinv(np.asarray(p.precision(precision=1.0).to_dense()), 1e-10).diagonal()
        for p in (cs.rw1(8), cs.besag(graph(90)))
    ]
    assert_close(field.marginal_variance(), np.kron(*variances) / 2.0, gradient(np.float64))


@pytest.mark.slow
def test_thousands_of_constraints_take_no_gigabytes():
    inner = cs.rw1(3000)
    tracemalloc.start()
    try:
        model = cs.kronecker(cs.rw1(20), inner)
        factor = model(precision=2.0).factor()
        assert tracemalloc.get_traced_memory()[1] < 2**29
    finally:
        tracemalloc.stop()
    assert model.constraints.k == model.null_space.shape[1] == 3019
    assert_close(factor.log_det(), model.log_det(precision=2.0), value(np.float64))


def test_dense_rows_of_gigabytes_are_refused_by_their_size():
    A = sp.kron(sp.eye_array(300), sp.csr_array(np.ones((1, 2000))))
    with pytest.raises(UnsupportedError, match=r"300 rows of 600000 numbers.*1\.3 GiB"):
        cs.Constraints(A)
    model = cs.kronecker(cs.rw1(20), cs.rw1(3000))
    with pytest.raises(UnsupportedError, match=r"3019 rows of 60000 numbers.*1\.3 GiB"):
        _ = model.constraints.A
