"""The dense twin of a case: where its derivative is nonzero at any of several random points."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.sparsediff.detect.cases import CASES

# The dense twin runs a few times at small sizes: compiling it well would cost more.
FAST_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@functools.cache
def dense_union(name: str) -> np.ndarray:
    """Where the derivative is nonzero (or not a number) at any of the points."""
    case = CASES[name]
    if case.hessian:
        transform = jax.hessian(case.f) if case.n else case.f
    elif case.reverse:
        transform = jax.jacrev(case.f)
    elif jnp.issubdtype(jax.eval_shape(case.f, jnp.zeros(case.n)).dtype, jnp.inexact):
        transform = jax.jacfwd(case.f)
    else:
        return np.zeros((*jax.eval_shape(case.f, jnp.zeros(case.n)).shape, case.n), bool)
    dense = jax.jit(transform, compiler_options=FAST_COMPILE)
    return np.any([np.asarray(dense(x)) != 0 for x in case.sample()], axis=0)


def as_mask(pattern) -> np.ndarray:
    mask = np.zeros(pattern.shape, bool)
    mask[pattern.rows, pattern.columns] = True
    if pattern.symmetric:
        mask |= mask.T
    return mask
