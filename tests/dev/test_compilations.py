"""No public call compiles anything the second time it sees the same shapes.

Every public name has a row: a call, or the reason why it computes nothing. A function that is made
anew, such as a lambda in the caller's loop, is another function; here each is made once.
"""

import functools
import importlib
import types
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import cholax as cx
import cholax.stats as cs
from tests.implicit.test_programs import compilations

MODULES = [
    "cholax", "cholax.stats", "cholax.stats.priors", "cholax.stats.likelihoods",
    "cholax.stats.sampling", "cholax.implicit", "cholax.sparsediff", "cholax.matfun",
    "cholax.numdiff", "cholax.csc", "cholax.symbolic", "cholax.testing",
]  # fmt: skip

N = 5
CHAIN = sp.csr_array(sp.diags_array([1.0] * (N - 1), offsets=1) + np.zeros((N, N)))
CHAIN = sp.csr_array(CHAIN + CHAIN.T)
GRAPH = cs.Graph.of(CHAIN)
LAPLACIAN = sp.csc_array(GRAPH.laplacian + sp.eye_array(N))
V = np.arange(1.0, N + 1)
ELEMENTS = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])


def matrix(s: float) -> cx.SparseMatrix:
    return cx.from_scipy(sp.csc_array(s * LAPLACIAN), symmetric=True)


def general(s: float) -> cx.SparseMatrix:
    return cx.from_scipy(sp.csc_array(s * (LAPLACIAN + sp.diags_array([0.5] * (N - 1), offsets=1))))


def energy(x):
    return (x**4).sum() + ((x[1:] - x[:-1]) ** 2).sum()


def curve(x):
    return x[1:] ** 2 - x[:-1]


def cubic(z, a):
    return z**3 + z - a


def cosine(z, a):
    return jnp.cos(a * z)


def well(z, a):
    return (z**4).sum() + ((z - a) ** 2).sum()


def cube(A):
    return A @ A @ A


LATENT = cs.ar1(N)


def log_joint(u, theta, y):
    prior = LATENT(precision=jnp.exp(theta["log_precision"]), rho=0.5).log_prob(u)
    return jnp.sum(y * u - jnp.exp(u)) + prior


MODEL = cs.laplace(log_joint, np.zeros(N))
HESSIAN, JACOBIAN = cx.hessian(energy), cx.jacobian(curve)
SEPARABLE = cx.separable_hessian(lambda x, k: 0.5 * k * (x[1] - x[0]) ** 4, ELEMENTS)
ROWS = {"y": np.arange(12.0) % 5 + np.repeat(np.arange(4.0), 3), "g": np.repeat(np.arange(4), 3)}


def turn(y):
    return 0.5 * jnp.roll(y, 1)


def quartic(x):
    return jnp.sum(x**4) + x[0] * x[1]


def power(x):
    return x**3


DIFFERENCES = {"derivative": power, "gradient": quartic, "hessian": quartic, "jacobian": curve}


def differentiate(name: str) -> Callable:
    def call(s: float) -> tuple:
        x = np.asarray(s) if name == "derivative" else s * V[:3]
        # Made anew each time: what counts is the function.
        return getattr(cx.finite_difference, name)(DIFFERENCES[name], with_error=True)(x)

    return call


def coloured(s: float) -> jax.Array:
    pattern = JACOBIAN(V).pattern
    return cx.finite_difference.jacobian(curve, "central", sparsity=pattern)(s * V).values


def start(s: float) -> dict:
    return {"log_precision": np.asarray(0.1 * s)}


def field(s: float) -> cs.GMRF:
    return cs.GMRF(s * V, matrix(s))


def use_field(s: float) -> tuple:
    x = field(s)
    draws = x.sample(jax.random.PRNGKey(int(10 * s)))
    return x.log_prob(s * V), draws, x.marginal_variance(), x.mean, x.entropy()


def use_latent(model: cs.LatentModel, **hyper: float) -> Callable:
    def call(s: float) -> tuple:
        x = model(**{name: np.asarray(s * value) for name, value in hyper.items()})
        return x.log_prob(s * np.zeros(model.n)), x.marginal_variance()

    return call


IIDKD = cs.iidkd(3, 2)
DENSE = np.array([[2.0, 0.5, 0.0], [0.25, 3.0, 0.75], [0.0, 0.125, 4.0]])
CUBE = cx.matrix_function(cube)
MATRIX_FUNCTIONS = ("cosm", "expm", "inv", "logm", "signm", "sinm", "sqrtm")
PRIORS = {
    "beta": (0.5, 2.0, 3.0),
    "exponential": (0.5, 2.0),
    "gamma": (0.5, 2.0, 3.0),
    "half_normal": (0.5, 2.0),
    "half_t": (0.5, 3.0, 2.0),
    "lkj": (np.eye(2), 2),
    "lkj_cholesky": (np.eye(2), 2),
    "normal": (0.5,),
    "pc_ar1": (0.5, 0.5, 0.5),
    "pc_bym2_phi": (0.5, GRAPH),
    "pc_matern": ((0.5, 1.0), 1.0, 0.5, 1.0, 0.5),
    "pc_precision": (0.5, 1.0, 0.01),
    "uniform": (0.5, 0.0, 2.0),
}


def doubled(x):
    return 2.0 * x[1:] - x[:-1]


def log_prior(theta):
    return -(theta["log_precision"] ** 2)


def log_joint_with_mean(u, theta, y):
    return log_joint(u + theta["b"], {"log_precision": theta["log_precision"]}, y) - 0.5 * u @ u


REML = cs.laplace(log_joint_with_mean, np.zeros(N))


def use_dense(name: str) -> Callable:
    return lambda s: getattr(cx.matfun, name)(s * DENSE)


def use_prior(name: str, x: object, *arguments: object) -> Callable:
    prior = getattr(cs.priors, name)(*arguments)
    if isinstance(x, tuple):
        return lambda s: prior.log_prob(tuple(np.asarray(s * part) for part in x))
    return lambda s: prior.log_prob(np.asarray(x) * (s if np.ndim(x) < 2 else 1.0))


def csc(s: float) -> tuple:
    lower = sp.csc_array(sp.tril(s * LAPLACIAN))
    return lower.indices, lower.indptr, lower.data


@functools.cache
def symbolic() -> Callable:
    sympy = pytest.importorskip("sympy")
    x, y = sympy.symbols("x y")
    return cx.symbolic.primitive(sympy.sin(x) * y, [x, y])


def table(s: float) -> dict:
    return {**ROWS, "y": s * ROWS["y"]}


def partial_inverse(s: float) -> jax.Array:
    lower = sp.csc_array(sp.tril(s * LAPLACIAN))
    return cx.csc.sparse_partial_inverse(*csc(s), lower.indices, lower.indptr)


def exponential(u, theta):
    return jnp.exp(theta["log_precision"])


KEY = jax.random.key(0)
# Parameters of the families that need some, and the responses of those for which V are none.
FAMILIES = {
    "gaussian": {"sd": 1.0}, "student_t": {"scale": 1.0, "df": 4.0}, "gamma": {"shape": 2.0},
    "binomial": {"trials": 9.0}, "negative_binomial": {"size": 2.0},
    "negative_binomial1": {"dispersion": 2.0}, "zero_inflated_poisson": {"zero_probability": 0.4},
    "weibull_survival": {"shape": 2.0},
}  # fmt: skip
RESPONSES = {
    "bernoulli": V % 2,
    "exponential_survival": cs.surv(V, np.ones(N)),
    "weibull_survival": cs.surv(V, np.ones(N)),
}
ELEMENTWISE = cs.likelihoods.elementwise(lambda y, eta: -((y - eta) ** 2))
BLOCKWISE = cs.likelihoods.blockwise(lambda y, eta: -((y - eta) ** 2).sum())


def use_likelihood(name: str) -> Callable:
    def call(s: float) -> tuple:
        given = {key: np.asarray(s * x) for key, x in FAMILIES.get(name, {}).items()}
        likelihood, eta = cs.LIKELIHOODS[name], s * V
        moments = likelihood.mean(eta, **given), likelihood.variance(eta, **given)
        drawn, below = likelihood.sample(KEY, eta, **given), likelihood.cdf(V, eta, **given)
        density = likelihood.log_prob(RESPONSES.get(name, V), eta, **given)
        return density, moments, drawn, below

    return call


def use_whitening(white: cs.sampling.Whitening) -> tuple:
    return white.point(V), white.coordinates(V), white.log_density(energy)(V)


def fitted_draws(fit: cs.Fit) -> tuple:
    return fit.sample(KEY), fit.covariance(), fit.mode_variance(), fit.joint_precision().values


def use_mixed(fit: object) -> tuple:
    ends = fit.confint(method="profile")
    return fit.predict(se=True), fit.simulate(KEY), ends, fit.fitted, fit.residuals


CALLS: dict[str, Callable] = {
    "cholesky": lambda s: cx.cholesky(matrix(s)).solve(s * V),
    "Factor": lambda s: cx.cholesky(matrix(s)).log_det(),
    "lu": lambda s: cx.lu(general(s)).solve(s * V),
    "solve": lambda s: cx.solve(matrix(s), s * V),
    "log_det": lambda s: cx.log_det(matrix(s)),
    "selected_inverse": lambda s: cx.selected_inverse(matrix(s)).values,
    "inverse_diagonal": lambda s: cx.inverse_diagonal(matrix(s)),
    "quadratic_form": lambda s: cx.quadratic_form(matrix(s), s * V),
    "trace_product": lambda s: cx.trace_product(matrix(s), matrix(2 * s)),
    "kron": lambda s: cx.kron(matrix(s), matrix(s)).values,
    "SparseMatrix": lambda s: (matrix(s) @ (s * V), (matrix(s) + matrix(s)).values),
    "eye": lambda s: (s, cx.eye(N).values),
    "diags": lambda s: cx.diags([s * V], [0]).values,
    "from_scipy": lambda s: matrix(s).values,
    "from_dense": lambda s: cx.from_dense(s * LAPLACIAN.toarray()).values,
    "tril": lambda s: cx.tril(general(s)).values,
    "hessian": lambda s: HESSIAN(s * V).values,
    "jacobian": lambda s: JACOBIAN(s * V).values,
    "separable_hessian": lambda s: SEPARABLE.expansion(s * V, s * np.ones(4)),
    "root": lambda s: cx.root(cubic, np.zeros(N), s * V),
    "fixed_point": lambda s: cx.fixed_point(cosine, np.ones(N), 0.1 * s * V),
    "minimize": lambda s: cx.minimize(well, np.ones(N), s * V),
    "bisect": lambda s: cx.bisect(cubic, np.full(N, -9.0), np.full(N, 9.0), s * V),
    "expm_multiply": lambda s: cx.expm_multiply(matrix(s), s * V),
    "Constraints": lambda s: cs.Constraints(np.ones(N)).project(s * V),
    "constrained_cholesky": lambda s: cs.constrained_cholesky(
        matrix(s), cs.Constraints(np.ones(N))
    ).log_det(),
    "GMRF": use_field,
    "laplace": lambda s: MODEL(start(s), s * V),
    "fit_ml": lambda s: cs.fit_ml(MODEL, start(s), s * V),
    "lmm": lambda s: cs.lmm("y ~ 1 + (1 | g)", table(s)),
    "glmm": lambda s: cs.glmm("y ~ 1 + (1 | g)", table(round(s)), family="poisson"),
    "ar1": use_latent(LATENT, precision=1.0, rho=0.3),
    "iid": use_latent(cs.iid(N), precision=1.0),
    "rw1": use_latent(cs.rw1(N), precision=1.0),
    "rw2": use_latent(cs.rw2(N), precision=1.0),
    "besag": use_latent(cs.besag(GRAPH), precision=1.0),
    "leroux": use_latent(cs.leroux(GRAPH), precision=1.0, phi=0.3),
    "proper_car": use_latent(cs.proper_car(GRAPH), precision=1.0, rho=0.3),
    "kronecker": use_latent(cs.kronecker(cs.rw1(3), cs.besag(GRAPH)), precision=1.0),
    "sar": use_latent(cs.sar(GRAPH), precision=1.0, rho=0.2),
    "bym2": use_latent(cs.bym2(GRAPH), precision=1.0, phi=0.3),
    "matern": use_latent(cs.matern(cs.Grid((3, 3))), range=1.0, sd=1.0),
    "generic": use_latent(cs.generic(lambda scale: scale * cx.eye(N), {"scale": 1.0}), scale=1.0),
    "iidkd": lambda s: IIDKD(sd=s * np.ones(2), correlation_cholesky=np.eye(2)).log_prob(
        s * np.ones(IIDKD.n)
    ),
    "fit_map": lambda s: cs.fit_map(MODEL, start(s), log_prior, s * V),
    "fit_reml": lambda s: cs.fit_reml(REML, {**start(s), "b": np.zeros(1)}, s * V, fixed="b"),
    "surv": lambda s: cs.surv(s * V, np.ones(N)),
    "block": lambda s: cx.block([[general(s), None], [None, general(s)]]).values,
    "block_diag": lambda s: cx.block_diag([general(s), general(s)]).values,
    "hstack": lambda s: cx.hstack([general(s), general(s)]).values,
    "vstack": lambda s: cx.vstack([general(s), general(s)]).values,
    "congruence": lambda s: cx.congruence(general(s), s * V).values,
    "from_coo": lambda s: cx.from_coo(s * V, np.arange(N), np.arange(N), (N, N)).values,
    "from_bcoo": lambda s: cx.from_bcoo(general(s).to_bcoo()).values,
    "linear_operator_matrix": lambda s: cx.linear_operator_matrix(doubled, s * V),
    "frechet": lambda s: cx.frechet(cx.matfun.expm, s * DENSE, DENSE),
    "matrix_function": lambda s: CUBE(s * DENSE),
    "checked": lambda s: cx.checked(cx.cholesky(matrix(s))).log_det(),
    **{f"matfun.{name}": use_dense(name) for name in MATRIX_FUNCTIONS},
    **{f"priors.{name}": use_prior(name, *arguments) for name, arguments in PRIORS.items()},
    "symbolic.primitive": lambda s: symbolic()(np.asarray(s), np.asarray(2 * s)),
    "csc.sparse_cholesky": lambda s: cx.csc.sparse_cholesky(*csc(s)),
    "csc.sparse_log_det": lambda s: cx.csc.sparse_log_det(*csc(s)),
    "csc.sparse_solve": lambda s: cx.csc.sparse_solve(*csc(s), s * V),
    "csc.sparse_triangular_solve": lambda s: cx.csc.sparse_triangular_solve(*csc(s), s * V),
    "csc.sparse_partial_inverse": partial_inverse,
    "expm_multiply: function": lambda s: cx.expm_multiply(turn, s * V, s, norm=0.5 * s),
    "frechet: function": lambda s: cx.frechet(cube, s * DENSE, DENSE),
    **{f"numdiff.{name}": differentiate(name) for name in DIFFERENCES},
    "numdiff.jacobian: sparsity": coloured,
    "Delta": lambda s: cs.fit_ml(MODEL, start(s), s * V).delta(exponential),
    "Profile": lambda s: cs.fit_ml(MODEL, start(s), s * V).profile("log_precision").interval,
    "Fit": lambda s: fitted_draws(cs.fit_ml(MODEL, start(s), s * V)),
    "LMMFit": lambda s: use_mixed(cs.lmm("y ~ 1 + (1 | g)", table(s))),
    "GLMMFit": lambda s: use_mixed(cs.glmm("y ~ 1 + (1 | g)", table(round(s)), family="poisson")),
    **{f"likelihoods.{name}": use_likelihood(name) for name in cs.LIKELIHOODS},
    "likelihoods.elementwise": lambda s: ELEMENTWISE.log_prob(s * V, s * V),
    "likelihoods.blockwise": lambda s: BLOCKWISE.log_prob(s * DENSE, s * DENSE),
    "sampling.Whitening": lambda s: use_whitening(cs.sampling.Whitening(s * V, matrix(s))),
    "sampling.sample_latents": lambda s: cs.sampling.sample_latents(
        KEY, MODEL, {"log_precision": s * np.array([0.1, 0.2])}, s * V
    ),
}

# Work on the host alone, or none: nothing that XLA could compile.
NO_PROGRAM = {
    "Pattern", "Plan", "analyze", "errors", "export_targets", "from_matrix_market", "num_threads",
    "register_kernels", "set_num_threads", "Coloring", "color_acyclic", "color_bidirectional",
    "color_columns", "color_rows", "color_star", "hessian_pattern", "jacobian_pattern", "Graph",
    "Grid", "Mesh", "triangulate", "FiniteElements", "PRIORS", "LIKELIHOODS", "LATENT_MODELS",
    "Status", "FitStatus", "LaplaceStatus", "testing.InconclusiveError",
    "testing.WrongDerivativeError", "testing.check_acyclic_coloring",
    "testing.check_bidirectional_coloring", "testing.check_coloring",
    "testing.check_column_coloring", "testing.check_row_coloring", "testing.check_star_coloring",
}  # fmt: skip
# What a call in the table makes or returns: that row runs it.
RUN_BY_A_ROW = {
    "ConstrainedFactor": "constrained_cholesky", "GeneralizedLinearMixedModel": "glmm",
    "LinearMixedModel": "lmm", "LaplaceModel": "laplace", "LaplaceResult": "laplace",
    "LatentModel": "ar1", "Hessian": "hessian", "Jacobian": "jacobian",
    "SeparableHessian": "separable_hessian", "LU": "lu", "Prior": "priors.normal",
    "UnconstrainedPrior": "priors.normal", "Likelihood": "likelihoods.poisson",
    "likelihoods.BlockLikelihood": "likelihoods.blockwise", "likelihoods.Survival": "surv",
    "likelihoods.Parameter": "likelihoods.gaussian", "likelihoods.surv": "surv",
    "likelihoods.Likelihood": "likelihoods.poisson",
    "likelihoods.ResponseSupport": "likelihoods.poisson",
}  # fmt: skip
# Programs of the caller's own function, each looked at once.
MADE_ANEW = {
    "testing.check_derivatives": "a test calls it once per function, and it compares programs that "
    "differ by mode, order, batching and format",
    "testing.count_kernel_calls": "a context: what is compiled is what the caller runs in it",
    "use_backend": "a context: what is compiled is what the caller runs in it",
}


def test_every_public_name_has_a_row():
    told, missing = {*CALLS, *NO_PROGRAM, *RUN_BY_A_ROW, *MADE_ANEW}, []
    for module in map(importlib.import_module, MODULES):
        public = getattr(module, "__all__", [n for n in dir(module) if not n.startswith("_")])
        for name in public:
            item, short = getattr(module, name), f"{module.__name__.split('.')[-1]}.{name}"
            same = [item is getattr(top, name, item) for top in (cx, cs)]
            rows = {name, short} if all(same) else {short}
            if not isinstance(item, types.ModuleType) and not rows & told:
                missing.append(short)
    assert missing == [], "give each a row in CALLS, or say why it needs none"
    assert not set(CALLS) & (NO_PROGRAM | set(RUN_BY_A_ROW) | set(MADE_ANEW))
    assert set(RUN_BY_A_ROW.values()) <= set(CALLS)


# What the default suite runs: those that have compiled again, or operation by operation.
QUICK = ("separable_hessian", "fit_ml", "expm_multiply: function", "frechet: function")


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CALLS]
)
def test_second_call_compiles_nothing(name):
    jax.block_until_ready(jax.tree.leaves(CALLS[name](1.0)))
    with compilations() as compiled:
        # Close: some numbers of steps are static, rounded up from norms.
        CALLS[name](1.02)
    assert compiled == []


def test_eager_separable_hessian_is_one_program():
    H = cx.separable_hessian(lambda x, k: k * (x[1] * x[0]) ** 3, ELEMENTS)
    x, k = jnp.linspace(1.0, 2.0, N), jnp.ones(4)
    with compilations() as compiled:
        H(x, k)
    assert len(compiled) == 1
