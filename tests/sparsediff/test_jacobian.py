"""Jacobians against dense twins: end to end, in all modes, under all transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from cholax.sparsediff._jacobian import jacobian
from cholax.testing import check_coloring
from tests import tolerances as tol
from tests.sparsediff import problems

MODES = ("auto", "forward", "reverse", "bidirectional")


@pytest.mark.parametrize("name", problems.JACOBIANS)
def test_jacobian_is_the_dense_one(name):
    f, n = problems.JACOBIANS[name]
    x = problems.point(n)
    J = jacobian(f)
    tol.assert_close(J(x).to_dense(), jax.jit(jax.jacobian(f))(x), tol.value(x.dtype))
    check_coloring(J.colors(x))


@pytest.mark.parametrize("name", ["arrow", pytest.param("edges", marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_same_matrix(name, mode):
    f, n = problems.JACOBIANS[name]
    x = problems.point(n)
    tol.assert_close(
        jacobian(f, mode=mode)(x).to_dense(), jax.jit(jax.jacobian(f))(x), tol.value(x.dtype)
    )


def test_arrow_is_bidirectional_with_three_products():
    f, _ = problems.JACOBIANS["arrow"]
    coloring = jacobian(f).colors(problems.point(3000))
    assert coloring.kind == "bidirectional"
    assert len(coloring) <= 4


def test_auto_takes_few_rows_by_reverse_products():
    assert jacobian(lambda x: (x.reshape(2, 40) ** 2).sum(1)).colors(jnp.ones(80)).kind == "row"


def test_single_precision_stays_single():
    f, n = problems.JACOBIANS["stencil"]
    x = problems.point(n, np.float32)
    J = jacobian(f)(x)
    assert J.dtype == np.float32
    tol.assert_close(J.to_dense(), jax.jit(jax.jacobian(f))(x), tol.value(np.float32))


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("chunk_size", [1, 2])
def test_chunks_do_not_change_the_result(mode, chunk_size):
    x = problems.point(10)
    f = lambda x: jnp.outer(x[:5], x[5:]).ravel() ** 2  # noqa: E731
    J = jacobian(f, mode=mode, chunk_size=chunk_size)
    tol.assert_close(J(x).to_dense(), jax.jit(jax.jacobian(f))(x), tol.value(x.dtype))


@pytest.mark.parametrize("chunk_size", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_results_too_large_to_hold_at_once_are_read_chunk_by_chunk(chunk_size, monkeypatch):
    monkeypatch.setattr("cholax.sparsediff.compress.LARGEST_COMPRESSED", 10)
    for mode in ("forward", "bidirectional"):
        f, n = problems.JACOBIANS["arrow"]
        x = problems.point(n)
        J = jacobian(f, mode=mode, chunk_size=chunk_size)
        tol.assert_close(J(x).to_dense(), jax.jit(jax.jacobian(f))(x), tol.value(x.dtype))


# --- transforms


def test_under_jit_vmap_and_both():
    f, n = problems.JACOBIANS["edges"]
    J, dense = jacobian(f), jax.jacobian(f)
    x = problems.point(n)
    X = jnp.stack([x, x[::-1], 2 * x])
    tol.assert_close(jax.jit(J)(x).to_dense(), dense(x), tol.value(x.dtype))
    batched = jax.vmap(lambda x: J(x).to_dense())
    tol.assert_close(jax.jit(batched)(X), jax.vmap(dense)(X), tol.value(x.dtype))


@pytest.mark.parametrize(
    "mode",
    ["reverse", *(pytest.param(m, marks=pytest.mark.slow) for m in ("forward", "bidirectional"))],
)
def test_differentiates_again_in_x_and_in_other_arguments(mode):
    def f(x, theta):
        return jnp.sin(theta[0] * x[1:]) * x[:-1] ** 2 + theta[1] * jnp.sum(x[:2])

    x, theta = problems.point(6), jnp.array([0.7, -1.2])
    J = jacobian(f, mode=mode)
    sparse = lambda x, t: J(x, t).to_dense()  # noqa: E731
    dense = jax.jacobian(f)
    got = jax.jit(lambda *a: (jax.jacfwd(sparse, (0, 1))(*a), jax.jacrev(sparse, (0, 1))(*a)))
    expected = (jax.jacobian(dense, (0, 1))(x, theta),) * 2
    tol.assert_all_close(
        jax.tree.leaves(got(x, theta)), jax.tree.leaves(expected), tol.gradient(x.dtype)
    )
    got = jax.jit(jax.jacfwd(jax.jacrev(sparse, 1)))(x, theta)
    expected = jax.jacfwd(jax.jacrev(dense, 1))(x, theta)
    tol.assert_close(got, expected, tol.gradient(x.dtype))


@pytest.mark.slow
def test_gradient_of_a_batch_of_jacobians():
    f, n = problems.JACOBIANS["stencil"]
    J = jacobian(f)
    X = jnp.stack([problems.point(n), -problems.point(n)])
    sparse = jax.grad(lambda X: jnp.sum(jax.vmap(lambda x: J(x).values)(X) ** 3))
    dense = jax.grad(lambda X: jnp.sum(jax.vmap(jax.jacobian(f))(X) ** 3))
    tol.assert_close(jax.jit(sparse)(X), dense(X), tol.gradient(X.dtype))


def test_closing_over_a_tracer():
    x = problems.point(5)

    def loss(theta):
        return jnp.sum(jacobian(lambda x: jnp.sin(theta * x[1:]) * x[:-1])(x).values ** 2)

    def dense(theta):
        return jnp.sum(jax.jacobian(lambda x: jnp.sin(theta * x[1:]) * x[:-1])(x) ** 2)

    got = jax.jit(jax.value_and_grad(loss))(1.3)
    tol.assert_all_close(got, jax.value_and_grad(dense)(1.3), tol.gradient(x.dtype))
    thetas = jnp.array([0.2, 1.1])
    got = jax.jit(jax.vmap(loss))(thetas)
    tol.assert_close(got, jax.vmap(dense)(thetas), tol.gradient(x.dtype))


def test_matrix_is_ready_for_lu():
    lu = pytest.importorskip("cholax.linalg.lu")
    f, n = problems.JACOBIANS["grid"]
    x = problems.point(n)
    b = jnp.arange(1.0, n + 1)
    got = lu.lu(jacobian(f)(x)).solve(b)
    tol.assert_close(got, jnp.linalg.solve(jax.jacobian(f)(x), b), tol.gradient(x.dtype))


# --- functions that have one direction only


def test_loops_without_a_bound_go_forward():
    def f(x):
        return jax.lax.while_loop(
            lambda c: c[1] < 3, lambda c: (c[0] ** 2 - c[0], c[1] + 1), (x, 0)
        )[0]

    x = problems.point(4)
    J = jacobian(f)
    assert J.colors(x).kind == "column"
    tol.assert_close(J(x).to_dense(), jax.jacfwd(f)(x), tol.value(x.dtype))


def test_custom_vjp_functions_go_backward():
    @jax.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (x**3, x), lambda x, ct: (3 * x**2 * ct,))
    x = problems.point(4)
    J = jacobian(lambda x: cube(x[1:]) * 2)
    assert J.colors(x).kind == "row"
    expected = jax.jacrev(lambda x: cube(x[1:]) * 2)(x)
    tol.assert_close(J(x).to_dense(), expected, tol.value(x.dtype))


def test_stopped_gradients_are_no_entries():
    x = problems.point(4)
    J = jacobian(lambda x: x * jax.lax.stop_gradient(x[::-1]))
    assert J.pattern(x).nnz == 4


# --- pytrees, arguments, results


def tree_function(p, scale, *, shift=0.0):
    return {"b": p["w"][0] * scale, "a": (jnp.sin(p["v"]) + shift, p["w"].sum() * p["v"][:1])}


def test_pytrees_give_one_matrix_over_flat_leaves():
    p = {"w": jnp.arange(6.0).reshape(2, 3) - 2.5, "v": jnp.array([0.3, -0.7])}
    J = jacobian(tree_function)
    unravel_input, unravel_output = J.unravel(p, 2.0)
    flat = jnp.concatenate([p["v"], p["w"].ravel()])
    assert jax.tree.map(jnp.shape, unravel_input(flat)) == jax.tree.map(jnp.shape, p)
    tol.assert_all_close(
        jax.tree.leaves(unravel_input(flat)), jax.tree.leaves(p), tol.value(flat.dtype)
    )

    def twin(flat):
        return jnp.concatenate(
            [jnp.ravel(y) for y in jax.tree.leaves(tree_function(unravel_input(flat), 2.0))]
        )

    A = J(p, 2.0)
    tol.assert_close(A.to_dense(), jax.jacobian(twin)(flat), tol.value(flat.dtype))
    out = unravel_output(A @ jnp.ones(8))
    assert jax.tree.structure(out) == jax.tree.structure(tree_function(p, 2.0))
    tol.assert_close(J(p, 2.0, shift=1.0).to_dense(), A.to_dense(), tol.value(flat.dtype))


def test_several_arguments_stand_side_by_side():
    def f(a, k, b):
        return jnp.concatenate([a**2 * b[0], b * k])

    a, b = problems.point(3), problems.point(2)
    J = jacobian(f, argnums=(2, 0))(a, 3.0, b).to_dense()
    by_b, by_a = jax.jacobian(f, (2, 0))(a, 3.0, b)
    tol.assert_close(J, jnp.concatenate([by_b, by_a], axis=1), tol.value(a.dtype))
    negative = jacobian(f, argnums=-1)(a, 3.0, b).to_dense()
    tol.assert_close(negative, by_b, tol.value(a.dtype))


def test_value_and_auxiliary_data():
    def f(x):
        return x[1:] * x[:-1], {"norm": jnp.sum(x**2)}

    x = problems.point(4)
    J = jacobian(f, has_aux=True)
    (value, aux), A = J.value_and(x)
    tol.assert_close(value, f(x)[0], tol.value(x.dtype))
    tol.assert_close(aux["norm"], jnp.sum(x**2), tol.value(x.dtype))
    tol.assert_close(A.to_dense(), jax.jacobian(lambda x: f(x)[0])(x), tol.value(x.dtype))
    assert J(x)[1].keys() == {"norm"}
    value, _ = jacobian(problems.stencil).value_and(x)
    tol.assert_close(value, problems.stencil(x), tol.value(x.dtype))


@pytest.mark.parametrize("n", [0, 1])
def test_smallest_sizes(n):
    x = problems.point(n)
    A = jacobian(lambda x: 3 * x**2)(x)
    assert A.shape == (n, n)
    tol.assert_close(A.to_dense(), jnp.diag(6 * x), tol.value(x.dtype))


def test_constant_function_has_an_empty_matrix():
    A = jacobian(lambda x: jnp.ones(3))(problems.point(2))
    assert (A.shape, A.nnz) == ((3, 2), 0)


def test_scalars_in_and_out():
    assert jacobian(lambda x: x**2)(3.0).to_dense().tolist() == [[6.0]]


# --- refusals


def test_mixed_precision_is_refused_by_name():
    p = {"a": jnp.ones(2, np.float32), "b": jnp.ones(2)}
    with pytest.raises(cx.errors.DtypeError, match="float32 and float64"):
        jacobian(lambda p: p["a"] + p["b"])(p)
    with pytest.raises(cx.errors.DtypeError, match="float32"):
        jacobian(lambda x: x.astype(np.float32))(jnp.ones(2))


@pytest.mark.parametrize("x", [np.arange(3), jnp.ones(3, np.float16), np.ones(2, complex)])
def test_other_dtypes_are_refused(x):
    with pytest.raises(cx.errors.DtypeError, match="float32 or float64"):
        jacobian(lambda x: x * 2)(x)


def test_integer_outputs_are_refused():
    with pytest.raises(cx.errors.DtypeError, match="outputs"):
        jacobian(lambda x: jnp.arange(3))(jnp.ones(3))


def test_bad_options_are_refused():
    for options, text in (
        ({"mode": "sideways"}, "forward"),
        ({"chunk_size": 0}, "positive"),
        ({"argnums": 3}, "argnums"),
        ({"argnums": (0, 0)}, "argnums"),
        ({"argnums": ()}, "argnums"),
    ):
        with pytest.raises(cx.errors.ArgumentError, match=text):
            jacobian(lambda x: x, **options)(jnp.ones(2))
    with pytest.raises(cx.errors.ArgumentError, match="function"):
        jacobian(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "f", [lambda x: x, lambda x: [x, None], lambda x: (x,), lambda x: None, lambda x: x[:2]]
)
def test_auxiliary_data_come_in_a_pair_and_rows_of_an_array_are_none(f):
    with pytest.raises(cx.errors.ArgumentError, match=r"a tuple \(output, auxiliary data\)"):
        cx.jacobian(f, has_aux=True)(jnp.ones(2))
    with pytest.raises(cx.errors.ArgumentError, match="has_aux=True"):
        cx.hessian(lambda x: f(x * x), has_aux=True)(jnp.ones(2))
