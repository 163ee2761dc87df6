"""Every case's pattern against the union of its dense derivatives at random points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax.sparsediff.detect import hessian_pattern, jacobian_pattern
from tests.sparsediff.detect.cases import CASES
from tests.sparsediff.detect.dense import as_mask, dense_union


@pytest.mark.filterwarnings("error::cholax.errors.UnknownPrimitiveWarning")
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if c.slow else []) for n, c in CASES.items()],
)
def test_pattern_holds_every_nonzero_and_nothing_else(name: str) -> None:
    case = CASES[name]
    find = hessian_pattern if case.hessian else jacobian_pattern
    pattern = find(case.f, jax.ShapeDtypeStruct((case.n,), jnp.float64))
    found, dense = as_mask(pattern), dense_union(name)
    assert found.shape == dense.shape
    assert not np.any(dense & ~found), f"missed {np.argwhere(dense & ~found).tolist()}"
    if case.hessian:
        found = found & (dense | ~np.eye(case.n, dtype=bool))  # the diagonal is always there
    if case.exact:
        assert not np.any(found & ~dense), f"superfluous {np.argwhere(found & ~dense).tolist()}"
    if case.nnz is not None:
        assert pattern.nnz <= case.nnz
