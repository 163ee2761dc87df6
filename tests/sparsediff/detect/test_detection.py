"""What detection promises beyond the suite: warnings, contexts, loops not unrolled, errors."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cholax._core.jax_compat import Primitive, ad, mlir
from cholax.errors import DtypeError, PatternError, ShapeError, UnknownPrimitiveWarning
from cholax.sparsediff.detect import hessian_pattern, interpreter, jacobian_pattern, rows
from tests.sparsediff.detect.cases import CASES
from tests.sparsediff.detect.dense import as_mask, dense_union

LOOPS = [
    name
    for name in CASES
    if name.startswith("control_flow")
    or name in ("hessians-autoregression_by_scan", "hessians-energy_by_fori_loop")
]


def find(case):
    detect = hessian_pattern if case.hessian else jacobian_pattern
    return detect(case.f, jax.ShapeDtypeStruct((case.n,), jnp.float64))


# --- loops ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOOPS)
def test_loops_that_are_not_unrolled_are_sound(name: str, monkeypatch) -> None:
    monkeypatch.setattr(interpreter, "UNROLL_BUDGET", 0)
    found = as_mask(find(CASES[name]))
    missed = dense_union(name) & ~found
    assert not np.any(missed), np.argwhere(missed).tolist()


def test_a_loop_stopped_half_way_is_sound(monkeypatch) -> None:
    monkeypatch.setattr(interpreter, "UNROLL_BUDGET", 12)
    name = "control_flow-while_with_counter"
    assert not np.any(dense_union(name) & ~as_mask(find(CASES[name])))


def test_loops_of_known_length_are_exact() -> None:
    def assembly(x):
        body = lambda e, r: r.at[e].add(x[e + 1] - x[e])  # noqa: E731
        return lax.fori_loop(0, 199, body, jnp.zeros(200))

    def energy(x):
        def step(carry, u):
            previous, total = carry
            return (u, total + (u - 0.9 * previous) ** 2), None

        return lax.scan(step, (x[0], 0.0), x[1:])[0][1]

    x = jnp.zeros(200)
    assert jacobian_pattern(assembly, x).nnz == 2 * 200 - 2
    assert 2 * hessian_pattern(energy, x).nnz - 200 == 3 * 200 - 2


def test_a_band_that_grows_every_step_ends() -> None:
    def f(x):
        return lax.fori_loop(0, 60, lambda _, y: y + jnp.roll(y, 1), x)

    assert jacobian_pattern(f, jnp.zeros(80)).nnz == 80 * 61


def test_nested_jaxprs_share_nothing_between_call_sites() -> None:
    scale = jax.jit(lambda m, y: jnp.where(m > 0, y, 0.0))

    def f(x):
        return jnp.concatenate([scale(jnp.array([1.0, -1, 1]), x), scale(x, x), scale(x * 0, x)])

    pattern = as_mask(jacobian_pattern(f, jnp.zeros(3)))
    np.testing.assert_array_equal(np.diag(pattern[:3]), [True, False, True])
    assert np.diag(pattern[3:6]).all()


# --- unknown primitives ---------------------------------------------------------------------------

foreign = Primitive("foreign")
foreign.def_abstract_eval(lambda a, b: a)
ad.deflinear2(foreign, lambda ct, a, b: [ct, ct])
mlir.register_lowering(foreign, mlir.lower_fun(lambda a, b: a, multiple_results=False))


def test_an_unknown_primitive_warns_and_is_dense() -> None:
    def f(x):
        return jnp.concatenate([foreign.bind(x[:2], x[3:5]), x[:1]])

    with pytest.warns(UnknownPrimitiveWarning, match="'foreign'"):
        pattern = as_mask(jacobian_pattern(f, jnp.zeros(6)))
    expected = np.array([[1, 1, 0, 1, 1, 0], [1, 1, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(pattern, expected)


def test_an_unknown_primitive_on_coefficients_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f = lambda x: x * lax.stop_gradient(foreign.bind(x, x))  # noqa: E731
        assert jacobian_pattern(f, jnp.zeros(3)).nnz == 3


def test_a_callback_in_a_custom_rule_is_dense_with_a_warning() -> None:
    @jax.custom_jvp
    def f(x):
        return jnp.sin(x)

    shape = jax.ShapeDtypeStruct((3,), jnp.float64)
    f.defjvp(lambda p, t: (f(*p), jax.pure_callback(lambda v: np.asarray(v), shape, t[0])))
    with pytest.warns(UnknownPrimitiveWarning, match="pure_callback"):
        assert jacobian_pattern(f, jnp.zeros(3)).nnz == 9


def test_a_callback_on_coefficients_alone_is_not_run() -> None:
    def fail(_):
        raise AssertionError("detection must not run callbacks")

    @jax.custom_jvp
    def f(x):
        return x

    shape = jax.ShapeDtypeStruct((3,), jnp.float64)
    constant = jnp.ones(3)
    f.defjvp(lambda p, t: (p[0], jax.pure_callback(fail, shape, constant) * t[0]))
    assert jacobian_pattern(f, jnp.zeros(3)).nnz == 3


# --- contexts -------------------------------------------------------------------------------------


def seen_under(transform, theta):
    """The patterns found while `transform` traces a function of theta."""
    found = []

    def outer(theta):
        weights = theta * jnp.array([1.0, 0.0, 2.0])
        found.append(jacobian_pattern(lambda x: weights * x + x[jnp.array([1, 1, 0])], jnp.ones(3)))
        return jnp.sum(weights**2)

    transform(outer)(theta)
    return found


@pytest.mark.parametrize(
    "transform", [jax.jit, jax.grad, jax.vmap, lambda f: jax.jit(jax.vmap(jax.grad(f)))]
)
def test_closed_over_tracers_are_unknown_coefficients(transform) -> None:
    plain = lambda f: f  # noqa: E731
    theta = jnp.ones(2) if transform is jax.vmap or transform not in (jax.jit, jax.grad) else 1.5
    for pattern in seen_under(transform, theta):
        mask = as_mask(pattern)
        exact = as_mask(seen_under(plain, 1.5)[0])
        assert not np.any(exact & ~mask)
        assert pattern.shape == (3, 3)


def test_detection_leaves_no_equations_in_a_surrounding_program() -> None:
    def outer(theta):
        jacobian_pattern(lambda x: x[jnp.arange(3)[::-1]] * jnp.arange(3.0), np.ones(3))
        return theta * 2

    assert len(jax.make_jaxpr(outer)(1.0).eqns) == 1


def test_the_pattern_does_not_depend_on_the_point() -> None:
    f = lambda x: x * jnp.where(x > 0, x, jnp.roll(x, 1))  # noqa: E731
    points = [jnp.zeros(4), jnp.ones(4), -jnp.ones(4), jax.ShapeDtypeStruct((4,), jnp.float64)]
    assert len({jacobian_pattern(f, x) for x in points}) == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex128])
def test_other_input_types(dtype) -> None:
    assert jacobian_pattern(lambda x: x[1:] * x[:-1], jnp.zeros(4, dtype)).nnz == 6


def test_linear_call_uses_its_forward_function() -> None:
    def f(x):
        forward = lambda r, v: r * jnp.roll(v, 1)  # noqa: E731
        backward = lambda r, v: jnp.roll(r * v, -1)  # noqa: E731
        return jax.custom_derivatives.linear_call(forward, backward, jnp.arange(4.0), x)

    pattern = jacobian_pattern(f, jnp.zeros(4))
    assert list(zip(pattern.rows.tolist(), pattern.columns.tolist(), strict=True)) == [
        (1, 0),
        (2, 1),
        (3, 2),
    ]


# --- size -----------------------------------------------------------------------------------------


def test_shared_dense_rows_are_stored_once() -> None:
    n = 100_000

    def f(x):  # each row is dense, but only five of them are looked at
        return jax.nn.softmax(x)[np.array([1, 5, 9, 2, 7])]

    assert jacobian_pattern(f, jax.ShapeDtypeStruct((n,), jnp.float64)).nnz == 5 * n


def test_known_counts_of_large_problems() -> None:
    n = 100_000

    def tridiagonal(x):
        return 2 * x**2 - jnp.pad(x[1:], (0, 1)) - jnp.pad(x[:-1], (1, 0))

    x = jax.ShapeDtypeStruct((n,), jnp.float64)
    assert jacobian_pattern(tridiagonal, x).nnz == 3 * n - 2


def test_patterns_that_are_not_sparse_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(rows, "MOST_ENTRIES", 1000)
    with pytest.raises(PatternError, match="not sparse"):
        jacobian_pattern(jnp.cumsum, jnp.zeros(100))


# --- errors ---------------------------------------------------------------------------------------


def test_contract_failures_raise() -> None:
    with pytest.raises(ShapeError, match="x must be a vector"):
        jacobian_pattern(jnp.sin, jnp.zeros((2, 2)))
    with pytest.raises(ShapeError, match="must return a vector"):
        jacobian_pattern(lambda x: x[:, None], jnp.zeros(2))
    with pytest.raises(ShapeError, match="must return one array"):
        jacobian_pattern(lambda x: (x, x), jnp.zeros(2))
    with pytest.raises(ShapeError, match="must return a scalar"):
        hessian_pattern(jnp.sin, jnp.zeros(2))
    with pytest.raises(DtypeError, match="floating"):
        jacobian_pattern(lambda x: x, jnp.zeros(2, int))


# --- long scans -----------------------------------------------------------------------------------

LONG = 30_000


def test_a_long_map_is_diagonal() -> None:
    f = lambda x: lax.map(lambda u: jnp.sin(u) * u, x)  # noqa: E731
    pattern = jacobian_pattern(f, jnp.zeros(LONG))
    assert pattern.nnz == LONG
    np.testing.assert_array_equal(pattern.rows, pattern.columns)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_long_recurrence_of_short_memory_is_exact(reverse: bool) -> None:
    def f(x):
        def step(carry, u):
            return (carry[1], u), u * carry[0]

        return lax.scan(step, (x[0], x[1]), x[2:], reverse=reverse)[1]

    found = as_mask(jacobian_pattern(f, jnp.zeros(9)))
    long = jacobian_pattern(f, jnp.zeros(LONG))
    assert long.nnz == 2 * (LONG - 2)
    assert found.sum() == 2 * 7
    # The short one is run step by step, the long one all at once: they agree at both ends.
    end = long.rows < 5, long.rows >= LONG - 5
    assert [int(e.sum()) for e in end] == [10, 6]


def test_the_hessian_of_a_long_autoregression_is_tridiagonal() -> None:
    def f(x):
        def step(carry, u):
            previous, total = carry
            return (u, total + (u - 0.9 * jnp.sin(previous)) ** 2), None

        return lax.scan(step, (x[0], 0.0), x[1:])[0][1]

    assert hessian_pattern(f, jnp.zeros(LONG)).nnz == 2 * LONG - 1
