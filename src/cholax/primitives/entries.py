"""Moving entries between value vectors, and bilinear sums over entries.

`gather`: out[i] = w[i] x[p[i]];  `scatter` its transpose;  `contract`: c[out] += a[left] b[right],
whose transposes are contractions of the same triples with the roles exchanged.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from cholax.primitives._define import Kind, Operand, define
from cholax.primitives._dependence import Entries, Pairs
from cholax.primitives._structures import EntryMap, Triples


def _weights(entry_map: EntryMap, dtype: Any) -> Any:
    kept = entry_map.positions >= 0
    weights = kept if entry_map.weights is None else kept * entry_map.weights
    return jnp.asarray(weights, dtype)


def _gather_specification(entry_map: EntryMap, x: Any) -> Any:
    if entry_map.size == 0:
        return jnp.zeros(len(entry_map), x.dtype)
    weights = _weights(entry_map, x.dtype)
    return jnp.where(weights == 0, 0, weights * x[jnp.maximum(entry_map.positions, 0)])


def _scatter_specification(entry_map: EntryMap, y: Any) -> Any:
    positions = jnp.where(entry_map.positions < 0, entry_map.size, entry_map.positions)
    zeros = jnp.zeros(entry_map.size, y.dtype)
    return zeros.at[positions].add(_weights(entry_map, y.dtype) * y, mode="drop")


def _gather_pairs(entry_map: EntryMap, name: str, params: Any) -> Pairs:
    del name, params
    kept = entry_map.positions >= 0
    if entry_map.weights is not None:
        kept &= entry_map.weights != 0
    return np.flatnonzero(kept), entry_map.positions[kept]


def _scatter_pairs(entry_map: EntryMap, name: str, params: Any) -> Pairs:
    out, into = _gather_pairs(entry_map, name, params)
    return into, out


gather = define(
    "gather",
    operands=(Operand("x", Kind.LINEAR, 1),),
    results=lambda entry_map, x: [((len(entry_map),), None)],
    transposes={"x": lambda ref, ct: scatter(ref, ct)},
    dependence=Entries(_gather_pairs),
    specification=_gather_specification,
)

scatter = define(
    "scatter",
    operands=(Operand("y", Kind.LINEAR, 1),),
    results=lambda entry_map, y: [((entry_map.size,), None)],
    transposes={"y": lambda ref, ct: gather(ref, ct)},
    dependence=Entries(_scatter_pairs),
    specification=_scatter_specification,
)


def _contract_specification(triples: Triples, a: Any, b: Any, *, roles: Any) -> Any:
    left, right, out = (triples.index[r] for r in roles)
    return jnp.zeros(triples.sizes[roles[2]], a.dtype).at[out].add(a[left] * b[right])


def _contract_pairs(triples: Triples, name: str, params: Any) -> Pairs:
    left, right, out = (triples.index[r] for r in params["roles"])
    return out, left if name == "a" else right


_contract = define(
    "contract",
    operands=(Operand("a", Kind.LINEAR, 1), Operand("b", Kind.LINEAR, 1)),
    results=lambda triples, a, b, *, roles: [((triples.sizes[roles[2]],), None)],
    transposes={
        "a": lambda ref, ct, b, *, roles: _contract(
            ref, ct, b, roles=(roles[2], roles[1], roles[0])
        ),
        "b": lambda ref, ct, a, *, roles: _contract(
            ref, a, ct, roles=(roles[0], roles[2], roles[1])
        ),
    },
    dependence=Entries(_contract_pairs),
    specification=_contract_specification,
    params=("roles",),
)


def contract(triples: Triples, a: Any, b: Any) -> Any:
    """c[out[t]] += a[left[t]] * b[right[t]] over all triples t."""
    return _contract(triples, a, b, roles=(0, 1, 2))
