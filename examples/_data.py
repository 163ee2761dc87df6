"""The data of the examples: where each set comes from, and what it may be used for.

Nothing is downloaded. Data without a permissive licence are read from a folder of reference cases
where there is one: the environment variable CHOLAX_CASES, or `../shared/cases` beside the
repository.
"""

import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg
from _example import Unavailable

HERE = Path(__file__).resolve().parent
CASES = Path(os.environ.get("CHOLAX_CASES", HERE.parents[1] / "shared" / "cases"))


class Counties(NamedTuple):
    """Areas with counts: polygons, names, columns, and the weights of neighbours."""

    geometry: Any
    names: np.ndarray
    columns: dict[str, np.ndarray]
    neighbours: Any


def north_carolina() -> Counties:
    """Sudden infant deaths 1974-78, 100 counties, Cressie & Chan (1989); from libpysal (BSD-3)."""
    try:
        import geopandas
        from libpysal import examples
        from libpysal.graph import Graph
    except ImportError as error:
        raise Unavailable("needs libpysal, which also has the data") from error
    frame = geopandas.read_file(examples.get_path("sids2.shp"))
    births, deaths = frame.BIR74.to_numpy(), frame.SID74.to_numpy()
    nonwhite = frame.NWBIR74.to_numpy() / births
    columns = {
        "deaths": deaths,
        "expected": births * deaths.sum() / births.sum(),
        "nonwhite": nonwhite,
    }
    neighbours = Graph.build_contiguity(frame, rook=False)
    return Counties(list(frame.geometry), frame.NAME.to_numpy(), columns, neighbours)


def scotland() -> Counties:
    """Lip cancer 1975-80 in 56 districts of Scotland, three of them islands.

    Counts: Clayton & Kaldor (1987), as printed by Breslow & Clayton (1993); `data/README.md`.
    Neighbours: the lists of GeoBUGS, as libpysal has them (BSD-3).
    """
    try:
        from libpysal import examples, io
    except ImportError as error:
        raise Unavailable("needs libpysal, which has the neighbours") from error
    rows = np.genfromtxt(HERE / "data/scotland_lip_cancer.csv", delimiter=",", names=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libpysal warns of islands
        neighbours = io.open(examples.get_path("geobugs_scot"), "r", "geobugs_text").read()
    columns = {name: rows[name] for name in rows.dtype.names}
    return Counties(None, np.arange(1, len(rows) + 1), columns, neighbours)


def sp500(first: str, last: str) -> tuple[np.ndarray, np.ndarray]:
    """Dates and daily log returns of the S&P 500 in per cent; from arch (NCSA licence)."""
    try:
        from arch.data import sp500 as source
    except ImportError as error:
        raise Unavailable("needs arch, which has the data") from error
    close = source.load()["Adj Close"].loc[first:last]
    returns = 100.0 * np.diff(np.log(close.to_numpy()))
    return close.index[1:].to_numpy(), returns


def case_folder(name: str) -> Path | None:
    """The folder of a reference case, if it is there."""
    folder = CASES / name
    return folder if folder.is_dir() else None


def read_csv(path: Path) -> Any:
    """A CSV file with a header as a structured array."""
    return np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8")


def mesh_of(mass: np.ndarray, stiffness: Any) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and triangles of a planar mesh, up to a rigid motion, from its finite elements alone.

    Linear functions solve the discrete Laplace equation exactly, so with z = x + iy of the nodes
    (G z)_j = -i/2 (z_next - z_previous) on the boundary and 0 inside. Eliminating the interior
    leaves a Hermitian matrix on the boundary whose null space is spanned by 1 and z.
    """
    G = sp.csc_array(stiffness)
    n = G.shape[0]
    neighbours = [set(G.indices[G.indptr[j] : G.indptr[j + 1]]) - {j} for j in range(n)]
    apex = {
        (i, j): sorted(neighbours[i] & neighbours[j])
        for j in range(n)
        for i in neighbours[j]
        if i < j
    }
    triangles = sorted({tuple(sorted((*edge, k))) for edge, ks in apex.items() for k in ks})
    boundary = _cycle([edge for edge, ks in apex.items() if len(ks) == 1])
    inside = np.setdiff1d(np.arange(n), boundary)
    solve = scipy.sparse.linalg.factorized(G[inside][:, inside])
    G_ib = G[inside][:, boundary].toarray()
    spread = -np.column_stack([solve(column) for column in G_ib.T])
    S = G[boundary][:, boundary].toarray() + G_ib.T @ spread
    turn = 0.5 * (np.roll(np.eye(len(S)), 1, axis=1) - np.roll(np.eye(len(S)), -1, axis=1))
    null = np.linalg.eigh(S + 1j * turn)[1][:, :2]
    z = np.empty(n, complex)
    z[boundary] = null @ np.linalg.svd(null.sum(axis=0)[None])[2][1].conj()  # the mean taken out
    z[inside] = spread @ z[boundary]
    x, y = z[boundary].real, z[boundary].imag
    area = 0.5 * abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
    z *= np.sqrt(mass.sum() / area)
    return np.column_stack([z.real, z.imag]), np.array(triangles)


def _cycle(edges: list[tuple[int, int]]) -> list[int]:
    """The nodes of a closed path in order."""
    beside: dict[int, list[int]] = {}
    for i, j in edges:
        beside.setdefault(i, []).append(j)
        beside.setdefault(j, []).append(i)
    path = [edges[0][0], edges[0][1]]
    while len(path) < len(beside):
        a, b = beside[path[-1]]
        path.append(b if a == path[-2] else a)
    return path
