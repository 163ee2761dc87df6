"""Elementwise operations, masks, branches by value, casts."""

import jax
import jax.numpy as jnp
import jax.scipy.special as jsp
import numpy as np
from jax import lax

from tests.sparsediff.detect.cases._case import Family

case = Family()
MASK = np.array([1.0, 0.0, 2.0, 0.0, 0.0, -1.0])


@case(5)
def polynomial(x):
    return x**3 - 2 * x**2 + x


@case(5, positive=True)
def logarithm_and_root(x):
    return jnp.log(x) * jnp.sqrt(x) / jnp.cbrt(x + 1)


@case(5)
def trigonometric(x):
    return jnp.sin(x) * jnp.cos(x) + jnp.tan(x) - jnp.arctan2(x, 1 + x**2)


@case(5)
def hyperbolic(x):
    return jnp.tanh(x) + jnp.sinh(x) * jnp.cosh(x) + jax.nn.sigmoid(x) + jax.nn.softplus(x)


@case(6)
def constant_mask(x):
    return MASK * jnp.sin(x)


@case(6)
def constant_mask_through_jit(x):
    return jax.jit(lambda m, y: m * y)(MASK, x) + jax.jit(lambda m, y: m * y)(x[::-1], x)


@case(6)
def where_constant_mask(x):
    return jnp.where(MASK > 0, x**2, 0.0)


@case(13, points=12)
def where_constant_then_data(x):
    y = jnp.where(np.arange(13) % 2 == 0, x, 2.0)
    return jnp.where(y > 0.5, y * jnp.roll(x, 1), y)


@case(6, points=12)
def where_data(x):
    return jnp.where(x > 0, x, x[::-1])


@case(6)
def where_scalar_constant(x):
    return jnp.where(jnp.array(2) > 1, x, x[::-1])


@case(6)
def select_among_three(x):
    which = np.array([0, 1, 2, 2, 1, 0])
    return lax.select_n(jnp.array(which), x, x[::-1], jnp.zeros(6))


@case(6, points=12)
def piecewise(x):
    return jnp.piecewise(x, [x < -0.5, x > 0.5], [lambda z: 0 * z, lambda z: z**2, lambda z: z])


@case(5)
def absolute_and_sign(x):
    return jnp.abs(x) + jnp.sign(x) * 3


@case(5)
def integer_cast_blocks(x):
    return x * jnp.round(x * 3).astype(int) + jnp.floor(x)


@case(5)
def floor_only(x):
    return jnp.floor(x) + jnp.ceil(x) + jnp.round(x)


@case(5)
def stop_gradient(x):
    return lax.stop_gradient(x) * x[::-1]


@case(5, points=8)
def clip_and_maximum(x):
    return jnp.clip(x, -0.5, 0.5) + jnp.maximum(x, x[::-1])


@case(5)
def power_with_variable_exponent(x):
    return (1.5 + x**2) ** jnp.roll(x, 1)


@case(5)
def zero_power(x):
    return x**0 + 1.0


@case(5)
def remainder(x):
    return jnp.mod(x, 0.3) + jnp.remainder(x, 0.1 + 0.1 * x[0] ** 2)


@case(5, positive=True)
def special_functions(x):
    return jsp.gammaln(x) + jsp.digamma(x) + jsp.erf(x) + jsp.erfinv(x) + jsp.i0e(x)


@case(4, positive=True, slow=True)
def incomplete_gamma(x):
    return jsp.gammainc(1.5, x) + jsp.gammaincc(x, 2.0) + jsp.zeta(2 + x, 1.0)


@case(4, positive=True)
def incomplete_beta(x):
    return jsp.betainc(1.5, 2.0, x)


@case(4, positive=True, slow=True)
def normal_log_cdf(x):
    return jax.scipy.stats.norm.logcdf(x) + jsp.ndtri(x) + jsp.xlogy(x, x)


@case(6)
def complex_parts(x):
    z = lax.complex(x[:3], x[3:])
    w = jnp.exp(1j * z) * jnp.conj(z)
    return jnp.concatenate([w.real, w.imag, jnp.abs(z)])


@case(4)
def real_part_only(x):
    z = x + 2j * x[::-1]
    return (z * z).real + jnp.real(z * np.array([0, 1, 1, 0]))


@case(5)
def precision_cast(x):
    return x.astype(jnp.float32).astype(jnp.float64) * 2 + lax.reduce_precision(x, 8, 10)


@case(5)
def nested_jit(x):
    inner = jax.jit(lambda y, s: y * s)
    return inner(inner(x, jnp.arange(5.0)), jnp.array(2.0)) + inner(x, x[0])


@case(5)
def optimization_barrier(x):
    return lax.optimization_barrier((x * 2, x[::-1]))[1]


@case(5)
def device_put(x):
    return jax.device_put(x * 2)[1:]


@case(5)
def checkpointed(x):
    return jax.checkpoint(lambda y: jnp.sin(y[1:]) * y[:-1])(x)


@case(4, positive=True, slow=True)
def random_gamma_shape(x):
    return jax.random.gamma(jax.random.key(0), x + 1)


@case(6)
def dropout_with_fixed_key(x):
    return jnp.where(jax.random.bernoulli(jax.random.key(1), 0.5, (6,)), x, 0.0)


@case(5)
def integer_result(x):
    return jnp.argsort(x)


@case(5)
def boolean_result(x):
    return x > 0


@case(1)
def single_element(x):
    return jnp.sin(x)


@case(0)
def empty_input(x):
    return jnp.concatenate([x, jnp.ones(2)])


@case(3)
def empty_result(x):
    return x[:0]


@case(3)
def independent_of_input(x):
    return jnp.arange(4.0)
