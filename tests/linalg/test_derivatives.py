"""Derivatives to third order of everything made from one factor, against dense JAX twins.

Each case is a map from values (and perhaps a vector) to an array, with a dense twin. Orders beyond
one are compared on the scalar φ(v) = ⟨w, f(v)⟩ with fixed weights w: H t in four compositions of
forward and reverse, and the third derivative in the directions (s, t). No program holds several
batched `lax.linalg` calls, which can deadlock on jaxlib 0.10: twins are never vmapped.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from tests.linalg.derivative_cases import CASES, PROBLEM, N, factor
from tests.linalg.twins import assert_close, random_problem, relative_error, tol


def weighted(function):
    """φ = ⟨w, f⟩ with weights that tell all entries apart."""

    def phi(*arguments):
        out = function(*arguments)
        return jnp.sum(jnp.cos(1.0 + jnp.arange(out.size, dtype=out.dtype)) * out.ravel())

    return phi


# The compositions, each as a function of (phi, arguments, tangents).


def gradient_of(phi, arguments):
    return jax.grad(phi, argnums=tuple(range(len(arguments))))


def dot(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(a, b, strict=True))


def forward_over_reverse(phi, arguments, tangents):
    return jax.jvp(gradient_of(phi, arguments), arguments, tangents)[1]


def reverse_over_reverse(phi, arguments, tangents):
    def directional(*arguments):
        return dot(gradient_of(phi, arguments)(*arguments), tangents)

    return gradient_of(directional, arguments)(*arguments)


def reverse_over_forward(phi, arguments, tangents):
    def directional(*arguments):
        return jax.jvp(phi, arguments, tangents)[1]

    return gradient_of(directional, arguments)(*arguments)


def forward_over_forward(phi, arguments, tangents):
    def directional(*arguments):
        return jax.jvp(phi, arguments, tangents)[1]

    return jax.jvp(directional, arguments, tangents)[1]


REVERSE = (forward_over_reverse, reverse_over_reverse, reverse_over_forward)


def third(phi, arguments, s, t):
    """d/ds of H t, as a gradient: forward over forward over reverse."""

    def hvp(*arguments):
        return forward_over_reverse(phi, arguments, t)

    return jax.jvp(hvp, arguments, s)[1]


@cache
def reference(name):
    """Everything of the dense twin, in float64 and one program, compiled in haste."""
    case = CASES[name]

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def run(arguments, t, s):
        value, tangent = jax.jvp(case.dense, arguments, t)
        phi = weighted(case.dense)
        return {
            "value": value,
            "tangent": tangent,
            "gradient": gradient_of(phi, arguments)(*arguments),
            "second": forward_over_reverse(phi, arguments, t),
            "third": third(phi, arguments, s, t),
        }

    return run(case.arguments(), case.tangents(1), case.tangents(2))


ALL = pytest.mark.parametrize("name", CASES)
# A key gives other numbers in float32; half_solve_t covers `sample` there.
EACH_DTYPE = pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, "float64") for name in CASES]
    + [pytest.param(name, "float32", marks=pytest.mark.slow) for name in CASES if name != "sample"],
)


@EACH_DTYPE
def test_value_and_tangent_agree_with_dense(name, dtype):
    case = CASES[name]
    run = jax.jit(lambda a, t: jax.jvp(case.sparse, a, t))
    value, tangent = run(case.arguments(dtype), case.tangents(dtype=dtype))
    assert value.dtype == tangent.dtype == dtype
    assert_close(value, reference(name)["value"], tol.value(dtype))
    assert_close(tangent, reference(name)["tangent"], tol.gradient(dtype))


@EACH_DTYPE
def test_gradient_agrees_with_dense(name, dtype):
    case = CASES[name]
    arguments = case.arguments(dtype)
    got = jax.jit(gradient_of(weighted(case.sparse), arguments))(*arguments)
    assert all(g.dtype == dtype for g in got)
    assert_close(got, reference(name)["gradient"], tol.gradient(dtype))


@ALL
def test_second_derivative_agrees_with_dense_in_every_composition(name):
    case = CASES[name]
    phi = weighted(case.sparse)

    @jax.jit
    def run(arguments, t):
        products = {f.__name__: f(phi, arguments, t) for f in REVERSE}
        return products, forward_over_forward(phi, arguments, t)

    products, quadratic = run(case.arguments(), case.tangents())
    for product in products.values():
        assert_close(product, reference(name)["second"], tol.second("float64"))
    want = dot(case.tangents(), reference(name)["second"])
    assert_close(quadratic, want, tol.second("float64"))


@pytest.mark.parametrize("name", ["log_det", "solve", "inverse_diagonal", "lower", "half_solve_t"])
def test_second_derivative_agrees_with_dense_in_float32(name):
    case = CASES[name]
    run = jax.jit(lambda a, t: forward_over_reverse(weighted(case.sparse), a, t))
    got = run(case.arguments("float32"), case.tangents(dtype="float32"))
    assert_close(got, reference(name)["second"], tol.second("float32"))


@pytest.mark.slow
@ALL
def test_third_derivative_agrees_with_dense(name):
    case = CASES[name]
    run = jax.jit(lambda a, s, t: third(weighted(case.sparse), a, s, t))
    got = run(case.arguments(), case.tangents(2), case.tangents(1))
    assert_close(got, reference(name)["third"], tol.third)


@pytest.mark.parametrize("name", ["log_det", "selected_inverse", "sample"])
def test_third_derivative_agrees_in_pure_reverse_mode(name):
    case = CASES[name]
    phi = weighted(case.sparse)

    def hvp(*arguments):
        return reverse_over_reverse(phi, arguments, case.tangents(1))

    run = jax.jit(gradient_of(lambda *a: dot(hvp(*a), case.tangents(2)), case.arguments()))
    assert_close(run(*case.arguments()), reference(name)["third"], tol.third)


@pytest.mark.parametrize(
    "name", ["log_det", "solve", "inverse_diagonal", "selected_inverse", "lower", "half_solve"]
)
def test_tangent_agrees_with_central_differences(name):
    """Independent of the twins and of dense automatic differentiation."""
    case = CASES[name]
    f, step = jax.jit(case.sparse), 1e-5

    def moved(sign):
        pairs = zip(case.arguments(), case.tangents(), strict=True)
        return f(*(a + sign * step * t for a, t in pairs))

    difference = (moved(1) - moved(-1)) / (2 * step)
    _, tangent = jax.jvp(f, case.arguments(), case.tangents())
    assert_close(tangent, difference, tol.finite_difference)


@pytest.mark.parametrize("name", ["log_det", "selected_inverse", "lower"])
def test_hessian_agrees_with_central_differences_of_the_gradient(name):
    case = CASES[name]
    gradient, step = jax.jit(jax.grad(weighted(case.sparse))), 1e-5
    (values,), (t,) = case.arguments(), case.tangents()
    difference = (gradient(values + step * t) - gradient(values - step * t)) / (2 * step)
    _, got = jax.jvp(gradient, (values,), (t,))
    assert_close(got, difference, tol.finite_difference)


# --- one argument at a time ----------------------------------------------------------------------

WITH_VECTOR = [name for name, case in CASES.items() if case.x is not None]


@pytest.mark.parametrize("name", WITH_VECTOR)
def test_each_argument_alone_gives_its_part_of_the_tangent(name):
    """The other argument's tangent is a symbolic zero."""
    case = CASES[name]
    (v, x), (dv, dx) = case.arguments(), case.tangents()
    _, in_values = jax.jvp(lambda v: case.sparse(v, x), (v,), (dv,))
    _, in_x = jax.jvp(lambda x: case.sparse(v, x), (x,), (dx,))
    assert_close(in_values + in_x, reference(name)["tangent"], tol.gradient("float64"))
    phi = weighted(case.sparse)
    got = jax.grad(phi, argnums=0)(v, x), jax.grad(phi, argnums=1)(v, x)
    assert_close(got, reference(name)["gradient"], tol.gradient("float64"))


# --- known formulas ------------------------------------------------------------------------------


def test_logdet_gradient_is_selected_inverse_counting_both_mirror_entries():
    gradient = jax.grad(CASES["log_det"].sparse)(PROBLEM.values)
    Z = factor(PROBLEM.values).selected_inverse()
    off = PROBLEM.pattern.rows != PROBLEM.pattern.columns
    assert_close(gradient, np.where(off, 2, 1) * Z.values, tol.value("float64"))


def test_gradient_with_respect_to_the_matrix_is_a_matrix():
    A = PROBLEM.matrix()
    gradient = jax.grad(lambda A: cx.log_det(A))(A)
    assert isinstance(gradient, cx.SparseMatrix)
    want = reference("log_det")["gradient"][0] / np.cos(1.0)  # the weight of the only entry
    assert_close(gradient.values, want, tol.gradient("float64"))
    scaled = jax.grad(lambda c: cx.log_det(c * A))(2.0)
    assert_close(scaled, N / 2.0, tol.gradient("float64"))


def test_sample_gradient_reparametrizes_the_variance():
    """Σ over white noise of x xᵀ is A⁻¹, so its diagonal's tangent is that of inverse_diagonal."""

    def variance(v):
        M = factor(v).half_solve_t(jnp.eye(N))
        return jnp.sum(M**2, axis=1)

    arguments, tangents = (PROBLEM.values,), (PROBLEM.direction(1),)
    got = jax.jvp(variance, arguments, tangents)
    want = jax.jvp(CASES["inverse_diagonal"].sparse, arguments, tangents)
    assert_close(got, want, tol.gradient("float64"))


def test_amalgamation_zeros_never_leak_into_derivatives():
    """Supernodes merged with explicit zeros: same derivatives as one column per supernode."""
    problem = random_problem(40, 70, seed=6)
    merged = cx.analyze(problem.pattern, "natural")
    single = cx.analyze(problem.pattern, "natural", supernodal=False)
    assert merged.size > single.size == single.nnz_factor

    def f(plan):
        def phi(v):
            F = cx.cholesky(problem.matrix(v), ordering=plan)
            parts = (
                F.lower().values,
                F.selected_inverse("filled").values,
                F.half_solve(np.ones(40)),
            )
            return sum(weighted(lambda p: p)(part) for part in parts) + F.log_det()

        run = jax.jit(lambda v, t: jax.jvp(jax.value_and_grad(phi), (v,), (t,)))
        return run(problem.values, problem.direction(1))

    assert_close(f(merged), f(single), tol.second("float64"))


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("n", [150, 600])
def test_wide_fronts_follow_the_textbook_formulas(n, dtype):
    """A bordered full matrix: small blocks, packed blocks, and a chain feeding them; by NumPy."""
    rng = np.random.default_rng(n)
    full = rng.standard_normal((n, n)) / np.sqrt(n)
    D = np.zeros((n + 40, n + 40))
    D[40:, 40:] = full @ full.T
    D += np.diag(np.full(n + 40, 3.0)) + np.diag(np.ones(n + 39), 1) + np.diag(np.ones(n + 39), -1)
    A = cx.from_dense(D.astype(dtype), symmetric=True)
    i, j = A.pattern.rows, A.pattern.columns
    t = rng.standard_normal(A.nnz).astype(dtype)
    E = np.zeros_like(D)
    E[i, j] = E[j, i] = t

    def f(v):
        F = cx.cholesky(cx.SparseMatrix(v, A.pattern), ordering="natural")
        return F.log_det(), F.selected_inverse().values, F.lower()

    (_, Z, L), (d_log_det, dZ, dL) = jax.jvp(f, (A.values,), (t,))
    inverse = np.linalg.inv(D)
    assert_close(Z, inverse[i, j], tol.value(dtype))
    assert_close(d_log_det, np.sum(inverse * E), tol.gradient(dtype))
    assert_close(dZ, -(inverse @ E @ inverse)[i, j], tol.gradient(dtype))
    lower = np.linalg.cholesky(D)
    L_inverse = np.linalg.inv(lower)
    middle = np.tril(L_inverse @ E @ L_inverse.T)
    want = lower @ (middle - 0.5 * np.diag(np.diag(middle)))
    assert_close(L.to_dense(), lower, tol.value(dtype))
    assert_close(dL.to_dense(), want, tol.gradient(dtype))
    # reverse mode: the adjoint of the forward sweeps
    w = jnp.cos(jnp.arange(L.nnz, dtype=dtype))
    (gradient,) = jax.vjp(lambda v: f(v)[2].values, A.values)[1](w)
    assert_close(gradient @ t, w @ dL.values, tol.second(dtype))
    (gradient,) = jax.vjp(lambda v: f(v)[1], A.values)[1](jnp.where(i == j, 1, 2) * t)
    assert_close(gradient, jnp.where(i == j, 1, 2) * dZ, tol.second(dtype))  # self-adjoint


# --- under vmap ----------------------------------------------------------------------------------

STACK = np.stack([PROBLEM.values, 1.5 * PROBLEM.values, PROBLEM.values + PROBLEM.direction(9)])


def loop_and_vmap(function, batched, shared, axes):
    compiled = jax.jit(function)
    members = [[a[i] for a in batched] for i in range(3)]

    def merge(member):
        parts = iter(member)
        rest = iter(shared)
        return [next(parts) if axis == 0 else next(rest) for axis in axes]

    want = [compiled(*merge(m)) for m in members]
    want = jax.tree.map(lambda *leaves: np.stack(leaves), *want)
    arguments = iter(batched), iter(shared)
    merged = [next(arguments[0]) if axis == 0 else next(arguments[1]) for axis in axes]
    return jax.jit(jax.vmap(function, in_axes=axes))(*merged), want


@pytest.mark.parametrize("name", [n for n in CASES if n != "short_cuts"])
def test_vmap_over_values_of_derivatives_agrees_with_a_loop(name):
    case = CASES[name]
    phi = weighted(case.sparse)
    t = case.tangents()
    rest = () if case.x is None else (case.x,)
    axes = (0,) + (None,) * len(rest)

    def everything(*arguments):
        gradient, hvp = jax.jvp(gradient_of(phi, arguments), arguments, t)
        return case.sparse(*arguments), gradient, hvp

    got, want = loop_and_vmap(everything, (STACK,), rest, axes)
    assert_close(got, want, tol.gradient("float64"))


@pytest.mark.parametrize("axes", [(None, 0), (0, 0)], ids=["rhs", "both"])
@pytest.mark.parametrize("name", ["solve", "half_solve", "half_solve_t", "quadratic_form"])
def test_vmap_over_right_hand_sides_of_derivatives_agrees_with_a_loop(name, axes):
    case = CASES[name]
    phi = weighted(case.sparse)
    xs = np.stack([case.x, 2 * case.x, case.x + case.dx])
    batched = (xs,) if axes[0] is None else (STACK, xs)
    shared = (PROBLEM.values,) if axes[0] is None else ()

    def everything(*arguments):
        gradient, hvp = jax.jvp(gradient_of(phi, arguments), arguments, case.tangents())
        return case.sparse(*arguments), gradient, hvp

    got, want = loop_and_vmap(everything, batched, shared, axes)
    assert_close(got, want, tol.gradient("float64"))


@pytest.mark.parametrize("name", ["solve", "half_solve", "half_solve_t"])
def test_gradient_of_a_sum_over_a_batch_sums_the_shared_argument(name):
    """Values shared over the batch: one outer product with more columns, not one per member."""
    case = CASES[name]
    xs = np.stack([case.x, 2 * case.x, case.x + case.dx])

    def total(v):
        return jnp.sum(jax.vmap(lambda x: weighted(case.sparse)(v, x))(xs))

    got = jax.jit(jax.grad(total))(PROBLEM.values)
    want = sum(jax.grad(weighted(case.sparse))(PROBLEM.values, x) for x in xs)
    assert_close(got, want, tol.gradient("float64"))


def test_jacobians_agree_forward_and_reverse():
    f = CASES["selected_inverse"].sparse
    forward, reverse = jax.jit(jax.jacfwd(f))(STACK[0]), jax.jit(jax.jacrev(f))(STACK[0])
    assert_close(forward, reverse, tol.gradient("float64"))
    # d(A⁻¹) = −A⁻¹ dA A⁻¹, by hand
    inverse = np.linalg.inv(PROBLEM.dense())
    i, j = PROBLEM.pattern.rows, PROBLEM.pattern.columns
    by_hand = -(inverse[np.ix_(i, i)] * inverse[np.ix_(j, j)])
    by_hand -= np.where(i != j, inverse[np.ix_(i, j)] * inverse[np.ix_(j, i)], 0)
    assert relative_error(forward, by_hand) <= tol.gradient("float64")


def test_hessian_of_logdet_is_minus_the_jacobian_of_the_weighted_inverse():
    f = CASES["log_det"].sparse
    hessian = jax.jit(jax.hessian(f))(STACK[0])
    assert_close(hessian, hessian.T, tol.gradient("float64"))
    assert (np.linalg.eigvalsh(hessian) < 0).all()  # log-det is strictly concave
    reverse = jax.jit(jax.jacrev(jax.jacrev(f)))(STACK[0])
    assert_close(hessian, reverse, tol.gradient("float64"))
