"""Patterns given by the user, in any form."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax.experimental.sparse import BCOO

import cholax as cx
from cholax.patterns import Pattern, build
from cholax.sparsediff._hessian import hessian
from cholax.sparsediff._jacobian import jacobian
from tests import tolerances as tol
from tests.sparsediff import problems

N = 6
MASK = np.eye(N - 2, N) + np.eye(N - 2, N, 1) + np.eye(N - 2, N, 2)
LOWER = np.eye(N) + np.eye(N, k=-1)

FORMS = {
    "pattern": lambda mask: build.from_mask(mask)[0],
    "matrix": lambda mask: cx.from_dense(jnp.asarray(mask)),
    "csr": sp.csr_array,
    "old scipy": sp.coo_matrix,
    "bcoo": lambda mask: BCOO.fromdense(jnp.asarray(mask), nse=int((mask != 0).sum()) + 3),
    "mask": lambda mask: mask != 0,
    "jax mask": jnp.asarray,
    "lists": lambda mask: mask.tolist(),
}


@pytest.mark.parametrize("form", FORMS)
def test_jacobian_takes_every_form(form):
    x = problems.point(N)
    J = jacobian(problems.stencil, sparsity=FORMS[form](MASK))
    assert J.pattern(x) == build.from_mask(MASK)[0]
    assert J.colors(x).count == 3


@pytest.mark.parametrize("form", FORMS)
def test_hessian_takes_every_form(form):
    pattern = hessian(problems.chain, sparsity=FORMS[form](LOWER)).pattern(problems.point(N))
    assert pattern.symmetric
    assert pattern.nnz == 2 * N - 1


@pytest.mark.parametrize("mask", [LOWER.T, LOWER + LOWER.T], ids=["upper", "full"])
def test_hessian_takes_either_triangle_or_both(mask):
    pattern = hessian(problems.chain, sparsity=mask).pattern(problems.point(N))
    assert pattern == hessian(problems.chain, sparsity=LOWER).pattern(problems.point(N))


def test_values_on_a_given_pattern_are_right_and_excess_is_zero():
    x = problems.point(N)
    A = jacobian(problems.stencil, sparsity=np.ones((N - 2, N)))(x)
    tol.assert_close(A.to_dense(), jax.jacobian(problems.stencil)(x), tol.value(x.dtype))
    H = hessian(problems.chain, sparsity=Pattern((N, N), *_full(N), symmetric=True))(x)
    tol.assert_close(H.to_dense(), jax.hessian(problems.chain)(x), tol.value(x.dtype))


def _full(n: int):
    counts = np.arange(n, 0, -1)
    return np.append(0, np.cumsum(counts)), np.concatenate([np.arange(j, n) for j in range(n)])


def test_a_symmetric_pattern_for_a_jacobian_stands_for_both_triangles():
    x = problems.point(N)
    pattern = Pattern((N, N), *_full(N), symmetric=True)
    A = jacobian(jax.grad(problems.chain), sparsity=pattern)(x)
    assert not A.symmetric
    tol.assert_close(A.to_dense(), jax.hessian(problems.chain)(x), tol.value(x.dtype))


def test_a_given_pattern_is_not_detected(monkeypatch):
    module = importlib.import_module("cholax.sparsediff._jacobian")
    monkeypatch.setattr(module, "jacobian_pattern", None)
    jacobian(problems.stencil, sparsity=MASK)(problems.point(N))


def test_black_boxes_work_with_a_given_pattern():
    @jax.custom_jvp
    def square(x):
        return jax.pure_callback(lambda x: x**2, x, x, vmap_method="sequential")

    square.defjvp(lambda x, t: (square(*x), 2 * x[0] * t[0]))
    x = problems.point(4)
    A = jacobian(lambda x: square(x)[1:], sparsity=np.eye(3, 4, 1), mode="forward")(x)
    tol.assert_close(A.values, 2 * x[1:], tol.value(x.dtype))


@pytest.mark.parametrize("sparsity", [MASK.T, MASK[:2], np.ones((N, N))])
def test_wrong_shapes_are_refused(sparsity):
    with pytest.raises(cx.errors.ShapeError, match="4×6"):
        jacobian(problems.stencil, sparsity=sparsity)(problems.point(N))


def test_wrong_kinds_are_refused():
    x = problems.point(N)
    with pytest.raises(cx.errors.UnsupportedError, match="str"):
        jacobian(problems.stencil, sparsity="dense")(x)
    with pytest.raises(cx.errors.StructureError, match="traced"):
        jax.jit(lambda m: jacobian(problems.stencil, sparsity=m)(x))(MASK)
    with pytest.raises(cx.errors.ShapeError, match="matrix"):
        jacobian(problems.stencil, sparsity=np.ones(N))(x)
