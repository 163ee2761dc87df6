"""Full Newton steps on trial where damped ones hardly move: the watchdog technique.

A monotone test refuses the steps that lead to the solution where the residual jumps: the policy of
an upwind scheme switches, max|F| grows, and the damped steps that pass shrink to nothing; plain
Newton, there policy iteration, needs two dozen steps. So after a few damped steps full ones are
tried. A trial goes on while it makes progress, d being its corrections, −J⁻¹F at every iterate:

* they shrink, ‖d_k‖ ≤ 0.9 ‖d_j‖ for all j < k; or
* the iterates are monotone: the entries of d_k all have one sign, that of d_{k−1}. So it is on
  convex equations and in policy iteration; and what is monotone does not cycle.

A few steps without progress end the trial: the iteration goes back to where the corrections were
half as long as at the last such place, else to the beginning, and waits longer before the next.

Reference:
    Chamberlain, Powell, Lemaréchal & Pedersen, The watchdog technique for forcing convergence in
    algorithms for constrained optimization (1982); Ortega & Rheinboldt, *Iterative Solution of
    Nonlinear Equations* (1970), section 13.3: monotone Newton iterates.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from cholax._core.norms import max_norm

# Damped steps before the first trial, those counting more after which neither |F| nor |J⁻¹F| fell
# by a tenth; all patience doubles with every trial that failed. Where damping works, it makes fewer
# than a dozen steps, and the corrections shrink by factors (1 to 10 steps on Deuflhard's and Moré's
# problems, 0 of them without progress); where it stalls, nothing moves from the second step on.
WAIT = 12
STALLED = 6
# Steps in a row that a trial may go on without progress, and that it may be but monotone.
PATIENCE = 4
MONOTONE = 16
# Corrections this many times those at the beginning end a trial at once: it diverges.
FAR = 100.0
# What counts as progress of a correction or residual.
SHORTER = 0.9
# |Σd| relative to Σ|d| from where the entries have one sign, up to rounding.
ONE_SIGN = 0.999


class Watchdog(NamedTuple):
    """A trial of full steps, or how far off the next one is."""

    on: jax.Array
    origin: jax.Array  # the iterate to go back to
    reference: jax.Array  # size of the correction there
    best: jax.Array  # of the corrections of this trial the smallest size
    sign: jax.Array  # Σd / Σ|d| of the last correction
    idle: jax.Array  # steps in a row without progress
    same: jax.Array  # steps in a row in which the corrections did not shrink
    damped: jax.Array  # damped steps since the last trial, weighted
    failed: jax.Array  # trials that failed
    barred: jax.Array  # a trial from this very iterate has failed


def watchdog(start: jax.Array) -> Watchdog:
    """No trial yet."""
    unknown, none = jnp.full((), jnp.inf, start.dtype), jnp.array(0)
    return Watchdog(
        on=jnp.array(False),
        origin=start,
        reference=unknown,
        best=unknown,
        sign=jnp.zeros((), start.dtype),
        idle=none,
        same=none,
        damped=none,
        failed=none,
        barred=jnp.array(False),
    )


def observe(dog: Watchdog, z: jax.Array, step: jax.Array, ok: jax.Array) -> Watchdog:
    """The trial with the correction at a new iterate; off where it is lost there."""
    size, total = max_norm(step), jnp.sum(jnp.abs(step))
    sign = jnp.where(total > 0, jnp.sum(step) / total, 0.0)
    shorter = size <= SHORTER * dog.best
    same = jnp.where(shorter, 0, dog.same + 1)
    idle = jnp.where(shorter | same_sign(sign, dog.sign), 0, dog.idle + 1)
    patient = (idle <= PATIENCE) & (same <= MONOTONE << dog.failed)
    near = jnp.isfinite(size) & (size <= FAR * dog.reference) & ok
    # The first correction of a trial is infinitely shorter than an unknown one.
    halved = dog.on & near & (size <= dog.reference / 2)
    return dog._replace(
        on=dog.on & near & patient,
        origin=jnp.where(halved, z, dog.origin),
        reference=jnp.where(halved, size, dog.reference),
        best=jnp.minimum(dog.best, size),
        sign=sign,
        idle=idle,
        same=same,
    )


def same_sign(sign: jax.Array, before: jax.Array) -> jax.Array:
    """Whether two corrections in a row move every entry one way, given Σd / Σ|d| of each."""
    return jnp.minimum(sign * before, jnp.abs(sign)) >= ONE_SIGN**2


def renew(
    dog: Watchdog, lost: jax.Array, z: jax.Array, damping: jax.Array, stalled: jax.Array
) -> Watchdog:
    """After a step to z that took this damping (0: none did): begin a trial, or end a lost one."""
    free = ~dog.on & ~lost
    weight = jnp.where(stalled, STALLED, 1) * (damping < 1)
    damped = jnp.where(free, dog.damped + weight, 0)
    barred = lost | (dog.barred & (damping == 0))
    begin = free & ~barred & ((damped >= WAIT << dog.failed) | (damping == 0))
    # Twenty doublings exceed every number of steps.
    failed = jnp.minimum(dog.failed + lost, 20)
    fresh = watchdog(z)._replace(on=begin, failed=failed, barred=barred)
    going = dog._replace(on=dog.on & ~lost, damped=damped, failed=failed, barred=barred)
    return jax.tree.map(lambda a, b: jnp.where(begin, a, b), fresh, going)
