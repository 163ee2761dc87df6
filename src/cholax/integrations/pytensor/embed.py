"""Ops that move values between patterns: into a larger one, and out of PyTensor's sparse matrices.

`Embed` and `Restrict` are each other's transposes. `HalfOfFull` reads the lower triangle of a
symmetric matrix stored in full.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply, Constant
from pytensor.link.jax.dispatch.basic import jax_funcify

from cholax._core.errors import PatternError, StructureError, UnsupportedError
from cholax.integrations.pytensor._untyped import Op, pt
from cholax.integrations.pytensor.ops import PatternOp
from cholax.linalg import maps
from cholax.patterns import Pattern


class Embed(PatternOp):
    """Values on a pattern as values on a larger one, zero elsewhere."""

    __props__ = ("pattern", "into")
    ranks = (1,)
    gufunc_signature = "(k)->(l)"

    def __init__(self, pattern: Pattern, into: Pattern) -> None:
        super().__init__(pattern)
        self.into = into

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of the values."""
        return (self.pattern.nnz,)

    def run(self, values: Any) -> Any:
        """One gather."""
        return maps.take(maps.union(self.pattern, self.into)[1], values)

    def result_shape(self, shapes: Sequence[Any]) -> tuple[Any, ...]:
        """That of the larger pattern's values."""
        del shapes
        return (self.into.nnz,)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """The transpose."""
        del inputs, outputs
        return [Restrict(self.pattern, self.into)(cotangents[0])]


class Restrict(Embed):
    """Values on the larger pattern of an `Embed`, read on the smaller one."""

    gufunc_signature = "(l)->(k)"

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of the larger pattern's values."""
        return (self.into.nnz,)

    def run(self, values: Any) -> Any:
        """One scatter."""
        return maps.put(maps.union(self.pattern, self.into)[1], values)

    def result_shape(self, shapes: Sequence[Any]) -> tuple[Any, ...]:
        """That of the values."""
        del shapes
        return (self.pattern.nnz,)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """The transpose."""
        del inputs, outputs
        return [Embed(self.pattern, self.into)(cotangents[0])]


class HalfOfFull(Op):
    """Lower triangle of a symmetric matrix in full storage, from its data, indices and indptr.

    The halves are averaged. That they agree, and that the indices are those of the pattern, is
    checked at every call; in JAX mode the indices must be constants and are checked once.
    """

    __props__ = ("pattern",)

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern

    def make_node(self, data: Any, indices: Any, indptr: Any) -> Apply:
        """Three vectors."""
        inputs = [pt.as_tensor_variable(x) for x in (data, indices, indptr)]
        out = pt.tensor(dtype=inputs[0].type.dtype, shape=(self.pattern.nnz,))
        return Apply(self, inputs, [out])

    def infer_shape(self, fgraph: Any, node: Apply, shapes: Any) -> list[Any]:
        """Known from the pattern."""
        del fgraph, node, shapes
        return [(self.pattern.nnz,)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Indices carry no derivative."""
        del node
        return [[True], [False], [False]]

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:
        """Check, then average the halves."""
        del node
        data, indices, indptr = inputs
        self.check(indices, indptr)
        lower, upper = _halves(self.pattern)
        scale = np.max(np.abs(data), initial=0.0)
        worst = np.max(np.abs(data[lower] - data[upper]), initial=0.0)
        if worst > 1e4 * np.finfo(data.dtype).eps * scale:
            raise StructureError(
                f"as_symmetric: the matrix must be symmetric, got halves that differ by "
                f"{worst:.3g}. Take 0.5 * (A + A.T)."
            )
        output_storage[0][0] = 0.5 * (data[lower] + data[upper])

    def check(self, indices: Any, indptr: Any) -> None:
        """The matrix has the pattern's entries, in order."""
        full, _ = maps.expand(self.pattern)
        same = np.array_equal(indptr, full.indptr) and np.array_equal(indices, full.indices)
        if not same:
            raise PatternError(
                f"as_symmetric: the entries of the matrix must be those of {self.pattern!r} and "
                f"its mirror image, sorted, got {len(indices)} entries that are not. Give the "
                "pattern of the matrix, and keep its zeros."
            )

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """Half of each off-diagonal cotangent to either mirror entry."""
        del inputs, outputs
        pattern, (g,) = self.pattern, cotangents
        weights = np.where(pattern.rows == pattern.columns, 1.0, 0.5).astype(g.type.dtype)
        source = np.asarray(maps.expand(pattern)[1].positions)
        return [(g * weights)[source], DisconnectedType()(), DisconnectedType()()]

    def L_op(self, inputs: Any, outputs: Any, output_grads: Any) -> list[Any]:
        """The pullback by its name in PyTensor 2."""
        return self.pullback(inputs, outputs, output_grads)


def _halves(pattern: Pattern) -> tuple[np.ndarray, np.ndarray]:
    """Where the lower entries and their mirror images are among those of the full matrix."""
    full, source = maps.expand(pattern)
    positions, k = np.asarray(source.positions), np.arange(full.nnz)
    lower, upper = np.empty(pattern.nnz, np.int64), np.empty(pattern.nnz, np.int64)
    below, above = full.rows >= full.columns, full.rows <= full.columns
    lower[positions[below]], upper[positions[above]] = k[below], k[above]
    return lower, upper


@jax_funcify.register(HalfOfFull)
def _jax_of_half_of_full(op: HalfOfFull, node: Any = None, **kwargs: Any) -> Any:
    del kwargs
    indices = node.inputs[1:]
    if not all(isinstance(x, Constant) for x in indices):
        raise UnsupportedError(
            "as_symmetric: PyTensor's JAX mode needs constant indices. Build the matrix from "
            "values on a pattern, or with pytensor.sparse.CSC and constant indices."
        )
    op.check(*(x.data for x in indices))
    lower, upper = _halves(op.pattern)

    def run(data: Any, *indices: Any) -> Any:
        del indices
        return 0.5 * (data[lower] + data[upper])

    return run
