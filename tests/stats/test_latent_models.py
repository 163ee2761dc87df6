"""Latent models: structure, determinants and derivatives against dense twins, by the registry."""

import importlib
import inspect
import pkgutil
import tracemalloc

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp

import cholax as cx
import cholax.stats as cs
from cholax.errors import ArgumentError, DtypeError, ShapeError, StructureError, UnsupportedError
from cholax.stats import LATENT_MODELS, Graph, latent
from cholax.testing import check_derivatives
from tests import tolerances as tol

# Two components of different sizes, weighted; and the same with a node alone.
GRAPH = Graph.from_edges(5, [[0, 1], [1, 2], [3, 4]], [1.0, 2.0, 0.5])
ISLANDS = Graph.from_edges(6, [[0, 1], [1, 2], [2, 0], [4, 5]])
DIRECTED = sp.csc_array(np.array([[0.0, 0.7, 0.3], [0.2, 0.0, 0.8], [1.0, 0.0, 0.0]]))
CORRELATION = np.array([[1.0, 0.0], [0.6, 0.8]])


def laplacian(graph):
    W = graph.adjacency.toarray()
    return np.diag(W.sum(axis=1)) - W


def differences(t, order):
    D = np.diff(np.eye(len(t)), axis=0) / np.diff(t)[:, None]
    h = np.diff(t)
    if order == 1:
        return D.T @ np.diag(h) @ D
    D2 = np.diff(D, axis=0)
    return D2.T @ np.diag(2 / (h[:-1] + h[1:])) @ D2


def circle(n):
    return np.roll(np.eye(n), 1, axis=1) - np.eye(n)


def scaled(R, blocks):
    """Every block to variances of geometric mean one."""
    variances, out = np.diag(np.linalg.pinv(R, 1e-10)), R.copy()
    for block in blocks:
        out[block] *= np.exp(np.mean(np.log(variances[block])))
    return out


def ar1_precision(n, tau, rho):
    i = np.arange(n)
    return np.linalg.inv(rho ** np.abs(i[:, None] - i) / tau)


def bym2_precision(R, tau, phi):
    one = np.eye(len(R))
    coupling = -np.sqrt(phi * tau) / (1 - phi) * one
    return np.block([[tau / (1 - phi) * one, coupling], [coupling, R + phi / (1 - phi) * one]])


def matern_precision(grid, alpha, kappa, tau):
    fem = grid.finite_elements()
    C, G = np.diag(fem.mass), fem.stiffness.toarray()
    K = kappa**2 * C + G
    return tau**2 * (K if alpha == 1 else K @ np.linalg.inv(C) @ K)


def simultaneous(W, tau, rho):
    B = np.eye(len(W)) - rho * W
    return tau * B.T @ B


GRID = cs.Grid((3, 2), spacing=(0.5, 0.8))
LAPLACIAN, ISLAND_LAPLACIAN = laplacian(GRAPH), laplacian(ISLANDS)
ALONE = np.diag(np.arange(6) == 3).astype(float)
TRIANGLE = [[0, 1, 2], [4, 5]]
R4, KNOTS = differences(np.arange(4.0), 1), [0.0, 1.0, 2.5, 2.7, 4.0]
KAPPA, TAU = np.sqrt(8.0) / 1.3, 1 / (0.7 * np.sqrt(4 * np.pi) * np.sqrt(8.0) / 1.3)

# Registry entry, model, hyperparameters, dense precision.
CASES = {
    "iid": ("iid", cs.iid(3), {"precision": 2.0}, 2.0 * np.eye(3)),
    "rw1": ("rw1", cs.rw1(4), {"sd": 0.5}, 4.0 * R4),
    "rw1_cyclic": ("rw1", cs.rw1(5, cyclic=True), {"precision": 2.0}, 2 * circle(5).T @ circle(5)),
    "rw1_irregular": (
        "rw1",
        cs.rw1(locations=KNOTS, scaled=True),
        {"precision": 2.0},
        2.0 * scaled(differences(np.array(KNOTS), 1), [range(5)]),
    ),
    "rw2": (
        "rw2",
        cs.rw2(6, constrain="sum"),
        {"precision": 2.0},
        2 * differences(np.arange(6.0), 2),
    ),
    "rw2_irregular": (
        "rw2",
        cs.rw2(locations=KNOTS, scaled=True),
        {"sd": 0.5},
        4.0 * scaled(differences(np.array(KNOTS), 2), [range(5)]),
    ),
    "rw2_cyclic": (
        "rw2",
        cs.rw2(6, cyclic=True, constrain=None),
        {"precision": 2.0},
        2.0 * np.linalg.matrix_power(circle(6).T @ circle(6), 2),
    ),
    "ar1": ("ar1", cs.ar1(4), {"precision": 2.0, "rho": -0.6}, ar1_precision(4, 2.0, -0.6)),
    "ar1_innovation": (
        "ar1",
        cs.ar1(1),
        {"innovation_sd": 0.5, "rho": 0.6},
        ar1_precision(1, 4.0 * (1 - 0.36), 0.6),
    ),
    "besag": ("besag", cs.besag(GRAPH), {"precision": 2.0}, 2.0 * LAPLACIAN),
    "besag_fixed": (
        "besag",
        cs.besag(ISLANDS, singletons="zero", scaled=True),
        {"precision": 2.0},
        2.0 * scaled(ISLAND_LAPLACIAN, TRIANGLE),
    ),
    "besag_free": (
        "besag",
        cs.besag(ISLANDS, singletons="iid", scaled=True),
        {"precision": 2.0},
        2.0 * (scaled(ISLAND_LAPLACIAN, TRIANGLE) + ALONE),
    ),
    "proper_car": (
        "proper_car",
        cs.proper_car(ISLANDS, singletons="iid"),
        {"precision": 2.0, "rho": 0.7},
        2.0 * (np.diag(np.diag(ISLAND_LAPLACIAN)) + ALONE - 0.7 * ISLANDS.adjacency.toarray()),
    ),
    "leroux": (
        "leroux",
        cs.leroux(GRAPH),
        {"precision": 2.0, "phi": 0.7},
        2.0 * (0.3 * np.eye(5) + 0.7 * LAPLACIAN),
    ),
    "bym2": (
        "bym2",
        cs.bym2(ISLANDS, singletons="iid"),
        {"precision": 2.0, "phi": 0.3},
        bym2_precision(scaled(ISLAND_LAPLACIAN, TRIANGLE) + ALONE, 2.0, 0.3),
    ),
    "bym2_uv": (
        "bym2",
        cs.bym2(ISLANDS, singletons="zero", form="uv"),
        {"precision": 2.0, "phi": 0.3},
        scipy.linalg.block_diag(scaled(ISLAND_LAPLACIAN, TRIANGLE), np.eye(6)),
    ),
    "sar": (
        "sar",
        cs.sar(DIRECTED),
        {"precision": 2.0, "rho": 0.4},
        simultaneous(DIRECTED.toarray(), 2.0, 0.4),
    ),
    "matern": (
        "matern",
        cs.matern(GRID),
        {"range": 1.3, "sd": 0.7},
        matern_precision(GRID, 2, KAPPA, TAU),
    ),
    "matern_first": (
        "matern",
        cs.matern(GRID, alpha=1),
        {"kappa": 1.2, "tau": 0.4},
        matern_precision(GRID, 1, 1.2, 0.4),
    ),
    "interaction": (
        "kronecker",
        cs.kronecker(cs.rw1(4), cs.besag(GRAPH)),
        {"precision": 2.0},
        2.0 * np.kron(R4, LAPLACIAN),
    ),
    "space_time": (
        "kronecker",
        cs.kronecker(cs.ar1(3), cs.matern(GRID, alpha=1)),
        {"rho": 0.5, "kappa": 1.2, "tau": 0.4},
        np.kron(ar1_precision(3, 1.0, 0.5), matern_precision(GRID, 1, 1.2, 0.4)),
    ),
    "iidkd": (
        "iidkd",
        cs.iidkd(3, 2),
        {"covariance_cholesky": np.diag([0.5, 2.0]) @ CORRELATION},
        np.kron(
            np.eye(3), np.linalg.inv(np.outer([0.5, 2], [0.5, 2]) * (CORRELATION @ CORRELATION.T))
        ),
    ),
    "generic": (
        "generic",
        cs.generic(
            lambda a: a * cx.from_scipy(GRAPH.laplacian, symmetric=True),
            {"a": 1.0},
            null_space=cs.besag(GRAPH).null_space,
        ),
        {"a": 3.0},
        3.0 * LAPLACIAN,
    ),
}


def arrays(name, dtype=np.float64):
    return {key: jnp.asarray(x, dtype) for key, x in CASES[name][2].items()}


@jax.jit
def program(hyper):
    """Precisions and log-determinants of all models: one compilation for most tests here."""
    fields = {name: CASES[name][1](**hyper[name]) for name in CASES}
    return {name: (x.precision.values, x.log_det()) for name, x in fields.items()}


HYPER = {name: arrays(name) for name in CASES}
RESULTS = {}


def results():
    if not RESULTS:
        RESULTS.update(program(HYPER))
    return RESULTS


def basis_under_constraints(model):
    """An orthonormal basis of the null space of the constraints."""
    return (
        np.eye(model.n)
        if model.constraints is None
        else scipy.linalg.null_space(model.constraints.A)
    )


def test_every_model_is_registered_and_has_a_case():
    assert {entry for entry, _, _, _ in CASES.values()} == set(LATENT_MODELS)
    homes = {inspect.getmodule(model).__name__.rsplit(".")[-1] for model in LATENT_MODELS.values()}
    files = {m.name for m in pkgutil.iter_modules(latent.__path__)}
    # A new file without a line in the registry shows here.
    assert files - homes == {"graph", "_combination", "_model", "_sizes"}
    for file in homes:
        module = importlib.import_module(f"cholax.stats.latent.{file}")
        public = {
            name
            for name, item in inspect.getmembers(module, inspect.isfunction)
            if item.__module__ == module.__name__ and not name.startswith("_")
        }
        assert public - {"structure"} <= set(LATENT_MODELS)


@pytest.mark.parametrize("name", CASES)
def test_structure_is_that_of_the_dense_twin(name):
    _, model, _, expected = CASES[name]
    values, log_det = results()[name]
    Q = np.asarray(cx.SparseMatrix(values, model.pattern).to_dense())
    tol.assert_close(Q, expected, tol.value(np.float64))
    assert np.linalg.matrix_rank(Q, tol=1e-9) == model.rank
    V = model.null_space
    if V is not None:
        tol.assert_close(Q @ V, np.zeros_like(V), 1e-12)
        tol.assert_close(V.T @ V, np.eye(V.shape[1]), 1e-12)
        assert V.shape == (model.n, model.n - model.rank)
    Z = basis_under_constraints(model)
    eigenvalues = np.linalg.eigvalsh(Z.T @ Q @ Z)
    positive = eigenvalues[eigenvalues > 1e-9]
    assert len(positive) == model.dimension
    tol.assert_close(log_det, np.log(positive).sum(), tol.gradient(np.float64))


def test_gradients_are_difference_quotients():
    def total(hyper):
        out = program(hyper)
        return {name: jnp.sum(jnp.sin(values)) + log_det for name, (values, log_det) in out.items()}

    smooth = jax.jit(lambda h: sum(total(h).values()))
    slopes = jax.jit(jax.grad(smooth))(HYPER)
    up, down = (total(jax.tree.map(lambda x, d=d: x + d, HYPER)) for d in (1e-6, -1e-6))
    for name in CASES:
        got = (float(up[name]) - float(down[name])) / 2e-6
        expected = sum(float(slope.sum()) for slope in jax.tree.leaves(slopes[name]))
        assert abs(got - expected) < 1e-5 * max(1.0, abs(got)), name


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_every_order_are_those_of_finite_differences(name):
    _, model, _, _ = CASES[name]
    hyper = arrays(name)

    @jax.jit
    def f(hyper):
        x = jnp.linspace(-1.0, 2.0, model.n)
        field = model(**hyper)
        return {"values": field.precision.values, "log_prob": field.log_prob(x)}

    check_derivatives(f, [hyper])


def test_results_have_the_dtype_of_the_hyperparameters():
    single = {name: arrays(name, np.float32) for name in CASES if name != "generic"}

    def fields(hyper):
        out = {name: CASES[name][1](**h) for name, h in hyper.items()}
        return {name: (x.precision.values, x.log_det()) for name, x in out.items()}

    out = jax.eval_shape(fields, single)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(out))
    # Python numbers take JAX's default.
    assert cs.ar1(3).precision(sd=1, rho=0.5).dtype == np.float64
    with pytest.raises(DtypeError, match="one dtype"):
        cs.ar1(3).precision(precision=jnp.float32(1.0), rho=jnp.float64(0.5))
    with pytest.raises(DtypeError, match="float32 or float64"):
        cs.iid(3).precision(precision=jnp.arange(3)[1])


def test_field_has_the_dense_density_on_its_plane():
    for name in ("besag_fixed", "bym2", "interaction"):
        _, model, _, Q = CASES[name]
        Z = basis_under_constraints(model)
        x = Z @ np.random.default_rng(2).normal(size=Z.shape[1])
        small = Z.T @ Q @ Z
        expected = -0.5 * x @ Q @ x + 0.5 * np.linalg.slogdet(small / (2 * np.pi))[1]
        got = jax.jit(lambda h, x, m=model: m.log_prob(x, **h))(arrays(name), jnp.asarray(x))
        tol.assert_close(got, expected, tol.gradient(np.float64))


def test_models_map_over_hyperparameters():
    taus = jnp.array([0.5, 2.0, 3.0])
    log_dets = jax.vmap(lambda tau: cs.proper_car(GRAPH).log_det(precision=tau, rho=0.3))(taus)
    one = cs.proper_car(GRAPH).log_det(precision=1.0, rho=0.3)
    tol.assert_close(log_dets, one + 5 * np.log(taus), 1e-11)


def test_parametrizations_agree():
    graph = cs.besag(GRAPH)
    same = [graph.precision(precision=4.0), graph.precision(sd=0.5)]
    tol.assert_close(same[0].values, same[1].values, 1e-12)
    ar1 = cs.ar1(4)
    own = ar1.precision(precision=2.0, rho=0.6).values
    for other in ({"innovation_precision": 3.125}, {"innovation_sd": 3.125**-0.5}):
        tol.assert_close(ar1.precision(**other, rho=0.6).values, own, 1e-12)
    field = cs.matern(GRID)
    tol.assert_close(
        field.precision(kappa=KAPPA, tau=TAU).values,
        field.precision(range=1.3, sd=0.7).values,
        1e-12,
    )
    covariance = np.outer([0.5, 2], [0.5, 2]) * (CORRELATION @ CORRELATION.T)
    pairs = cs.iidkd(3, 2)
    own = pairs.precision(sd=jnp.array([0.5, 2.0]), correlation_cholesky=jnp.array(CORRELATION))
    factor = jnp.asarray(np.linalg.cholesky(covariance))
    tol.assert_close(pairs.precision(covariance=jnp.asarray(covariance)).values, own.values, 1e-11)
    tol.assert_close(pairs.precision(covariance_cholesky=factor).values, own.values, 1e-11)


def test_hyperparameters_outside_their_support_give_nan():
    assert jnp.isnan(cs.ar1(3).precision(precision=1.0, rho=1.2).values).all()
    assert jnp.isnan(cs.iid(3).precision(sd=-1.0).diagonal()).all()
    assert jnp.isnan(cs.leroux(GRAPH).log_det(precision=1.0, phi=1.2))
    loose = jnp.array([[1.0, 0.0], [0.6, 0.9]])
    field = cs.iidkd(1, 2).precision(sd=jnp.ones(2), correlation_cholesky=loose)
    assert jnp.isnan(field.values).all()


def test_effects_of_both_forms_of_bym2_have_the_same_covariance():
    covariances = []
    for form in ("bu", "uv"):
        model = cs.bym2(ISLANDS, singletons="iid", form=form)
        Q = np.asarray(model.precision(precision=2.0, phi=0.3).to_dense())
        B, Z = (
            np.asarray(model.effect_matrix(precision=2.0, phi=0.3).to_dense()),
            basis_under_constraints(model),
        )
        covariances.append(B @ Z @ np.linalg.inv(Z.T @ Q @ Z) @ Z.T @ B.T)
    R = scaled(ISLAND_LAPLACIAN, TRIANGLE) + ALONE
    expected = (0.7 * np.eye(6) + 0.3 * np.linalg.pinv(R, 1e-10)) / 2.0
    tol.assert_close(covariances[0], expected, 1e-10)
    tol.assert_close(covariances[1], expected, 1e-10)
    x = jnp.arange(12.0)
    tol.assert_close(model.effect(x, precision=2.0, phi=0.3), B @ np.asarray(x), 1e-12)
    assert cs.iid(3).effect(jnp.ones(3), precision=1.0).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ArgumentError, match="augmented"):
        cs.iid(3).effect_matrix(precision=1.0)


def test_constraints_sum_to_zero_within_every_component():
    fixed = cs.besag(ISLANDS, singletons="zero")
    assert fixed.constraints.A.tolist() == [
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 1],
    ]
    free = cs.besag(ISLANDS, singletons="iid")
    assert free.constraints.k == 2
    assert cs.rw2(5).constraints.k == 2
    assert cs.rw2(5, constrain="sum").constraints.k == 1
    # 3 rows of time by 2 components each, and 5 nodes, less what both say.
    assert cs.kronecker(cs.rw1(4), cs.besag(GRAPH)).constraints.k == 5 + 4 * 2 - 2


def test_kronecker_refuses_a_null_space_of_gigabytes_before_it_is_built():
    inner, outer = cs.rw1(3000), cs.rw1(300)
    tracemalloc.start()
    try:
        with pytest.raises(UnsupportedError, match=r"3299 dimensions.*22\.1 GiB.*Make one part"):
            cs.kronecker(outer, inner)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert cs.kronecker(cs.ar1(20), cs.rw1(300)).constraints.k == 20


def test_kronecker_names_what_clashes_and_shares_the_scale():
    twice = cs.kronecker(cs.ar1(2), cs.ar1(3))
    assert [p.name for p in twice.hyperparameters] == ["precision", "first_rho", "second_rho"]
    Q = twice.precision(sd=0.5, first_rho=0.2, second_rho=-0.4).to_dense()
    expected = 4.0 * np.kron(ar1_precision(2, 1.0, 0.2), ar1_precision(3, 1.0, -0.4))
    tol.assert_close(Q, expected, 1e-11)
    with pytest.raises(UnsupportedError, match="form='uv'"):
        cs.kronecker(cs.iid(2), cs.bym2(GRAPH))


def test_models_build_under_jit():
    @jax.jit
    def log_det(tau):
        return cs.besag(GRAPH, scaled=True).log_det(precision=tau)

    tol.assert_close(log_det(2.0), cs.besag(GRAPH, scaled=True).log_det(precision=2.0), 1e-11)


def test_contracts():
    with pytest.raises(ArgumentError, match=r"\(precision, rho\) or \(sd, rho\)"):
        cs.proper_car(GRAPH).precision(precision=1.0)
    with pytest.raises(ArgumentError, match="singletons"):
        cs.besag(ISLANDS)
    with pytest.raises(ArgumentError, match="one of"):
        cs.proper_car(ISLANDS, singletons="zero")
    with pytest.raises(ShapeError, match="sd must have shape"):
        cs.iid(3).precision(sd=jnp.ones(3))
    with pytest.raises(ArgumentError, match="n must be an integer >= 3"):
        cs.rw2(2)
    with pytest.raises(ArgumentError, match="n or locations"):
        cs.rw1()
    with pytest.raises(ArgumentError, match="increasing"):
        cs.rw1(locations=[0.0, 0.0, 1.0])
    with pytest.raises(ArgumentError, match="equally spaced"):
        cs.rw1(locations=[0.0, 1.0, 2.0], cyclic=True)
    with pytest.raises(ArgumentError, match="constrain must be"):
        cs.rw1(3, constrain="all")
    with pytest.raises(ArgumentError, match="alpha"):
        cs.matern(GRID, alpha=3)
    with pytest.raises(StructureError, match="Mesh, a Grid"):
        cs.matern(GRAPH)
    with pytest.raises(ArgumentError, match="form"):
        cs.bym2(GRAPH, form="b")
    with pytest.raises(ArgumentError, match="zeros on the diagonal"):
        cs.sar(sp.eye_array(3))
    with pytest.raises(StructureError, match="null space to zero"):
        cs.generic(lambda a: a * cx.eye(2), {"a": 1.0}, null_space=np.ones((2, 1)))
    with pytest.raises(StructureError, match="symmetric SparseMatrix"):
        cs.generic(lambda a: a, {"a": 1.0})


def test_bounds_of_sar_are_where_it_becomes_singular():
    def bounds(W, **options):
        support = cs.sar(W, **options).hyperparameters[1].support
        return support.lower, support.upper

    assert bounds(DIRECTED) == (-1.0, 1.0)
    assert bounds(ISLANDS, row_standardize=True) == (-1.0, 1.0)
    eigenvalues = np.linalg.eigvalsh(GRAPH.adjacency.toarray())
    tol.assert_close(bounds(GRAPH), [1 / eigenvalues[0], 1 / eigenvalues[-1]], 1e-12)
    radius = np.abs(np.linalg.eigvals(2.0 * DIRECTED.toarray())).max()
    tol.assert_close(bounds(2.0 * DIRECTED), [-1 / radius, 1 / radius], 1e-12)


def test_sizes_zero_and_one():
    assert cs.iid(0).precision(precision=2.0).shape == (0, 0)
    assert cs.iidkd(0, 2).precision(covariance=jnp.eye(2)).shape == (0, 0)
    assert cs.iid(1).log_det(precision=2.0) == np.log(2.0)
    alone = cs.besag(Graph.from_edges(1, []), singletons="zero")
    assert (alone.rank, alone.dimension) == (0, 0)
    assert cs.besag(Graph.from_edges(1, []), singletons="iid").rank == 1
