"""A pattern that misses an entry never gives a wrong derivative: it raises or gives NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax.errors import SparsityError
from cholax.sparsediff import verify
from cholax.sparsediff._hessian import hessian
from cholax.sparsediff._jacobian import jacobian
from tests import tolerances as tol
from tests.sparsediff import problems

TRUE = np.array(jax.jacobian(problems.edges)(problems.point(7))) != 0


def without(i: int, j: int) -> np.ndarray:
    mask = TRUE.copy()
    assert mask[i, j]
    mask[i, j] = False
    return mask


@pytest.mark.parametrize("mode", ["forward", pytest.param("bidirectional", marks=pytest.mark.slow)])
@pytest.mark.parametrize("entry", [(3, 0), (2, 6), (4, 4)])
def test_a_missing_entry_is_named(mode, entry):
    J = jacobian(problems.edges, mode=mode, sparsity=without(*entry))
    with pytest.raises(SparsityError, match=rf"\({entry[0]}, {entry[1]}\)"):
        J(problems.point(7))


def test_a_missing_entry_is_found_from_the_side_of_columns():
    J = jacobian(problems.edges, mode="reverse", sparsity=without(2, 6))
    with pytest.raises(SparsityError, match="column 6"):
        J(problems.point(7))


def test_a_missing_entry_of_a_hessian_is_named():
    mask = np.eye(6) + np.eye(6, k=1) + np.eye(6, k=-1)
    mask[4, 3] = mask[3, 4] = 0
    with pytest.raises(SparsityError, match=r"hessian.*\((3, 4|4, 3)\)"):
        hessian(problems.chain, sparsity=mask)(problems.point(6))


def test_a_tiny_missing_entry_beside_a_large_one_is_found():
    def f(x):
        return 1e3 * x + 1e-1 * x[::-1] ** 2

    with pytest.raises(SparsityError, match="not in it"):
        jacobian(f, sparsity=np.eye(4))(problems.point(4))


def test_traced_calls_give_nan_instead():
    J = jacobian(problems.edges, sparsity=without(3, 0))
    x = problems.point(7)
    assert np.isnan(jax.jit(J)(x).values).all()
    assert np.isnan(jax.vmap(lambda x: J(x).values)(x[None])).all()
    assert np.isnan(jax.jvp(lambda x: J(x).values, (x,), (x,))[0]).all()


def test_nan_is_per_member_of_a_batch():
    # The second entry of the row vanishes where x[1] = 0: there the pattern suffices.
    J = jacobian(lambda x: x[:1] ** 2 + x[1:] ** 2, sparsity=np.array([[1, 0]]))
    values = jax.vmap(lambda x: J(x).values)(jnp.array([[1.0, 0.0], [1.0, 2.0]]))
    assert np.isnan(values).tolist() == [[False], [True]]


def test_traced_calls_with_a_right_pattern_keep_their_values_and_derivatives():
    x = problems.point(7)
    J = jacobian(problems.edges, sparsity=TRUE)
    dense = jax.jacobian(problems.edges)
    tol.assert_close(jax.jit(J)(x).to_dense(), dense(x), tol.value(x.dtype))
    got = jax.jit(jax.grad(lambda x: jnp.sum(J(x).to_dense() ** 3)))(x)
    tol.assert_close(got, jax.grad(lambda x: jnp.sum(dense(x) ** 3))(x), tol.gradient(x.dtype))


def test_verification_can_be_switched_off():
    A = jacobian(problems.edges, sparsity=without(3, 0), verify=False)(problems.point(7))
    assert np.isfinite(A.values).all()


def test_a_verified_pattern_costs_traced_calls_nothing():
    x = problems.point(7)
    J = jacobian(problems.edges)
    size = lambda: len(jax.make_jaxpr(lambda x: J(x).values)(x).eqns)  # noqa: E731
    before = size()
    J(x)
    assert size() < before


def test_rounding_is_no_missing_entry():
    # Differences of numbers 10⁹ times larger: 7 digits of each row are lost, in both products.
    def f(x):
        return (x * 1e9 + x[::-1]) - x * 1e9 + x**2

    A = jacobian(f)(problems.point(5))
    assert np.isfinite(A.values).all()


def test_points_without_a_finite_derivative_are_not_compared():
    x = problems.point(4).at[2].set(0.0)
    A = jacobian(lambda x: jnp.log(x[1:] ** 2) * x[0])(x)
    assert not np.isfinite(A.values).all()
    with pytest.raises(SparsityError):
        jacobian(lambda x: jnp.log(x[1:] ** 2) * x[0], sparsity=np.eye(3, 4, 1))(x)


def test_probe_has_no_zeros_and_looks_random():
    for dtype in (np.float32, np.float64):
        v = np.asarray(verify.probe(10_000, dtype))
        assert v.dtype == dtype
        assert np.abs(v).min() >= 0.5
        assert np.abs(v).max() <= 1.5
        assert abs(v.mean()) < 0.05
        assert abs((v[1:] * v[:-1]).mean()) < 0.05
