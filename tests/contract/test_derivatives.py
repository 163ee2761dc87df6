"""Every primitive × transform × dtype × backend, against derivatives of its dense twin.

The twin is the primitive's specification as plain `jax.numpy`, differentiated by JAX: our
derivative rules take no part in it. One pattern; test_values.py and test_identities.py vary it.
"""

import jax
import numpy as np
import pytest

from cholax.primitives import BACKENDS, registry, use_backend
from tests import tolerances as tol
from tests.contract.cases import CASES
from tests.contract.transforms import MAIN, SMALL, TRANSFORMS, draw, small


def check(name, transform, dtype, run):
    setting, twin = small(name)
    data = draw(setting, dtype)
    got = run(setting, data)
    assert all(x.dtype == dtype for x in got)

    def close(one, expected, scale=1.0):
        tol.assert_close(one, expected, tol.gradient(dtype), scale)

    twin.check(transform, got, close)
    if transform in ("vjp", "vmap_grad", "grad_grad", "jvp_grad", "third"):
        supports = [x.support for x in setting.point]
    else:
        supports = setting.result_supports
    for x, kept in zip(got, supports, strict=True):
        assert not np.any(np.asarray(x)[..., ~kept]), "padding must stay zero"


def eagerly(transform):
    return lambda setting, data: TRANSFORMS[transform](setting.function, data)


def compiled(transform):
    def run(setting, data):
        return jax.jit(lambda d: TRANSFORMS[transform](setting.function, d))(data)

    return run


def test_the_small_problem_has_supernodes_added_fill_and_padding():
    plan = SMALL.plan
    setting, _ = small("cholesky")
    (kept,) = setting.result_supports
    assert plan.num_supernodes >= 5
    assert plan.nnz_factor < kept.sum() < plan.size


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", CASES)
def test_compiled(name, transform):
    check(name, transform, np.float64, compiled(transform))


# Primitives on the host have one program for every transform: here the compiled tests are enough.
NATIVE = [
    pytest.param(name, marks=pytest.mark.slow) if registry[name.partition("-")[0]].host else name
    for name in MAIN
]


# Eager operations compile once each and are shared by all tests: with one variant of each primitive
# three times as fast as compiling all of them.
@pytest.mark.parametrize("transform", ["value", "vmap_grad", "third"])
@pytest.mark.parametrize("name", NATIVE)
def test_eager_float32(name, transform):
    check(name, transform, np.float32, eagerly(transform))


# What "auto" is on the CPU is tested above.
OTHERS = [backend for backend in BACKENDS if backend != "native"]


# Specifications compile slowly; this one contains the values, gradients and batches of the others,
# and the slow suite runs those.
@pytest.mark.parametrize("transform", ["vmap_grad", pytest.param("third", marks=pytest.mark.slow)])
@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("name", NATIVE)
def test_other_backends(name, backend, transform):
    with use_backend(backend):
        check(name, transform, np.float64, eagerly(transform))


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("name", NATIVE)
def test_other_backends_float32(name, backend):
    with use_backend(backend):
        check(name, "third", np.float32, eagerly("third"))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", CASES)
def test_every_transform_on_every_backend(name, transform, dtype):
    for backend in BACKENDS:
        run = eagerly if backend == "reference" else compiled
        with use_backend(backend):
            check(name, transform, dtype, run(transform))
