"""`Factor`: everything that is computed from one Cholesky factorisation."""

from collections.abc import Sequence
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax import primitives
from cholax._core import options
from cholax._core.errors import CholaxError
from cholax._core.failures import Factorization, pivot_failure
from cholax.analysis import Plan, analyze
from cholax.linalg import operands
from cholax.linalg.combinations import combination_variance
from cholax.linalg.factor_maps import inverse_diagonal_map, inverse_map, lower_map
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern, algebra


@final
@jax.tree_util.register_pytree_node_class
class Factor(Factorization):
    """Sparse Cholesky factorisation L Lᵀ = P A Pᵀ of a symmetric positive definite matrix.

    Made by `cholesky`. Every method reuses the one numeric factorisation, under `jit` and in
    derivatives of any order: `solve` and `log_det` differentiate the problem, not the
    factorisation, and only `lower`, `sample` and the half solves differentiate L itself.

    A matrix that is not positive definite gives `ok = False` and NaN results; see `checked`.

    Attributes:
        A: the matrix factored.
        plan: its symbolic factorisation (`plan.nnz_factor`, `plan.flops`).
    """

    __slots__ = ("A", "_panels", "plan", "status")

    def __init__(self, A: SparseMatrix, plan: Plan, panels: Any, status: Any) -> None:
        self.A = A
        self.plan = plan
        self._panels = panels
        self.status = status

    def tree_flatten(self) -> tuple[Any, Any]:
        """Leaves: the matrix, the factor's entries and the status."""
        return (self.A, self._panels, self.status), self.plan

    @classmethod
    def tree_unflatten(cls, plan: Plan, leaves: Any) -> "Factor":
        """Rebuild from leaves, which may be any objects."""
        A, panels, status = leaves
        return cls(A, plan, panels, status)

    def __repr__(self) -> str:
        return (
            f"Factor(n={self.plan.n}, nnz(L)={self.plan.nnz_factor}, "
            f"dtype={getattr(self._panels, 'dtype', None)})"
        )

    def _error(self, status: int, member: str) -> CholaxError:
        return pivot_failure(status, member)

    @property
    def n(self) -> int:
        """Order of the matrix."""
        return self.plan.n

    @property
    def perm(self) -> np.ndarray:
        """`(n,)` the fill-reducing permutation: `perm[i]` is the row of A at place i of L."""
        return self.plan.perm

    @property
    def pivot(self) -> jax.Array:
        """Traced integer: the row of A whose pivot failed, or -1."""
        return self.status - 1

    def solve(self, b: ArrayLike, *, transpose: bool = False) -> jax.Array:
        """Solve A x = b.

        x = A⁻¹ b;  dx = A⁻¹ (db − dA x).

        Args:
            b: `(n,)` or `(n, k)`, dtype of the matrix.
            transpose: solve with Aᵀ, which is A; as `LU.solve` has it.

        Returns:
            x, of b's shape.

        Example:
            >>> import cholax as cx, numpy as np
            >>> F = cx.cholesky(cx.eye(3) * 4.0)
            >>> F.solve(np.ones(3)).tolist()
            [0.25, 0.25, 0.25]
        """
        options.flag(transpose, "Factor.solve", "transpose")
        b, columns = self._right_hand_side(b, "Factor.solve")
        x = primitives.solve(self.plan, self.A.values, self._panels, columns)
        return operands.shaped_like(x, b)

    def log_det(self) -> jax.Array:
        """log|A| = 2 Σ log L_ii;  d log|A| = tr(A⁻¹ dA), one selected inverse.

        Example:
            >>> import cholax as cx
            >>> round(float(cx.cholesky(cx.eye(3) * 4.0).log_det()), 6)
            4.158883
        """
        return primitives.log_determinant(self.plan, self.A.values, self._panels)

    def slogdet(self) -> tuple[jax.Array, jax.Array]:
        """`(sign, log|det A|)` as `LU.slogdet` gives them: of a positive definite matrix 1, log|A|.

        Example:
            >>> import cholax as cx
            >>> sign, logabsdet = cx.cholesky(cx.eye(3) * 4.0).slogdet()
            >>> float(sign), round(float(logabsdet), 6)
            (1.0, 4.158883)
        """
        log = self.log_det()
        return jnp.where(self.ok, jnp.ones_like(log), jnp.nan), log

    def selected_inverse(self, pattern: Pattern | str | None = None) -> SparseMatrix:
        """Entries of A⁻¹ on a sparsity pattern, by the Takahashi recursions.

        d(A⁻¹) = −A⁻¹ dA A⁻¹ on the pattern, at a small multiple of the cost of one factorisation.

        Args:
            pattern: None for A's own pattern; `"filled"` for every entry the recursion gives (the
                pattern of L + Lᵀ in A's labels); or any pattern inside that one, symmetric or not.

        Returns:
            The entries of A⁻¹, as a matrix on the pattern.

        Raises:
            SparsityError: an entry of the pattern lies outside the filled pattern.

        Example:
            >>> import cholax as cx, jax.numpy as jnp
            >>> A = cx.from_dense(jnp.array([[2.0, 1.0], [1.0, 2.0]]), symmetric=True)
            >>> cx.cholesky(A).selected_inverse().values.round(3).tolist()
            [0.66..., -0.33..., 0.66...]

        Reference:
            Takahashi, Fagan & Chin (1973); Rue & Martino (2007).
        """
        target, entry_map = inverse_map(self.plan, pattern)
        weighted = primitives.selected_inverse(self.plan, self._panels)
        return SparseMatrix(primitives.gather(entry_map, weighted), target)

    def pivots(self) -> jax.Array:
        """L_ii², `(n,)` in A's order: what elimination leaves of a_ii.

        As a conditional variance: of a covariance matrix A, that of entry i given those eliminated
        before it. A pivot of a few roundings of a_ii is that of a singular matrix.

        Example:
            >>> import cholax as cx
            >>> cx.cholesky(4.0 * cx.eye(2)).pivots().tolist()
            [4.0, 4.0]
        """
        return primitives.gather(inverse_diagonal_map(self.plan), self._panels) ** 2

    def inverse_diagonal(self) -> jax.Array:
        """diag(A⁻¹), `(n,)`: the marginal variances where A is a precision matrix.

        Example:
            >>> import cholax as cx
            >>> cx.cholesky(4.0 * cx.eye(2)).inverse_diagonal().tolist()
            [0.25, 0.25]
        """
        weighted = primitives.selected_inverse(self.plan, self._panels)
        return primitives.gather(inverse_diagonal_map(self.plan), weighted)

    def combination_variance(self, B: Any) -> jax.Array:
        """diag(BA⁻¹Bᵀ), `(m,)`: the variances of linear combinations B x of x ~ N(0, A⁻¹).

        A sparse B whose rows couple few variables goes through selected inverses (a million rows
        cost little more than one), any other through one solve per row.

        Args:
            B: `(m, n)` `SparseMatrix` or array, dtype of the matrix.

        Raises:
            ShapeError: B has another number of columns.

        Example:
            >>> import cholax as cx, jax.numpy as jnp
            >>> cx.cholesky(4.0 * cx.eye(2)).combination_variance(jnp.array([[1.0, 2.0]])).tolist()
            [1.25]
        """
        return combination_variance(self, B, self.A)

    def holding(self, pattern: Pattern) -> "Factor":
        """A factor of the same matrix such that `selected_inverse` gives a pattern's entries.

        Itself where its filled pattern holds them; else zeros are stored in A and it is factored
        once more, in the same order.

        Args:
            pattern: square, of A's order.

        Example:
            >>> import cholax as cx
            >>> full = cx.Pattern((2, 2), [0, 2, 3], [0, 1, 1], symmetric=True)
            >>> cx.cholesky(cx.eye(2)).holding(full).plan.nnz_factor
            3
        """
        symmetric = pattern if pattern.symmetric else algebra.fold(pattern)[0]
        if np.all(np.asarray(self.plan.locate(symmetric)) >= 0):
            return self
        A = self.A + SparseMatrix(jnp.zeros(symmetric.nnz, self.A.dtype), symmetric)
        plan = analyze(A.pattern, self.perm)
        return Factor(A, plan, *primitives.cholesky(plan, A.values, throw=False))

    def half_solve(self, b: ArrayLike) -> jax.Array:
        """L⁻¹ P b, of b's shape: A⁻¹ b = half_solve_t(half_solve(b)), ‖half_solve(b)‖² = bᵀA⁻¹b.

        Args:
            b: `(n,)` or `(n, k)`, dtype of the matrix.

        Example:
            >>> import cholax as cx, jax.numpy as jnp
            >>> cx.cholesky(4.0 * cx.eye(2)).half_solve(jnp.ones(2)).tolist()
            [0.5, 0.5]
        """
        b, columns = self._right_hand_side(b, "Factor.half_solve")
        permuted = primitives.permute(self.plan, columns, transpose=False)
        x = primitives.triangular_solve(self.plan, self._panels, permuted, transpose=False)
        return operands.shaped_like(x, b)

    def half_solve_t(self, z: ArrayLike) -> jax.Array:
        """Pᵀ L⁻ᵀ z, of z's shape: of covariance A⁻¹ when z is white noise.

        Args:
            z: `(n,)` or `(n, k)`, dtype of the matrix.

        Example:
            >>> import cholax as cx, jax.numpy as jnp
            >>> cx.cholesky(4.0 * cx.eye(2)).half_solve_t(jnp.ones(2)).tolist()
            [0.5, 0.5]
        """
        z, columns = self._right_hand_side(z, "Factor.half_solve_t")
        x = primitives.triangular_solve(self.plan, self._panels, columns, transpose=True)
        return operands.shaped_like(primitives.permute(self.plan, x, transpose=True), z)

    def sample(self, key: jax.Array, shape: int | Sequence[int] = ()) -> jax.Array:
        """Draw from N(0, A⁻¹): x = Pᵀ L⁻ᵀ z, z white noise; differentiable in A's values.

        Args:
            key: a JAX random key.
            shape: shape of the stack of draws.

        Returns:
            `(*shape, n)` draws.

        Example:
            >>> import cholax as cx, jax
            >>> cx.cholesky(4.0 * cx.eye(2)).sample(jax.random.key(0), (5, 3)).shape
            (5, 3, 2)
        """
        options.random_key(key, "Factor.sample")
        shape = options.sizes(shape, "Factor.sample")
        z = jax.random.normal(key, (self.n, int(np.prod(shape))), self._panels.dtype)
        return self.half_solve_t(z).T.reshape(*shape, self.n)

    def lower(self) -> SparseMatrix:
        """L as a sparse matrix in permuted labels, on its exact pattern: L Lᵀ = A[perm, perm].

        dL = L Φ(L⁻¹ dA L⁻ᵀ), Φ the lower triangle with halved diagonal, on the filled pattern.

        Example:
            >>> import cholax as cx
            >>> cx.cholesky(4.0 * cx.eye(2)).lower().to_dense().tolist()
            [[2.0, 0.0], [0.0, 2.0]]
        """
        pattern, entry_map = lower_map(self.plan)
        return SparseMatrix(primitives.gather(entry_map, self._panels), pattern)

    def _right_hand_side(self, b: ArrayLike, where: str) -> tuple[jax.Array, jax.Array]:
        batch = jnp.shape(self.status)
        return operands.right_hand_side(b, self.n, self._panels.dtype, batch, where)
