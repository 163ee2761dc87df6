"""Second derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.sparsediff.detect.cases._case import Family

case = Family()
H = {"hessian": True}


@case(6, **H)
def chain_energy(x):
    return jnp.sum((x[1:] - x[:-1] ** 2) ** 2)


@case(6, **H)
def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@case(5, **H)
def separable(x):
    return jnp.sum(jnp.cos(x) * jnp.exp(x))


@case(5, **H)
def linear_function(x):
    return jnp.dot(jnp.arange(5.0), x)


@case(5, **H)
def arrow(x):
    return jnp.sum(x[0] * x[1:] ** 2)


@case(5, **H)
def log_sum_exp(x):
    return jax.nn.logsumexp(x)


@case(8, **H)
def mixed_model(x):
    beta, u, log_sigma = x[:2], x[2:7], x[7]
    design = np.array([[1, 2.0], [1, -1], [1, 0.5], [1, 3], [1, -2], [1, 1.5]])
    eta = design @ beta + u[np.array([0, 1, 2, 3, 4, 0])]
    return jnp.sum(jnp.exp(eta) - eta) + jnp.sum((u * jnp.exp(-log_sigma)) ** 2) + 5 * log_sigma


@case(6, **H)
def quadratic_with_sparse_matrix(x):
    m = np.zeros((6, 6))
    m[0, 3] = m[3, 0] = m[1, 1] = m[4, 5] = m[5, 4] = 1.0
    return x @ m @ x


@case(9, **H)
def finite_elements(x):
    triangles = np.array([[0, 1, 3], [1, 4, 3], [1, 2, 4], [4, 7, 6], [3, 4, 6]])
    u = x[triangles]
    gradient = jnp.stack([u[:, 1] - u[:, 0], u[:, 2] - u[:, 0]], 1)
    return jnp.sum(jnp.sqrt(1 + jnp.sum(gradient**2, axis=1)))


@case(6, **H)
def autoregression_by_scan(x):
    def step(carry, u):
        previous, total = carry
        return (u, total + (u - 0.9 * jnp.sin(previous)) ** 2), None

    return lax.scan(step, (x[0], 0.0), x[1:])[0][1]


@case(6, **H)
def energy_by_fori_loop(x):
    return lax.fori_loop(0, 5, lambda i, s: s + (x[i] * x[i + 1]) ** 2, 0.0)


@case(5, points=12, **H)
def cond_inside_gradient(x):
    return lax.cond(x[0] > 0, lambda y: jnp.sum(y**3), lambda y: y[1] * y[2], x)


@case(4, **H)
def log_determinant_of_diagonal_plus_constant(x):
    return jnp.linalg.slogdet(jnp.diag(x + 4) + 0.1)[1]


@case(4, **H)
def quadratic_form_of_inverse(x):
    b = jnp.arange(1.0, 5.0)
    return b @ jnp.linalg.solve(jnp.diag(x + 4) + 0.1, b)


@case(5, nnz=15, **H)
def product_with_argsort(x):
    return jnp.dot(x[jnp.argsort(x)], x**2)


@case(5, nnz=15, **H)
def sorted_energy(x):
    return jnp.sum(jnp.sort(x) ** 3)


@case(6, positive=True, **H)
def gamma_likelihood(x):
    return jnp.sum(jax.scipy.special.gammaln(x[:3] + x[3:]))


@case(5, **H)
def checkpointed_energy(x):
    return jax.checkpoint(lambda y: jnp.sum(jnp.sin(y[1:] * y[:-1])))(x)


@case(6, **H)
def window_energy(x):
    return jnp.sum(lax.reduce_window(x, 0.0, lax.add, (2,), (1,), "VALID") ** 3)


@case(6, **H)
def convolution_energy(x):
    return jnp.sum(jnp.convolve(x, np.array([1.0, 2.0]), mode="valid") ** 3)


@case(5, **H)
def cumulative_energy(x):
    return jnp.sum(jnp.cumsum(x)[:3] ** 3)


@case(6, **H)
def segment_energy(x):
    return jnp.sum(jax.ops.segment_sum(x, np.array([0, 0, 1, 2, 2, 2]), 3) ** 3)


@case(6, **H)
def scattered_energy(x):
    return jnp.sum(jnp.zeros(4).at[np.array([0, 1, 1, 3])].set(x[:4]) ** 3) + x[4] * x[5]


@case(6, nnz=9, **H)
def maximum_energy(x):
    return jnp.max(x[:3]) ** 3 + jnp.sum(jnp.maximum(x[3:], 0) ** 3)


@jax.custom_vjp
def _cube(x):
    return x**3


_cube.defvjp(lambda x: (x**3, x), lambda x, ct: (3 * ct * x**2,))


@case(5, **H)
def custom_gradient(x):
    return jnp.sum(_cube(x[1:] - x[:-1]))


@case(5, **H)
def stopped_gradient(x):
    return jnp.sum(lax.stop_gradient(x[::-1]) * x**2)


@case(5, **H)
def vmapped_energy(x):
    return jnp.sum(jax.vmap(lambda a, b: (a * b) ** 2)(x[1:], x[:-1]))


@case(4, **H)
def while_energy(x):
    def body(c):
        return c[0] + 1, c[1] * x[c[0]]

    return lax.fori_loop(0, 4, lambda k, s: s * x[k], 1.0) + x[0] ** 2


@case(4, **H)
def complex_modulus(x):
    z = lax.complex(x[:2], x[2:])
    return jnp.sum(jnp.abs(z) ** 2 * z.real)
