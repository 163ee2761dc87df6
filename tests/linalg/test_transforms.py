"""The factor under every JAX transform: vmap, control flow, linearisation, and strict modes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from tests.linalg.twins import assert_close, dense_log_det, random_problem, tol

PROBLEM = random_problem(7, 9, seed=4)
RNG = np.random.default_rng(0)
VALUES = PROBLEM.values * np.linspace(1, 2, 4)[:, None]
B, DB = RNG.standard_normal((2, 4, PROBLEM.n))
DV = PROBLEM.direction(1)
KEY = jax.random.key(0)
VALUE, GRADIENT = tol.value("float64"), tol.gradient("float64")


def matrix(values):
    return PROBLEM.matrix(values)


@jax.jit
def f(values, b):
    """Every operation of the factor once."""
    F = cx.cholesky(matrix(values))
    vectors = (F.half_solve(b), F.half_solve_t(b), F.inverse_diagonal(), F.sample(KEY))
    return F.log_det() + b @ F.solve(b) + sum(v.sum() for v in vectors) + F.lower().values.sum()


gradient = jax.jit(jax.grad(f, argnums=(0, 1)))


def loop(function, *batched):
    """What vmap should give, one member at a time."""
    results = [function(*member) for member in zip(*batched, strict=True)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *results)


# --- vmap ----------------------------------------------------------------------------------------


def test_vmap_agrees_with_a_loop():
    assert_close(jax.vmap(f)(VALUES, B), loop(f, VALUES, B), VALUE)
    assert_close(jax.jit(jax.vmap(gradient))(VALUES, B), loop(gradient, VALUES, B), GRADIENT)


def test_vmap_takes_any_batch_axis():
    solve = lambda v, b: cx.solve(matrix(v), b)  # noqa: E731
    got = jax.vmap(solve, in_axes=(1, 1), out_axes=1)(VALUES.T, B.T)
    assert_close(got, loop(solve, VALUES, B).T, VALUE)
    many = np.stack([B.T, DB.T], axis=1)  # (n, 2, 4): right-hand sides, then the batch
    got = jax.vmap(solve, in_axes=(0, 2))(VALUES, many)
    assert_close(got, loop(solve, VALUES, np.moveaxis(many, 2, 0)), VALUE)


@pytest.mark.parametrize("outer", ["values", "b"])
def test_nested_vmap_agrees_with_loops(outer):
    """Each axis touches one operand: a mesh of values and right-hand sides."""
    if outer == "values":
        nested = jax.vmap(jax.vmap(f, in_axes=(None, 0)), in_axes=(0, None))
    else:
        nested = jax.vmap(jax.vmap(f, in_axes=(0, None)), in_axes=(None, 0))
    want = np.array([[f(v, b) for b in B] for v in VALUES])
    got = nested(VALUES, B)
    assert_close(got if outer == "values" else got.T, want, VALUE)


def test_nested_vmap_over_both_agrees_with_a_loop_and_differentiates():
    V, X = VALUES.reshape(2, 2, -1), B.reshape(2, 2, -1)
    nested = jax.vmap(jax.vmap(f))
    assert_close(nested(V, X).ravel(), loop(f, VALUES, B), VALUE)
    got = jax.grad(lambda V: nested(V, X).sum())(V)
    assert_close(got.reshape(4, -1), loop(gradient, VALUES, B)[0], GRADIENT)
    got = jax.vmap(jax.vmap(gradient))(V, X)
    assert_close(got[1].reshape(4, -1), loop(gradient, VALUES, B)[1], GRADIENT)


def test_gradient_through_nested_vmap_sums_shared_values():
    scales = np.array([1.0, 2.0, 3.0])

    def total(v):
        return jax.vmap(lambda s: jax.vmap(lambda b: f(s * v, b))(B))(scales).sum()

    want = sum(s * gradient(s * VALUES[0], b)[0] for s in scales for b in B)
    assert_close(jax.jit(jax.grad(total))(VALUES[0]), want, GRADIENT)


@pytest.mark.parametrize("size", [0, 1])
def test_vmap_over_an_empty_or_single_batch_keeps_shapes(size):
    V, X = VALUES[:size], B[:size]
    assert jax.vmap(f)(V, X).shape == (size,)
    assert jax.vmap(gradient)(V, X)[0].shape == V.shape
    if size:
        assert_close(jax.vmap(f)(V, X), loop(f, V, X), VALUE)


def test_factors_travel_through_vmap_as_pytrees():
    factors = jax.vmap(lambda v: cx.cholesky(matrix(v)))(VALUES)
    assert factors.ok.shape == (4,)
    got = jax.vmap(lambda F, b: F.solve(b))(factors, B)
    assert_close(got, loop(lambda v, b: cx.solve(matrix(v), b), VALUES, B), VALUE)
    samples = jax.vmap(lambda F, k: F.sample(k))(factors, jax.random.split(KEY, 4))
    want = loop(lambda v, k: cx.cholesky(matrix(v)).sample(k), VALUES, jax.random.split(KEY, 4))
    assert_close(samples, want, VALUE)


def test_a_batch_is_one_kernel_call():
    batched = jax.jit(jax.vmap(f))
    jax.block_until_ready(batched(VALUES, B))
    with cx.testing.count_kernel_calls() as calls:
        jax.block_until_ready(batched(VALUES, B))
    assert calls["cholesky"] == 1


def test_vmap_over_index_arrays_is_refused_by_name():
    indices, indptr = PROBLEM.pattern.indices, PROBLEM.pattern.indptr
    size = cx.analyze(PROBLEM.pattern, "natural").nnz_factor
    csc = partial(cx.csc.sparse_log_det, L_nse=size)
    with pytest.raises(cx.errors.UnsupportedError, match=r"vmap over index arrays.*in_axes=None"):
        jax.vmap(csc, in_axes=(0, None, None))(np.stack([indices] * 2), indptr, PROBLEM.values)


# --- control flow --------------------------------------------------------------------------------


def step(values, b):
    return values + 0.01 * gradient(values, b)[0], f(values, b)


def scanned(values):
    return jax.lax.scan(step, values, B)[1].sum()


def unrolled(values):
    total = 0.0
    for b in B:
        values, value = step(values, b)
        total += value
    return total


@pytest.mark.slow
def test_scan_agrees_with_the_unrolled_loop_to_second_order():
    v = VALUES[0]
    assert_close(scanned(v), unrolled(v), VALUE)
    forward_over_reverse = lambda g: jax.jit(lambda v: jax.jvp(jax.grad(g), (v,), (DV,)))(v)  # noqa: E731
    assert_close(forward_over_reverse(scanned), forward_over_reverse(unrolled), GRADIENT)


def test_each_scan_step_factors_its_own_values():
    """A peer's mutable handle made every step after the first silently wrong."""

    def body(carry, scale):
        F, b = carry
        new = cx.cholesky(matrix(VALUES[0] * scale))
        return (new, b), (F.solve(b), new.solve(b), F.log_det())

    scales = np.array([1.0, 3.0, 0.5, 2.0])
    start = cx.cholesky(matrix(VALUES[0]))
    _, (old, new, log_dets) = jax.lax.scan(body, (start, B[0]), scales)
    x = np.linalg.solve(PROBLEM.dense(VALUES[0]), B[0])
    assert_close(new, x / scales[:, None], VALUE)
    assert_close(old, x / np.append(1.0, scales[:-1])[:, None], VALUE)
    want = dense_log_det(PROBLEM.dense(VALUES[0]))
    assert_close(log_dets, want + PROBLEM.n * np.log(np.append(1.0, scales[:-1])), VALUE)


def test_several_factors_in_one_program_stay_apart():
    @jax.jit
    def both(v, w, b):
        F, G = cx.cholesky(matrix(v)), cx.cholesky(matrix(w))
        return F.solve(b), G.solve(b), F.solve(G.solve(b))

    x, y, z = both(VALUES[0], VALUES[3], B[0])
    D, E = np.asarray(PROBLEM.dense(VALUES[0])), np.asarray(PROBLEM.dense(VALUES[3]))
    want = np.linalg.solve(D, B[0]), np.linalg.solve(E, B[0])
    assert_close((x, y, z), (*want, np.linalg.solve(D, want[1])), VALUE)


def test_while_loop_runs_and_differentiates_forward():
    diagonal = PROBLEM.pattern.diagonal_positions

    def body(state):
        k, v = state
        return k + 1, v.at[diagonal].add(cx.inverse_diagonal(matrix(v)))

    def run(v):
        return jax.lax.while_loop(lambda s: s[0] < 3, body, (0, v))[1]

    def plainly(v):
        for k in range(3):
            _, v = body((k, v))
        return v

    arguments = (jnp.asarray(VALUES[0]),), (jnp.asarray(DV),)
    assert_close(jax.jit(partial(jax.jvp, run))(*arguments), jax.jvp(plainly, *arguments), GRADIENT)


def test_map_agrees_with_vmap():
    want = jax.vmap(f)(VALUES, B)
    assert_close(jax.lax.map(lambda a: f(*a), (VALUES, B)), want, VALUE)
    assert_close(jax.lax.map(lambda a: f(*a), (VALUES, B), batch_size=3), want, VALUE)


def test_cond_differentiates_and_batches():
    @jax.grad
    def branch(v):
        return jax.lax.cond(v[0] > VALUES[1, 0], lambda v: f(v, B[0]), lambda v: 3 * v.sum(), v)

    want = [3 * np.ones_like(v) if v[0] <= VALUES[1, 0] else gradient(v, B[0])[0] for v in VALUES]
    assert_close(np.stack([branch(v) for v in VALUES]), np.stack(want), GRADIENT)
    assert_close(jax.vmap(branch)(VALUES), np.stack(want), GRADIENT)


@pytest.mark.parametrize("policy", ["nothing_saveable", "everything_saveable"])
def test_checkpoint_changes_no_derivative(policy):
    saved = jax.checkpoint(f, policy=getattr(jax.checkpoint_policies, policy))
    got = jax.jit(jax.grad(saved, argnums=(0, 1)))(VALUES[0], B[0])
    assert_close(got, gradient(VALUES[0], B[0]), GRADIENT)


# --- linearisation -------------------------------------------------------------------------------


def test_linearize_agrees_with_jvp_and_reuses_the_factor():
    value, tangent = jax.linearize(f, VALUES[0], B[0])
    jax.block_until_ready(value)
    want = jax.jvp(f, (VALUES[0], B[0]), (DV, DB[0]))
    assert_close((value, tangent(DV, DB[0])), want, GRADIENT)
    with cx.testing.count_kernel_calls() as calls:
        jax.block_until_ready(tangent(DV, DB[0]))
    assert calls["cholesky"] == 0


def test_vjp_closure_reuses_the_factor():
    _, pullback = jax.vjp(f, VALUES[0], B[0])
    jax.block_until_ready(pullback(1.0))
    with cx.testing.count_kernel_calls() as calls:
        got = jax.block_until_ready(pullback(1.0))
    assert calls["cholesky"] == 0
    assert_close(got, gradient(VALUES[0], B[0]), GRADIENT)


def test_linear_transpose_of_a_solve_is_a_solve():
    solve = lambda b: cx.solve(matrix(VALUES[0]), b)  # noqa: E731
    (got,) = jax.linear_transpose(solve, B[0])(DB[0])
    assert_close(got, solve(DB[0]), VALUE)


def test_zero_tangents_need_no_derivative_kernels():
    """A right-hand side alone: the values' tangent is a symbolic zero, C and Ct stay silent."""
    run = jax.jit(lambda b, db: jax.jvp(lambda b: f(VALUES[0], b), (b,), (db,)))
    jax.block_until_ready(run(B[0], DB[0]))
    with cx.testing.count_kernel_calls() as calls:
        _, tangent = jax.block_until_ready(run(B[0], DB[0]))
    assert not set(calls) & {"cholesky_tangent", "cholesky_cotangent", "matvec"}
    assert_close(tangent, gradient(VALUES[0], B[0])[1] @ DB[0], GRADIENT)


def test_stop_gradient_cuts_the_factor():
    stopped = jax.grad(lambda v: cx.log_det(matrix(jax.lax.stop_gradient(v))) + v.sum())
    assert_close(stopped(VALUES[0]), np.ones_like(DV), VALUE)


def test_custom_rules_may_call_the_factor():
    @jax.custom_vjp
    def half_log_det(v):
        return 0.5 * cx.log_det(matrix(v))

    def backward(F, ct):
        off = PROBLEM.pattern.rows != PROBLEM.pattern.columns
        return (ct * jnp.where(off, 1.0, 0.5) * F.selected_inverse().values,)

    def forward(v):
        F = cx.cholesky(matrix(v))
        return 0.5 * F.log_det(), F

    half_log_det.defvjp(forward, backward)
    want = 0.5 * jax.grad(lambda v: cx.log_det(matrix(v)))(VALUES[0])
    assert_close(jax.jit(jax.grad(half_log_det))(VALUES[0]), want, GRADIENT)


# --- modes of JAX --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode",
    [
        partial(jax.numpy_dtype_promotion, "strict"),
        partial(jax.numpy_rank_promotion, "raise"),
        partial(jax.debug_nans, True),
        jax.checking_leaks,
        partial(jax.enable_checks, True),
        partial(jax.default_matmul_precision, "highest"),
    ],
    ids=lambda mode: getattr(mode, "func", mode).__name__,
)
def test_strict_modes_change_nothing(mode):
    fresh = lambda v, b: f.__wrapped__(v, b)  # noqa: E731  # not yet compiled
    with mode():
        got = jax.jit(jax.vmap(jax.grad(fresh)))(VALUES, B)
    assert_close(got, loop(gradient, VALUES, B)[0], GRADIENT)


def test_disable_jit_runs_step_by_step():
    with jax.disable_jit():
        got = f(VALUES[0], B[0])
    assert_close(got, f(VALUES[0], B[0]), VALUE)


def test_shapes_are_evaluated_without_running_a_kernel():
    with cx.testing.count_kernel_calls() as calls:
        out = jax.eval_shape(gradient, VALUES[0], B[0])
    assert [o.shape for o in out] == [DV.shape, B[0].shape]
    assert not calls
