"""How a sparse matrix leaves cholax: dense, SciPy, BCOO, Matrix Market."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.io
import scipy.sparse
from jax.core import Tracer

from cholax import primitives
from cholax._core.errors import UnsupportedError
from cholax.linalg import arithmetic, maps, operands
from cholax.patterns import Pattern, algebra

if TYPE_CHECKING:
    from jax.experimental.sparse import BCOO


class Export:
    """The conversions of `SparseMatrix` to other formats."""

    __slots__ = ()

    values: jax.Array
    pattern: Pattern

    def to_dense(self) -> jax.Array:
        """The matrix as a dense array, both triangles when symmetric.

        Returns:
            `(rows, columns)` array.

        Raises:
            ShapeError: more than 2³¹ - 1 entries.

        Example:
            >>> import cholax as cx
            >>> cx.eye(2).to_dense().tolist()
            [[1.0, 0.0], [0.0, 1.0]]
        """
        values = operands.unbatched(self.values, "to_dense")
        values, pattern = arithmetic.expand(values, self.pattern)
        return primitives.scatter(maps.dense(pattern), values).reshape(pattern.shape)

    def to_scipy(self) -> scipy.sparse.csc_array:
        """The matrix as a SciPy `csc_array`, both triangles when symmetric.

        Returns:
            A `scipy.sparse.csc_array` that owns its arrays.

        Raises:
            UnsupportedError: the values are traced.

        Example:
            >>> import cholax as cx
            >>> cx.eye(3).to_scipy().nnz
            3
        """
        values = operands.unbatched(self.values, "to_scipy")
        if isinstance(values, Tracer):
            raise UnsupportedError(
                "to_scipy: needs concrete values, got traced ones. "
                "Return the SparseMatrix from the jitted function and convert it outside."
            )
        pattern, source = algebra.expand(self.pattern)
        arrays = (np.asarray(values)[source], pattern.indices.copy(), pattern.indptr.copy())
        return scipy.sparse.csc_array(arrays, shape=pattern.shape)

    def to_bcoo(self) -> "BCOO":
        """The matrix as a `jax.experimental.sparse.BCOO`, both triangles when symmetric.

        Returns:
            A BCOO with sorted, unique indices.

        Example:
            >>> import cholax as cx
            >>> cx.eye(2).to_bcoo().indices.tolist()
            [[0, 0], [1, 1]]
        """
        # Here, not above: importing the experimental module takes 0.35 s and few programs need it.
        from jax.experimental.sparse import BCOO

        # BCOO sorts by row, then column: the transpose in compressed columns lists just that.
        values = operands.unbatched(self.values, "to_bcoo")
        values, pattern = arithmetic.expand(values, self.pattern)
        turned, source = maps.transpose(pattern)
        indices = jnp.asarray(np.stack([turned.columns, turned.rows], axis=1))
        data = (primitives.gather(source, values), indices)
        return BCOO(data, shape=pattern.shape, indices_sorted=True, unique_indices=True)

    def to_matrix_market(self, target: Any) -> None:
        """Write the matrix to a Matrix Market file through `scipy.io.mmwrite`.

        Args:
            target: file name, or a file opened for binary writing.

        Raises:
            UnsupportedError: the values are traced.

        Example:
            >>> import cholax as cx, io
            >>> file = io.BytesIO()
            >>> cx.eye(2).to_matrix_market(file)
            >>> file.getvalue().splitlines()[0].decode()
            '%%MatrixMarket matrix coordinate real symmetric'
        """
        symmetry = "symmetric" if self.pattern.symmetric else "general"
        # 17 digits tell any two doubles apart, so a file read back gives the same values.
        scipy.io.mmwrite(target, self.to_scipy(), precision=17, symmetry=symmetry)
