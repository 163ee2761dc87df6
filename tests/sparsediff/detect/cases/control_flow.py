"""Loops, branches and the maps built from them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.sparsediff.detect.cases._case import Family

case = Family()


@case(6)
def assembly_by_fori_loop(x):
    n = x.shape[0]
    return lax.fori_loop(0, n - 1, lambda e, r: r.at[e].add(x[e + 1] - x[e]), jnp.zeros(n))


@case(6)
def fori_loop_with_dynamic_update(x):
    def body(i, r):
        return lax.dynamic_update_slice(r, lax.dynamic_slice(x, (i,), (1,)) ** 2, (5 - i,))

    return lax.fori_loop(0, 4, body, jnp.zeros(6))


@case(6)
def fori_loop_repeated_shift(x):
    return lax.fori_loop(0, 3, lambda i, y: y + jnp.roll(y, 1), x)


@case(6)
def scan_recursion(x):
    def step(h, u):
        h = 0.5 * h + u
        return h, h**2

    return lax.scan(step, 0.0, x)[1]


@case(6)
def scan_reversed(x):
    def step(h, u):
        return h + u, h * u

    return lax.scan(step, 0.0, x, reverse=True)[1]


@case(6)
def scan_carry_only(x):
    return lax.scan(lambda c, u: (c * u[0] + u[1], None), x[0], x[2:].reshape(2, 2))[0][None]


@case(6)
def autoregression_residuals(x):
    def step(previous, u):
        return u, u - 0.9 * previous

    return lax.scan(step, x[0], x[1:])[1]


@case(6)
def scan_with_counter(x):
    def step(k, _):
        return k + 1, x[k] * x[(2 * k) % 6]

    return lax.scan(step, 0, None, length=4)[1]


@case(6)
def scan_over_indices(x):
    return lax.scan(lambda c, k: (c, x[k] ** 2), 0.0, np.array([4, 0, 5]))[1]


@case(4)
def scan_of_two_states(x):
    def step(carry, u):
        a, b = carry
        return (b, a + u), a * u

    return lax.scan(step, (jnp.array(1.0), x[0]), x)[1]


@case(6)
def mapped(x):
    return lax.map(lambda u: jnp.sin(u[0]) * u[1], x.reshape(3, 2))


@case(6)
def empty_scan(x):
    return lax.scan(lambda c, u: (c + u, u), x[:1].sum(), x[:0])[0] * x


@case(6)
def while_with_counter(x):
    def body(c):
        return c[0] + 2, c[1].at[c[0]].multiply(x[c[0] + 1])

    return lax.while_loop(lambda c: c[0] < 5, body, (0, x))[1]


@case(6)
def while_with_both_closures(x):
    limit = jnp.array(3)
    shift = jnp.arange(6.0)
    return lax.while_loop(
        lambda c: c[0] < limit, lambda c: (c[0] + 1, c[1] * x + shift), (0, x[::-1])
    )[1]


@case(6, nnz=6)
def while_until_convergence(x):
    """Newton's method for the square root: the number of steps depends on x."""

    def body(c):
        y, _ = c
        new = 0.5 * (y + (x**2 + 1) / y)
        return new, jnp.max(jnp.abs(new - y))

    return lax.while_loop(lambda c: c[1] > 1e-10, body, (jnp.ones(6), jnp.array(1.0)))[0]


@case(6, nnz=21)
def while_unknown_shift(x):
    """Each iteration moves values right: the closure is the lower triangle."""

    def body(c):
        k, y = c
        return k + 1, y + jnp.concatenate([jnp.zeros(1), y[:-1]])

    return lax.while_loop(lambda c: c[0] < jnp.sum(x > 0), body, (0, x))[1]


@case(4, nnz=16)
def while_unknown_index(x):
    def body(c):
        k, y = c
        return k + 1, y.at[k].add(y[(k + 1) % 4])

    return lax.while_loop(lambda c: c[0] < jnp.sum(x > -9) - 1, body, (0, x))[1]


@case(6, points=12)
def cond_on_data(x):
    return lax.cond(x[0] > 0, lambda y: y * 2, lambda y: y[::-1] ** 2, x)


@case(6)
def cond_on_constant(x):
    return lax.cond(jnp.array(True), lambda y: y * 2, lambda y: y[::-1] ** 2, x)


@case(6)
def switch_on_constant(x):
    return lax.switch(jnp.array(1), [lambda y: y, lambda y: y[::-1], lambda y: y * 0], x)


@case(6, points=30)
def switch_on_bounded_data(x):
    which = jnp.where(x[0] > 0, 1, 2)
    return lax.switch(which, [lambda y: jnp.cumsum(y), lambda y: y * 2, lambda y: y[::-1] ** 2], x)


@case(6, points=12)
def cond_with_an_inactive_branch(x):
    return lax.cond(x[1] > 0, lambda y: jnp.zeros(6), lambda y: y, x)


@case(6)
def cond_inside_scan(x):
    def step(c, k):
        return c, lax.cond(k % 2 == 0, lambda: x[k], lambda: x[5 - k] * x[0])

    return lax.scan(step, 0.0, jnp.arange(6))[1]


@case(6)
def nested_loops(x):
    def inner(j, r, i):
        return r.at[2 * i + j].set(x[i] * x[3 + j])

    def outer(i, r):
        return lax.fori_loop(0, 2, lambda j, q: inner(j, q, i), r)

    return lax.fori_loop(0, 3, outer, jnp.zeros(6))


@case(4)
def bisection_per_element(x):
    """The derivative comes from the implicit rule of `custom_root`."""

    def solve(f, y):
        def body(_, state):
            low, high = state
            middle = (low + high) / 2
            below = f(middle) < 0
            return jnp.where(below, middle, low), jnp.where(below, high, middle)

        return lax.fori_loop(0, 60, body, (y - 5.0, y + 5.0))[0]

    return lax.custom_root(
        lambda y: y**3 + y - x, jnp.zeros(4), solve, lambda g, y: y / g(jnp.ones(4))
    )


@case(4)
def vmapped_while(x):
    def halve(u):
        return lax.while_loop(lambda c: jnp.abs(c) > 0.1, lambda c: 0.5 * c, u)

    return jax.vmap(halve)(x + 3)


@case(4)
def vmapped_cond(x):
    return jax.vmap(lambda u, v: lax.cond(u > 0, lambda: u * v, lambda: v))(x, x[::-1])


@case(4)
def runge_kutta_chain(x):
    def f(y):
        return jnp.concatenate([y[1:] - y[:-1], -y[-1:]])

    def step(y, _):
        k1 = f(y)
        return y + 0.1 * f(y + 0.05 * k1), None

    return lax.scan(step, x, None, length=1)[0]


@case(5)
def checkpointed_scan(x):
    step = jax.checkpoint(lambda c, u: (c * u, c + u))
    return lax.scan(step, 1.0, x)[1]


@case(6)
def map_in_batches(x):
    return lax.map(jnp.sin, x, batch_size=4)
