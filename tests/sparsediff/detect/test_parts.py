"""The parts of the interpreter against JAX itself: folding, index maps, facts, unions of rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cholax._core import jax_compat
from cholax.sparsediff.detect import boxes, interpreter, reach, rows
from cholax.sparsediff.detect.values import UNBOUNDED, Coefficient, Known

RNG = np.random.default_rng(7)
INTEGERS = np.array([-7, -4, -1, 0, 3, 5, 8], np.int32)
DIVISORS = np.array([3, -3, 2, -2, -5, 4, 3], np.int32)


def folded(f, *args):
    """The value of f by our own folding, which must not need JAX."""
    jaxpr = jax.make_jaxpr(f)(*args)
    machine = interpreter.Interpreter()
    (result,) = machine.run_closed(jaxpr, [Known(np.asarray(a)) for a in args])
    assert isinstance(result, Known)
    return result.value


@pytest.mark.parametrize(
    "f",
    [
        lax.div,
        lax.rem,
        lambda a, b: a // b,
        lambda a, b: a % b,
        lambda a, b: jnp.where(a < b, a * b, a - b),
        lambda a, b: jnp.clip(a, -3, 4) + jnp.maximum(a, b) ** 2,
        lambda a, b: (a > 2) & (b <= 3) | ~(a == b),
        lambda a, b: a.astype(jnp.uint8).astype(float) / 2 + jnp.sign(b),
        lambda a, b: jnp.cumsum(a)[::-1] + jnp.flip(b),
        lambda a, b: lax.cumsum(a, reverse=True),
        lambda a, b: jnp.max(a.reshape(7, 1) * b, axis=0) + jnp.sum(a),
        lambda a, b: jnp.pad(a, (2, 0))[:7] + lax.pad(b, jnp.int32(9), [(-1, 1, 0)]),
        lambda a, b: lax.pad(a, jnp.int32(1), [(3, -2, 2)])[:7],
        lambda a, b: jnp.zeros(7, jnp.int32).at[jnp.abs(a) % 7].add(b),
        lambda a, b: jnp.zeros(7, jnp.int32).at[jnp.array([1, 1, 9, -1])].set(b[:4], mode="drop"),
        lambda a, b: a[jnp.abs(b)] + a.at[b * 5].get(mode="clip"),
        lambda a, b: lax.dynamic_slice(a, (b[0] + 2,), (4,)),
        lambda a, b: lax.dynamic_update_slice(a, b[:3], (a[6],)),
        lambda a, b: jnp.stack([a, b]).T.ravel()[3:10],
        lambda a, b: lax.select_n(jnp.array([0, 1, 2, 0, 1, 2, 0]), a, b, a * 0),
    ],
)
def test_folding_agrees_with_jax(f) -> None:
    expected = np.asarray(jax.jit(f)(INTEGERS, DIVISORS))
    got = folded(f, INTEGERS, DIVISORS)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def random_gather(rng):
    """Operand shape, indices and numbers of a gather with batching dimensions and windows."""
    shape = tuple(rng.integers(2, 5, 3).tolist())
    batching = int(rng.integers(0, 2))
    collapsed = [d for d in range(batching, 3) if rng.random() < 0.5]
    start_map = rng.permutation(np.arange(batching, 3))[: rng.integers(1, 4 - batching)].tolist()
    sizes = [
        1 if d in collapsed or d < batching else int(rng.integers(1, s + 1))
        for d, s in enumerate(shape)
    ]
    batch = [shape[0]] * batching + rng.integers(1, 4, rng.integers(0, 2)).tolist()
    windows = 3 - len(collapsed) - batching
    offset = sorted(rng.permutation(len(batch) + windows)[:windows].tolist())
    numbers = lax.GatherDimensionNumbers(
        tuple(offset), tuple(collapsed), tuple(start_map), tuple(range(batching)),
        tuple(range(batching)),
    )  # fmt: skip
    indices = rng.integers(-2, 6, (*batch, len(start_map)))
    return shape, indices, numbers, sizes


@pytest.mark.parametrize("mode", ["clip", "fill"])
@pytest.mark.parametrize("seed", range(12))
def test_gather_positions_agree_with_jax(seed: int, mode: str) -> None:
    shape, indices, numbers, sizes = random_gather(np.random.default_rng(seed))
    size = int(np.prod(shape))
    positions = np.arange(size).reshape(shape)
    gather = lambda x, i: lax.gather(x, i, numbers, sizes, mode=mode, fill_value=-1)  # noqa: E731
    expected = np.asarray(gather(jnp.asarray(positions), jnp.asarray(indices)))
    made = boxes.window_boxes(
        shape,
        expected.shape,
        Known(indices).bounds,
        boxes.gather_numbers(numbers),
        drops=mode == "fill",
    )
    np.testing.assert_array_equal(made.positions, expected)


def test_uncertain_gather_holds_every_position_it_may_read() -> None:
    low, high = np.array([[0], [2], [-3]]), np.array([[1], [2], [9]])
    numbers = lax.GatherDimensionNumbers((), (0,), (0,))
    made = boxes.window_boxes((5,), (3,), (low, high), boxes.gather_numbers(numbers), drops=False)
    found = rows.to_base(boxes.read(rows.identity((5,)), made))
    lists = np.split(found.indices, found.indptr[1:-1])
    assert [x.tolist() for x in lists] == [[0, 1], [2], [0, 1, 2, 3, 4]]


# --- bounds of unknown integers -------------------------------------------------------------------

LOW, HIGH = np.array([-3, 0, 2, -UNBOUNDED, 4]), np.array([2, 0, 7, UNBOUNDED, 4])


@pytest.mark.parametrize(
    "f",
    [
        lambda a: a + 3,
        lambda a: 2 - a,
        lambda a: a * jnp.array([2, -1, -3, 2, 5]),
        lambda a: -a,
        lambda a: jnp.abs(a),
        lambda a: jnp.sign(a),
        lambda a: lax.div(a, jnp.int64(3)),
        lambda a: lax.rem(a, jnp.int64(3)),
        lambda a: a % 4,
        lambda a: a // 2,
        lambda a: jnp.clip(a, -1, 3),
        lambda a: jnp.where(a < 0, a + 5, a),
        lambda a: jnp.maximum(a, a[::-1]),
        lambda a: (a > 1).astype(int) + (a == 4) + (a != 0),
        lambda a: jnp.sort(a),
        lambda a: jnp.max(a[:3]) + jnp.sum(a[:3]) + jnp.argmax(a) + a * 0,
        lambda a: jnp.logical_not((a >= 1) & (a < 3) | (a == 7)).astype(int),
        lambda a: a.astype(jnp.int8).astype(int),
        lambda a: jnp.concatenate([a[2:], a[:1] * a[1:2]])[jnp.clip(a, 0, 3)],
    ],
)
def test_bounds_hold_every_value(f) -> None:
    jaxpr = jax.make_jaxpr(f)(LOW)
    (result,) = interpreter.Interpreter().run_closed(jaxpr, [Coefficient((5,), None, (LOW, HIGH))])
    if isinstance(result, Known) or result.bounds is None:
        return
    low, high = (np.broadcast_to(b, (result.shape)) for b in result.bounds)
    low = np.where(low <= -UNBOUNDED, np.iinfo(np.int64).min, low)
    high = np.where(high >= UNBOUNDED, np.iinfo(np.int64).max, high)
    run = jax.jit(f)
    wide = np.clip(LOW, -(10**12), 10**12), np.clip(HIGH, -(10**12), 10**12)
    for draw in range(60):
        sample = np.random.default_rng(draw).integers(wide[0], wide[1] + 1)
        value = np.asarray(run(sample))
        assert np.all((low <= value) & (value <= high)), (sample, value)


# --- rows -----------------------------------------------------------------------------------------


def random_rows(rng, size: int, columns: int) -> tuple[rows.Rows, np.ndarray]:
    mask = rng.random((size, columns)) < 0.3
    at, column = np.nonzero(mask)
    counts = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=size))])
    return rows.of_base(rows.Base(counts, column.astype(np.int32)), (size,)), mask


def mask_of(found: rows.Rows, columns: int) -> np.ndarray:
    mask = np.zeros((found.size, columns), bool)
    at, column = rows.split_keys(rows.entries(found))
    mask[at, column] = True
    return mask


def test_unions_and_linear_maps_of_rows_are_those_of_boolean_matrices() -> None:
    parts = [random_rows(RNG, 6, 9) for _ in range(30)]
    total = rows.union_many(p for p, _ in parts)
    assert len(total.terms) <= rows.MOST_TERMS
    expected = np.any([m for _, m in parts], axis=0)
    np.testing.assert_array_equal(mask_of(total, 9), expected)
    out, source = RNG.integers(0, 4, 12), RNG.integers(0, 6, 12)
    mapped = rows.apply_pairs(total, out, source, (4,))
    product = np.zeros((4, 6), bool)
    product[out, source] = True
    np.testing.assert_array_equal(mask_of(mapped, 9), product @ expected)


def test_nearly_dense_unions_take_the_marking_path(monkeypatch) -> None:
    parts = [random_rows(RNG, 6, 9) for _ in range(20)]
    plain = mask_of(rows.union_many(p for p, _ in parts), 9)
    monkeypatch.setattr(rows, "FEW_KEYS", 0)
    np.testing.assert_array_equal(mask_of(rows.union_many(p for p, _ in parts), 9), plain)


@pytest.mark.parametrize("seed", range(4))
def test_closure_is_the_power_series_of_the_matrix(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((9, 9)) < 0.15
    links = reach.closure(9, *np.nonzero(mask))
    spread = mask_of(reach.spread(rows.identity((9,)), links), 9)
    expected = np.linalg.matrix_power(mask.astype(int) + np.eye(9, dtype=int), 9) > 0
    np.testing.assert_array_equal(spread, expected)


def test_closure_of_many_components_falls_back_to_weak_ones(monkeypatch) -> None:
    monkeypatch.setattr(reach, "MOST_COMPONENTS", 2)
    links = reach.closure(5, np.array([0, 1, 3]), np.array([1, 2, 4]))
    spread = mask_of(reach.spread(rows.identity((5,)), links), 5)
    np.testing.assert_array_equal(spread, np.kron(np.eye(2), np.ones((3, 3)))[:5, :5] > 0)


# --- what we rely on in jaxprs --------------------------------------------------------------------


def test_dead_code_goes_and_inputs_stay() -> None:
    closed = jax.make_jaxpr(lambda x, y: (jnp.sin(x) * 2, y + 1))(1.0, 2.0)
    jaxpr, consts = jax_compat.eliminate_dead_code(closed, [False, True])
    assert [e.primitive.name for e in jaxpr.eqns] == ["add"]
    assert (len(jaxpr.invars), len(consts)) == (2, 0)


def test_scans_tell_constants_from_carried_values() -> None:
    shift = lambda x: lax.scan(lambda c, u: ((c[0] + x[0], u), u), (0.0, 1.0), x)  # noqa: E731
    (scan,) = [e for e in jax.make_jaxpr(shift)(jnp.ones(3)).eqns if e.primitive.name == "scan"]
    assert jax_compat.scan_layout(scan.params)[1] == 2


def test_linearised_custom_rules_keep_their_backward_function() -> None:
    @jax.custom_vjp
    def f(x):
        return 2 * x

    f.defvjp(lambda x: (2 * x, x), lambda r, ct: (ct * r,))
    closed = jax.make_jaxpr(lambda x, t: jax.jvp(f, (x,), (t,))[1])(jnp.ones(2), jnp.ones(2))
    (eqn,) = [e for e in closed.eqns if e.primitive.name == "custom_lin"]
    (ct,) = jax_compat.custom_backward(eqn.params, [jnp.array([3.0, 4.0])], [jnp.ones(2)])
    np.testing.assert_array_equal(ct, [3.0, 4.0])


def test_sparse_products_have_implementations() -> None:
    for name in ("bcoo_dot_general", "bcsr_dot_general", "bcoo_todense", "bcoo_extract"):
        assert callable(jax_compat.sparse_implementation(name))
