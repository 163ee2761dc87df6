"""Differentiable sparse linear algebra and sparse differentiation for JAX."""

from cholax import csc as csc
from cholax import errors as errors
from cholax import matfun as matfun
from cholax import numdiff as finite_difference  # noqa: F401
from cholax import primitives as primitives
from cholax import stats as stats
from cholax import symbolic as symbolic
from cholax import testing as testing
from cholax._core.public import publish as _publish
from cholax._native import num_threads as num_threads
from cholax._native import register as register_kernels  # noqa: F401
from cholax._native import set_num_threads as set_num_threads
from cholax._native import target_names as export_targets  # noqa: F401
from cholax.analysis import Plan as Plan
from cholax.analysis import analyze as analyze
from cholax.implicit import bisect as bisect
from cholax.implicit import fixed_point as fixed_point
from cholax.implicit import minimize as minimize
from cholax.implicit import root as root
from cholax.linalg import SparseMatrix as SparseMatrix
from cholax.linalg import block as block
from cholax.linalg import block_diag as block_diag
from cholax.linalg import congruence as congruence
from cholax.linalg import diags as diags
from cholax.linalg import eye as eye
from cholax.linalg import from_bcoo as from_bcoo
from cholax.linalg import from_coo as from_coo
from cholax.linalg import from_dense as from_dense
from cholax.linalg import from_matrix_market as from_matrix_market
from cholax.linalg import from_scipy as from_scipy
from cholax.linalg import hstack as hstack
from cholax.linalg import kron as kron
from cholax.linalg import quadratic_form as quadratic_form
from cholax.linalg import trace_product as trace_product
from cholax.linalg import tril as tril
from cholax.linalg import vstack as vstack
from cholax.linalg.checked import checked as checked
from cholax.linalg.cholesky import cholesky as cholesky
from cholax.linalg.factor import Factor as Factor
from cholax.linalg.lu import LU as LU
from cholax.linalg.lu import lu as lu
from cholax.linalg.shortcuts import inverse_diagonal as inverse_diagonal
from cholax.linalg.shortcuts import log_det as log_det
from cholax.linalg.shortcuts import selected_inverse as selected_inverse
from cholax.linalg.shortcuts import solve as solve
from cholax.matfun import expm_multiply as expm_multiply
from cholax.matfun import frechet as frechet
from cholax.matfun import matrix_function as matrix_function
from cholax.patterns import Pattern as Pattern
from cholax.primitives import use_backend as use_backend
from cholax.sparsediff import hessian as hessian
from cholax.sparsediff import jacobian as jacobian
from cholax.sparsediff import linear_operator_matrix as linear_operator_matrix
from cholax.sparsediff import separable_hessian as separable_hessian

__version__ = "0.1.0"

_publish(globals())
