"""The static structure of a mixed model, and its cross-products ZᵀWZ in dense blocks.

Levels of one term do not meet in a row, so ZᵀWZ is made of p_t × p_s blocks, one for each pair of
levels of terms t and s that share rows. Λ is block diagonal with one lower triangular T_t for all
levels of a term, so ΛᵀZᵀWZΛ has the blocks T_tᵀ C T_s: small dense products on fixed places.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from cholax import primitives
from cholax._core.pickling import reduce_tuple
from cholax.linalg.construct import from_coo as matrix_from_coo
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern
from cholax.patterns.build import from_coo
from cholax.primitives import EntryMap
from cholax.stats._lmm.design import Design, RandomTerm

Pair = tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """What a program is compiled for.

    Effects are numbered term by term, then level by level, then column by column.

    Attributes:
        sizes: (levels, columns) of each term.
        pairs: (t, s, number of blocks), t ≤ s.
        pattern: of ΛᵀZᵀWZΛ + I.
        entries: where its entries lie among those of all blocks, one after the other.
        fixed: number of fixed effects.
        n: number of rows.
    """

    sizes: tuple[tuple[int, int], ...]
    pairs: tuple[Pair, ...]
    pattern: Pattern
    entries: EntryMap
    fixed: int
    n: int

    @property
    def theta_sizes(self) -> tuple[int, ...]:
        """Parameters of each term."""
        return tuple(p * (p + 1) // 2 for _, p in self.sizes)

    @property
    def offsets(self) -> np.ndarray:
        """Where the effects of each term begin, and their number."""
        return np.concatenate([[0], np.cumsum([levels * p for levels, p in self.sizes])])

    def templates(self, theta: Any) -> tuple[Any, ...]:
        """θ as the lower triangular T_t, filled column by column as in lme4.

        They are NumPy arrays where θ is one.
        """
        found, start = [], 0
        for (_, p), size in zip(self.sizes, self.theta_sizes, strict=True):
            columns, rows = np.triu_indices(p)
            part = theta[start : start + size]
            if isinstance(theta, np.ndarray):
                T = np.zeros((p, p), theta.dtype)
                T[rows, columns] = part
            else:
                T = jnp.zeros((p, p), theta.dtype).at[rows, columns].set(part)
            found.append(T)
            start += size
        return tuple(found)

    def theta(self, templates: Any) -> Any:
        """The inverse of `templates`."""
        parts = [
            T[np.triu_indices(p)[::-1]] for T, (_, p) in zip(templates, self.sizes, strict=True)
        ]
        return (
            _join(parts)
            if all(isinstance(x, np.ndarray) for x in parts)
            else jnp.concatenate(parts)
        )

    def search_scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Which entries of θ̃ lie on diagonals, and the root of the curvature to expect of each.

        In log θ̃ of a term with many informative levels it is twice their number.
        """
        diagonal = [np.equal(*np.triu_indices(p)) for _, p in self.sizes]
        pairs = zip(self.sizes, self.theta_sizes, strict=True)
        scale = [np.full(size, np.sqrt(2.0 * levels)) for (levels, _), size in pairs]
        return _join(diagonal, bool), _join(scale)

    def units(self, theta: np.ndarray) -> np.ndarray:
        """Sizes of the entries of θ̃: length of their row of T̃, at least one.

        A row's squared length is the variance of an effect. Moving one of its entries by that much
        changes the criterion by about the number of levels, whatever the ratio to the residual.
        """
        rows = [np.maximum(np.linalg.norm(T, axis=1), 1.0) for T in self.templates(theta)]
        return self.theta([np.tile(r[:, None], r.size) for r in rows])

    def matrix(self, blocks: tuple[jax.Array, ...], templates: Any) -> SparseMatrix:
        """ΛᵀZᵀWZΛ + I from the blocks of ZᵀWZ."""
        scaled = [
            _congruence(templates[t], C, templates[s]).ravel()
            for (t, s, _), C in zip(self.pairs, blocks, strict=True)
        ]
        if not scaled:
            return SparseMatrix(jnp.zeros(0), self.pattern)
        values = primitives.gather(self.entries, jnp.concatenate(scaled))
        return SparseMatrix(values, self.pattern).add_diagonal(1.0)

    def scale(self, templates: Any, effects: jax.Array, *, transpose: bool = False) -> jax.Array:
        """Λ V or Λᵀ V for V of shape `(q, m)`."""
        rule = "ab,lam->lbm" if transpose else "ab,lbm->lam"
        parts = []
        for T, (levels, p), start in zip(templates, self.sizes, self.offsets, strict=False):
            V = effects[start : start + levels * p].reshape(levels, p, -1)
            parts.append(jnp.einsum(rule, T, V).reshape(levels * p, -1))
        return jnp.concatenate(parts) if parts else effects


def _join(parts: list[np.ndarray], dtype: Any = np.float64) -> np.ndarray:
    """The concatenation; a model without random effects has no parts."""
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def _congruence(T: jax.Array, C: jax.Array, S: jax.Array) -> jax.Array:
    """Tᵀ C S for each block of C."""
    if T.size == S.size == 1:
        return (T[0, 0] * S[0, 0]) * C
    return jnp.einsum("ka,nkl,lb->nab", T, C, S)


class Arrays(NamedTuple):
    """The numbers of a model in internal coordinates, where columns are orthonormal.

    Each term's columns are Z̃ = Z M, M lower triangular, so that Λ̃ = M⁻¹Λ is lower triangular as
    well and the criterion stays the same; X = Q R, and the response is its own residual.

    Attributes:
        blocks: of Z̃ᵀWZ̃, by pairs.
        Z: `(n, q)` √W Z̃.
        cross: `(q, p + 1)` Z̃ᵀW [Q y].
        B: `(n, p + 1)` √W [Q y].
        to_internal: M⁻¹ of each term.
        log_weights: Σ log w.
        log_R: log|det R|.
    """

    blocks: tuple[jax.Array, ...]
    Z: SparseMatrix
    cross: jax.Array
    B: jax.Array
    to_internal: tuple[jax.Array, ...]
    log_weights: jax.Array
    log_R: jax.Array

    __reduce__ = reduce_tuple


class Coordinates(NamedTuple):
    """The way back to the user's scale: X = Q R with coefficients `shift` of the response's fit."""

    R: np.ndarray
    shift: np.ndarray


def lay_out(design: Design) -> tuple[Layout, Arrays, Coordinates]:
    """Structure and numbers of a model, in internal coordinates."""
    root = np.sqrt(design.weights)
    Q, R = np.linalg.qr(root[:, None] * design.X)
    y = root * (design.y - design.offset)
    projected = Q.T @ y
    rest = y - Q @ projected
    rest -= Q @ (Q.T @ rest)
    layout, blocks, Z, inverses = lay_out_terms(design, root)
    B = jnp.asarray(np.column_stack([Q, rest]))
    arrays = Arrays(
        tuple(map(jnp.asarray, blocks)),
        Z,
        Z.T @ B,
        B,
        tuple(map(jnp.asarray, inverses)),
        jnp.asarray(np.sum(np.log(design.weights))),
        jnp.asarray(np.sum(np.log(np.abs(np.diag(R))))),
    )
    shift = scipy.linalg.solve_triangular(R, projected) if R.size else np.zeros(0)
    return layout, arrays, Coordinates(R, shift)


def lay_out_terms(
    design: Design, root: np.ndarray
) -> tuple[Layout, list[np.ndarray], SparseMatrix, list[np.ndarray]]:
    """Structure, blocks of Z̃ᵀWZ̃, √W Z̃ and M⁻¹ of each term; `root` is √w."""
    inverses = [_to_internal(term, root) for term in design.terms]
    values = [
        root[:, None] * scipy.linalg.solve_triangular(inverse.T, term.values.T).T
        for term, inverse in zip(design.terms, inverses, strict=True)
    ]
    layout, blocks = _structure(design.terms, values, design.X.shape[1], design.n)
    return layout, blocks, _matrix(layout, design.terms, values, design.n), inverses


def _to_internal(term: RandomTerm, root: np.ndarray) -> np.ndarray:
    """M⁻¹, lower triangular with positive diagonal, with √W Z M orthogonal of unit mean square."""
    Z = root[:, None] * term.values / np.sqrt(root.size)
    R = np.linalg.qr(Z[:, ::-1]).R[::-1, ::-1]
    lengths = np.linalg.norm(Z, axis=0)
    # Dependent columns cannot be made orthogonal; their lengths can still be made equal.
    if R.shape[0] < R.shape[1] or np.any(np.abs(np.diag(R)) < 1e-8 * lengths):
        return np.diag(np.where(lengths > 0, lengths, 1.0))
    return R * np.sign(np.diag(R))[:, None]


def _structure(
    terms: tuple[RandomTerm, ...], values: list[np.ndarray], fixed: int, n: int
) -> tuple[Layout, list[np.ndarray]]:
    sizes = tuple(term.size for term in terms)
    offsets = np.concatenate([[0], np.cumsum([levels * p for levels, p in sizes])])
    pairs, blocks, rows, columns, places, start = [], [], [], [], [], 0
    for t in range(len(terms)):
        for s in range(t, len(terms)):
            left, right, C = _pair_blocks(terms, values, t, s)
            (count, p, r) = C.shape
            row = offsets[s] + right[:, None, None] * r + np.arange(r)
            column = offsets[t] + left[:, None, None] * p + np.arange(p)[:, None]
            row, column = np.broadcast_arrays(row, column)
            lower = (row >= column).ravel()
            rows.append(row.ravel()[lower])
            columns.append(column.ravel()[lower])
            places.append(start + np.flatnonzero(lower))
            start += C.size
            pairs.append((t, s, count))
            blocks.append(C)
    q = int(offsets[-1])
    general, positions = from_coo(_join(rows, np.int64), _join(columns, np.int64), (q, q))
    source = np.empty(general.nnz, np.int64)
    source[positions] = _join(places, np.int64)
    pattern = Pattern(general.shape, general.indptr, general.indices, symmetric=True)
    return Layout(sizes, tuple(pairs), pattern, EntryMap(source, start), fixed, n), blocks


def _pair_blocks(
    terms: tuple[RandomTerm, ...], values: list[np.ndarray], t: int, s: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of levels of terms t and s that share rows, and Σ z_t z_sᵀ over those rows."""
    codes_t, codes_s = terms[t].grouping.codes, terms[s].grouping.codes
    if t == s:
        left = right = np.arange(terms[t].size[0])
        where = codes_t
    else:
        width = terms[s].size[0]
        key, where = np.unique(codes_t.astype(np.int64) * width + codes_s, return_inverse=True)
        left, right = np.divmod(key, width)
    C = np.empty((left.size, values[t].shape[1], values[s].shape[1]))
    for a, b in np.ndindex(*C.shape[1:]):
        C[:, a, b] = np.bincount(where, values[t][:, a] * values[s][:, b], minlength=left.size)
    return left, right, C


def _matrix(
    layout: Layout, terms: tuple[RandomTerm, ...], values: list[np.ndarray], n: int
) -> SparseMatrix:
    rows, columns, entries = [], [], []
    for term, value, start in zip(terms, values, layout.offsets, strict=False):
        p = value.shape[1]
        place = start + term.grouping.codes.astype(np.int64)[:, None] * p + np.arange(p)
        rows.append(np.repeat(np.arange(n), p))
        columns.append(place.ravel())
        entries.append(value.ravel())
    shape = n, int(layout.offsets[-1])
    return matrix_from_coo(_join(entries), _join(rows, np.int64), _join(columns, np.int64), shape)
