"""vmap, alone and with derivatives, against a loop over the dense twin.

What no vmap maps is shared by the members, and its gradient is the sum of theirs.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax import primitives
from cholax.primitives import BACKENDS, use_backend
from tests import tolerances as tol
from tests.contract.cases import CASES
from tests.contract.transforms import (
    MAIN,
    SMALL,
    gradient,
    inner,
    jit_once,
    loss,
    small,
)

# Levels of vmap, outermost first; each says which operands it maps and over which axis.
SIZES = (2, 3)
ONE_OPERAND = {
    "mapped": [(0,)],
    "last_axis": [(-1,)],
    "nested": [(0,), (0,)],
}
TWO_OPERANDS = {
    "first_alone": [(0, None)],
    "second_alone": [(None, 0)],
    "both": [(0, 0)],
    "last_axis": [(-1, -1)],
    "nested": [(0, None), (None, 0)],
    "second_twice": [(None, 0), (None, 0)],
    "first_in_both": [(0, None), (0, 0)],
}


def layouts(name):
    """All of them for one variant of each primitive; the others differ in kernels, not in rules."""
    found = ONE_OPERAND if len(small(name)[0].point) == 1 else TWO_OPERANDS
    return found if name in MAIN else {"nested": found["nested"]}


def batched_points(setting, levels):
    """Operands with leading batch dimensions, one for each level that maps them."""
    rng = np.random.default_rng(1)
    points = []
    for i, variable in enumerate(setting.point):
        sizes = [size for size, axes in zip(SIZES, levels, strict=False) if axes[i] is not None]
        points.append(jnp.asarray(variable.nearby(rng, *sizes)))
    return tuple(points)


def members(points, levels):
    """(index of the member, index into each operand, operands of the member)."""
    for index in itertools.product(*(range(size) for size, _ in zip(SIZES, levels, strict=False))):
        own = [
            tuple(k for k, axes in zip(index, levels, strict=True) if axes[i] is not None)
            for i in range(len(points))
        ]
        yield index, own, tuple(x[k] for x, k in zip(points, own, strict=True))


def loop(twin, points, levels):
    """Results of every member, and the gradient of the sum of their losses."""
    results, gradients = {}, [np.zeros(x.shape) for x in points]
    for index, own, member in members(points, levels):
        value, pulled = twin.value_and_gradient(member, twin.data.c)
        results[index] = value
        for total, k, part in zip(gradients, own, pulled, strict=True):
            total[k] += part
    return results, gradients


def vmapped(f, levels):
    """f under the levels of vmap; batch axes of mapped operands come first in `points`."""

    def run(*points):
        moved = [jnp.moveaxis(x, 0, -1) if levels[0][i] == -1 else x for i, x in enumerate(points)]
        g = f
        for axes in reversed(levels):
            g = jax.vmap(g, in_axes=axes)
        return g(*moved)

    return run


def check_layout(name, levels, wrap):
    setting, twin = small(name)
    points = batched_points(setting, levels)

    @wrap
    def run(points):
        results, pull = jax.vjp(vmapped(setting.function, levels), *points)
        weights = zip(twin.data.c, results, strict=True)
        return results, pull(tuple(c * jnp.cos(y) for c, y in weights))

    results, gradients = run(points)
    expected, expected_gradients = loop(twin, points, levels)
    for index, value in expected.items():
        tol.assert_all_close([y[index] for y in results], value, tol.gradient(np.float64))
    tol.assert_all_close(gradients, expected_gradients, tol.gradient(np.float64))


# These differ from the others in where axes are moved, which all primitives do in one place.
MOVES = ("last_axis", "second_twice")


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        pytest.param(name, layout, marks=[pytest.mark.slow] * (layout in MOVES and name != MAIN[0]))
        for name in CASES
        for layout in layouts(name)
    ],
)
def test_gradient_of_vmap(name, layout):
    check_layout(name, layouts(name)[layout], jax.jit)


@pytest.mark.parametrize("name", ["triangular_solve", "matvec-general"])
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "native"])
def test_gradient_of_nested_vmap_in_other_backends(name, backend):
    with use_backend(backend):
        check_layout(name, TWO_OPERANDS["nested"], jit_once)


@pytest.mark.parametrize("name", [name for name in MAIN if len(small(name)[0].point) == 2])
@pytest.mark.parametrize("layout", ["first_alone", "second_alone"])
def test_vmap_of_gradient_with_a_shared_operand(name, layout):
    setting, twin = small(name)
    levels = TWO_OPERANDS[layout]
    points = batched_points(setting, levels)
    got = jax.jit(jax.vmap(gradient(loss(setting.function, twin.data.c)), levels[0]))(*points)
    for (k,), _, member in members(points, levels):
        _, expected = twin.value_and_gradient(member, twin.data.c)
        tol.assert_all_close([x[k] for x in got], expected, tol.gradient(np.float64))


@pytest.mark.slow
@pytest.mark.parametrize("name", MAIN)
def test_jacobians_by_both_modes_agree(name):
    """jacfwd maps tangents, jacrev cotangents, with all operands shared."""
    setting, twin = small(name)
    d = twin.data
    everything = tuple(range(len(d.point)))

    @jax.jit
    def run(*point):
        by_mode = jax.jacfwd, jax.jacrev
        return [mode(setting.function, everything)(*point) for mode in by_mode]

    forward, reverse = run(*d.point)
    for rows, other_rows, tangent, kept in zip(
        forward, reverse, twin.tangents, setting.result_supports, strict=True
    ):
        total = 0.0
        for row, other, variable, u in zip(rows, other_rows, setting.point, d.u, strict=True):
            own = np.asarray(row)[kept][:, variable.support]
            tol.assert_close(
                own, np.asarray(other)[kept][:, variable.support], tol.gradient(np.float64)
            )
            total = total + np.tensordot(row, u, u.ndim)
        tol.assert_close(total, tangent, tol.gradient(np.float64))


@pytest.mark.parametrize("name", ["cholesky", "log_determinant", "solve", "triangular_solve"])
def test_hessian_is_symmetric_and_agrees_with_the_twin(name):
    setting, twin = small(name)
    d = twin.data

    @jax.jit
    def products(u, v):
        everything = tuple(range(len(d.point)))
        blocks = jax.hessian(loss(setting.function, d.c), everything)(*d.point)
        right = [
            sum(jnp.tensordot(b, y, y.ndim) for b, y in zip(row, v, strict=True)) for row in blocks
        ]
        return inner(u, right)

    got = products(d.u, d.v)
    scale = float(sum(jnp.sum(jnp.abs(u)) for u in d.u))
    tol.assert_close(got, products(d.v, d.u), tol.gradient(np.float64), scale)
    tol.assert_close(got, twin.second, tol.gradient(np.float64), scale)


# --- caches, which composition with cholesky never maps alone ------------------------------------


@pytest.mark.parametrize("mapped", ["values", "factor", "b"])
def test_solve_maps_any_operand_alone(mapped):
    setting, _ = small("solve")
    check_raw(setting, [op.name == mapped for op in setting.definition.operands])


@pytest.mark.parametrize("mapped", ["values", "factor"])
def test_log_determinant_maps_any_operand_alone(mapped):
    setting, _ = small("log_determinant")
    check_raw(setting, [op.name == mapped for op in setting.definition.operands])


def check_raw(setting, mapped):
    rng = np.random.default_rng(2)
    operands = [
        x.nearby(rng, 3) if m else x.value for x, m in zip(setting.operands, mapped, strict=True)
    ]
    axes = tuple(0 if m else None for m in mapped)
    (got,) = jax.vmap(setting.apply, in_axes=axes)(*operands)
    twin = jit_once(setting.specification)
    for k in range(3):
        (expected,) = twin(*(x[k] if m else x for x, m in zip(operands, mapped, strict=True)))
        tol.assert_close(got[k], expected, tol.gradient(np.float64))


# --- sizes of batches ----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["native", "host"])
@pytest.mark.parametrize("size", [0, 1])
def test_batches_of_none_and_one(size, backend):
    plan = SMALL.plan
    values = np.tile(SMALL.values(), (size, 1))

    def solve(v, b):
        factor, _ = primitives.cholesky(plan, v, throw=False)
        return primitives.solve(plan, v, factor, b)

    b = np.ones((SMALL.n, 2))
    with use_backend(backend):
        x = jax.vmap(solve, (0, None))(values, b)
    assert x.shape == (size, SMALL.n, 2)
    for one in x:
        tol.assert_close(SMALL.matrix() @ one, b, tol.gradient(np.float64))


@pytest.mark.parametrize("name", ["solve", "triangular_solve", "factor_matvec", "matvec-general"])
@pytest.mark.parametrize("backend", ["native", "host"])
def test_no_right_hand_sides(name, backend):
    setting, _ = small(name)
    *others, x = setting.operands
    with use_backend(backend):
        (result,) = setting.apply(*(y.value for y in others), x.value[:, :0])
    assert result.shape[1] == 0
    assert result.shape[0] == setting.result_supports[0].shape[0]
