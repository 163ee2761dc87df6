"""Functions of matrices, their derivatives of every order, and the action of the exponential.

`expm`, `cosm`, `sinm`, `logm`, `sqrtm`, `signm` and `inv` take one real `(n, n)` matrix, float32 or
float64, and return another; NaN where the real principal value does not exist.

Example:
    >>> import jax, jax.numpy as jnp
    >>> jax.config.update("jax_enable_x64", True)
    >>> from cholax.matfun import cosm, expm, inv, logm, signm, sinm, sqrtm
    >>> A = jnp.array([[2.0, 0.5], [0.1, 1.5]])
    >>> def same(X, Y):
    ...     return bool(jnp.allclose(X, Y, atol=1e-12))
    >>> same(expm(logm(A)), A), same(sqrtm(A) @ sqrtm(A), A), same(inv(A) @ A, jnp.eye(2))
    (True, True, True)
    >>> same(cosm(A) @ cosm(A) + sinm(A) @ sinm(A), jnp.eye(2)), same(signm(-A), -jnp.eye(2))
    (True, True)
    >>> same(jax.grad(lambda A: jnp.trace(logm(A)))(A), inv(A).T)
    True

Reference:
    Higham, *Functions of Matrices* (2008).
"""

from cholax.matfun.action import expm_multiply as expm_multiply
from cholax.matfun.exponential import cosm as cosm
from cholax.matfun.exponential import expm as expm
from cholax.matfun.exponential import inv as inv
from cholax.matfun.exponential import sinm as sinm
from cholax.matfun.function import frechet as frechet
from cholax.matfun.function import matrix_function as matrix_function
from cholax.matfun.roots import logm as logm
from cholax.matfun.roots import sqrtm as sqrtm
from cholax.matfun.sign import signm as signm

__all__ = [
    "cosm",
    "expm",
    "expm_multiply",
    "frechet",
    "inv",
    "logm",
    "matrix_function",
    "signm",
    "sinm",
    "sqrtm",
]
