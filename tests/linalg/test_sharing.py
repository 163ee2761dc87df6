"""One numeric factorisation serves a value and its derivatives: kernel calls are counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from tests.linalg.twins import grid_problem

PROBLEM = grid_problem(6, 7)
B = np.random.default_rng(0).standard_normal(PROBLEM.n)
DV = PROBLEM.direction(1)
LARGE_TEXT = 20_000  # characters of StableHLO
# What costs as much as a factorisation, or half of it.
SWEEPS = (
    "cholesky",
    "selected_inverse",
    "cholesky_tangent",
    "cholesky_cotangent",
    "symmetric_product",
    "symmetric_product_transpose",
)


def sweeps(function, *arguments):
    """Calls of the expensive kernels in one run, after the compiling one."""
    jax.block_until_ready(function(*arguments))
    with cx.testing.count_kernel_calls() as calls:
        jax.block_until_ready(function(*arguments))
    return {name: calls[name] for name in SWEEPS if calls[name]}


def factor(values):
    return cx.cholesky(PROBLEM.matrix(values))


def log_density(values):
    F = factor(values)
    return 0.5 * F.log_det() - 0.5 * B @ F.solve(B)


def log_det(values):
    return factor(values).log_det()


def test_value_alone_is_one_factorisation():
    assert sweeps(jax.jit(log_density), PROBLEM.values) == {"cholesky": 1}


def test_value_and_gradient_of_a_density_is_one_factorisation_and_one_selected_inverse():
    run = jax.jit(jax.value_and_grad(log_density))
    assert sweeps(run, PROBLEM.values) == {"cholesky": 1, "selected_inverse": 1}


def test_eager_value_and_gradient_shares_the_factor_as_well():
    run = jax.value_and_grad(log_density)
    assert sweeps(run, PROBLEM.values) == {"cholesky": 1, "selected_inverse": 1}


def test_tangent_of_the_logdet_is_one_selected_inverse():
    run = jax.jit(lambda v, t: jax.jvp(log_det, (v,), (t,)))
    assert sweeps(run, PROBLEM.values, DV) == {"cholesky": 1, "selected_inverse": 1}


HVP = {
    "cholesky": 1,
    "selected_inverse": 1,
    "cholesky_tangent": 1,
    "cholesky_cotangent": 1,
    "symmetric_product_transpose": 1,
}


def forward_over_reverse(v, t):
    return jax.jvp(jax.grad(log_det), (v,), (t,))


def reverse_over_reverse(v, t):
    return jax.grad(lambda v: jax.grad(log_det)(v) @ t)(v)


def reverse_over_forward(v, t):
    return jax.grad(lambda v: jax.jvp(log_det, (v,), (t,))[1])(v)


@pytest.mark.parametrize(
    "composition", [forward_over_reverse, reverse_over_reverse, reverse_over_forward]
)
def test_hessian_vector_product_of_the_logdet_adds_one_sweep_of_C_Ct_and_T(composition):
    assert sweeps(jax.jit(composition), PROBLEM.values, DV) == HVP


def test_value_gradient_and_hessian_vector_product_together_factor_once():
    run = jax.jit(lambda v, t: jax.jvp(jax.value_and_grad(log_det), (v,), (t,)))
    assert sweeps(run, PROBLEM.values, DV) == HVP


def test_tangent_and_gradient_of_the_selected_inverse_are_one_sweep_of_C_Ct_and_T():
    def spread(v):
        return jnp.sum(factor(v).inverse_diagonal())

    assert sweeps(jax.jit(jax.grad(spread)), PROBLEM.values) == HVP
    tangent = jax.jit(lambda v, t: jax.jvp(spread, (v,), (t,)))
    assert sweeps(tangent, PROBLEM.values, DV) == HVP


def test_third_derivative_of_the_logdet_still_factors_once():
    run = jax.jit(lambda v, t: jax.jvp(lambda v: forward_over_reverse(v, t), (v,), (t,)))
    calls = sweeps(run, PROBLEM.values, DV)
    assert calls["cholesky"] == calls["selected_inverse"] == 1
    assert sum(calls.values()) <= 11


def test_solve_needs_no_derivative_of_the_factor():
    """d x = A⁻¹(db − dA x): further solves with the same factor."""

    def f(v, b):
        return jnp.sum(factor(v).solve(b) ** 2)

    assert sweeps(jax.jit(jax.grad(f, argnums=(0, 1))), PROBLEM.values, B) == {"cholesky": 1}
    hvp = jax.jit(lambda v, t: jax.jvp(jax.grad(f), (v, B), (t, B)))
    assert sweeps(hvp, PROBLEM.values, DV) == {"cholesky": 1}


def test_sample_and_lower_differentiate_the_factor_once():
    key = jax.random.key(0)
    for f in (lambda v: factor(v).sample(key).sum(), lambda v: factor(v).lower().values.sum()):
        calls = sweeps(jax.jit(jax.value_and_grad(f)), PROBLEM.values)
        assert calls == {"cholesky": 1, "cholesky_cotangent": 1}
        calls = sweeps(jax.jit(lambda v, t, f=f: jax.jvp(f, (v,), (t,))), PROBLEM.values, DV)
        assert calls == {"cholesky": 1, "cholesky_tangent": 1}


def test_everything_from_one_factor_costs_one_factorisation():
    @jax.jit
    def run(v):
        F = factor(v)
        draws = F.sample(jax.random.key(0), (3,))
        return F.log_det(), F.solve(B), F.inverse_diagonal(), F.selected_inverse(), draws

    assert sweeps(run, PROBLEM.values) == {"cholesky": 1, "selected_inverse": 1}


def test_a_batch_is_one_call_of_each_kernel():
    stack = np.stack([PROBLEM.values, 2 * PROBLEM.values])
    run = jax.jit(jax.vmap(jax.value_and_grad(log_density)))
    assert sweeps(run, stack) == {"cholesky": 1, "selected_inverse": 1}


# --- short cuts ----------------------------------------------------------------------------------


def short_cut_density(values):
    A = PROBLEM.matrix(values)
    return 0.5 * cx.log_det(A) - 0.5 * B @ cx.solve(A, B)


def test_short_cuts_share_the_factor_within_one_program():
    assert sweeps(jax.jit(short_cut_density), PROBLEM.values) == {"cholesky": 1}
    run = jax.jit(jax.value_and_grad(short_cut_density))
    assert sweeps(run, PROBLEM.values) == {"cholesky": 1, "selected_inverse": 1}


def test_all_short_cuts_together_share_the_factor_and_the_selected_inverse():
    @jax.jit
    def run(v):
        A = PROBLEM.matrix(v)
        Z = cx.selected_inverse(A)
        return cx.log_det(A), cx.solve(A, B), cx.inverse_diagonal(A), Z

    assert sweeps(run, PROBLEM.values) == {"cholesky": 1, "selected_inverse": 1}


def test_short_cuts_share_the_factor_under_vmap_and_in_second_derivatives():
    stack = np.stack([PROBLEM.values, 2 * PROBLEM.values])
    run = jax.jit(jax.vmap(jax.value_and_grad(short_cut_density)))
    assert sweeps(run, stack) == {"cholesky": 1, "selected_inverse": 1}
    hvp = jax.jit(lambda v, t: jax.jvp(jax.grad(short_cut_density), (v,), (t,)))
    assert sweeps(hvp, PROBLEM.values, DV) == HVP


def test_raw_layer_shares_the_factor_within_one_program():
    indices, indptr = PROBLEM.pattern.indices, PROBLEM.pattern.indptr

    @jax.jit
    @jax.value_and_grad
    def density(x):
        quadratic = B @ cx.csc.sparse_solve(indices, indptr, x, B)
        return cx.csc.sparse_log_det(indices, indptr, x) - quadratic

    assert sweeps(density, PROBLEM.values) == {"cholesky": 1, "selected_inverse": 1}


# --- the program is small ------------------------------------------------------------------------


TRANSFORMS = {
    "gradient": (jax.grad, ()),
    "hvp": (lambda f: lambda v: jax.jvp(jax.grad(f), (v,), (v,))[1], ()),
    "batched gradient": (lambda f: jax.vmap(jax.grad(f)), (2,)),
}


# Second derivatives also tell a factor that failed from one that did not.
LARGE_TEXTS = {"hvp": 1.1 * LARGE_TEXT}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_programs_hold_digests_not_index_arrays(name):
    """n = 10 000, 30 000 stored entries: kilobytes of program, as many as for n = 100."""
    small, large = (lowered(name, grid_problem(k, k)) for k in (10, 100))
    for few, many in zip(small, large, strict=True):
        assert len(many) < LARGE_TEXTS.get(name, LARGE_TEXT), len(many)
        assert len(many) <= 1.05 * len(few)


def lowered(name, problem):
    transform, batch = TRANSFORMS[name]
    values = jax.ShapeDtypeStruct((*batch, problem.pattern.nnz), np.float64)

    def density(v):
        F = cx.cholesky(problem.matrix(v))
        b = jnp.ones(problem.n)
        return F.log_det() - b @ F.solve(b) + F.inverse_diagonal().sum()

    functions = (lambda v: cx.log_det(problem.matrix(v)), density)
    return [jax.jit(transform(f)).lower(values).as_text() for f in functions]
