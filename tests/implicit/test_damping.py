"""Globalisation of Newton's method: full steps where damped ones stall, honest ends elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax.errors import ArgumentError
from cholax.implicit import fixed_point, root, status
from tests.tolerances import assert_close, value


def growth(nk, nz, dtype=np.float64):
    """Stationary Hamilton-Jacobi-Bellman equation of growth with diffusing productivity.

    ρv = u(c) + v_k s + μ v_z + σ²/2 v_zz with s = z k^α − δk − c, u' = c⁻², upwind: the forward
    difference where it makes capital rise, the backward one where that makes it fall.
    """
    alpha, delta, rho = 0.3, 0.05, 0.05
    steady = (alpha / (rho + delta)) ** (1 / (1 - alpha))
    k, z = np.linspace(0.3, 2.0, nk) * steady, np.linspace(0.8, 1.2, nz)
    dk, dz, mu = k[1] - k[0], z[1] - z[0], 0.1 * (1 - z)
    income = jnp.asarray(z * k[:, None] ** alpha - delta * k[:, None], dtype)
    start = jnp.asarray(-1 / (z * k[:, None] ** alpha) / rho, dtype)

    def F(v):
        v = v.reshape(nk, nz)
        slope = (v[1:] - v[:-1]) / dk
        ahead = jnp.concatenate([slope, income[-1:] ** -2.0])
        behind = jnp.concatenate([income[:1] ** -2.0, slope])
        c_ahead, c_behind = (jnp.maximum(p, 1e-10) ** -0.5 for p in (ahead, behind))
        rises, falls = c_ahead < income, c_behind > income
        c = jnp.where(rises, c_ahead, jnp.where(falls, c_behind, income))
        drift = jnp.where(
            rises, (income - c_ahead) * ahead, jnp.where(falls, (income - c_behind) * behind, 0)
        )
        across = jnp.pad((v[:, 1:] - v[:, :-1]) / dz, ((0, 0), (1, 1)))
        up, down = across[:, 1:], across[:, :-1]
        wander = jnp.where(mu > 0, mu * up, mu * down) + 0.005 * (up - down) / dz
        return (rho * v + 1 / c - drift - wander).ravel().astype(dtype)

    return F, start.ravel()


def test_policy_iteration_that_monotone_damping_stalls_converges():
    """An upwind scheme's policy jumps, and the residual with it: no short step may pass."""
    F, start = growth(200, 4)

    @jax.jit
    def solve(start):
        return root(F, start, has_status=True)

    v, report = solve(start)
    assert bool(report.converged)
    assert int(report.iterations) <= 20  # plain Newton: 6
    assert_close(F(v), np.zeros(v.size), value(np.float64))
    scaled, second = solve(1.3 * start)
    assert int(second.iterations) <= 25  # plain Newton: 7
    assert_close(scaled, v, value(np.float64))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plain_newton_is_there_to_choose_and_the_monotone_one_says_that_it_stalls(dtype):
    F, start = growth(200, 4, dtype)
    v, plain = root(F, start, damping="none", has_status=True)
    assert bool(plain.converged)
    # Six lead there; an upwind scheme is not smooth at a switch, so that the last correction fits
    # no Jacobian, and full steps prove rounding by staying there for some more.
    assert int(plain.iterations) <= 6 + 4
    _, stalled = root(F, start, damping="monotone", has_status=True)
    assert int(stalled.code) == status.NO_PROGRESS
    assert "more will not help" in stalled.reason()
    assert "max_iterations" not in stalled.reason()
    assert v.dtype == dtype


# Forty thousand points: capital × productivity, multiple of the start, steps of plain Newton.
PLANES = [(10_000, 4, 1.0, 20), (10_000, 4, 1.3, 20), (2_000, 20, 3.0, 21), (400, 100, 5.0, 18)]


@pytest.mark.slow
@pytest.mark.parametrize(("nk", "nz", "scale", "newton"), PLANES)
def test_policy_iteration_converges_on_planes_of_forty_thousand_points(nk, nz, scale, newton):
    F, start = growth(nk, nz)
    _, plain = jax.jit(lambda s: root(F, s, damping="none", has_status=True))(scale * start)
    v, report = jax.jit(lambda s: root(F, s, has_status=True))(scale * start)
    assert int(plain.iterations) <= newton + 2
    assert bool(report.converged)
    assert int(report.iterations) <= 4 * newton
    assert_close(F(v), np.zeros(v.size), 10 * value(np.float64))


# Newton's method runs in circles: (F, start).
CIRCLES = {
    "cubic": (lambda z: z**3 - 2 * z + 2, 0.0),  # 0, 1, 0, 1, ...
    "root": (lambda z: jnp.sign(z) * jnp.sqrt(jnp.abs(z)), 1.0),  # 1, -1, 1, -1, ...
    "nothing": (lambda z: z * z + 1, 2.0),  # no root: no circle, no rest
}


def test_running_in_circles_is_reported_and_more_steps_are_not_advised():
    starts = jnp.array([start for _, start in CIRCLES.values()])

    def F(z, k):
        return jax.lax.switch(k, [f for f, _ in CIRCLES.values()], z)

    def ends(damping):
        solve = jax.vmap(lambda z, k: root(F, z, k, damping=damping, has_status=True))
        return jax.jit(solve)(starts, jnp.arange(len(CIRCLES)))

    z, plain = ends("none")
    assert not plain.converged.any()
    assert np.isnan(z).all()
    assert (plain.code == status.NO_PROGRESS).all()
    z, auto = ends("auto")
    # The cubic has a root that a trial may find, and damping brings the second one to its root.
    assert auto.converged[0]
    assert auto.code[2] in (status.NO_PROGRESS, status.SINGULAR)
    assert np.isnan(z[2])


def test_steps_that_run_out_on_the_way_are_advised():
    _, report = root(lambda z: jnp.exp(z) - 1e4, 0.0, max_iterations=4, has_status=True)
    assert int(report.code) == status.MAX_ITERATIONS
    assert "raise max_iterations" in report.reason()


def test_plain_newton_that_leaves_the_domain_says_so_where_damping_stays_inside():
    def F(z):
        return jnp.log(z) - 1.0

    _, plain = root(F, 10.0, damping="none", has_status=True)
    assert int(plain.code) == status.NOT_FINITE
    for damping in ("auto", "monotone"):
        assert_close(root(F, 10.0, damping=damping), np.e, value(np.float64))


@pytest.mark.parametrize("n", [4, pytest.param(300, marks=pytest.mark.slow)])
def test_semismooth_equations_converge_to_their_solution(n):
    """An obstacle below a string, max(Az − b, z − c) = 0, and Az − |z| = b, in two lanes each."""
    x = jnp.linspace(0.0, 1.0, n)

    def string(z):
        left, right = jnp.append(0.0, z[:-1]), jnp.append(z[1:], 0.0)
        return (2 * z - left - right) * (n + 1)

    def obstacle(z, height):
        return jnp.maximum(string(z) - 8.0 / (n + 1), z - height - 0.2 * jnp.sin(9 * x))

    def absolute(z, height):
        return 4 * z - jnp.roll(z, 1) - jnp.abs(z) - height * jnp.cos(40 * x)

    for F in (obstacle, absolute):
        heights = jnp.array([0.3, 0.6])
        solve = jax.jit(jax.vmap(lambda h, F=F: root(F, -3 * jnp.ones(n), h, has_status=True)))
        z, report = solve(heights)
        assert report.converged.all()
        for row, height in zip(z, heights, strict=True):
            assert_close(F(row, height), np.zeros(n), 10 * value(np.float64))


def test_damping_is_checked_everywhere():
    with pytest.raises(ArgumentError, match='root: damping must be "auto"'):
        root(lambda z: z, 0.0, damping="full")
    with pytest.raises(ArgumentError, match="fixed_point: damping"):
        fixed_point(lambda z: z / 2, 1.0, damping=None)
    assert_close(
        fixed_point(lambda z: jnp.cos(z), 1.0, method="newton", damping="none"),
        0.7390851332151607,
        value(np.float64),
    )


def test_a_map_that_flips_gains_nothing_from_more_steps():
    _, report = fixed_point(
        lambda z: 1.0 - z, 0.2, method="plain", max_iterations=60, has_status=True
    )
    assert int(report.code) == status.NO_PROGRESS
