"""Sparse Newton steps and adjoints in optimistix and diffrax, against their dense defaults."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
from cholax.testing import count_kernel_calls
from tests import tolerances as tol

optx = pytest.importorskip("optimistix")
lx = pytest.importorskip("lineax")

from cholax.integrations.lineax import LU, Cholesky  # noqa: E402
from cholax.integrations.optimistix import SparseNewton  # noqa: E402

# Everything runs once: compiling less thoroughly saves half of the time.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

M = 3
X0 = jnp.linspace(0.1, 0.3, M * M)


def bratu(u, args):
    """−Δu − λ eᵘ + p u_x on M² interior points of the unit square, unsymmetric unless p = 0."""
    lam, p = args
    h = 1 / (M + 1)
    v = jnp.pad(u.reshape(M, M), 1)
    laplacian = 4 * v[1:-1, 1:-1] - v[2:, 1:-1] - v[:-2, 1:-1] - v[1:-1, 2:] - v[1:-1, :-2]
    slope = (v[1:-1, 2:] - v[1:-1, :-2]) * h / 2
    return (laplacian + p * slope - h**2 * lam * jnp.exp(v[1:-1, 1:-1])).ravel()


def sparse(**options):
    return SparseNewton(1e-10, 1e-10, **options)


def root(args, solver, adjoint, **options):
    return optx.root_find(bratu, solver, X0, args, adjoint=adjoint, **options).value


def sparse_root(args):
    solver = sparse()
    return root(args, solver, solver.adjoint())


def dense_root(args):
    solver = optx.Newton(1e-10, 1e-10, linear_solver=lx.LU())
    return root(args, solver, optx.ImplicitAdjoint(linear_solver=lx.LU()))


ARGS = (5.0, 3.0)


def close(got, want):
    tol.assert_all_close(jax.tree.leaves(got), jax.tree.leaves(want), tol.gradient(np.float64))


def loss(f):
    return lambda args: jnp.sum(f(args) ** 2)


def test_root_is_that_of_the_dense_solver():
    close(quick(sparse_root)(ARGS), quick(dense_root)(ARGS))


@pytest.mark.parametrize("mode", [jax.grad, lambda f: jax.jacfwd(jax.grad(f))])
def test_implicit_derivatives_are_those_of_the_dense_solver(mode):
    close(quick(mode(loss(sparse_root)))(ARGS), quick(mode(loss(dense_root)))(ARGS))


@pytest.mark.slow
def test_vmap_over_parameters():
    many = jnp.array([1.0, 3.0, 5.0]), jnp.array([0.0, 1.0, 2.0])
    got = quick(jax.vmap(jax.grad(loss(sparse_root))))(many)
    close(got, jax.vmap(jax.grad(loss(dense_root)))(many))


def test_adjoint_makes_one_sparse_factorisation_beyond_newtons():
    run = quick(jax.value_and_grad(loss(sparse_root)))
    value = quick(loss(sparse_root))
    jax.block_until_ready((run(ARGS), value(ARGS)))
    with count_kernel_calls() as forward:
        jax.block_until_ready(value(ARGS))
    with count_kernel_calls() as both:
        jax.block_until_ready(run(ARGS))
    assert both["lu_factor"] == forward["lu_factor"] + 1


@pytest.mark.slow
def test_cholesky_steps_where_the_jacobian_is_tagged_definite():
    solver = sparse(linear_solver=Cholesky())
    tags = frozenset({lx.positive_semidefinite_tag})

    def run(lam):
        return root((lam, 0.0), solver, solver.adjoint(), tags=tags)

    with count_kernel_calls() as calls:
        got = jax.block_until_ready(quick(run)(5.0))
    assert calls["cholesky"] > 2
    assert calls["lu_factor"] == 0
    close(got, quick(dense_root)((5.0, 0.0)))
    slope = quick(jax.grad(lambda x: jnp.sum(run(x) ** 2)))(5.0)
    close(slope, quick(jax.grad(lambda x: jnp.sum(dense_root((x, 0.0)) ** 2)))(5.0))


@pytest.mark.slow
def test_given_sparsity_replaces_detection():
    pattern = cx.from_dense(jax.jacfwd(bratu)(X0, ARGS)).pattern
    solver = sparse(sparsity=pattern)
    close(root(ARGS, solver, solver.adjoint()), dense_root(ARGS))


def test_singular_jacobian_is_reported():
    solver = sparse()
    solution = optx.root_find(
        lambda y, _: y**2 + 1, solver, jnp.zeros(3), adjoint=solver.adjoint(), throw=False
    )
    assert solution.result != optx.RESULTS.successful
    with pytest.raises(RuntimeError, match="singular"):
        optx.root_find(lambda y, _: y**2 + 1, solver, jnp.zeros(3), adjoint=solver.adjoint())


def diffrax_end(make_solver, theta):
    import diffrax

    def field(t, y, args):
        return -bratu(y, (args, 3.0)) * 40.0

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        make_solver(diffrax),
        t0=0.0,
        t1=0.2,
        dt0=0.05,
        y0=X0,
        args=theta,
        stepsize_controller=diffrax.PIDController(rtol=1e-4, atol=1e-4),
        max_steps=256,
    )
    return solution.ys[-1]


def kvaerno3(make_root_finder):
    return lambda d: d.Kvaerno3(root_finder=make_root_finder(d))


# Sparse and dense: the same steps up to rounding.
SOLVERS = {
    "newton": (
        kvaerno3(lambda d: d.with_stepsize_controller_tols(SparseNewton)()),
        kvaerno3(lambda d: d.with_stepsize_controller_tols(optx.Newton)()),
    ),
    "chord": (
        kvaerno3(lambda d: d.with_stepsize_controller_tols(d.VeryChord)(linear_solver=LU())),
        kvaerno3(lambda d: d.with_stepsize_controller_tols(d.VeryChord)()),
    ),
}
# Rounding passes through accepted steps of tolerance 1e-4.
DIFFRAX = 1e-7


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
def test_diffrax_takes_sparse_steps(name):
    pytest.importorskip("diffrax")
    sparse_steps, dense_steps = SOLVERS[name]

    def run(theta, make):
        return quick(jax.value_and_grad(lambda x: jnp.sum(diffrax_end(make, x) ** 2)))(theta)

    with count_kernel_calls() as calls:
        value, gradient = jax.block_until_ready(run(5.0, sparse_steps))
    assert calls["lu_factor"] > 2
    expected = run(5.0, dense_steps)
    tol.assert_close(value, expected[0], DIFFRAX)
    tol.assert_close(gradient, expected[1], DIFFRAX)
