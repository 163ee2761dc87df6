"""One factor serves the solution and all its derivatives: kernel calls are counted."""

import jax
import jax.numpy as jnp
import pytest
import scipy.sparse as sp

import cholax as cx
from cholax.implicit import minimize, root
from tests.implicit.systems import chain

N = 40


def factorisations(function, *args):
    """Calls of the factoring kernels in one run, after the compiling one, and the result."""
    jax.block_until_ready(function(*args))
    with cx.testing.count_kernel_calls() as calls:
        out = jax.block_until_ready(function(*args))
    return {k: calls[k] for k in ("cholesky", "lu_factor") if calls[k]}, out


@pytest.mark.parametrize(
    ("couplings", "kernel"), [((-0.7, -0.7), "cholesky"), ((-0.9, 0.4), "lu_factor")]
)
def test_derivatives_of_a_root_factor_nothing(couplings, kernel):
    """Every step of the iteration factors once, by the kernel that fits the values, and no more:
    value, gradient and Hessian-vector product count the same."""
    F, pattern, theta = chain(N, couplings)

    def solve(theta):
        z, status = root(F, jnp.zeros(N), theta, sparsity=pattern, has_status=True)
        return jnp.sum(z**3), status.iterations

    slope = jax.value_and_grad(solve, has_aux=True)
    second = jax.jit(lambda t: jax.jvp(slope, (t,), (t,)))
    counted, (((_, steps), _), _) = factorisations(second, theta)
    assert counted == {kernel: int(steps)}
    assert int(steps) >= 2


def test_nonsymmetric_values_on_a_symmetric_pattern_never_meet_cholesky():
    F, pattern, theta = chain(N, (-0.9, 0.4))
    z, status = root(
        F, jnp.zeros(N), theta, sparsity=pattern, linear_solver="cholesky", has_status=True
    )
    assert not status.converged
    assert bool(jnp.all(jnp.isnan(z)))


@pytest.mark.slow
def test_gradient_of_a_minimum_factors_nothing():
    F, _, theta = chain(N, (-0.7, -0.7))
    bands = sp.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(N, N)).tocsc()

    def f(z, theta):
        # The chain is the gradient of this.
        diagonal = (2.5 + theta[0]) * z**2 / 2 + 0.3 * z**4 / 4 - theta[1:] * z
        return jnp.sum(diagonal) - 0.7 * jnp.sum(z[1:] * z[:-1])

    def solve(theta):
        z, status = minimize(
            f,
            jnp.zeros(N),
            theta,
            sparsity=bands,
            has_status=True,
        )
        return jnp.sum(z**3), (z, status)

    run = jax.jit(jax.value_and_grad(solve, has_aux=True))
    counted, ((_, (z, status)), _) = factorisations(run, theta)
    assert counted == {"cholesky": int(status.iterations)}
    assert float(jnp.max(jnp.abs(F(z, theta)))) < 1e-12
