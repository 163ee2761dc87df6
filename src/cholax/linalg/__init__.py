"""Sparse matrices: the class, how to build one, and functions of sparse matrices."""

from cholax.linalg.construct import from_bcoo as from_bcoo
from cholax.linalg.construct import from_coo as from_coo
from cholax.linalg.construct import from_dense as from_dense
from cholax.linalg.construct import from_matrix_market as from_matrix_market
from cholax.linalg.construct import from_scipy as from_scipy
from cholax.linalg.diagonals import diags as diags
from cholax.linalg.diagonals import eye as eye
from cholax.linalg.matrix import SparseMatrix as SparseMatrix
from cholax.linalg.operations import block as block
from cholax.linalg.operations import block_diag as block_diag
from cholax.linalg.operations import congruence as congruence
from cholax.linalg.operations import hstack as hstack
from cholax.linalg.operations import kron as kron
from cholax.linalg.operations import quadratic_form as quadratic_form
from cholax.linalg.operations import trace_product as trace_product
from cholax.linalg.operations import tril as tril
from cholax.linalg.operations import vstack as vstack

__all__ = [
    "SparseMatrix",
    "block",
    "block_diag",
    "congruence",
    "diags",
    "eye",
    "from_bcoo",
    "from_coo",
    "from_dense",
    "from_matrix_market",
    "from_scipy",
    "hstack",
    "kron",
    "quadratic_form",
    "trace_product",
    "tril",
    "vstack",
]
