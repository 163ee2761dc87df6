"""`cholesky`, which makes a `Factor`."""

from typing import Any

from jax.core import Tracer

from cholax import primitives
from cholax._core.errors import StructureError
from cholax._core.failures import throwing
from cholax.analysis import Plan, analyze
from cholax.linalg import operands
from cholax.linalg.factor import Factor
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern


def cholesky(A: SparseMatrix, *, ordering: Any = "auto", throw: bool = False) -> Factor:
    """Factor a sparse symmetric positive definite matrix: L Lᵀ = P A Pᵀ.

    The symbolic analysis is made once per pattern and ordering and kept with the pattern; the
    numeric factorisation is traced, so it jits, vmaps over A's values and differentiates.

    Args:
        A: a symmetric `SparseMatrix`, float32 or float64.
        ordering: `"auto"`, `"amd"`, `"minimum_fill"`, `"nested_dissection"`, `"rcm"`,
            `"natural"`, a permutation
            (`perm[i]` is the row of A at place i), or a `Plan` from `cx.analyze`.
        throw: raise when A is not positive definite, instead of giving NaN results: a
            `NotPositiveDefiniteError` eagerly, JAX's run-time error inside `jit`.

    Returns:
        A `Factor`.

    Raises:
        StructureError: A is not symmetric by construction.
        FactorSizeError: L would hold more than 2³¹ − 1 entries.

    Example:
        >>> import cholax as cx, numpy as np, scipy.sparse as sp
        >>> Q = sp.diags_array([-1.0, 2.5, -1.0], offsets=[-1, 0, 1], shape=(4, 4)).tocsc()
        >>> F = cx.cholesky(cx.from_scipy(Q, symmetric=True))
        >>> bool(F.ok)
        True
        >>> bool(np.allclose(Q @ F.solve(np.ones(4)), 1.0))
        True

    Reference:
        Davis, *Direct Methods for Sparse Linear Systems* (2006); derivatives: Murray (2016).
    """
    if not isinstance(A, SparseMatrix):
        raise StructureError(
            f"cholesky: need a cholax SparseMatrix, got {type(A).__name__}. "
            f"{operands.conversion(A, ', symmetric=True')}"
        )
    if not A.symmetric:
        raise StructureError(
            f"cholesky: the matrix must be symmetric by construction, got a general {A!r}. "
            "Build it with symmetric=True, or call A.symmetrize()."
        )
    plan = plan_for(A.pattern, ordering)
    throw = throw or throwing.value
    traced = isinstance(A.values, Tracer)
    panels, status = primitives.cholesky(plan, A.values, throw=throw and traced)
    factor = Factor(A, plan, panels, status)
    return factor.check() if throw and not traced else factor


def plan_for(pattern: Pattern, ordering: Any, where: str = "cholesky") -> Plan:
    """The plan for a pattern: `ordering` itself when it is one, else analyzed or remembered."""
    if not isinstance(ordering, Plan):
        return analyze(pattern, ordering)
    if ordering.pattern != pattern:
        raise StructureError(
            f"{where}: the plan was made for another pattern ({ordering.pattern!r}) than the "
            f"matrix has ({pattern!r}). Call cx.analyze again."
        )
    return ordering
