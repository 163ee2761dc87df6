"""Kronecker products of latent models, such as space-time interactions."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from cholax._core.errors import UnsupportedError
from cholax._core.pickling import recipe
from cholax.linalg import SparseMatrix, kron
from cholax.linalg.maps import kron as kron_maps
from cholax.stats.constraints import Constraints, _elimination
from cholax.stats.constraints._rows import LARGEST_BYTES
from cholax.stats.latent._model import (
    PRECISION,
    SD,
    Hyperparameter,
    LatentModel,
    Parametrization,
)


@recipe
def kronecker(first: LatentModel, second: LatentModel) -> LatentModel:
    """The field with precision Q₁ ⊗ Q₂; variable i·m + j belongs to nodes i of n and j of m.

    Space-time interactions of types I to IV are products of iid or structured models of time and
    of space. Null space and constraints follow from the parts': null(Q₁ ⊗ Q₂) =
    null Q₁ ⊗ ℝᵐ + ℝⁿ ⊗ null Q₂, and the constraints are A₁ ⊗ I and I ⊗ A₂ without the k₁k₂
    that repeat others.

    A type IV interaction has a constraint for each place and each time. All of them hold exactly:
    those on the larger part's nodes, one group of rows for each node, are eliminated, which leaves
    a dense block for each pair of neighbours and a handful of constraints. So the smaller part may
    have some hundred variables, the larger one thousands; `null_space` is then a SciPy sparse
    array. What is larger has to have one proper part (`ar1`, `leroux`, `proper_car`).

    Only the product of two scales can be known. Where both parts have a `precision`, the product
    has one, or `sd`; where one has, that one is set to 1 and the other part scales. All other
    hyperparameters keep their names; those of equal names become `first_...` and `second_...`.

    Args:
        first: the outer model, of n variables.
        second: the inner model, of m variables.

    Returns:
        A `LatentModel` with n·m variables.

    Raises:
        UnsupportedError: a part whose null space depends on hyperparameters (BYM2 as (b, u)), or
            more than a gibibyte of constraints that cannot be eliminated.

    Example:
        >>> from cholax.stats import Graph, ar1, besag, kronecker
        >>> model = kronecker(ar1(3), besag(Graph.from_edges(2, [[0, 1]])))
        >>> model
        LatentModel(ar1⊗besag, n=6, hyperparameters=(precision, rho) or (sd, rho))
        >>> model.rank, model.constraints
        (3, Constraints(k=3, n=6))
        >>> from cholax.stats import rw1
        >>> kronecker(rw1(20), rw1(3000)).constraints
        Constraints(k=3019, n=60000)

    Reference:
        Knorr-Held, "Bayesian modelling of inseparable space-time variation in disease risk" (2000).
    """
    for part in (first, second):
        if part.null_space is None:
            raise UnsupportedError(
                f"kronecker: the null space of {part.name} depends on its hyperparameters. Use a "
                "model with a fixed one, such as bym2(graph, form='uv')."
            )
    _many(first, second)
    parts = (first, second)
    pattern, _, _ = kron_maps(first.pattern, second.pattern)

    def values(shared: jax.Array, hypers: tuple[dict[str, jax.Array], ...]) -> jax.Array:
        A, B = (SparseMatrix(p.values(**h), p.pattern) for p, h in zip(parts, hypers, strict=True))
        return shared * kron(A, B).values

    def log_det(shared: jax.Array, hypers: tuple[dict[str, jax.Array], ...]) -> jax.Array:
        # On the support ZᵀQZ is the product of the parts' own, whose ranks are their dimensions.
        total = first.dimension * second.dimension * jnp.log(shared)
        for part, hyper, other in zip(parts, hypers, parts[::-1], strict=True):
            total = total + other.dimension * part.field(**hyper).log_det()
        return total

    return LatentModel(
        f"{first.name}⊗{second.name}",
        pattern,
        _parametrizations(first, second),
        values,
        null_space=_null_space(first, second),
        constraints=_constraints(first, second),
        cheap_log_det=log_det,
    )


def _many(first: LatentModel, second: LatentModel) -> bool:
    """Whether the rows are to be kept sparse; raises before gigabytes are allocated."""
    n, m = first.n, second.n
    ranks = [0 if p.null_space is None else p.null_space.shape[1] for p in (first, second)]
    fixed = [0 if p.constraints is None else p.constraints.k for p in (first, second)]
    rows = max(a * m + (n - a) * b for a, b in (ranks, fixed))
    many, largest = rows >= _elimination.MANY, _elimination.LARGEST_GROUP
    if many and min(n, m) > largest and 8 * rows * n * m > LARGEST_BYTES:
        raise UnsupportedError(
            f"kronecker: the null space of {first.name} on {n} variables ⊗ {second.name} on {m} "
            f"has {rows} dimensions, dense rows of {8 * rows * n * m / 2**30:.1f} GiB; they may "
            f"take {LARGEST_BYTES / 2**30:.0f} GiB, unless one part has at most {largest} "
            "variables. Make one part proper: ar1 for a random walk, leroux or proper_car for "
            "besag."
        )
    return many


def _null_space(first: LatentModel, second: LatentModel) -> Any:
    V, U = first.null_space, second.null_space
    assert V is not None
    assert U is not None
    (n, a), (m, b) = V.shape, U.shape
    if not _many(first, second):
        blocks: list[Any] = [np.kron(V, np.eye(m))]
        if b:
            blocks.append(np.kron(_complement(V), U))
        return np.concatenate(blocks, axis=1)
    # The complement is dense: that of the part where it is smaller.
    V, U = sp.csc_array(V), sp.csc_array(U)
    if (n - a) * b * n * m <= (m - b) * a * n * m:
        every = [sp.kron(V, sp.eye_array(m)), sp.kron(_complement(V), U)]
    else:
        every = [sp.kron(sp.eye_array(n), U), sp.kron(V, _complement(U))]
    return sp.hstack(every, format="csc")


def _complement(V: Any) -> Any:
    """An orthonormal basis of what is orthogonal to V, sparse where V is."""
    k = V.shape[1]
    if not sp.issparse(V):
        return np.linalg.qr(V, mode="complete")[0][:, k:]
    if not k:
        return sp.eye_array(V.shape[0], format="csc")
    return sp.csc_array(np.linalg.qr(V.toarray(), mode="complete")[0][:, k:])


def _constraints(first: LatentModel, second: LatentModel) -> Constraints | None:
    """A₁ ⊗ I and I ⊗ A₂, the smaller of the two without the rows that repeat the other."""
    A, B = (None if p.constraints is None else p.constraints.rows for p in (first, second))
    if A is None and B is None:
        return None
    rows: list[Any] = []
    n, m = first.n, second.n
    outer, inner = (np.ones(size, bool) for size in (n, m))
    if A is not None and B is not None:
        # The rows of one part tie these nodes to the others, so the other part's repeat those.
        if _many(first, second) and B.k * n > A.k * m:
            inner[list(B.pivots)] = False
        else:
            outer[list(A.pivots)] = False
    if A is not None:
        rows.append(sp.kron(A.sparse, _identity(m)[inner]))
    if B is not None:
        rows.append(sp.kron(_identity(n)[outer], B.sparse))
    return Constraints(sp.vstack(rows, format="csr"))


def _identity(n: int) -> Any:
    return sp.csr_array(sp.eye_array(n))


def _parametrizations(first: LatentModel, second: LatentModel) -> tuple[Parametrization, ...]:
    choices = [_without_precision(part) for part in (first, second)]
    names = [_names(part) for part in choices]
    clashes = names[0] & names[1]
    both = all(_scales(part) for part in (first, second))
    found = []
    for pair in product(*choices):
        renamed = [
            tuple(_rename(p, place, clashes) for p in choice.parameters)
            for place, choice in zip(("first", "second"), pair, strict=True)
        ]
        for scale in (PRECISION, SD) if both else (None,):
            own = () if scale is None else (scale,)
            convert = _converter(pair, renamed, (first, second), scale)
            found.append(Parametrization((*own, *renamed[0], *renamed[1]), convert))
    return tuple(found)


def _scales(part: LatentModel) -> bool:
    return any("precision" in choice.names for choice in part.parametrizations)


def _without_precision(part: LatentModel) -> tuple[Parametrization, ...]:
    """The choices of hyperparameters beside the scale, if the scale is a precision."""
    if not _scales(part):
        return part.parametrizations
    return tuple(
        Parametrization(tuple(p for p in choice.parameters if p.name != "precision"))
        for choice in part.parametrizations
        if "precision" in choice.names
    )


def _names(choices: Iterable[Parametrization]) -> set[str]:
    return {name for choice in choices for name in choice.names}


def _rename(p: Hyperparameter, place: str, clashes: set[str]) -> Hyperparameter:
    name = f"{place}_{p.name}" if p.name in clashes else p.name
    return Hyperparameter(name, p.support, p.shape)


def _converter(pair: Any, renamed: Any, parts: Any, scale: Hyperparameter | None) -> Any:
    def convert(**hyper: jax.Array) -> dict[str, Any]:
        dtype = next(iter(hyper.values())).dtype if hyper else jnp.zeros(0).dtype
        one = jnp.ones((), dtype)
        shared = one if scale is None else hyper[scale.name]
        own = []
        for choice, names, part in zip(pair, renamed, parts, strict=True):
            given = {p.name: hyper[q.name] for p, q in zip(choice.parameters, names, strict=True)}
            given = given if choice.convert is None else choice.convert(**given)
            own.append({"precision": one, **given} if _scales(part) else given)
        return {"shared": shared**-2.0 if scale is SD else shared, "hypers": tuple(own)}

    return convert
