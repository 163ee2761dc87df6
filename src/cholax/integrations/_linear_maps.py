"""Linear maps between pytrees as sparse matrices of their flattened entries."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.errors import StructureError
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern
from cholax.patterns.algebra import expand
from cholax.sparsediff._jacobian import jacobian


class FlatStructure(NamedTuple):
    """Shapes and dtypes of a pytree of arrays, hashable."""

    treedef: Any
    leaves: tuple[jax.ShapeDtypeStruct, ...]

    @classmethod
    def of(cls, tree: Any) -> Self:
        """The structure of a pytree of arrays or of their shapes."""
        leaves, treedef = jax.tree.flatten(tree)
        return cls(treedef, tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves))

    @property
    def size(self) -> int:
        """Number of entries."""
        return sum(int(np.prod(x.shape)) for x in self.leaves)

    def tree(self) -> Any:
        """The pytree of shapes."""
        return jax.tree.unflatten(self.treedef, self.leaves)

    def ravel(self, tree: Any) -> jax.Array:
        """All entries of a pytree of this structure, leaf by leaf."""
        leaves = [jnp.ravel(x) for x in jax.tree.leaves(tree)]
        if len(leaves) == 1:
            return leaves[0]
        return jnp.concatenate(leaves) if leaves else jnp.zeros(0)

    def unravel(self, vector: jax.Array) -> Any:
        """The pytree that `ravel` makes `vector` of."""
        sizes = np.cumsum([int(np.prod(x.shape)) for x in self.leaves])[:-1]
        parts = jnp.split(vector, sizes) if len(self.leaves) > 1 else [vector][: len(self.leaves)]
        shaped = [
            part.reshape(x.shape).astype(x.dtype)
            for part, x in zip(parts, self.leaves, strict=True)
        ]
        return jax.tree.unflatten(self.treedef, shaped)


def sparse_jacobian(
    function: Callable[[Any], Any],
    x: Any,
    source: FlatStructure,
    target: FlatStructure,
    sparsity: Pattern | None,
) -> SparseMatrix:
    """The Jacobian of a function between pytrees at x, on a detected or given pattern."""

    def flat(vector: jax.Array) -> jax.Array:
        return target.ravel(function(source.unravel(vector)))

    pattern = _checked(sparsity, source, target)
    return jacobian(flat, sparsity=pattern)(source.ravel(x)).as_general()


def sparse_from_dense(
    matrix: jax.Array, source: FlatStructure, target: FlatStructure, sparsity: Pattern | None
) -> SparseMatrix:
    """A dense matrix on a given pattern, NaN if that misses an entry; or on the full one."""
    rows, columns = target.size, source.size
    pattern = _checked(sparsity, source, target)
    if pattern is None:
        indptr = rows * np.arange(columns + 1)
        pattern = Pattern((rows, columns), indptr, np.tile(np.arange(rows), columns))
    outside = np.ones((rows, columns), bool)
    outside[pattern.rows, pattern.columns] = False
    missed = jnp.any(jnp.where(outside, matrix, 0) != 0)
    values = matrix[pattern.rows, pattern.columns]
    return SparseMatrix(jnp.where(missed, jnp.nan, values), pattern)


def _checked(
    sparsity: Pattern | None, source: FlatStructure, target: FlatStructure
) -> Pattern | None:
    """The pattern in general storage: a symmetric one does not make its values symmetric."""
    if sparsity is None:
        return None
    if sparsity.shape != (target.size, source.size):
        raise StructureError(
            f"sparsity: the pattern must be {target.size}×{source.size}, the sizes of the "
            f"flattened output and input, got {sparsity.shape[0]}×{sparsity.shape[1]}. "
            "Leave it out to have it detected."
        )
    return expand(sparsity)[0]
