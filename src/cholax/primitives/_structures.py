"""Static structures that primitives refer to, and how they reach a kernel.

A structure (plan, entry map, triples, CSC pattern) is immutable and hashed by a 128-bit digest of
its content. The lowered program holds the digest only; the extension's registry maps it to the
C++ object, in which every executable takes a share.
"""

import functools
import hashlib
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from cholax import _native
from cholax._core.errors import ShapeError
from cholax._core.jax_compat import ir
from cholax.analysis import Plan
from cholax.patterns import Pattern


def content_digest(kind: str, *parts: Any) -> str:
    """128-bit digest (hex) of a kind and its defining integers and arrays."""
    h = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        array = np.ascontiguousarray(part)
        h.update(f"|{array.dtype.str}{array.shape}|".encode())
        h.update(array.tobytes())
    return h.hexdigest()


class Structure:
    """Base of the structures defined here: hashed by digest, holding its native twin alive."""

    digest: str
    native: Any

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.digest == self.digest

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def portable_attributes(self) -> Mapping[str, Any]:
        """What the native side needs to rebuild this structure in another process."""
        raise NotImplementedError


class EntryMap(Structure):
    """out[i] = weights[i] * x[positions[i]] for x of length `size`; position -1 reads zero."""

    def __init__(self, positions: np.ndarray, size: int, weights: np.ndarray | None = None) -> None:
        self.positions = np.ascontiguousarray(positions, dtype=np.int32)
        self.size = int(size)
        if self.positions.size and int(self.positions.max()) >= self.size:
            raise ShapeError(
                f"EntryMap: positions must be below the size {self.size}, got "
                f"{int(self.positions.max())}."
            )
        self.weights = None if weights is None else np.ascontiguousarray(weights, np.float64)
        parts = () if self.weights is None else (self.weights,)
        self.digest = content_digest("entry_map", self.size, self.positions, *parts)
        self.native = _native.lib().entry_map(self.digest, self.size, self.positions, self.weights)

    def __reduce__(self) -> tuple[Any, ...]:
        return EntryMap, (self.positions, self.size, self.weights)

    def __len__(self) -> int:
        return self.positions.size

    @functools.cached_property
    def identity(self) -> bool:
        """Whether the result is x itself."""
        same = self.weights is None and len(self) == self.size
        return same and np.array_equal(self.positions, np.arange(self.size, dtype=np.int32))

    def portable_attributes(self) -> Mapping[str, Any]:
        """Positions and weights."""
        weights = np.zeros(0) if self.weights is None else self.weights
        return {
            "kind": "entry_map",
            "size": self.size,
            "positions": self.positions,
            "weights": weights,
        }


class Triples(Structure):
    """Index triples of a bilinear map: c[out[t]] += a[left[t]] * b[right[t]]."""

    def __init__(
        self, left: np.ndarray, right: np.ndarray, out: np.ndarray, sizes: tuple[int, int, int]
    ) -> None:
        self.index = tuple(np.ascontiguousarray(x, dtype=np.int32) for x in (left, right, out))
        self.sizes = (int(sizes[0]), int(sizes[1]), int(sizes[2]))
        for name, index, size in zip(("left", "right", "out"), self.index, self.sizes, strict=True):
            if index.size and not 0 <= int(index.min()) <= int(index.max()) < size:
                raise ShapeError(f"Triples: {name} must lie in [0, {size}).")
        self.digest = content_digest("triples", np.array(self.sizes), *self.index)
        self.native = _native.lib().triples(self.digest, list(self.sizes), *self.index)

    def __reduce__(self) -> tuple[Any, ...]:
        return Triples, (*self.index, self.sizes)

    def portable_attributes(self) -> Mapping[str, Any]:
        """The three index arrays and their ranges."""
        left, right, out = self.index
        return {
            "kind": "triples",
            "sizes": np.array(self.sizes, np.int64),
            "left": left,
            "right": right,
            "out": out,
        }


class Csc(Structure):
    """A pattern as the matrix-vector kernels take it."""

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self.digest = content_digest("csc", np.frombuffer(pattern.fingerprint, np.uint8))
        self.native = _native.lib().csc(
            self.digest, *pattern.shape, pattern.symmetric, pattern.indptr, pattern.indices
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Csc, (self.pattern,)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.pattern.shape

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return self.pattern.nnz

    def portable_attributes(self) -> Mapping[str, Any]:
        """Shape, symmetry and index arrays."""
        rows, columns = self.pattern.shape
        return {
            "kind": "csc",
            "rows": rows,
            "columns": columns,
            "symmetric": self.pattern.symmetric,
            "indptr": self.pattern.indptr,
            "indices": self.pattern.indices,
        }


_csc_cache: "weakref.WeakValueDictionary[bytes, Csc]" = weakref.WeakValueDictionary()


def csc_of(pattern: Pattern) -> Csc:
    """The kernel structure of a pattern, kept as long as the pattern or a program uses it."""
    found = pattern.__dict__.get("_csc")
    if found is None:
        found = _csc_cache.setdefault(pattern.fingerprint, Csc(pattern))
        pattern.__dict__["_csc"] = found
    return found


@dataclass(frozen=True)
class DynamicPlan:
    """A plan whose pattern is traced: operands (indptr, indices); L's values in CSC order."""

    n: int
    nnz: int
    size: int
    is_factor: bool


@dataclass(frozen=True)
class DynamicEntryMap:
    """An entry map whose positions are traced."""

    size: int
    length: int

    def __len__(self) -> int:
        return self.length


@dataclass(frozen=True)
class DynamicCsc:
    """A pattern whose index arrays are traced: operands (indptr, indices)."""

    shape: tuple[int, int]
    nnz: int
    symmetric: bool


@dataclass(frozen=True)
class Ref:
    """A structure as rules see it: the static part and the index operands, if any."""

    static: Any
    operands: tuple[Any, ...] = ()


def as_ref(structure: Any) -> Ref:
    """Wrap a static structure; pass references through."""
    if isinstance(structure, Ref):
        return structure
    if isinstance(structure, Pattern):
        return Ref(csc_of(structure))
    return Ref(structure)


@functools.singledispatch
def native_structure(static: Any, indices: Sequence[np.ndarray]) -> Any:
    """What a kernel called from Python takes, for a structure and its index arrays, if any."""
    del indices
    return static.native


@native_structure.register
def _(static: DynamicPlan, indices: Sequence[np.ndarray]) -> Any:
    return _native.lib().traced_plan(*indices, static.size, static.is_factor)


@native_structure.register
def _(static: DynamicEntryMap, indices: Sequence[np.ndarray]) -> Any:
    return _native.lib().traced_entry_map(*indices, static.size)


@native_structure.register
def _(static: DynamicCsc, indices: Sequence[np.ndarray]) -> Any:
    return _native.lib().traced_csc(*indices, *static.shape, static.symmetric)


ATTRIBUTES = frozenset(
    {"static", "backend", "adjoint", "digest", "portable", "linear"}
    | {"size", "is_factor", "rows", "columns", "symmetric"}
)
"""Names of what a call carries beside the parameters of its primitive."""

_ARRAY_ATTRIBUTES: dict[str, Any] = {
    "int32": ir.DenseI32ArrayAttr,
    "int64": ir.DenseI64ArrayAttr,
    "float64": ir.DenseF64ArrayAttr,
}


def flat_attribute(value: Any) -> Any:
    """An MLIR attribute the FFI decodes: flag, integer, string or flat array."""
    match value:
        case bool():
            return ir.BoolAttr.get(value)
        case int():
            return ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)
        case str():
            return ir.StringAttr.get(value)
        case tuple():
            return ir.DenseI64ArrayAttr.get(value)
        case np.ndarray():
            return _ARRAY_ATTRIBUTES[value.dtype.name].get(value)
    raise TypeError(f"no attribute for {type(value)}")


@functools.singledispatch
def structure_attributes(static: Any, *, portable: bool) -> dict[str, Any]:
    """The attributes that name a static structure in a lowered program.

    A portable program (one being exported) carries the structure's content as well, so that another
    process can rebuild it.
    """
    out = {"digest": flat_attribute(static.digest)}
    if portable:
        attributes = static.portable_attributes()
        out["portable"] = ir.DictAttr.get({k: flat_attribute(v) for k, v in attributes.items()})
    return out


@structure_attributes.register
def _(static: DynamicPlan, *, portable: bool) -> dict[str, Any]:
    del portable  # the pattern is an operand
    return {"size": flat_attribute(static.size), "is_factor": flat_attribute(static.is_factor)}


@structure_attributes.register
def _(static: DynamicEntryMap, *, portable: bool) -> dict[str, Any]:
    del portable
    return {"size": flat_attribute(static.size)}


@structure_attributes.register
def _(static: DynamicCsc, *, portable: bool) -> dict[str, Any]:
    del portable
    rows, columns = static.shape
    return {
        "rows": flat_attribute(rows),
        "columns": flat_attribute(columns),
        "symmetric": flat_attribute(static.symmetric),
    }


__all__ = [
    "ATTRIBUTES",
    "Csc",
    "DynamicCsc",
    "DynamicEntryMap",
    "DynamicPlan",
    "EntryMap",
    "Plan",
    "Ref",
    "Structure",
    "Triples",
    "as_ref",
    "content_digest",
    "csc_of",
    "flat_attribute",
    "native_structure",
    "structure_attributes",
]
