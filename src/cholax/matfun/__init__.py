"""Functions of matrices, their derivatives of every order, and the action of the exponential."""

from cholax.matfun.action import expm_multiply as expm_multiply
from cholax.matfun.exponential import cosm as cosm
from cholax.matfun.exponential import expm as expm
from cholax.matfun.exponential import inv as inv
from cholax.matfun.exponential import sinm as sinm
from cholax.matfun.function import frechet as frechet
from cholax.matfun.function import matrix_function as matrix_function
from cholax.matfun.roots import logm as logm
from cholax.matfun.roots import sqrtm as sqrtm
from cholax.matfun.sign import signm as signm

__all__ = [
    "cosm",
    "expm",
    "expm_multiply",
    "frechet",
    "inv",
    "logm",
    "matrix_function",
    "signm",
    "sinm",
    "sqrtm",
]
