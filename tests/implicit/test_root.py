"""`root`: convergence from afar, failure that shows, derivatives by the implicit theorem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax.errors import ArgumentError, ConvergenceError, DtypeError, ShapeError, StructureError
from cholax.implicit import root, status
from tests.implicit.systems import (
    CLASSIC,
    COUPLED_THETA,
    HOPELESS,
    both_modes,
    chain,
    coupled,
    unrolled,
)
from tests.tolerances import assert_close, gradient, value

EXACT = 1.16537304306241471695635843452
SLOPE = -0.221399162661150147787853303367


def cubic(a):
    """The lecture slides' root."""
    return root(lambda z, a: a * z**3 - z - 2.0, 1.5, a)


def test_scalar_root_and_its_derivatives_to_third_order():
    """Of a z³ − z − 2 = 0, by hand: differentiate the equation once, twice, three times."""

    @jax.jit
    def derivatives(a):
        def second(a):
            return jax.jvp(jax.value_and_grad(cubic), (a,), (1.0,))

        ((z, d1), (forward, d2)), (_, (_, d3)) = jax.jvp(second, (a,), (1.0,))
        return z, d1, forward, d2, d3

    a, z = 2.0, EXACT
    p = 3 * a * z**2 - 1  # F_z
    d1 = -(z**3) / p
    d2 = -(6 * z**2 * d1 + 6 * a * z * d1**2) / p
    d3 = -(9 * z**2 * d2 + 18 * z * d1**2 + 6 * a * d1**3 + 18 * a * z * d1 * d2) / p
    assert_close(d1, SLOPE, value(np.float64))
    for got, want in zip(derivatives(a), (z, d1, d1, d2, d3), strict=True):
        assert_close(got, want, gradient(np.float64))


@pytest.mark.parametrize("dtype", [np.float64, pytest.param(np.float32, marks=pytest.mark.slow)])
def test_classic_problems_converge_each_lane_by_itself_and_hopeless_ones_say_why(dtype):
    problems = [*(c[:2] for c in CLASSIC.values()), *HOPELESS.values()]
    starts = jnp.array([start for _, start in problems], dtype)

    def F(z, k):
        return jax.lax.switch(k, [f for f, _ in problems], z)

    @jax.jit
    @jax.vmap
    def solve(z0, k):
        return root(F, z0, k, has_status=True)

    z, report = solve(starts, jnp.arange(len(problems)))
    count = len(CLASSIC)
    assert z.dtype == dtype
    assert report.converged.tolist() == [True] * count + [False] * len(HOPELESS)
    assert np.isnan(z[count:]).all()
    assert len(set(report.iterations.tolist())) > 3
    nowhere, singular, outside = report.code[count:].tolist()
    assert nowhere in (status.NO_PROGRESS, status.SINGULAR)
    assert (singular, outside) == (status.SINGULAR, status.NOT_FINITE)
    for got, (name, (_, _, want)) in zip(z, CLASSIC.items(), strict=False):
        # Their condition at the root amplifies rounding, in float32 visibly.
        loose = 20 if name.startswith("powell") else 1
        if name == "cliff" and dtype == np.float32:
            continue  # the edge is within rounding of every z near it: no step can see beyond
        assert_close(got, np.array(want), loose * value(dtype))
    assert np.all(report.error[:count] <= loose * value(dtype) * 10)


def slope_of(solve):
    return jax.grad(lambda theta: jnp.sum(jnp.sin(solve(theta)) * jnp.arange(1.0, 4.0)))


def test_first_derivatives_equal_the_unrolled_dense_twin():
    start = jnp.array([0.1, 0.2, -0.3])
    _, forward, reverse = jax.jit(lambda t: both_modes(lambda t: root(coupled, start, t), t))(
        COUPLED_THETA
    )
    want = jax.jit(jax.jacfwd(lambda t: unrolled(coupled, start, t)))(COUPLED_THETA)
    assert_close(forward, want, gradient(np.float64))
    assert_close(reverse, want, gradient(np.float64))


@pytest.mark.slow
@pytest.mark.parametrize("outer", [jax.jacfwd, jax.jacrev])
def test_second_derivatives_equal_the_unrolled_dense_twin(outer):
    got = jax.jit(outer(slope_of(lambda t: root(coupled, jnp.zeros(3), t))))(COUPLED_THETA)
    want = jax.jit(outer(slope_of(lambda t: unrolled(coupled, jnp.zeros(3), t))))(COUPLED_THETA)
    assert_close(got, want, gradient(np.float64))


def test_closed_over_values_count_as_arguments():
    """Under grad, jit and vmap; a silent zero derivative is what must never happen."""

    def closed(a):
        return root(lambda z: a * z**3 - z - 2.0, 1.5)

    a = jnp.array([1.0, 2.0, 5.0])
    z, slope = jax.jit(jax.vmap(jax.value_and_grad(closed)))(a)
    assert_close(slope, -(z**3) / (3 * a * z**2 - 1), value(np.float64))
    assert_close(jax.grad(jax.jit(closed))(2.0), SLOPE, value(np.float64))


@pytest.mark.slow
def test_tolerance_of_the_iteration_does_not_limit_the_derivative_at_the_solution_found():
    """With tolerance=1e-3 the factor is that of a far iterate; refinement makes up for it."""

    @jax.jit
    def loose(theta):
        return jax.jacrev(
            lambda t: (z := root(coupled, jnp.zeros(3), t, tolerance=1e-3), z), has_aux=True
        )(theta)

    got, z = loose(COUPLED_THETA)
    fz, fa = jax.jit(jax.jacfwd(coupled, (0, 1)))(z, COUPLED_THETA)
    assert np.abs(coupled(z, COUPLED_THETA)).max() > 1e-12
    assert_close(got, -np.linalg.solve(fz, fa), gradient(np.float64))


def test_derivatives_are_nan_where_the_iteration_failed():
    @jax.jit
    @jax.vmap
    def both(a):
        return jax.value_and_grad(lambda a: root(lambda z: z**2 - a, 3.0))(a)

    z, slope = both(jnp.array([4.0, -1.0]))
    assert_close(z[0], 2.0, value(np.float64))
    assert_close(slope[0], 0.25, value(np.float64))
    assert np.isnan(z[1])
    assert np.isnan(slope[1])


def test_start_has_no_derivative_and_may_be_traced():
    got = jax.jit(jax.grad(lambda z0: root(lambda z: z**3 - 2.0, z0) + 0.5 * z0))(1.1)
    assert_close(got, 0.5, value(np.float64))


def dense_derivative(F, z, theta):
    """dz/dθ at a known solution, by the theorem and dense algebra."""
    fz, ft = jax.jit(jax.jacfwd(F, (0, 1)))(z, theta)
    return -np.linalg.solve(fz, ft)


@pytest.mark.parametrize(
    ("couplings", "sign", "solver"),
    [
        ((-0.9, 0.4), 1, "auto"),
        ((0.7, 0.7), -1, "auto"),
        pytest.param((-0.7, -0.7), 1, "cholesky", marks=pytest.mark.slow),
        pytest.param((-0.7, -0.7), 1, "lu", marks=pytest.mark.slow),
    ],
)
def test_sparse_solvers_give_exact_solutions_and_derivatives(couplings, sign, solver):
    """Nonsymmetric, negative definite, positive definite."""
    n = 40
    plain, pattern, theta = chain(n, couplings)

    def F(z, theta):
        return sign * plain(z, theta)

    def solve(theta):
        return root(F, jnp.zeros(n), theta, sparsity=pattern, linear_solver=solver)

    z, forward, reverse = jax.jit(lambda t: both_modes(solve, t))(theta)
    assert_close(F(z, theta), np.zeros(n), value(np.float64))
    want = dense_derivative(F, z, theta)
    assert_close(forward, want, gradient(np.float64))
    assert_close(reverse, want, gradient(np.float64))


@pytest.mark.slow
def test_second_derivative_of_a_sparse_root_equals_the_dense_one():
    n = 40
    F, pattern, theta = chain(n, (-0.9, 0.4))
    direction, weights = jnp.cos(jnp.arange(n + 1.0)), jnp.arange(1.0, n + 1)

    def product(**options):
        slope = jax.grad(lambda t: weights @ root(F, jnp.zeros(n), t, **options) ** 2)
        return jax.jit(lambda t: jax.jvp(slope, (t,), (direction,))[1])(theta)

    got, want = product(sparsity=pattern), product(linear_solver="dense")
    assert_close(got, want, gradient(np.float64))


def test_detected_pattern_holds_for_parameters_that_are_zero_now():
    n = 40
    plain, _, theta = chain(n, (-0.9, 0.4))

    def F(z, theta, c):
        return plain(z, theta) + c * z[::-1]

    solve = jax.jit(lambda t, c: root(F, jnp.zeros(n), t, c))
    for c in (0.0, 0.2):
        assert_close(F(solve(theta, c), theta, c), np.zeros(n), value(np.float64))


@pytest.mark.slow
def test_lanes_of_a_sparse_root_converge_and_differentiate_each_by_itself():
    n = 40
    F, pattern, theta = chain(n, (-0.7, -0.7))

    def solve(scale):
        z, report = root(F, jnp.zeros(n), theta * scale, sparsity=pattern, has_status=True)
        return z, report.iterations

    scales = jnp.array([0.0, 1.0, 30.0])
    slope = jax.jit(jax.vmap(lambda s: jax.jvp(solve, (s,), (1.0,))))
    (z, steps), (dz, _) = slope(scales)
    for k, scale in enumerate(scales):
        assert_close(F(z[k], theta * scale), np.zeros(n), 10 * value(np.float64))
        want = dense_derivative(F, z[k], theta * scale) @ theta
        assert_close(dz[k], want, gradient(np.float64))
    assert len(set(steps.tolist())) > 1


def test_pytrees_of_unknowns_equations_and_parameters():
    def F(z, p):
        return {"x": z["v"][0] * p[0] - 2.0, "y": [z["v"][1:] + z["s"] - p[1], z["s"] ** 3 - 8.0]}

    z0 = {"v": jnp.array([1.0, 1.0, 1.0]), "s": 1.0}
    params = (jnp.array(4.0), np.array([1.0, 2.0]))

    def solve(params):
        z = root(F, z0, params)
        return z["v"], z

    (da, db), z = jax.jit(jax.jacfwd(solve, has_aux=True))(params)
    assert_close(z["s"], 2.0, value(np.float64))
    assert_close(z["v"], np.array([0.5, -1.0, 0.0]), value(np.float64))
    assert_close(da, np.array([-0.125, 0, 0]), value(np.float64))
    assert_close(db, np.array([[0, 0], [1.0, 0], [0, 1]]), value(np.float64))


def test_integer_arguments_are_parameters_without_derivative():
    def solve(a, index):
        return root(lambda z, a, i: z - a[i] * jnp.tanh(z) - 1.0, jnp.zeros(2), a, index)

    a, index = jnp.array([0.1, 0.2, 0.3]), jnp.array([2, 0])
    got = jax.jit(jax.jacrev(solve))(a, index)
    assert got.shape == (2, 3)
    assert np.all(got[:, 1] == 0)
    assert got[0, 2] > 0
    assert got[1, 0] > 0


def test_sizes_zero_and_one():
    @jax.jit
    def solve(a):
        one = root(lambda z, a: z**2 - a, jnp.ones((1, 1)), a, has_status=True)
        return root(lambda z: z, jnp.zeros(0)), *one

    none, z, report = solve(9.0)
    assert none.shape == (0,)
    assert_close(z, np.array([[3.0]]), value(np.float64))
    assert report.reason() == "converged"


def test_forward_mode_works_for_functions_without_reverse_mode():
    def halve(z):
        return jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] / 2), (0, z))[1]

    def solve(a):
        return root(lambda z, a: halve(z) - a, 1.0, a)

    slope = jax.jit(lambda a: jax.jvp(solve, (a,), (1.0,))[1])(2.0)
    assert_close(slope, 8.0, value(np.float64))
    with pytest.raises((TypeError, ValueError, NotImplementedError)):
        jax.jit(jax.grad(solve))(2.0)


def test_throw_raises_eagerly_and_in_compiled_programs():
    with pytest.raises(ConvergenceError, match="root: need a converged"):
        root(lambda z: z**2 + 1, 2.0, throw=True)

    def compiled():
        jax.block_until_ready(jax.jit(lambda a: root(lambda z: z**2 - a, 0.0, throw=True))(1.0))
        jax.effects_barrier()

    with pytest.raises(jax.errors.JaxRuntimeError, match="Jacobian is singular"):
        compiled()


def test_misuse_is_refused_with_a_remedy():
    with pytest.raises(ShapeError, match="as many equations as unknowns"):
        root(lambda z: z[:1], jnp.zeros(2))
    with pytest.raises(ArgumentError, match="method"):
        root(lambda z: z, 0.0, method="broyden")
    with pytest.raises(ArgumentError, match="linear_solver"):
        root(lambda z: z, 0.0, linear_solver="qr")
    with pytest.raises(DtypeError, match="one dtype"):
        root(lambda z: z, (np.zeros(2, np.float32), np.zeros(2)))
    with pytest.raises(DtypeError, match="must return the dtype"):
        root(lambda z: z * np.float64(2), np.zeros(2, np.float32))
    with pytest.raises(DtypeError, match="float32 or float64"):
        root(lambda z: z, np.zeros(2, int))
    _, pattern, _ = chain(3, (1.0, 1.0))
    upper = jnp.triu(jnp.ones((3, 3)))
    with pytest.raises(StructureError, match="symmetric pattern"):
        root(lambda z: upper @ z, jnp.zeros(3), linear_solver="cholesky", sparsity=upper != 0)
    assert pattern.nnz == 7


@pytest.mark.parametrize("n", [5, 20])
def test_a_singular_jacobian_leaves_no_digit_and_is_no_convergence(n):
    # F is as small as rounding allows, at points that differ in their first digit.
    rng = np.random.default_rng(0)
    A = rng.standard_normal((n, n - 1)) @ rng.standard_normal((n - 1, n))
    b = A @ rng.standard_normal(n)
    z, report = root(lambda z: A @ z - b, jnp.zeros(n), has_status=True)
    assert not bool(report.converged)
    assert np.isnan(z).all()
