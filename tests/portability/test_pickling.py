"""Every public class pickles, copies and travels between processes, with the same results."""

import copy
import importlib
import importlib.util
import inspect
import multiprocessing
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
import cholax.implicit as ci
import cholax.ordering
import cholax.sparsediff
import cholax.stats as cs
from cholax import numdiff
from cholax._core import pickling
from cholax.analysis import analyze_lu
from cholax.errors import DtypeError

NAMESPACES = (
    cx,
    cx.matfun,
    cx.symbolic,
    ci,
    cholax.sparsediff,
    cholax.ordering,
    cs,
    cs.priors,
    cs.likelihoods,
    cs.latent,
    numdiff,
    numdiff.engine,
    cx.testing,
)
# Those whose library is installed; their classes are named with the library.
LIBRARIES = ("lineax", "optimistix", "numpyro")

S = np.array([[4.0, 1.0, 0.0], [1.0, 5.0, 2.0], [0.0, 2.0, 6.0]])
B = np.array([1.0, 2.0, 3.0])  # NumPy: spawned processes read this before float64 is enabled


def matrix():
    return cx.from_dense(jnp.asarray(S), symmetric=True)


def general():
    return cx.from_dense(jnp.asarray(S + np.eye(3, k=2)))


def residual(x):
    return jnp.asarray(x) ** 3 + jnp.concatenate([x[1:], x[:1] * 0])


def energy(x):
    return jnp.sum(x**4) + jnp.sum(x[1:] * x[:-1])


@jax.jit
def compiled_residual(x):
    return residual(x)


@jax.custom_jvp
def ruled_energy(x):
    return energy(x)


ruled_energy.defjvp(lambda x, t: jax.jvp(energy, x, t))


def element(x):
    return x[0] ** 2 * x[1]


def log_joint(u, theta):
    return jnp.sum(jnp.array([1.0, 0.0, 2.0]) * u - jnp.exp(u)) - 0.5 * jnp.sum((u - theta) ** 2)


def log_joint_of_all(u, theta, y):
    return jnp.sum(y * u - jnp.exp(u)) - 0.5 * jnp.sum((u - theta["mean"]) ** 2)


def cube(A):
    return A @ A @ A


def log_density(y, eta):
    return -0.5 * (y - eta) ** 2


def solves(F):
    return F.solve(B)


DATA = {"y": [2.0, 0.5, 1.0, 5.0, 3.0, 7.5, 4.0, 2.5], "g": list("aabbccdd")}
COUNTS = {"y": [2, 0, 1, 5, 3, 7, 4, 2], "g": list("aabbccdd")}


def mixed_estimates(fit):
    return fit.theta, fit.beta, fit.log_likelihood


def _model_fit():
    model = cs.laplace(log_joint_of_all, jnp.zeros(3))
    return cs.fit_ml(model, {"mean": jnp.array(0.3)}, jnp.array([1.0, 0.0, 2.0]))


def _grid():
    return cs.Grid((3, 4), spacing=0.5)


def _mesh():
    return cs.Mesh([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [[0, 1, 2], [1, 3, 2]])


def _graph():
    return cs.Graph.from_edges(5, [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]])


def _field():
    return cs.rw1(5)(sd=0.7)


# By name, how to make an object and what of it is compared. The first word names the class.
EXAMPLES = {
    "Pattern": (
        lambda: matrix().pattern,
        lambda p: (p.indptr, p.indices, np.frombuffer(p.fingerprint, np.uint8)),
    ),
    "SparseMatrix": (matrix, lambda A: A.values),
    "Plan": (lambda: cx.analyze(matrix().pattern), lambda p: (p.perm, p.digest, p.size)),
    "Plan of a factor": (
        lambda: cx.cholesky(matrix()).plan,
        lambda p: (p.iperm, p.digest),
    ),
    "Factor": (
        lambda: cx.cholesky(matrix()),
        lambda F: (solves(F), F.log_det(), F.inverse_diagonal()),
    ),
    "LUPlan": (lambda: analyze_lu(general().pattern), lambda p: (p.rows, p.columns, p.digest)),
    "LU": (lambda: cx.lu(general()), lambda F: (solves(F), F.slogdet())),
    "Status": (lambda: ci.root(lambda z: z**2 - 2, 1.0, has_status=True)[1], tuple),
    "Coloring": (lambda: cx.hessian(energy).colors(B), lambda c: len(c)),
    "Jacobian": (lambda: cx.jacobian(residual), lambda J: J(B).values),
    "Hessian": (lambda: cx.hessian(energy), lambda H: H(B).values),
    "SeparableHessian": (
        lambda: cx.separable_hessian(element, np.array([[0, 1], [1, 2]])),
        lambda H: H(B).values,
    ),
    "MatrixFunction": (lambda: cx.matfun.expm, lambda f: f(jnp.asarray(S / 9))),
    **{
        f"MatrixFunction {name}": (
            lambda name=name: getattr(cx.matfun, name),
            lambda f: f(jnp.asarray(S / 9)),
        )
        for name in ("cosm", "inv", "logm", "signm", "sinm", "sqrtm")
    },
    "matrix_function": (lambda: cx.matrix_function(cube), lambda f: f(jnp.asarray(S / 9))),
    "ConstrainedFactor": (
        lambda: cs.constrained_cholesky(matrix(), cs.Constraints(jnp.ones(3))),
        lambda F: (F.solve(B), F.log_det(), F.inverse_diagonal()),
    ),
    "Constraints": (lambda: cs.Constraints(jnp.ones(3), jnp.array([2.0])), lambda c: (c.A, c.e)),
    "GMRF": (
        _field,
        lambda f: (f.log_det(), f.sample(jax.random.key(0)), f.log_prob(jnp.zeros(5))),
    ),
    "Moments": (lambda: cs.gmrf.Moments(jnp.asarray(B), jnp.asarray(B)), tuple),
    "LatentModel": (lambda: cs.rw2(6), lambda m: m.precision(precision=2.0).values),
    "LatentModel ar1": (lambda: cs.ar1(6), lambda m: m(precision=2.0, rho=0.5).log_det()),
    "LatentModel bym2": (lambda: cs.bym2(_graph()), lambda m: m(precision=2.0, phi=0.5).log_det()),
    "LatentModel kronecker": (
        lambda: cs.kronecker(cs.iid(2), cs.rw1(4)),
        lambda m: m(precision=2.0).log_det(),
    ),
    "LatentModel matern": (
        lambda: cs.matern(_grid()),
        lambda m: m(range=1.5, sd=0.5).log_det(),
    ),
    "Hyperparameter": (lambda: cs.rw1(3).hyperparameters[0], lambda h: h.name),
    "Parametrization": (lambda: cs.rw1(3).parametrizations[0], lambda p: p.names),
    "Graph": (_graph, lambda g: g.adjacency.toarray()),
    "Grid": (_grid, lambda g: (g.shape, g.spacing)),
    "Mesh": (_mesh, lambda m: (m.nodes, m.triangles, m.areas)),
    "FiniteElements": (
        lambda: cs.FiniteElements([0.5, 0.5], sp.csc_array([[1.0, -1.0], [-1.0, 1.0]]), 1),
        lambda e: (e.mass, e.stiffness.toarray()),
    ),
    "Prior": (lambda: cs.priors.pc_ar1(0.5, 0.3), lambda p: p.log_prob(0.3)),
    "Prior lkj": (lambda: cs.priors.lkj(3), lambda p: p.log_prob(jnp.eye(3))),
    "UnconstrainedPrior": (
        lambda: cs.priors.gamma(2.0, 1.0).unconstrained(),
        lambda p: p.log_prob(0.3),
    ),
    "Likelihood": (lambda: cs.likelihoods.poisson, lambda y: y.log_prob(jnp.ones(3), B)),
    "Likelihood elementwise": (
        lambda: cs.likelihoods.elementwise(log_density),
        lambda y: y.log_prob(jnp.ones(3), B),
    ),
    "ResponseSupport": (lambda: cs.likelihoods.binomial.support, repr),
    "Parameter": (lambda: cs.likelihoods.gaussian.parameters[0], lambda p: p.name),
    "BlockLikelihood": (lambda: cs.likelihoods.blockwise(log_density), lambda y: repr(type(y))),
    "Survival": (lambda: cs.surv(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0])), tuple),
    "LaplaceModel": (
        lambda: cs.laplace(log_joint, jnp.zeros(3)),
        lambda m: m.log_marginal(jnp.array(0.5)),
    ),
    "LaplaceResult": (
        lambda: cs.laplace(log_joint, jnp.zeros(3))(jnp.array(0.5)),
        lambda r: (r.log_marginal, r.mode, r.variance()),
    ),
    "LaplaceStatus": (lambda: cs.laplace(log_joint, jnp.zeros(3))(jnp.array(0.5)).status, tuple),
    "Fit": (_model_fit, lambda f: (f.theta, f.objective, f.result.mode, f.evaluator.mode)),
    "FitStatus": (lambda: _model_fit().status, lambda s: (s.converged, s.code)),
    "Profile": (
        lambda: cs.Profile("a", np.ones(2), np.ones(2), (0.0, 1.0), 0.9, True),
        lambda p: p.values,
    ),
    "Delta": (lambda: cs.Delta(jnp.asarray(B), B, B, None), tuple),
    "LinearMixedModel": (
        lambda: cs.LinearMixedModel("y ~ 1 + (1 | g)", DATA),
        lambda m: m.design.X,
    ),
    "LMMFit": (
        lambda: cs.lmm("y ~ 1 + (1 | g)", DATA),
        mixed_estimates,
    ),
    "GeneralizedLinearMixedModel": (
        lambda: cs.GeneralizedLinearMixedModel("y ~ 1 + (1 | g)", COUNTS),
        lambda m: m.log_likelihood(jnp.ones(1), jnp.ones(1)),
    ),
    "GLMMFit": (
        lambda: cs.glmm("y ~ 1 + (1 | g)", COUNTS),
        mixed_estimates,
    ),
    "Ordering": (lambda: cholax.ordering.resolve("amd"), lambda o: o.key),
    "AMD": (lambda: cholax.ordering.AMD(), lambda o: o.key),
    "Auto": (lambda: cholax.ordering.Auto(), lambda o: o.key),
    "Given": (lambda: cholax.ordering.Given([2, 0, 1]), lambda o: o.key),
    "MinimumFill": (lambda: cholax.ordering.MinimumFill(), lambda o: o.key),
    "Natural": (lambda: cholax.ordering.Natural(), lambda o: o.key),
    "NestedDissection": (lambda: cholax.ordering.NestedDissection(), lambda o: o.key),
    "RCM": (lambda: cholax.ordering.RCM(), lambda o: o.key),
}


def _differences(name, f):
    """A derivative by differences with its error bars, and one that was called before."""

    def made():
        D = getattr(numdiff, name)(f, with_error=True)
        D(B)
        return D

    return made, lambda D: D(B)


EXAMPLES |= {
    "Difference gradient": _differences("gradient", energy),
    "Difference jacobian": _differences("jacobian", residual),
    "Difference hessian": _differences("hessian", energy),
    "Difference coloured": (
        lambda: numdiff.jacobian(residual, "central", sparsity=np.eye(3) + np.eye(3, k=1)),
        lambda D: D(B).values,
    ),
    "Options": (lambda: numdiff.gradient(energy, scale=2.0).options, lambda o: (o.where, o.scale)),
    "Frame": (
        lambda: numdiff.gradient(energy).flat(jnp.asarray(B), ())[1],
        lambda frame: tuple(frame),
    ),
    "Estimate": (lambda: numdiff.engine.Estimate(jnp.asarray(B), jnp.asarray(B)), tuple),
    "Report": (
        lambda: cx.testing.check_derivatives(energy, [jnp.asarray(B)], order=1),
        lambda r: [(c.derivative, c.difference) for c in r.comparisons],
    ),
}


def _lineax():
    import lineax as lx

    from cholax.integrations import lineax as ours

    def operator():
        return ours.SparseMatrixLinearOperator(matrix(), lx.positive_semidefinite_tag)

    def solution(solver):
        return lambda: lx.linear_solve(operator(), jnp.asarray(B), solver())

    def solved(solver):
        return lx.linear_solve(operator(), jnp.asarray(B), solver).value

    def again(solution):
        # The state holds the factor, with which another system is solved.
        return solution.value, solution.state.factor.solve(B)

    return {
        "lineax.SparseMatrixLinearOperator": (operator, lambda A: A.mv(jnp.asarray(B))),
        "lineax.Cholesky": (ours.Cholesky, solved),
        "lineax.Cholesky with a pattern": (
            lambda: ours.Cholesky("natural", sparsity=matrix().pattern),
            solved,
        ),
        "lineax.LU": (ours.LU, solved),
        "lineax.LU with a capacity": (lambda: ours.LU(capacity=2.0), solved),
        "lineax.Solution by Cholesky": (solution(ours.Cholesky), again),
        "lineax.Solution by LU": (solution(ours.LU), again),
    }


def _newton_residual(y, c):
    return y**3 + 4 * y - jnp.roll(y, 1) - c


def _optimistix():
    import optimistix as optx

    from cholax.integrations.optimistix import SparseNewton

    def found(solver):
        return optx.root_find(_newton_residual, solver, jnp.ones(3), 4.0, adjoint=solver.adjoint())

    def made():
        return SparseNewton(1e-8, 1e-8)

    return {
        "optimistix.SparseNewton": (made, lambda solver: found(solver).value),
        "optimistix.Solution": (
            lambda: found(made()),
            lambda solution: (solution.value, solution.stats["num_steps"]),
        ),
    }


def _numpyro():
    from cholax.integrations import numpyro as ours

    def constraints():
        return cs.Constraints(np.ones(3), np.array([2.0]))

    key = jax.random.key(0)
    return {
        "numpyro.GMRF": (
            lambda: ours.GMRF(jnp.asarray(B), matrix()),
            lambda d: (d.log_prob(B), d.sample(key), d.mean),
        ),
        "numpyro.GMRF with constraints": (
            lambda: ours.GMRF(jnp.asarray(B), matrix(), constraints()),
            lambda d: (d.sample(key), d.variance),
        ),
        "numpyro.AffineSubspace": (
            lambda: ours.AffineSubspace(constraints()),
            lambda s: (s(B), s(jnp.ones(3) * 2 / 3)),
        ),
        "numpyro.NullSpaceTransform": (
            lambda: ours.NullSpaceTransform(constraints()),
            lambda t: t(jnp.asarray(B[:2])),
        ),
    }


for _library, _examples in zip(LIBRARIES, (_lineax, _optimistix, _numpyro), strict=True):
    if importlib.util.find_spec(_library) is not None:
        EXAMPLES |= _examples()


def public_classes():
    found = {}
    for library in LIBRARIES:
        if importlib.util.find_spec(library) is None:
            continue
        module = importlib.import_module(f"cholax.integrations.{library}")
        for name, value in vars(module).items():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and not name.startswith("_"):
                found[f"{library}.{name}"] = value
    for space in NAMESPACES:
        for name, value in vars(space).items():
            own = inspect.isclass(value) and value.__module__.startswith("cholax")
            if own and not name.startswith("_") and not issubclass(value, BaseException):
                found[name] = value
    return found


def equal(a, b):
    a, b = jax.tree.leaves(a), jax.tree.leaves(b)
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)
        assert getattr(x, "dtype", None) == getattr(y, "dtype", None)


def test_every_public_class_has_an_example():
    assert set(public_classes()) <= {name.split()[0] for name in EXAMPLES}


# Seconds to fit or compile; all other results are made of the same parts.
SLOW = ("GeneralizedLinearMixedModel", "GLMMFit", "Fit", "Report")
SLOW += ("Difference jacobian", "Difference hessian", "Difference coloured")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in EXAMPLES]
)
def test_pickles_and_copies_give_the_same_results(name):
    make, observe = EXAMPLES[name]
    made = make()
    expected = observe(made)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(made, protocol=protocol)
    again = pickle.loads(data)
    assert type(again) is type(made)
    equal(observe(again), expected)
    equal(observe(pickle.loads(pickle.dumps(again))), expected)
    for copied in (copy.copy(made), copy.deepcopy(made)):
        assert type(copied) is type(made)
        equal(observe(copied), expected)


# --- what is shared, refused and left behind ------------------------------------------------------


def test_equal_patterns_and_plans_are_equal_after_reading_and_programs_are_found_again():
    F = cx.cholesky(matrix())
    traced = 0

    @jax.jit
    def run(F):
        nonlocal traced
        traced += 1
        return F.solve(B)

    run(F)
    again = pickle.loads(pickle.dumps(F))
    assert again.A.pattern == F.A.pattern
    assert hash(again.A.pattern) == hash(F.A.pattern)
    assert again.plan == F.plan
    assert hash(again.plan) == hash(F.plan)
    np.testing.assert_array_equal(run(again), run(F))
    assert traced == 1


VALUED = ("SparseMatrix", "Factor", "LU", "ConstrainedFactor", "Constraints", "GMRF", "Moments")
VALUED += ("LaplaceModel", "LaplaceResult", "LaplaceStatus", "Delta", "Status")


@pytest.mark.parametrize("name", VALUED)
def test_float64_is_refused_where_it_would_become_float32(name):
    data = pickle.dumps(EXAMPLES[name][0]())
    with jax.enable_x64(False), pytest.raises(DtypeError, match="jax_enable_x64"):
        pickle.loads(data)


def test_float32_is_read_everywhere():
    data = pickle.dumps(cx.cholesky(matrix().astype(np.float32)))
    with jax.enable_x64(False):
        F = pickle.loads(data)
        assert F.solve(B.astype(np.float32)).dtype == np.float32


def test_functions_without_a_name_need_cloudpickle():
    cloudpickle = pytest.importorskip("cloudpickle")
    scale = 2.0
    H = cx.hessian(lambda x: jnp.sum(scale * x**4) + x[0] * x[1])
    H(B)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(H)
    again = pickle.loads(cloudpickle.dumps(H))
    np.testing.assert_array_equal(again(B).values, H(B).values)
    np.testing.assert_array_equal(copy.deepcopy(H)(B).values, H(B).values)


def test_functions_that_jax_has_wrapped_go_by_their_names():
    for made in (cx.jacobian(compiled_residual), cx.hessian(ruled_energy), cx.jacobian(jnp.sin)):
        again = pickle.loads(pickle.dumps(made))
        np.testing.assert_array_equal(again(B).values, made(B).values)
        again = copy.deepcopy(made)
        np.testing.assert_array_equal(again(B).values, made(B).values)


def test_keys_and_containers_are_packed():
    key = jax.random.key(3)
    again = pickling.unpack(pickle.loads(pickle.dumps(pickling.pack({"a": (key, [B])}))))
    np.testing.assert_array_equal(jax.random.key_data(again["a"][0]), jax.random.key_data(key))
    np.testing.assert_array_equal(again["a"][1][0], B)


def test_symbolic_functions_pickle():
    sympy = pytest.importorskip("sympy")
    x, y = sympy.symbols("x y")
    f = cx.symbolic.primitive(sympy.sin(x) * y, [x, y])
    again = pickle.loads(pickle.dumps(f))
    np.testing.assert_array_equal(again(B, B), f(B, B))


def in_another_process(data):
    return [(name, jax.tree.map(np.asarray, EXAMPLES[name][1](x))) for name, x in data]


TRAVELLERS = ("Pattern", "SparseMatrix", "Factor", "LU", "ConstrainedFactor", "GMRF", "LatentModel")
TRAVELLERS += ("Hessian", "LaplaceModel", "LaplaceResult", "Prior", "Likelihood elementwise")


@pytest.mark.slow
def test_objects_travel_to_spawned_processes_and_through_joblib(tmp_path, monkeypatch):
    made = [(name, EXAMPLES[name][0]()) for name in TRAVELLERS]
    expected = in_another_process(made)
    with multiprocessing.get_context("spawn").Pool(1, initializer=wide) as pool:
        found = pool.apply(in_another_process, (made,))
    for (name, a), (_, b) in zip(found, expected, strict=True):
        assert name
        equal(a, b)
    joblib = pytest.importorskip("joblib")
    joblib.dump(made, tmp_path / "objects")
    equal(dict(in_another_process(joblib.load(tmp_path / "objects"))), dict(expected))
    # Its workers read their arguments before any function of ours runs, so they start with x64.
    monkeypatch.setenv("JAX_ENABLE_X64", "true")
    (found,) = joblib.Parallel(n_jobs=2)(joblib.delayed(in_another_process)(made) for _ in range(1))
    equal(dict(found), dict(expected))


def wide():
    jax.config.update("jax_enable_x64", True)
