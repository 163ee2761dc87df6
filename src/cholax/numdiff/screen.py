"""Settling smooth columns from the first part of a ladder: most functions need no more.

Where f is smooth on the scale of x, the leading steps hold the estimate that the whole ladder would
choose: every further step has a rounding bar above η / h. What the steps left out could show,
another scale, noise, stairs or a kink, the controls far below them must exclude: the slope and the
curvature found above explain f there, up to a few roundings. A column that fails any test goes on
to the whole ladder.
"""

from functools import partial

import jax
import jax.numpy as jnp

from cholax._core.norms import largest, smallest
from cholax.numdiff.directional import Samples, ladder_in_units, unresolved
from cholax.numdiff.estimate import Estimate, rescaled, rounding, select
from cholax.numdiff.rules import Rule, leading

# Roundings of f that the controls may be off; a correctly rounded f takes one. With 2, the noise of
# a sum over 2000 inputs left a fifth of the inputs of Σ x sin x open.
_ROUNDINGS = 4.0
# Bars that may be wider by this factor than any the whole ladder could have.
_WIDER = 2.0


@partial(jax.jit, static_argnames="rule")
def screened(given: Samples, rule: Rule) -> tuple[Estimate, jax.Array]:
    """Estimates from the first part of a ladder, and `(m,)` which of them are final."""
    ladder, scale, exponents = ladder_in_units(given, rule)
    t, top = given.t, leading(rule)
    eta = rounding(ladder, t, rule.eps, given.away)
    # One smaller step must agree, and all the controls.
    found = select(
        ladder,
        t,
        ratio=rule.ratio,
        exponents=exponents,
        eps=rule.eps,
        eta=eta,
        amplification=1 / t,
        support=1,
    )
    error = jnp.maximum(found.error, unresolved(ladder, given, eta, rule))
    odd, even, below, bar = (part[top:] for part in (ladder.odd, ladder.even, t, eta))
    curvature = ladder.even[top - 1] / t[top - 1] ** 2
    # In roundings: two values of f in odd parts, three in even ones.
    misfit = jnp.maximum(
        jnp.abs(odd - 2 * below * found.value), jnp.abs(even - curvature * below**2) / 1.5
    )
    misfit = largest(misfit / bar, 0)
    # No estimate that takes a step left out has a smaller bar: there η is at least that of the
    # next control, and h below the step before.
    least = smallest(bar / t[top - 1 : -1], 0)
    fine = error <= _WIDER * jnp.maximum(least, rule.eps * jnp.abs(found.value))
    # The largest steps may leave the domain or the bounds: the whole ladder would not use them.
    settled = fine & (misfit <= _ROUNDINGS) & jnp.all(ladder.valid[top - 1 :], axis=0)
    settled &= ~given.sided & jnp.isfinite(ladder.origin)
    # Where the controls show more than one rounding, so do the bars.
    error *= jnp.maximum(1, misfit)
    return rescaled(found._replace(error=error), scale, given.length), settled
