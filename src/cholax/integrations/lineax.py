"""Sparse operators and sparse direct solvers for `lineax.linear_solve`.

`SparseMatrixLinearOperator` wraps a `SparseMatrix`. The solvers `Cholesky` and `LU` take it, sums,
products and multiples of it, and also operators given by a function (`JacobianLinearOperator`,
`FunctionLinearOperator`), whose pattern is detected or given as `sparsity`: so they serve wherever
a lineax solver is asked for, in optimistix and diffrax as well.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np

from cholax._core.errors import StructureError
from cholax._core.options import shapes, shown
from cholax.integrations._linear_maps import FlatStructure, sparse_from_dense, sparse_jacobian
from cholax.linalg.cholesky import cholesky
from cholax.linalg.diagonals import diags, eye
from cholax.linalg.lu import lu
from cholax.linalg.matrix import SparseMatrix
from cholax.linalg.operands import pattern_of
from cholax.ordering import resolve
from cholax.patterns import Pattern
from cholax.patterns.algebra import expand

__all__ = ["LU", "Cholesky", "SparseMatrixLinearOperator", "sparse_matrix"]

# --- operator -------------------------------------------------------------------------------------


class SparseMatrixLinearOperator(lx.AbstractLinearOperator):
    """A `SparseMatrix` as a lineax operator.

    A matrix in symmetric storage is tagged symmetric by itself; that it is definite has to be said.

    Args:
        matrix: any `SparseMatrix`.
        tags: lineax tags, unchecked, for instance `lineax.positive_semidefinite_tag`.
        in_structure: pytree of `jax.ShapeDtypeStruct` that vectors have whose flattened entries the
            matrix multiplies; one vector when left out.
        out_structure: the same for what comes out.

    Example:
        >>> import cholax as cx, lineax as lx, jax.numpy as jnp
        >>> from cholax.integrations.lineax import Cholesky, SparseMatrixLinearOperator
        >>> A = SparseMatrixLinearOperator(4.0 * cx.eye(2), lx.positive_semidefinite_tag)
        >>> lx.linear_solve(A, jnp.ones(2), Cholesky()).value.tolist()
        [0.25, 0.25]
    """

    matrix: SparseMatrix
    tags: frozenset[object] = eqx.field(static=True)
    _source: FlatStructure = eqx.field(static=True)
    _target: FlatStructure = eqx.field(static=True)

    def __init__(
        self,
        matrix: SparseMatrix,
        tags: Any = (),
        *,
        in_structure: Any = None,
        out_structure: Any = None,
    ) -> None:
        if not isinstance(matrix, SparseMatrix):
            raise StructureError(
                f"SparseMatrixLinearOperator: need a cholax SparseMatrix, got "
                f"{type(matrix).__name__}. Convert with cx.from_scipy, cx.from_bcoo or "
                "cx.from_dense."
            )
        self.matrix = matrix
        self.tags = frozenset(tags if isinstance(tags, set | frozenset | tuple | list) else [tags])
        where = "SparseMatrixLinearOperator"
        shapes(in_structure, where, "in_structure")
        shapes(out_structure, where, "out_structure")
        self._source = _structure(in_structure, matrix.shape[1], matrix.dtype)
        self._target = _structure(out_structure, matrix.shape[0], matrix.dtype)

    def mv(self, vector: Any) -> Any:
        """A x."""
        return self._target.unravel(self.matrix @ self._source.ravel(vector))

    def as_matrix(self) -> jax.Array:
        """The dense array."""
        return self.matrix.to_dense()

    def transpose(self) -> "SparseMatrixLinearOperator":
        """Aᵀ."""
        if lx.is_symmetric(self):
            return self
        return SparseMatrixLinearOperator(
            self.matrix.T,
            lx.transpose_tags(self.tags),
            in_structure=self._target.tree(),
            out_structure=self._source.tree(),
        )

    def in_structure(self) -> Any:
        """Structure of x."""
        return self._source.tree()

    def out_structure(self) -> Any:
        """Structure of A x."""
        return self._target.tree()


def _structure(given: Any, size: int, dtype: Any) -> FlatStructure:
    if given is None:
        given = jax.ShapeDtypeStruct((size,), dtype)
    structure = FlatStructure.of(given)
    if structure.size != size:
        raise StructureError(
            f"SparseMatrixLinearOperator: the structure must hold {size} entries, got "
            f"{structure.size}. Its leaves, flattened one after the other, are the vector."
        )
    return structure


def _tagged(operator: SparseMatrixLinearOperator, *tags: object) -> bool:
    return any(tag in operator.tags for tag in tags)


def _offsets(operator: SparseMatrixLinearOperator) -> np.ndarray:
    """Column minus row of every stored entry, of both triangles."""
    full, _ = expand(operator.matrix.pattern)
    return full.columns - full.rows


def _band(A: SparseMatrix, k: int) -> jax.Array:
    """The diagonal of column minus row k."""
    A = A.as_general()
    stored = np.flatnonzero(A.pattern.columns - A.pattern.rows == k)
    size = max(A.n - abs(k), 0)
    place = np.minimum(A.pattern.rows[stored], A.pattern.columns[stored])
    return jnp.zeros(size, A.dtype).at[place].set(A.values[stored])


@lx.linearise.register(SparseMatrixLinearOperator)
@lx.materialise.register(SparseMatrixLinearOperator)
@lx.conj.register(SparseMatrixLinearOperator)
def _(operator: SparseMatrixLinearOperator) -> SparseMatrixLinearOperator:
    return operator  # the entries are stored, and real


@lx.diagonal.register(SparseMatrixLinearOperator)
def _(operator: SparseMatrixLinearOperator) -> jax.Array:
    return operator.matrix.diagonal()


@lx.tridiagonal.register(SparseMatrixLinearOperator)
def _(operator: SparseMatrixLinearOperator) -> tuple[jax.Array, jax.Array, jax.Array]:
    A = operator.matrix
    return A.diagonal(), _band(A, -1), _band(A, 1)


@lx.is_symmetric.register(SparseMatrixLinearOperator)
def _(operator: SparseMatrixLinearOperator) -> bool:
    implied = lx.positive_semidefinite_tag, lx.negative_semidefinite_tag, lx.diagonal_tag
    return operator.matrix.symmetric or _tagged(operator, lx.symmetric_tag, *implied)


@lx.is_diagonal.register(SparseMatrixLinearOperator)
def _(operator: SparseMatrixLinearOperator) -> bool:
    return _tagged(operator, lx.diagonal_tag) or not np.any(_offsets(operator))


@lx.is_tridiagonal.register(SparseMatrixLinearOperator)
def _(operator: SparseMatrixLinearOperator) -> bool:
    return _tagged(operator, lx.tridiagonal_tag) or not np.any(np.abs(_offsets(operator)) > 1)


@lx.is_lower_triangular.register(SparseMatrixLinearOperator)
def _(operator: SparseMatrixLinearOperator) -> bool:
    return _tagged(operator, lx.lower_triangular_tag) or not np.any(_offsets(operator) > 0)


@lx.is_upper_triangular.register(SparseMatrixLinearOperator)
def _(operator: SparseMatrixLinearOperator) -> bool:
    return _tagged(operator, lx.upper_triangular_tag) or not np.any(_offsets(operator) < 0)


@lx.has_unit_diagonal.register(SparseMatrixLinearOperator)
def _(operator: SparseMatrixLinearOperator) -> bool:
    return _tagged(operator, lx.unit_diagonal_tag)


@lx.is_positive_semidefinite.register(SparseMatrixLinearOperator)
def _(operator: SparseMatrixLinearOperator) -> bool:
    return _tagged(operator, lx.positive_semidefinite_tag)


@lx.is_negative_semidefinite.register(SparseMatrixLinearOperator)
def _(operator: SparseMatrixLinearOperator) -> bool:
    return _tagged(operator, lx.negative_semidefinite_tag)


# --- sparse matrices of operators -----------------------------------------------------------------


def sparse_matrix(
    operator: lx.AbstractLinearOperator, *, sparsity: Pattern | None = None
) -> SparseMatrix:
    """The sparse matrix of a lineax operator, between flattened pytrees.

    Sums, products and multiples of operators are formed from their parts. An operator given by a
    function is evaluated with one product per colour of its pattern.

    Args:
        operator: a lineax operator.
        sparsity: the pattern of an operator given by a function or by a dense matrix; the matrix is
            NaN where an entry is found to be missing. When left out, that of a function is detected
            and that of a dense matrix taken to be full, as are always those of the parts of a sum
            or product.

    Returns:
        A `SparseMatrix`.

    Example:
        >>> import lineax as lx, jax.numpy as jnp
        >>> from cholax.integrations.lineax import sparse_matrix
        >>> J = lx.JacobianLinearOperator(lambda x, _: x**2, jnp.array([1.0, 3.0]))
        >>> sparse_matrix(J).diagonal().tolist()
        [2.0, 6.0]
    """
    if not isinstance(operator, lx.AbstractLinearOperator):
        raise StructureError(f"sparse_matrix: need a lineax operator, got {shown(operator)}.")
    sparsity = _pattern(sparsity, "sparse_matrix")
    found = _from_parts(operator, sparsity)
    if found is not None:
        return found
    source = FlatStructure.of(operator.in_structure())
    target = FlatStructure.of(operator.out_structure())
    if isinstance(operator, lx.MatrixLinearOperator | lx.PyTreeLinearOperator):
        return sparse_from_dense(operator.as_matrix(), source, target, sparsity)
    if isinstance(operator, lx.JacobianLinearOperator) and operator.jac != "bwd":
        x = operator.x
        return sparse_jacobian(lambda y: operator.fn(y, operator.args), x, source, target, sparsity)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), source.tree())
    return sparse_jacobian(operator.mv, zeros, source, target, sparsity)


def _from_parts(
    operator: lx.AbstractLinearOperator, sparsity: Pattern | None
) -> SparseMatrix | None:
    def part(inner: Any) -> SparseMatrix:
        return sparse_matrix(inner, sparsity=sparsity)

    match operator:
        case SparseMatrixLinearOperator():
            return operator.matrix
        case lx.TaggedLinearOperator():
            return part(operator.operator)
        case lx.NegLinearOperator():
            return -part(operator.operator)
        case lx.MulLinearOperator():
            return part(operator.operator) * operator.scalar
        case lx.DivLinearOperator():
            return part(operator.operator) / operator.scalar
        case lx.AddLinearOperator():
            return sparse_matrix(operator.operator1) + sparse_matrix(operator.operator2)
        case lx.ComposedLinearOperator():
            return sparse_matrix(operator.operator1) @ sparse_matrix(operator.operator2)
        case lx.DiagonalLinearOperator():
            return diags([lx.diagonal(operator)], [0])
        case lx.IdentityLinearOperator() if operator.in_size() == operator.out_size():
            dtype = jnp.result_type(*jax.tree.leaves(operator.in_structure()))
            return eye(operator.in_size(), dtype=dtype)
        case lx.TridiagonalLinearOperator():
            bands = (operator.lower_diagonal, operator.diagonal, operator.upper_diagonal)
            return diags(bands, [-1, 0, 1])
    return None


# --- solvers --------------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """How vectors enter and leave a solve."""

    solution: FlatStructure
    vector: FlatStructure
    sign: int = 1
    transposed: bool = False


class _State(eqx.Module):
    factor: Any
    layout: _Layout = eqx.field(static=True)


def _pattern(sparsity: Any, where: str) -> Pattern | None:
    return None if sparsity is None else pattern_of(sparsity, f"{where}: sparsity")


class _Direct(lx.AbstractLinearSolver[_State]):
    """What the two solvers share: options, transposition and conjugation of a real factor."""

    ordering: Any = eqx.field(static=True)
    sparsity: Pattern | None = eqx.field(static=True)

    def _layout(self, operator: lx.AbstractLinearOperator, sign: int = 1) -> _Layout:
        if operator.in_size() != operator.out_size():
            raise StructureError(
                f"{type(self).__name__}: the operator must be square, got "
                f"{operator.out_size()}×{operator.in_size()}. Solve the normal equations instead."
            )
        source = FlatStructure.of(operator.in_structure())
        return _Layout(source, FlatStructure.of(operator.out_structure()), sign)

    def _result(self, x: jax.Array, state: _State) -> Any:
        result = lx.RESULTS.where(state.factor.ok, lx.RESULTS.successful, lx.RESULTS.singular)
        return state.layout.solution.unravel(x), result, {}

    def transpose(self, state: _State, options: dict[str, Any]) -> tuple[_State, dict[str, Any]]:
        """The same factor, used the other way round."""
        a = state.layout
        turned = _Layout(a.vector, a.solution, a.sign, not a.transposed)
        return _State(state.factor, turned), options

    def conj(self, state: _State, options: dict[str, Any]) -> tuple[_State, dict[str, Any]]:
        """Real operators only."""
        return state, options

    def assume_full_rank(self) -> bool:
        """Singular operators are reported, not solved in the sense of least squares."""
        return True


class Cholesky(_Direct):
    """Sparse Cholesky for `lineax.linear_solve`, for definite operators.

    The operator must be tagged positive or negative semidefinite. A matrix that is not definite
    gives `lineax.RESULTS.singular`. The transposed solves of reverse mode reuse the factor.

    Args:
        ordering: as for `cx.cholesky`.
        sparsity: the pattern of operators given by a function; detected when left out.

    Example:
        >>> import lineax as lx, jax.numpy as jnp
        >>> from cholax.integrations.lineax import Cholesky
        >>> tag = lx.positive_semidefinite_tag
        >>> A = lx.FunctionLinearOperator(lambda x: 4 * x, jnp.zeros(3), tag)
        >>> lx.linear_solve(A, jnp.ones(3), Cholesky()).value.tolist()
        [0.25, 0.25, 0.25]
    """

    def __init__(self, ordering: Any = "auto", *, sparsity: Pattern | None = None) -> None:
        self.ordering = resolve(ordering)
        self.sparsity = _pattern(sparsity, type(self).__name__)

    def init(self, operator: lx.AbstractLinearOperator, options: dict[str, Any]) -> _State:
        """Factor ±A."""
        del options
        negative = lx.is_negative_semidefinite(operator)
        if not (lx.is_positive_semidefinite(operator) or negative):
            raise StructureError(
                "Cholesky: the operator must be tagged lineax.positive_semidefinite_tag or "
                "lineax.negative_semidefinite_tag, got neither. Use LU for a general operator."
            )
        layout = self._layout(operator, -1 if negative else 1)
        A = sparse_matrix(operator, sparsity=self.sparsity).symmetrize()
        return _State(cholesky(-A if negative else A, ordering=self.ordering), layout)

    def compute(self, state: _State, vector: Any, options: dict[str, Any]) -> Any:
        """Two triangular solves."""
        del options
        b = state.layout.vector.ravel(vector)
        return self._result(state.layout.sign * state.factor.solve(b), state)


class LU(_Direct):
    """Sparse LU for `lineax.linear_solve`, for any square operator that is not singular.

    A singular operator gives `lineax.RESULTS.singular`. The transposed solves of reverse mode reuse
    the factors.

    Args:
        ordering: as for `cx.lu`.
        sparsity: the pattern of operators given by a function; detected when left out.
        capacity: as for `cx.lu`.

    Example:
        >>> import lineax as lx, jax.numpy as jnp
        >>> from cholax.integrations.lineax import LU
        >>> def residual(x, args):
        ...     return x**2 - jnp.roll(x, 1)
        >>> J = lx.JacobianLinearOperator(residual, jnp.array([1.0, 2.0, 3.0]))
        >>> x = lx.linear_solve(J, jnp.array([1.0, 2.0, 3.0]), LU()).value
        >>> bool(jnp.allclose(J.mv(x), jnp.array([1.0, 2.0, 3.0]), atol=1e-5))
        True
    """

    capacity: float | None = eqx.field(static=True)

    def __init__(
        self,
        ordering: Any = "auto",
        *,
        sparsity: Pattern | None = None,
        capacity: float | None = None,
    ) -> None:
        self.ordering = resolve(ordering)
        self.sparsity = _pattern(sparsity, type(self).__name__)
        self.capacity = capacity

    def init(self, operator: lx.AbstractLinearOperator, options: dict[str, Any]) -> _State:
        """Factor A."""
        del options
        layout = self._layout(operator)
        A = sparse_matrix(operator, sparsity=self.sparsity)
        return _State(lu(A, ordering=self.ordering, capacity=self.capacity), layout)

    def compute(self, state: _State, vector: Any, options: dict[str, Any]) -> Any:
        """Two triangular solves, and refinement."""
        del options
        b = state.layout.vector.ravel(vector)
        return self._result(state.factor.solve(b, transpose=state.layout.transposed), state)
