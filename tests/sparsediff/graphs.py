"""Patterns whose best colourings are known, and random ones."""

import numpy as np
import scipy.sparse as sp

from cholax.patterns import Pattern, algebra, build


def pattern_of(matrix) -> Pattern:
    coo = sp.coo_array(matrix)
    return build.from_coo(coo.row, coo.col, coo.shape)[0]


def symmetric(pattern: Pattern) -> Pattern:
    return algebra.fold(pattern)[0]


def band(n: int, width: int) -> Pattern:
    offsets = range(-width, width + 1)
    return pattern_of(sp.diags_array([np.ones(n)] * len(offsets), offsets=offsets, shape=(n, n)))


def path(m: int) -> sp.sparray:
    return sp.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(m, m))


def grid5(m: int, k: int | None = None) -> Pattern:
    k = m if k is None else k
    return pattern_of(
        sp.kron(path(m), sp.eye_array(k)) + sp.kron(sp.eye_array(m), path(k)),
    )


def grid9(m: int) -> Pattern:
    return pattern_of(sp.kron(path(m), path(m)))


def triangle_mesh(m: int) -> Pattern:
    up = sp.diags_array([1.0], offsets=[1], shape=(m, m))
    diagonal = sp.kron(up, up)
    plain = sp.kron(path(m), sp.eye_array(m)) + sp.kron(sp.eye_array(m), path(m))
    return pattern_of(plain + diagonal + diagonal.T)


def arrow(n: int, width: int = 1) -> Pattern:
    """The first rows and columns and the diagonal."""
    i, k = np.arange(n), np.repeat(np.arange(width), n)
    rows = np.concatenate([i, np.tile(i, width), k])
    columns = np.concatenate([i, k, np.tile(i, width)])
    return build.from_coo(rows, columns, (n, n))[0]


def mixed_model(groups: int) -> Pattern:
    """Hessian of a mixed model: 5 fixed effects, one effect per group, log σ last."""
    n = groups + 6
    dense = np.array([0, 1, 2, 3, 4, n - 1])
    rows = np.concatenate([np.repeat(dense, n), np.arange(n)])
    columns = np.concatenate([np.tile(np.arange(n), 6), np.arange(n)])
    return symmetric(build.from_coo(rows, columns, (n, n))[0])


def crossed_effects(seed: int, users: int = 1000, items: int = 50, size: int = 5000) -> Pattern:
    random = np.random.default_rng(seed)
    user, item = random.integers(users, size=size), random.integers(items, size=size) + users
    n = users + items
    return symmetric(build.from_coo(user, item, (n, n))[0])


def random_pattern(m: int, n: int, density: float, dense_rows: int, seed: int) -> Pattern:
    random = np.random.default_rng(seed)
    mask = random.random((m, n)) < density
    if m and dense_rows:
        mask[random.integers(m, size=dense_rows)] = True
    return build.from_mask(mask)[0]
