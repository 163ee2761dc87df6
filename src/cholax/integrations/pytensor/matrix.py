"""`SymmetricMatrix`: a PyTensor vector of values on a static pattern, and its linear algebra."""

from typing import Any, final

import numpy as np
import scipy.sparse
from pytensor.sparse import csm_properties
from pytensor.sparse.basic import CSM
from pytensor.sparse.variable import SparseVariable

from cholax._core.errors import ShapeError, StructureError
from cholax.integrations.pytensor._untyped import pt
from cholax.integrations.pytensor.embed import Embed, HalfOfFull
from cholax.integrations.pytensor.ops import CholeskyFactor, LogDet, Matvec, Solve
from cholax.linalg import maps
from cholax.linalg.construct import from_scipy
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern


@final
class SymmetricMatrix:
    """A sparse symmetric matrix in a PyTensor graph: symbolic values on a static pattern.

    `A + B`, `A - B`, `-A`, `c * A`, `A / c` for a scalar c, `A @ x`, `A.add_diagonal(d)`,
    `A.solve(b)`, `A.log_det()` and `A.quadratic_form(x)`. Every product of a model's graph that
    needs the factor uses one factorisation. Where A is not positive definite, solutions and
    log-determinant are NaN, which samplers reject.

    Args:
        values: vector of the entries of the lower triangle, by columns, as in
            `cholax.SparseMatrix`; a gradient with respect to an off-diagonal one counts both
            mirror entries.
        pattern: a symmetric `cholax.Pattern`.
        ordering: as for `cholax.cholesky`; hashable, so a permutation as a tuple.

    Raises:
        StructureError: the pattern is not symmetric.

    Example:
        >>> import numpy as np, pytensor, pytensor.tensor as pt
        >>> from cholax.integrations.pytensor import as_symmetric
        >>> D, W = np.diag([1.0, 2.0, 1.0]), np.eye(3, k=1) + np.eye(3, k=-1)
        >>> tau = pt.scalar("tau")
        >>> Q = tau * (as_symmetric(D) - 0.5 * as_symmetric(W))
        >>> Q
        SymmetricMatrix(n=3, nnz=5, float64)
        >>> f = pytensor.function([tau], Q.solve(np.array([1.0, 2.0, 1.0])), mode="JAX")
        >>> np.round(f(2.0), 6).tolist()
        [1.0, 1.0, 1.0]
    """

    # NumPy scalars then leave `c * A` to this class.
    __array_ufunc__ = None

    def __init__(self, values: Any, pattern: Pattern, *, ordering: Any = "auto") -> None:
        if not (isinstance(pattern, Pattern) and pattern.symmetric):
            raise StructureError(
                f"SymmetricMatrix: need a symmetric cholax Pattern, got {pattern!r}. "
                "Take that of cx.from_scipy(Q, symmetric=True)."
            )
        self.values = pt.as_tensor_variable(values)
        if self.values.type.ndim != 1:
            raise ShapeError(
                f"SymmetricMatrix: values must be one vector of length {pattern.nnz}, got "
                f"{self.values.type}."
            )
        self.values = pt.specify_shape(self.values, (pattern.nnz,))
        self.pattern = pattern
        self.ordering = ordering

    def __repr__(self) -> str:
        return f"SymmetricMatrix(n={self.n}, nnz={self.pattern.nnz}, {self.values.type.dtype})"

    @property
    def n(self) -> int:
        """Order of the matrix."""
        return self.pattern.n

    def _like(self, values: Any) -> "SymmetricMatrix":
        return SymmetricMatrix(values, self.pattern, ordering=self.ordering)

    # Algebra

    def __neg__(self) -> "SymmetricMatrix":
        return self._like(-self.values)

    def __mul__(self, c: Any) -> "SymmetricMatrix":
        return self._like(_scalar(c, "c * A") * self.values)

    __rmul__ = __mul__

    def __truediv__(self, c: Any) -> "SymmetricMatrix":
        return self._like(self.values / _scalar(c, "A / c"))

    def __add__(self, other: Any) -> "SymmetricMatrix":
        if not isinstance(other, SymmetricMatrix):
            return NotImplemented
        if other.n != self.n:
            raise ShapeError(f"A + B: need one order, got {self.n} and {other.n}.")
        pattern = maps.union(self.pattern, other.pattern)[0]
        values = self.on(pattern).values + other.on(pattern).values
        return SymmetricMatrix(values, pattern, ordering=self.ordering)

    def __sub__(self, other: Any) -> "SymmetricMatrix":
        return self + (-other) if isinstance(other, SymmetricMatrix) else NotImplemented

    def on(self, pattern: Pattern) -> "SymmetricMatrix":
        """The same matrix on a larger pattern, with zeros stored.

        Args:
            pattern: symmetric, containing this one.
        """
        if pattern == self.pattern:
            return self
        if maps.union(self.pattern, pattern)[0] != pattern:
            raise StructureError("SymmetricMatrix.on: the pattern must contain the matrix's own.")
        values = Embed(self.pattern, pattern)(self.values)
        return SymmetricMatrix(values, pattern, ordering=self.ordering)

    def add_diagonal(self, d: Any) -> "SymmetricMatrix":
        """A + diag(d), or A + d·I for a scalar."""
        d = pt.broadcast_to(pt.as_tensor_variable(d), (self.n,))
        return self._like(pt.inc_subtensor(self.values[self.pattern.diagonal_positions], d))

    def to_dense(self) -> Any:
        """The dense matrix, for small ones."""
        p = self.pattern
        lower = pt.set_subtensor(
            pt.zeros((p.n, p.n), dtype=self.values.type.dtype)[p.rows, p.columns], self.values
        )
        return lower + pt.tril(lower, -1).T

    # Products and solutions

    def __matmul__(self, x: Any) -> Any:
        x = pt.as_tensor_variable(x)
        return _by_columns(lambda columns: Matvec(self.pattern)(self.values, columns), x)

    def quadratic_form(self, x: Any) -> Any:
        """xᵀAx over the last axis of x, of shape `(..., n)`."""
        x = pt.as_tensor_variable(x)
        rows = x.reshape((-1, self.n))
        products = Matvec(self.pattern)(self.values, rows.T).T
        return (rows * products).sum(axis=-1).reshape(x.shape[:-1], ndim=x.type.ndim - 1)

    def _factor(self) -> Any:
        return CholeskyFactor(self.pattern, self.ordering)(self.values)

    def solve(self, b: Any) -> Any:
        """A⁻¹b for b of shape `(n,)` or `(n, k)`."""
        solve, b = Solve(self.pattern, self.ordering), pt.as_tensor_variable(b)
        return _by_columns(lambda columns: solve(self.values, self._factor(), columns), b)

    def log_det(self) -> Any:
        """log|A|."""
        return LogDet(self.pattern, self.ordering)(self.values, self._factor())


def _by_columns(function: Any, x: Any) -> Any:
    return function(x) if x.type.ndim == 2 else function(x[:, None])[:, 0]


def _scalar(c: Any, where: str) -> Any:
    c = pt.as_tensor_variable(c)
    if c.type.ndim != 0:
        raise ShapeError(
            f"{where}: need a scalar, got {c.type}. For a diagonal use A.add_diagonal(d)."
        )
    return c


def as_symmetric(Q: Any, pattern: Any = None, *, ordering: Any = "auto") -> SymmetricMatrix:
    """A `SymmetricMatrix` of anything that is one.

    Args:
        Q: a `SymmetricMatrix`; a symmetric cholax `SparseMatrix`, SciPy sparse matrix or dense
            array of constants; a PyTensor vector of values on `pattern`; or a `pytensor.sparse`
            variable, stored in full, whose entries are those of `pattern`.
        pattern: symmetric `cholax.Pattern`, or a SciPy sparse matrix that has it.
        ordering: as for `cholax.cholesky`.

    Returns:
        A `SymmetricMatrix`.

    Raises:
        StructureError: no symmetric matrix, or a symbolic one without its pattern.

    Example:
        >>> import numpy as np
        >>> from cholax.integrations.pytensor import as_symmetric
        >>> as_symmetric(np.array([[2.0, 1.0], [1.0, 2.0]]))
        SymmetricMatrix(n=2, nnz=3, float64)
    """
    if isinstance(Q, SymmetricMatrix):
        return Q
    if isinstance(Q, SparseMatrix):
        if not Q.symmetric:
            raise StructureError(f"as_symmetric: need a symmetric matrix, got {Q!r}.")
        return SymmetricMatrix(np.asarray(Q.values), Q.pattern, ordering=ordering)
    if scipy.sparse.issparse(Q) or (isinstance(Q, np.ndarray) and Q.ndim == 2):
        matrix = from_scipy(scipy.sparse.csc_array(Q), symmetric=True)
        return as_symmetric(matrix, ordering=ordering)
    if pattern is None:
        raise StructureError(
            f"as_symmetric: the pattern of {Q!r} is not known. Pass pattern=, a symmetric "
            "cholax.Pattern or a SciPy matrix that has it."
        )
    pattern = _pattern(pattern)
    if isinstance(Q, SparseVariable):
        # Straight from its parts where the graph built it: then nothing sparse meets JAX mode.
        owner: Any = getattr(Q, "owner", None)
        built = isinstance(getattr(owner, "op", None), CSM)
        parts: Any = getattr(owner, "inputs", ()) if built else csm_properties(Q)
        Q = HalfOfFull(pattern)(*parts[:3])
    return SymmetricMatrix(Q, pattern, ordering=ordering)


def _pattern(pattern: Any) -> Pattern:
    if isinstance(pattern, Pattern):
        return pattern
    ones = scipy.sparse.csc_array(pattern, copy=True)
    ones.data = np.ones(ones.nnz)
    return from_scipy(ones, symmetric=True).pattern
