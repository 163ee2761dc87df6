"""NaN in large problems is seen: maxima of some CPU backends drop it from 4 096 entries on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax.implicit import fixed_point, minimize, root, status

SIZES = [5000, pytest.param(60_000, marks=pytest.mark.slow)]
DTYPES = [np.float64, pytest.param(np.float32, marks=pytest.mark.slow)]


def one_outside(n, dtype):
    """Parameters of √(1 + z) = t; the entry in the middle sends z where the root is NaN."""
    return jnp.full(n, 2.0, dtype).at[n // 2].set(0.05)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("damping", ["auto", "none"])
def test_root_with_one_entry_out_of_the_domain_has_not_converged(n, dtype, damping):
    def F(z, t):
        return jnp.sqrt(1 + z) - t

    def solve(t):
        z0 = jnp.full(n, 3.0, dtype)
        return root(F, z0, t, damping=damping, has_status=True)

    z, report = jax.jit(jax.vmap(solve))(
        jnp.stack([one_outside(n, dtype), jnp.full(n, 2.0, dtype)])
    )
    assert bool(report.converged[1])
    assert not np.isnan(z[1]).any()
    if damping == "none":
        assert not report.converged[0]
    assert bool(report.converged[0]) == (not np.isnan(z[0]).any())
    assert bool(report.converged[0]) == bool(
        np.isfinite(report.residual[0]) & (report.code[0] == 0)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("method", ["plain", "anderson"])
@pytest.mark.parametrize("spoiled", ["one", "all"])
def test_fixed_point_of_a_map_with_nan_is_not_finite(n, dtype, method, spoiled):
    where = np.arange(n) == n // 2 if spoiled == "one" else np.ones(n, bool)

    def f(z):
        return jnp.where(where, jnp.nan, z / 2 + 1)

    z, report = fixed_point(f, jnp.zeros(n, dtype), method=method, has_status=True)
    assert int(report.code) == status.NOT_FINITE
    assert np.isnan(z).all()
    assert np.isnan(report.residual)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_minimum_of_a_function_with_nan_in_its_gradient_is_not_finite(n, dtype):
    """√ at zero has a finite value and, multiplied by zero, a NaN for a slope."""

    def f(z):
        inner = 0 * (z - 1)
        spoiled = jnp.where(np.arange(n) == n // 2, jnp.sqrt(inner), 0.0)
        return jnp.sum((z - 2) ** 2) + jnp.sum(spoiled)

    z, report = minimize(f, jnp.ones(n, dtype), has_status=True)
    assert not report.converged
    assert int(report.code) == status.NOT_FINITE
    assert np.isnan(z).all()
