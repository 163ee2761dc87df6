"""CHOLMOD 5.3 through ctypes: the library inside the sparsax wheel (no OpenMP, OpenBLAS).

Only the fields needed here are declared, at their places in CHOLMOD 5.3's 64-bit structures; the
defaults that `cholmod_start` writes tell whether the library at hand is laid out like that.
"""

import ctypes as c
import importlib.util
from pathlib import Path
from typing import Any

AMD, METIS, NESDIS = 2, 3, 4
SIMPLICIAL_OR_SUPERNODAL, SUPERNODAL = 1, 2
UPPER, REAL, SYSTEM_A = 1, 1, 0


class Fields(c.Structure):
    """A C structure of which some fields are declared by their offset."""


def at(offset: int, kind: Any) -> property:
    """A field of `kind` at a byte offset of a `Fields` structure."""

    def get(structure: Fields) -> Any:
        return kind.from_buffer(structure, offset).value

    def put(structure: Fields, value: Any) -> None:
        kind.from_buffer(structure, offset).value = value

    return property(get, put)


class Common(Fields):
    """Parameters and statistics (`cholmod_common`)."""

    _fields_ = (("raw", c.c_double * 512),)  # larger than any 5.x version needs
    grow0 = at(8, c.c_double)
    maxrank = at(32, c.c_size_t)
    supernodal_switch = at(40, c.c_double)
    supernodal = at(48, c.c_int)
    final_ll = at(60, c.c_int)
    zrelax0 = at(80, c.c_double)
    nrelax0 = at(104, c.c_size_t)
    nrelax2 = at(120, c.c_size_t)
    print_level = at(144, c.c_int)
    nmethods = at(168, c.c_int)
    method0_ordering = at(184 + 132, c.c_int)
    postorder = at(1864, c.c_int)
    itype = at(1960, c.c_int)
    status = at(1972, c.c_int)
    flops = at(1976, c.c_double)
    nnz_factor = at(1984, c.c_double)


class Sparse(c.Structure):
    """A sparse matrix in compressed columns (`cholmod_sparse`)."""

    _fields_ = (
        *((name, c.c_size_t) for name in ("nrow", "ncol", "nzmax")),
        *((name, c.c_void_p) for name in ("p", "i", "nz", "x", "z")),
        *((name, c.c_int) for name in ("stype", "itype", "xtype", "dtype", "sorted", "packed")),
    )


class Dense(c.Structure):
    """A dense matrix by columns (`cholmod_dense`)."""

    _fields_ = (
        *((name, c.c_size_t) for name in ("nrow", "ncol", "nzmax", "d")),
        *((name, c.c_void_p) for name in ("x", "z")),
        *((name, c.c_int) for name in ("xtype", "dtype")),
    )


class Factor(Fields):
    """A factor (`cholmod_factor`): supernode k has rows s[pi[k]:pi[k+1]] and values from px[k]."""

    _fields_ = (("raw", c.c_double * 26),)
    perm = at(16, c.c_void_p)
    p = at(48, c.c_void_p)
    x = at(64, c.c_void_p)
    num_supernodes = at(104, c.c_size_t)
    size = at(120, c.c_size_t)
    super_ = at(144, c.c_void_p)
    pi = at(152, c.c_void_p)
    px = at(160, c.c_void_p)
    s = at(168, c.c_void_p)
    is_ll = at(180, c.c_int)
    is_super = at(184, c.c_int)


# What `cholmod_start` leaves in 5.3.
DEFAULTS = {
    "grow0": 1.2,
    "maxrank": 8,
    "supernodal_switch": 40.0,
    "supernodal": 1,
    "zrelax0": 0.8,
    "nrelax0": 4,
    "nrelax2": 48,
    "print_level": 3,
    "nmethods": 0,
    "postorder": 1,
    "itype": 0,
    "status": 0,
}


def folder() -> Path:
    """Where the wheel keeps its libraries."""
    package = importlib.util.find_spec("sparsax")
    if package is None:
        raise ModuleNotFoundError("sparsax is not installed: its wheel carries CHOLMOD")
    return Path(package.submodule_search_locations[0]).parent / "sparsax.libs"


def _only(pattern: str) -> str:
    return str(next(folder().glob(pattern)))


def load() -> tuple[c.CDLL, str]:
    """Load OpenBLAS for everybody in this process, then CHOLMOD; return it and its version."""
    c.CDLL(_only("libopenblas*.so"), mode=c.RTLD_GLOBAL)
    library = c.CDLL(_only("libcholmod*.so*"))
    for name in ("cholmod_analyze", "cholmod_allocate_dense"):
        getattr(library, name).restype = c.c_void_p
    version = (c.c_int * 3)()
    library.cholmod_version(version)
    if version[0] != 5:
        raise RuntimeError(f"need CHOLMOD 5, found {list(version)}")
    return library, ".".join(map(str, version))


def blas_config() -> str:
    """OpenBLAS's own description: version, threading, kernel in use."""
    blas = c.CDLL(_only("libopenblas*.so"))
    blas.openblas_get_config.restype = c.c_char_p
    blas.openblas_get_corename.restype = c.c_char_p
    return f"{blas.openblas_get_config().decode()} [{blas.openblas_get_corename().decode()}]"


def start(library: c.CDLL) -> Common:
    """Return started parameters, or raise where the structure is not laid out as declared."""
    common = Common()
    library.cholmod_start(c.byref(common))
    for name, expected in DEFAULTS.items():
        if getattr(common, name) != expected:
            found = getattr(common, name)
            raise RuntimeError(f"cholmod_common.{name}: expected {expected}, found {found}")
    return common
