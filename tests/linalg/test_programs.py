"""What compiled programs consist of: kernel calls and nothing of the size of a factor besides."""

import re
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from cholax import primitives
from tests.linalg.twins import assert_close, grid_problem, tol

PROBLEM = grid_problem(9, 11)
PLAN = cx.analyze(PROBLEM.pattern)
B = np.random.default_rng(0).standard_normal(PROBLEM.n)


def factor(values):
    return cx.cholesky(PROBLEM.matrix(values))


def log_det(values):
    return factor(values).log_det()


def hessian_vector_product(values):
    return jax.jvp(jax.grad(log_det), (values,), (values,))


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile()


def kernels(program):
    return Counter(re.findall(r'custom_call_target="cholax_(\w+)"', program.as_text()))


def operations(program, name):
    """Results of one kind of instruction, fused ones included, as (dtype, shape)."""
    return re.findall(rf"= (\w+)\[([\d,]*)\]\S* {name}\(", program.as_text())


PROGRAMS = {
    "log_det": (log_det, "cholesky log_determinant"),
    "value_and_grad": (
        jax.value_and_grad(log_det),
        "cholesky log_determinant selected_inverse gather",
    ),
    "solve": (lambda v: factor(v).solve(B), "cholesky solve"),
    "inverse_diagonal": (
        lambda v: factor(v).inverse_diagonal(),
        "cholesky selected_inverse gather",
    ),
    "selected_inverse": (
        lambda v: factor(v).selected_inverse().values,
        "cholesky selected_inverse gather",
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_is_its_kernels_and_nothing_else(name):
    function, expected = PROGRAMS[name]
    program = compiled(function, PROBLEM.values)
    assert kernels(program) == Counter(expected.split())
    for instruction in ("fusion", "copy", "gather", "scatter", "select", "multiply", "transpose"):
        assert operations(program, instruction) == []


def test_hessian_vector_product_spends_one_pass_besides_its_kernels():
    program = compiled(hessian_vector_product, PROBLEM.values)
    expected = "cholesky log_determinant selected_inverse cholesky_tangent cholesky_cotangent "
    expected += "symmetric_product_transpose scatter scatter gather gather gather gather"
    assert kernels(program) == Counter(expected.split())
    passes = [shape for _, shape in operations(program, "fusion") if shape == str(PLAN.size)]
    assert len(passes) == 1


@pytest.mark.parametrize("function", [jax.value_and_grad(log_det), hessian_vector_product])
def test_compiled_programs_hold_no_array_constants(function):
    text = compiled(function, PROBLEM.values).as_text()
    shapes = [shape for _, shape in re.findall(r"= (\w+)\[([\d,]*)\]\S* constant\(", text)]
    assert set(shapes) <= {""}


def test_gradient_of_the_log_determinant_is_built_in_the_factor_s_memory():
    memory = compiled(jax.value_and_grad(log_det), PROBLEM.values).memory_analysis()
    assert memory.temp_size_in_bytes < 1.1 * 8 * PLAN.size


def test_factor_read_by_others_survives_the_gradient_of_the_log_determinant():
    def density(v):
        f = factor(v)
        return f.log_det() + jnp.sum(f.half_solve(B) ** 2) + jnp.sum(f.lower().values)

    got = jax.jit(jax.value_and_grad(density))(PROBLEM.values)
    with jax.disable_jit():
        want = jax.value_and_grad(density)(PROBLEM.values)
    assert_close(got, want, tol.gradient("float64"))


# --- solves --------------------------------------------------------------------------------------


def squares(values, b):
    return jnp.sum(factor(values).solve(b) ** 2)


def test_gradient_in_matrix_and_right_hand_side_is_one_more_solve():
    program = compiled(jax.value_and_grad(squares, (0, 1)), PROBLEM.values, B)
    assert kernels(program)["solve"] == 2


def test_tangent_in_matrix_and_right_hand_side_is_one_more_solve():
    def tangent(v, b):
        return jax.jvp(lambda v, b: factor(v).solve(b), (v, b), (v, b))

    assert kernels(compiled(tangent, PROBLEM.values, B))["solve"] == 2


def test_eager_gradient_solves_twice():
    def half(v, b):
        return factor(v).half_solve(b).sum()

    for function, name in ((squares, "solve"), (half, "triangular_solve")):
        with cx.testing.count_kernel_calls() as calls:
            jax.block_until_ready(jax.grad(function, (0, 1))(PROBLEM.values, B))
        assert calls[name] == 2


def test_shared_right_hand_side_of_a_batch_gets_the_summed_gradient():
    stack = np.stack([PROBLEM.values, 2 * PROBLEM.values])

    def total(stack, b):
        return jax.vmap(squares, (0, None))(stack, b).sum()

    got = jax.jit(jax.grad(total, (0, 1)))(stack, B)
    each = [jax.grad(squares, (0, 1))(v, B) for v in stack]
    want = np.stack([g for g, _ in each]), each[0][1] + each[1][1]
    assert_close(got, want, tol.gradient("float64"))


# --- kernels that work in place ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cholesky_tangent", "cholesky_cotangent"])
def test_operand_that_is_read_again_survives_a_kernel_that_builds_on_it(name):
    kernel = primitives.registry[name]
    panels = jax.jit(lambda v: factor(v)._panels)(PROBLEM.values)
    x = np.asarray(primitives.scatter(primitives.value_map(primitives.Ref(PLAN)), PROBLEM.values))

    @jax.jit
    def run(panels, x):
        inner = 2.0 * x
        return kernel(PLAN, panels, inner), kernel(PLAN, panels, x), inner

    twice, once, inner = run(panels, x)
    np.testing.assert_array_equal(inner, 2.0 * x)
    assert_close(twice, 2.0 * once, tol.value("float64"))
    assert_close(once, kernel(PLAN, panels, jnp.array(x)), tol.value("float64"))
    np.testing.assert_array_equal(run(panels, x)[1], once)


def test_reverse_mode_of_the_factor_adds_one_buffer_of_its_size():
    def spread(v):
        return jnp.sum(factor(v).half_solve(B) ** 2)

    memory = compiled(jax.grad(spread), PROBLEM.values).memory_analysis()
    assert memory.temp_size_in_bytes < 2.5 * 8 * PLAN.size


# --- algebra -------------------------------------------------------------------------------------


def test_sum_with_a_part_of_the_pattern_moves_only_that_part():
    program = compiled(
        lambda v, d: (PROBLEM.matrix(v) + cx.diags([d], [0], symmetric=True)).values,
        PROBLEM.values,
        B,
    )
    assert kernels(program) == Counter(["gather"])


def test_adding_to_the_diagonal_moves_only_the_diagonal():
    program = compiled(lambda v, d: PROBLEM.matrix(v).add_diagonal(d).values, PROBLEM.values, B)
    assert kernels(program) == Counter(["gather"])
