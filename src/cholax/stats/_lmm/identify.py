"""Which covariances of random effects the data can tell apart, and which they cannot."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cholax.stats._lmm.layout import Layout

# A combination of covariances counts as none when its effect on Var(y) is below the root of this
# part of what each of them has.
_DEPENDENT = 1e-10
# Curvature that counts as none, relative to that of a term with as many informative levels.
_FLAT = 1e-8
# Part of a direction that must lie in a covariance for it to be called undetermined.
_PART = 0.05


def dependent_covariances(
    layout: Layout, blocks: Sequence[Any], names: Sequence[str], *, residual: bool
) -> list[str]:
    """Names of covariances that Var(y) = Σ_t Z_t (I ⊗ Σ_t) Z_tᵀ + σ²I does not determine.

    Var(y) is linear in the entries of Σ_t and in σ², so they are determined where the matrices
    that multiply them are linearly independent. Their Gram matrix needs ZᵀZ alone:
    tr(Z_t E Z_tᵀ Z_s F Z_sᵀ) = Σ tr(E C F Cᵀ) over the blocks C of Z_tᵀZ_s.

    Args:
        layout: structure.
        blocks: of ZᵀZ, by `layout.pairs`.
        names: of the entries of θ.
        residual: whether there is a σ².

    Example:
        >>> import jax, numpy as np
        >>> jax.config.update("jax_enable_x64", True)
        >>> from cholax.stats._lmm import LinearMixedModel
        >>> from cholax.stats._lmm.identify import dependent_covariances
        >>> data = {"y": np.arange(8.0) % 3, "g": list("aabbccdd")}
        >>> model = LinearMixedModel("y ~ 1 + (1 | g) + (1 | g)", data)
        >>> blocks = model.arrays.blocks
        >>> dependent_covariances(model.layout, blocks, model.theta_names, residual=True)
        ['g.Intercept', 'g.Intercept']
    """
    if not layout.sizes:
        return []
    starts = np.concatenate([[0], np.cumsum(layout.theta_sizes)])
    size = int(starts[-1]) + residual
    gram = np.zeros((size, size))
    for (t, s, _), block in zip(layout.pairs, blocks, strict=True):
        C = np.asarray(block)
        left, right = _symmetric(C.shape[1]), _symmetric(C.shape[2])
        flat = C.reshape(len(C), -1)
        K = (flat.T @ flat).reshape(C.shape[1:] * 2).transpose(0, 2, 1, 3)
        K = left @ K.reshape(C.shape[1] ** 2, -1) @ right.T
        rows, columns = slice(starts[t], starts[t + 1]), slice(starts[s], starts[s + 1])
        gram[rows, columns], gram[columns, rows] = K, K.T
        if residual and t == s:
            gram[rows, -1] = gram[-1, rows] = left @ C.sum(axis=0).ravel()
    if residual:
        gram[-1, -1] = layout.n
    length = np.sqrt(np.diag(gram))
    length = np.where(length > 0, length, 1.0)
    values, directions = np.linalg.eigh(gram / np.outer(length, length))
    none = directions[:, values < _DEPENDENT]
    touched = np.max(np.abs(none), axis=1, initial=0.0) > _PART
    return [name for name, is_touched in zip(names, touched, strict=False) if is_touched]


def _symmetric(p: int) -> np.ndarray:
    """Rows: the symmetric matrices that go with the entries of θ, flattened."""
    columns, rows = np.triu_indices(p)
    found = np.zeros((rows.size, p, p))
    found[np.arange(rows.size), rows, columns] += 0.5
    found[np.arange(rows.size), columns, rows] += 0.5
    return found.reshape(rows.size, -1)


def flat_parameters(
    hessian: np.ndarray, units: np.ndarray, scale: np.ndarray, names: Sequence[str]
) -> list[str]:
    """Names of the parameters along which a criterion has no curvature at its minimum.

    Args:
        hessian: there.
        units: sizes of the parameters.
        scale: root of the curvature to expect of each in its unit.
        names: of the parameters.

    Example:
        >>> import numpy as np
        >>> from cholax.stats._lmm.identify import flat_parameters
        >>> flat_parameters(np.diag([2.0, 0.0]), np.ones(2), np.ones(2), ["a", "b"])
        ['b']
    """
    if not hessian.size or not np.all(np.isfinite(hessian)):
        return []
    unit = units / scale
    values, directions = np.linalg.eigh(unit[:, None] * (hessian + hessian.T) / 2 * unit)
    flat = directions[:, np.abs(values) < _FLAT]
    touched = np.max(np.abs(flat), axis=1, initial=0.0) > _PART
    return [name for name, is_touched in zip(names, touched, strict=False) if is_touched]
