"""Laplace's method: mode, log-marginal and their exact derivatives."""

from cholax.stats._laplace.model import LaplaceModel as LaplaceModel
from cholax.stats._laplace.model import laplace as laplace
from cholax.stats._laplace.result import LaplaceResult as LaplaceResult
from cholax.stats._laplace.status import LaplaceStatus as LaplaceStatus
