"""Derivatives of every solver, of both orders and in both modes, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax.implicit as ci
from tests import tolerances as tol

X = np.array([0.3, 0.5, 0.8])

# By solver and kind of equation: z(x), and the same in closed form.
CASES = {
    ("root", "affine"): (
        lambda x: ci.root(lambda z, x: 2 * z - x, jnp.zeros_like(x), x),
        lambda x: x / 2,
    ),
    ("root", "quadratic"): (
        lambda x: ci.root(lambda z, x: z * z - x, jnp.ones_like(x), x),
        jnp.sqrt,
    ),
    ("root", "partly affine"): (
        lambda x: ci.root(
            lambda z, x: jnp.stack([z[0] - x[0] * x[1], z[1] ** 2 - x[1], z[2] - x[2]]),
            jnp.ones_like(x),
            x,
        ),
        lambda x: jnp.stack([x[0] * x[1], jnp.sqrt(x[1]), x[2]]),
    ),
    ("root", "unused"): (
        lambda x: x * ci.root(lambda z, x: z**3 - 8.0, jnp.ones_like(x), x),
        lambda x: 2 * x,
    ),
    ("fixed_point", "affine"): (
        lambda x: ci.fixed_point(lambda z, x: 0.5 * z + x, jnp.zeros_like(x), x),
        lambda x: 2 * x,
    ),
    ("fixed_point", "quadratic"): (
        lambda x: ci.fixed_point(lambda z, x: 0.5 * (z + x / z), jnp.ones_like(x), x),
        jnp.sqrt,
    ),
    ("minimize", "affine"): (
        lambda x: ci.minimize(lambda z, x: jnp.sum(z * z - x * z), jnp.zeros_like(x), x),
        lambda x: x / 2,
    ),
    ("minimize", "quadratic"): (
        lambda x: ci.minimize(lambda z, x: jnp.sum(jnp.exp(z) - x * z), jnp.zeros_like(x), x),
        jnp.log,
    ),
    ("bisect", "affine"): (
        lambda x: ci.bisect(lambda z, x: 2 * z - x, jnp.zeros_like(x), 2.0, x),
        lambda x: x / 2,
    ),
    ("bisect", "quadratic"): (
        lambda x: ci.bisect(lambda z, x: z * z - x, jnp.zeros_like(x), 2.0, x),
        jnp.sqrt,
    ),
}
MODES = {
    "forward-forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "forward-reverse": lambda f: jax.jacfwd(jax.jacrev(f)),
    "reverse-forward": lambda f: jax.jacrev(jax.jacfwd(f)),
    "reverse-reverse": lambda f: jax.jacrev(jax.jacrev(f)),
}
PROGRAMS = {"plain": lambda f: f, "jit": jax.jit, "vmap": jax.vmap}


def check(case, mode, program):
    solve, exact = CASES[case]
    point = np.stack([X, X[::-1]]) if program == "vmap" else X
    got, want = (
        PROGRAMS[program](MODES[mode](lambda x, f=f: jnp.sum(jnp.sin(f(x)))))(point)
        for f in (solve, exact)
    )
    tol.assert_close(got, want, tol.gradient(jnp.float64))


@pytest.mark.parametrize(
    ("solver", "mode"),
    [
        ("root", "reverse-reverse"),
        ("fixed_point", "forward-reverse"),
        ("minimize", "forward-reverse"),
        ("bisect", "reverse-reverse"),
    ],
)
def test_affine_equations_have_second_derivatives_in_reverse_mode(solver, mode):
    check((solver, "affine"), mode, "jit")


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_second_derivatives_are_exact(case, mode, program):
    check(case, mode, program)


def check_all_modes(case, n):
    """The four compositions in one program, with 0 unknowns or 1."""
    solve, exact = CASES[case]

    def hessians(f):
        return [MODES[mode](lambda x: jnp.sum(jnp.sin(f(x)))) for mode in MODES]

    @jax.jit
    def everything(x):
        return [[h(x) for h in hessians(f)] for f in (solve, exact)]

    got, want = everything(jnp.asarray(X[:n]))
    for mode, one, other in zip(MODES, got, want, strict=True):
        assert one.shape == (n, n), mode
        tol.assert_close(one, other, tol.gradient(jnp.float64))


@pytest.mark.parametrize("solver", ["root", "fixed_point", "minimize", "bisect"])
def test_second_derivatives_with_nothing_to_solve(solver):
    check_all_modes((solver, "quadratic"), 0)


@pytest.mark.slow
@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("case", [c for c in CASES if c[1] != "partly affine"], ids=" ".join)
def test_second_derivatives_with_few_unknowns(case, n):
    check_all_modes(case, n)


def lane(a):
    z, status = ci.root(lambda z, a: z * z - a, jnp.ones(()), a, has_status=True)
    return jnp.where(status.converged, z, 0.0)


def test_a_discarded_lane_has_no_gradient_and_spoils_no_other():
    def shared(t, a):
        return jnp.sum(jax.vmap(lambda a: lane(a * t))(a))

    a = jnp.array([4.0, -1.0, 9.0])
    by_t, by_a = jax.jit(jax.grad(shared, (0, 1)))(1.0, a)
    np.testing.assert_allclose(by_t, 2.5, rtol=tol.gradient(jnp.float64))
    np.testing.assert_allclose(by_a, [0.25, 0.0, 1 / 6], rtol=tol.gradient(jnp.float64))
