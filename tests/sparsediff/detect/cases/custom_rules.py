"""Custom derivative rules, whose pattern is that of the rule and not of the body."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.sparsediff.detect.cases._case import Family

case = Family()


@jax.custom_jvp
def straight_through_round(x):
    return jnp.round(x)


straight_through_round.defjvp(lambda p, t: (straight_through_round(*p), t[0]))


@jax.custom_jvp
def neighbour_rule(x):
    return x


neighbour_rule.defjvp(lambda p, t: (p[0], jnp.roll(t[0], 1) * jnp.cos(p[0])))


@jax.custom_vjp
def straight_through_vjp(x):
    return jnp.round(x)


straight_through_vjp.defvjp(lambda x: (jnp.round(x), None), lambda _, ct: (ct,))


@jax.custom_vjp
def product(x, y):
    return jnp.sin(x) * y


product.defvjp(
    lambda x, y: (product(x, y), (x, y)),
    lambda r, ct: (ct * jnp.cos(r[0]) * r[1], ct * jnp.sin(r[0])),
)


@jax.custom_vjp
def shifted(x):
    return x * 2


shifted.defvjp(lambda x: (x * 2, None), lambda _, ct: (jnp.concatenate([ct[1:], jnp.zeros(1)]),))


@jax.custom_vjp
def clipped_gradient(x):
    return x


clipped_gradient.defvjp(lambda x: (x, None), lambda _, ct: (jnp.clip(ct, -1.0, 1.0),))


@jax.custom_vjp
def indexed(x, k):
    return x[k]


indexed.defvjp(
    lambda x, k: (x[k], (k, x.shape[0])),
    lambda r, ct: (jnp.zeros(6).at[r[0]].add(ct), None),
)


@case(5)
def custom_jvp_straight_through(x):
    return straight_through_round(x) * 2


@case(5)
def custom_jvp_other_pattern(x):
    return neighbour_rule(x)


@case(5)
def custom_jvp_in_jit_and_scan(x):
    f = jax.jit(straight_through_round)
    return lax.scan(lambda c, u: (c, f(u)), 0.0, x)[1]


@case(5)
def relu_and_friends(x):
    return jax.nn.relu(x) + jax.nn.gelu(x) * jax.nn.silu(x) + jax.nn.elu(x)


@case(5, reverse=True)
def custom_vjp_straight_through(x):
    return straight_through_vjp(x) + x[0]


@case(5, reverse=True)
def custom_vjp_of_two(x):
    return product(x, x[::-1])


@case(5, reverse=True)
def custom_vjp_other_pattern(x):
    return shifted(x)


@case(5, reverse=True)
def custom_vjp_of_constant_and_variable(x):
    return product(jnp.arange(5.0), x[::-1])


@case(5, reverse=True)
def custom_vjp_with_nonlinear_backward(x):
    return clipped_gradient(x[::-1])


@case(6, reverse=True)
def custom_vjp_with_integer_argument(x):
    return indexed(x, np.array([4, 1]))


@case(6, reverse=True)
def custom_vjp_in_jit(x):
    return jax.jit(product)(x, x[::-1])


@case(6, reverse=True)
def custom_vjp_in_scan(x):
    return lax.scan(lambda c, u: (c, product(u, c)), x[0], x[1:])[1]


@case(6, reverse=True)
def custom_vjp_in_vmap(x):
    return jax.vmap(product)(x[:3], x[3:])


@case(6)
def closure_converted_root(x):
    def solve(f, y):
        return lax.fori_loop(0, 8, lambda _, z: z - f(z) / (3 * z**2 + 1), y)

    return jax.vmap(
        lambda a: lax.custom_root(
            lambda z: z**3 + z - a, a * 0.5, solve, lambda g, y: y / g(jnp.ones_like(y))
        )
    )(x)


@case(6)
def custom_vmap_function(x):
    @jax.custom_batching.custom_vmap
    def f(u):
        return u * u[::-1]

    f.def_vmap(lambda size, batched, u: (u * u[..., ::-1], batched[0]))
    return f(x)


@case(6)
def gradient_inside(x):
    return jax.grad(lambda y: jnp.sum(y[1:] * y[:-1] ** 2))(x)


@case(6)
def jvp_inside(x):
    return jax.jvp(lambda y: y[1:] * y[:-1], (x,), (jnp.arange(6.0),))[1]


@case(6)
def hessian_vector_product_inside(x):
    g = jax.grad(lambda y: jnp.sum(jnp.sin(y) * jnp.roll(y, 1)))
    return jax.jvp(g, (x,), (jnp.ones(6),))[1]


@case(4)
def jacobian_inside(x):
    return jnp.diagonal(jax.jacfwd(lambda y: jnp.cumsum(y) ** 2)(x))
