"""Laplace's method: mode, log-marginal and their exact derivatives."""

from cholax.stats.laplace.model import LaplaceModel as LaplaceModel
from cholax.stats.laplace.model import laplace as laplace
from cholax.stats.laplace.result import LaplaceResult as LaplaceResult
from cholax.stats.laplace.status import LaplaceStatus as LaplaceStatus
