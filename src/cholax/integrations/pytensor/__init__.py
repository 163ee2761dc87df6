"""Sparse Cholesky solves, log-determinants and Gaussian densities in PyTensor graphs.

The Ops run on cholax's kernels in every mode: in PyTensor's C and Python modes through compiled JAX
programs, in its JAX mode as part of the program. Importing this module imports PyTensor's JAX
dispatch, which sets `jax_enable_x64` from `pytensor.config.floatX`.
"""

from cholax.integrations.pytensor.density import gmrf_log_density as gmrf_log_density
from cholax.integrations.pytensor.latent import precision_of as precision_of
from cholax.integrations.pytensor.matrix import SymmetricMatrix as SymmetricMatrix
from cholax.integrations.pytensor.matrix import as_symmetric as as_symmetric

__all__ = ["SymmetricMatrix", "as_symmetric", "gmrf_log_density", "precision_of"]
