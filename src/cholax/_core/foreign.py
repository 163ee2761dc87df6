"""Objects of other libraries, and what else is no array, refused by name at every public door.

Several of them would otherwise be misread: NumPy iterates over a BCOO without end, forgets the mask
of a masked array, and turns a SciPy matrix into an array of one object.
"""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from cholax._core.errors import DtypeError, UnsupportedError

_FROM_SCIPY = "Make it dense with .toarray(), or a SparseMatrix with cx.from_scipy."
_FROM_JAX = "Make it dense with .todense(), or a SparseMatrix with cx.from_bcoo."
_TABLE = "Pass its numbers, for instance table[column].to_numpy()."
# By the library a type comes from: its name in messages, and how to convert.
_LIBRARIES = {
    "scipy": _FROM_SCIPY,
    "sparse": _FROM_SCIPY,
    "cupyx": "Move it to the host with .get() and convert it with cx.from_scipy.",
    "cupy": "Move it to the host with .get().",
    "torch": "Pass x.detach().cpu().numpy().",
    "tensorflow": "Pass x.numpy().",
    "pandas": _TABLE,
    "polars": _TABLE,
    "pyarrow": _TABLE,
    "xarray": "Pass its .values.",
}


def is_sparse(x: Any) -> bool:
    """A sparse matrix, of cholax or any other library."""
    return hasattr(x, "todense") or hasattr(x, "to_scipy") or hasattr(x, "to_scipy_sparse")


def refuse_foreign(x: Any, where: str, need: str = "an array of numbers") -> None:
    """Raise for what does not turn into an array as it stands, saying how to convert it.

    `UnsupportedError` for sparse matrices, tensors and tables of other libraries and for masked
    arrays; `DtypeError` for text, objects and None; also inside lists. Arrays, numbers, lists of
    numbers and one-column tables of plain NumPy numbers (`pandas.Series`) pass.
    """
    if isinstance(x, jax.Array | bool | int | float | complex):
        return
    if type(x) is np.ndarray or isinstance(x, np.generic):
        if x.dtype.kind in "OSUmMV" and not _is_extended_float(x.dtype):
            raise DtypeError(
                f"{where}: need {need}, got an array of dtype {x.dtype}. "
                "Convert it explicitly, for instance with .astype(float)."
            )
        return
    if isinstance(x, list | tuple):
        for item in _leaves(x):
            refuse_foreign(item, f"{where}: in a {type(x).__name__}", need)
        return
    _refuse_object(x, where, need)


def refuse_foreign_tree(tree: Any, where: str) -> None:
    """Refuse a pytree of unknowns that is empty, or holds a sparse matrix of another library.

    Those of JAX are pytrees of arrays, but their index arrays are no unknowns. One of cholax is a
    pytree of its values.
    """
    if tree is None:
        refuse_foreign(tree, where)
    for leaf in jax.tree.leaves(tree, is_leaf=_is_foreign_sparse):
        refuse_foreign(leaf, where)


def _is_foreign_sparse(x: Any) -> bool:
    return is_sparse(x) and not type(x).__module__.startswith("cholax")


def _refuse_object(x: Any, where: str, need: str) -> None:
    library = type(x).__module__.split(".")[0]
    name = type(x).__name__ if library == "builtins" else f"{library}'s {type(x).__name__}"
    remedy = _conversion(x)
    if remedy is not None:
        raise UnsupportedError(f"{where}: need {need}, got {name}. {remedy}")
    if isinstance(x, str | bytes | dict | set | frozenset) or x is None or not _is_array_like(x):
        got = "None" if x is None else f"an object of type {name}"
        raise DtypeError(f"{where}: need {need}, got {got}. Pass an array.")


def refuse_library(x: Any, where: str, need: str) -> None:
    """Refuse what comes from another library and has a conversion; for Python's operators.

    Anything else is left to the other operand and to Python, as operators should.
    """
    remedy = None if isinstance(x, jax.Array) else _conversion(x)
    if remedy is not None:
        raise UnsupportedError(f"{where}: need {need}, got {type(x).__name__}. {remedy}")


def _conversion(x: Any) -> str | None:
    """How to convert an object of another library, or None where there is no need or no way."""
    if isinstance(x, np.ma.MaskedArray):
        return "Fill what is masked with .filled(value), or leave it out with .compressed()."
    for base in type(x).__mro__:
        library = base.__module__.split(".")[0]
        if base.__module__.startswith("jax.experimental.sparse"):
            return _FROM_JAX
        if library == "cholax" and is_sparse(x):
            return "Pass A.values for its entries, or A.to_dense() for a dense array."
        if library == "pandas" and _is_plain_column(x):
            return None
        if library in _LIBRARIES and (library != "scipy" or is_sparse(x)):
            return _LIBRARIES[library]
    return "Convert it to SciPy's format, then with cx.from_scipy." if is_sparse(x) else None


def _leaves(x: Any) -> Iterator[Any]:
    for item in x:
        if isinstance(item, list | tuple):
            yield from _leaves(item)
        elif type(item) not in (int, float):
            yield item


def _is_extended_float(dtype: np.dtype) -> bool:
    # bfloat16 and the 8-bit floats are of kind V, as structured types are.
    return dtype.kind == "V" and dtype.type is not np.void


def _is_plain_column(x: Any) -> bool:
    plain = isinstance(getattr(x, "dtype", None), np.dtype) and x.dtype.kind in "biuf"
    return plain and getattr(x, "ndim", 0) == 1


def _is_array_like(x: Any) -> bool:
    names = ("__array__", "__jax_array__", "__array_interface__", "__float__", "__dlpack__")
    return isinstance(x, range) or any(hasattr(x, name) for name in names)
